"""From clear film to camera frame: lamp, objective, focus, lens faults, sensor and its processing, by microscope and camera.

Domains follow LeukemiaAttri: H a high-cost microscope, L a low-cost one; C1 a phone at the eyepiece, C2 an eyepiece camera
(HD1500T on H, ZZCAT 5MP on L). The numbers are plausible ones chosen by eye, no measurement of those instruments.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from engines.film.texture import Array, plane_noise, rng_of

Image = npt.NDArray[np.uint8]
_Pixels = npt.NDArray[Any]

CLEAR = 232
"""Value of clear film in a tile; what is above it is brighter than the lamp (halos)."""

OBJECTIVES: dict[int, tuple[float, float]] = {10: (0.25, 1.0), 40: (0.65, 1.0), 100: (1.25, 1.515)}
"""Numerical aperture and refractive index in front of each objective (100 = oil)."""


@dataclass(frozen=True)
class _Instrument:
    """Faults of one pairing of microscope and camera; lengths in um of film or px of a 1920 px wide frame."""

    um_per_px_100: float
    lamp: tuple[float, float, float]  # red, green, blue of clear film, 0 to 255
    blur: float  # times the diffraction-limited blur
    vignette: float  # loss of light at the corner, share
    gradient: float
    noise: float  # standard deviation in grey levels
    sharpen: float
    lateral: float  # colour shift at the edge of the field, share of the radius
    jpeg: int
    dust: int
    flare: float  # share of the lamp's light that is spread evenly over the frame


_INSTRUMENTS: dict[tuple[str, str], _Instrument] = {
    ("H", "C2"): _Instrument(0.075, (249, 227, 204), 1.0, 0.05, 0.02, 1.3, 0.9, 0.0, 95, 0, 0.02),
    ("H", "C1"): _Instrument(0.068, (243, 236, 226), 1.15, 0.16, 0.04, 2.0, 0.7, 0.0005, 88, 1, 0.07),
    ("L", "C2"): _Instrument(0.075, (171, 176, 165), 1.7, 0.10, 0.06, 2.4, 0.6, 0.0007, 90, 3, 0.05),
    ("L", "C1"): _Instrument(0.068, (207, 209, 204), 1.6, 0.15, 0.07, 3.0, 0.9, 0.0010, 82, 4, 0.17),
}


@dataclass(frozen=True)
class Microscope:
    """One microscope and its camera: domain "H" or "L", camera "C1" or "C2", objective 10, 40 or 100.

    `unit` tells instruments of one make apart (colour of the lamp, where it is centred, dust on the sensor); 0 is the make's
    plain self. At the camera's native width of 1920 px, 100x has 0.075 um a px with C2 and 0.068 with C1, so that a neutrophil
    of 13 um spans 173 or 191 px; 40x and 10x have 2.5 and 10 times as many um a px. `width_px` is how wide a frame of the whole
    field is delivered: a camera set to 1280 x 720 shows the same film with larger pixels. Raises ValueError for an unknown part.
    """

    domain: str = "L"
    camera: str = "C2"
    objective: int = 100
    unit: int = 0
    width_px: int = 1920

    def __post_init__(self) -> None:
        if (self.domain, self.camera) not in _INSTRUMENTS:
            raise ValueError(f"no microscope {self.domain!r} with camera {self.camera!r}; domains H, L; cameras C1, C2")
        if self.objective not in OBJECTIVES:
            raise ValueError(f"no objective {self.objective!r}; objectives are {', '.join(map(str, OBJECTIVES))}")
        if self.width_px < 64:
            raise ValueError(f"width_px {self.width_px} is no frame; give 64 or more")

    @property
    def um_per_px(self) -> float:
        """Micrometres of film that a pixel covers."""
        return _INSTRUMENTS[self.domain, self.camera].um_per_px_100 * 100.0 / self.objective * 1920.0 / self.width_px

    def blur_px(self, defocus_um: float) -> float:
        """Standard deviation in px of the blur by diffraction, lens faults and distance from focus."""
        aperture, index = OBJECTIVES[self.objective]
        diffraction = 0.22 * 0.55 / aperture * _INSTRUMENTS[self.domain, self.camera].blur
        cone = aperture / np.sqrt(index * index - aperture * aperture)
        return float(np.hypot(diffraction, 0.33 * cone * defocus_um) / self.um_per_px)


def capture(clear: Image, scope: Microscope, defocus_um: float = 0.0, noise_seed: int | None = None) -> Image:
    """What the camera delivers of a piece of film: (height, width, 3) uint8 in blue, green, red, from a tile's values.

    Without `noise_seed` the frame has no sensor noise and no JPEG losses, everything else stays.
    """
    kind = _INSTRUMENTS[scope.domain, scope.camera]
    height, width = clear.shape[:2]
    image: _Pixels = _blurred(clear, scope.blur_px(defocus_um))
    image = cv2.multiply(image, _light(scope, height, width), scale=1.0 / 200.0)
    if kind.lateral:
        image = _lateral(image, kind.lateral)
    veil = kind.flare * float(np.mean(kind.lamp))
    if noise_seed is not None:
        rng = rng_of(noise_seed, 401)
        grain = _grain(kind.noise, max(height, 1080) + 64, max(width, 1920) + 64)
        dy, dx = int(rng.integers(grain.shape[0] - height + 1)), int(rng.integers(grain.shape[1] - width + 1))
        piece = grain[dy : dy + height, dx : dx + width]
        if rng.random() < 0.5:
            piece = piece[::-1]
        image = cv2.addWeighted(image, 1.0 - kind.flare, piece, 1.0, veil - 128.0)
    else:
        image = cv2.convertScaleAbs(image, alpha=1.0 - kind.flare, beta=veil)
    a = kind.sharpen / 4
    image = cv2.filter2D(image, -1, np.array([[0, -a, 0], [-a, 1 + 4 * a, -a], [0, -a, 0]], dtype=np.float32))
    if noise_seed is not None:
        packed = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, kind.jpeg])[1]
        image = np.asarray(cv2.imdecode(np.asarray(packed), cv2.IMREAD_COLOR))
    return np.asarray(image, dtype=np.uint8)


def _blurred(image: _Pixels, sigma: float) -> _Pixels:
    """Gaussian blur; strong ones on a smaller picture, where they cost less and look the same."""
    height, width = image.shape[:2]
    shrink = 1
    while sigma / shrink > 3.5 and min(height, width) // (shrink * 2) >= 16:
        shrink *= 2
    if shrink > 1:
        image = cv2.resize(image, (max(1, width // shrink), max(1, height // shrink)), interpolation=cv2.INTER_AREA)
    if sigma >= 0.3:
        size = 2 * int(np.ceil(2.2 * sigma / shrink)) + 1
        image = cv2.GaussianBlur(image, (size, size), sigma / shrink, borderType=cv2.BORDER_REFLECT_101)
    if shrink > 1:
        image = cv2.resize(image, (width, height), interpolation=cv2.INTER_LINEAR)
    return image


@lru_cache(maxsize=3)
def _light(scope: Microscope, height: int, width: int) -> Image:
    """Lamp, vignetting, uneven light, dust on the sensor and saturation of colour: factor times 200, (height, width, 3)."""
    kind = _INSTRUMENTS[scope.domain, scope.camera]
    rng = rng_of(scope.unit, 402, ord(scope.domain), ord(scope.camera[1]))
    own = scope.unit != 0
    lamp = np.array(kind.lamp[::-1], dtype=np.float32)
    if own:
        lamp = lamp * np.exp(rng.normal(0, 0.010, 3)).astype(np.float32) * np.float32(np.exp(rng.normal(0, 0.05)))
        lamp = np.minimum(lamp, 250.0)
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    r = np.float32(np.hypot(width, height) / 2)
    u, v = (x - width / 2) / r, (y - height / 2) / r
    off = rng.normal(0, 0.12, 2) if own else np.zeros(2)
    radius2 = np.square(u - np.float32(off[0])) + np.square(v - np.float32(off[1]))
    turn = rng.random() * 2 * np.pi
    light = 1 - kind.vignette * (0.7 * radius2 + 0.3 * np.square(radius2))
    light = light + kind.gradient * (u * np.float32(np.cos(turn)) + v * np.float32(np.sin(turn)))
    light = light * (1 + 0.01 * plane_noise(scope.unit + 5, 0, 0, (height, width), um_per_px=1.0, wavelength_um=180.0))
    for _ in range(kind.dust):
        cx, cy, size = rng.uniform(-0.8, 0.8), rng.uniform(-0.5, 0.5), rng.uniform(0.006, 0.02)
        d = np.hypot(u - np.float32(cx), v - np.float32(cy)) / np.float32(size)
        light = light * (1 - np.float32(rng.uniform(0.03, 0.10)) * np.exp(-np.square(np.square(d))))
    edge = np.stack([1 - s * radius2 for s in (0.03 * kind.vignette, 0.0, 0.10 * kind.vignette)], axis=2)
    factor = light[..., None] * edge * (lamp / CLEAR)
    return np.asarray(np.clip(np.rint(factor * 200.0), 0, 255), dtype=np.uint8)


@lru_cache(maxsize=2)
def _grain(sigma: float, height: int, width: int) -> Image:
    """Sensor noise around 128, a little smoothed as demosaicing does; one sheet, cut at random places."""
    rng = rng_of(403, int(sigma * 1000))
    shared = rng.standard_normal((height, width, 1), dtype=np.float32)
    own = rng.standard_normal((height, width, 3), dtype=np.float32)
    mixed: Array = 0.75 * shared + 0.65 * own
    mixed = np.asarray(cv2.GaussianBlur(mixed, (3, 3), 0.55), dtype=np.float32)
    mixed *= np.float32(sigma) / mixed.std()
    return np.asarray(np.clip(np.rint(mixed + 128), 0, 255), dtype=np.uint8)


def _lateral(image: _Pixels, share: float) -> _Pixels:
    """Blue drawn a little larger than green, from the middle of the field."""
    height, width = image.shape[:2]
    s = 1.0 + share
    matrix = np.array([[s, 0, (1 - s) * width / 2], [0, s, (1 - s) * height / 2]])
    blue = cv2.warpAffine(cv2.extractChannel(image, 0), matrix, (width, height), borderMode=cv2.BORDER_REPLICATE)
    cv2.insertChannel(blue, image, 0)
    return image
