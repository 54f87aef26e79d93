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
from engines.data.leukemiaattri import LabelledImage, read_split
from engines.decode import box_iou
from engines.detections import Float32, Image
from engines.errors import DataError
from engines.evaluation.attributes import pair_with_truth
from engines.evaluation.average_precision import ignored_share
from engines.naming.cells import LabelledCells
from engines.naming.choice import encoder_of
from engines.naming.tiles import cut_tiles
from engines.progress import Reporter
from engines.runtime.engine import BundleEngine
from engines.taxonomy import Taxonomy

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


def folder_cells(engine: BundleEngine, root: Path, source: str, reading: Reading, reporter: Reporter) -> FolderCells:
    """The cells of a labelled folder, in any layout that `read_split` reads, with the features of an open engine.

    Raises DataError for a folder without labelled cells, and what `read_split` raises.
    """
    data = read_split(root, reading.split, engine.info.taxonomy, given_for(root, reading.pixel_aspect))
    rng = np.random.default_rng(reading.seed)
    parts = []
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
            features = engine.look(shown)
            parts.append((features, classes, attributes, owner))
        false_boxes += len(nothing)
        count(done, len(data))
    total = sum(len(part[1]) for part in parts)
    if not total:
        raise DataError(f"{root}: there is no labelled cell in split {reading.split!r}. Name a folder with labels, or another --split.")
    cells = LabelledCells(
        np.concatenate([part[0] for part in parts]),
        np.concatenate([part[1] for part in parts]),
        np.concatenate([part[2] for part in parts]),
        np.full(total, source),
        np.array([owner for part in parts for owner in part[3]], np.str_),
        encoder_of(engine.bundle),
    )
    return FolderCells(cells, len(data), false_boxes, reading.copies, data.summary)


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
    kinds = [index for index in range(len(taxonomy.classes)) if taxonomy.is_artefact(index)]
    if not kinds:
        raise DataError(
            "the bundle's taxonomy has no artefact class, so the detector's false boxes have no name. Use --partly-labelled."
        )
    return kinds[0]


def _patient(path: Path, reading: Reading) -> str:
    """Whose slide a picture shows: as the list says, else its name, else "" for unknown."""
    if reading.patients is not None and path.name in reading.patients:
        return reading.patients[path.name]
    return patient_of(path.name) or ""


def _shaken(rng: np.random.Generator, tile: Image) -> Image:
    """A tile in another stain and light: channels scaled apart, then hue, saturation and value."""
    scaled = tile.astype(np.float32) * np.exp(rng.normal(0, 0.08, 3)).astype(np.float32)
    return jitter_hsv(rng, scaled.clip(0, 255).astype(np.uint8), 0.03, 0.35, 0.15)
