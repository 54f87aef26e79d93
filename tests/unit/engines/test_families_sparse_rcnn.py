"""Sparse R-CNN: one stage of the published head number by number, and the seam that every family keeps."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from overfitting import four_pictures, learn_by_heart
from torch import Tensor
from truths import truth_of

from engines.families import family
from engines.families.roi_align import roi_align
from engines.families.sparse_rcnn.head import Stage, moved, pool
from engines.families.sparse_rcnn.sparse_rcnn import SCALES, SparseRCNN
from engines.taxonomy import LEUKEMIA_ATTRI

SMALL = SCALES["r18"]._replace(proposals=20, width=64, wide=128, heads=4, inner=16)


@pytest.mark.shared
def test_a_stage_gives_the_published_numbers(parity: Path) -> None:
    from safetensors.torch import load_file

    with np.load(parity / "other_detectors/detectors.npz") as stored:
        of = {name[7:]: torch.from_numpy(stored[name]) for name in stored.files if name.startswith("sparse.")}
    stage = Stage(width=64, classes=14, heads=4, wide=128, inner=16)
    stage.load_state_dict(load_file(parity / "other_detectors/sparsercnn_head_state.safetensors"))
    told = stage.eval()(of["roi_features"].view(2, 5, 64, 7, 7), of["boxes_xyxy"], of["proposal_features"])
    for value, name in zip(told, ("class_logits", "pred_boxes", "obj_features"), strict=True):
        torch.testing.assert_close(value, of[name].view_as(value), atol=1e-4, rtol=0)


def test_boxes_move_by_widths_and_grow_by_logarithms() -> None:
    box = torch.tensor([10.0, 20.0, 30.0, 60.0])
    assert moved(box, torch.zeros(4)).tolist() == box.tolist()
    deltas = torch.tensor([1.0, -0.5, float(np.log(2)), 0.0])  # centre and shifts count half: half a width right, a quarter height up
    assert moved(box, deltas).tolist() == pytest.approx([10.0, 10.0, 50.0, 50.0])
    assert torch.isfinite(moved(box, torch.full((4,), 1e4))).all(), "a wild logit must not overflow"


def test_each_box_is_pooled_from_the_level_of_its_size_and_its_own_picture() -> None:
    torch.manual_seed(0)
    levels = [torch.randn(2, 3, 256 // stride, 256 // stride) for stride in (4, 8, 16, 32)]
    boxes = torch.tensor([[10.0, 10, 40, 30], [20, 20, 140, 150], [0, 0, 230, 225], [5, 6, 5, 6]])  # P2, P3, P4, empty: P2
    pooled = pool(levels, torch.stack((boxes, boxes.flip(0))))
    assert pooled.shape == (2, 4, 3, 7, 7)
    for place, level in ((0, 0), (1, 1), (2, 2)):
        rois = torch.cat((torch.tensor([[0.0], [1.0]]), boxes[place].expand(2, 4)), 1)
        expected = roi_align(levels[level], rois, (7, 7), 1 / (4 << level), sampling_ratio=2, aligned=True)
        torch.testing.assert_close(pooled[[0, 1], [place, 3 - place]], expected)


@pytest.fixture(scope="module")
def network() -> SparseRCNN:
    torch.manual_seed(0)
    return SparseRCNN("r18", scale=SMALL)


def test_rows_are_boxes_in_input_px_with_objectness_one(network: SparseRCNN) -> None:
    images = torch.rand(2, 3, 64, 96)
    with torch.no_grad():
        rows, maps = network.eval().look(images)
        logits, boxes = network.stages(images)[-1]
    assert rows.shape == (2, 20, 5 + len(LEUKEMIA_ATTRI.classes))
    assert (rows[..., 4] == 1).all()
    torch.testing.assert_close(rows[..., 5:], logits.sigmoid())
    torch.testing.assert_close(rows[..., :2], (boxes[..., :2] + boxes[..., 2:]) / 2)
    assert network.describe(maps, torch.zeros(3, 5)).isnan().all()


def test_the_first_boxes_are_the_whole_picture(network: SparseRCNN) -> None:
    seen: list[Tensor] = []
    first = network.head.head_series[0]
    handle = first.register_forward_pre_hook(lambda _, given: seen.append(given[1]))
    with torch.no_grad():
        network.eval().look(torch.rand(1, 3, 64, 96))
    handle.remove()
    assert seen[0][0, 0].tolist() == [0, 0, 96, 64]


def test_every_weight_learns_and_each_stage_for_itself(network: SparseRCNN) -> None:
    network.train()
    parts = network.losses(torch.rand(2, 3, 64, 64), [truth_of([[8, 8, 40, 40]], [3]), truth_of([], [])])
    assert set(parts) == {"cls", "l1", "giou"}
    network.zero_grad()
    torch.stack(list(parts.values())).sum().backward()
    without = [name for name, value in network.named_parameters() if value.grad is None]
    assert not without
    network.zero_grad(set_to_none=True)


def test_a_region_to_ignore_over_all_of_the_picture_bears_no_class_loss(network: SparseRCNN) -> None:
    everything = truth_of([], [], [[-1e4, -1e4, 1e4, 1e4]])
    parts = network.train().losses(torch.rand(1, 3, 64, 64), [everything])
    assert torch.stack(list(parts.values())).tolist() == [0, 0, 0]


def test_it_is_a_family_by_name_in_two_sizes() -> None:
    assert family("sparse_rcnn") is SparseRCNN
    assert SparseRCNN.sizes == ("r18", "r50")
    assert SparseRCNN.iou == 1, "a set suppresses nothing"


def test_four_pictures_are_learnt_by_heart() -> None:
    """From random weights, in about 20 s of one core."""
    torch.manual_seed(0)
    images, truth = four_pictures()
    network = SparseRCNN("r18", scale=SMALL)
    reached, _ = learn_by_heart(network, images, truth, most=200, rate=5e-4)
    assert reached > 0.9
