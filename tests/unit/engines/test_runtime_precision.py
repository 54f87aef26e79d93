"""What is computed in fewer bits than float32: asked for by a word, refused by name where the processor cannot, told as what it is."""

from __future__ import annotations

import importlib.metadata
from pathlib import Path

import numpy as np
import pytest

from engines.bundle import Bundle
from engines.detections import Detections
from engines.errors import RuntimeUnavailableError
from engines.manifest import GoldenTolerance
from engines.runtime import precision
from engines.runtime.engine import golden_difference
from engines.runtime.factory import open_engine, runtime_for
from engines.runtime.openvino import library
from engines.runtime.openvino.graphs import OpenvinoEngine, OpenvinoGraphs
from engines.runtime.precision import BFLOAT16, FLOAT16, FLOAT32, PRECISIONS, shown, tolerance_of


@pytest.fixture
def _openvino() -> None:
    try:
        importlib.metadata.version("openvino")
    except importlib.metadata.PackageNotFoundError:
        pytest.skip("needs the extra openvino")


@pytest.mark.parametrize(
    ("stored", "computed", "told"),
    [
        ("fp32", FLOAT32, "fp32"),
        ("fp32", BFLOAT16, "bf16"),
        ("fp32", FLOAT16, "fp16"),
        ("int8", FLOAT32, "int8"),
        ("int8", BFLOAT16, "int8-bf16"),
        ("int8-fp16", FLOAT32, "int8-fp16"),
    ],
)
def test_the_precision_is_told_as_stored_and_computed(stored: str, computed: str, told: str) -> None:
    assert shown(stored, computed) == told


@pytest.mark.usefixtures("_openvino")
@pytest.mark.parametrize("computed", [BFLOAT16, FLOAT16])
def test_fewer_bits_are_really_computed_in(bundle: Bundle, computed: str) -> None:
    if computed not in library.precisions():
        pytest.skip(f"this processor has no instructions for {computed}")
    picture = np.random.default_rng(0).integers(0, 256, (320, 320, 3), np.uint8)
    answers = []
    for word in (FLOAT32, computed):
        graphs = OpenvinoGraphs(bundle, 1, word)
        graphs.open()
        answers.append(graphs.detect(picture).copy())
        graphs.close()
    off = np.abs(answers[1][:, 4:] - answers[0][:, 4:]).max()
    assert off > 1e-4  # float32 on two runtimes: below 1e-6; how little it matters on weights that are not random is told below
    with OpenvinoEngine(bundle, 1, precision=computed) as engine:
        assert engine.info.precision == shown("fp32", computed)
        assert engine.info.label.split()[2] == engine.info.precision


@pytest.mark.usefixtures("_openvino")
def test_a_precision_that_the_processor_lacks_is_refused_by_what_it_lacks(bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(library, "precisions", lambda: (FLOAT32,))
    monkeypatch.setattr(precision, "processor", lambda: ("Celeron N100", "fpu avx2 avx_vnni"))
    for word, flag in ((BFLOAT16, "amx_bf16, avx512_bf16"), (FLOAT16, "avx512_fp16")):
        engine = open_engine(bundle.path, "openvino", 1, precision=word)
        with pytest.raises(RuntimeUnavailableError, match=rf"{word} needs .*{flag}.*Celeron N100.*engine\.precision"), engine:
            pass


def test_a_runtime_that_has_only_float32_says_so(bundle: Bundle) -> None:
    with pytest.raises(RuntimeUnavailableError, match=r"ONNX Runtime computes in float32, not in bfloat16"):
        open_engine(bundle.path, "onnx", precision=BFLOAT16)
    with pytest.raises(RuntimeUnavailableError, match=r"no precision 'bfloat'. Did you mean 'bfloat16'\?"):
        open_engine(bundle.path, "onnx", precision="bfloat")
    assert runtime_for(bundle, "auto", BFLOAT16) == "openvino"
    assert runtime_for(bundle, "auto") == "onnx"


def test_processor_and_flags_are_read_as_the_system_tells_them(monkeypatch: pytest.MonkeyPatch) -> None:
    texts = {
        "processor\t: 0\nmodel name\t: Some CPU @ 2 GHz\nflags\t\t: fpu amx_bf16 avx512_bf16\n": (
            "Some CPU @ 2 GHz",
            "fpu amx_bf16 avx512_bf16",
        ),
        "processor\t: 0\nFeatures\t: fp asimd bf16\nModel\t\t: Raspberry Pi 5\n": ("Raspberry Pi 5", "fp asimd bf16"),
    }
    for text, told in texts.items():
        monkeypatch.setattr(Path, "read_text", lambda _, encoding="", text=text: text)
        assert precision.processor() == told


def test_the_wider_tolerance_holds(bundle: Bundle) -> None:
    manifest = bundle.manifest
    assert tolerance_of(manifest, FLOAT32) == manifest.golden_tolerance == GoldenTolerance()
    assert tolerance_of(manifest, BFLOAT16).probability > tolerance_of(manifest, FLOAT16).probability > 0.01
    wide = manifest.model_copy(update={"golden_tolerance": GoldenTolerance(corner_px=3.0, probability=0.1)})
    assert {tolerance_of(wide, word) for word in PRECISIONS} == {GoldenTolerance(corner_px=3.0, probability=0.1)}


def cells(classes: list[int]) -> Detections:
    n = len(classes)
    boxes = np.arange(n, dtype=np.float32)[:, None] * 50 + np.array([0, 0, 30, 30], np.float32)
    return Detections(boxes, np.full(n, 0.8, np.float32), np.array(classes), np.full((n, 15), 0.5, np.float32))


def test_another_type_counts_where_it_was_no_near_tie() -> None:
    expected, found = cells([1, 2, 3]), cells([1, 2, 4])
    assert golden_difference(found, expected, tolerance=0.05) == "a cell has another type"
    clear, near = np.array([0.5, 0.5, 0.4], np.float32), np.array([0.5, 0.5, 0.03], np.float32)
    assert golden_difference(found, expected, tolerance=0.05, margins=clear) == "a cell has another type"
    assert golden_difference(found, expected, tolerance=0.05, margins=near) is None
    assert golden_difference(found, expected, tolerance=0.01, margins=near) == "a cell has another type"
    assert golden_difference(found, expected, tolerance=0.05, margins=np.full(3, np.nan, np.float32)) == "a cell has another type"


@pytest.mark.usefixtures("_openvino")
def test_the_shipped_engine_answers_its_golden_picture_in_every_precision() -> None:
    for word in library.precisions():
        with open_engine("zoo:attridet-n", "openvino", 1, precision=word) as engine:  # raises where the golden picture is not
            assert engine.info.precision == shown("fp32", word)
