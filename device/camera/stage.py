"""The simulated technician's hand: where the stage is, how far out of focus and how fast it moves, for every frame number.

A pure function of film, path and frame number: no wall clock, no memory. Nothing is rendered here.
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass
from math import ceil, sin, sqrt

import numpy as np
import numpy.typing as npt

from engines.film import Film, Microscope
from engines.film.plane import MAX_REACH_UM

Point = tuple[float, float]

COUNTED_SHARE = 0.5
"""A cell belongs to a field when at least this share of its box is visible there."""

_NUDGE_UM = 8.0
_CLEAR_MARGIN = 0.3  # a cell cut by the border should show less than 0.2 or more than 0.8 of itself
_EDGE_UM = 150.0  # the film's own edge is left alone
SHAKE_UM = 0.09  # of a bench that people lean on: about a pixel at 100x, none below
EXPOSED_SHARE = 0.25  # of the time between two frames, during which movement smears


@dataclass(frozen=True)
class Moment:
    """The stage at one frame. corner_px: the frame's left upper pixel on the film's pixel grid; smear_px: blur by movement, x and y;
    field: index of the field the stage rests on, None on the way.
    """

    corner_px: tuple[int, int]
    defocus_um: float
    smear_px: tuple[int, int]
    field: int | None


def plan_fields(film: Film, scope: Microscope, size_px: tuple[int, int], count: int) -> tuple[Point, ...]:
    """Centres (um) of `count` fields in a serpentine from the film's corner, on which counting is unambiguous.

    No cell reaches into two fields: the gap between neighbours is wider than any cell, also after each field was nudged (by up to
    8 um) so that the cells cut by its border show clearly less or clearly more than half of themselves.
    """
    pitch = _pitch_um(scope, size_px)
    columns = _columns(scope, size_px, count)
    centres = []
    for index in range(count):
        row, step = divmod(index, columns)
        column = step if row % 2 == 0 else columns - 1 - step
        centre = (_EDGE_UM + (column + 0.5) * pitch[0], _EDGE_UM + (row + 0.5) * pitch[1])
        centres.append(_nudged(film, centre, scope, size_px))
    return tuple(centres)


def film_size_um(scope: Microscope, size_px: tuple[int, int], count: int) -> Point:
    """The least film (width, height) that `plan_fields` needs."""
    pitch, columns = _pitch_um(scope, size_px), _columns(scope, size_px, count)
    return 2 * _EDGE_UM + columns * pitch[0], 2 * _EDGE_UM + ceil(count / columns) * pitch[1]


class StagePath:
    """Field after field: arrives out of focus, refocuses, dwells with the bench's vibration, moves on smeared; then the next.

    centres_um: see `plan_fields`. Fields take 8 to 14 frames, ways 4 to 6, drawn from `seed`. `loop` leads from the last field to
    the first; else the path ends with the last field's last frame.
    """

    def __init__(self, centres_um: tuple[Point, ...], scope: Microscope, size_px: tuple[int, int], seed: int, loop: bool) -> None:
        self._centres = centres_um
        self._scope = scope
        self._size_px = size_px
        rng = np.random.default_rng((seed, 611))
        count = len(centres_um)
        self._refocus = rng.integers(3, 6, count)
        self._dwell = self._refocus + rng.integers(5, 10, count)
        self._way = rng.integers(4, 7, count)
        self._phase = rng.uniform(0.0, 6.28, count)
        # Out of focus by a blur of 6 to 10 px, whatever the objective's depth of field is; from either side.
        sharp, blurred = scope.blur_px(0.0), scope.blur_px(1.0)
        px_per_um = sqrt(max(blurred**2 - sharp**2, 1e-9))
        self._arrival_um = rng.uniform(6.0, 10.0, count) * rng.choice((-1.0, 1.0), count) / px_per_um
        frames = self._dwell + self._way
        if not loop:
            frames[-1] = self._dwell[-1]
        self._starts = [0, *np.cumsum(frames).tolist()]
        self._loop = loop

    @property
    def frames(self) -> int:
        """Length of the path, or of one round where it loops."""
        return int(self._starts[-1])

    def at(self, frame: int) -> Moment:
        """The stage at a frame number from 0; IndexError after the end of a path that does not loop."""
        if frame < 0 or (frame >= self.frames and not self._loop):
            raise IndexError(f"the path has {self.frames} frames, not {frame + 1}")
        within = frame % self.frames
        field = bisect_right(self._starts, within) - 1
        step = within - int(self._starts[field])
        if step < self._dwell[field]:
            return self._resting(field, step)
        return self._moving(field, step - int(self._dwell[field]) + 1)

    def _resting(self, field: int, step: int) -> Moment:
        """The hand overshoots the focus once before it finds it."""
        turns = int(self._refocus[field])
        left = 1.0 - step / turns
        defocus = float(self._arrival_um[field]) * left * left * (-0.5 if step == turns - 1 else 1.0) if step < turns else 0.0
        phase = float(self._phase[field])
        shake = SHAKE_UM * sin(1.9 * step + phase), SHAKE_UM * sin(2.7 * step + 1.3 * phase)
        x, y = self._centres[field]
        return Moment(self._corner((x + shake[0], y + shake[1])), defocus, (0, 0), field)

    def _moving(self, field: int, step: int) -> Moment:
        """Speeds up, moves, slows down; the focus is lost on the way, as on a stage that is not level."""
        start, end = self._centres[field], self._centres[(field + 1) % len(self._centres)]
        steps = int(self._way[field]) + 1
        here, before = eased(step / steps), eased((step - 1) / steps)
        place = start[0] + (end[0] - start[0]) * here, start[1] + (end[1] - start[1]) * here
        p = self._scope.um_per_px
        smear = [round(abs(b - a) * (here - before) * EXPOSED_SHARE / p) for a, b in zip(start, end, strict=True)]
        defocus = float(self._arrival_um[(field + 1) % len(self._centres)]) * here
        return Moment(self._corner(place), defocus, (smear[0], smear[1]), None)

    def _corner(self, centre: Point) -> tuple[int, int]:
        p, (width, height) = self._scope.um_per_px, self._size_px
        return round(centre[0] / p - width / 2), round(centre[1] / p - height / 2)


def eased(share: float) -> float:
    return share * share * (3.0 - 2.0 * share)


def _field_um(scope: Microscope, size_px: tuple[int, int]) -> Point:
    return size_px[0] * scope.um_per_px, size_px[1] * scope.um_per_px


def _pitch_um(scope: Microscope, size_px: tuple[int, int]) -> Point:
    gap = 2 * MAX_REACH_UM + 2 * _NUDGE_UM + 4 * SHAKE_UM + 2 * scope.um_per_px
    width, height = _field_um(scope, size_px)
    return width + gap, height + gap


def _columns(scope: Microscope, size_px: tuple[int, int], count: int) -> int:
    """So many that the scanned area is about square."""
    width, height = _pitch_um(scope, size_px)
    return max(1, min(count, round(sqrt(count * height / width))))


def _nudged(film: Film, centre: Point, scope: Microscope, size_px: tuple[int, int]) -> Point:
    width, height = _field_um(scope, size_px)
    reach = 2 * MAX_REACH_UM + _NUDGE_UM
    x, y = centre
    around = (x - width / 2 - reach, y - height / 2 - reach, x + width / 2 + reach, y + height / 2 + reach)
    boxes = film.cells_in(around).boxes_px.astype(np.float64)  # whole boxes of all that can reach into the field, in um
    steps = np.linspace(-_NUDGE_UM, _NUDGE_UM, 9)
    nudges = sorted(((float(dx), float(dy)) for dx in steps for dy in steps), key=lambda d: d[0] ** 2 + d[1] ** 2)
    best, best_margin = centre, -1.0
    for dx, dy in nudges:
        margin = _margin(boxes, (x + dx - width / 2, y + dy - height / 2, x + dx + width / 2, y + dy + height / 2))
        if margin > best_margin:
            best, best_margin = (x + dx, y + dy), margin
        if margin >= _CLEAR_MARGIN:
            break
    return best


def _margin(boxes: npt.NDArray[np.float64], field: tuple[float, float, float, float]) -> float:
    """How far the most doubtful cell's visible share is from the share that counts."""
    if not len(boxes):
        return 1.0
    low = np.maximum(boxes[:, :2], field[:2])
    high = np.minimum(boxes[:, 2:], field[2:])
    inside = np.clip(high - low, 0.0, None).prod(axis=1)
    whole = np.maximum((boxes[:, 2:] - boxes[:, :2]).prod(axis=1), 1e-9)
    return float(np.abs(inside / whole - COUNTED_SHARE).min())
