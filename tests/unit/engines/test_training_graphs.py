"""A network straight from torch gives what its exported bundle gives, from a checkpoint as from weights, and is left as it was."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np
import pytest

from engines.bundle import ZOO, Bundle
from engines.detections import Detections, Image
from engines.errors import BundleError, DataError, InferenceError, RuntimeUnavailableError
from engines.runtime.engine import NetworkEngine
from engines.runtime.onnx import OnnxEngine

if TYPE_CHECKING:
    from engines.network import AttriDet


def assert_same(found: Detections, expected: Detections) -> None:
    assert len(found) == len(expected) and found.classes.tolist() == expected.classes.tolist()
    np.testing.assert_allclose(found.boxes_px, expected.boxes_px, rtol=0, atol=0.1)
    np.testing.assert_allclose(found.scores, expected.scores, rtol=0, atol=1e-3)
    np.testing.assert_allclose(found.attributes, expected.attributes, rtol=0, atol=1e-3)


def save_checkpoint(model: AttriDet, path: Path) -> Path:
    """As training writes it, where only the average counts."""
    from engines.network.checkpoint import save

    save(path, {"size": model.size, "taxonomy": model.taxonomy.to_dict(), "ema": model.state_dict(), "epoch": 7})
    return path


def test_a_checkpoint_and_the_weights_are_the_bundle(model: AttriDet, bundle: Bundle, frame: Image, tmp_path: Path) -> None:
    from engines.network.engine import open_checkpoint

    thresholds = bundle.manifest.decode_thresholds
    (tmp_path / "run").mkdir()
    checkpoint = save_checkpoint(model, tmp_path / "run/last.pt")
    with (
        OnnxEngine(bundle, threads=1) as onnx,
        open_checkpoint(checkpoint, 320, True, thresholds) as first,
        open_checkpoint(bundle.path / "weights.safetensors", 320, True, thresholds) as second,
    ):
        expected = onnx.infer(frame).detections
        assert len(expected) > 5
        for engine in (first, second):
            assert_same(engine.infer(frame).detections, expected)
    assert first.info.name == "run/last.pt" and first.info.version == "epoch 7" and len(first.info.digest) == 64
    assert first.info.runtime.startswith("torch ") and first.info.input_hw == (320, 320)


@pytest.mark.shared
def test_the_shipped_weights_say_on_real_pictures_what_the_shipped_bundle_says(model: AttriDet, shared_data: Path) -> None:
    from engines.network.engine import open_checkpoint

    bundle = Bundle.open(ZOO / "attridet-n")
    pictures = [shared_data / "pbc/Images/val/BA_139733.jpg", *sorted((shared_data / "lld_40x/Images/val").iterdir())[:2]]
    with (
        OnnxEngine(bundle, threads=1) as onnx,
        open_checkpoint(ZOO / "attridet-n/weights.safetensors", thresholds=bundle.manifest.decode_thresholds) as torch_engine,
    ):
        for path in pictures:
            image = np.asarray(cv2.imread(str(path)), np.uint8)
            assert_same(torch_engine.infer(image).detections, onnx.infer(image).detections)


def test_a_network_with_variances_is_judged_too(frame: Image) -> None:
    from engines.network import AttriDet
    from engines.network.engine import engine_of

    with engine_of(AttriDet("n", variances=True), "two", "0", 64) as engine:
        assert engine.propose(frame).rows.shape[1] == 19


def test_the_network_itself_is_left_as_it_is(frame: Image) -> None:
    from engines.network import AttriDet
    from engines.network.engine import engine_of

    model = AttriDet("n").train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    with engine_of(model, "in training", "epoch 1", 64) as engine:
        first = engine.propose(frame).rows.copy()
    assert model.training and list(model.state_dict()) == list(before)
    assert all((value == before[name]).all() for name, value in model.state_dict().items())
    with engine_of(model, "in training", "epoch 1", 64) as again:
        np.testing.assert_array_equal(first, again.propose(frame).rows)
    assert again.info.digest == engine.info.digest


def test_regions_without_extent_are_padding(frame: Image) -> None:
    from engines.network import AttriDet
    from engines.network.engine import engine_of

    with engine_of(AttriDet("n"), "n", "0", 64) as engine:
        engine.propose(frame)
        boxes = np.array([[0, 0, 30, 30], [10, 10, 40, 50]], np.float32)
        out = engine.describe(boxes)
        assert out.shape == (2, 15) and out.sum(1) == pytest.approx(7, abs=1e-4)
        assert engine.graphs.describe(np.zeros((64, 4), np.float32)).sum() == 0


def opened(path: Path, **options: object) -> NetworkEngine:
    from engines.network.engine import open_checkpoint

    return open_checkpoint(path, **options)  # type: ignore[arg-type]  # options of several types


def test_what_cannot_be_opened_is_named(tmp_path: Path, model: AttriDet) -> None:
    (tmp_path / "broken.pt").write_bytes(b"PK")
    (tmp_path / "broken.safetensors").write_bytes(b"{}")
    for name, error, words in (
        ("none.pt", DataError, "no such checkpoint"),
        ("broken.pt", DataError, "not a readable checkpoint"),
        ("broken.safetensors", BundleError, "not a safetensors file"),
        ("weights.bin", DataError, r"ends in \.pt or \.safetensors"),
    ):
        with pytest.raises(error, match=words):
            opened(tmp_path / name)
    good = save_checkpoint(model, tmp_path / "good.pt")
    with pytest.raises(DataError, match=r"--input 100: .* nearest is 96"):
        opened(good, side_px=100)
    with pytest.raises(RuntimeUnavailableError, match="--device warp"):
        opened(good, device="warp")
    with pytest.raises(InferenceError, match="inside `with`"):
        opened(good).propose(np.zeros((64, 64, 3), np.uint8))
