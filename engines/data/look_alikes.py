"""Copies of one field found by their pixels: saved anew, resized, slightly recoloured, turned or mirrored. Names are looked at first.

Compared are small grey pictures without their slow changes. Copies correlate with 0.96 and more; of distinct fields of all open sets
and of rendered film none does with more than 0.6, of single cells cut out on black none of two patients with more than 0.86. Without
the finest detail as well, copies blurred by a fiftieth of their side have 0.956 and more; distinct fields at most 0.68, cells on black
0.94. A hash of 64 bits would leave more pairs to compare than the coarse correlation, which is one product of matrices.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path, PurePath

import cv2
import numpy as np
from numpy.typing import NDArray

from engines.data.layout import patient_of
from engines.data.origin import source_name
from engines.detections import Float32, Image
from engines.errors import DataError
from engines.pictures import read_image

Thumbnail = NDArray[np.uint8]
"""(64, 64) grey."""

SIDE = 64
ALIKE, ALIKE_BLURRED = 0.93, 0.95
_COARSE_SIDE, _COARSELY_ALIKE = 16, 0.9
_ROWS = 512
_FINEST = 0.375
"""Of the larger sigma: detail finer than that is lost in a blurred copy."""


def thumbnail(image: Image) -> Thumbnail:
    """A picture as small as it is compared."""
    grey = cv2.cvtColor(image, cv2.COLOR_BGR2GRAY)
    return np.asarray(cv2.resize(grey, (SIDE, SIDE), interpolation=cv2.INTER_AREA), np.uint8)


def look_alikes(thumbnails: Sequence[Thumbnail]) -> Iterator[tuple[int, int]]:
    """Pairs of positions, the smaller first, of pictures that are one field, each also turned and mirrored."""
    return ((first, second) for first, second, sharp in same_fields(thumbnails) if sharp)


def same_fields(thumbnails: Sequence[Thumbnail]) -> Iterator[tuple[int, int, bool]]:
    """The pairs of `look_alikes` (True) and those that are alike without their finest detail only (False): strongly blurred copies, and
    fields that were taken twice at other focus.

    Ten thousand pictures take about half a minute: a coarse comparison of all with all, a fine one of what is left.
    """
    if not thumbnails:
        return
    coarse = np.stack([_pattern(one, _COARSE_SIDE, 3.0, soft=True) for one in thumbnails])
    fine: dict[tuple[int, int, bool], Float32] = {}

    def alike(first: int, second: int, turn: int, soft: bool) -> float:
        for position, by in ((first, turn), (second, 0)):
            if (position, by, soft) not in fine:
                fine[position, by, soft] = _pattern(_turned(thumbnails[position], by), SIDE, 4.0, soft)
        return float(fine[first, turn, soft] @ fine[second, 0, soft])

    found: set[tuple[int, int]] = set()
    for turn in range(8):
        turned = coarse if not turn else np.stack([_pattern(_turned(one, turn), _COARSE_SIDE, 3.0, soft=True) for one in thumbnails])
        for start in range(0, len(coarse), _ROWS):
            near = np.argwhere(turned[start : start + _ROWS] @ coarse.T > _COARSELY_ALIKE)
            for row, second in near.tolist():
                first = start + row
                if first < second and (first, second) not in found:
                    sharp = alike(first, second, turn, soft=False) > ALIKE
                    if sharp or alike(first, second, turn, soft=True) > ALIKE_BLURRED:
                        found.add((first, second))
                        yield first, second, sharp
        fine = {key: pattern for key, pattern in fine.items() if not key[1]}


def _pattern(small: Thumbnail, side: int, sigma: float, soft: bool) -> Float32:
    """The picture less its blurred self, without its finest detail if `soft`, mean 0 and length 1.

    A product of two is their correlation; 0 where one is blank.
    """
    grey = cv2.resize(small, (side, side), interpolation=cv2.INTER_AREA).astype(np.float32)
    detail = (cv2.GaussianBlur(grey, (0, 0), _FINEST * sigma) if soft else grey) - cv2.GaussianBlur(grey, (0, 0), sigma)
    detail -= detail.mean()
    length = float(np.linalg.norm(detail))
    return np.asarray(detail / length if length > 1e-3 else detail * 0, np.float32).ravel()


def _turned(small: Thumbnail, turn: int) -> Thumbnail:
    """One of the eight ways to lay a square, 0 the way it is."""
    return np.ascontiguousarray(np.rot90(small[:, ::-1] if turn > 3 else small, turn % 4))


def _read_thumbnail(path: Path) -> Thumbnail:
    try:
        return thumbnail(read_image(path))
    except DataError:
        return np.zeros((SIDE, SIDE), np.uint8)  # blank: it resembles nothing


def field_units(paths: Sequence[Path], by_patient: bool = True, thumbnails: Sequence[Thumbnail] | None = None) -> list[str]:
    """For each picture what stays together: its patient by its name, else a name that all copies of one field share ("file:...").

    Copies are those of one source name and look-alikes; one of a picture whose name gives a patient belongs to that patient. Pictures
    are only opened where a name gives none; without `by_patient` none does. What cannot be read is known by its name alone.
    thumbnails: of the pictures, where the caller has read them.
    """
    patients = [patient_of(path.name) if by_patient else None for path in paths]
    if None not in patients:
        return [patient or "" for patient in patients]
    if thumbnails is None:
        with ThreadPoolExecutor(2) as pool:
            thumbnails = list(pool.map(_read_thumbnail, paths))
    pairs = list(look_alikes(thumbnails))
    first: dict[str, int] = {}
    for position, path in enumerate(paths):
        pairs.append((first.setdefault(PurePath(source_name(path.name)).stem.casefold(), position), position))
    groups = np.arange(len(paths))
    for one, other in pairs:
        low, high = sorted((groups[one], groups[other]))
        groups[groups == high] = low
    known: dict[int, list[str]] = defaultdict(list)
    owners = list(zip(groups.tolist(), patients, strict=True))
    for group, patient in owners:
        known[group] += [patient] if patient else []
    return [patient or next(iter(known[group]), f"file:{paths[group]}") for group, patient in owners]
