"""The losses: YOLOv5's for boxes, objectness and classes; the asymmetric one for attributes. Weights of hyp sets, no schedule."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from engines.families.attridet.assign import Assignment, assign_targets
from engines.families.attridet.yolov5 import YOLOv5
from engines.families.hyper import LOW, Hyper
from engines.families.parallel import shares


class LossParts(NamedTuple):
    """Box, objectness and class loss, weighted, a mean over the batch (not times its size); scalars without gradient."""

    box: Tensor
    obj: Tensor
    cls: Tensor


class DetectionLoss(nn.Module):
    """YOLOv5's loss: `DetectionLoss(model, hyper, imgsz=640)(levels, targets)` -> `(total, LossParts)`.

    model_or_anchors: a `YOLOv5`, or its anchors (3, A, 2) in cells (then `classes` must be given). hyper: gains as written in a hyp
    set; scaled here by 3/levels, classes/80 and (imgsz/640)^2. imgsz: longer side of the training images in px.

    levels: raw levels (B, A, ny, nx, 5+classes), or 4 more where the network has variances: the box loss is then
    `gaussian_box` in place of 1 - CIoU (spec 3.1); targets: (n, 6): image, class, centre x, centre y, width, height in 0..1; n = 0 is
    allowed. ignored: (m, 5): image, x1, y1, x2, y2 in 0..1 of regions to ignore: a cell of the grid that meets one and has no target
    bears no objectness loss. total: scalar times the batch size; sums run in float32 at least. Formulas: CIoU (Zheng et al. 2020) with
    constant alpha; objectness target is the box's CIoU, clamped at 0; where several targets meet in one anchor and cell the last one
    counts.

    class_weights: (classes,), how much a labelled cell of each type counts in the class loss; all 1 without it.

    Where several processes train together, total and parts are this process's share: their sum is the loss of the whole batch.
    """

    anchors: Tensor
    class_weights: Tensor | None

    def __init__(
        self,
        model_or_anchors: YOLOv5 | Tensor,
        hyper: Hyper = LOW,
        imgsz: int = 640,
        classes: int | None = None,
        class_weights: Tensor | None = None,
    ) -> None:
        super().__init__()
        if isinstance(model_or_anchors, YOLOv5):
            anchors, classes = model_or_anchors.detect.anchors, model_or_anchors.classes
        else:
            anchors = model_or_anchors
        if classes is None:
            raise ValueError("with bare anchors the number of classes must be given too")
        levels = len(anchors)
        self.register_buffer("anchors", anchors.detach().clone(), persistent=False)
        self.register_buffer("class_weights", class_weights, persistent=False)
        self.classes = classes
        self.hyper = hyper
        self.gain_box = hyper.box * 3 / levels
        self.gain_cls = hyper.cls * classes / 80 * 3 / levels
        self.gain_obj = hyper.obj * (imgsz / 640) ** 2 * 3 / levels
        self.balance = (4.0, 1.0, 0.4) if levels == 3 else (4.0, 1.0, 0.25, 0.06, 0.02)[:levels]
        self.positive = 1.0 - 0.5 * hyper.label_smoothing
        self.negative = 0.5 * hyper.label_smoothing

    def forward(self, levels: Sequence[Tensor], targets: Tensor, ignored: Tensor | None = None) -> tuple[Tensor, LossParts]:
        """Total loss (scalar, times batch size) and its parts; see the class."""
        dtype = torch.float64 if levels[0].dtype == torch.float64 else torch.float32
        device = levels[0].device
        targets = targets.to(device, dtype)
        grids = [(level.shape[2], level.shape[3]) for level in levels]
        matches = assign_targets(targets, self.anchors.to(device), grids, self.hyper.anchor_t)
        box, obj, cls = (torch.zeros((), device=device, dtype=dtype) for _ in range(3))
        *rows, images = shares([*(len(match.image) for match in matches), len(levels[0])])
        with torch.autocast(device.type, enabled=False):
            for level, match, balance, part in zip(levels, matches, self.balance, rows, strict=True):
                wanted = torch.zeros(level.shape[:4], device=device, dtype=dtype)
                if len(match.image):
                    picked = level[match.image, match.anchor, match.gj, match.gi].to(dtype)
                    boxes, end = _decode(picked, match), 5 + self.classes
                    iou = ciou(boxes, match.box)
                    certain = picked.shape[1] == end
                    box = box + part * ((1 - iou).mean() if certain else gaussian_box(boxes, match.box, picked[:, end:]))
                    _write_last(wanted, match, iou.detach().clamp(min=0))
                    if self.classes > 1:
                        one_hot = torch.full_like(picked[:, 5:end], self.negative)
                        one_hot[torch.arange(len(picked), device=device), match.cls] = self.positive
                        weights = None
                        if self.class_weights is not None:
                            weights = self.class_weights.to(device, dtype)[match.cls][:, None].expand_as(one_hot)
                        cls = cls + part * self._bce(picked[:, 5:end], one_hot, weights)
                counted = None if ignored is None or not len(ignored) else _counted(ignored, match, wanted)
                obj = obj + images * self._bce(level[..., 4].to(dtype), wanted, counted) * balance
        box, obj, cls = box * self.gain_box, obj * self.gain_obj, cls * self.gain_cls
        return (box + obj + cls) * (len(levels[0]) / images), LossParts(box.detach(), obj.detach(), cls.detach())

    def _bce(self, logits: Tensor, wanted: Tensor, counted: Tensor | None = None) -> Tensor:
        """Mean binary cross-entropy, with the focal factor (alpha 0.25) where fl_gamma > 0 (Lin et al. 2017).

        counted: 0 for what bears no loss; the mean is over all, so that the others weigh what they always do.
        """
        gamma = self.hyper.fl_gamma
        if gamma <= 0:
            return functional.binary_cross_entropy_with_logits(logits, wanted, counted)
        loss = functional.binary_cross_entropy_with_logits(logits, wanted, counted, reduction="none")
        p = logits.sigmoid()
        hit = wanted * p + (1 - wanted) * (1 - p)
        return (loss * (wanted * 0.25 + (1 - wanted) * 0.75) * (1 - hit) ** gamma).mean()


def _decode(picked: Tensor, match: Assignment) -> Tensor:
    """Boxes (M, 4) in cells, centre relative to the cell's corner."""
    s = picked[:, :4].sigmoid()
    return torch.cat((s[:, :2] * 2 - 0.5, (s[:, 2:] * 2) ** 2 * match.anchor_wh), 1)


def _counted(ignored: Tensor, match: Assignment, grid: Tensor) -> Tensor:
    """1 where a cell of the grid (B, A, ny, nx) bears objectness loss, 0 where it meets a region to ignore and has no target."""
    counted = torch.ones_like(grid)
    size = ignored.new_tensor((grid.shape[3], grid.shape[2]))
    low, high = (ignored[:, 1:3] * size).floor().long(), (ignored[:, 3:5] * size).ceil().long()
    for image, (x1, y1), (x2, y2) in zip(ignored[:, 0].long().tolist(), low.tolist(), high.tolist(), strict=True):
        counted[image, :, y1:y2, x1:x2] = 0
    counted[match.image, match.anchor, match.gj, match.gi] = 1
    return counted


def _write_last(grid: Tensor, match: Assignment, values: Tensor) -> None:
    """grid[image, anchor, gj, gi] = values, the last of equals winning on every device (plain indexing leaves it open)."""
    _, a, ny, nx = grid.shape
    index = ((match.image * a + match.anchor) * ny + match.gj) * nx + match.gi
    cells, slot = torch.unique(index, return_inverse=True)
    order = torch.arange(len(index), device=index.device)
    last = torch.zeros_like(cells).scatter_reduce_(0, slot, order, "amax", include_self=False)
    grid.view(-1)[cells] = values[last]


def ciou(a: Tensor, b: Tensor, eps: float = 1e-7) -> Tensor:
    """Complete IoU (M,) of boxes (M, 4) given as centre x, centre y, width, height (Zheng et al. 2020).

    iou - distance^2 / diagonal^2 - alpha v with v = 4/pi^2 (atan(w_b/h_b) - atan(w_a/h_a))^2; alpha carries no gradient.
    """
    (ax, ay, aw, ah), (bx, by, bw, bh) = a.unbind(-1), b.unbind(-1)
    ax1, ax2, ay1, ay2 = ax - aw / 2, ax + aw / 2, ay - ah / 2, ay + ah / 2
    bx1, bx2, by1, by2 = bx - bw / 2, bx + bw / 2, by - bh / 2, by + bh / 2
    inter = (torch.minimum(ax2, bx2) - torch.maximum(ax1, bx1)).clamp(min=0) * (
        torch.minimum(ay2, by2) - torch.maximum(ay1, by1)
    ).clamp(min=0)
    iou = inter / (aw * ah + bw * bh - inter + eps)
    hull_w = torch.maximum(ax2, bx2) - torch.minimum(ax1, bx1)
    hull_h = torch.maximum(ay2, by2) - torch.minimum(ay1, by1)
    distance = (bx - ax) ** 2 + (by - ay) ** 2
    v = 4 / math.pi**2 * (torch.atan(bw / bh) - torch.atan(aw / ah)) ** 2
    with torch.no_grad():
        alpha = v / (v - iou + (1 + eps))
    return iou - (distance / (hull_w**2 + hull_h**2 + eps) + v * alpha)


def gaussian_box(boxes: Tensor, wanted: Tensor, variances: Tensor) -> Tensor:
    """Box loss of a network with variances: mean over rows and sides of 1 - exp(-((t - b) / s)^2 / 2) / (sqrt(2 pi) (s + 0.3)).

    boxes, wanted: (M, 4) in cells; variances: (M, 4) logits, s their sigmoid. Falls below 0 (to -0.33) where a sure box is exact
    (ConfMix, Mattolin et al. 2023; spec 3.1).
    """
    s = variances.sigmoid()
    density = torch.exp(-(((wanted - boxes) / s) ** 2) / 2) / (math.sqrt(2 * math.pi) * (s + 0.3))
    return (1 - density).mean()


def asymmetric_loss(
    logits: Tensor,
    targets: Tensor,
    gamma_neg: float = 4.0,
    gamma_pos: float = 1.0,
    clip: float = 0.08,
    eps: float = 1e-8,
    detach_focal_weight: bool = True,
) -> Tensor:
    """Asymmetric loss over independent logits, summed (Ben-Baruch et al. 2020), in float32 at least.

    Of one element, with p = sigmoid(x) and q = min(1 - p + clip, 1):
    -y ln(max(p, eps)) (1-p)^gamma_pos - (1-y) ln(max(q, eps)) (1-q)^gamma_neg.
    detach_focal_weight: the powers carry no gradient. logits and targets: equal shapes; targets 0 or 1.
    """
    x = logits.float() if logits.dtype in (torch.float16, torch.bfloat16) else logits
    y, p = targets.to(x.dtype), x.sigmoid()
    q = (1 - p + clip).clamp(max=1) if clip > 0 else 1 - p
    loss = y * torch.log(p.clamp(min=eps)) + (1 - y) * torch.log(q.clamp(min=eps))
    if gamma_neg > 0 or gamma_pos > 0:
        hit = p * y + q * (1 - y)
        gamma = gamma_pos * y + gamma_neg * (1 - y)
        loss = loss * torch.pow(1 - (hit.detach() if detach_focal_weight else hit), gamma)
    return -loss.sum()


def attribute_loss(logits: Tensor, labels: Tensor, groups: Sequence[int | slice]) -> Tensor:
    """Attribute loss: asymmetric loss over the logits of known attributes / number of cells with any known attribute.

    logits: (K, sum of groups). labels: (K, attributes) integers, the value's code, below 0 = unknown. groups: number of values of each
    attribute (`AttributeHead.groups`) or its slices (`Taxonomy.groups`). An unknown attribute's logits get exactly zero gradient.
    Returns a scalar; 0 with its graph intact if nothing is known. Raises ValueError if shapes or codes do not fit.
    """
    sizes = [g.stop - g.start if isinstance(g, slice) else g for g in groups]
    if labels.shape != (len(logits), len(sizes)) or logits.shape[1:] != (sum(sizes),):
        raise ValueError(
            f"{len(sizes)} attributes with {sum(sizes)} logits do not fit logits {tuple(logits.shape)}, labels {tuple(labels.shape)}"
        )
    labels = labels.to(logits.device).long()
    if bool((labels >= labels.new_tensor(sizes)).any()):
        raise ValueError(f"an attribute's label exceeds its values; the attributes have {sizes} values")
    known = (labels >= 0).repeat_interleave(labels.new_tensor(sizes), 1)
    codes = torch.cat([torch.arange(s, device=logits.device) for s in sizes])
    targets = labels.repeat_interleave(labels.new_tensor(sizes), 1) == codes
    cells = (labels >= 0).any(1).sum().clamp(min=1)
    # Selecting before the arithmetic, not multiplying after it: a NaN under the mask then stays without effect.
    return asymmetric_loss(logits[known], targets[known]) / cells
