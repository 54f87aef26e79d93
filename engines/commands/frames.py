"""`attridet frames`: a calibration set chosen from folders of frames, without the test side, listed, drawn, and said in words."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from calibration.int8.frame_pictures import contact_sheet
from calibration.int8.frame_statistics import spread
from calibration.int8.frames import Frame, FrameSet, Survey, cover, pictures_in, survey
from engines.commands.terminal import one_task, table_of
from engines.data.layout import find_splits, patient_of
from engines.errors import DataError
from engines.files import make_folder, sha256_of, write_result

INDEX = "frames.jsonl"
"""What `leukoscope run --record` writes beside its frames."""


@dataclass(frozen=True)
class Request:
    """What the command line asks for; see `engines.cli.frames`."""

    folders: tuple[Path, ...]
    out: Path
    count: int = 128
    fewest: int = 16
    seed: int = 0
    exclude_splits: tuple[str, ...] = ()
    exclude_slides: tuple[str, ...] = ()
    page: Path | None = None


@dataclass(frozen=True)
class JudgingSide:
    """What must not be calibrated on: the pictures that judge, by their bytes, and the patients they are of."""

    sha256: frozenset[str] = frozenset()
    patients: frozenset[str] = frozenset()


def run(request: Request) -> FrameSet:
    """Chooses, writes, draws, prints; the set is given back. Raises DataError, also for a damaged frame, which is named."""
    if request.page is not None and request.page.suffix.lower() != ".png":
        raise DataError(f"{request.page}: the page is a PNG; give --page a name that ends in .png")
    judged = judging_side(request.exclude_splits)
    paths = [path for folder in dict.fromkeys(request.folders) for path in pictures_in(folder)]
    kept, left_out = _without(paths, judged, request.exclude_slides)
    with one_task("looking at frames") as progress:
        seen = survey(kept, excluded_sha256=judged.sha256, progress=progress)
    chosen = cover(seen, request.count, seed=request.seed, fewest=request.fewest)
    make_folder(request.out.parent)
    write_result(request.out, chosen.to_json(request.out.parent).encode())
    if request.page is not None:
        make_folder(request.page.parent)
        with one_task("drawing") as progress:
            _, png = cv2.imencode(".png", contact_sheet(seen, chosen, progress))
        write_result(request.page, png.tobytes())
    _print(request, seen, chosen, judged, left_out)
    return chosen


def judging_side(splits: Sequence[str]) -> JudgingSide:
    """Pictures and patients of splits named DATA:SPLIT. Raises DataError for a split that is not there or cannot be read."""
    pictures = []
    for words in splits:
        root, colon, name = words.rpartition(":")
        if not colon or not root or not name:
            raise DataError(f"--exclude-split {words}: name the data set's folder and its split, such as data/H_100X_C2:test")
        pictures += [path for split in find_splits(Path(root), name) for path in split.pictures()]
    patients = {patient for path in pictures if (patient := patient_of(path.name))}
    try:
        digests = {sha256_of(path) for path in pictures}
    except OSError as error:
        raise DataError(f"{error.filename}: cannot be read ({error.strerror}); bring it back or leave it out") from error
    return JudgingSide(frozenset(digests), frozenset(patients))


def _without(paths: Sequence[Path], judged: JudgingSide, slides: Sequence[str]) -> tuple[list[Path], Counter[str]]:
    """Frames of neither the test side's patients nor the slides named, and how many were left out because of which."""
    kept, left_out = [], Counter[str]()
    for path in paths:
        patient = patient_of(path.name)
        slide = next((slide for slide in slides if path.name.startswith(f"{slide}_")), None)
        if patient in judged.patients:
            left_out[f"patient {patient}"] += 1
        elif slide is not None:
            left_out[f"slide {slide}"] += 1
        else:
            kept.append(path)
    unknown = [slide for slide in slides if not left_out[f"slide {slide}"]]
    if unknown:
        raise DataError(f"--exclude-slide {unknown[0]}: no frame is of this slide; ids stand before the first '_' of the names")
    return kept, left_out


def _rendered(frames: Sequence[Frame]) -> int:
    """How many of the frames were recorded from rendered film, by the index beside them."""
    found = 0
    for folder, names in _by_folder(frames).items():
        index = folder / INDEX
        if index.is_file():
            for line in index.read_text(encoding="utf-8").splitlines():
                try:
                    entry = json.loads(line)
                    found += bool(entry["simulated"]) and entry["name"] in names
                except (ValueError, KeyError, TypeError):
                    continue  # half a line after a power cut; the frame itself was read
    return found


def _by_folder(frames: Sequence[Frame]) -> dict[Path, set[str]]:
    folders: dict[Path, set[str]] = {}
    for frame in frames:
        folders.setdefault(frame.path.parent, set()).add(frame.path.name)
    return folders


def _print(request: Request, seen: Survey, chosen: FrameSet, judged: JudgingSide, left_out: Counter[str]) -> None:
    console = Console()
    console.print(_table(seen, chosen))
    if len(request.folders) > 1:
        of = Counter(frame.path.parent for frame in chosen.frames)
        for folder in dict.fromkeys(request.folders):
            console.print(f"{escape(str(folder))}: {of[folder]} chosen", highlight=False, soft_wrap=True)
    notes = list(chosen.notes)
    if left_out:
        words = ", ".join(f"{number} of {whose}" for whose, number in sorted(left_out.items()))
        console.print(f"Left out, because they judge: {words}", highlight=False, soft_wrap=True)
    if request.exclude_splits and not judged.patients:
        notes.append(
            "the names of the test side give no patient: only its pictures themselves were kept out, not others of these patients"
        )
    if rendered := _rendered(chosen.frames):
        notes.append(f"{rendered} of the frames are rendered film, not this microscope's: for trials only")
    for words in notes:
        console.print(f"[bold yellow]Mind:[/] {escape(words)}", highlight=False, soft_wrap=True)
    far = "" if len(chosen.frames) == chosen.candidates else f"; none left out is farther than {chosen.radius:.2f} from one of them"
    console.print(
        f"{len(chosen.frames)} of {chosen.candidates} frames chosen with seed {chosen.seed}, {chosen.distinct} show something of their "
        f"own{far}",
        highlight=False,
        soft_wrap=True,
    )
    look = "" if request.page is None else f" (look at {request.page})"
    console.print(f"{escape(str(request.out))}: written{escape(look)}", highlight=False, soft_wrap=True)


def _table(seen: Survey, chosen: FrameSet) -> Table:
    """How much the frames differ within each group of statistics."""
    there = spread(seen.statistics)
    taken = spread(seen.statistics[[seen.frames.index(frame) for frame in chosen.frames]])
    table = table_of("Spread (1.0: a real folder)", "", ("candidates", "chosen"))
    for group in there:
        table.add_row(group, f"{there[group]:.1f}", f"{taken[group]:.1f}")
    return table
