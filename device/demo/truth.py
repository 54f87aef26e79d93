"""What the demo's rendered film really held, beside what was told of it. Only rendered film is known so."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from device.camera.simulator import SimulatorCamera
from device.slide.model import Slide
from device.slide.picture_state import count_of
from device.slide.verdict import BLASTS
from engines.decode import box_iou
from engines.runtime.engine import nearest_pairs
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
        white = ~np.isin(classes, taxonomy.artefact_codes)
        cells = [cell for cell in field.cells if not taxonomy.is_artefact(cell.class_index)]
        counted = [slide.told(cell) for cell in cells]
        as_blast = np.array([taxonomy.is_blast(one) if isinstance(one, int) else one == BLASTS for one in counted], bool)
        iou = box_iou(boxes[white], np.array([cell.box_px for cell in cells], np.float32).reshape(-1, 4))
        true, found = nearest_pairs(-iou, -SAME_CELL)
        blast = np.isin(classes[white], taxonomy.blast_codes)
        hit = np.zeros(len(blast), bool)
        hit[true] = as_blast[found]
        told = ToldOfTruth(
            told.blasts + int(blast.sum()),
            told.blasts_told + int((blast & hit).sum()),
            told.others + int((~blast).sum()),
            told.others_told + int((~blast & hit).sum()),
            told.found + len(true),
        )
    return told
