"""A finished slide of rendered film for the tests of the review: fields with pictures, cells with crops, named as by a second look.

`python tests/support/reviewing.py DIR` writes every page of its review as a PNG in four sizes.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta, timezone
from pathlib import Path

import cv2
import numpy as np

from device.camera.simulator import SimulatorCamera
from device.clock import SystemClock
from device.desk.review_desk import ReviewDesk
from device.display.inputs import Input, Kind, key
from device.review.journal import Entry
from device.review.review import Review
from device.settings.config import SimulatorCamera as Section
from device.slide.bank import crop_jpeg
from device.slide.model import Cell, Field, Place, Slide, SlideState
from engines.detections import Image
from engines.taxonomy import LEUKEMIA_ATTRI

WHEN = datetime(2026, 3, 2, 9, 30, tzinfo=timezone.utc)
T = LEUKEMIA_ATTRI


@dataclass
class Kept:
    """Stands for the record: keeps entries and the pictures of fields."""

    pictures: dict[int, Image] = field(default_factory=dict)
    entries: list[Entry] = field(default_factory=list)
    fault: Exception | None = None

    def keep(self, review: Review, entries: Sequence[Entry]) -> None:
        if self.fault is not None:
            raise self.fault
        self.entries += entries

    def picture(self, one: Field) -> Image | None:
        return self.pictures.get(one.index)


def rendered(cells: int, objective: int = 40, seed: int = 5, case: str = "AML") -> tuple[Slide, dict[int, Image]]:
    """A slide in review with so many cells, and the picture of each of its fields; what the engine "said" is now and then wrong."""
    section = Section(kind="simulator", seed=seed, case=case, objective=objective, fields=-(-cells // (12 if objective == 40 else 2)), width_px=1920)
    rng = np.random.default_rng(seed)
    fields: list[Field] = []
    pictures: dict[int, Image] = {}
    number = 0
    with SimulatorCamera(section, SystemClock()) as camera:
        path = camera.path if hasattr(camera, "path") else camera._on_stage[1]  # noqa: SLF001
        for index in range(section.fields):
            frames = [n for n in range(path.frames) if path.at(n).field == index]
            film, moment = camera._on_stage[0], path.at(frames[-1])  # noqa: SLF001
            image = camera._render(film, replace(moment, defocus_um=0.0), frames[-1])  # noqa: SLF001
            boxes, classes = camera.true_cells(frames[-1], T)
            found = []
            for box, kind in zip(boxes.tolist(), classes.tolist(), strict=True):
                if number >= cells or min(box[2] - box[0], box[3] - box[1]) < 10:
                    continue
                number += 1
                found.append(_cell(number, int(kind), (box[0], box[1], box[2], box[3]), image, rng))
            if found or number < cells:
                place = Place(0 if index < 3 * section.fields // 4 else 1, 1500.0 * index, 0.0)
                one = Field(len(fields) + 1, WHEN + timedelta(seconds=9 * index), "simulator", (1920, 1080), 30.0, tuple(found), place=place)
                fields.append(replace(one, picture=f"20260302-093000-7f3a1c/field-{one.index:06d}.jpg"))
                pictures[one.index] = image
    slide = Slide("20260302-093000-7f3a1c", WHEN, SlideState.REVIEW, WHEN + timedelta(hours=1), fields=tuple(fields), foreign=False)
    return replace(slide, specimen="H26-004711", operator="MK"), pictures


def _cell(number: int, kind: int, box: tuple[float, float, float, float], image: Image, rng: np.random.Generator) -> Cell:
    sure = float(rng.beta(6, 2))
    blast = T.is_blast(kind)
    if rng.random() < 0.08 and not T.is_artefact(kind):
        kind = int(rng.integers(1, len(T.classes)))
    group = T.group_of(kind)
    told = sure > 0.6 or T.is_artefact(kind)
    group = group if sure > 0.4 else ""
    share = float(np.clip((sure if blast else 1 - sure) + rng.normal(0, 0.05), 0.01, 0.99))
    words = rng.random(T.n_logits).astype(np.float32)
    crop = crop_jpeg(image, box, 90)
    return Cell(kind, sure, told, box, words, crop, group if not T.is_artefact(kind) else "", sure, share, 0.5, number)


def desk_of(slide: Slide, pictures: dict[int, Image], who: str = "AB", now=lambda: 0.0) -> tuple[ReviewDesk, Kept]:  # type: ignore[no-untyped-def]
    """The review of `slide` at a desk. The clock stands where `now` says."""
    kept = Kept(pictures)
    review = Review(slide, T, who=who)
    made_by = "attridet-n 2.0.0 · open-cells 1.0.0"
    return ReviewDesk(review, kept, now, made_by=made_by, um_per_px=0.105), kept
