"""Labelled pictures become cells with features: tiles through the bundle's second look, at the boxes that the detector finds."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from engines.data.aspect import given_for
from engines.data.augment import jitter_hsv
from engines.data.layout import patient_of
from engines.data.leukemiaattri import LabelledImage, SplitData, read_split
from engines.decode import box_iou
from engines.detections import Float32, Image, Int64
from engines.errors import DataError
from engines.evaluation.attributes import pair_with_truth
from engines.evaluation.average_precision import ignored_share
from engines.naming.cells import LabelledCells, Texts
from engines.naming.choice import encoder_of
from engines.naming.tiles import cut_tiles
from engines.progress import Reporter
from engines.runtime.engine import BundleEngine
from engines.taxonomy import Taxonomy

SHAKEN = " in other colours"
"""Behind the name of a source: copies of its cells with shaken colours, which make no film known."""
_BATCH = 90
_TOUCHES = 0.1
"""IoU with a labelled cell, or share in a region to ignore, from which a box that found none is no artefact either: it shows a part."""


@dataclass(frozen=True)
class Reading:
    """How folders are read. found_boxes: at the detector's boxes where it finds the cell; nothing: what else it finds is an artefact.

    copies: of each cell, with shaken colours. patients: of a picture's name, where the names do not say.
    """

    split: str = "train"
    found_boxes: bool = True
    nothing: bool = True
    copies: int = 0
    seed: int = 0
    patients: Mapping[str, str] | None = None
    pixel_aspect: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class FolderCells:
    """Cells of one folder, and how many of them are false boxes of the detector ("nothing"), how many copies, of how many pictures."""

    cells: LabelledCells
    pictures: int
    false_boxes: int
    copies: int
    summary: str


def read_patients(path: Path | None) -> Mapping[str, str] | None:
    """Patient of each picture's name, from a CSV with the columns picture and patient. Raises DataError naming file and line."""
    if path is None:
        return None
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            rows = list(csv.DictReader(file))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path}: cannot be read ({error}). Give a CSV with the columns picture,patient.") from error
    found = {}
    for line, row in enumerate(rows, 2):
        picture, patient = (row.get("picture") or "").strip(), (row.get("patient") or "").strip()
        if not picture or not patient:
            raise DataError(f"{path}:{line}: a picture and its patient are needed, in the columns picture,patient.")
        found[Path(picture).name] = patient
    return found


@dataclass(frozen=True, eq=False)
class Labels:
    """A labelled folder before any look at its cells. source: its name among the cells. classes (N,), patients (N,): of each cell."""

    root: Path
    source: str
    data: SplitData
    classes: Int64
    patients: Texts


def read_folder(root: Path, source: str, reading: Reading, taxonomy: Taxonomy) -> Labels:
    """The labels of a folder, in any layout that `read_split` reads. Raises what that raises."""
    data = read_split(root, reading.split, taxonomy, given_for(root, reading.pixel_aspect))
    patients = [f"{source}/{_patient(picture.path, reading)}" for picture in data for _ in picture.classes]
    return Labels(root, source, data, np.concatenate([np.zeros(0, np.int64), *(p.classes for p in data)]), np.array(patients, np.str_))


def folder_cells(engine: BundleEngine, labels: Labels, reading: Reading, reporter: Reporter) -> FolderCells:
    """The cells of a labelled folder with the features of an open engine. Raises DataError for a folder without any cell."""
    root, source, data = labels.root, labels.source, labels.data
    rng = np.random.default_rng(reading.seed)
    parts = []
    second_look = _Batches(engine)
    false_boxes = 0
    count = reporter.counter(f"second look at {source}")
    for done, picture in enumerate(data, 1):
        image = picture.read()
        boxes, nothing = _boxes(engine, image, picture, reading)
        classes = np.concatenate([picture.classes, np.full(len(nothing), _artefact(engine.info.taxonomy), np.int64)])
        attributes = np.concatenate([picture.attributes, np.full((len(nothing), picture.attributes.shape[1]), -1, np.int64)])
        tiles = cut_tiles(image, np.concatenate([boxes, nothing]), engine.tiles)
        for copy in range(1 + reading.copies):
            shown = tiles if not copy else np.stack([_shaken(rng, tile) for tile in tiles]) if len(tiles) else tiles
            patient = _patient(picture.path, reading)
            owner = [f"{source}/{patient}"] * len(classes)
            second_look.add(shown)
            parts.append((classes, attributes, owner, [source + SHAKEN * bool(copy)] * len(classes)))
        false_boxes += len(nothing)
        count(done, len(data))
    total = sum(len(part[0]) for part in parts)
    if not total:
        raise DataError(f"{root}: there is no labelled cell in split {reading.split!r}. Name a folder with labels, or another --split.")
    cells = LabelledCells(
        second_look.features(),
        np.concatenate([part[0] for part in parts]),
        np.concatenate([part[1] for part in parts]),
        np.array([name for part in parts for name in part[3]], np.str_),
        np.array([owner for part in parts for owner in part[2]], np.str_),
        encoder_of(engine.bundle),
    )
    return FolderCells(cells, len(data), false_boxes, reading.copies, data.summary)


class _Batches:
    """Tiles of many pictures through the second look together: a run of the graph costs the same for one cell as for all its tiles."""

    def __init__(self, engine: BundleEngine) -> None:
        self._engine = engine
        self._waiting: list[Image] = []
        self._done: list[Float32] = []

    def add(self, tiles: Image) -> None:
        self._waiting.append(tiles)
        if sum(map(len, self._waiting)) >= _BATCH:
            self._run()

    def features(self) -> Float32:
        """Of all tiles that were added, in their order."""
        self._run()
        return np.concatenate(self._done)

    def _run(self) -> None:
        if self._waiting:
            self._done.append(self._engine.look(np.concatenate(self._waiting)))
            self._waiting = []


def _boxes(engine: BundleEngine, image: Image, picture: LabelledImage, reading: Reading) -> tuple[Float32, Float32]:
    """The boxes of the labelled cells (M, 4), and those that the detector draws where no cell is (K, 4)."""
    none = np.zeros((0, 4), np.float32)
    if not (reading.found_boxes or reading.nothing):
        return picture.boxes_px, none
    found = engine.infer(image).detections.boxes_px
    partner = pair_with_truth(found, picture.boxes_px)
    boxes = picture.boxes_px.copy()
    if reading.found_boxes:
        boxes[partner >= 0] = found[partner[partner >= 0]]
    if not reading.nothing or not len(found):
        return boxes, none
    apart = box_iou(found, picture.boxes_px).max(1, initial=0) < _TOUCHES
    apart &= ignored_share(found, picture.ignored_px) < _TOUCHES
    return boxes, found[apart]


def _artefact(taxonomy: Taxonomy) -> int:
    if not taxonomy.artefact_codes:
        raise DataError(
            "the bundle's taxonomy has no artefact class, so the detector's false boxes have no name. Use --partly-labelled."
        )
    return taxonomy.artefact_codes[0]


def _patient(path: Path, reading: Reading) -> str:
    """Whose slide a picture shows: as the list says, else its name, else "" for unknown."""
    if reading.patients is not None and path.name in reading.patients:
        return reading.patients[path.name]
    return patient_of(path.name) or ""


def _shaken(rng: np.random.Generator, tile: Image) -> Image:
    """A tile in another stain and light: channels scaled apart, then hue, saturation and value."""
    scaled = tile.astype(np.float32) * np.exp(rng.normal(0, 0.08, 3)).astype(np.float32)
    return jitter_hsv(rng, scaled.clip(0, 255).astype(np.uint8), 0.03, 0.35, 0.15)
