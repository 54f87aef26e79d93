"""What runs an engine is chosen on the device by measuring: real bundles on real runtimes, the key, what must not be taken and why."""

from __future__ import annotations

import importlib.metadata
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import standin_plans

from engines.bundle import Bundle, resolve
from engines.decode import Thresholds
from engines.detections import Detections, Float32
from engines.errors import BundleError, RuntimeUnavailableError
from engines.runtime import choice as choices
from engines.runtime.choice import Asked, Choice, Trial, choose, open_chosen, read_choice
from engines.runtime.margins import Answer, disagreement
from engines.taxonomy import LEUKEMIA_ATTRI


class Told:
    """Keeps what a choice reports."""

    def __init__(self) -> None:
        self.tasks: list[str] = []

    def __call__(self, task: str, done: int, total: int) -> None:
        assert 0 <= done < total
        self.tasks.append(task)


@pytest.fixture
def _openvino() -> None:
    try:
        importlib.metadata.version("openvino")
    except importlib.metadata.PackageNotFoundError:
        pytest.skip("needs the extra openvino")


@pytest.mark.usefixtures("_openvino")
def test_it_is_measured_once_and_kept_with_its_key(bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(choices, "ROUNDS", 2)
    monkeypatch.setattr("engines.runtime.openvino.library.precisions", lambda: ("float32",))
    kept, first = tmp_path / "state" / "engine-choice.json", Told()
    made = choose(Asked(bundle.path, threads=1, kept=kept), first)
    assert [trial.words for trial in made.trials] == ["onnx fp32", "openvino fp32"]
    assert all(trial.frame_ms and not trial.fault for trial in made.trials)
    assert made.chosen.frame_ms == min(trial.frame_ms or 0 for trial in made.trials)
    assert first.tasks[:2] == ["trying onnx fp32", "trying openvino fp32"]
    assert made.chosen.words in made.words and "chosen by measuring" in made.words

    again = Told()
    assert choose(Asked(bundle.path, threads=1, kept=kept), again) == made == read_choice(kept) and not again.tasks
    with open_chosen(Asked(bundle.path, threads=1, kept=kept), report=again) as engine:
        assert engine.info.runtime.startswith({"onnx": "onnxruntime", "openvino": "openvino"}[made.chosen.runtime])
        assert engine.info.digest == bundle.digest and not again.tasks

    # Another value of the key, and it is measured again.
    text = json.loads(kept.read_text())
    for change in (
        {"processor": "another"},
        {"flags": "0" * 64},
        {"threads": 2},
        {"software": {"openvino": "2020.1"}},
        {"bundles": {}},
    ):
        kept.write_text(json.dumps({**text, "key": {**text["key"], **change}}))
        told = Told()
        monkeypatch.setattr(
            choices, "_measured", lambda trials, *_, told=told: [told("measured", 0, 1) or made.trials[0] for _ in trials]
        )
        assert choose(Asked(bundle.path, threads=1, kept=kept), told).key == made.key and told.tasks
    kept.write_text('{"key": ')
    assert read_choice(kept) is None


def test_what_leaves_nothing_to_choose_is_opened_as_it_is(bundle: Bundle, tmp_path: Path) -> None:
    kept = tmp_path / "engine-choice.json"
    with open_chosen(Asked(bundle.path, "onnx", kept=kept)) as engine:
        assert engine.info.precision == "fp32" and engine.info.runtime.startswith("onnxruntime")
    assert not kept.exists()
    with pytest.raises(RuntimeUnavailableError, match="no runtime 'onxx'"):
        open_chosen(Asked(bundle.path, "onxx"))
    with pytest.raises(RuntimeUnavailableError, match="no precision 'bfloat61'"):
        open_chosen(Asked(bundle.path, "auto", "bfloat61"))
    with pytest.raises(BundleError, match="no such engine folder"):
        open_chosen(Asked(tmp_path / "nothing"))


def test_bundles_that_were_made_from_it_are_tried_beside_it_fp16_on_a_gpu_alone() -> None:
    shipped = Bundle.open(resolve("zoo:attridet-n"))
    found = choices.made_from(shipped)
    assert [bundle.manifest.precision for bundle in found] == ["fp16", "int8"]
    assert all(one.manifest.quantization is not None and one.manifest.quantization.source == shipped.digest for one in found)
    assert not any(choices.made_from(one) for one in found)
    on_processor = choices._trials(Asked(shipped.path), [shipped, *found])
    assert {trial.told for trial in on_processor} >= {"fp32", "int8"} and not any(trial.told == "fp16" for trial in on_processor)
    assert [trial.runtime for trial in choices._trials(Asked(found[0].path, "onnx"), [found[0]])] == [
        "onnx"
    ]  # whoever names it gets it


@pytest.fixture
def plans(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A GPU with plans of the shipped bundles in float and FP16, on which a frame in FP16 takes half as long."""
    standin_plans.machine(monkeypatch)
    for name in ("zoo:attridet-n", "zoo:attridet-n-fp16"):
        standin_plans.write_plans(tmp_path / "plans", Bundle.open(resolve(name)))
    spent = {("tensorrt", "fp32"): 9.0, ("tensorrt", "fp16"): 4.5}

    def frame_ms(engine: Any, _: object) -> float:
        return spent.get((engine.info.runtime.split()[0].lower(), engine.info.precision), 50.0)

    monkeypatch.setattr(choices, "_frame_ms", frame_ms)
    monkeypatch.setattr(choices, "_versions", lambda: {"onnx": "1", "openvino": ""})
    monkeypatch.setattr(choices, "_turned", lambda picture: [picture])  # of eight positions one: each takes its time
    return tmp_path / "plans"


def test_on_a_gpu_fp16_is_taken_where_it_is_quicker_and_says_what_float32_says(
    plans: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    asked: list[tuple[str, str]] = []
    real = choices.disagreement

    def heard(engine: Any, picture: Any, answer: Any, corner_px: float, probability: float) -> str | None:
        asked.append((engine.info.precision, f"{corner_px} {probability}"))
        return real(engine, picture, answer, corner_px, probability)

    monkeypatch.setattr(choices, "disagreement", heard)
    made = choose(Asked("zoo:attridet-n", threads=1, plans=plans, kept=tmp_path / "choice.json"))
    assert (made.chosen.words, made.chosen.frame_ms) == ("tensorrt fp16", 4.5)
    faults = {trial.words: trial.fault for trial in made.trials}
    assert faults["tensorrt fp32"] == "" and faults["onnx fp32"] == "" and "onnx fp16" not in faults
    assert faults["tensorrt int8"] == "its gate was passed on openvino, not on tensorrt"
    assert asked == [("fp16", "1.0 0.02")]  # not float, and not again where it is measured a second time
    with open_chosen(Asked("zoo:attridet-n", threads=1, plans=plans, kept=tmp_path / "choice.json")) as engine:
        assert engine.info.precision == "fp16" and engine.info.runtime.startswith("TensorRT")

    monkeypatch.setattr(choices, "disagreement", lambda engine, *_: f"a box lies 9.0 px elsewhere in {engine.info.precision}")
    made = choose(Asked("zoo:attridet-n", threads=1, plans=plans))
    assert made.chosen.words == "tensorrt fp32"
    fault = next(trial.fault for trial in made.trials if trial.words == "tensorrt fp16")
    assert fault == "it answers otherwise than float32: a box lies 9.0 px elsewhere in fp16"


def test_fp16_is_held_against_the_float_bundle_where_that_is_there(plans: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[str] = []
    real = choices.factory.open_engine

    def heard(reference: Any, runtime: str, *words: Any, **more: Any) -> Any:
        opened.append(f"{Path(resolve(reference)).name} {runtime}")
        return real(reference, runtime, *words, **more)

    monkeypatch.setattr(choices.factory, "open_engine", heard)
    half, known = Bundle.open(resolve("zoo:attridet-n-fp16")), dict[str, Any]()
    with real(half.path, "tensorrt", plans=plans) as engine:
        assert choices._difference(engine, 1, known, str(resolve("zoo:attridet-n"))) == ""
        assert choices._difference(engine, 1, dict[str, Any](), "") == ""  # alone: its own files on the processor
    assert opened == ["attridet-n onnx", "attridet-n-fp16 onnx"]


def test_a_verdict_belongs_to_its_runtime() -> None:
    int8 = Bundle.open(resolve("zoo:attridet-n-int8"))
    assert int8.manifest.gate is not None
    judged = int8.manifest.gate.runtime.split()[0]
    trials = {name: trial("int8", 1.0, name) for name in ("onnx", "openvino")}
    faults = {name: choices._gate_fault(int8, one) for name, one in trials.items()}
    assert judged == "openvino" and faults["openvino"] == ""
    assert faults["onnx"] == "its gate was passed on openvino, not on onnxruntime"


def trial(told: str, frame_ms: float | None, runtime: str = "openvino", fault: str = "") -> Trial:
    return Trial(bundle="b", runtime=runtime, precision="float32", told=told, frame_ms=frame_ms, fault=fault)


def test_float32_is_left_only_for_what_is_clearly_quicker() -> None:
    assert choices._quickest([trial("fp32", 40), trial("bf16", 39)]).told == "fp32"
    assert choices._quickest([trial("fp32", 40), trial("fp32", 39, "onnx")]).runtime == "onnx"
    assert choices._quickest([trial("fp32", 40), trial("bf16", 20), trial("int8", 19)]).told == "int8"


def test_where_nothing_passes_each_reason_is_told(bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    both = [trial("fp32", None, "onnx", "broken"), trial("fp32", None, fault="not installed")]
    monkeypatch.setattr(choices, "_trials", lambda *_: both)
    monkeypatch.setattr(choices, "_measured", lambda trials, *_: trials)
    with pytest.raises(BundleError, match=r"onnx fp32: broken; openvino fp32: not installed"):
        choose(Asked(bundle.path))


def cells(classes: list[int], scores: list[float], attributes: Float32 | None = None) -> Detections:
    n = len(classes)
    boxes = np.arange(n, dtype=np.float32)[:, None] * 50 + np.array([0, 0, 40, 40], np.float32)
    given = np.tile(np.array([0.8, 0.1, 0.1, *[0.9, 0.1] * 6], np.float32), (n, 1)) if attributes is None else attributes
    return Detections(boxes, np.array(scores, np.float32), np.array(classes, np.int64), given)


def says(found: Detections, expected: Detections, types: list[float] | None = None, naming: object = None) -> str | None:
    """What `disagreement` says of an engine that finds `found`, with a tolerance of .05 about a threshold of .25."""
    answer = Answer(expected, np.array(types or [0.5] * len(expected), np.float32))
    engine: Any = SimpleNamespace(
        infer=lambda _: SimpleNamespace(detections=found),
        thresholds=Thresholds(confidence=0.25),
        info=SimpleNamespace(taxonomy=LEUKEMIA_ATTRI),
        naming=naming,
        describes=True,
    )
    return disagreement(engine, np.zeros((8, 8, 3), np.uint8), answer, 2.0, 0.05)


def test_only_what_was_no_near_tie_is_a_disagreement() -> None:
    expected = cells([1, 2, 3], [0.9, 0.8, 0.28])
    assert says(expected, expected) is None
    assert says(cells([1, 2], [0.9, 0.8]), expected) is None  # the third was within .05 of the threshold
    assert says(cells([1], [0.9]), expected) == "a cell of score 0.80 is not found"
    assert says(expected, cells([1], [0.9])) == "a cell of score 0.80 is found that is none"
    assert says(cells([1, 4, 3], [0.9, 0.8, 0.28]), expected) == "a cell has another type"
    assert says(cells([1, 4, 3], [0.9, 0.8, 0.28]), expected, [0.5, 0.04, 0.5]) is None
    assert says(cells([1, 4, 3], [0.9, 0.8, 0.28]), expected, naming="a layer") is None  # the second look tells the types
    assert says(cells([1], [0.9]), expected, naming="a layer") == "a cell of score 0.80 is not found"
    assert says(cells([1, 2, 3], [0.9, 0.74, 0.28]), expected) == "a score differs by 0.060"
    assert says(cells([1, 2, 3], [0.9, np.nan, 0.28]), expected) is not None
    moved = cells([1, 2, 3], [0.9, 0.8, 0.28])
    moved.boxes_px[1] += 2.5
    assert says(moved, expected) == "a box lies 2.5 px elsewhere"


def test_an_attribute_counts_where_it_was_told_clearly() -> None:
    clear, near = (np.array([[0.8, 0.1, 0.1, *[0.9, 0.1] * 5, p, 1 - p]], np.float32) for p in (0.9, 0.53))
    turned = np.array([[0.8, 0.1, 0.1, *[0.9, 0.1] * 5, 0.48, 0.52]], np.float32)
    name = LEUKEMIA_ATTRI.attributes[-1].name
    assert says(cells([1], [0.9], turned), cells([1], [0.9], clear)) == f"a cell's {name} is told otherwise"
    assert says(cells([1], [0.9], turned), cells([1], [0.9], near)) is None


def test_a_choice_is_read_back_as_it_was_written(tmp_path: Path, bundle: Bundle) -> None:
    made = choose(Asked(bundle.path, "onnx"))
    path = tmp_path / "choice.json"
    path.write_text(made.model_dump_json())
    assert read_choice(path) == made and isinstance(made, Choice)
