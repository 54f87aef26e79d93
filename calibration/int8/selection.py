"""A calibration set from folders of frames, without the test side: chosen, listed with hashes, drawn."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2

from calibration.int8.frames import Frame, FrameSet, Survey, aspects_of, cover, pictures_in, survey
from calibration.int8.request import FramesRequest
from engines.data.aspect import check_given, given_for
from engines.data.layout import find_splits, patient_of
from engines.errors import DataError
from engines.files import make_folder, sha256_of, write_result
from engines.progress import SILENT, Reporter

INDEX = "frames.jsonl"
"""What `leukoscope run --record` writes beside its frames."""


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
    judging_sha256, patients = judging_side(request.exclude_split)
    paths = [path for folder in dict.fromkeys(request.folders) for path in pictures_in(folder)]
    kept, left_out = _without(paths, patients, request.exclude_slide)
    check_given(request.pixel_aspect, request.folders)
    aspects, words = aspects_of(request.folders, {folder: given_for(folder, request.pixel_aspect) for folder in request.folders})
    seen = survey(kept, excluded_sha256=judging_sha256, aspects=aspects, progress=reporter.counter("looking at frames"))
    chosen = cover(seen, request.count, seed=request.seed, fewest=request.fewest)
    make_folder(request.out.parent)
    write_result(request.out, chosen.to_json(request.out.parent).encode())
    if request.page is not None:
        from calibration.int8.frame_pictures import contact_sheet  # matplotlib, which only the page needs

        make_folder(request.page.parent)
        _, png = cv2.imencode(".png", contact_sheet(seen, chosen, reporter.counter("drawing")))
        write_result(request.page, png.tobytes())
    notes = [*chosen.notes, *words]
    if request.exclude_split and not patients:
        notes.append(
            "the names of the test side give no patient: only its pictures themselves were kept out, not others of these patients"
        )
    if rendered := _rendered(chosen.frames):
        notes.append(f"{rendered} of the frames are rendered film, not this microscope's: for trials only")
    return FramesResult(chosen, seen, left_out, tuple(notes))


def judging_side(splits: Sequence[str]) -> tuple[frozenset[str], frozenset[str]]:
    """What must not be calibrated on, of splits named DATA:SPLIT: the sha256 of their pictures, and the patients they are of.

    Raises DataError for a split that is not there or cannot be read.
    """
    pictures = []
    for words in splits:
        root, colon, name = words.rpartition(":")
        if not colon or not root or not name:
            raise DataError(f"--exclude-split {words}: name the data set's folder and its split, such as data/H_100X_C2:test")
        pictures += [path for split in find_splits(Path(root), name) for path in split.pictures()]
    try:
        digests = frozenset(sha256_of(path) for path in pictures)
    except OSError as error:
        raise DataError(f"{error.filename}: cannot be read ({error.strerror}); bring it back or leave it out") from error
    return digests, frozenset(patient for path in pictures if (patient := patient_of(path.name)))


def _without(paths: Sequence[Path], patients: frozenset[str], slides: Sequence[str]) -> tuple[list[Path], Counter[str]]:
    """Frames of neither the test side's patients nor the slides named, and how many were left out because of which."""
    kept, left_out = [], Counter[str]()
    for path in paths:
        patient = patient_of(path.name)
        slide = next((slide for slide in slides if path.name.startswith(f"{slide}_")), None)
        if patient in patients:
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
    found, chosen = 0, {frame.path for frame in frames}
    for folder in {path.parent for path in chosen}:
        index = folder / INDEX
        for line in index.read_text(encoding="utf-8").splitlines() if index.is_file() else ():
            try:
                entry = json.loads(line)
                found += bool(entry["simulated"]) and folder / entry["name"] in chosen
            except (ValueError, KeyError, TypeError):
                continue  # half a line after a power cut; the frame itself was read
    return found
