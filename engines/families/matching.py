"""Set prediction: which of a fixed number of predictions answers for which cell, and what all of them cost (DETR and its kin).

Shared by Sparse R-CNN and DINO. Boxes are shares of the picture's width and height here, x1 y1 x2 y2, so that no size of a picture
enters the arithmetic. (Carion et al. 2020; focal cost: Zhu et al. 2021; spec 4.3, 4.4.)
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from engines.families import parallel
from engines.families.base import Truth
from engines.families.box_losses import ALPHA, GAMMA, focal_loss, giou

EXCUSED = 0.5
"""Share of a prediction's own area in one region to ignore from which on it bears no loss; evaluation forgives by the same share."""


class Weights(NamedTuple):
    """How much class, L1 distance and generalised IoU count, in the matching or in the loss."""

    cls: float = 2.0
    l1: float = 5.0
    giou: float = 2.0


COST = Weights()
"""Of the matching, in Sparse R-CNN and in DINO."""


class Everyone(NamedTuple):
    """What all processes that train together have before them in this step; one that is alone has all.

    cells: of all of them. before: of those of lower rank. most: of the fullest picture. share: this one's part of the pictures.
    """

    cells: int = 0
    before: int = 0
    most: int = 0
    share: float = 1.0


class Wanted(NamedTuple):
    """The cells of a batch one after another, n of them, and the regions to ignore.

    classes: (n,) int64. boxes: (n, 4) shares. image: (n,) int64, index in the batch. counts: cells of each picture; their sum is n.
    ignored: (m, 4) shares; ignored_image: (m,) int64. everyone: what there is beside them.
    """

    classes: Tensor
    boxes: Tensor
    image: Tensor
    counts: tuple[int, ...]
    ignored: Tensor
    ignored_image: Tensor
    everyone: Everyone = Everyone()


class Pairs(NamedTuple):
    """Which prediction answers for which cell: (k,) int64 each: index in the batch, prediction, cell in `Wanted`."""

    image: Tensor
    query: Tensor
    cell: Tensor


def gather(truth: Sequence[Truth], images: Tensor) -> Wanted:
    """The truth of a batch of pictures (B, 3, H, W), boxes from px to shares, on the pictures' device, in float32 at least."""
    device = images.device
    dtype = torch.float64 if images.dtype == torch.float64 else torch.float32
    height, width = images.shape[-2:]
    size = torch.tensor([width, height] * 2, dtype=dtype, device=device)
    counts = tuple(len(one.classes) for one in truth)
    regions = tuple(len(one.ignored) for one in truth)
    index = torch.arange(len(truth))
    every = parallel.gathered([sum(counts), max(counts, default=0), len(truth)])
    rank = parallel.current().rank
    cells, most, pictures = zip(*every, strict=True)
    return Wanted(
        torch.cat([one.classes for one in truth]).to(device),
        torch.cat([one.boxes_px for one in truth]).to(device, dtype).view(-1, 4) / size,
        index.repeat_interleave(torch.tensor(counts)).to(device),
        counts,
        torch.cat([one.ignored for one in truth]).to(device, dtype).view(-1, 4) / size,
        index.repeat_interleave(torch.tensor(regions)).to(device),
        Everyone(sum(cells), sum(cells[:rank]), max(most), len(truth) / sum(pictures)),
    )


def to_centres(boxes: Tensor) -> Tensor:
    """x1 y1 x2 y2 -> centre x, centre y, width, height; (..., 4)."""
    low, high = boxes[..., :2], boxes[..., 2:]
    return torch.cat(((low + high) / 2, high - low), -1)


def to_corners(boxes: Tensor) -> Tensor:
    """Centre x, centre y, width, height -> x1 y1 x2 y2; (..., 4)."""
    centre, half = boxes[..., :2], boxes[..., 2:] / 2
    return torch.cat((centre - half, centre + half), -1)


def matching_cost(logits: Tensor, boxes: Tensor, classes: Tensor, wanted: Tensor, weights: Weights, *, centres: bool) -> Tensor:
    """What it costs that a prediction answers for a cell, (N, n): focal cost of the class, L1 distance, generalised IoU.

    logits: (N, C). boxes: (N, 4) and wanted: (n, 4), shares x1 y1 x2 y2. classes: (n,). centres: the L1 distance is that of centre and
    size (DINO), else that of the corners (Sparse R-CNN).
    """
    p = logits.sigmoid()[:, classes]
    there = ALPHA * (1 - p) ** GAMMA * -(p + 1e-8).log()
    not_there = (1 - ALPHA) * p**GAMMA * -(1 - p + 1e-8).log()
    a, b = (to_centres(boxes), to_centres(wanted)) if centres else (boxes, wanted)
    distance = (a[:, None] - b[None]).abs().sum(-1)
    return weights.cls * (there - not_there) + weights.l1 * distance - weights.giou * giou(boxes[:, None], wanted[None])


@torch.no_grad()
def match(logits: Tensor, boxes: Tensor, wanted: Wanted, weights: Weights, *, centres: bool) -> Pairs:
    """One prediction for each cell, the cheapest together (Hungarian method), picture by picture.

    logits: (B, N, C). boxes: (B, N, 4) shares. Where a picture has more cells than predictions, N of its cells are answered for.
    """
    costs, first = [], 0
    for one, box, count in zip(logits, boxes, wanted.counts, strict=True):
        mine = slice(first, first + count)
        costs.append(matching_cost(one, box, wanted.classes[mine], wanted.boxes[mine], weights, centres=centres))
        first += count
    return _assign(costs, logits.shape[1], wanted)


def _assign(costs: Sequence[Tensor], n: int, wanted: Wanted) -> Pairs:
    """Pairs from each picture's costs (N, n)."""
    from scipy.optimize import linear_sum_assignment

    # All at once: one wait for the device. A cost that is no number would end the run here; the loss says it with its remedy.
    flat = np.nan_to_num(torch.cat([cost.flatten() for cost in costs]).cpu().double().numpy(), nan=1e6, posinf=1e6, neginf=-1e6)
    images, queries, cells = [], [], []
    start = first = 0
    for i, count in enumerate(wanted.counts):
        cost = flat[start : start + n * count].reshape(n, count)
        rows, columns = linear_sum_assignment(cost)
        images.append(np.full(len(rows), i))
        queries.append(rows)
        cells.append(columns + first)
        start, first = start + n * count, first + count
    device = wanted.boxes.device
    return Pairs(*(torch.from_numpy(np.concatenate(part).astype(np.int64)).to(device) for part in (images, queries, cells)))


@torch.no_grad()
def excused(boxes: Tensor, wanted: Wanted) -> Tensor:
    """Which predictions (B, N) lie by `EXCUSED` of their own area or more in one region to ignore; boxes: (B, N, 4) shares."""
    found = torch.zeros(boxes.shape[:2], dtype=torch.bool, device=boxes.device)
    for image, region in zip(wanted.ignored_image.tolist(), wanted.ignored, strict=True):
        box = boxes[image]
        inside = (torch.minimum(box[:, 2:], region[2:]) - torch.maximum(box[:, :2], region[:2])).clamp(min=0).prod(-1)
        area = (box[:, 2:] - box[:, :2]).clamp(min=0).prod(-1)
        found[image] |= (inside >= EXCUSED * area) & (inside > 0)
    return found


def set_loss(
    logits: Tensor, boxes: Tensor, wanted: Wanted, pairs: Pairs, weights: Weights, *, centres: bool, repeats: int = 1
) -> dict[str, Tensor]:
    """The weighed parts "cls", "l1" and "giou" of one layer's predictions, each a sum over the batch divided by its number of cells.

    Where several processes train together, each one's loss times its share of the pictures adds up to that of the whole batch.

    logits: (B, N, C). boxes: (B, N, 4) shares. pairs: who answers for whom; all others should say that nothing is there, but those that
    lie in a region to ignore and answer for nobody: they bear no loss. centres: as in `matching_cost`. repeats: how often each cell is
    answered for (groups of denoising).
    """
    cells = max(wanted.everyone.cells * repeats, 1) * wanted.everyone.share
    target = torch.zeros_like(logits)
    target[pairs.image, pairs.query, wanted.classes[pairs.cell]] = 1
    counted = ~excused(boxes, wanted)
    counted[pairs.image, pairs.query] = True
    # Selecting before the arithmetic, not multiplying after it: a NaN under the mask then stays without effect.
    cls = focal_loss(logits[counted], target[counted]).sum() / cells
    mine, truth = boxes[pairs.image, pairs.query], wanted.boxes[pairs.cell]
    a, b = (to_centres(mine), to_centres(truth)) if centres else (mine, truth)
    l1 = (a - b).abs().sum() / cells
    overlap = (1 - giou(mine, truth)).sum() / cells
    return {"cls": weights.cls * cls, "l1": weights.l1 * l1, "giou": weights.giou * overlap}


def add(total: dict[str, Tensor], parts: dict[str, Tensor]) -> None:
    """Add the parts of one layer to those of the layers before."""
    for name, value in parts.items():
        total[name] = total[name] + value if name in total else value
