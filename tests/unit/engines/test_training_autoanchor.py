"""The fit of anchors against the reference's numbers, and anchors found for labels that the published ones do not fit."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from engines.network.yolov5 import ANCHORS_PX
from engines.training.autoanchor import anchor_fit, fit_anchors, label_sizes_px

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
