"""A calibration set from folders of frames, without the test side: chosen, listed with hashes, drawn."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2

from calibration.int8.frames import Frame, FrameSet, Survey, cover, pictures_in, survey
from calibration.int8.request import FramesRequest
from engines.data.layout import find_splits, patient_of
from engines.errors import DataError
from engines.files import make_folder, sha256_of, write_result
from engines.progress import SILENT, Reporter

INDEX = "frames.jsonl"
"""What `leukoscope run --record` writes beside its frames."""


@dataclass(frozen=True)
class JudgingSide:
    """What must not be calibrated on: the pictures that judge, by their bytes, and the patients they are of."""

    sha256: frozenset[str] = frozenset()
    patients: frozenset[str] = frozenset()


@dataclass(frozen=True, eq=False)
class FramesResult:
    """The chosen set and what it was chosen from. left_out: frames that judge, by whose they are. notes: what a person must know."""

    chosen: FrameSet
    candidates: Survey
    left_out: Counter[str]
    notes: tuple[str, ...]


def choose_frames(request: FramesRequest, reporter: Reporter = SILENT) -> FramesResult:
    """Choose, list and draw as `attridet frames` does. Raises DataError, also for a damaged frame, which is named."""
    if request.page is not None and request.page.suffix.lower() != ".png":
        raise DataError(f"{request.page}: the page is a PNG; give --page a name that ends in .png")
    judged = judging_side(request.exclude_split)
    paths = [path for folder in dict.fromkeys(request.folders) for path in pictures_in(folder)]
    kept, left_out = _without(paths, judged, request.exclude_slide)
    seen = survey(kept, excluded_sha256=judged.sha256, progress=reporter.counter("looking at frames"))
    chosen = cover(seen, request.count, seed=request.seed, fewest=request.fewest)
    make_folder(request.out.parent)
    write_result(request.out, chosen.to_json(request.out.parent).encode())
    if request.page is not None:
        from calibration.int8.frame_pictures import contact_sheet  # matplotlib, which only the page needs

        make_folder(request.page.parent)
        _, png = cv2.imencode(".png", contact_sheet(seen, chosen, reporter.counter("drawing")))
        write_result(request.page, png.tobytes())
    notes = list(chosen.notes)
    if request.exclude_split and not judged.patients:
        notes.append(
            "the names of the test side give no patient: only its pictures themselves were kept out, not others of these patients"
        )
    if rendered := _rendered(chosen.frames):
        notes.append(f"{rendered} of the frames are rendered film, not this microscope's: for trials only")
    return FramesResult(chosen, seen, left_out, tuple(notes))


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
    of_folder: dict[Path, set[str]] = {}
    for frame in frames:
        of_folder.setdefault(frame.path.parent, set()).add(frame.path.name)
    found = 0
    for folder, names in of_folder.items():
        index = folder / INDEX
        for line in index.read_text(encoding="utf-8").splitlines() if index.is_file() else ():
            try:
                entry = json.loads(line)
                found += bool(entry["simulated"]) and entry["name"] in names
            except (ValueError, KeyError, TypeError):
                continue  # half a line after a power cut; the frame itself was read
    return found
