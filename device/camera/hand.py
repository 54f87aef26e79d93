"""A stage moved by a person: uneven steps that overlap, corrections, returns and a restless focus, for every frame number.

`stage.StagePath` visits fields that lie clear of each other; no hand does. Here the ways overshoot and slip, the next field shares
film with the last one, and the picture is nudged, left and found again. A pure function of style, seed and frame number; nothing is
rendered.
"""

from __future__ import annotations

from math import cos, hypot, pi, sin, sqrt

import numpy as np

from device.camera.stage import EXPOSED_SHARE, SHAKE_UM, Moment, Point, eased
from engines.film import Microscope

STYLES = ("whole", "ordinary", "overlap", "returns", "restless")
"""whole: every step is more than a field. ordinary: rows of fields that now and then overlap, with small corrections. overlap: a third
to two thirds of each field was in the one before. returns: ordinary, and back to earlier fields, by the dial or by a flick of the hand.
restless: ordinary, with the fine focus turned to and fro, long pauses and a stage that creeps."""

_MARGIN_UM = 150.0  # of film around all that the stage sees
_ARRIVAL_BLUR_PX = 7.0  # of a frame 1920 px wide: clearly out of focus


class HandPath:
    """`fields` planned fields read in rows by a hand of one of `STYLES`; what it does besides (corrections, returns) comes on top.

    `loop` leads from the last field back to the first; else the path ends with the last rest. `Moment.field` is the planned field on
    which the stage rests, also at a correction beside it or when it is visited again.
    """

    def __init__(self, style: str, fields: int, scope: Microscope, size_px: tuple[int, int], seed: int, loop: bool = False) -> None:
        if style not in STYLES:
            raise ValueError(f"no hand moves like '{style}'; styles: {', '.join(STYLES)}")
        self._scope, self._size_px, self._loop = scope, size_px, loop
        hand = _Hand(scope, size_px, np.random.default_rng((seed, STYLES.index(style), 907)))
        _read_film(hand, style, fields)
        if loop:
            hand.move(hand.visited[0])
        centres = np.array([step[:2] for step in hand.steps])
        reach = np.array(size_px) * scope.um_per_px / 2 + _MARGIN_UM
        self._origin = reach - centres.min(axis=0)
        self._steps = hand.steps
        extent = centres.max(axis=0) + self._origin + reach
        self.film_size_um: Point = (float(extent[0]), float(extent[1]))
        """The least film (width, height) that the path needs."""

    @property
    def frames(self) -> int:
        """Length of the path, or of one round where it loops."""
        return len(self._steps)

    def at(self, frame: int) -> Moment:
        """The stage at a frame number from 0; IndexError after the end of a path that does not loop."""
        if frame < 0 or (frame >= self.frames and not self._loop):
            raise IndexError(f"the path has {self.frames} frames, not {frame + 1}")
        x, y, defocus, smear_x, smear_y, field = self._steps[frame % self.frames]
        p, (width, height) = self._scope.um_per_px, self._size_px
        corner = round((x + self._origin[0]) / p - width / 2), round((y + self._origin[1]) / p - height / 2)
        return Moment(corner, defocus, (round(smear_x / p), round(smear_y / p)), field)


class _Hand:
    """Makes the steps of a path: (x um, y um, defocus um, smear x um, smear y um, field or None), one a frame."""

    def __init__(self, scope: Microscope, size_px: tuple[int, int], rng: np.random.Generator) -> None:
        self.rng = rng
        self.width, self.height = size_px[0] * scope.um_per_px, size_px[1] * scope.um_per_px
        sharp = scope.blur_px(0.0)
        px_per_um = sqrt(max(scope.blur_px(1.0) ** 2 - sharp**2, 1e-9))
        self.far_um = _ARRIVAL_BLUR_PX * scope.width_px / 1920 / px_per_um
        self.depth_um = 0.8 * sharp / px_per_um  # a defocus of this blurs no more than the objective does anyway
        self.here: Point = (0.0, 0.0)
        self.focus = float(rng.choice((-1.0, 1.0)) * rng.uniform(0.6, 1.0)) * self.far_um
        self.steps: list[tuple[float, float, float, float, float, int | None]] = []
        self.visited: list[Point] = []  # where each planned field was rested on first
        self.field = 0
        self._phase = float(rng.uniform(0, 2 * pi))
        angle = float(rng.uniform(0, 2 * pi))
        self._creep = cos(angle), sin(angle)

    def move(self, goal: Point, frames: int | None = None, keep_focus: bool = False) -> None:
        """A way that speeds up and slows down, often past the goal and back, never quite straight; the focus wanders on it."""
        rng = self.rng
        away = goal[0] - self.here[0], goal[1] - self.here[1]
        if frames is None:
            frames = int(np.clip(round(hypot(*away) / self.width * rng.uniform(4.0, 9.0)), 3, 40))
        beyond = float(rng.uniform(0.0, 0.14)) if rng.random() < 0.6 else 0.0
        slip = float(rng.normal(0.0, 0.02))
        stop = goal[0] - away[1] * slip, goal[1] + away[0] * slip
        turn = stop[0] + away[0] * beyond, stop[1] + away[1] * beyond
        focus = self.focus if keep_focus else self.focus + float(rng.normal(0.0, 0.5)) * self.far_um
        self._glide(turn, frames, float(np.clip(focus, -1.1 * self.far_um, 1.1 * self.far_um)))
        if beyond:
            self._glide(stop, int(rng.integers(2, 5)), self.focus)

    def find_focus(self) -> None:
        """Turns the fine focus past the best and back to it, to within a fraction of the depth of field."""
        start, turns = self.focus, int(self.rng.integers(2, 6))
        for turn in range(1, turns):
            left = (1.0 - turn / turns) ** 2
            self.focus = start * left * (-0.4 if turn == turns - 1 and turns > 2 else 1.0)
            self._rest()
        self.focus = float(self.rng.normal(0.0, 0.25)) * self.depth_um
        self._rest()

    def dwell(self, least: int, most: int, creep_share: float = 0.0002) -> None:
        """Looks for `least` to `most` frames while the stage creeps by a share of the field's width each."""
        for _ in range(int(self.rng.integers(least, most + 1))):
            self.here = (
                self.here[0] + self._creep[0] * creep_share * self.width,
                self.here[1] + self._creep[1] * creep_share * self.width,
            )
            self._rest()

    def hunt(self) -> None:
        """Turns the focus well away and back again, as on doubting a nucleus."""
        best, reach = self.focus, float(self.rng.choice((-1.0, 1.0)) * self.rng.uniform(0.3, 0.9)) * self.far_um
        for share in (0.5, 1.0, 0.6, 0.2, 0.0):
            self.focus = best + reach * share
            self._rest()

    def nudge(self) -> None:
        """A small correction of the place, within three frames."""
        rng = self.rng
        dx = float(rng.uniform(0.08, 0.28) * rng.choice((-1.0, 1.0))) * self.width
        dy = float(rng.uniform(0.08, 0.28) * rng.choice((-1.0, 1.0))) * self.height if rng.random() < 0.4 else 0.0
        self.move((self.here[0] + dx, self.here[1] + dy), frames=3, keep_focus=True)

    def near(self, place: Point) -> Point:
        """Where a hand ends that wants to go back to `place`."""
        dx, dy = self.rng.normal(0.0, 0.08, 2).tolist()
        return place[0] + dx * self.width, place[1] + dy * self.height

    def _glide(self, goal: Point, frames: int, focus: float) -> None:
        start, focus_before = self.here, self.focus
        for frame in range(1, frames + 1):
            share, before = eased(frame / frames), eased((frame - 1) / frames)
            self.here = start[0] + (goal[0] - start[0]) * share, start[1] + (goal[1] - start[1]) * share
            self.focus = focus_before + (focus - focus_before) * share
            moved = (share - before) * EXPOSED_SHARE
            self._add(abs(goal[0] - start[0]) * moved, abs(goal[1] - start[1]) * moved, None)

    def _rest(self) -> None:
        self._add(0.0, 0.0, self.field)

    def _add(self, smear_x: float, smear_y: float, field: int | None) -> None:
        at = len(self.steps)
        x, y = SHAKE_UM * sin(1.9 * at + self._phase), SHAKE_UM * sin(2.7 * at + 1.3 * self._phase)
        self.steps.append((self.here[0] + x, self.here[1] + y, self.focus, smear_x, smear_y, field))


def _read_film(hand: _Hand, style: str, fields: int) -> None:
    rng = hand.rng
    columns = max(3, round(1.2 * sqrt(fields * hand.height / hand.width)))
    column, direction = 0, 1.0
    hand.find_focus()
    hand.dwell(5, 9)
    hand.visited.append(hand.here)
    for field in range(1, fields):
        hand.field = field
        if style == "whole":
            across, down = rng.uniform(1.12, 1.25), rng.uniform(1.15, 1.3)
        elif style == "overlap":
            across, down = rng.uniform(0.3, 0.7), rng.uniform(0.3, 0.7)
        else:
            across, down = rng.normal(0.95, 0.12), rng.normal(0.92, 0.12)
        column += 1
        if column < columns:
            step = direction * float(across) * hand.width, float(rng.normal(0.0, 0.04)) * hand.height
        else:
            step = float(rng.normal(0.0, 0.05)) * hand.width, float(down) * hand.height
            column, direction = 0, -direction
        hand.move((hand.here[0] + step[0], hand.here[1] + step[1]))
        hand.find_focus()
        hand.dwell(5, 10)
        hand.visited.append(hand.here)
        if style in ("ordinary", "returns", "restless") and rng.random() < 0.25:
            hand.nudge()
            hand.dwell(4, 7)
        if style == "restless":
            _fidget(hand)
        if style == "returns" and field % 4 == 3:
            _go_back(hand, field)


def _fidget(hand: _Hand) -> None:
    hand.hunt()
    hand.dwell(4, 9, creep_share=0.0006)
    if hand.rng.random() < 0.3:
        hand.dwell(40, 40, creep_share=0.0006)


def _go_back(hand: _Hand, field: int) -> None:
    """To an earlier field and back to this one, slowly or by a flick of the hand."""
    home, earlier = hand.here, int(hand.rng.integers(0, field - 1))
    frames = 4 if hand.rng.random() < 0.5 else None
    for goal, number in ((hand.visited[earlier], earlier), (home, field)):
        hand.field = number
        hand.move(hand.near(goal), frames)
        hand.find_focus()
        hand.dwell(4, 8)
