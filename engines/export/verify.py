"""The proof that exported graphs say what torch says: the same pictures through both, and the largest difference."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import torch

from engines.decode import Thresholds, candidates, region_batches
from engines.detections import Float32, Image
from engines.errors import BundleError
from engines.families.attridet.attridet import AttriDet
from engines.families.base import Network
from engines.manifest import ExportCheck
from engines.preprocess import prepare
from engines.runtime.graphs import IMAGE, P2, P3, PROBABILITIES, ROIS, ROWS
from engines.runtime.onnx import open_session, session_options

MAX_BOX_DIFFERENCE_PX = 0.05
MAX_DIFFERENCE = 1e-3
"""Of objectness, class and attribute probabilities."""
_BOXES_A_PICTURE = 16
_FAINT = 0.01


@torch.no_grad()
def verify_export(
    model: AttriDet,
    detector: bytes,
    attributes: Iterable[tuple[bytes, int]],
    images: Iterable[Image],
    *,
    input_hw: tuple[int, int],
    scale_up: bool = True,
) -> ExportCheck:
    """Runs BGR pictures through the torch model and through the serialised graphs, and returns the largest differences.

    detector: `detector.onnx`; attributes: each attribute graph with its number of regions. Every row of the detector is compared,
    and the attributes of the 16 best boxes of each picture. The model must be in evaluation mode. Raises BundleError when a box is off
    by more than 0.05 px of the input or a probability by more than 1e-3, and ValueError when there is no picture.
    """
    options = session_options(torch.get_num_threads())
    detect = open_session(detector, options)
    describe = [(open_session(graph, options), n) for graph, n in attributes]
    worst = np.zeros(3)  # boxes, scores, attributes
    count = 0
    for image in images:
        prepared, _ = prepare(image, input_hw, scale_up)
        output, taps = model.forward_with_taps(torch.from_numpy(prepared))
        assert not isinstance(output, list), "the model must be in evaluation mode"
        expected = output.rows[0].numpy()
        rows, p2, p3 = detect.run([ROWS, P2, P3], {IMAGE: prepared})
        # np.maximum, unlike max, does not lose a NaN.
        worst[0] = np.maximum(worst[0], _box_difference_px(rows[0], expected))
        worst[1] = np.maximum(worst[1], np.abs(rows[0] - expected)[:, 4:].max())
        boxes_px = candidates(expected, Thresholds(1e-12, 0.45, _BOXES_A_PICTURE)).boxes_px
        rois = torch.cat((torch.zeros(len(boxes_px), 1), torch.from_numpy(boxes_px)), 1)
        expected = model.attribute_probabilities(model.attribute_logits(taps, rois)).numpy()
        for session, regions in describe:
            done = 0
            for batch, used in region_batches(boxes_px, regions):
                found = session.run([PROBABILITIES], {P2: p2, P3: p3, ROIS: batch})[0][:used]
                worst[2] = np.maximum(worst[2], np.abs(found - expected[done : done + used]).max())
                done += used
        count += 1
    return _checked(count, worst[0], worst[1], worst[2])


@torch.no_grad()
def verify_rows(
    model: Network, detector: bytes, images: Iterable[Image], *, input_hw: tuple[int, int], scale_up: bool = True
) -> ExportCheck:
    """The same of a network that tells no attributes: every row of its detector."""
    detect = open_session(detector, session_options(torch.get_num_threads()))
    worst = np.zeros(2)  # boxes, scores
    count = 0
    for image in images:
        prepared, _ = prepare(image, input_hw, scale_up)
        expected = model.look(torch.from_numpy(prepared))[0][0].numpy()
        rows = detect.run([ROWS], {IMAGE: prepared})[0][0]
        worst = np.maximum(worst, (_box_difference_px(rows, expected), np.abs(rows - expected)[:, 4:].max()))
        count += 1
    return _checked(count, worst[0], worst[1])


@torch.no_grad()
def verify_rereading(
    model: Network,
    detector: bytes,
    attributes: Iterable[tuple[bytes, int]],
    images: Iterable[Image],
    *,
    input_hw: tuple[int, int],
    scale_up: bool = True,
) -> ExportCheck:
    """The same of a network whose rows are boxes after suppression, and whose attributes are told from the picture itself.

    Every row that scores more than `_FAINT` must have its equal, of the same type: below, one box more or fewer may just be looked at.
    """
    options = session_options(torch.get_num_threads())
    detect = open_session(detector, options)
    describe = [(open_session(graph, options), n) for graph, n in attributes]
    told = np.delete(np.arange(model.taxonomy.n_logits), model.untold)
    worst = np.zeros(3)  # boxes, scores, attributes
    count = 0
    for image in images:
        prepared, _ = prepare(image, input_hw, scale_up)
        expected, seen = model.look(torch.from_numpy(prepared))
        wanted = expected[0].numpy()
        rows = detect.run([ROWS], {IMAGE: prepared})[0][0]
        for every, others in ((wanted, rows), (rows, wanted)):
            some = every[every[:, 4] > _FAINT]
            if len(some):
                corners = [np.concatenate((x[:, :2] - x[:, 2:4] / 2, x[:, :2] + x[:, 2:4] / 2), 1) for x in (some, others)]
                apart_px = np.abs(corners[0][:, None] - corners[1][None]).max(2) if len(others) else np.full((len(some), 1), np.inf)
                nearest = apart_px.argmin(1)
                worst[0] = np.maximum(worst[0], apart_px.min(1).max())
                worst[1] = np.maximum(worst[1], np.abs(some[:, 4:] - others[nearest, 4:]).max() if len(others) else np.inf)
        boxes_px = candidates(wanted, Thresholds(_FAINT, 0.99, _BOXES_A_PICTURE)).boxes_px
        probabilities = model.describe(seen, torch.from_numpy(np.pad(boxes_px, ((0, 0), (1, 0))))).numpy()
        for session, regions in describe:
            done = 0
            for batch, used in region_batches(boxes_px, regions):
                found = session.run([PROBABILITIES], {IMAGE: prepared, ROIS: batch})[0][:used]
                worst[2] = np.maximum(worst[2], np.abs(found - probabilities[done : done + used])[:, told].max())
                done += used
        count += 1
    return _checked(count, worst[0], worst[1], worst[2])


def _checked(count: int, boxes_px: float, scores: float, attributes: float | None = None) -> ExportCheck:
    """The record of what was compared; written so that a NaN fails. Raises as `verify_export`."""
    if not count:
        raise ValueError("an export is verified on at least one picture")
    said = "" if attributes is None else f" and attributes by {attributes:.5f}"
    if not (boxes_px <= MAX_BOX_DIFFERENCE_PX and scores <= MAX_DIFFERENCE and (attributes is None or attributes <= MAX_DIFFERENCE)):
        raise BundleError(
            f"the exported graphs differ from torch: boxes by {boxes_px:.4f} px (allowed {MAX_BOX_DIFFERENCE_PX}), "
            f"scores by {scores:.5f}{said} (allowed {MAX_DIFFERENCE}). The bundle was not written; do not use these weights."
        )
    return ExportCheck(
        images=count,
        boxes_px=float(boxes_px),
        scores=float(scores),
        attributes=None if attributes is None else float(attributes),
    )


def _box_difference_px(rows: Float32, expected: Float32) -> float:
    """Largest difference of a corner, over all rows."""
    centre, size = np.abs(rows[:, :2] - expected[:, :2]), np.abs(rows[:, 2:4] - expected[:, 2:4])
    return float((centre + size / 2).max())
