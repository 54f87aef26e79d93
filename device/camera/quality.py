"""What a frame's pixels say: sharpness, exposure, colour cast. The meter is `focus`'s, motion device.slide.motion's."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

import cv2
import numpy as np
from numpy.typing import NDArray

from device.language import N_
from engines.detections import Image

_LOOKED_AT_PX = (480, 640)  # height and width of the central part that is judged, after reduction
_REDUCED_WIDTH_PX = 960
_CONTRAST_FLOOR = 4.0  # grey levels; keeps a bare field from looking infinitely sharp
_SOBEL_NOISE = 2.73
"""Energy left of white noise of variance 1 by the smoothing (5 taps, sigma 1) and both Sobel kernels: the sum of the squared taps."""

TOO_DARK, CLIPPED_SHARE, CAST_SHARE = 90.0, 0.20, 0.12
GREY_SPREAD = 8.0
"""Levels between the channels of the most coloured hundredth of the pixels below which a picture has no colour: a grey JPEG has at most
3, stained films of ten public sets 17 to 203."""


def _central_grey(image: Image) -> NDArray[np.uint8]:
    grey = cv2.cvtColor(image, cv2.COLOR_BGR2GRAY)
    by = max(1, round(grey.shape[1] / _REDUCED_WIDTH_PX))
    if by > 1:
        grey = cv2.resize(grey, (grey.shape[1] // by, max(1, grey.shape[0] // by)), interpolation=cv2.INTER_AREA)
    height, width = min(grey.shape[0], _LOOKED_AT_PX[0]), min(grey.shape[1], _LOOKED_AT_PX[1])
    top, left = (grey.shape[0] - height) // 2, (grey.shape[1] - width) // 2
    return np.asarray(grey[top : top + height, left : left + width], np.uint8)


def _gradient_energy(grey: NDArray[np.uint8]) -> float:
    smooth = cv2.GaussianBlur(grey, (5, 5), 1.0)
    across = cv2.norm(cv2.Sobel(smooth, cv2.CV_16S, 1, 0), cv2.NORM_L2SQR)
    down = cv2.norm(cv2.Sobel(smooth, cv2.CV_16S, 0, 1), cv2.NORM_L2SQR)
    return float(across + down) / grey.size


def _noise_variance(grey: NDArray[np.uint8]) -> float:
    """Sensor noise from the second difference of second differences (Immerkaer 1996), by the median so that edges count little."""
    kernel = np.array([[1, -2, 1], [-2, 4, -2], [1, -2, 1]], np.float32)
    response = np.abs(cv2.filter2D(grey, cv2.CV_16S, kernel)[1:-1:3, 1:-1:3])
    return (float(np.median(response)) / (6 * 0.6745)) ** 2


def sharpness(image: Image) -> float:
    """How sharp a BGR frame is, larger is sharper: root mean square of the gradient (Tenengrad) over the picture's contrast.

    Divided by the contrast so that crowded and sparse fields, strong and weak stain can be compared; the sensor's noise is
    taken off. In-focus film gives about 0.6 to 1.3 at 40x and 100x; defocus of 1 % of the width brings it down to about 0.6 of that.
    """
    grey = _central_grey(image)
    if min(grey.shape) < 16:
        return 0.0
    energy = max(0.0, _gradient_energy(grey) - _SOBEL_NOISE * _noise_variance(grey))
    coarse = cv2.resize(grey, (grey.shape[1] // 8, grey.shape[0] // 8), interpolation=cv2.INTER_AREA)
    return float(np.sqrt(energy)) / (float(coarse.std()) + _CONTRAST_FLOOR)


@dataclass(frozen=True)
class Exposure:
    """Light and colour of a frame. glass_bgr: levels of the bare glass, 0 to 255, which should be neutral; text: what to do.

    clipped_share: share of pixels with a channel at its end.
    """

    glass_bgr: tuple[float, float, float]
    clipped_share: float
    text: str

    @property
    def background(self) -> float:
        """Level of the bare glass, 0 to 255."""
        return max(self.glass_bgr)

    @property
    def good(self) -> bool:
        return self.text == "exposure good"

    @property
    def cast(self) -> str:
        """The tint of the bare glass and what to do; empty where it is neutral."""
        if max(self.glass_bgr) - min(self.glass_bgr) <= CAST_SHARE * sum(self.glass_bgr) / 3:
            return ""
        # Named after the two channels that stand out: the middle one sides with the end that it is nearer to.
        low, middle, high = sorted(zip(self.glass_bgr, ("blue", "green", "red"), strict=True))
        mixed = {frozenset(("blue", "green")): "cyan", frozenset(("blue", "red")): "magenta", frozenset(("green", "red")): "yellow"}
        tint = high[1] if middle[0] - low[0] < high[0] - middle[0] else mixed[frozenset((middle[1], high[1]))]
        return CASTS[tint]


CASTS = {
    "blue": N_("blue cast: set the white balance"),
    "green": N_("green cast: set the white balance"),
    "red": N_("red cast: set the white balance"),
    "cyan": N_("cyan cast: set the white balance"),
    "magenta": N_("magenta cast: set the white balance"),
    "yellow": N_("yellow cast: set the white balance"),
}
"""What a tint of the bare glass asks for, in English; translated where it is shown."""


class PictureFault(str, Enum):
    """What makes the counts of a field doubtful."""

    DARK = "dark"
    BRIGHT = "bright"
    BLURRED = "blurred"
    GREY = "grey"


def picture_faults(image: Image) -> tuple[PictureFault, ...]:
    """What is wrong with a BGR frame's light or colour, by a few thousand of its pixels. Focus depends on the slide's other fields."""
    pixels = _sampled(image)
    light = _exposure(pixels)
    if light.background < TOO_DARK:
        return (PictureFault.DARK,)  # its colour cannot be judged
    spread = float(np.percentile(np.ptp(pixels, axis=1), 99))
    found = ((PictureFault.BRIGHT, not light.good), (PictureFault.GREY, spread < GREY_SPREAD))
    return tuple(fault for fault, there in found if there)


def _sampled(image: Image) -> NDArray[np.uint8]:
    """Every so many pixels of the frame, (N, 3)."""
    size = (128, max(1, round(image.shape[0] * 128 / image.shape[1])))
    return np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_NEAREST).reshape(-1, 3), np.uint8)


def exposure(image: Image) -> Exposure:
    """Whether light and white balance fit a BGR frame."""
    return _exposure(_sampled(image))


def _exposure(pixels: NDArray[np.uint8]) -> Exposure:
    # Glass and plasma of a blood film: the median colour of the quarter of the pixels whose darkest channel is brightest.
    darkest = pixels.min(axis=1)
    blue, green, red = np.median(pixels[darkest >= np.percentile(darkest, 75)], axis=0)
    glass = float(blue), float(green), float(red)
    clipped = float((pixels.max(axis=1) >= 250).mean())
    if max(glass) < TOO_DARK:
        text = N_("too dark: turn the lamp up")
    elif clipped > CLIPPED_SHARE:
        text = N_("too bright: turn the lamp down")
    else:
        text = "exposure good"
    return Exposure(glass, clipped, text)
