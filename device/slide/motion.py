"""Whether the stage rests, and whether anything of the film is to be seen, judged from the pictures alone.

Every frame is reduced to a small band-passed picture: it keeps how the cells lie, and loses sensor noise, the lamp's level and
gradient, and moderate defocus. Two such pictures are compared by normalised cross-correlation over the part that both show.
On real film (100x and 40x, an ordinary microscope, single-cell fields) two different fields reach at most 0.64, while a field
defocused by 3 % of its width stays above 0.92. Where on the film a field lies is found by `registration`, from the same pictures.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from engines.detections import Float32, Image

WIDTH_PX = 160
"""Width of the small picture; a 1080p frame shrinks twelvefold, so noise and small vibration all but vanish."""
ALIKE = 0.72
"""Correlation above which two small pictures show the same part of the film."""
REST_SHARE = 0.006
"""Shift, as a share of the width, that a resting stage may show (vibration): 11 px of 1920."""
BLANK_CONTRAST = 1.0
"""Grey levels of contrast in the band below which a picture shows no film (lamp off, cap on, bare glass)."""
_SMOOTH_PX, _BACKGROUND_PX = 1.5, 8.0  # standard deviations that bound the band, in px of the small picture
_NUDGE_PX = 4  # the largest shift looked for between neighbouring frames


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

    @classmethod
    def of(cls, image: Image, flat: Float32 | None = None) -> FieldPicture:
        """The small picture of a BGR frame (height, width, 3) uint8 of any size.

        flat: what the camera sees without a film, (rows, columns) grey of any size: dust and vignette are divided out. They stay
        where they are while the film moves, and would say on empty film that nothing did.

        The pipeline gives none: its frames were divided by the microscope's flat-field before anything looks at them
        (`device.camera.corrected`), where one was measured.
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


@dataclass(frozen=True)
class Motion:
    """What one frame says. blank: nothing of the film can be seen."""

    resting: bool
    blank: bool


class RestDetector:
    """Follows the processed frames of one camera: does the stage rest? `rest_frames`: so many frames alike before it does."""

    def __init__(self, rest_frames: int) -> None:
        self._rest_frames = rest_frames
        self._previous: FieldPicture | None = None
        self._anchor: FieldPicture | None = None  # the first picture of the present rest: slow drift shows against it
        self._alike = 0

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
            self._alike, self._anchor = 1, picture
        self._previous = picture
        return Motion(self._alike >= self._rest_frames, picture.blank)

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


def _vertex(scores: NDArray[Any], at: int) -> float:
    """Where the parabola through the peak and its neighbours has its top, -0.5 to 0.5; 0 at the border."""
    if not 0 < at < len(scores) - 1:
        return 0.0
    left, centre, right = (float(s) for s in scores[at - 1 : at + 2])
    curvature = left - 2 * centre + right
    return 0.0 if curvature >= 0 else float(np.clip(0.5 * (left - right) / curvature, -0.5, 0.5))
