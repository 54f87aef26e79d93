"""Whether the stage rests and whether the field under it is the one counted last, judged from the pictures alone.

Every frame is reduced to a small band-passed picture: it keeps how the cells lie, and loses sensor noise, the lamp's level and
gradient, and moderate defocus. Two such pictures are compared by normalised cross-correlation over the part that both show.
On real film (100x and 40x, an ordinary microscope, single-cell fields) two different fields reach at most 0.64, while a field
defocused by 3 % of its width stays above 0.92. Where on the film a field lies (registration of overlapping fields) is not known here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from engines.detections import Float32, Image, Int64

WIDTH_PX = 160
"""Width of the small picture; a 1080p frame shrinks twelvefold, so noise and small vibration all but vanish."""
ALIKE = 0.72
"""Correlation above which two small pictures show the same part of the film."""
ALIKE_SOFTENED = 0.85
"""The same for pictures that were softened first, compared in place only: strong defocus of one of them then counts little
(10 um out of focus at 100x: 0.92 and more; different fields in place: at most 0.71)."""
REST_SHARE = 0.006
"""Shift, as a share of the width, that a resting stage may show (vibration): 11 px of 1920."""
BLANK_CONTRAST = 1.0
"""Grey levels of contrast in the band below which a picture shows no film (lamp off, cap on, bare glass)."""
_SMOOTH_PX, _BACKGROUND_PX = 1.5, 8.0  # standard deviations that bound the band, in px of the small picture
_SOFTEN_PX = 5.0
_NUDGE_PX = 4  # the largest shift looked for between neighbouring frames
_OVERLAP = 0.15  # share of the picture that two frames must have in common to be compared


@dataclass(frozen=True, eq=False)
class FieldPicture:
    """A frame as motion sees it. band: (height, WIDTH_PX) float32, zero mean; contrast: its standard deviation in grey levels;
    size_px: (width, height) of the frame, (0, 0) where it is not known; level: mean grey, 0 where it is not known.
    """

    band: Float32
    contrast: float
    size_px: tuple[int, int] = (0, 0)
    level: float = 0.0

    @property
    def blank(self) -> bool:
        return self.contrast < BLANK_CONTRAST

    @property
    def softened(self) -> FieldPicture:
        band = np.asarray(cv2.GaussianBlur(self.band, (0, 0), _SOFTEN_PX), np.float32)
        return FieldPicture(band, float(band.std()), self.size_px, self.level)

    @classmethod
    def of(cls, image: Image, flat: Float32 | None = None) -> FieldPicture:
        """The small picture of a BGR frame (height, width, 3) uint8 of any size.

        flat: what the camera sees without a film, (rows, columns) grey of any size: dust and vignette are divided out. They stay
        where they are while the film moves, and would say on empty film that nothing did.
        """
        height, width = image.shape[:2]
        size = small_size((width, height))
        grey = cv2.cvtColor(image, cv2.COLOR_BGR2GRAY)
        if width >= 8 * WIDTH_PX:  # in two steps: the first, by exactly two, is many times faster
            grey = cv2.resize(grey, (width // 2, height // 2), interpolation=cv2.INTER_AREA)
        small = cv2.resize(grey, size, interpolation=cv2.INTER_AREA).astype(np.float32)
        if flat is not None:
            level = cv2.resize(flat.astype(np.float32), size, interpolation=cv2.INTER_AREA)
            small = np.asarray(small * (float(level.mean()) / np.maximum(level, 1e-3)), np.float32)
        smooth = cv2.GaussianBlur(small, (0, 0), _SMOOTH_PX)
        band = (smooth - cv2.GaussianBlur(smooth, (0, 0), _BACKGROUND_PX)).astype(np.float32)
        band -= band.mean()
        return cls(band, float(band.std()), (width, height), float(small.mean()))


def small_size(size_px: tuple[int, int]) -> tuple[int, int]:
    """(width, height) of the small picture of frames of that (width, height)."""
    width, height = size_px
    return WIDTH_PX, max(2 * _NUDGE_PX + 8, round(height * WIDTH_PX / width))


@dataclass(frozen=True)
class Shift:
    """How far the second picture is displaced against the first, in shares of the width, and how alike the common part is (-1 to 1)."""

    x_share: float
    y_share: float
    likeness: float

    @property
    def share(self) -> float:
        return float(np.hypot(self.x_share, self.y_share))


_NOT_COMPARABLE = Shift(0.0, 0.0, -1.0)


def nudge(first: FieldPicture, second: FieldPicture) -> Shift:
    """The small shift between neighbouring frames: at most 2.5 % of the width is looked for, to a fraction of a small pixel."""
    if first.band.shape != second.band.shape:
        return _NOT_COMPARABLE
    m = _NUDGE_PX
    scores = cv2.matchTemplate(second.band, first.band[m:-m, m:-m], cv2.TM_CCOEFF_NORMED)
    y, x = np.unravel_index(int(scores.argmax()), scores.shape)
    dx = x - m + _vertex(scores[y, :], int(x))
    dy = y - m + _vertex(scores[:, x], int(y))
    return Shift(dx / WIDTH_PX, dy / WIDTH_PX, float(scores[y, x]))


def displacement(first: FieldPicture, second: FieldPicture, reach_share: float) -> Shift:
    """The shift at which `second` is most alike `first`, looked for up to `reach_share` of the width in x and y.

    Exact normalised correlation over the common part of each shift: numerator by Fourier transform, norms by summed areas.
    """
    if first.band.shape != second.band.shape:
        return _NOT_COMPARABLE
    a, b = first.band, second.band
    height, width = a.shape
    reach_x = min(int(np.ceil(reach_share * WIDTH_PX)), width - 1)
    reach_y = min(int(np.ceil(reach_share * WIDTH_PX)), height - 1)
    size = (cv2.getOptimalDFTSize(height + reach_y), cv2.getOptimalDFTSize(width + reach_x))
    product = np.fft.irfft2(np.conj(np.fft.rfft2(a, size)) * np.fft.rfft2(b, size), size)
    dy, dx = np.arange(-reach_y, reach_y + 1), np.arange(-reach_x, reach_x + 1)
    dots = product[np.ix_(dy % size[0], dx % size[1])]  # dots[i, j] = sum of a[y, x] * b[y + dy, x + dx]
    energy_a = _energy(a, np.maximum(0, -dy), height - np.maximum(0, dy), np.maximum(0, -dx), width - np.maximum(0, dx))
    energy_b = _energy(b, np.maximum(0, dy), height + np.minimum(0, dy), np.maximum(0, dx), width + np.minimum(0, dx))
    scores = dots / np.sqrt(np.maximum(energy_a * energy_b, 1e-12))
    common = np.outer(height - abs(dy), width - abs(dx))
    scores[common < _OVERLAP * height * width] = -1.0
    i, j = np.unravel_index(int(scores.argmax()), scores.shape)
    return Shift(float(dx[j]) / WIDTH_PX, float(dy[i]) / WIDTH_PX, float(scores[i, j]))


@dataclass(frozen=True)
class Motion:
    """What one frame says. `shift` is against the field counted last; None while moving, or where there is none to compare with."""

    resting: bool
    blank: bool  # nothing of the film can be seen
    new_field: bool  # at rest on a field that has not been counted
    counted: bool  # at rest on the field counted last
    shift: Shift | None


class RestDetector:
    """Follows the processed frames of one camera: does the stage rest, and is the field under it new?

    `rest_frames`: so many frames alike before the stage rests. `moved_share`: a field displaced by less than this share of its
    width against the one counted last is the same field; so is one under which nothing moved at all, however the focus changed.
    """

    def __init__(self, rest_frames: int, moved_share: float) -> None:
        self._rest_frames = rest_frames
        self._moved_share = moved_share
        self._previous: FieldPicture | None = None
        self._anchor: FieldPicture | None = None  # the first picture of the present rest: slow drift shows against it
        self._alike = 0
        self.reference: FieldPicture | None = None  # the field counted last, as `mark` left it
        self._relation: Shift | None = None  # of the present rest to the reference, found once; later refocusing cannot change it
        self._held: FieldPicture | None = None
        self._away = 0

    @property
    def picture(self) -> FieldPicture | None:
        """Of the frame that was taken in last; None before the first."""
        return self._previous

    def observe(self, image: Image) -> Motion:
        """Take in the next processed frame (BGR)."""
        picture = FieldPicture.of(image)
        if self._rests_on(picture):
            self._alike += 1
        else:
            self._alike, self._anchor, self._relation = 1, picture, None
        self._previous = picture
        resting = self._alike >= self._rest_frames
        self._release_hold(picture, resting)
        if not resting or picture.blank:
            return Motion(resting, picture.blank, False, False, None)
        if self._relation is None and self.reference is not None:
            self._relation = self._compare(self.reference, picture)
        same = self._relation is not None and self._is_same(self._relation)
        return Motion(True, False, not same and self._held is None, same, self._relation)

    def mark(self) -> FieldPicture | None:
        """The field now seen counts as counted; returns its picture, with which `unmark` can go back to it."""
        self.reference = self._previous
        self._relation = Shift(0.0, 0.0, 1.0)
        self._held = None
        return self.reference

    def unmark(self, before: FieldPicture | None) -> None:
        """The field counted last no longer counts; `before` (or none) is again the last one.

        What lies under the objective is not new until the stage has moved away from it, so that an undone field does not
        come back by itself; after that it is counted like any other.
        """
        undone, self.reference = self.reference, before
        if self._held is None and undone is not None and self._previous is not None:
            shift = self._relation or self._compare(undone, self._previous)
            if self._alike < self._rest_frames or self._is_same(shift):
                self._held, self._away = undone, 0
        self._relation = None

    def forget(self) -> None:
        """Begin anew, as for another slide: whatever lies under the objective is new. Whether the stage rests is kept."""
        self.reference = self._held = None
        self._relation = None

    def retire(self) -> None:
        """Another slide begins: the field counted last belongs to the old glass and is not new until the stage has left it."""
        old = self.reference
        self.unmark(None)
        if old is None:
            self._held = None

    @property
    def holds(self) -> bool:
        """What lies under the objective is held back: undone, or of the glass before."""
        return self._held is not None

    def _compare(self, before: FieldPicture, now: FieldPicture) -> Shift:
        shift = displacement(before, now, self._moved_share + 2 / WIDTH_PX)
        if shift.likeness < ALIKE:  # another field, or the same one far out of focus in one of the two
            in_place = nudge(before.softened, now.softened)
            if in_place.likeness >= ALIKE_SOFTENED:
                return in_place
        return shift

    def _is_same(self, shift: Shift) -> bool:
        return shift.likeness >= ALIKE and shift.share < max(self._moved_share, REST_SHARE)

    def _rests_on(self, picture: FieldPicture) -> bool:
        if self._previous is None or self._anchor is None:
            return False
        if picture.blank or self._previous.blank:
            return picture.blank and self._previous.blank
        step = nudge(self._previous, picture)
        if step.likeness < ALIKE or step.share > REST_SHARE:
            return False
        drift = nudge(self._anchor, picture)
        if drift.likeness < ALIKE:  # no proof of motion: turning the fine focus does that. Alike and displaced is.
            self._anchor = picture
            return True
        return drift.share <= REST_SHARE

    def _release_hold(self, picture: FieldPicture, resting: bool) -> None:
        """An undone field is held back until the stage has left it: measured, at rest elsewhere, or out of sight for several frames."""
        if self._held is None or picture.blank or self._alike > self._rest_frames:
            return
        shift = self._compare(self._held, picture)
        if self._is_same(shift):
            self._away = 0
            return
        self._away += 1
        if resting or shift.likeness >= ALIKE or self._away > self._rest_frames:
            self._held = None


def _vertex(scores: NDArray[Any], at: int) -> float:
    """Where the parabola through the peak and its neighbours has its top, -0.5 to 0.5; 0 at the border."""
    if not 0 < at < len(scores) - 1:
        return 0.0
    left, centre, right = (float(s) for s in scores[at - 1 : at + 2])
    curvature = left - 2 * centre + right
    return 0.0 if curvature >= 0 else float(np.clip(0.5 * (left - right) / curvature, -0.5, 0.5))


def _energy(band: Float32, top: Int64, bottom: Int64, left: Int64, right: Int64) -> NDArray[np.float64]:
    """Sum of squares over rows top[i]:bottom[i] and columns left[j]:right[j], for every i and j."""
    summed = np.asarray(cv2.integral(band.astype(np.float64) ** 2), np.float64)
    inside = summed[np.ix_(bottom, right)] - summed[np.ix_(top, right)] - summed[np.ix_(bottom, left)] + summed[np.ix_(top, left)]
    return np.asarray(inside, np.float64)
