"""Bundles that were edited, swapped or made to harm: each is refused in one line that names the file, and nothing hangs."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, numpy_helper

from engines.bundle import GOLDEN_ANSWER, Bundle, golden_answer, resolve
from engines.errors import BundleError, EnginesError
from engines.files import steering_text
from engines.graph_file import EIGHT_BITS, GraphFile
from engines.manifest import GateRecord, parse_manifest
from engines.runtime.engine import NO_GOLDEN, _two_pictures
from engines.runtime.factory import open_engine
from engines.taxonomy import LEUKEMIA_ATTRI

GOLDEN = ("golden.png", "golden.json")


def copy_of(name: str, folder: Path) -> Path:
    """A shipped bundle whose files are the shipped ones until one is written anew."""
    shutil.copytree(resolve(name), folder, copy_function=os.link)
    rewrite(folder, "manifest.json", (folder / "manifest.json").read_bytes())
    return folder


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return copy_of("zoo:attridet-n", tmp_path / "bundle")


def rewrite(folder: Path, name: str, content: bytes) -> None:
    (folder / name).unlink()
    (folder / name).write_bytes(content)


def edit(folder: Path, change: Callable[[dict[str, Any]], object]) -> None:
    manifest = json.loads((folder / "manifest.json").read_text())
    change(manifest)
    rewrite(folder, "manifest.json", json.dumps(manifest).encode())


def rehashed(folder: Path, *drop: str) -> None:
    """The manifest made to agree with the files, without those dropped."""

    def change(manifest: dict[str, Any]) -> None:
        for name in list(manifest["files"]):
            content = (folder / name).read_bytes()
            manifest["files"][name] = {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
            if name in drop:
                del manifest["files"][name]

    edit(folder, change)


def weights_to(folder: Path, value: float, graph: str = "detector.onnx") -> None:
    model = onnx.load(folder / graph)
    for tensor in model.graph.initializer:
        if tensor.data_type == onnx.TensorProto.FLOAT and len(tensor.dims) == 4:
            tensor.CopyFrom(numpy_helper.from_array(np.full(tuple(tensor.dims), value, np.float32), tensor.name))
    rewrite(folder, graph, model.SerializeToString())


def outside(folder: Path, place: str) -> None:
    """The first weights of the detector moved into another file."""
    model = onnx.load(folder / "detector.onnx")
    tensor = next(t for t in model.graph.initializer if t.data_type == onnx.TensorProto.FLOAT and len(t.dims) == 4)
    content = numpy_helper.to_array(tensor).tobytes()
    tensor.ClearField("raw_data")
    tensor.data_location = onnx.TensorProto.EXTERNAL
    for key, value in (("location", place), ("offset", "0"), ("length", str(len(content)))):
        entry = tensor.external_data.add()
        entry.key, entry.value = key, value
    (folder / Path(place).name).write_bytes(content)
    rewrite(folder, "detector.onnx", model.SerializeToString())


def refused(folder: Path, *words: str, runtime: str = "onnx") -> str:
    with pytest.raises(BundleError) as caught, open_engine(folder, runtime, threads=1):
        pass
    message = str(caught.value)
    assert "\n" not in message and caught.value.exit_code == 2
    assert all(word in message for word in words), message
    return message


def test_what_ships_opens_and_has_a_golden_picture() -> None:
    with open_engine("zoo:attridet-n", threads=1) as engine:
        assert engine.info.unchecked == "" and engine.golden_fault() is None


@pytest.mark.parametrize("graph", ["detector.onnx", "attributes-4.onnx"])
def test_weights_that_are_no_numbers_are_refused_with_a_golden_picture_and_without(folder: Path, graph: str) -> None:
    weights_to(folder, float("nan"), graph)
    rehashed(folder)
    refused(folder, "does not answer the golden picture")
    rehashed(folder, *GOLDEN)
    refused(folder, "no number")


def test_weights_of_zero_without_a_golden_picture_are_refused(folder: Path) -> None:
    weights_to(folder, 0.0)
    rehashed(folder, *GOLDEN)
    refused(folder, "answers two different pictures alike")


@pytest.mark.parametrize("hw", [(32, 32), (64, 64), (640, 640), (384, 640)])
def test_the_two_pictures_differ_at_every_size_of_input(hw: tuple[int, int]) -> None:
    glass, cells = _two_pictures(hw)
    assert glass.shape == cells.shape == (*hw, 3) and 0.01 < (glass != cells).mean() < 0.5


def test_a_bundle_without_a_golden_picture_says_so(folder: Path) -> None:
    rehashed(folder, *GOLDEN)
    with open_engine(folder, threads=1) as engine:
        assert engine.info.unchecked == NO_GOLDEN


@pytest.mark.parametrize("place", ["w.bin", "../w.bin", "/etc/hostname"])
def test_weights_in_a_file_that_nobody_checked_are_refused(folder: Path, place: str) -> None:
    outside(folder, place if place[0] != "/" else "w.bin")
    if place[0] == "/":
        model = onnx.load(folder / "detector.onnx", load_external_data=False)
        next(t for t in model.graph.initializer if t.external_data).external_data[0].value = place
        rewrite(folder, "detector.onnx", model.SerializeToString())
    rehashed(folder, *GOLDEN)
    refused(folder, "would load its weights from", "does not name")


def test_weights_in_a_file_that_the_manifest_names_are_checked_with_it(folder: Path) -> None:
    outside(folder, "w.bin")
    edit(folder, lambda m: m["files"].update({"w.bin": {"bytes": 0, "sha256": "0" * 64}}))
    rehashed(folder)
    with open_engine(folder, threads=1) as engine:
        assert engine.golden_fault() is None
    with (folder / "w.bin").open("r+b") as file:
        file.write(b"\1\2\3")
    refused(folder, "w.bin: altered or incomplete")


def test_8_bits_that_call_themselves_float_need_no_gate_and_are_refused(tmp_path: Path) -> None:
    folder = copy_of("zoo:attridet-n-int8", tmp_path / "int8")
    edit(folder, lambda m: m.update(precision="fp32", gate=None, quantization=None))
    refused(folder, "computes in 8 bits", "says fp32")
    assert GraphFile.read(folder / "detector.onnx").operators & EIGHT_BITS


def test_fp16_that_calls_itself_float_is_refused_too(tmp_path: Path) -> None:
    folder = copy_of("zoo:attridet-n-fp16", tmp_path / "fp16")
    edit(folder, lambda m: m.update(precision="fp32", gate=None, quantization=None))
    refused(folder, "detector.onnx: computes in FP16", "says fp32")
    assert not GraphFile.read(folder / "cells.onnx").half  # float32 in every bundle
    detector = onnx.load(folder / "detector.onnx")
    for weight in detector.graph.initializer:  # without its weights the casts alone tell
        weight.data_type, weight.raw_data = TensorProto.FLOAT, b""
    assert GraphFile.of(detector.SerializeToString()).half


def test_a_gate_is_passed_by_what_was_judged_and_by_nothing_else(tmp_path: Path) -> None:
    folder = copy_of("zoo:attridet-n-int8", tmp_path / "int8")
    bundle = Bundle.open(folder)
    assert bundle.manifest.gate is not None and bundle.manifest.gate_fault is None
    assert parse_manifest(bundle.manifest.to_json(), "m") == bundle.manifest
    judged = GateRecord.model_validate({**bundle.manifest.gate.model_dump(), "subject": bundle.manifest.subject})
    manifest = bundle.manifest.model_copy(update={"gate": judged})
    assert manifest.gate_fault is None and json.loads(manifest.to_json())["schema_version"] == 4
    rewrite(folder, "manifest.json", manifest.to_json().encode())
    assert Bundle.open(folder).manifest.gate_fault is None
    edit(folder, lambda m: m["thresholds"].update(confidence=0.9))
    refused(folder, "was changed after it passed its gate")


def test_a_taxonomy_of_other_length_or_other_names_is_refused(folder: Path) -> None:
    whole = (folder / "manifest.json").read_bytes()
    edit(folder, lambda m: m["taxonomy"]["classes"].pop())
    refused(folder, "golden.json: malformed")
    rehashed(folder, *GOLDEN)
    edit(folder, lambda m: (m.update(second_look=None), [m["files"].pop(n) for n in ("naming-layer.npz", "open-cells.npz")]))
    refused(folder, "its graphs tell 14 types, and its taxonomy names 13")
    rewrite(folder, "manifest.json", whole.replace(b"Myeloblast", b"Lymphocyte2"))
    refused(folder, "this layer names other types")


def test_a_golden_answer_says_what_its_numbers_mean(folder: Path) -> None:
    golden = Bundle.open(folder).golden()
    assert golden is not None
    rewrite(folder, GOLDEN_ANSWER, golden_answer(golden[1], Bundle.open(folder).golden_margins(), LEUKEMIA_ATTRI))
    rehashed(folder)
    assert Bundle.open(folder).golden() is not None
    old = "large"
    text = (folder / "manifest.json").read_text()
    word = next(a.values[0] for a in LEUKEMIA_ATTRI.attributes)
    assert f'"{word}"' in text, old
    rewrite(folder, "manifest.json", text.replace(f'"{word}"', '"something else"').encode())
    with pytest.raises(BundleError, match="its classes were renamed"):
        Bundle.open(folder).golden()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda m: m["files"]["detector.onnx"].update(bytes=1), "(7,225,437 bytes, manifest.json says 1)"),
        (lambda m: m["input"].update(hw=[32000, 32000]), "4096 at most"),
        (lambda m: m["input"].update(hw=[320, 320]), "takes a picture of [1, 3, 640, 640]"),
        (lambda m: m["thresholds"].update(max_detections=10**9), "max_detections"),
        (lambda m: m.update(version="<b>\x1b[31m"), "control character"),
        (lambda m: m.update(version="2.0\n1"), "version"),
        (lambda m: m.update(version="9" * 70_000), "version"),
        (lambda m: m.update(intended_use="\x9b31m"), "control character"),
        (lambda m: m["taxonomy"]["classes"].__setitem__(1, {"name": "\x07"}), "control character"),
    ],
)
@pytest.mark.parametrize("runtime", ["onnx", "openvino"])
def test_a_manifest_that_lies_is_refused_in_one_line(
    folder: Path, change: Callable[[dict[str, Any]], object], words: str, runtime: str
) -> None:
    if runtime == "openvino":
        pytest.importorskip("openvino")
    edit(folder, change)
    message = refused(folder, words, runtime=runtime)
    assert len(message) < 2000 and steering_text(message) is None


@pytest.mark.parametrize(
    "content",
    [b"[" * 100_000, b'{"a":' * 100_000, b"9" * 100_000, b"", b"\xff\xfe", b"[]", b"{" * 11_000_000],
)
def test_what_is_no_manifest_is_refused_in_one_line(folder: Path, content: bytes) -> None:
    rewrite(folder, "manifest.json", content)
    refused(folder, "manifest.json")


def test_a_pipe_for_a_manifest_is_not_waited_for(folder: Path) -> None:
    (folder / "manifest.json").unlink()
    os.mkfifo(folder / "manifest.json")
    refused(folder, "is no file")


@pytest.mark.parametrize("content", [b"", b"\x08", b"no graph", bytes(range(256)), b"\x3a\xff\xff\xff\xff\x7f", b"\x80" * 100])
def test_what_is_no_graph_never_breaks_its_reader(folder: Path, content: bytes) -> None:
    rewrite(folder, "detector.onnx", content)
    rehashed(folder, *GOLDEN)
    with pytest.raises(EnginesError), open_engine(folder, threads=1):
        pass


def test_graphs_within_graphs_end(tmp_path: Path) -> None:
    def wrapped(number: int, content: bytes) -> bytes:
        length, size = len(content), b""
        while True:
            size += bytes([length & 0x7F | (0x80 if length > 0x7F else 0)])
            length >>= 7
            if not length:
                return bytes([number << 3 | 2]) + size + content

    inner = b""
    for _ in range(60):  # a node with an attribute that is a graph
        inner = wrapped(1, wrapped(5, wrapped(6, inner)))
    (tmp_path / "deep.onnx").write_bytes(wrapped(7, inner))
    with pytest.raises(BundleError, match="graphs within graphs"):
        GraphFile.read(tmp_path / "deep.onnx")
