"""What `attridet transfer` reads: the pictures and labels of one side, and which source belongs to which target."""

from __future__ import annotations

import csv
import re
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from engines.data.export import left_out
from engines.data.labels import Picture
from engines.data.layout import FLAT, find_subsets
from engines.data.leukemiaattri import admit
from engines.detections import Image
from engines.errors import DataError
from engines.pictures import read_image
from engines.progress import Reporter
from engines.taxonomy import Taxonomy

_FIELD = re.compile(r"([^_]+)_(\d+)(?:_|$)")


@dataclass(frozen=True, eq=False)
class SidePicture(Picture):
    """A picture of one side. split: where it lies, FLAT in a folder without the layout."""

    split: str

    @property
    def name(self) -> str:
        return self.path.name

    @property
    def key(self) -> tuple[str, str] | None:
        """Patient and field, the first two parts of a name such as 4_15_1000_ALL.png or 4_15_23_400_ALL.png; None without them."""
        found = _FIELD.match(self.path.stem)
        return (found[1], found[2]) if found else None

    def read(self) -> Image:
        """The picture as BGR; DataError if it cannot be decoded."""
        return read_image(self.path)


class Alone(NamedTuple):
    """A picture that no pair takes up, and why."""

    name: str
    why: str


@dataclass(frozen=True, eq=False)
class Pairing:
    """Which source goes with which target, by source; and what is left over."""

    pairs: tuple[tuple[SidePicture, SidePicture], ...]
    alone: tuple[Alone, ...] = ()


def read_side(root: Path, split: str | None, taxonomy: Taxonomy, reporter: Reporter) -> list[SidePicture]:
    """Pictures and labels of a data set (all its subsets and splits, or one split) or of a plain folder; warns of what is left out.

    Raises DataError.
    """
    found = []
    present = set()
    for subset in find_subsets(root, flat=True):
        for one in subset.splits:
            if one.images is None or not one.pictures():
                continue
            present.add(one.name)
            if split is None or one.name == split:
                ((read,), faults) = admit([one], root, taxonomy)
                for words in left_out(faults):
                    reporter.warning(f"{root}: left out: {words}")
                found += [SidePicture(p.path, p.size_hw, p.labels, one.name) for p in read.pictures]
    if not found:
        splits = ", ".join(sorted(present - {FLAT})) or "none, its pictures lie flat"
        raise DataError(f"{root}: no picture in split {split}; splits there: {splits}" if split else f"{root}: holds no picture")
    return found


def pair_by_name(sources: list[SidePicture], targets: list[SidePicture]) -> Pairing:
    """Every source with every target of its patient and field. DataError where not one pair comes of it."""
    by_key = defaultdict(list)
    for target in targets:
        by_key[target.key].append(target)
    pairs, alone, taken = [], [], set()
    for source in sources:
        partners = [t for t in by_key.get(source.key, ()) if t.path.resolve() != source.path.resolve()] if source.key else []
        pairs += [(source, target) for target in partners]
        taken |= {target.path for target in partners}
        if not partners:
            alone.append(_alone(source, "target"))
    alone += [_alone(target, "source") for target in targets if target.path not in taken]
    if not pairs:
        raise DataError(
            f"no field is in both folders: {sources[0].name} and {targets[0].name} are the first names. Pictures belong together when "
            f"the first two parts of their names agree (patient_field_...); else name them with --pairs FILE.csv, or use --every-pair"
        )
    return Pairing(tuple(pairs), tuple(alone))


def pair_all(sources: list[SidePicture], targets: list[SidePicture]) -> Pairing:
    """Every source with every target."""
    return Pairing(tuple((s, t) for s in sources for t in targets if s.path.resolve() != t.path.resolve()))


def pair_by_file(file: Path, sources: list[SidePicture], targets: list[SidePicture]) -> Pairing:
    """The pairs of a CSV file with the columns source and target, which hold file names or stems. DataError names file and line."""
    try:
        lines = file.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{file}: cannot be read ({error}); name a CSV file with the columns source,target") from error
    rows = csv.reader(lines)
    heading = [cell.strip().casefold() for cell in next(rows, [])]
    if "source" not in heading or "target" not in heading:
        raise DataError(f"{file}:1: the first line must name the columns source,target")
    pairs = []
    for row in rows:
        where, cells = f"{file}:{rows.line_num}", [cell.strip() for cell in row] + [""] * len(heading)
        source, target = (cells[heading.index(column)] for column in ("source", "target"))
        if source and target:
            pairs.append((_named(source, sources, where, "--from"), _named(target, targets, where, "--to")))
        elif any(cells):
            raise DataError(f"{where}: a pair needs a source and a target")
    if not pairs:
        raise DataError(f"{file}: names no pair")
    taken = {id(picture) for pair in pairs for picture in pair}
    alone = [Alone(p.name, f"not in {file.name}") for p in (*sources, *targets) if id(p) not in taken]
    return Pairing(tuple(dict.fromkeys(pairs)), tuple(alone))


def _alone(picture: SidePicture, missing: str) -> Alone:
    if picture.key is None:
        return Alone(picture.name, "its name does not begin with a patient and a field number")
    return Alone(picture.name, f"no {missing} of field {picture.key[1]} of patient {picture.key[0]}")


def _named(name: str, pictures: list[SidePicture], where: str, option: str) -> SidePicture:
    found = [p for p in pictures if name in (p.name, p.path.stem, str(p.path))]
    if not found:
        raise DataError(f"{where}: there is no picture {name} in the folder of {option}")
    if len(found) > 1:
        raise DataError(f"{where}: {name} is {found[0].path} and {found[1].path}; name one by its path")
    return found[0]
