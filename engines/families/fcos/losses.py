"""FCOS's losses in the improved form: focal loss of the types, GIoU of the boxes, cross-entropy of the centre-ness (spec 4.2)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

from engines.families import parallel
from engines.families.base import Truth
from engines.families.box_losses import focal_loss, giou
from engines.families.fcos.points import Points


def fcos_losses(points: Points, classes: Tensor, sides: Tensor, centres: Tensor, truth: Sequence[Truth]) -> dict[str, Tensor]:
    """Loss of types, boxes and centre-ness, each a sum over the batch per point that answers for a cell; scalars with gradient.

    classes: logits (B, P, C). sides: (B, P, 4), left, top, right, bottom in strides, 0 or more. centres: logits (B, P).
    A point within a region to ignore that answers for no cell bears no loss. float32 at least, whatever the convolutions ran in.
    Where several processes train together, each one's loss times its share of the pictures adds up to that of the whole batch.
    """
    exact = torch.float64 if classes.dtype == torch.float64 else torch.float32
    classes, sides, centres = classes.to(exact), sides.to(exact), centres.to(exact)
    matched = torch.stack([points.matched(one.boxes_px) for one in truth])
    cell = matched >= 0
    # Not its own points: those of all processes, as many of them as its share of the pictures.
    every = parallel.gathered([int(cell.sum()), len(truth)])
    cells = max(1, sum(points for points, _ in every)) * len(truth) / sum(images for _, images in every)
    counted = cell | ~torch.stack([points.within(one.ignored) for one in truth])
    wanted_class = torch.zeros_like(classes)
    wanted_box = torch.zeros_like(sides)
    for number, (one, which) in enumerate(zip(truth, matched, strict=True)):
        mine = which >= 0
        wanted_class[number, mine, one.classes[which[mine]]] = 1
        wanted_box[number, mine] = one.boxes_px[which[mine]].to(exact)
    boxes = points.boxes(sides)[cell]
    near, far = _least_and_most(points.sides_to(wanted_box)[cell])
    return {
        "box": (1 - giou(boxes, wanted_box[cell])).sum() / cells,
        "ctr": functional.binary_cross_entropy_with_logits(centres[cell], (near / far).prod(1).sqrt(), reduction="sum") / cells,
        "cls": focal_loss(classes[counted], wanted_class[counted]).sum() / cells,
    }


def _least_and_most(sides: Tensor) -> tuple[Tensor, Tensor]:
    """The nearer and the farther of left and right, and of top and bottom: (n, 2) each."""
    pairs = sides.view(-1, 2, 2)  # left, top; right, bottom
    return pairs.amin(1), pairs.amax(1)
