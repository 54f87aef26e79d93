"""FCOS: held to torchvision's numbers where they are, and to what the paper says of points and boxes everywhere."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from engines.decode import Thresholds, candidates
from engines.families.base import Batch, Course, Truth
from engines.families.box_losses import focal_loss, giou
from engines.families.fcos.fcos import FCOS, Answers, rows_of
from engines.families.fcos.losses import fcos_losses
from engines.families.fcos.points import STRIDES, Points

PARITY = Path(__file__).resolve().parents[4] / "shared/parity/other_detectors"
GRIDS = ((32, 40), (16, 20), (8, 10), (4, 5), (2, 3))
HW = (256, 320)


def truth_of(boxes: Tensor, classes: Tensor, ignored: Tensor | None = None) -> Truth:
    regions = torch.zeros(0, 4) if ignored is None else ignored
    return Truth(boxes, classes, torch.full((len(boxes), 7), -1), regions)


class Numbers:
    """Random answers of a head for two pictures of 256 x 320, and what torchvision 0.28 made of them."""

    def __init__(self) -> None:
        with np.load(PARITY / "detectors.npz") as stored:
            self.of = {name[5:]: stored[name] for name in stored.files if name.startswith("fcos.")}
        self.losses = json.loads((PARITY / "meta.json").read_text())["fcos"]["losses"]
        self.points = Points.of(GRIDS, HW)
        self.truth = [truth_of(self.tensor(f"boxes{i}"), self.tensor(f"labels{i}")) for i in (0, 1)]
        self.answers = Answers(self.tensor("cls_logits"), self.tensor("bbox_regression"), self.tensor("bbox_ctrness")[..., 0])

    def tensor(self, name: str) -> Tensor:
        return torch.from_numpy(self.of[name])


@pytest.fixture(scope="module")
def numbers() -> Numbers:
    if not PARITY.is_dir():
        pytest.skip("no reference numbers beside the repository")
    return Numbers()


@pytest.mark.shared
def test_points_are_torchvisions(numbers: Numbers) -> None:
    corners = numbers.tensor("anchors")
    assert torch.equal(numbers.points.xy, (corners[:, :2] + corners[:, 2:]) / 2)
    assert torch.equal(numbers.points.stride, corners[:, 2] - corners[:, 0])


@pytest.mark.shared
@pytest.mark.parametrize("picture", [0, 1])
def test_points_answer_for_the_cells_that_torchvisions_do(numbers: Numbers, picture: int) -> None:
    found = numbers.points.matched(numbers.truth[picture].boxes_px)
    assert (found >= 0).sum() > 3
    assert torch.equal(found, numbers.tensor(f"matched{picture}"))


@pytest.mark.shared
def test_losses_and_their_gradient_are_torchvisions(numbers: Numbers) -> None:
    classes, sides, centres = numbers.answers
    classes = classes.clone().requires_grad_()
    parts = fcos_losses(numbers.points, classes, sides, centres, numbers.truth)
    names = {"cls": "classification", "box": "bbox_regression", "ctr": "bbox_ctrness"}
    assert {names[k]: v.item() for k, v in parts.items()} == pytest.approx(numbers.losses, abs=1e-4)
    torch.stack(list(parts.values())).sum().backward()
    assert classes.grad is not None
    assert torch.allclose(classes.grad, numbers.tensor("grad_cls"), atol=1e-6)


@pytest.mark.shared
@pytest.mark.parametrize("picture", [0, 1])
def test_detections_are_torchvisions(numbers: Numbers, picture: int) -> None:
    """Their rule: score above .2, suppression of each type by itself at IoU .6, 100 boxes a picture."""
    rows = rows_of(numbers.points, numbers.answers, HW)[picture].numpy()
    found = candidates(rows, Thresholds(0.2, 0.6, 100, agnostic=False, multi_label=True))
    expected = {name: numbers.of[f"det{picture}.{name}"] for name in ("boxes", "scores", "labels")}
    assert len(found) == 100
    assert np.array_equal(found.classes, expected["labels"])
    assert np.abs(found.scores - expected["scores"]).max() < 1e-4
    assert np.abs(found.boxes_px - expected["boxes"]).max() < 1e-4


def one_box(x1: float, y1: float, x2: float, y2: float) -> Tensor:
    return torch.tensor([[x1, y1, x2, y2]])


def test_a_cells_size_decides_its_level() -> None:
    points = Points.of(GRIDS, HW)
    for side, stride in ((20, 8), (60, 8), (100, 16), (200, 32), (250, 32)):
        matched = points.matched(one_box(128 - side / 2, 128 - side / 2, 128 + side / 2, 128 + side / 2)) >= 0
        assert stride in points.stride[matched].unique().tolist(), side
        assert points.stride[matched].max() <= 2 * stride, side


def test_a_point_answers_for_the_smallest_of_the_cells_around_it() -> None:
    points = Points.of(GRIDS, HW)
    matched = points.matched(torch.tensor([[90.0, 90, 150, 150], [110, 110, 140, 140]]))
    of = {tuple(xy): which for xy, which in zip(points.xy.tolist(), matched.tolist(), strict=True) if which >= 0}
    assert {xy for xy, which in of.items() if which == 1} == {(x, y) for x in (120, 128, 136) for y in (120, 128, 136)}
    assert {xy for xy, which in of.items() if which == 0} == {(x, y) for x in (112, 120, 128) for y in (112, 120, 128) if 112 in (x, y)}


def test_no_cell_leaves_background() -> None:
    points = Points.of(GRIDS, HW)
    assert (points.matched(torch.zeros(0, 4)) == -1).all()
    answers = Answers(torch.zeros(1, 1706, 14), torch.ones(1, 1706, 4), torch.zeros(1, 1706))
    parts = fcos_losses(points, *answers, [truth_of(torch.zeros(0, 4), torch.zeros(0, dtype=torch.int64))])
    assert parts["box"].item() == parts["ctr"].item() == 0
    assert parts["cls"].item() == pytest.approx(1706 * 14 * 0.75 * 0.25 * np.log(2), rel=1e-5)


def test_perfect_answers_cost_nothing() -> None:
    points, box = Points.of(GRIDS, HW), one_box(100, 90, 150, 150)
    matched = points.matched(box) >= 0
    sides = points.sides_to(box[0].expand(len(matched), 4)) / points.stride[:, None]
    near, far = sides.view(-1, 2, 2).amin(1), sides.view(-1, 2, 2).amax(1)
    centres = torch.logit((near / far).prod(1).clamp(0).sqrt().nan_to_num())
    classes = torch.full((len(matched), 14), -30.0)
    classes[matched, 3] = 30
    parts = fcos_losses(points, classes[None], sides.clamp(min=0)[None], centres[None], [truth_of(box, torch.tensor([3]))])
    assert parts["box"].item() == pytest.approx(0, abs=1e-5)
    assert parts["cls"].item() == pytest.approx(0, abs=1e-5)
    centre = torch.sigmoid(centres[matched])
    entropy = -(centre * centre.log() + (1 - centre) * torch.log1p(-centre)).mean()  # the least that the cross-entropy can be
    assert parts["ctr"].item() == pytest.approx(entropy.item(), abs=1e-4)


def test_regions_to_ignore_teach_no_background_but_cells_in_them_are_taught() -> None:
    points, box = Points.of(GRIDS, HW), one_box(100, 90, 150, 150)
    classes = torch.zeros(1, 1706, 14, requires_grad=True)
    answers = (classes, torch.ones(1, 1706, 4), torch.zeros(1, 1706))
    region = torch.tensor([[64.0, 64.0, 320.0, 256.0]])
    cell = torch.tensor([3])
    fcos_losses(points, *answers, [truth_of(box, cell, region)])["cls"].backward()
    assert classes.grad is not None
    taught = classes.grad[0].abs().sum(1) > 0
    inside = (points.xy >= 64).all(1)
    assert torch.equal(taught, ~inside | (points.matched(box) >= 0))


def test_the_shares_of_two_processes_add_up_to_the_loss_of_the_whole_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    points, answers = Points.of(GRIDS, HW), (torch.randn(3, 1706, 14), torch.rand(3, 1706, 4) * 3, torch.randn(3, 1706))
    boxes = [one_box(100, 90, 150, 150), torch.tensor([[20.0, 30, 60, 70], [200, 20, 300, 120]]), torch.zeros(0, 4)]
    truth = [truth_of(b, torch.arange(len(b))) for b in boxes]
    whole = fcos_losses(points, *answers, truth)
    counts = [[int((points.matched(b) >= 0).sum()) for b in some] for some in (boxes[:1], boxes[1:])]
    told = [[sum(some), len(some)] for some in counts]
    monkeypatch.setattr("engines.families.parallel.gathered", lambda mine: told)
    first, second = (fcos_losses(points, *(some[part] for some in answers), truth[part]) for part in (slice(0, 1), slice(1, 3)))
    for name, expected in whole.items():
        assert (first[name] / 3 + second[name] * 2 / 3).item() == pytest.approx(expected.item(), rel=1e-5), name


def test_in_half_precision_the_losses_are_nearly_the_same_and_in_float32() -> None:
    torch.manual_seed(0)
    network = FCOS("r18").train()
    images = (torch.rand(2, 3, 64, 64) * 255).to(torch.uint8)
    targets = torch.tensor([[0.0, 2, 0.4, 0.4, 0.5, 0.5]])
    batch = Batch(images, targets, torch.full((1, 7), -1), torch.zeros(0, 5))
    plain = network.learner(Course())(batch)[1]
    halved = network.learner(Course(halved=lambda: torch.autocast("cpu", torch.bfloat16)))(batch)[1]
    for name, value in plain.items():
        assert halved[name].dtype == torch.float32
        assert halved[name].item() == pytest.approx(value.item(), rel=0.02), name


def test_a_box_ends_at_the_pictures_edge_and_its_score_is_a_root() -> None:
    points = Points.of([(2, 2), (1, 1), (1, 1), (1, 1), (1, 1)], (16, 16))
    sides = torch.full((1, 8, 4), 1.5)
    rows = rows_of(points, Answers(torch.full((1, 8, 1), 0.3), sides, torch.full((1, 8), -0.4)), (16, 16))
    assert rows[0, 3, :4].tolist() == [8, 8, 16, 16]
    assert rows[0, 0, :4].tolist() == [6, 6, 12, 12]
    score = (rows[..., 4] * rows[..., 5]).flatten()
    expected = np.sqrt(1 / (1 + np.exp(-0.3)) / (1 + np.exp(0.4)))
    assert score.tolist() == pytest.approx([expected] * 8, rel=1e-6)


def test_giou_of_known_boxes() -> None:
    a = torch.tensor([[0.0, 0, 2, 2], [0, 0, 1, 1], [0, 0, 2, 2]])
    b = torch.tensor([[0.0, 0, 2, 2], [2, 0, 3, 1], [1, 0, 3, 2]])
    assert giou(a, b).tolist() == pytest.approx([1, -1 / 3, 1 / 3], abs=1e-6)


def test_focal_loss_by_its_formula() -> None:
    p = np.array([0.9, 0.2])
    logits = torch.from_numpy(np.log(p / (1 - p)))
    assert focal_loss(logits, torch.tensor([1.0, 0.0], dtype=torch.float64)).tolist() == pytest.approx(
        [-0.25 * 0.1**2 * np.log(0.9), -0.75 * 0.2**2 * np.log(0.8)]
    )


@pytest.mark.parametrize("size", FCOS.sizes)
def test_rows_of_a_network(size: str) -> None:
    torch.manual_seed(0)
    network = FCOS(size).eval()
    with torch.no_grad():
        rows, maps = network.look(torch.rand(2, 3, 96, 160))
        told = network.describe(maps, torch.tensor([[0.0, 1, 1, 9, 9], [1, 2, 2, 5, 5]]))
    grids = [(-(-96 // s), -(-160 // s)) for s in STRIDES]
    assert rows.shape == (2, sum(h * w for h, w in grids), 5 + 14)
    assert torch.isfinite(rows).all()
    assert ((rows[..., 4:] >= 0) & (rows[..., 4:] <= 1)).all()
    assert rows[..., 5:].mean().item() == pytest.approx(0.1, abs=0.03)  # the root of the prior
    assert told.shape == (2, network.taxonomy.n_logits)
    assert torch.isnan(told).all()


@torch.no_grad()
def test_fused_it_says_the_same() -> None:
    torch.manual_seed(0)
    network = FCOS("r18")
    for name, value in network.state_dict().items():
        if name.endswith("running_var"):
            value.uniform_(0.5, 2)
        elif name.endswith(("running_mean", "bn1.weight", "bn2.bias")):
            value.normal_()
    network.eval()
    images = torch.rand(1, 3, 64, 64)
    before = network.look(images)[0]
    assert not any("running_mean" in name for name in network.fuse().state_dict())
    assert torch.allclose(network.fuse().look(images)[0], before, atol=1e-4)


def test_every_parameter_learns_from_a_batch_with_an_empty_picture() -> None:
    torch.manual_seed(0)
    network = FCOS("r18").train()
    images = torch.rand(2, 3, 64, 64)
    empty = truth_of(torch.zeros(0, 4), torch.zeros(0, dtype=torch.int64))
    parts = network.losses(images, [truth_of(one_box(10, 10, 40, 40), torch.tensor([2])), empty])
    assert set(parts) == {"box", "ctr", "cls"}
    assert all(torch.isfinite(part) and part.dim() == 0 for part in parts.values())
    torch.stack(list(parts.values())).sum().backward()
    assert all(p.grad is not None for p in network.parameters())
