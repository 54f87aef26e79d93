"""Reading the LeukemiaAttri layout as published, in all its variants, for those who learn and score: judged before any number is made.

Nothing is augmented or resized here. Layout of a subset: `Images/{split}/…`, `json_labels/{split}.json` (or under `WBC_detection/`),
`txt_labels/AttriDet/{split}/<stem>.txt`; a root may hold several subsets. Where there are both, the JSON is read.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, overload

import numpy as np
from numpy.typing import NDArray

from engines.data.aspect import PixelAspect, pixel_aspect, read_undone, undone_hw
from engines.data.faults import Fault, Kind, Level, refuse
from engines.data.labels import Picture
from engines.data.layout import FLAT, IMAGE_SUFFIXES, Split, find_splits, find_subsets
from engines.data.pictures import image_size_hw, look
from engines.data.reading import SplitLabels, read_labels
from engines.detections import Float32, Image, Int64
from engines.taxonomy import LEUKEMIA_ATTRI, UNKNOWN, Taxonomy

__all__ = [
    "IMAGE_SUFFIXES",
    "LabelledImage",
    "SplitData",
    "admit",
    "has_labels",
    "image_size_hw",
    "packed_labels",
    "read_split",
    "read_unlabelled",
]

_EXAMPLES = 3
_OF_FILES = {Kind.IMAGE_UNUSUAL, Kind.FILES_NOT_READ}
_FLAWS = {Kind.SPLIT_UNLABELLED, Kind.NO_LAYOUT}
"""Notes that say nothing to those who asked for the split."""
_READINGS = {Kind.CLASS_ORDER, Kind.OUTLINES, Kind.PATCHES, Kind.FILES_JOINED}


@dataclass(frozen=True, eq=False)
class LabelledImage:
    """One picture and its truth, in square pixels: what squeezed it is undone, in `read` and in every number here.

    size_hw: height and width in px. boxes_px: (N, 4) float32, x1 y1 x2 y2. classes: (N,) int64.
    attributes: (N, A) int64, one column for each attribute of the taxonomy, -1 where unknown or not applicable.
    ignored_px: (M, 4) float32, x1 y1 x2 y2 of regions in which nothing is learnt or scored (a clump, unreviewed ground).
    unlabelled_px: (U, 4) float32, those of them that nobody labelled (`engines.data.labelled_regions`).
    pixel_aspect: of the file (`engines.data.aspect`).
    """

    path: Path
    size_hw: tuple[int, int]
    boxes_px: Float32
    classes: Int64
    attributes: Int64
    ignored_px: Float32 = field(default_factory=lambda: np.zeros((0, 4), np.float32))
    pixel_aspect: float = 1.0
    unlabelled_px: Float32 = field(default_factory=lambda: np.zeros((0, 4), np.float32))

    def read(self) -> Image:
        """The picture as BGR of `size_hw`; DataError if it cannot be decoded."""
        return read_undone(self.path, self.pixel_aspect)


@dataclass(frozen=True, eq=False)
class SplitData(Sequence[LabelledImage]):
    """The pictures of a split that may be learnt and scored, sorted by name, and what was left out of them.

    pictures: how many lie in the folder. left_out: each picture, label or box not in `images`, with its place. passed: faults and
    notes with which figures stay right. aspects: the pixel aspect of each subset.
    """

    images: tuple[LabelledImage, ...]
    pictures: int
    left_out: tuple[Fault, ...] = ()
    passed: tuple[Fault, ...] = ()
    aspects: tuple[PixelAspect, ...] = ()

    @overload
    def __getitem__(self, index: int) -> LabelledImage: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[LabelledImage]: ...
    def __getitem__(self, index: int | slice) -> LabelledImage | Sequence[LabelledImage]:
        return self.images[index]

    def __len__(self) -> int:
        return len(self.images)

    @property
    def regions(self) -> int:
        """Regions to ignore on all pictures, without ground that nobody labelled."""
        return sum(len(image.ignored_px) - len(image.unlabelled_px) for image in self.images)

    @property
    def in_part(self) -> tuple[int, float]:
        """Pictures of which a part was labelled, and what share of their ground that is; 0 and 1 without any."""
        some = [image for image in self.images if len(image.unlabelled_px)]
        left = sum(float(np.prod(image.unlabelled_px[:, 2:] - image.unlabelled_px[:, :2], 1).sum()) for image in some)
        return len(some), 1 - left / sum(image.size_hw[0] * image.size_hw[1] for image in some) if some else 1.0

    @property
    def files(self) -> str:
        """What of the picture files is not read or not plain 8-bit colour, said once a folder; empty where there is nothing to say."""
        return "".join(f"; {fault.message}" for fault in self.passed if fault.kind in _OF_FILES)

    @property
    def aspect(self) -> str:
        """What was done about pixel aspect, or is in doubt, each thing once; empty for pictures that are taken as they are."""
        found: dict[str, list[str]] = defaultdict(list)
        for one in self.aspects:
            found[one.words].append(one.subset)
        several = len(self.aspects) > 1
        return "; ".join(f"{', '.join(names)}: {words}" if several else words for words, names in found.items() if words)

    @property
    def summary(self) -> str:
        """Such as "3 of 6 pictures; left out: 3 pictures without labels, 2 boxes without area"; only the number where all is used."""
        counts = Counter(fault.kind for fault in self.left_out)
        used = f"{'' if len(self) == self.pictures else f'{len(self)} of '}{self.pictures} picture{'s' * (self.pictures != 1)}"
        parts = [f"{number} {kind.plural if number > 1 else kind.title}" for kind, number in counts.items()]
        regions = f"; {self.regions} regions to ignore" if self.regions else ""
        left_out = f"; left out: {', '.join(parts)}" if parts else ""
        number, share = self.in_part
        if number:
            regions += f"; {number} labelled in part ({100 * share:.0f} % of their ground), the rest is ignored"
        return used + left_out + regions + self.files + (f"; {self.aspect}" if self.aspect else "")

    @property
    def readings(self) -> tuple[str, ...]:
        """What was assumed of labels that do not say it all: the order of class numbers, outlines as boxes, files as joined."""
        return tuple(str(fault) for fault in self.passed if fault.kind in _READINGS)

    def to_dict(self) -> dict[str, Any]:
        """Plain form for machines: counts, and by kind how many were left out or passed, with the first places."""
        return {
            "pictures": self.pictures,
            "used": len(self),
            "regions_to_ignore": self.regions,
            "labelled_in_part": {"pictures": self.in_part[0], "share_of_ground": self.in_part[1]},
            "left_out": _by_kind(self.left_out),
            "passed": _by_kind(self.passed),
            "pixel_aspect": [one.to_dict() for one in self.aspects],
        }


def _by_kind(faults: Iterable[Fault]) -> dict[str, Any]:
    found: dict[str, list[str]] = defaultdict(list)
    for fault in faults:
        found[fault.kind.slug].append(str(fault))
    return {slug: {"count": len(places), "first": places[:_EXAMPLES]} for slug, places in found.items()}


def admit(splits: Iterable[Split], root: Path, taxonomy: Taxonomy) -> tuple[list[SplitLabels], list[Fault]]:
    """The gate: splits read by the rules of `attridet data check`, and all that is wrong with them but does not stop.

    Of pictures only the headers are read; damaged pixels are found when a picture is decoded. Raises DataError with the first places of
    what makes figures wrong. root: the folder that was asked for.
    """
    faults: list[Fault] = []
    read: list[SplitLabels] = []
    for split in splits:
        if split.images is not None:
            read.append(read_labels(split, taxonomy, faults.append, {path: look(path) for path in split.pictures()}))
    faults = list(dict.fromkeys(faults))  # lists of class names are read anew for each split
    refuse(faults, root)
    return read, faults


def read_split(root: Path, split: str, taxonomy: Taxonomy = LEUKEMIA_ATTRI, given_aspect: float | None = None) -> SplitData:
    """Every picture of one split that may be learnt and scored with its labels, sorted by name.

    `root` is a subset or holds several (H_100X_C1 to L_10X_C2), which are then read one after another. In a split that bears labels,
    pictures that no label file mentions are left out, as are boxes that can be no cell: the value says which. A split without any label
    gives pictures without boxes. Squeezed pictures are undone by the pixel aspect given, stated or measured (`engines.data.aspect`).
    Raises DataError naming folder, file and line if the split does not exist or figures from it would be wrong.
    """
    read, faults = admit(find_splits(root, split), root, taxonomy)
    left_out = [fault for fault in faults if fault.kind.level is Level.LEFT_OUT]
    unlabelled = {fault.place.file for fault in left_out if fault.kind is Kind.IMAGE_UNLABELLED}
    passed = [fault for fault in faults if fault.kind.level is not Level.LEFT_OUT and fault.kind not in _FLAWS]
    aspects = _aspects(root, read, given_aspect)
    images = tuple(
        _labelled(picture, taxonomy, aspect.value)
        for one, aspect in zip(read, aspects, strict=True)
        for picture in one.pictures
        if picture.path not in unlabelled
    )
    return SplitData(images, sum(len(one.pictures) for one in read), tuple(left_out), tuple(passed), aspects)


def read_unlabelled(root: Path, split: str, taxonomy: Taxonomy = LEUKEMIA_ATTRI, given_aspect: float | None = None) -> SplitData:
    """Every picture of one split without its labels, which are not even read; undone, and DataError raised, as by `read_split`."""
    bare = [Split(one.subset, one.root, FLAT, one.images) for one in find_splits(root, split)]
    read, _ = admit(bare, root, taxonomy)
    aspects = _aspects(root, read, given_aspect)
    images = tuple(
        _labelled(picture, taxonomy, aspect.value) for one, aspect in zip(read, aspects, strict=True) for picture in one.pictures
    )
    return SplitData(images, len(images), aspects=aspects)


def _aspects(root: Path, read: Sequence[SplitLabels], given: float | None) -> tuple[PixelAspect, ...]:
    """The pixel aspect of each subset that was read: of all its splits together, so that they agree."""
    subsets = {subset.name: subset for subset in find_subsets(root)}
    return tuple(pixel_aspect(subsets[one.split.subset], given) for one in read)


def has_labels(root: Path, split: str) -> bool:
    """Whether the split bears any label file at all."""
    return any(one.json is not None or one.txt is not None for one in find_splits(root, split))


def packed_labels(root: Path) -> str:
    """Where labels of a data set are still packed, with what to do, as part of a message; empty where none are."""
    files = [file for subset in find_subsets(root) for file in subset.packed]
    return f"its labels are still packed in {', '.join(map(str, files))}, which cannot be read: unpack there" if files else ""


def _labelled(picture: Picture, taxonomy: Taxonomy, aspect: float) -> LabelledImage:
    cells = [cell for cell in picture.cells if not cell.doubtful]
    ignored = [region.xyxy_px for region in picture.ignored] + [cell.xyxy_px for cell in picture.cells if cell.doubtful]
    unlabelled = [tuple(box) for box in picture.unlabelled_px.tolist()]
    attributes = np.asarray([cell.attributes for cell in cells], np.int64).reshape(-1, len(taxonomy.attributes))
    (height, width), size_hw = picture.size_hw, undone_hw(picture.size_hw, aspect)
    scale = np.array([size_hw[1] / width, size_hw[0] / height] * 2)
    return LabelledImage(
        picture.path,
        size_hw,
        _boxes([cell.xyxy_px for cell in cells], scale),
        np.asarray([cell.code for cell in cells], np.int64),
        np.where(attributes < 0, UNKNOWN, attributes),
        _boxes([*ignored, *unlabelled], scale),
        aspect,
        _boxes(unlabelled, scale),
    )


def _boxes(boxes: Sequence[tuple[float, float, float, float]], scale: NDArray[np.float64]) -> Float32:
    return (np.asarray(boxes, np.float64).reshape(-1, 4) * scale).astype(np.float32)
