"""The calibration set: which frames of a microscope the scales of an INT8 network are measured on, chosen, hashed and listed.

Frames are chosen to cover what the microscope shows (light, focus, density, cells; `calibration.int8.frame_statistics`), by farthest
point: the frame that is least like all chosen so far is next (Gonzalez 1985, greedy k-centre, within a factor of two of the best
cover). What a frame looks like in numbers is not decided here; neither is whose frames may be used, which the command knows.
"""

from __future__ import annotations

import hashlib
import logging
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Literal, NamedTuple

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from calibration.int8.frame_statistics import NAMES, Float64, Image, embedded, spread, statistics
from engines.data.aspect import LEAST, MOST, folder_aspect, undone
from engines.errors import DataError
from engines.files import printable
from engines.pictures import decode_picture, folder_notes, list_folder, not_read, read_bytes

_LOG = logging.getLogger(__name__)

COUNT = 128
"""So many frames are chosen where nothing else is asked for."""

FEWEST = 16
"""Fewer frames are refused: a scale measured on them would be theirs, not the microscope's."""

ALIKE = 0.2
"""Frames nearer to each other than this show the same. A copy of a real field with other noise has another copy within 0.04, one
moved by some pixels and lit 2 % otherwise nearly always within 0.17; of real folders' fields 95 % have none within 0.2."""

FLAT = 0.25
"""A group of statistics that varies less than this share of what it does in a real folder is said."""

_SMALLEST_SIDE_PX = 64

Progress = Callable[[int, int], None]


class Frame(NamedTuple):
    """A picture file, the sha256 of its bytes, hex, and its pixel aspect, which is undone."""

    path: Path
    sha256: str
    pixel_aspect: float = 1.0

    def read(self) -> Image:
        """The frame as BGR (height, width, 3) uint8. Raises DataError naming a file that is gone, damaged or not the one hashed."""
        data = read_bytes(self.path)
        if hashlib.sha256(data).hexdigest() != self.sha256:
            raise DataError(f"{self.path}: is not the frame that was chosen (its sha256 differs); run `attridet frames` again")
        return _decoded(self.path, data, self.pixel_aspect)


@dataclass(frozen=True, eq=False)
class Survey:
    """What was looked at. frames: each content once, in the order of their sha256. statistics: (N, S) float64. copies: files left out
    because their bytes were there already."""

    frames: tuple[Frame, ...]
    statistics: Float64
    copies: int = 0


@dataclass(frozen=True)
class FrameSet:
    """The frames chosen, in the order of choosing, so that the first n are the choice of n.

    candidates: how many there were. distinct: how many of the chosen differ from those chosen before by more than `ALIKE`.
    radius: no candidate lies farther from a chosen frame (see frame_statistics.embedded). notes: what a person must know, in sentences.
    """

    frames: tuple[Frame, ...]
    seed: int
    candidates: int
    distinct: int
    radius: float
    notes: tuple[str, ...] = ()

    @property
    def alike(self) -> bool:
        """Fewer than half of the frames show something of their own."""
        return self.distinct < len(self.frames) / 2

    def to_json(self, folder: Path) -> str:
        """The list as text, its files named relative to `folder`, so that frames and list may move together."""
        listed = [
            _ListedFrame(
                name=frame.path.name,
                sha256=frame.sha256,
                file=_from(folder, frame.path),
                pixel_aspect=None if frame.pixel_aspect == 1 else frame.pixel_aspect,
            )
            for frame in self.frames
        ]
        written = _List.model_validate(vars(self) | {"radius": round(self.radius, 4), "frames": listed})
        return written.model_dump_json(indent=1, exclude_none=True) + "\n"


def pictures_in(folder: Path) -> list[Path]:
    """The picture files directly in `folder`, sorted by name; the log says what of it is not read.

    Raises DataError where there is no such folder or no picture in it.
    """
    try:
        found, notes, instead = sorted(list_folder(folder).pictures), folder_notes(folder), not_read(folder)
    except OSError as error:
        raise DataError(f"{folder}: {error.strerror}; name a folder of frames, as `leukoscope run --record DIR` leaves it") from error
    if not found:
        raise DataError(f"{folder}: holds no picture; name a folder of frames, as `leukoscope run --record DIR` leaves it{instead}")
    for words in notes:
        _LOG.warning("%s", words)
    return found


def aspects_of(folders: Iterable[Path], given: Mapping[Path, float | None]) -> tuple[dict[Path, float], list[str]]:
    """Pixel aspect of the pictures in each folder, as `given` or as `engines.data.aspect` finds it; and what is to be said of it."""
    found = {folder: folder_aspect(folder, given.get(folder)) for folder in folders}
    words = [f"{folder}: {one.words}" for folder, one in found.items() if one.words]
    return {folder: one.value for folder, one in found.items()}, words


def survey(
    paths: Iterable[Path],
    *,
    excluded_sha256: frozenset[str] = frozenset(),
    aspects: Mapping[Path, float] = MappingProxyType({}),
    progress: Progress | None = None,
) -> Survey:
    """Read and measure every frame; of files with the same bytes the first by name counts. aspects: pixel aspect by folder, else 1.

    Raises DataError naming the file that cannot be read whole, or whose bytes are among `excluded_sha256`, those of the test side.
    """
    files = sorted(set(paths))
    measured: dict[str, tuple[Frame, Float64]] = {}
    for done, path in enumerate(files, start=1):
        data = read_bytes(path)
        digest = hashlib.sha256(data).hexdigest()
        if digest in excluded_sha256:
            raise DataError(f"{path}: is a picture of the test side, byte for byte; take it out of this folder")
        if digest not in measured:
            aspect = aspects.get(path.parent, 1.0)
            measured[digest] = Frame(path, digest, aspect), statistics(_decoded(path, data, aspect))
        if progress is not None:
            progress(done, len(files))
    ordered = [measured[digest] for digest in sorted(measured)]
    rows = np.array([row for _, row in ordered], np.float64).reshape(len(ordered), len(NAMES))
    return Survey(tuple(frame for frame, _ in ordered), rows, len(files) - len(ordered))


def cover(seen: Survey, count: int = COUNT, *, seed: int = 0, fewest: int = FEWEST) -> FrameSet:
    """Choose `count` of the frames so that every other is like one of them; all of them where there are no more.

    The first is drawn by `seed`, the rest follows from it; names and order of the files have no say. Raises DataError where there are
    fewer than `fewest`.
    """
    candidates = len(seen.frames)
    if candidates < max(1, fewest):
        raise DataError(
            f"{candidates} different frames are too few to measure scales on, at least {max(1, fewest)} are needed: record more fields "
            "of several slides (leukoscope run --record DIR)"
        )
    chosen, gains, radius = _farthest_points(embedded(seen.statistics), min(count, candidates), seed)
    distinct = 1 + sum(gain >= ALIKE for gain in gains)
    found = FrameSet(tuple(seen.frames[i] for i in chosen), seed, candidates, distinct, radius)
    return replace(found, notes=tuple(_notes(found, count, seen.copies, spread(seen.statistics[chosen]))))


def choose(
    paths: Sequence[Path],
    count: int = COUNT,
    *,
    seed: int = 0,
    fewest: int = FEWEST,
    excluded_sha256: frozenset[str] = frozenset(),
    aspects: Mapping[Path, float] = MappingProxyType({}),
    progress: Progress | None = None,
) -> FrameSet:
    """`survey` and `cover` in one: the calibration set from picture files. Raises DataError as they do."""
    seen = survey(paths, excluded_sha256=excluded_sha256, aspects=aspects, progress=progress)
    return cover(seen, count, seed=seed, fewest=fewest)


def read_set(path: Path) -> FrameSet:
    """A list that `attridet frames` wrote. Raises DataError naming file and fault; frames are checked when they are read."""
    try:
        listed = _List.model_validate_json(read_bytes(path))
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"]) or "the file"
        raise DataError(f"{path}: no list of frames ({key}: {first['msg']}); make one with `attridet frames`") from error
    frames = tuple(Frame(path.parent / one.file, one.sha256, one.pixel_aspect or 1.0) for one in listed.frames)
    return FrameSet(frames, listed.seed, listed.candidates, listed.distinct, listed.radius, listed.notes)


class _ListedFrame(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    sha256: str = Field(pattern="^[0-9a-f]{64}$")
    file: str
    pixel_aspect: float | None = Field(default=None, ge=LEAST, le=MOST)


class _List(BaseModel):
    """The list as it is stored."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    schema_version: Literal[1] = 1
    seed: int
    candidates: int
    distinct: int
    radius: float
    notes: tuple[str, ...]
    frames: tuple[_ListedFrame, ...] = Field(min_length=1)


def _farthest_points(points: Float64, count: int, seed: int) -> tuple[list[int], list[float], float]:
    """Rows of `points` in the order of choosing, how far each but the first was from those before it, and the cover's radius."""
    chosen = [int(np.random.default_rng(seed).integers(len(points)))]
    gains: list[float] = []
    distance = np.linalg.norm(points - points[chosen[0]], axis=1)
    while len(chosen) < count:
        distance[chosen] = -1.0  # frames that measure the same are still different files
        farthest = int(distance.argmax())
        gains.append(float(distance[farthest]))
        chosen.append(farthest)
        distance = np.minimum(distance, np.linalg.norm(points - points[farthest], axis=1))
    return chosen, gains, max(0.0, float(distance.max()))


def _notes(chosen: FrameSet, wanted: int, copies: int, varied: dict[str, float]) -> Iterable[str]:
    taken = len(chosen.frames)
    if copies:
        yield f"copies of other files, byte for byte: {copies}; each content counts once"
    if taken < wanted:
        yield f"too few: {wanted} were asked for, there are {taken}, and all were taken"
    if chosen.alike:
        own = "one shows something of its own" if chosen.distinct == 1 else f"{chosen.distinct} show something of their own"
        record = "record other fields, of several slides, and turn focus and lamp as in daily work"
        yield f"too alike: of {taken} frames only {own}; {record}"
    elif chosen.distinct < taken:
        yield f"{taken - chosen.distinct} of {taken} are much like a frame chosen before"
    flat = [name for name, share in varied.items() if share < FLAT]
    if flat and not chosen.alike:
        yield f"hardly any difference in {' and '.join(flat)}: less than a quarter of what real fields of one microscope show"


def _from(folder: Path, path: Path) -> str:
    """The way from one to the other; folders that are links are followed, so that it holds wherever one stands."""
    found = Path(os.path.relpath(path.parent.resolve() / path.name, folder.resolve())).as_posix()
    if printable(found) != found:
        raise DataError(f"{printable(path)}: its name is not UTF-8, so no list can hold it; rename it")
    return found


def _decoded(path: Path, data: bytes, aspect: float) -> Image:
    image = undone(decode_picture(data, path).image, aspect)
    if min(image.shape[:2]) < _SMALLEST_SIDE_PX:
        high, wide = image.shape[:2]
        raise DataError(f"{path}: {wide} x {high} px is no field of film; remove it")
    return image
