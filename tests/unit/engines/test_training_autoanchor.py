"""The fit of anchors against the reference's numbers, and anchors found for labels that the published ones do not fit."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch

from engines.data.augment import Sample
from engines.families.attridet import autoanchor
from engines.families.attridet.autoanchor import AnchorFit, Float64, anchor_fit, choose_anchors, fit_anchors, label_sizes_px
from engines.families.attridet.yolov5 import ANCHORS_PX
from engines.network import checkpoint
from engines.network.weights import load_weights, save_weights
from engines.training.loop import Run, Trainer

PUBLISHED = np.array(ANCHORS_PX, dtype=np.float64)


@pytest.mark.shared
def test_metric_equals_the_reference(parity: Path) -> None:
    expected = json.loads((parity / "misc/misc.json").read_text())["autoanchor_metric"]
    fit = anchor_fit(np.load(parity / "misc/misc.npz")["autoanchor.wh"], PUBLISHED, expected["thr"])
    assert fit._asdict() == pytest.approx({k: expected[k] for k in fit._fields}, abs=1e-6)


def test_anchors_that_fit_are_kept() -> None:
    sizes = np.random.default_rng(0).uniform(20, 200, (300, 2))
    anchors, fit = fit_anchors(sizes, PUBLISHED, np.random.default_rng(0), generations=5)
    assert anchors is PUBLISHED
    assert fit.bpr > 0.98


def test_long_thin_cells_get_anchors_of_their_own_the_same_with_the_same_seed() -> None:
    random = np.random.default_rng(1)
    width = random.uniform(100, 300, 400)
    sizes = np.stack((width, width * random.uniform(0.05, 0.2, 400)), 1)
    before = anchor_fit(sizes, PUBLISHED)
    anchors, fit = fit_anchors(sizes, PUBLISHED, np.random.default_rng(2), generations=200)
    assert fit.bpr > 0.98 > before.bpr
    assert anchors.shape == (3, 3, 2)
    assert (np.diff(anchors.reshape(9, 2).prod(1)) >= 0).all()
    again, _ = fit_anchors(sizes, PUBLISHED, np.random.default_rng(2), generations=200)
    np.testing.assert_array_equal(anchors, again)


def test_sizes_follow_the_longer_side_of_each_image() -> None:
    wh, images = np.array([[0.5, 0.5], [0.1, 0.2]]), np.array([[1600.0, 1200.0], [600.0, 800.0]])
    np.testing.assert_allclose(label_sizes_px(wh, images, 640), [[320, 240], [48, 128]])


def test_no_box_is_an_error() -> None:
    with pytest.raises(ValueError, match="no labelled box"):
        anchor_fit(np.zeros((0, 2)), PUBLISHED)


def test_each_picture_is_scaled_by_one_factor_between_09_and_11(monkeypatch: pytest.MonkeyPatch) -> None:
    boxes = np.array([[0, 0, 80, 40], [10, 10, 50, 90]], np.float32)
    samples = [Sample(np.zeros((120, 160, 3), np.uint8), boxes, np.zeros((2, 8), np.int64)) for _ in range(50)]
    seen = []

    def kept(sizes: Float64, anchors: Float64, rng: np.random.Generator, *, anchor_t: float) -> tuple[Float64, AnchorFit]:
        seen.append(sizes)
        return anchors, anchor_fit(sizes, anchors, anchor_t)

    monkeypatch.setattr(autoanchor, "fit_anchors", kept)
    choice = choose_anchors(samples, PUBLISHED, 320, 0)
    factors = seen[0].reshape(50, 2, 2) / [[160, 80], [80, 160]]
    assert not choice.adopted and choice.boxes == 100
    np.testing.assert_allclose(factors, np.broadcast_to(factors[:, :1, :1], factors.shape), rtol=1e-6)
    assert factors.min() >= 0.9 and factors.max() <= 1.1 and factors.max() - factors.min() > 0.15


def test_anchors_that_were_fitted_are_in_the_checkpoint_and_in_the_export(tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    samples = []
    for _ in range(60):
        x, y, w = rng.uniform(0, 20), rng.uniform(0, 80), rng.uniform(40, 75)
        box = np.array([[x, y, x + w, y + rng.uniform(2.5, 6)]], np.float32)
        samples.append(Sample(np.full((96, 96, 3), 200, np.uint8), box, np.array([[1, *[-1] * 7]], np.int64)))
    run = Run(tmp_path, imgsz=96, batch=4, workers=0, amp=False, autoanchor=True)
    trainer = Trainer(run, samples)
    assert trainer.anchors is not None and trainer.anchors.adopted
    assert trainer.anchors.chosen.bpr > trainer.anchors.given.bpr
    assert re.fullmatch(r"fitted to the labels: of 60 cells \d+\.\d% are within reach of one, \d+\.\d% before", str(trainer.anchors))
    anchors_px = torch.from_numpy(trainer.anchors.anchors_px).float()
    trainer.save(tmp_path / "last.pt")
    network, _ = checkpoint.load_network(tmp_path / "last.pt")
    save_weights(network, tmp_path / "weights.safetensors", {})
    for model in (trainer.model, trainer.ema.model, network, load_weights(tmp_path / "weights.safetensors")[0]):
        torch.testing.assert_close(model.detect.anchors * model.detect.stride.view(3, 1, 1), anchors_px)  # type: ignore[union-attr,operator]
    torch.testing.assert_close(trainer.learner.detection_loss.anchors, trainer.model.detect.anchors)
    # The next training starts with them, and keeps them, since nothing reaches more of the cells.
    second = Trainer(Run(tmp_path, imgsz=96, batch=4, workers=0, amp=False, autoanchor=True, initial=tmp_path / "last.pt"), samples)
    assert second.anchors is not None
    assert second.anchors.adopted or str(second.anchors).startswith("kept")
    assert second.anchors.chosen.bpr >= trainer.anchors.chosen.bpr - 0.05
