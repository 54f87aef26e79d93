"""White balance and flat-field from several frames of a blank field."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from engines.detections import Float32, Image
from engines.errors import EnginesError

FEWEST_FRAMES = 4
FLAT_WIDTH_PX = 96
"""Width of the flat-field: light changes slowly over a field, and what changes quickly lies on the glass or the sensor."""
DARK, BRIGHT, CLIPPED_SHARE = 90.0, 244.0, 0.002
"""Levels of a blank field, 0 to 255: below the first a channel is noise, above the last two its white is cut off."""
GOOD_LEVELS = (170.0, 240.0)
_STRUCTURE = 0.02
"""Share of the light that a blank field may vary by at the size of cells. Rendered blank fields with dust have .004, thin film .05."""
_UNSTEADY = 0.03
_DARKEST_CORNER = 0.35
_LARGEST_GAIN = 3.0


class OpticsError(EnginesError):
    """A field or picture that nothing can be measured on. The message says what is wrong with it and what to do."""

    exit_code = 2


@dataclass(frozen=True, eq=False)
class Blank:
    """What blank frames say. glass_bgr: median level of the middle; white_balance: gains of blue, green, red that make it neutral.

    flat: (h, `FLAT_WIDTH_PX`, 3) float32, light of each place as a share of the brightest, by channel. frames: so many were used.
    """

    glass_bgr: tuple[float, float, float]
    white_balance: tuple[float, float, float]
    flat: Float32
    frames: int

    @property
    def advice(self) -> str:
        """What to do about lamp and exposure; empty where both are well set."""
        level = max(self.glass_bgr)
        if level < GOOD_LEVELS[0]:
            return f"the blank field has level {level:.0f} of 255: turn the lamp up until it has 200 to 235, then again"
        if level > GOOD_LEVELS[1]:
            return f"the blank field has level {level:.0f} of 255: turn the lamp down until it has 200 to 235, then again"
        return ""


def measure_blank(frames: Sequence[Image]) -> Blank:
    """White balance and flat-field of blank BGR frames of one size; move the stage between them, so that dust on the glass drops out.

    Raises OpticsError where they are too few, dark, bright, not blank, not steady or not lit from corner to corner.
    """
    if len(frames) < FEWEST_FRAMES:
        raise OpticsError(f"{len(frames)} frames of a blank field: at least {FEWEST_FRAMES} are needed")
    if len({frame.shape for frame in frames}) > 1:
        raise OpticsError("the frames are of different sizes: take all with one setting of the camera")
    small = np.stack([_small(frame) for frame in frames])
    for number, frame in enumerate(frames, 1):
        _refuse_bad_light(frame, small[number - 1], number)
    levels = small.mean(axis=(1, 2))
    if float((np.ptp(levels, axis=0) / levels.mean(axis=0)).max()) > _UNSTEADY:
        raise OpticsError("the light changes between the frames: switch the camera's automatic exposure and white balance off")
    median = np.median(small, axis=0).astype(np.float32)
    flat = np.asarray(cv2.GaussianBlur(median, (0, 0), FLAT_WIDTH_PX / 32), np.float32)
    height, width = flat.shape[:2]
    middle = flat[height // 3 : height - height // 3, width // 3 : width - width // 3].reshape(-1, 3)
    glass = np.median(middle, axis=0)
    flat = (flat / flat.reshape(-1, 3).max(axis=0)).astype(np.float32)
    if float(flat.min()) < _DARKEST_CORNER:
        raise OpticsError("part of the field is dark: centre the condenser and the camera, open the diaphragm, then again")
    for number, one in enumerate(small, 1):
        _refuse_structure(one, number)
    gains = glass.max() / glass
    if float(gains.max()) > _LARGEST_GAIN:
        names = ("blue", "green", "red")
        weakest = names[int(np.argmin(glass))]
        raise OpticsError(f"{weakest} is {gains.max():.1f} times weaker than the others: set the camera's own white balance first")
    return Blank(_triple(glass), _triple(gains), flat, len(frames))


def _triple(values: NDArray[np.floating]) -> tuple[float, float, float]:
    blue, green, red = (round(float(value), 4) for value in values)
    return blue, green, red


def _small(frame: Image) -> NDArray[np.float32]:
    size = (FLAT_WIDTH_PX, max(8, round(frame.shape[0] * FLAT_WIDTH_PX / frame.shape[1])))
    return cv2.resize(frame, size, interpolation=cv2.INTER_AREA).astype(np.float32)


def _refuse_bad_light(frame: Image, small: NDArray[np.float32], number: int) -> None:
    middle = np.median(small.reshape(-1, 3), axis=0)
    if float(middle.max()) < DARK:
        raise OpticsError(f"frame {number} is too dark (level {middle.max():.0f} of 255): turn the lamp up, then again")
    clipped = float((frame[::4, ::4].max(axis=2) >= 254).mean())
    if float(middle.max()) > BRIGHT or clipped > CLIPPED_SHARE:
        raise OpticsError(f"frame {number} is too bright, its white is cut off: turn the lamp down or expose less, then again")


def _refuse_structure(small: NDArray[np.float32], number: int) -> None:
    """Cells, edges of the film, a ruling: all that a blank field has not."""
    slow = cv2.GaussianBlur(small, (0, 0), 6.0)
    left = small / np.maximum(slow, 1.0) - 1.0
    inner = left[3:-3, 3:-3]
    if float(inner.std(axis=(0, 1)).max()) > _STRUCTURE:
        raise OpticsError(f"frame {number} is not blank, something of the film is on it: move to clean glass beside the film")
