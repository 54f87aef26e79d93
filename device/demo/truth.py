"""What the demo's rendered film really held, beside what was told of it. Only rendered film is known so."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from device.camera.simulator import SimulatorCamera
from device.slide.model import Cell, Field, Slide
from device.slide.picture_state import count_of
from device.slide.verdict import BLASTS
from engines.decode import box_iou
from engines.runtime.engine import nearest_pairs
from engines.taxonomy import Taxonomy

SAME_CELL = 0.5
"""IoU from which a counted box and a true one are the same cell."""


@dataclass(frozen=True)
class TrueCell:
    """A cell of the rendered film: its number there, its class, and its box in px of the frame."""

    number: int
    kind: int
    box_px: tuple[float, float, float, float]


@dataclass(frozen=True)
class ToldOfTruth:
    """True white cells of the counted fields, each once, and how many of them were told as a blast, by type or group; found: counted
    at all; twice: counted more than once."""

    blasts: int = 0
    blasts_told: int = 0
    others: int = 0
    others_told: int = 0
    found: int = 0
    twice: int = 0

    @property
    def words(self) -> str:
        """One sentence."""
        return (
            f"The rendered film held {count_of(self.blasts + self.others, 'white cell')} in these fields, {self.found} of them found, "
            f"{self.twice} counted twice: {self.blasts_told} of {count_of(self.blasts, 'blast')} and {self.others_told} of "
            f"{count_of(self.others, 'other')} were told as blasts."
        )


class Truth:
    """The film under `camera`. frames: of each field's index, the frame that it was counted on; it may grow while this is in use."""

    def __init__(self, camera: SimulatorCamera, frames: Mapping[int, int], taxonomy: Taxonomy) -> None:
        self._camera, self._frames, self._taxonomy = camera, frames, taxonomy

    def of_frame(self, sequence: int) -> list[TrueCell]:
        """All cells and artefacts in a frame of which at least half is to be seen."""
        numbers = self._camera.truth(sequence).cell_ids.tolist()
        boxes, kinds = self._camera.true_cells(sequence, self._taxonomy)
        places = [(x1, y1, x2, y2) for x1, y1, x2, y2 in boxes.tolist()]
        return [TrueCell(*one) for one in zip(numbers, kinds.tolist(), places, strict=True)]

    def partners(self, field: Field) -> Iterator[tuple[Cell, TrueCell | None]]:
        """The cells counted in a field, each with the true cell that it is; None where it is none."""
        true = self.of_frame(self._frames[field.index])
        counted = np.array([cell.box_px for cell in field.cells], np.float32).reshape(-1, 4)
        iou = box_iou(np.array([one.box_px for one in true], np.float32).reshape(-1, 4), counted)
        rows, columns = nearest_pairs(-iou, -SAME_CELL)
        of = dict(zip(columns.tolist(), rows.tolist(), strict=True))
        for at, cell in enumerate(field.cells):
            yield cell, true[of[at]] if at in of else None

    def at(self, field_index: int, box_px: tuple[float, float, float, float]) -> int | None:
        """The class of the true cell that a box in a counted field is; None where it is none."""
        true = self.of_frame(self._frames[field_index])
        iou = box_iou(np.array([one.box_px for one in true], np.float32).reshape(-1, 4), np.array([box_px], np.float32))[:, 0]
        best = int(iou.argmax()) if len(iou) else -1
        return true[best].kind if best >= 0 and iou[best] >= SAME_CELL else None

    def told(self, slide: Slide) -> ToldOfTruth:
        """Compare a slide with the film."""
        taxonomy = self._taxonomy
        there = {one.number: one.kind for field in slide.fields for one in self.of_frame(self._frames[field.index])}
        white = {number: taxonomy.is_blast(kind) for number, kind in there.items() if not taxonomy.is_artefact(kind)}
        as_blast: dict[int, bool] = {}
        twice = 0
        for field in slide.fields:
            for cell, true in self.partners(field):
                if true is not None and true.number in white and not taxonomy.is_artefact(cell.class_index):
                    told = slide.told(cell)
                    twice += true.number in as_blast
                    as_blast[true.number] = told == BLASTS if isinstance(told, str) else taxonomy.is_blast(told)
        blasts = [number for number, blast in white.items() if blast]
        others = [number for number, blast in white.items() if not blast]
        hits = [sum(as_blast.get(number, False) for number in group) for group in (blasts, others)]
        return ToldOfTruth(len(blasts), hits[0], len(others), hits[1], len(as_blast), twice)
