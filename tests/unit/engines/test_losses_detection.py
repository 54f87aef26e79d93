"""YOLOv5's loss and assignment against the reference's numbers, and properties of both."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional

from engines.families.attridet.assign import assign_targets
from engines.families.attridet.losses import DetectionLoss, ciou
from engines.families.hyper import LOW, SETS
from engines.network import YOLOv5

ANCHORS = YOLOv5("n", classes=1).detect.anchors


class Case:
    """One case of the fixture."""

    def __init__(self, meta: dict[str, Any], arrays: dict[str, Tensor]) -> None:
        self.meta, self.arrays, self.name = meta, arrays, meta["id"]
        self.levels = [self["p0"].clone(), self["p1"].clone(), self["p2"].clone()]
        self.targets = self["targets"]

    def __getitem__(self, key: str) -> Tensor:
        return self.arrays[f"{self.name}.{key}"]

    def has(self, key: str) -> bool:
        """Some arrays of the fixture are left out here."""
        return f"{self.name}.{key}" in self.arrays

    def loss(self) -> DetectionLoss:
        hyper = SETS[self.meta["hyp_file"].removeprefix("hyp.scratch-")]
        own = replace(hyper, **{name: self.meta[name] for name in ("anchor_t", "fl_gamma", "label_smoothing")})
        return DetectionLoss(ANCHORS, own, imgsz=self.meta["imgsz_for_obj_gain"], classes=self.meta["nc"])


@pytest.fixture(scope="module")
def cases(parity: Path) -> list[Case]:
    arrays = {k: torch.from_numpy(v) for k, v in np.load(parity / "yolo_loss/loss.npz").items()}
    cases = [Case(meta, arrays) for meta in json.loads((parity / "yolo_loss/cases.json").read_text())]
    assert len(cases) >= 4
    return cases


@pytest.mark.shared
def test_gains_are_scaled_as_in_the_reference(cases: list[Case]) -> None:
    for case in cases:
        loss, expected = case.loss(), case.meta["effective_gains"]
        got = {"box": loss.gain_box, "obj": loss.gain_obj, "cls": loss.gain_cls}
        assert got == pytest.approx(expected, rel=1e-12), case.name


@pytest.mark.shared
def test_total_parts_and_gradients(cases: list[Case]) -> None:
    for case in cases:
        levels = [level.requires_grad_() for level in case.levels]
        total, parts = case.loss()(levels, case.targets)
        assert total.item() == pytest.approx(case.meta["total"], rel=1e-5), case.name
        expected = case.meta["lbox_lobj_lcls"]
        assert [p.item() for p in parts] == pytest.approx(expected, rel=1e-5, abs=1e-9), case.name
        total.backward()
        for i, level in enumerate(levels):
            if case.has(f"grad{i}"):
                torch.testing.assert_close(level.grad, case[f"grad{i}"], rtol=0, atol=1e-7)


@pytest.mark.shared
def test_double_precision_meets_the_fp64_total(cases: list[Case]) -> None:
    for case in cases:
        total, _ = case.loss()([level.detach().double() for level in case.levels], case.targets)
        assert total.dtype == torch.float64
        assert total.item() == pytest.approx(case.meta["total_fp64"], rel=1e-6), case.name


@pytest.mark.shared
def test_assignment_rows_in_the_references_order(cases: list[Case]) -> None:
    for case in cases:
        grids = [(level.shape[2], level.shape[3]) for level in case.levels]
        matches = assign_targets(case.targets, ANCHORS, grids, case.meta["anchor_t"])
        assert [len(m.image) for m in matches] == case.meta["n_assigned"], case.name
        for i, m in enumerate(matches):
            if case.has(f"assign{i}"):
                assert torch.equal(torch.stack((m.image, m.anchor, m.gj, m.gi, m.cls), 1), case[f"assign{i}"]), case.name
                torch.testing.assert_close(m.box, case[f"tbox{i}"], rtol=0, atol=1e-6)
                torch.testing.assert_close(m.anchor_wh, case[f"anch{i}"], rtol=0, atol=1e-6)


def zeros(batch: int = 1, classes: int = 3) -> list[Tensor]:
    return [torch.zeros(batch, 3, n, n, 5 + classes, requires_grad=True) for n in (8, 4, 2)]


def test_no_label_leaves_objectness_alone() -> None:
    levels = zeros(batch=2)
    total, parts = DetectionLoss(ANCHORS, classes=3)(levels, torch.zeros(0, 6))
    assert parts.box == parts.cls == 0
    assert total.item() == pytest.approx(2 * np.log(2) * (4 + 1 + 0.4))
    total.backward()
    for level in levels:
        assert level.grad is not None
        assert level.grad[..., 4].all()
        assert not level.grad[..., :4].any() and not level.grad[..., 5:].any()


def test_neighbours_at_the_border_and_in_the_corner() -> None:
    # One box a corner; all of the anchor (10, 13) px; centres lie in the outermost half of the outermost cells.
    targets = torch.tensor([[0, 0, x, y, 12 / 64, 12 / 64] for y in (0.02, 0.98) for x in (0.02, 0.98)])
    matches = assign_targets(targets, ANCHORS[:1], [(8, 8)])[0]
    assert set(zip(matches.gj.tolist(), matches.gi.tolist(), strict=True)) == {(0, 0), (0, 7), (7, 0), (7, 7)}
    # A centre in the middle of the map, right of and above its cell's middle: also the cell to the right and the one above.
    middle = assign_targets(torch.tensor([[0, 2, 4.7 / 8, 3.2 / 8, 12 / 64, 12 / 64]]), ANCHORS[:1], [(8, 8)])[0]
    assert set(zip(middle.gj.tolist(), middle.gi.tolist(), strict=True)) == {(3, 4), (2, 4), (3, 5)}
    assert set(middle.cls.tolist()) == {2}
    assert middle.box[:, :2].min() > -0.5 and middle.box[:, :2].max() < 1.5


def test_the_last_of_two_labels_in_one_cell_is_the_objectness_target() -> None:
    middle = [0, 0, 4.5 / 8, 4.5 / 8]  # of cell 4, 4, where logits of 0 put the box, in its anchor's size
    exact, poor = [*middle, 16 / 64, 30 / 64], [*middle, 30 / 64, 16 / 64]
    levels = zeros()
    for order, wanted in (((poor, exact), "high"), ((exact, poor), "low")):
        loss = DetectionLoss(ANCHORS, replace(LOW, box=0.0, cls=0.0), classes=3)
        grad = torch.autograd.grad(loss(levels, torch.tensor(order))[0], levels)[0]
        cell = grad[0, 1, 4, 4, 4] * grad[..., 4].numel() / 4  # sigmoid(0) - target
        target = 0.5 - cell.item()
        assert (target > 0.9) == (wanted == "high"), (order, target)


def test_label_smoothing_and_focal_factor_follow_their_formulas() -> None:
    generator = torch.Generator().manual_seed(0)
    levels = [torch.randn(1, 3, n, n, 8, generator=generator) for n in (8, 4, 2)]
    targets = torch.tensor([[0, 1, 0.4, 0.6, 0.2, 0.3], [0, 2, 0.7, 0.3, 0.5, 0.4]])
    eps, gamma = 0.1, 1.5
    weights = replace(LOW, box=0.0, obj=0.0, fl_gamma=gamma, label_smoothing=eps)
    loss = DetectionLoss(ANCHORS, weights, classes=3)
    total, _ = loss(levels, targets)
    expected = torch.zeros(())
    for level, m in zip(levels, assign_targets(targets, ANCHORS, [(8, 8), (4, 4), (2, 2)]), strict=True):
        if len(m.image) == 0:
            continue
        x = level[m.image, m.anchor, m.gj, m.gi][:, 5:]
        y = functional.one_hot(m.cls, 3) * (1 - eps) + eps / 2
        p = x.sigmoid()
        hit = y * p + (1 - y) * (1 - p)
        bce = -(y * p.log() + (1 - y) * (1 - p).log())
        expected = expected + (bce * (0.25 * y + 0.75 * (1 - y)) * (1 - hit) ** gamma).mean() * loss.gain_cls
    assert expected > 0
    assert total.item() == pytest.approx(expected.item(), rel=1e-5)


def test_ciou_of_equal_boxes_is_one_and_falls_with_distance() -> None:
    box = torch.tensor([[0.0, 0.0, 2.0, 4.0]])
    assert ciou(box, box).item() == pytest.approx(1.0, abs=1e-6)
    values = [ciou(box, torch.tensor([[d, 0.0, 2.0, 4.0]])).item() for d in (0.0, 0.5, 1.0, 3.0, 6.0)]
    assert values == sorted(values, reverse=True)
    assert values[-1] < 0


@pytest.mark.parametrize("gamma", [0.0, 1.5])
def test_a_region_to_ignore_bears_no_objectness_loss_and_changes_no_other(gamma: float) -> None:
    """Gradients are those without a region, but for the cells that meet it: none there, unless a labelled cell lies in them."""
    generator = torch.Generator().manual_seed(3)
    levels = [torch.randn(2, 3, n, n, 8, generator=generator, requires_grad=True) for n in (8, 4, 2)]
    targets = torch.tensor([[0, 1, 0.4, 0.6, 0.2, 0.3], [0, 2, 0.1, 0.1, 0.2, 0.2]])
    region = torch.tensor([[0, 0.26, 0.5, 0.49, 0.99]])  # columns 2 and 3, rows 4 to 7 of eight
    loss = DetectionLoss(ANCHORS, replace(LOW, fl_gamma=gamma), classes=3)
    penalty = torch.zeros(())
    for level, balance in zip(levels, (4.0, 1.0, 0.4), strict=True):
        n = level.shape[2]
        x = level[0, :, n // 2 :, n // 4 : -(-n // 2), 4]
        each = functional.softplus(x) * (1 if gamma == 0 else 0.75 * x.sigmoid() ** gamma)
        penalty = penalty + 2 * loss.gain_obj * balance * each.sum() / level[..., 4].numel()
    saved = loss(levels, targets[:0])[0] - loss(levels, targets[:0], region)[0]
    assert saved.item() == pytest.approx(penalty.item(), rel=1e-4)
    plain = torch.autograd.grad(loss(levels, targets)[0], levels)
    masked = torch.autograd.grad(loss(levels, targets, region)[0], levels)
    none = torch.autograd.grad(loss(levels, targets, region[:0])[0], levels)
    for n, with_region, without, same in zip((8, 4, 2), masked, plain, none, strict=True):
        assert torch.equal(without, same)
        inside = torch.zeros(2, 3, n, n, dtype=torch.bool)
        inside[0, :, n // 2 :, n // 4 : -(-n // 2)] = True
        for m in [assign_targets(targets, ANCHORS, [(8, 8), (4, 4), (2, 2)])[(8, 4, 2).index(n)]]:
            inside[m.image, m.anchor, m.gj, m.gi] = False
        assert (with_region[..., 4][inside] == 0).all() and (without[..., 4][inside] != 0).all() and inside.any()
        torch.testing.assert_close(with_region[..., 4][~inside], without[..., 4][~inside], rtol=0, atol=0)
        assert torch.equal(with_region[..., :4], without[..., :4]) and torch.equal(with_region[..., 5:], without[..., 5:])


def test_mixed_precision_maps_give_a_float32_loss() -> None:
    levels = [torch.randn(2, 3, n, n, 8).bfloat16().requires_grad_() for n in (8, 4, 2)]
    with torch.autocast("cpu", dtype=torch.bfloat16):
        total, _ = DetectionLoss(ANCHORS, classes=3)(levels, torch.tensor([[1, 1, 0.4, 0.6, 0.2, 0.3]]))
    assert total.dtype == torch.float32
    total.backward()
    assert all(level.grad is not None and level.grad.isfinite().all() for level in levels)


def test_bare_anchors_need_the_number_of_classes() -> None:
    with pytest.raises(ValueError, match="number of classes"):
        DetectionLoss(ANCHORS)


def test_the_loss_follows_the_models_own_anchors() -> None:
    model = YOLOv5("n", classes=5)
    model.detect.anchors.mul_(0.5)  # as after autoanchor or loaded weights
    loss = DetectionLoss(model)
    assert torch.equal(loss.anchors, model.detect.anchors)
    assert loss.classes == 5


def test_overfitting_four_images_lowers_the_loss() -> None:
    torch.manual_seed(0)
    model = YOLOv5("n", classes=3).train()
    loss = DetectionLoss(model, imgsz=64)
    images = 0.7 + 0.1 * torch.rand(4, 3, 64, 64)
    targets = torch.tensor([[i, i % 3, 0.3 + 0.1 * i, 0.6, 0.3, 0.25 + 0.1 * i] for i in range(4)])
    for i, _, x, y, w, h in targets.tolist():  # dark where the box is
        top, bottom, left, right = (round(v * 64) for v in (y - h / 2, y + h / 2, x - w / 2, x + w / 2))
        images[int(i), :, top:bottom, left:right] *= 0.2
    optimiser = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9, nesterov=True)
    history = []
    for _ in range(25):
        total, _ = loss(model(images), targets)
        history.append(total.item())
        optimiser.zero_grad()
        total.backward()
        optimiser.step()
    means = [np.mean(history[i : i + 5]) for i in range(0, 25, 5)]
    assert means == sorted(means, reverse=True), history
    assert means[-1] < 0.75 * means[0], history
