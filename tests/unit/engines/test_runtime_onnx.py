"""The engine on ONNX Runtime: detections of a frame, its provenance, and every way it can fail to open."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from engines.bundle import Bundle, write_bundle
from engines.decode import Thresholds, candidates, detections
from engines.detections import Detections, Image
from engines.errors import BundleError, InferenceError, RuntimeUnavailableError
from engines.preprocess import prepare
from engines.runtime.base import Engine
from engines.runtime.engine import golden_difference
from engines.runtime.factory import open_engine
from engines.runtime.onnx import OnnxEngine

if TYPE_CHECKING:
    from engines.network import AttriDet


def test_the_engine_says_what_torch_says(bundle: Bundle, model: AttriDet, frame: Image) -> None:
    import torch

    engine: Engine = OnnxEngine(bundle, threads=1)
    with engine:
        inference = engine.infer(frame)
    prepared, letterbox = prepare(frame, (320, 320), True)
    with torch.no_grad():
        output, taps = model.forward_with_taps(torch.from_numpy(prepared))
        kept = candidates(output.rows[0].numpy(), Thresholds(max_detections=40))  # type: ignore[union-attr]  # evaluation mode
        rois = torch.cat((torch.zeros(len(kept), 1), torch.from_numpy(kept.boxes_px)), 1)
        attributes = model.attribute_probabilities(model.attribute_logits(taps, rois)).numpy()
    found, expected = inference.detections, detections(kept, letterbox, 15, attributes)
    assert 4 < len(expected) < 100  # several runs of the attribute graph
    assert golden_difference(found, expected, corner_px=0.05 / letterbox.ratio, tolerance=1e-3) is None
    assert (np.diff(found.scores) <= 0).all()
    assert found.boxes_px.min() >= 0 and found.boxes_px[:, 2].max() <= 768 and found.boxes_px[:, 3].max() <= 432
    for group in bundle.taxonomy.groups:
        np.testing.assert_allclose(found.attributes[:, group].sum(1), 1, atol=1e-5)
    assert set(inference.timings_ms) == {"preprocess", "detector", "nms", "attributes"}
    assert min(inference.timings_ms.values()) > 0


def test_provenance_travels_with_every_number(bundle: Bundle) -> None:
    engine = OnnxEngine(bundle, threads=1, score_threshold=0.6)
    info = engine.info
    assert (info.name, info.version, info.precision, info.digest) == ("attridet-test", "0.0.1", "fp32", bundle.digest)
    assert info.runtime.startswith("onnxruntime ") and info.runtime.endswith(" CPU")
    assert info.input_hw == (320, 320) and info.score_threshold == 0.6 and info.taxonomy == bundle.taxonomy
    assert info.label == f"attridet-test 0.0.1 fp32 {bundle.digest[:8]}"


def test_a_threshold_of_ones_own_is_kept(bundle: Bundle, frame: Image) -> None:
    with OnnxEngine(bundle, threads=1, score_threshold=0.6) as engine:
        found = engine.infer(frame).detections
    assert len(found) > 0 and found.scores.min() > 0.6
    with pytest.raises(BundleError, match="between 0 and 1"):
        OnnxEngine(bundle, score_threshold=25)


def test_a_frame_without_cells_gives_no_detections(bundle: Bundle, frame: Image) -> None:
    with OnnxEngine(bundle, threads=1, score_threshold=0.9999999) as engine:
        found = engine.infer(frame).detections
    assert len(found) == 0 and found.attributes.shape == (0, 15)


def test_a_frame_that_is_none_is_an_inference_error(bundle: Bundle) -> None:
    with OnnxEngine(bundle, threads=1) as engine:
        for bad in (np.zeros((4, 4), np.uint8), np.zeros((0, 4, 3), np.uint8)):
            with pytest.raises(InferenceError, match="cannot be prepared"):
                engine.infer(bad)


def test_an_engine_works_only_inside_with_and_again_after(bundle: Bundle, frame: Image) -> None:
    engine = OnnxEngine(bundle, threads=1)
    with pytest.raises(InferenceError, match="inside `with`"):
        engine.infer(frame)
    for _ in range(2):
        with engine:
            engine.infer(frame)
    with pytest.raises(InferenceError, match="inside `with`"):
        engine.infer(frame)


def test_the_golden_picture_is_answered(bundle: Bundle) -> None:
    with open_engine(bundle.path, threads=1, verify=True) as engine:
        assert engine.info.digest == bundle.digest


def test_another_answer_to_the_golden_picture_is_refused(bundle: Bundle, tmp_path: Path) -> None:
    answer = json.loads((bundle.path / "golden.json").read_text())
    answer["scores"][0] -= 0.1
    files = {name: bundle.path / name for name in bundle.manifest.files} | {"golden.json": json.dumps(answer).encode()}
    wrong = write_bundle(tmp_path / "wrong", bundle.manifest, files)
    with pytest.raises(BundleError, match="does not answer the golden picture.*a score or attribute differs by 0.1"):  # noqa: SIM117, RUF043  # entering raises
        with OnnxEngine(wrong, threads=1, verify=True):
            pass
    with OnnxEngine(wrong, threads=1, verify=False):
        pass


def some(n: int) -> Detections:
    draw = np.random.default_rng(n)
    corner = draw.uniform(0, 200, (n, 2))
    boxes = np.concatenate((corner, corner + 30), 1).astype(np.float32)
    scores = np.linspace(0.9, 0.5, n, dtype=np.float32)
    return Detections(boxes, scores, np.arange(n), np.full((n, 15), 0.5, np.float32))


def test_golden_differences_are_told_apart() -> None:
    a = some(5)
    assert golden_difference(a, a) is None
    assert golden_difference(a.select(np.array([4, 0, 3, 1, 2])), a) is None
    assert golden_difference(some(0), some(0)) is None
    assert "4 detections, expected 5" in str(golden_difference(a.select(np.arange(4)), a))
    assert "elsewhere, by 3.0 px" in str(golden_difference(replace(a, boxes_px=a.boxes_px + np.float32(3)), a))
    assert "another type" in str(golden_difference(replace(a, classes=a.classes[::-1]), a))
    assert "differs by 0.050" in str(golden_difference(replace(a, scores=a.scores - np.float32(0.05)), a))
    assert "elsewhere, by nan px" in str(golden_difference(replace(a, boxes_px=a.boxes_px * np.float32(np.nan)), a))
    assert "differs by nan" in str(golden_difference(replace(a, attributes=a.attributes * np.float32(np.nan)), a))


def test_a_detection_at_the_threshold_may_be_missing_or_added_and_no_other() -> None:
    a = some(5)  # scores 0.9, 0.8, 0.7, 0.6, 0.5
    without_last, without_first = a.select(np.arange(4)), a.select(np.arange(1, 5))
    for found, expected in ((without_last, a), (a, without_last)):
        assert golden_difference(found, expected, tolerance=0.05, confidence=0.47) is None
        assert "detections, expected" in str(golden_difference(found, expected, tolerance=0.05, confidence=0.44))
    for found, expected in ((without_first, a), (a, without_first), (some(0), a), (a, some(0))):
        assert "detections, expected" in str(golden_difference(found, expected, tolerance=0.05, confidence=0.47))
    moved = a.boxes_px.copy()
    moved[-1] += 40  # lost in one place and found in another, both at the threshold
    assert golden_difference(replace(a, boxes_px=moved), a, tolerance=0.05, confidence=0.47) is None
    moved[0] += 40
    assert "elsewhere" in str(golden_difference(replace(a, boxes_px=moved), a, tolerance=0.05, confidence=0.47))
    turned = replace(a, classes=a.classes[[0, 1, 2, 4, 3]])  # a partner at the threshold is still compared
    assert "another type" in str(golden_difference(turned, a, tolerance=0.05, confidence=0.47))


def test_two_detections_do_not_share_one_partner() -> None:
    a = some(2)
    both = replace(a, boxes_px=a.boxes_px[[0, 0]])
    assert "elsewhere" in str(golden_difference(both, a))
    assert "2 detections, expected 1" in str(golden_difference(both, a.select(np.arange(1))))


def test_a_graph_that_is_none_is_named_and_nothing_stays_open(bundle: Bundle, tmp_path: Path) -> None:
    files: dict[str, bytes | Path] = {name: bundle.path / name for name in bundle.manifest.files}
    broken = write_bundle(tmp_path / "broken", bundle.manifest, files | {"attributes-4.onnx": b"no graph"})
    engine = OnnxEngine(broken, threads=1)
    with pytest.raises(BundleError, match=r"attributes-4\.onnx: ONNX Runtime cannot load it"), engine:
        pass
    swapped = write_bundle(tmp_path / "swapped", bundle.manifest, files | {"detector.onnx": bundle.path / "attributes.onnx"})
    with pytest.raises(BundleError, match=r"detector\.onnx: has inputs .* expected \['image'\]"), OnnxEngine(swapped, threads=1):
        pass
    with pytest.raises(InferenceError):
        engine.infer(np.zeros((8, 8, 3), np.uint8))


def test_a_runtimes_own_words_reach_the_reader(bundle: Bundle) -> None:
    with OnnxEngine(bundle, threads=1) as engine, pytest.raises(InferenceError, match=r"ONNX Runtime: .*[Ii]nvalid"):
        engine.graphs.detect(np.zeros((64, 64, 3), np.uint8))


@pytest.mark.parametrize(
    ("runtime", "message"),
    [
        ("onx", "Did you mean 'onnx'"),
        ("cuda", "no runtime 'cuda'.*Available: auto, onnx"),
        ("tensorrt", r"Run `attridet build .*engine\.plans"),
    ],
)
def test_a_runtime_that_is_not_there_says_which_is(bundle_path: Path, runtime: str, message: str) -> None:
    with pytest.raises(RuntimeUnavailableError, match=message):
        open_engine(bundle_path, runtime)


def test_an_altered_engine_is_not_opened(bundle: Bundle, tmp_path: Path) -> None:
    shutil.copytree(bundle.path, tmp_path / "copy")
    (tmp_path / "copy/detector.onnx").write_bytes(b"")
    with pytest.raises(BundleError, match="altered or incomplete"):
        open_engine(tmp_path / "copy")
    with pytest.raises(BundleError, match="no such engine folder"):
        open_engine(tmp_path / "nowhere")
