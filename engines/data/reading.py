"""One split read and judged, all that is wrong reported: the one reading of `attridet data check` and of every command."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from engines.data.boxes import disagreements, sound_boxes
from engines.data.census import sources_of
from engines.data.coco import read_coco
from engines.data.faults import Fault, Kind, Place, Report
from engines.data.labels import UNSIZED, Picture, PictureLabels
from engines.data.layout import FLAT, IMAGE_SUFFIXES, Split
from engines.data.txt import read_txt
from engines.errors import DataError
from engines.taxonomy import Taxonomy

SizeOf = Callable[[Path], tuple[int, int] | None]
"""Height and width of a picture as decoded; None where it cannot be, which is then reported already."""

_NOT_LABELS = {"classes.txt"}
"""Files that labelling programs leave among TXT labels."""


@dataclass(frozen=True, eq=False)
class SplitLabels:
    """A split as read: its pictures sorted by name, without the boxes that are left out, and what the label file says besides.

    sources: "JSON", "TXT 12" and so on.
    """

    split: Split
    pictures: tuple[Picture, ...]
    extra: Mapping[str, Any] = field(default_factory=dict)
    sources: tuple[str, ...] = ()


def read_labels(split: Split, taxonomy: Taxonomy, report: Report, size_of: SizeOf, both: bool = False) -> SplitLabels:
    """Pictures of one split with their labels in full precision, from the JSON where there is one, else from TXT.

    What is wrong goes to `report`. With `both`, TXT beside a JSON is read too and compared, and a folder without pictures is no error.
    """
    paths = split.pictures()
    if split.images is None:
        found = split.json or split.txt or split.root
        report(Fault(Kind.IMAGE_MISSING, Place(found), f"labels of a split '{split.name}', but there is no folder Images/{split.name}"))
    elif not paths and not both:
        raise DataError(f"{split.images}: holds no picture; supported: {', '.join(sorted(IMAGE_SUFFIXES))}")
    sizes = {path: size_of(path) for path in paths}
    from_json: list[Picture] | None = None
    from_txt: list[Picture] | None = None
    extra: Mapping[str, Any] = {}
    if split.images is not None and split.json is not None:
        coco = read_coco(split.json, taxonomy, report)
        if coco.readable:
            named = match_names(paths, coco.pictures.values(), report)
            found_sizes = {path: sizes[path] or labels.size_hw for path, labels in named.items()}
            from_json = [Picture(path, found_sizes.get(path) or sizes[path] or UNSIZED, named.get(path)) for path in paths]
            sizes |= found_sizes
            extra = coco.extra
            _sizes(from_json, report)
    if split.images is not None and split.txt is not None and (both or from_json is None):
        from_txt = list(_txt_pictures(split, paths, taxonomy, report, sizes))
    sound_json, sound_txt = (
        None if pictures is None else [sound_boxes(picture, taxonomy, report) for picture in pictures]
        for pictures in (from_json, from_txt)
    )
    if from_json is not None and from_txt is not None:
        for first, second in zip(from_json, from_txt, strict=True):
            disagreements(first, second, taxonomy, report)
    preferred = sound_json if sound_json is not None else sound_txt
    pictures = preferred if preferred is not None else [Picture(path, sizes[path] or UNSIZED, None) for path in paths]
    if split.json is None or from_json is not None:
        _unlabelled(split, pictures, sound_txt, report)
    txt_cells = None if from_txt is None else [cell for picture in from_txt for cell in picture.cells]
    return SplitLabels(split, tuple(pictures), extra, sources_of(from_json is not None, txt_cells))


def _txt_pictures(
    split: Split, paths: Sequence[Path], taxonomy: Taxonomy, report: Report, sizes: Mapping[Path, tuple[int, int] | None]
) -> Iterable[Picture]:
    """Pictures with the labels of their TXT files; label files without a picture and pictures of one label file are reported."""
    files = {file.stem: file for file in sorted(split.txt.glob("*.txt"))} if split.txt else {}
    stems: dict[str, Path] = {}
    for path in paths:
        other = stems.setdefault(path.stem, path)
        if other != path:
            report(Fault(Kind.STEM_TWICE, Place(path), f"{other.name} and {path.name} share {path.stem}.txt; rename one of them"))
        size = sizes[path] or UNSIZED
        file = files.get(path.stem)
        labels = PictureLabels(path.name, Place(file), size, read_txt(file, size, taxonomy, report)) if file else None
        yield Picture(path, size, labels)
    for stem, file in files.items():
        if stem not in stems and file.name not in _NOT_LABELS:
            report(Fault(Kind.IMAGE_MISSING, Place(file), f"there is no picture {stem}.* in {split.images}"))


def match_names(paths: Sequence[Path], labels: Iterable[PictureLabels], report: Report) -> dict[Path, PictureLabels]:
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


def _sizes(pictures: Iterable[Picture], report: Report) -> None:
    for picture in pictures:
        real, stated = picture.size_hw, picture.labels.size_hw if picture.labels else None
        if picture.labels and stated and real != stated:
            words = (
                f"{picture.path.name} is said to be {stated[1]} x {stated[0]} px; the picture is {real[1]} x {real[0]}: label the "
                "pictures as they are now, or bring those that were labelled"
            )
            report(Fault(Kind.IMAGE_SIZE, picture.labels.place, words))


def _unlabelled(split: Split, pictures: Sequence[Picture], other: Sequence[Picture] | None, report: Report) -> None:
    """Pictures that no label file mentions: one note where that is the whole split, else a fault each."""
    mentioned = {p.path for source in (pictures, other or ()) for p in source if p.labels is not None}
    cells = sum(len(p.cells) for source in (pictures, other or ()) for p in source)
    if not pictures:
        return
    if split.name == FLAT:
        words = f"{len(pictures)} pictures lie flat, without Images/<split> and without labels; only the pictures were looked at"
        report(Fault(Kind.NO_LAYOUT, Place(split.images or split.root), words))
    elif not cells:
        words = f"{len(pictures)} pictures and not one label: usable as an unlabelled target, not to learn or score on"
        report(Fault(Kind.SPLIT_UNLABELLED, Place(split.json or split.images or split.root), words))
    else:
        for picture in pictures:
            if picture.path not in mentioned:
                words = "no label file mentions it; label it, or say that it has no cells (JSON: list it in images; TXT: an empty file)"
                report(Fault(Kind.IMAGE_UNLABELLED, Place(picture.path), words))
