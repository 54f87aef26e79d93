"""Counting measured against the truth: doubles, missed cells and wrong places of a reading by hand."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone

import cv2
import numpy as np
from numpy.typing import NDArray

from device.camera.base import Frame
from device.camera.quality import sharpness
from device.settings.config import SlideSection
from device.slide.changes import FieldsChanged
from device.slide.counting import Observation
from device.slide.model import Field, Slide
from device.slide.session import SlideSession
from engines.detections import Image
from tests.support.hand_reading import SIZE, TAXONOMY, HandReading, Shown

_BEGIN = datetime(2026, 11, 23, 8, 0, 0, tzinfo=timezone.utc)
SHARP_SHARE = 0.75
"""Of the best sharpness lately: a frame below it is not counted."""
WRONG_SHARE = 0.5
"""A place is wrong when it is off by more than so much of a cell."""
CELL_UM = 13.0
JOINED_SHARE = 0.3
_FADE, _EXPECTED = 0.9985, 0.6


class StillClock:
    """Time that does not pass."""

    def monotonic_s(self) -> float:
        return 0.0

    def now(self) -> datetime:
        return _BEGIN

    def sleep(self, seconds: float) -> None:
        return None


@dataclass(frozen=True)
class Tally:
    """What became of a reading.

    counted: white cells on the slide; doubles: of them those that were there already; joinable: of the doubles those between fields
    that a chain of others joins, each sharing at least 30 % with the next. seen: white cells of which half or more was visible on a
    resting, focused frame; missed: of those, not counted. wrong: frames whose place is off by more than half a cell against the middle
    of its chart, worst_px: the largest such error. looks: how often a field was written.
    """

    frames: int
    fields: int
    counted: int
    doubles: int
    joinable: int
    seen: int
    missed: int
    wrong: int
    charts: int
    lost_rests: int
    worst_px: float
    looks: int

    def __add__(self, other: Tally) -> Tally:
        mine, theirs = vars(self), vars(other)
        return Tally(**{key: max(mine[key], theirs[key]) if key == "worst_px" else mine[key] + theirs[key] for key in mine})


def count(reading: HandReading, change: Callable[[int, Image], Image] | None = None, skip_ways: bool = False) -> tuple[Tally, Slide]:
    """Read it with perfect detections. change: what becomes of the picture of a frame number; skip_ways: moving frames are left out."""
    frames = (shown for shown in reading.frames() if shown.rests or not skip_ways)
    return follow(frames, change, reading.objective)


def follow(frames: Iterable[Shown], change: Callable[[int, Image], Image] | None, objective: int) -> tuple[Tally, Slide]:
    """Read these frames; see `count`."""
    session = SlideSession(TAXONOMY, SlideSection(), 0.4, crops=False, jpeg_quality=90, clock=StillClock())
    session.start()
    best, seen, looks = _EXPECTED, set[int](), 0
    places = list[tuple[tuple[int, int], Observation]]()
    corners = dict[datetime, tuple[int, int]]()
    number = -1
    for number, shown in enumerate(frames):
        image = shown.image if change is None else change(number, shown.image)
        sharp = sharpness(image)
        best = max(sharp, _EXPECTED, best * _FADE)
        found = shown.detections
        frame = Frame(image, number, number / 10, _BEGIN + timedelta(seconds=number / 10), "rendered")
        told = session.observe(frame, found, sharp, held="" if sharp >= SHARP_SHARE * best else "not sharp")
        looks += isinstance(told.event, FieldsChanged) and told.event.field is not None
        places.append((shown.corner_px, told))
        corners[frame.captured_at] = shown.corner_px
        if shown.focused and told.resting:
            seen |= shown.white_cells
    slide = session.finish()
    ids = [cell for field in slide.fields for cell in _ids(field)]
    wrong, worst = _wrong(places, objective)
    charts = slide.charts
    doubles = len(ids) - len(set(ids))
    missed = len(seen - set(ids))
    joinable = _joinable(slide, corners)
    fields = len(slide.fields)
    told_of = Tally(number + 1, fields, len(ids), doubles, joinable, len(seen), missed, wrong, charts, slide.lost_rests, worst, looks)
    return told_of, slide


def _ids(field: Field) -> list[int]:
    return [int(cell.attributes[0]) for cell in field.cells if not TAXONOMY.is_artefact(cell.class_index)]


def _joinable(slide: Slide, corners: dict[datetime, tuple[int, int]]) -> int:
    """Doubles between fields that a chain of fields joins, each of which shares at least 30 % with the next."""
    at = np.array([corners[field.captured_at] for field in slide.fields], np.float64).reshape(-1, 2)
    shares = np.clip(1 - abs(at[:, None] - at[None]) / SIZE, 0, None).prod(axis=2)
    piece = list(range(len(at)))
    for a, b in zip(*np.nonzero(shares >= JOINED_SHARE), strict=True):
        piece = [piece[a] if other == piece[b] else other for other in piece]
    counted = [(cell, number) for field, number in zip(slide.fields, piece, strict=True) for cell in _ids(field)]
    return len(counted) - len(set(counted))


def _wrong(places: list[tuple[tuple[int, int], Observation]], objective: int) -> tuple[int, float]:
    """Frames whose place is wrong, and the largest error in px: against the corner of the chart's frames that is nearest to all."""
    cell_px = CELL_UM / (0.075 * 100 / objective * 1920 / SIZE[0])
    offsets: dict[int, list[NDArray[np.float64]]] = {}
    for corner, told in places:
        if told.place is not None:
            offsets.setdefault(told.place.chart, []).append(np.array(corner, np.float64) - (told.place.x_px, told.place.y_px))
    wrong, worst = 0, 0.0
    for of_chart in offsets.values():
        errors = np.linalg.norm(np.array(of_chart) - np.median(of_chart, axis=0), axis=1)
        wrong += int((errors > WRONG_SHARE * cell_px).sum())
        worst = max(worst, float(errors.max()))
    return wrong, worst


def dimmed(from_frame: int) -> Callable[[int, Image], Image]:
    """The lamp is turned down to 0.6 of its light with another gamma, from a frame on."""
    levels = np.clip(np.rint(255 * (0.6 * np.arange(256) / 255) ** 1.3), 0, 255).astype(np.uint8)
    return lambda number, image: image if number < from_frame else levels[image]


def dusted(spots: int = 25) -> Callable[[int, Image], Image]:
    """Dark spots on the sensor, which stay where they are while the film moves."""
    rng = np.random.default_rng(5)
    veil = np.ones((SIZE[1], SIZE[0], 1), np.float32)
    for _ in range(spots):
        at = int(rng.integers(SIZE[0])), int(rng.integers(SIZE[1]))
        cv2.circle(veil, at, int(rng.integers(3, 9)), float(rng.uniform(0.55, 0.85)), -1)
    return lambda number, image: np.asarray(image * veil, np.uint8)
