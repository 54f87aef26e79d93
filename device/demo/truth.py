"""What the demo's rendered film really held, beside what was told of it. Only rendered film is known so."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from device.camera.simulator import SimulatorCamera
from device.slide.model import Slide
from device.slide.picture_state import count_of
from device.slide.tally import BLASTS
from engines.detections import Float32
from engines.taxonomy import Taxonomy

SAME_CELL = 0.5
"""IoU from which a counted box and a true one are the same cell."""


@dataclass(frozen=True)
class ToldOfTruth:
    """True white cells of the counted fields, and how many of them were told as a blast, by type or group; found: counted at all."""

    blasts: int = 0
    blasts_told: int = 0
    others: int = 0
    others_told: int = 0
    found: int = 0

    @property
    def words(self) -> str:
        """One sentence."""
        return (
            f"The rendered film held {count_of(self.blasts + self.others, 'white cell')} in these fields, {self.found} of them found: "
            f"{self.blasts_told} of {count_of(self.blasts, 'blast')} and {self.others_told} of {count_of(self.others, 'other')} "
            "were told as blasts."
        )


def told_of_truth(camera: SimulatorCamera, slide: Slide, frames: Mapping[int, int], taxonomy: Taxonomy) -> ToldOfTruth:
    """Compare a slide with the film that `camera` shows. frames: of each field's index, the frame that it was counted on."""
    told = ToldOfTruth()
    for field in slide.fields:
        boxes, classes = camera.true_cells(frames[field.index], taxonomy)
        white = np.array([not taxonomy.is_artefact(kind) for kind in classes.tolist()], bool)
        cells = [cell for cell in field.cells if not taxonomy.is_artefact(cell.class_index)]
        counted = [slide.told(cell) for cell in cells]
        as_blast = [taxonomy.is_blast(one) if isinstance(one, int) else one == BLASTS for one in counted]
        same = _pairs(boxes[white], np.array([cell.box_px for cell in cells], np.float32).reshape(-1, 4))
        blast = [taxonomy.is_blast(kind) for kind in classes[white].tolist()]
        hit = [pair is not None and as_blast[pair] for pair in same]
        told = ToldOfTruth(
            told.blasts + sum(blast),
            told.blasts_told + sum(b and h for b, h in zip(blast, hit, strict=True)),
            told.others + len(blast) - sum(blast),
            told.others_told + sum(h and not b for b, h in zip(blast, hit, strict=True)),
            told.found + sum(pair is not None for pair in same),
        )
    return told


def _pairs(true: Float32, counted: Float32) -> list[int | None]:
    """Of each true box the counted one that is the same cell, the best pair first; None where there is none."""
    pairs: list[int | None] = [None] * len(true)
    if not len(true) or not len(counted):
        return pairs
    low, high = np.maximum(true[:, None, :2], counted[None, :, :2]), np.minimum(true[:, None, 2:], counted[None, :, 2:])
    common = np.prod(np.clip(high - low, 0, None), axis=2)
    areas = [np.prod(boxes[:, 2:] - boxes[:, :2], axis=1) for boxes in (true, counted)]
    overlap = common / np.maximum(areas[0][:, None] + areas[1][None] - common, 1e-6)
    while overlap.max() >= SAME_CELL:
        at, with_ = (int(i) for i in np.unravel_index(int(overlap.argmax()), overlap.shape))
        pairs[at] = with_
        overlap[at], overlap[:, with_] = 0, 0
    return pairs
