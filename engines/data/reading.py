"""One split read and judged, all that is wrong reported: the one reading of `attridet data check` and of every command."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePath
from typing import Any, TypeVar

from engines.data.boxes import disagreements, sound_boxes, unlikely_boxes
from engines.data.class_lists import ClassNumbers, class_numbers, is_class_list
from engines.data.coco import CocoLabels, read_coco
from engines.data.conventions import box_convention, class_order, renumbered
from engines.data.faults import Fault, Kind, Place, Report
from engines.data.labels import UNSIZED, Picture, PictureLabels
from engines.data.layout import FLAT, IMAGE_SUFFIXES, Split
from engines.data.origin import composed, source_name
from engines.data.patch_columns import labelled_patches
from engines.data.pictures import Decoded, picture_findings
from engines.data.txt import outlines, read_cells, txt_rows
from engines.errors import DataError
from engines.pictures import not_read
from engines.taxonomy import Taxonomy


@dataclass(frozen=True, eq=False)
class SplitLabels:
    """A split as read: its pictures sorted by name, without the boxes that are left out, and what the label file says besides.

    sources: "JSON", "TXT 12" and so on. numbers: what the numbers of TXT mean, where it was read.
    """

    split: Split
    pictures: tuple[Picture, ...]
    extra: Mapping[str, Any] = field(default_factory=dict)
    sources: tuple[str, ...] = ()
    numbers: ClassNumbers | None = None


def read_labels(split: Split, taxonomy: Taxonomy, report: Report, decoded: Mapping[Path, Decoded], both: bool = False) -> SplitLabels:
    """Pictures of one split, `decoded` or their headers read, with their labels in full precision: from the JSON, else from TXT.

    What is wrong with either goes to `report`. With `both`, TXT beside a JSON is read too and compared, and a folder without pictures
    is no error.
    """
    if split.images is None:
        found = split.json or split.txt or split.root
        report(Fault(Kind.IMAGE_MISSING, Place(found), f"labels of a split '{split.name}', but there is no folder Images/{split.name}"))
        return SplitLabels(split, ())
    for fault in picture_findings(split, decoded):
        report(fault)
    paths = split.pictures()
    if not paths and not both:
        raise DataError(f"{split.images}: holds no picture; supported: {', '.join(sorted(IMAGE_SUFFIXES))}{not_read(split.images)}")
    sizes = {path: decoded[path].size_hw for path in paths}
    coco = read_coco(split.json, taxonomy, report) if split.json else None
    by_json = _json_pictures(paths, sizes, coco, report) if coco else None
    by_txt, numbers = None, None
    if split.txt is not None and (both or by_json is None):
        numbers = class_numbers(split.txt, split.top or split.root, taxonomy, report)
        by_txt = _txt_pictures(split, paths, numbers, report, sizes)
    convention = {id(p): not box_convention(p, p is by_json, report) for p in (by_json, by_txt) if p is not None}
    meant: Mapping[int, int] = {}
    if by_json is not None and by_txt is not None and all(convention.values()):
        meant = renumbered(by_json, by_txt, taxonomy, report)
        for first, second in zip(by_json, by_txt, strict=True):
            disagreements(first, second, taxonomy, report, meant)
    sources = [] if by_json is None else ["JSON"]
    if by_txt is not None:
        columns = sorted({cell.columns for picture in by_txt for cell in picture.cells})
        sources += [f"TXT {n}" for n in columns] or ["TXT"]
    # Attributes tell of another order of numbers where no JSON does.
    other_order = bool(meant) or (by_json is None and by_txt is not None and class_order(by_txt, taxonomy, report))
    judged = []
    for some in (by_json, by_txt):
        sound = some
        if some and convention[id(some)]:
            sound = [sound_boxes(p, taxonomy, report, some is by_json or not other_order) for p in some]
            unlikely_boxes(sound, report)
        judged.append(sound)
    by_json, by_txt = judged
    first_choice = by_json if by_json is not None else by_txt
    pictures = [Picture(path, sizes[path] or UNSIZED, None) for path in paths] if first_choice is None else first_choice
    if split.json is None or coco:
        _unlabelled(split, pictures, by_txt, report)
    return SplitLabels(split, tuple(pictures), coco.extra if coco else {}, tuple(sources), numbers)


def _json_pictures(paths: Sequence[Path], sizes: dict[Path, tuple[int, int] | None], coco: CocoLabels, report: Report) -> list[Picture]:
    """Pictures with the labels of a JSON; a size that only the labels state is added to `sizes`.

    Those of another size than their labels say are reported and bear no size, so that no box of theirs is judged.
    """
    named = match_names(paths, {labels: labels.name for labels in coco.pictures.values()}, report)
    found = []
    for path in paths:
        labels = named.get(path)
        stated = labels.size_hw if labels else None
        sizes[path] = real = sizes[path] or stated
        if labels and stated and real and real != stated:
            words = (
                f"{path.name} is said to be {stated[1]} x {stated[0]} px; the picture is {real[1]} x {real[0]}: label the "
                "pictures as they are now, or bring those that were labelled"
            )
            report(Fault(Kind.IMAGE_SIZE, labels.place, words))
            real = None
        found.append(Picture(path, real or UNSIZED, labels))
    return found


def _txt_pictures(
    split: Split, paths: Sequence[Path], numbers: ClassNumbers, report: Report, sizes: Mapping[Path, tuple[int, int] | None]
) -> list[Picture]:
    """Pictures with the labels of their TXT files."""
    files = {file: file.stem for file in split.label_files() if not is_class_list(file)}
    found = match_names(paths, files, report, suffixes=False)
    read = {file: txt_rows(file, report) for file in files}
    rows = {file: written or [] for file, written in read.items()}
    every = [row for file in files for row in rows[file]]
    outlined = outlines(every, numbers.taxonomy)
    patches = labelled_patches(rows, {file: sizes[path] or UNSIZED for path, file in found.items()}, report)
    pictures = []
    for path in paths:
        size, file = sizes[path] or UNSIZED, found.get(path)
        labels = None
        if file is not None:
            cells = read_cells(rows[file], size, numbers, outlined, report)
            labels = PictureLabels(path.name, Place(file), size, cells, labelled=patches.get(file))
        pictures.append(Picture(path, size, labels))
    some = [row for row in every if len(row.values) in outlined]
    if some:
        corners = " or ".join(str((n - 1) // 2) for n in sorted(outlined))
        words = f"{len(some)} of {len(every)} labels are outlines (polygons of {corners} corners); the boxes around them are read"
        report(Fault(Kind.OUTLINES, some[0].place, words))
    if every and not numbers.files and split.json is None:
        order = ", ".join(f"{code} {name}" for code, name in enumerate(numbers.taxonomy.classes))
        words = f"no list of class names (data.yaml, classes.txt) says what the numbers mean; the order assumed is {order}"
        report(Fault(Kind.CLASS_ORDER, Place(split.txt or split.root), words))
    return pictures


_Entry = TypeVar("_Entry", PictureLabels, Path)
_SPELLINGS: tuple[Callable[[str], str], ...] = (
    str,
    composed,
    lambda name: composed(name).casefold(),
    lambda name: composed(PurePath(name).stem).casefold(),
    lambda name: PurePath(source_name(name)).stem.casefold(),
)
"""Names are matched as they stand, then with accents composed, in another case, with another suffix, without exporters' additions."""


def match_names(paths: Sequence[Path], names: Mapping[_Entry, str], report: Report, suffixes: bool = True) -> dict[Path, _Entry]:
    """Labels of each picture by the name they bear, which without `suffixes` is a stem.

    Reported are names that fit only when spelled otherwise, several pictures or none.
    """
    found: dict[Path, _Entry] = {}
    left = dict(names)
    for spell in _SPELLINGS if suffixes else (*_SPELLINGS[:3], lambda stem: source_name(f"{stem}.x").casefold()):
        near: dict[str, list[Path]] = defaultdict(list)
        for path in paths:
            if path not in found:
                near[spell(path.name if suffixes else path.stem)].append(path)
        for entry, name in list(left.items()):
            fitting = near.pop(spell(name), [])
            if not fitting:
                continue
            del left[entry]
            found[fitting[0]] = entry
            place = Place(entry) if isinstance(entry, Path) else entry.place
            own = fitting[0].name if suffixes else fitting[0].stem
            if len(fitting) > 1:
                kind = Kind.NAME_TWICE if suffixes else Kind.STEM_TWICE
                where = place if suffixes else Place(fitting[1])
                words = f"{fitting[0].name} and {fitting[1].name} share {name if suffixes else place.file.name}; rename one of them"
                report(Fault(kind, where, words))
                found |= dict.fromkeys(fitting, entry)
            elif own != name:
                alike = " (accents are composed otherwise)" if composed(own) == composed(name) else ""
                report(Fault(Kind.NAME_SPELLED, place, f"{name} is taken to be {fitting[0].name}{alike}"))
    folder = paths[0].parent if paths else "the folder of pictures"
    for entry in left:
        if isinstance(entry, Path):
            report(Fault(Kind.IMAGE_MISSING, Place(entry), f"there is no picture {entry.stem}.* in {folder}"))
        else:
            words = f"{entry.name} is not in {folder} ({len(entry.cells)} labels); bring the picture or take its labels out"
            report(Fault(Kind.IMAGE_MISSING, entry.place, words))
    return found


def _unlabelled(split: Split, pictures: Sequence[Picture], other: Sequence[Picture] | None, report: Report) -> None:
    """Pictures that no label file mentions: one note where that is the whole split, else a fault each."""
    mentioned = {p.path for source in (pictures, other or ()) for p in source if p.labels is not None}
    cells = sum(len(p.cells) for source in (pictures, other or ()) for p in source)
    if not pictures:
        return
    if split.name == FLAT and not cells:
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
