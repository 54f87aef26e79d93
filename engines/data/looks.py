"""What pictures look like beside those of their subset: blank, grey, red and blue exchanged, blurred; and boxes off their nuclei.

Measured once on a small copy while a picture is read, judged when all are there. A microscope, its stain and its camera make a subset's
pictures alike; what differs from the median by far more than the others do is told. No label is read here.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from engines.data.faults import Fault, Kind, Place
from engines.data.labels import UNSIZED, Picture
from engines.data.nuclei import Mask, misplaced, nuclear_stain
from engines.detections import Image
from engines.taxonomy import Taxonomy

Float32 = NDArray[np.float32]

_SIDE, _SHARP_SIDE = 320, 640
"""Longest sides in px on which colours, nuclei and sharpness are looked at."""

FEWEST = 8
"""Pictures of a subset below which none is compared with the others."""

BLANK = 2.0
"""Grey levels: standard deviation of what is larger than noise and smaller than a lamp's fall-off. Real fields have 5 and more."""

_EMPTY_ROWS = 0.2
"""So large a share of the rows without any content, where the median picture has hardly any, is a transfer that broke off."""

GREY = 3.0
"""Mean difference of the largest and the smallest channel; real fields have 6 and more. And less than a quarter of the median's."""

_SWAPPED_FROM, _SWAPPED_BY = 3.0, 2.0
"""Mean distance from the median colours, in spreads: that far as it is, and half as far with red and blue exchanged."""

_BLURRED, _BLURRED_SPREADS = 0.65, 7.5
"""Fall of the logarithm of fine against coarse detail, and in spreads. Real fields fall by 0.9 at most, where they spread that far."""


_CUT_OUT = 0.1
"""So large a share of pure black is no film but what a cell was cut out on."""


_LEAST_SIDE = 120


@dataclass(frozen=True, eq=False)
class Look:
    """One picture's look. relief: grey levels of its content; empty: share of rows and columns that are constant (the larger).

    chroma: grey levels; tint: (6,), five percentiles of red less blue optical density on the film and that of the ground; sharpness:
    log of fine against coarse detail. nuclei: the mask of nuclear stain, packed; mask_hw: its size in px.
    """

    relief: float
    empty: float
    chroma: float
    tint: Float32
    sharpness: float
    mask_hw: tuple[int, int]
    nuclei: bytes = field(repr=False)

    def mask(self) -> Mask:
        """Where nuclear stain is, (H, W) of the small copy."""
        height, width = self.mask_hw
        bits = np.frombuffer(zlib.decompress(self.nuclei), np.uint8)
        return np.asarray(np.unpackbits(bits, count=height * width).reshape(height, width), np.bool_)


def look_at(image: Image) -> Look:
    """The look of a BGR picture."""
    small = _shrunk(image, _SIDE)
    grey = cv2.cvtColor(small, cv2.COLOR_BGR2GRAY).astype(np.float32)
    scale = max(small.shape[:2]) / _SIDE
    coarse = cv2.resize(grey, None, fx=0.25, fy=0.25, interpolation=cv2.INTER_AREA)
    relief = cv2.GaussianBlur(coarse, (0, 0), 0.4 * scale) - cv2.GaussianBlur(coarse, (0, 0), 4 * scale)
    blue, green, red = cv2.split(small)
    brightest, darkest = cv2.max(cv2.max(blue, green), red), cv2.min(cv2.min(blue, green), red)
    nuclei = nuclear_stain(small)
    if (brightest < 3).mean() > _CUT_OUT or max(image.shape[:2]) < _LEAST_SIDE:
        nuclei[:] = False  # without the ground's light, or on a few px, no stain can be told
    packed = zlib.compress(np.packbits(nuclei).tobytes(), 1)
    return Look(
        float(relief.std()),
        max(float((cv2.reduce(grey, axis, cv2.REDUCE_MAX) - cv2.reduce(grey, axis, cv2.REDUCE_MIN) < 2).mean()) for axis in (0, 1)),
        float(cv2.subtract(brightest, darkest).mean()),
        _tint(small),
        _sharpness(image),
        (nuclei.shape[0], nuclei.shape[1]),
        packed,
    )


def _shrunk(image: Image, side: int) -> Image:
    scale = side / max(image.shape[:2])
    if scale >= 1:
        return image
    return np.asarray(cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA), np.uint8)


def _tint(small: Image) -> Float32:
    """Colours by what cells take from the light, so that the lamp does not matter, and the lamp's own."""
    soft = cv2.GaussianBlur(small, (0, 0), 1.0).astype(np.float32) + 1
    ground = np.percentile(soft.reshape(-1, 3)[::7], 90, axis=0)
    density = -np.log(np.minimum(soft / ground, 1))
    difference = density[..., 2] - density[..., 0]
    film = density.mean(2) > 0.08
    values = difference[film] if film.sum() > 200 else difference.ravel()
    return np.array([*np.percentile(values, (5, 25, 50, 75, 95)), np.log(ground[2] / ground[0])], np.float32)


def _sharpness(image: Image) -> float:
    """Fine against coarse detail at one size, by the edges that stand out, which noise hardly touches."""
    grey = cv2.cvtColor(_shrunk(image, _SHARP_SIDE), cv2.COLOR_BGR2GRAY).astype(np.float32)
    soft = cv2.GaussianBlur(grey, (0, 0), 1.4)
    coarse = cv2.resize(soft, None, fx=0.25, fy=0.25, interpolation=cv2.INTER_AREA)
    fine = np.abs(cv2.GaussianBlur(grey, (0, 0), 0.7) - soft)[::2, ::2]
    coarse = np.abs(cv2.GaussianBlur(coarse, (0, 0), 0.6) - cv2.GaussianBlur(coarse, (0, 0), 2.0))
    return float(np.log(np.percentile(fine, 98) + 0.05) - np.log(np.percentile(coarse, 98) + 0.05))


def look_findings(looks: Mapping[Path, Look], labelled: Mapping[Path, int]) -> Iterable[Fault]:
    """What stands out among the pictures of one subset. labelled: cells of each picture, for the words."""
    sound: dict[Path, Look] = {}
    rows = float(np.median([one.empty for one in looks.values()])) if looks else 0.0
    for path, one in looks.items():
        cells = f", though {labelled[path]} cells are labelled on it" if labelled.get(path) else ""
        if one.relief < BLANK:
            yield Fault(Kind.IMAGE_BLANK, Place(path), f"the picture shows nothing{cells}; take it again or take it out")
        elif one.empty > _EMPTY_ROWS and rows < _EMPTY_ROWS / 4 and len(looks) >= FEWEST:
            words = f"{100 * one.empty:.0f} % of its rows or columns show nothing at all: copy it again from its source"
            yield Fault(Kind.IMAGE_BLANK, Place(path), words)
        else:
            sound[path] = one
    if len(sound) < FEWEST:
        return
    chroma = float(np.median([one.chroma for one in sound.values()]))
    coloured = {path: one for path, one in sound.items() if one.chroma >= min(GREY, chroma / 4)}
    for path in (path for path in sound if path not in coloured):
        yield Fault(Kind.IMAGE_GREY, Place(path), "a picture without colour among coloured ones; types are told by their stain")
    yield from _swapped(coloured)
    yield from _blurred(sound)


def _swapped(looks: Mapping[Path, Look]) -> Iterable[Fault]:
    if len(looks) < FEWEST:
        return
    tints = np.stack([one.tint for one in looks.values()])
    exchanged = -tints[:, [4, 3, 2, 1, 0, 5]]
    middle = np.median(tints, axis=0)
    spread = np.maximum(np.median(np.abs(tints - middle), axis=0), 0.01)
    own, other = (np.minimum(np.abs(some - middle) / spread, 12).mean(1) for some in (tints, exchanged))
    for path, far, near in zip(looks, own, other, strict=True):
        if far > _SWAPPED_FROM and far > _SWAPPED_BY * near:
            words = "red and blue are exchanged: only then does it look like the others of its subset; write it anew from its source"
            yield Fault(Kind.IMAGE_SWAPPED, Place(path), words)


def _blurred(looks: Mapping[Path, Look]) -> Iterable[Fault]:
    values = np.array([one.sharpness for one in looks.values()])
    fall = float(np.median(values)) - values
    enough = max(_BLURRED, _BLURRED_SPREADS * float(np.median(np.abs(fall))))
    for path, one in zip(looks, fall, strict=True):
        if one > enough:
            words = f"far less sharp than the others of its subset (fine detail is {100 * np.exp(-one):.0f} % of theirs): out of focus?"
            yield Fault(Kind.IMAGE_BLURRED, Place(path), words)


def nuclei_findings(pictures: Sequence[Picture], looks: Mapping[Path, Look], taxonomy: Taxonomy) -> Iterable[Fault]:
    """Pictures whose boxes of white cells do not lie on nuclei, while others places would do or nuclei lie beside them."""
    for picture in pictures:
        look = looks.get(picture.path)
        boxes = [cell.xyxy_px for cell in picture.cells if not taxonomy.is_artefact(cell.code)]
        if look is None or picture.labels is None or picture.size_hw == UNSIZED or not boxes:
            continue
        scale = max(picture.size_hw) / max(look.mask_hw)
        found = misplaced(look.mask(), np.array(boxes) / scale)
        if found is not None:
            yield Fault(Kind.BOXES_MISPLACED, picture.labels.place, f"{picture.path.name}: {found.told(scale)}; look at them")
