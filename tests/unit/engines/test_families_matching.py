"""Set prediction: DINO's published matcher number by number, and what the loss must do with cells, strays and regions to ignore."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor
from truths import truth_of

from engines.families import parallel
from engines.families.box_losses import focal_loss, giou
from engines.families.matching import (
    COST,
    Pairs,
    Wanted,
    Weights,
    gather,
    match,
    matching_cost,
    set_loss,
    to_centres,
    to_corners,
)


def random_boxes(n: int, seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    centre, size = torch.rand(n, 2, generator=generator) * 0.6 + 0.2, torch.rand(n, 2, generator=generator) * 0.3 + 0.05
    return to_corners(torch.cat((centre, size), 1))


IMAGES = torch.zeros(2, 3, 64, 128)


@pytest.fixture(scope="module")
def published(parity: Path) -> dict[str, Tensor]:
    with np.load(parity / "other_detectors/detectors.npz") as stored:
        return {name[10:]: torch.from_numpy(stored[name]) for name in stored.files if name.startswith("hungarian.")}


@pytest.mark.shared
def test_the_matching_cost_is_the_published_one(published: dict[str, Tensor]) -> None:
    boxes, truth = to_corners(published["boxes_cxcywh"]), to_corners(published["gt_boxes"])
    cost = matching_cost(published["logits"][0], boxes, published["gt_labels"], truth, COST, centres=True)
    torch.testing.assert_close(cost, published["cost"], atol=1e-4, rtol=0, check_dtype=False)


@pytest.mark.shared
def test_the_assignment_is_the_published_one(published: dict[str, Tensor]) -> None:
    boxes, truth = to_corners(published["boxes_cxcywh"]), to_corners(published["gt_boxes"])
    none = torch.zeros(0, 4)
    wanted = Wanted(published["gt_labels"], truth, torch.zeros(5, dtype=torch.int64), (5,), none, none[:, 0].long())
    pairs = match(published["logits"], boxes[None], wanted, COST, centres=True)
    assert pairs.query.tolist() == published["rows"].tolist()
    assert pairs.cell.tolist() == published["cols"].tolist()


def test_a_picture_is_shared_out_at_the_least_cost() -> None:
    """Against all assignments one by one, in a batch with two, no and three cells."""
    torch.manual_seed(0)
    logits, boxes = torch.randn(3, 4, 5), torch.stack([random_boxes(4, seed) for seed in (1, 2, 3)])
    wanted = Wanted(torch.tensor([0, 3, 1, 1, 4]), random_boxes(5, 4), torch.tensor([0, 0, 2, 2, 2]), (2, 0, 3), *_nothing_ignored())
    pairs = match(logits, boxes, wanted, COST, centres=True)
    assert pairs.image.tolist() == [0, 0, 2, 2, 2]
    for image, cells in ((0, [0, 1]), (2, [2, 3, 4])):
        cost = matching_cost(logits[image], boxes[image], wanted.classes[cells], wanted.boxes[cells], COST, centres=True)
        least = min(itertools.permutations(range(4), len(cells)), key=lambda rows, c=cost: sum(c[r, i] for i, r in enumerate(rows)))
        mine = pairs.image == image
        assert dict(zip(pairs.cell[mine].tolist(), pairs.query[mine].tolist(), strict=True)) == dict(zip(cells, least, strict=True))


def test_more_cells_than_predictions_leave_the_dearest_cells_unanswered() -> None:
    wanted = Wanted(torch.tensor([0, 0, 0]), random_boxes(3, 1), torch.zeros(3, dtype=torch.int64), (3,), *_nothing_ignored())
    pairs = match(torch.zeros(1, 2, 1), wanted.boxes[None, :2], wanted, COST, centres=False)
    assert pairs.query.tolist() == [0, 1]
    assert pairs.cell.tolist() == [0, 1]


def test_a_prediction_that_is_no_number_does_not_end_the_run() -> None:
    """The loop says that the loss is no number, and what to do; a traceback from the matching would not."""
    wanted = Wanted(torch.tensor([1]), random_boxes(1, 1), torch.tensor([0]), (1,), *_nothing_ignored())
    logits, boxes = torch.full((1, 3, 2), float("nan")), torch.full((1, 3, 4), float("nan"))
    pairs = match(logits, boxes, wanted, COST, centres=True)
    assert len(pairs.query) == 1
    assert set_loss(logits, boxes, wanted, pairs, COST, centres=True)["cls"].isnan()


def test_generalised_iou_of_boxes_apart_inside_and_equal() -> None:
    box = torch.tensor([0.0, 0.0, 2.0, 2.0])
    assert giou(box, box) == 1
    assert giou(box, torch.tensor([0.0, 0.0, 1.0, 1.0])) == 0.25
    assert giou(box, torch.tensor([3.0, 0.0, 5.0, 2.0])) == pytest.approx(-0.2)  # hull 10, union 8
    assert torch.isfinite(giou(torch.zeros(4), torch.zeros(4)))


def test_centres_and_corners_are_each_others_inverse() -> None:
    boxes = random_boxes(50, 7)
    torch.testing.assert_close(to_corners(to_centres(boxes)), boxes)


def test_focal_loss_is_the_closed_form() -> None:
    logits, wanted = torch.tensor([1.5, -0.5]), torch.tensor([1.0, 0.0])
    p = logits.sigmoid()
    expected = torch.stack((-0.25 * (1 - p[0]) ** 2 * p[0].log(), -0.75 * p[1] ** 2 * (1 - p[1]).log()))
    torch.testing.assert_close(focal_loss(logits, wanted), expected)


def test_truth_becomes_shares_of_the_picture() -> None:
    wanted = gather([truth_of([], []), truth_of([[16, 16, 64, 32]], [3], [[0, 0, 128, 32]])], IMAGES)
    assert wanted.counts == (0, 1)
    assert (wanted.image.tolist(), wanted.classes.tolist()) == ([1], [3])
    assert wanted.boxes.tolist() == [[0.125, 0.25, 0.5, 0.5]]
    assert (wanted.ignored.tolist(), wanted.ignored_image.tolist()) == ([[0, 0, 1, 0.5]], [1])


def test_perfect_boxes_cost_nothing_and_the_loss_is_a_mean_over_cells() -> None:
    wanted = gather([truth_of([[16, 16, 64, 32]], [3]), truth_of([[0, 0, 32, 32]], [1])], IMAGES)
    pairs = Pairs(torch.tensor([0, 1]), torch.tensor([0, 0]), torch.tensor([0, 1]))
    boxes = torch.stack((wanted.boxes, wanted.boxes), 1)
    logits = torch.zeros(2, 2, 4)
    parts = set_loss(logits, boxes, wanted, pairs, Weights(1.0, 1.0, 1.0), centres=True)
    assert parts["l1"] == 0
    assert parts["giou"] == pytest.approx(0)
    there, not_there = 0.25 * 0.25 * np.log(2), 0.75 * 0.25 * np.log(2)
    assert parts["cls"] == pytest.approx((2 * there + 14 * not_there) / 2)
    off = boxes.clone()
    off[0, 0] += torch.tensor([0.1, 0.0, 0.1, 0.0])
    assert set_loss(logits, off, wanted, pairs, Weights(1.0, 1.0, 1.0), centres=True)["l1"] == pytest.approx(0.05)
    assert set_loss(logits, off, wanted, pairs, Weights(1.0, 1.0, 1.0), centres=False)["l1"] == pytest.approx(0.1)


def test_what_lies_in_a_region_to_ignore_bears_no_loss_unless_it_answers_for_a_cell() -> None:
    """Three predictions: one for the cell, inside the region too; one in the region; one half outside of it by more than half."""
    region = [0.0, 0.0, 64.0, 64.0]
    wanted = gather([truth_of([[8, 8, 24, 24]], [0], [region]), truth_of([], [])], IMAGES)
    box = torch.tensor([[8, 8, 24, 24], [30, 8, 60, 24], [56, 8, 80, 24]]) / torch.tensor([128, 64, 128, 64])
    boxes = box.expand(2, 3, 4)
    logits = torch.zeros(2, 3, 2, requires_grad=True)
    pairs = Pairs(*(torch.tensor([0]) for _ in range(3)))
    parts = set_loss(logits, boxes, wanted, pairs, COST, centres=True)
    torch.stack(list(parts.values())).sum().backward()
    assert logits.grad is not None
    borne = (logits.grad != 0).any(2)
    assert borne.tolist() == [[True, False, True], [True, True, True]], "regions count in their own picture alone"


def test_a_batch_without_a_cell_teaches_that_nothing_is_there() -> None:
    wanted = gather([truth_of([], []), truth_of([], [])], IMAGES)
    logits = torch.zeros(2, 3, 2, requires_grad=True)
    boxes = torch.full((2, 3, 4), 0.5, requires_grad=True)
    pairs = match(logits, boxes, wanted, COST, centres=True)
    total = torch.stack(list(set_loss(logits, boxes, wanted, pairs, COST, centres=True).values())).sum()
    total.backward()
    assert total > 0
    assert logits.grad is not None and (logits.grad > 0).all()


@pytest.mark.parametrize("cells", [(3, 1), (2, 0)])
def test_the_losses_of_processes_add_up_to_that_of_the_whole_batch(cells: tuple[int, int], monkeypatch: pytest.MonkeyPatch) -> None:
    size = torch.tensor([128, 64] * 2)
    truth = [truth_of((random_boxes(n, n + 1) * size).tolist(), list(range(n))) for n in cells]
    torch.manual_seed(0)
    logits, boxes = torch.randn(2, 6, 4), torch.stack([random_boxes(6, seed) for seed in (5, 6)])

    def loss(some: slice) -> Tensor:
        wanted = gather(truth[some], IMAGES[some])
        pairs = match(logits[some], boxes[some], wanted, COST, centres=True)
        return torch.stack(list(set_loss(logits[some], boxes[some], wanted, pairs, COST, centres=True).values()))

    whole, parts = loss(slice(0, 2)), []
    monkeypatch.setattr(parallel, "gathered", lambda _: [[n, n, 1] for n in cells])
    for rank in (0, 1):
        monkeypatch.setattr(parallel, "current", lambda rank=rank: parallel.Processes(rank, 2))
        parts.append(loss(slice(rank, rank + 1)) * 0.5)
    torch.testing.assert_close(parts[0] + parts[1], whole)


def _nothing_ignored() -> tuple[Tensor, Tensor]:
    return torch.zeros(0, 4), torch.zeros(0, dtype=torch.int64)
