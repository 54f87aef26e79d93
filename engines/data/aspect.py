"""Pixel aspect of a data set: stated by a file in it or by who reads it, else measured from its red cells; and how it is undone.

Pixel aspect here is how wide a round cell is, divided by how high, both in px of the file: 1 in a camera's frames, 0.56 in a 16:9 frame
pressed into a square. The narrower side is enlarged, so that no detail is lost; who wants fewer pixels shrinks both sides alike.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from engines import red_cells
from engines.data.faults import Fault, Kind, Place
from engines.data.layout import FLAT, Split, Subset
from engines.detections import Image
from engines.errors import DataError
from engines.files import printable
from engines.pictures import read_image
from engines.red_cells import RedCells
from engines.yaml_lines import read_document

FILE = "pictures.yaml"
"""In a subset's folder or above it; its one key is `pixel_aspect`."""

KEY, OPTION = "pixel_aspect", "--pixel-aspect"
ABOUT_ONE = 1.1
"""A median within this factor of 1 is taken as round: whole films are stretched so much by the smear."""

LEAST, MOST = 0.2, 5.0


@dataclass(frozen=True)
class PixelAspect:
    """Pixel aspect of one subset. value: what readers undo; 1: nothing. stated_by: a file or option, empty where nothing states it.

    measured: from its red cells; None where that was not asked for, since it is stated.
    """

    subset: str
    value: float
    stated_by: str = ""
    measured: RedCells | None = None

    @property
    def certain(self) -> bool:
        """Whether the red cells say beyond doubt that the pictures are squeezed, all alike."""
        cells = self.measured
        return cells is not None and cells.measured and not cells.mixed and not 1 / ABOUT_ONE < _nearest_one(cells) < ABOUT_ONE

    @property
    def doubt(self) -> str:
        """What the red cells say and readers do not undo; empty where there is nothing to say."""
        cells, way_out = self.measured, f"not undone; state it ({KEY} in {FILE}, or {OPTION})"
        if self.stated_by or cells is None or not cells.measured or self.certain:
            return ""
        if cells.mixed:
            share = f"{100 * cells.otherwise:.0f} % of the pictures"
            return f"pixel aspect: the red cells of {share} are squeezed otherwise than the rest, {way_out} folder by folder"
        if not 1 / ABOUT_ONE < cells.aspect < ABOUT_ONE:
            return f"pixel aspect perhaps {cells.aspect:.2f} ({_between(cells)}): {way_out}"
        return ""

    @property
    def words(self) -> str:
        """What a reader did and why, for the first line of a result; empty for pictures that are taken as they are and no doubt."""
        if self.value == 1:
            return f"pixel aspect 1 stated by {OPTION}" if self.stated_by == OPTION else self.doubt
        if self.stated_by:
            return f"pixel aspect {self.value:g} stated by {self.stated_by}, undone"
        return f"pixel aspect {self.value:g} measured on {self.measured.cells if self.measured else 0} red cells, undone"

    def to_dict(self) -> dict[str, Any]:
        """Plain form for machines."""
        origin = "stated" if self.stated_by else "measured" if self.value != 1 else "taken as 1"
        found = {"subset": self.subset, "undone": self.value, "origin": origin, "stated_by": self.stated_by or None}
        return found | {"red_cells": self.measured.to_dict() if self.measured else None, "doubt": self.doubt or None}


def _nearest_one(cells: RedCells) -> float:
    """The end of the interval that is nearer to 1; 1 where the interval holds it."""
    return max(cells.low, 1.0) if cells.aspect > 1 else min(cells.high, 1.0)


def _between(cells: RedCells) -> str:
    return f"{cells.low:.2f} to {cells.high:.2f}, {cells.cells} red cells"


def pixel_aspect(subset: Subset, given: float | None = None, always_measure: bool = False) -> PixelAspect:
    """The pixel aspect of a subset: as `given`, else as a file states it, else as measured where its red cells leave no doubt, else 1.

    Raises DataError naming file and line of a statement that is none.
    """
    stated = (given, OPTION) if given is not None else stated_in(subset.root, _top(subset))
    measured = None
    if stated is None or always_measure:
        measured = measured_on([path for split in subset.splits for path in split.pictures()])
    if stated is not None:
        return PixelAspect(subset.name, stated[0], stated[1], measured)
    found = PixelAspect(subset.name, 1.0, "", measured)
    return PixelAspect(subset.name, round(measured.aspect, 2), "", measured) if measured and found.certain else found


def folder_aspect(folder: Path, given: float | None = None) -> PixelAspect:
    """`pixel_aspect` of the pictures directly in a folder; `pictures.yaml` may be there or up to two above it (Images/SPLIT)."""
    folder = folder.resolve()
    top = (folder, *folder.parents)[:3][-1]
    splits = (Split(folder.name, folder, FLAT, images=folder, top=top),)
    return pixel_aspect(Subset(folder.name, folder, splits), given)


def aspect_findings(subset: Subset, one: PixelAspect) -> Iterable[Fault]:
    """What is worth saying of a subset's pixel aspect: squeezed and stated nowhere, in doubt, or stated otherwise than measured."""
    place, cells = Place(subset.root), one.measured
    if one.doubt:
        yield Fault(Kind.PIXEL_ASPECT_DOUBT, place, one.doubt)
    if cells is None or not (one.certain or one.stated_by):
        return
    about = f"red cells are {cells.aspect:.2f} as wide as high ({_between(cells)})"
    if not one.stated_by:
        words = f"{about}: squeezed {'sideways' if cells.aspect < 1 else 'from above'}; state it: '{KEY}: {one.value:g}' in {FILE}"
        yield Fault(Kind.PIXEL_ASPECT, place, words)
    elif cells.measured and not 1 / ABOUT_ONE < cells.aspect / one.value < ABOUT_ONE:
        yield Fault(Kind.PIXEL_ASPECT_DOUBT, place, f"{about}, and {one.stated_by} states {one.value:g}; look at them and mend it")


def _top(subset: Subset) -> Path:
    return next((split.top for split in subset.splits if split.top is not None), subset.root)


def stated_in(folder: Path, top: Path) -> tuple[float, str] | None:
    """What `pictures.yaml` in a folder, or the nearest above it up to `top`, states, and the file's name; None where there is none."""
    for place in (folder, *folder.parents):
        file = place / FILE
        if file.is_file():
            return _read(file), printable(file)
        if place == top or top not in place.parents:
            return None
    return None


def _read(file: Path) -> float:
    try:
        document = read_document(file.read_text(encoding="utf-8-sig"))
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{file}: cannot be read ({error}); mend or remove it") from error
    for fault in document.faults:
        raise DataError(f"{file}:{fault.line}: {fault}")
    data = document.data if isinstance(document.data, dict) else {}
    for key in data:
        if key != KEY:
            raise DataError(f"{file}:{document.line((key,))}: {printable(key)}: no such key; there is {KEY}")
    if KEY not in data:
        raise DataError(f"{file}:1: states nothing; write '{KEY}: 0.56', how wide a round cell is over how high")
    return _sound(data[KEY], f"{file}:{document.line((KEY,))}: {KEY}")


def _sound(value: object, where: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not LEAST <= value <= MOST:
        raise DataError(f"{where}: {value} is no pixel aspect; it is a number from {LEAST:g} to {MOST:g}, 1 for square pixels")
    return float(value)


def statement(value: float) -> str:
    """The text of a `pictures.yaml`."""
    return f"{KEY}: {value:g}  # how wide a round cell is over how high, in px\n"


def carry_statement(split: Split, target: Path) -> None:
    """What a file states of a subset is stated in the folder that takes its pictures as they are."""
    stated = stated_in(split.root, split.top or split.root)
    if stated is not None and target.is_dir() and not (target / FILE).exists():
        (target / FILE).write_text(statement(stated[0]), encoding="utf-8")


def given_for(folder: Path, given: Sequence[str]) -> float | None:
    """What `--pixel-aspect` says of a folder: "0.56" of every one, "DIR=0.56" of that one. Raises DataError for what is neither."""
    found: dict[Path | None, float] = {}
    for text in given:
        name, equals, number = text.rpartition("=")
        try:
            value = float(number)
        except ValueError:
            raise DataError(f"{OPTION} {text}: write a number, or DIR=NUMBER for one folder of several") from None
        found[Path(name).resolve() if equals else None] = _sound(value, f"{OPTION} {text}")
    return found.get(folder.resolve(), found.get(None))


def check_given(given: Sequence[str], folders: Iterable[Path]) -> None:
    """DataError where `--pixel-aspect` names a folder that is none of `folders`."""
    known = {folder.resolve() for folder in folders}
    for text in given:
        name, equals, _ = text.rpartition("=")
        if equals and Path(name).resolve() not in known:
            raise DataError(f"{OPTION} {text}: {name} is none of the folders that are read")


def measured_on(paths: Sequence[Path]) -> RedCells:
    """`red_cells.measure`, once for the same files."""
    try:
        return _measured_once(tuple((path, path.stat().st_mtime_ns) for path in paths))
    except OSError as error:
        raise DataError(f"{error.filename}: cannot be read: {error.strerror}") from error


@lru_cache(64)
def _measured_once(files: tuple[tuple[Path, int], ...]) -> RedCells:
    return red_cells.measure([path for path, _ in files])


def undone_hw(size_hw: tuple[int, int], aspect: float) -> tuple[int, int]:
    """Height and width of a picture once its narrower side is enlarged by what squeezed it."""
    height, width = size_hw
    return (height, round(width / aspect)) if aspect < 1 else (round(height * aspect), width)


def read_undone(path: Path, aspect: float) -> Image:
    """The picture as BGR with square pixels; DataError if it cannot be decoded."""
    return undone(read_image(path), aspect)


def undone(image: Image, aspect: float) -> Image:
    """A BGR picture of that pixel aspect with square pixels."""
    height, width = undone_hw((image.shape[0], image.shape[1]), aspect)
    if (height, width) == image.shape[:2]:
        return image
    return np.asarray(cv2.resize(image, (width, height), interpolation=cv2.INTER_CUBIC), np.uint8)
