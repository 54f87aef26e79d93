"""Reading the LeukemiaAttri layout as published, in all its variants: folders, JSON or TXT labels, spellings, codes.

Nothing is augmented or resized here. Layout of a subset: `Images/{split}/…`, `json_labels/{split}.json` (or under `WBC_detection/`),
`txt_labels/AttriDet/{split}/<stem>.txt`; a root may hold several subsets. Where there are both, the JSON is read.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from engines.data.coco import read_coco
from engines.data.faults import Fault, Kind, Place, Report, refuse
from engines.data.labels import CellLabel, Picture, PictureLabels
from engines.data.layout import IMAGE_SUFFIXES, Split, find_splits
from engines.data.pictures import image_size_hw
from engines.data.txt import read_txt
from engines.detections import Float32, Image, Int64
from engines.errors import DataError
from engines.pictures import read_image
from engines.taxonomy import LEUKEMIA_ATTRI, UNKNOWN, Taxonomy

__all__ = ["IMAGE_SUFFIXES", "LabelledImage", "SplitLabels", "has_labels", "image_size_hw", "read_pictures", "read_split"]

_LOG = logging.getLogger(__name__)

_NOT_LABELS = {"classes.txt"}
"""Files that labelling programs leave among TXT labels."""


@dataclass(frozen=True, eq=False)
class LabelledImage:
    """One picture and its truth.

    size_hw: height and width in px. boxes_px: (N, 4) float32, x1 y1 x2 y2. classes: (N,) int64.
    attributes: (N, A) int64, one column for each attribute of the taxonomy, -1 where unknown or not applicable.
    ignored_px: (M, 4) float32, x1 y1 x2 y2 of regions in which nothing is learnt or scored (a clump, unreviewed ground).
    """

    path: Path
    size_hw: tuple[int, int]
    boxes_px: Float32
    classes: Int64
    attributes: Int64
    ignored_px: Float32 = field(default_factory=lambda: np.zeros((0, 4), np.float32))

    def read(self) -> Image:
        """The picture as BGR; DataError if it cannot be decoded."""
        return read_image(self.path)


def read_split(root: Path, split: str, taxonomy: Taxonomy = LEUKEMIA_ATTRI) -> list[LabelledImage]:
    """Every picture of one split with its labels, sorted by name; pictures that no label mentions come with no boxes.

    `root` is a subset or holds several (H_100X_C1 to L_10X_C2), which are then read one after another. Raises DataError naming the
    folder, file and line if the split does not exist or a label is impossible. Labels whose picture is missing are left out, and the
    log says how many; `engines.data.check` names each.
    """
    found = []
    for one in find_splits(root, split):
        missing: list[Fault] = []

        def meet(fault: Fault, missing: list[Fault] = missing) -> None:
            refuse(fault)
            if fault.kind is Kind.IMAGE_MISSING:
                missing.append(fault)

        found += [_labelled(picture, taxonomy) for picture in read_pictures(one, taxonomy, meet).pictures]
        if missing:
            _LOG.warning("%s; %d such in this split are left out: attridet data check %s", missing[0], len(missing), one.root)
    return found


def has_labels(root: Path, split: str) -> bool:
    """Whether the split bears any label file at all."""
    return any(one.json is not None or one.txt is not None for one in find_splits(root, split))


@dataclass(frozen=True, eq=False)
class SplitLabels:
    """A split as read: its pictures sorted by name, and what the label file says besides."""

    split: Split
    pictures: tuple[Picture, ...]
    extra: Mapping[str, Any] = field(default_factory=dict)


def read_pictures(
    split: Split,
    taxonomy: Taxonomy = LEUKEMIA_ATTRI,
    report: Report = refuse,
    size_of: Callable[[Path], tuple[int, int]] | None = None,
) -> SplitLabels:
    """Pictures of one split with their labels in full precision, from the JSON where there is one, else from TXT.

    What is wrong goes to `report`, by default `refuse`, which raises DataError. `size_of` tells a picture's height and width.
    """
    paths = split.pictures()
    if not paths:
        raise DataError(f"{split.images or split.root}: holds no picture; supported: {', '.join(sorted(IMAGE_SUFFIXES))}")
    size_of = size_of or image_size_hw
    if split.json is None:
        return SplitLabels(split, tuple(txt_pictures(split, paths, taxonomy, report, size_of)))
    coco = read_coco(split.json, taxonomy, report)
    named = match_names(paths, coco.pictures.values(), report)
    pictures = []
    for path in paths:
        labels = named.get(path)
        stated = labels.size_hw if labels else None
        pictures.append(Picture(path, stated or size_of(path), labels))
    return SplitLabels(split, tuple(pictures), coco.extra)


def txt_pictures(
    split: Split, paths: list[Path], taxonomy: Taxonomy, report: Report, size_of: Callable[[Path], tuple[int, int]]
) -> Iterable[Picture]:
    """Pictures with the labels of their TXT files; label files without a picture are reported."""
    files = {file.stem: file for file in sorted(split.txt.glob("*.txt"))} if split.txt else {}
    for path in paths:
        size = size_of(path)
        file = files.get(path.stem)
        labels = PictureLabels(path.name, Place(file), size, read_txt(file, size, taxonomy, report)) if file else None
        yield Picture(path, size, labels)
    stems = {path.stem for path in paths}
    for stem, file in files.items():
        if stem not in stems and file.name not in _NOT_LABELS:
            report(Fault(Kind.IMAGE_MISSING, Place(file), f"there is no picture {stem}.* in {split.images}"))


def match_names(paths: list[Path], labels: Iterable[PictureLabels], report: Report) -> dict[Path, PictureLabels]:
    """Labels of each picture by file name; failing that by name in another case or with another suffix, which is reported."""
    exact = {path.name: path for path in paths}
    loose: dict[str, Path] = {}
    for path in reversed(paths):
        loose[path.stem.casefold()] = path
        loose[path.name.casefold()] = path
    found: dict[Path, PictureLabels] = {}
    later = []
    for entry in labels:
        if entry.name in exact:
            found[exact[entry.name]] = entry
        else:
            later.append(entry)
    for entry in later:
        near = loose.get(entry.name.casefold()) or loose.get(Path(entry.name).stem.casefold())
        if near is not None and near not in found:
            found[near] = entry
            report(Fault(Kind.NAME_SPELLED, entry.place, f"{entry.name} is taken to be {near.name}"))
        else:
            folder = paths[0].parent if paths else "the folder of pictures"
            words = f"{entry.name} is not in {folder} ({len(entry.cells)} labels); bring the picture or take its labels out"
            report(Fault(Kind.IMAGE_MISSING, entry.place, words))
    return found


def _labelled(picture: Picture, taxonomy: Taxonomy) -> LabelledImage:
    cells: tuple[CellLabel, ...] = picture.cells
    attributes = np.asarray([cell.attributes for cell in cells], np.int64).reshape(-1, len(taxonomy.attributes))
    return LabelledImage(
        picture.path,
        picture.size_hw,
        np.asarray([cell.xyxy_px for cell in cells], np.float64).reshape(-1, 4).astype(np.float32),
        np.asarray([cell.code for cell in cells], np.int64),
        np.where(attributes < 0, UNKNOWN, attributes),
    )
