"""A rendered film under a hand-like stage, with the truth of every frame: what counting is measured on.

Frames show the microscope's whole field at 640 x 360 px. They are grey, as all that follows the stage looks at grey alone, and can be
kept in a folder: rendering takes longer than counting.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from device.camera.hand import HandPath
from device.camera.simulator import field_truth
from engines.detections import Detections, Image
from engines.film import Film, Microscope, labels
from engines.film.optics import capture
from engines.taxonomy import LEUKEMIA_ATTRI

SIZE = (640, 360)
CASES = ("AML", "ALL", "CLL", "normal", "mixed")
TAXONOMY = LEUKEMIA_ATTRI
IN_FOCUS = 1.5
"""Times the objective's own blur: a frame that is less blurred is in focus."""
_FORMAT = 1  # of the kept files


@dataclass(frozen=True, eq=False)
class Shown:
    """One frame. corner_px: where it lies on the film; rests: the hand rests; focused: it is in focus. cells: ids (N,) of what is at
    least half visible, boxes (N, 4) clipped to the frame, classes (N,) of `TAXONOMY`."""

    image: Image
    corner_px: tuple[int, int]
    rests: bool
    focused: bool
    cells: NDArray[np.int64]
    boxes: NDArray[np.float32]
    classes: NDArray[np.int64]

    @property
    def detections(self) -> Detections:
        """What a perfect engine finds. The first attribute of each cell is its id, which counting does not look at."""
        attributes = np.zeros((len(self.cells), TAXONOMY.n_logits), np.float32)
        attributes[:, 0] = self.cells
        return Detections(self.boxes, np.ones(len(self.cells), np.float32), self.classes, attributes)

    @property
    def white_cells(self) -> set[int]:
        """Ids of the white cells among them."""
        return {int(cell) for cell, kind in zip(self.cells, self.classes, strict=True) if not TAXONOMY.is_artefact(int(kind))}


@dataclass(frozen=True)
class HandReading:
    """A film read by a hand: `fields` planned fields in one of `hand.STYLES`. cache: folder of rendered readings."""

    style: str
    seed: int
    objective: int = 100
    fields: int = 12
    cache: Path | None = None

    @property
    def case(self) -> str:
        return CASES[self.seed % len(CASES)]

    def frames(self) -> Iterator[Shown]:
        """Every frame of the path, in order; the same every time."""
        path = None if self.cache is None else self.cache / f"{self.objective}x-{self.style}-{self.seed}-{self.fields}-{_FORMAT}.npz"
        if path is not None and not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            aside = path.with_suffix(".part.npz")
            with aside.open("wb") as file:
                np.savez(file, allow_pickle=False, **_packed(list(self._rendered())))
            aside.rename(path)
        yield from self._rendered() if path is None else _unpacked(path)

    def _rendered(self) -> Iterator[Shown]:
        scope = Microscope("L", "C2", self.objective, width_px=SIZE[0])
        hand = HandPath(self.style, self.fields, scope, SIZE, self.seed)
        film = Film(self.seed, self.case, hand.film_size_um)
        sharp = IN_FOCUS * scope.blur_px(0.0)
        for number in range(hand.frames):
            moment = hand.at(number)
            clear = film.clear(*moment.corner_px, SIZE, scope.um_per_px)
            smear = max(1, moment.smear_px[0]), max(1, moment.smear_px[1])
            if max(smear) > 1:
                clear = np.asarray(cv2.blur(clear, smear), np.uint8)
            image = cv2.cvtColor(capture(clear, scope, moment.defocus_um, self.seed * 100_003 + number), cv2.COLOR_BGR2GRAY)
            jpeg = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, 93])[1]
            truth = field_truth(film, scope, moment.corner_px, SIZE)
            focused = moment.field is not None and scope.blur_px(moment.defocus_um) <= sharp
            classes = labels(truth, TAXONOMY)[0]
            rests = moment.field is not None
            yield Shown(_grey(jpeg), moment.corner_px, rests, focused, truth.cell_ids, truth.boxes_px.astype(np.float32), classes)


def _grey(jpeg: Any) -> Image:
    return np.asarray(cv2.imdecode(np.asarray(jpeg, np.uint8), cv2.IMREAD_COLOR), np.uint8)


def _packed(frames: list[Shown]) -> dict[str, NDArray[Any]]:
    """As arrays of a file; pictures as JPEG again, from which they come back as they were to within the codec's rounding."""
    jpegs = [cv2.imencode(".jpg", frame.image[:, :, 0], [cv2.IMWRITE_JPEG_QUALITY, 93])[1] for frame in frames]
    return {
        "jpeg": np.concatenate([jpeg.ravel() for jpeg in jpegs]),
        "lengths": np.array([jpeg.size for jpeg in jpegs]),
        "corners": np.array([frame.corner_px for frame in frames]),
        "rests": np.array([(frame.rests, frame.focused) for frame in frames]),
        "counts": np.array([len(frame.cells) for frame in frames]),
        "cells": np.concatenate([frame.cells for frame in frames]),
        "boxes": np.concatenate([frame.boxes for frame in frames]),
        "classes": np.concatenate([frame.classes for frame in frames]),
    }


def _unpacked(path: Path) -> Iterator[Shown]:
    with np.load(path) as kept:
        file = {name: kept[name] for name in kept.files}
    at, cell = 0, 0
    for number, length in enumerate(file["lengths"].tolist()):
        mine = slice(cell, cell + int(file["counts"][number]))
        rests, focused = file["rests"][number].tolist()
        x, y = file["corners"][number].tolist()
        image = _grey(file["jpeg"][at : at + length])
        yield Shown(image, (x, y), rests, focused, file["cells"][mine], file["boxes"][mine], file["classes"][mine])
        at, cell = at + length, mine.stop
