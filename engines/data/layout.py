"""Where a data set keeps pictures and labels: subsets, splits, folders however spelled, and what a file name says.

No label is read here.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePath

from engines.data.origin import source_name
from engines.data.packed import label_folder
from engines.errors import DataError
from engines.files import printable
from engines.pictures import PICTURE_SUFFIXES, is_hidden, not_read

IMAGE_SUFFIXES = PICTURE_SUFFIXES

FLAT = "."
"""Name of the only split of a folder whose pictures lie flat in it."""

UNLABELLED = "_unlabelled"
"""Ends the name of a split that holds the pictures of a side that bear no label."""

_JSON_FOLDERS = (("json_labels",), ("json_labels", "wbc_detection"), ("wbc_detection",), ("annotations",))
_TXT_FOLDERS = (("txt_labels", "attridet"), ("txt_labels",), ("labels",))
_DEPTH = 3
_SYNONYMS = {"valid": "val", "validation": "val", "training": "train", "testing": "test"}
_SPLITS = frozenset({"train", "val", "test", *_SYNONYMS})

_FILM_NAME = re.compile(r"(?P<patient>[^_]+)_(?P<field>\d+)_(?:\d+_)*(?P<objective>1000|400|100)_(?P<diagnosis>[A-Za-z]+)")


@dataclass(frozen=True)
class FilmName:
    """What a published file name says: `<patient>_<field>_1000_<DX>` at 100x, `<patient>_<field>_<n>_400_<DX>` at 40x, 100 at 10x."""

    patient: str
    field: str
    objective: int
    diagnosis: str


def film_name(name: str) -> FilmName | None:
    """The parts of a picture's file name, an exporter's additions undone; None where it is not of the published form."""
    found = _FILM_NAME.fullmatch(Path(source_name(printable(name))).stem.strip())
    if found is None:
        return None
    return FilmName(found["patient"], found["field"], int(found["objective"]) // 10, found["diagnosis"].upper())


def patient_of(name: str) -> str | None:
    """The patient that a picture's file name gives; None where it gives none."""
    parts = film_name(name)
    return parts.patient if parts else None


@dataclass(frozen=True)
class Split:
    """One split of one subset: where its pictures and its labels are; None for what it has not. top: the folder that was asked for."""

    subset: str
    root: Path
    name: str
    images: Path | None = None
    json: Path | None = None
    txt: Path | None = None
    top: Path | None = None

    @property
    def label(self) -> str:
        """Subset and split for people."""
        return self.subset if self.name == FLAT else f"{self.subset}/{self.name}"

    @property
    def side(self) -> str:
        """The side of the patients' split that this belongs to."""
        return self.name.removesuffix(UNLABELLED)

    def pictures(self) -> list[Path]:
        """Its pictures, sorted by name."""
        return files_of_kind(self.images, IMAGE_SUFFIXES) if self.images else []

    def label_files(self) -> list[Path]:
        """TXT files of its label folder, sorted by name."""
        return files_of_kind(self.txt, {".txt"}) if self.txt else []


@dataclass(frozen=True)
class Subset:
    """One folder of the layout, such as H_100X_C1: `Images/{split}`, `json_labels/{split}.json`, `txt_labels/AttriDet/{split}`."""

    name: str
    root: Path
    splits: tuple[Split, ...]
    packed: tuple[Path, ...] = ()
    """Archives beside the pictures of a subset without labels that hold none or cannot be read."""
    archive: Path | None = None
    """The archive that its labels are read from, as published for one of the subsets."""


def find_subsets(root: Path, *, flat: bool = False) -> list[Subset]:
    """The subsets that `root` is or holds, up to three folders down, sorted by name.

    With `flat`, a folder of pictures without the layout counts as a subset of one split. Raises DataError where there is none.
    """
    if not root.is_dir():
        raise DataError(f"{root}: no such folder; name a folder that holds Images/<split>")
    try:
        found = sorted(_subsets_under(root, root, flat, _DEPTH), key=lambda s: s.name)
        found = [replace(one, splits=tuple(replace(split, top=root) for split in one.splits)) for one in found]
    except OSError as error:
        raise DataError(f"{error.filename}: {error.strerror}; make the folder readable") from error
    if not found:
        layout = "Images/<split>/<picture> (labels: json_labels, txt_labels)"
        raise DataError(f"{root}: no data set; it or its folders must hold {layout}{not_read(root)}")
    return found


def find_subset(root: Path, name: str, there: Sequence[Subset] | None = None) -> Subset:
    """The subset of `there` (default: all below `root`) whose folder is called `name`, in any case; DataError names those there are."""
    there = find_subsets(root) if there is None else there
    found = [one for one in there if name.casefold() in (one.name.casefold(), PurePath(one.name).name.casefold())]
    if not found:
        near = difflib.get_close_matches(name, [PurePath(one.name).name for one in there], 1, 0.6)
        hint = f" did you mean {near[0]}?" if near else ""
        raise DataError(f"{root}: no subset {name};{hint} subsets there: {', '.join(one.name for one in there)}")
    if len(found) > 1:
        raise DataError(f"{root}: subset {name} is there {len(found)} times ({', '.join(one.name for one in found)}); name one in full")
    return found[0]


def find_splits(root: Path, name: str) -> list[Split]:
    """The split `name` of every subset that has pictures for it; DataError names the splits that there are."""
    splits = [split for subset in find_subsets(root) for split in subset.splits]
    if not any(split.name == name for split in splits):
        name = _SYNONYMS.get(name.casefold(), name)
    found = [split for split in splits if split.name == name and split.images is not None]
    if not found:
        if any(split.name == FLAT for split in splits):
            raise DataError(f"{root}: is not divided into splits; attridet data split {root} --out NEW makes train and val of it")
        present = sorted({split.name for split in splits if split.images is not None})
        hint = f"splits there: {', '.join(present)}" if present else "the layout is Images/<split>/<picture>"
        raise DataError(f"{root}: no Images/{name}; {hint}")
    return found


def judging_split(root: Path) -> str:
    """The split that is meant where none is named: val, or test where there is no val, as published. Raises nothing."""
    try:
        there = {split.name for subset in find_subsets(root) for split in subset.splits if split.images is not None}
    except DataError:
        return "val"
    return "test" if "test" in there and "val" not in there else "val"


def visible_files(folder: Path) -> list[Path]:
    """Files of a folder, sorted by name, without the hidden ones, such as macOS's `._x` and `.DS_Store`."""
    return sorted(p for p in folder.iterdir() if not is_hidden(p) and p.is_file())


def files_of_kind(folder: Path, suffixes: Collection[str]) -> list[Path]:
    """Visible files of a folder with one of `suffixes` in any case, sorted by name."""
    return [p for p in visible_files(folder) if p.suffix.lower() in suffixes]


def _json_files(folder: Path) -> list[Path]:
    """JSON files that may hold labels; notes.json of Label Studio only names the classes."""
    return [p for p in files_of_kind(folder, {".json"}) if p.name.casefold() != "notes.json"]


def _subsets_under(folder: Path, root: Path, flat: bool, depth: int) -> Iterable[Subset]:
    subset = _published(folder, root) or _by_split(folder, root)
    if subset is not None:
        yield subset
    elif flat and files_of_kind(folder, IMAGE_SUFFIXES):
        name = _name(folder, root)
        yield Subset(name, folder, (Split(name, folder, FLAT, images=folder),))
    elif depth:
        for child in _folders(folder):
            yield from _subsets_under(child, root, flat, depth - 1)


def _published(folder: Path, root: Path) -> Subset | None:
    """What `folder` holds if it has a folder Images with splits in it, or one without but labels beside it."""
    parents = _spelled(folder, ("images",))
    if not parents:
        return None
    images = {p.name: p for parent in parents for p in _folders(parent)}
    images = {_split_name(name, images): path for name, path in images.items()}
    spelled = {name.casefold(): name for name in images}
    json_files, txt_folders = _label_files(folder, spelled)
    archive = None
    if not json_files and not txt_folders:
        archive, json_files, txt_folders = _packed_labels(folder, spelled)
    names = sorted({*images, *json_files, *txt_folders})
    name = _name(folder, root)
    if not names:
        return _flat(folder, parents[0], name)
    splits = tuple(Split(name, folder, n, images.get(n), json_files.get(n), txt_folders.get(n)) for n in names)
    packed = () if json_files or txt_folders else tuple(sorted(folder.glob("*.zip")))
    return Subset(name, folder, splits, packed, archive)


def _packed_labels(folder: Path, spelled: Mapping[str, str]) -> tuple[Path | None, dict[str, Path], dict[str, Path]]:
    """As `_label_files`, of the first archive beside the pictures that holds labels, and which; they may lie a folder further down."""
    for archive in sorted(folder.glob("*.zip")):
        try:
            inside = label_folder(archive)
        except DataError:
            continue  # those who need labels name it
        for place in (inside, *_folders(inside)):
            found = _label_files(place, spelled)
            if any(found):
                return archive, *found
    return None, {}, {}


def _flat(folder: Path, images: Path, name: str) -> Subset | None:
    """Pictures in `images` and labels in `labels` or one JSON, not divided into splits, as Label Studio writes."""
    txt = next((place for place in _spelled(folder, ("labels",)) if files_of_kind(place, {".txt"})), None)
    files = _json_files(folder)
    if not files_of_kind(images, IMAGE_SUFFIXES) or not (txt or len(files) == 1):
        return None
    return Subset(name, folder, (Split(name, folder, FLAT, images, files[0] if len(files) == 1 else None, txt),))


def _by_split(folder: Path, root: Path) -> Subset | None:
    """What `folder` holds if each split is a folder of its own, as Roboflow writes: pictures in it or in `images`, and labels."""
    name = _name(folder, root)
    splits = []
    children = {p.name: p for p in _folders(folder) if p.name.casefold() in _SPLITS}
    for child in children.values():
        images, labels = (next(iter(_spelled(child, (kind,))), child) for kind in ("images", "labels"))
        if files_of_kind(images, IMAGE_SUFFIXES):
            files = _json_files(child)
            file = next((p for p in files if "annotations" in p.name.casefold() or len(files) == 1), None)
            txt = labels if files_of_kind(labels, {".txt"}) else None
            splits.append(Split(name, folder, _split_name(child.name, children), images, file, txt))
    return Subset(name, folder, tuple(sorted(splits, key=lambda split: split.name))) if splits else None


def _split_name(name: str, others: Iterable[str]) -> str:
    """`val` for `valid` and its like, unless there is a `val` besides."""
    usual = _SYNONYMS.get(name.casefold(), name)
    return name if usual in others else usual


def _label_files(folder: Path, spelled: Mapping[str, str]) -> tuple[dict[str, Path], dict[str, Path]]:
    """JSON file and TXT folder by split, spelled as its pictures' folder; of several, the first kind of place that has the split."""
    json_files: dict[str, Path] = {}
    txt_folders: dict[str, Path] = {}

    def split_of(name: str) -> str:
        usual = _SYNONYMS.get(name.casefold(), name)
        return spelled.get(name.casefold()) or spelled.get(usual.casefold()) or usual

    for place in _JSON_FOLDERS:
        for parent in _spelled(folder, place):
            for file in files_of_kind(parent, {".json"}):
                json_files.setdefault(split_of(file.stem.removeprefix("instances_")), file)
    for place in _TXT_FOLDERS:
        for parent in _spelled(folder, place):
            for child in _folders(parent):
                # txt_labels may hold other networks' labels: txt_labels/<network>/<split>
                for candidate in (child, *(_folders(child) if place == ("txt_labels",) else ())):
                    if files_of_kind(candidate, {".txt"}):
                        txt_folders.setdefault(split_of(candidate.name), candidate)
    return json_files, txt_folders


def _spelled(folder: Path, names: tuple[str, ...]) -> list[Path]:
    """Folders below `folder` by a chain of names, in any case."""
    places = [folder]
    for name in names:
        places = [child for place in places for child in _folders(place) if child.name.casefold() == name]
    return places


def _folders(folder: Path) -> list[Path]:
    return sorted(p for p in folder.iterdir() if not is_hidden(p) and p.is_dir())


def _name(folder: Path, root: Path) -> str:
    return folder.resolve().name if folder == root else folder.relative_to(root).as_posix()
