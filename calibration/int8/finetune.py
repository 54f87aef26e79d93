"""Some hundred steps of training with the roundings of 8 bits in the way, so that all blocks may be in INT8 and the gate still passes.

The float network teaches: what it says of the pictures is what the network in 8 bits learns to say (logits of the detection layer, the
two early maps, the attributes of its cells). Labels, where a folder has some, say which boxes' attributes are learnt. Where quantisers
stand and their scales are the calibration's, and stay.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import cos, pi

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from calibration.int8.straight_through import StraightThrough
from engines.decode import Thresholds, candidates
from engines.detections import Float32, Image
from engines.errors import DataError
from engines.families.attridet.attribute_head import ROI_SIZE, TAP_SCALES
from engines.families.roi_align import roi_align
from engines.preprocess import prepare
from engines.runtime.graphs import IMAGE, P2, P3, ROWS
from engines.runtime.onnx import open_session, session_options

LEVELS = ("model.24.m.0.out", "model.24.m.1.out", "model.24.m.2.out")
POOLED, LOGITS = "roi_align.concat.out", "attribute_head.fc3.out"
BATCH, SIDE_PX = 2, 416
RATE = 5e-5
_WARM_UP = 10
_CELLS = Thresholds(confidence=0.05, iou=0.45, max_detections=16)
_ANCHORS = 3


@dataclass(frozen=True, eq=False)
class Lesson:
    """One picture as the network takes it, (1, 3, H, W), and boxes (N, 4) in its px whose attributes are learnt."""

    planes: Float32
    boxes_px: Float32


@dataclass(frozen=True, eq=False)
class Tuned:
    """The float graphs, serialised, with weights that bear 8 bits. loss: of the first and of the last tenth of the steps."""

    detector: bytes
    attributes: dict[str, bytes]
    loss: tuple[float, float]


def lessons(
    detector: bytes,
    pictures: Sequence[Callable[[], Image]],
    labelled_px: Sequence[Float32 | None],
    hw: tuple[int, int],
    scale_up: bool,
    threads: int,
    progress: Callable[[int, int], None],
) -> list[Lesson]:
    """Pictures made ready: labelled boxes (N, 4) in their px where there are some, else the cells that the float detector finds."""
    session, found = open_session(detector, session_options(threads)), []
    for done, (read, labelled) in enumerate(zip(pictures, labelled_px, strict=True), start=1):
        planes, letterbox = prepare(read(), hw, scale_up)
        if labelled is None:
            boxes_px = candidates(session.run([ROWS], {IMAGE: planes})[0][0], _CELLS).boxes_px
        else:
            boxes_px = (labelled * letterbox.ratio + np.array(2 * letterbox.pad_xy)).astype(np.float32)
        found.append(Lesson(planes, boxes_px))
        progress(done, len(pictures))
    return found


def finetune(
    float_graphs: tuple[bytes, dict[str, bytes]],
    quantised: tuple[bytes, dict[str, bytes]],
    given: Sequence[Lesson],
    steps: int,
    threads: int,
    progress: Callable[[int, int], None],
    seed: int = 0,
) -> Tuned:
    """Train for `steps` steps of two pictures' parts. float_graphs, quantised: detector, and attribute graphs by file; serialised.

    Raises DataError where there is no picture, or where the loss is no number.
    """
    if not given:
        raise DataError("--finetune needs pictures to learn on: name them with --tune-data or --frames")
    torch.set_num_threads(threads)
    name = next(iter(float_graphs[1]))
    teachers = [StraightThrough(graph, graph) for graph in (float_graphs[0], float_graphs[1][name])]
    students = [
        StraightThrough(float_graphs[0], quantised[0]),
        StraightThrough(float_graphs[1][name], quantised[1][name]),
    ]
    optimiser = torch.optim.AdamW([w for student in students for w in student.trainable()], lr=RATE, weight_decay=0.0)
    draw, losses = np.random.default_rng(seed), list[float]()
    for step in range(steps):
        for group in optimiser.param_groups:
            group["lr"] = RATE * min(1.0, (step + 1) / _WARM_UP) * (0.02 + 0.98 * (1 + cos(pi * step / steps)) / 2)
        planes, rois = _batch(given, draw)
        with torch.no_grad():
            taught = _answers(teachers, planes, rois)
        optimiser.zero_grad(set_to_none=True)
        loss = _loss(_answers(students, planes, rois), taught)
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_([w for student in students for w in student.weights.values()], 1.0)
        optimiser.step()
        losses.append(float(loss.detach()))
        if not np.isfinite(losses[-1]):
            raise DataError(f"--finetune: the loss is no number any more at step {step + 1}. Use other pictures, or fewer steps.")
        progress(step + 1, steps)
    tenth = max(1, steps // 10)
    return Tuned(
        students[0].written_into(float_graphs[0]),
        {file: students[1].written_into(graph) for file, graph in float_graphs[1].items()},
        (float(np.mean(losses[:tenth])), float(np.mean(losses[-tenth:]))),
    )


def _batch(given: Sequence[Lesson], draw: np.random.Generator) -> tuple[Tensor, Tensor]:
    """Parts of pictures (B, 3, S, S), mirrored at random, and regions (K, 5) on them: which part, x1, y1, x2, y2."""
    parts, regions = [], []
    for number in range(BATCH):
        lesson = given[int(draw.integers(len(given)))]
        _, _, height, width = lesson.planes.shape
        side_h, side_w = min(SIDE_PX, height), min(SIDE_PX, width)
        y, x = (32 * int(draw.integers((whole - side) // 32 + 1)) for whole, side in ((height, side_h), (width, side_w)))
        part = lesson.planes[0, :, y : y + side_h, x : x + side_w]
        boxes = lesson.boxes_px - np.array([x, y, x, y], np.float32)
        inside = (boxes[:, :2] >= 0).all(1) & (boxes[:, 2] <= side_w) & (boxes[:, 3] <= side_h)
        boxes = boxes[inside][:8]
        if draw.random() < 0.5:
            part, boxes = part[:, :, ::-1], np.stack((side_w - boxes[:, 2], boxes[:, 1], side_w - boxes[:, 0], boxes[:, 3]), 1)
        if draw.random() < 0.5:
            part, boxes = part[:, ::-1], np.stack((boxes[:, 0], side_h - boxes[:, 3], boxes[:, 2], side_h - boxes[:, 1]), 1)
        parts.append(torch.from_numpy(np.ascontiguousarray(part)))
        regions.append(torch.from_numpy(np.concatenate((np.full((len(boxes), 1), number), boxes), 1).astype(np.float32)))
    return torch.stack(parts), torch.cat(regions)


def _answers(networks: Sequence[StraightThrough], planes: Tensor, rois: Tensor) -> dict[str, Tensor]:
    detector, head = networks
    told = detector.run({IMAGE: planes}, (*LEVELS, P2, P3))
    pooled = torch.cat([roi_align(told[name], rois, ROI_SIZE, scale) for name, scale in zip((P2, P3), TAP_SCALES, strict=True)], 1)
    return told | (head.run({POOLED: pooled}, (LOGITS,)) if len(rois) else {LOGITS: pooled.new_zeros((0, 1))})


def _loss(told: dict[str, Tensor], taught: dict[str, Tensor]) -> Tensor:
    """How far the answers are apart: objectness everywhere, boxes and types where the teacher sees a cell, maps, attributes."""
    total = told[P2].new_zeros(())
    for name in LEVELS:
        batch, outputs, height, width = taught[name].shape
        shape = (batch, _ANCHORS, outputs // _ANCHORS, height, width)
        one, other = told[name].view(shape), taught[name].view(shape)
        seen = other[:, :, 4].sigmoid()
        weight = seen / (seen.sum() + 1.0)
        objectness = functional.binary_cross_entropy_with_logits(one[:, :, 4], seen, reduction="none")
        least = functional.binary_cross_entropy_with_logits(other[:, :, 4], seen, reduction="none")
        total = total + ((objectness - least) * (0.05 + seen)).sum() / (seen.sum() + 1.0)
        box = (one[:, :, :4].sigmoid() - other[:, :, :4].sigmoid()).abs().sum(2)
        types = (one[:, :, 5:].sigmoid() - other[:, :, 5:].sigmoid()).abs().sum(2)
        total = total + (weight * (4 * box + types)).sum()
    for name in (P2, P3):
        total = total + 0.1 * functional.mse_loss(told[name], taught[name]) / taught[name].var().clamp(min=1e-6)
    if len(taught[LOGITS]):
        total = total + 0.1 * functional.smooth_l1_loss(told[LOGITS], taught[LOGITS])
    return total
