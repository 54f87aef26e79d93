"""A data set from one label format to another, and what the target cannot hold, said beforehand and in numbers."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from engines.data.aspect import carry_statement
from engines.data.coco import write_json
from engines.data.faults import Fault, Kind, Level
from engines.data.layout import FLAT, Split, find_subsets
from engines.data.leukemiaattri import admit
from engines.data.reading import SplitLabels
from engines.data.vocabulary import NOT_APPLICABLE
from engines.data.writing import Bring, bring_all, write_txt
from engines.errors import DataError
from engines.files import atomic_folder
from engines.taxonomy import LEUKEMIA_ATTRI, Taxonomy, TxtLayout


class Format(str, Enum):
    """Label formats: COCO JSON with attributes, TXT with no attributes, with all but Cell Size, with all."""

    JSON = "json"
    TXT5 = "txt5"
    TXT11 = "txt11"
    TXT12 = "txt12"

    def layout(self, taxonomy: Taxonomy) -> TxtLayout:
        """The columns of a TXT line; DataError where the taxonomy has no such layout."""
        columns = int(self.value.removeprefix("txt"))
        layout = taxonomy.layout(columns)
        if layout is None:
            named = ", ".join(f"{one.columns} ({one.name})" for one in taxonomy.txt_layouts)
            words = f"no TXT layout of {columns} columns, but {named}; add one to its txt_layouts, or write json"
            raise DataError(f"the taxonomy has {words}")
        return layout


@dataclass(frozen=True, eq=False)
class Exported:
    """What was written. splits: label, pictures, labelled pictures, cells. lost: one sentence for each thing left behind."""

    out: Path
    splits: tuple[tuple[str, int, int, int], ...]
    lost: tuple[str, ...]
    linked: int = 0
    copied: int = 0


def subset_root(out: Path, split: Split, root: Path) -> Path:
    """Where a split of the data set at `root` goes below `out`: as it lies below `root`."""
    return out if split.root == root else out / split.subset


def export(
    root: Path,
    to: Format,
    out: Path,
    how: Bring = Bring.LINK,
    taxonomy: Taxonomy = LEUKEMIA_ATTRI,
    progress: Callable[[int, int], None] | None = None,
) -> Exported:
    """Write every subset and split of `root` below `out` with labels in the format `to`.

    JSON to TXT of 12 columns and back gives the same boxes (within 1e-6 of their size) and the same attributes, unknown and not
    applicable told apart. `progress` is called with (pictures brought, pictures in all). Raises DataError.
    """
    splits = [split for subset in find_subsets(root) for split in subset.splits if split.pictures()]
    if not splits:
        raise DataError(f"{root}: no split holds a picture")
    if any(split.name == FLAT for split in splits):
        raise DataError(f"{root}: is not divided into splits; attridet data split writes both formats")
    read, faults = admit(splits, root, taxonomy)
    jobs: list[tuple[Path, Path]] = []
    rows = []
    with atomic_folder(out) as folder:
        for one in read:
            where = subset_root(folder, one.split, root)
            carry_statement(one.split, where)
            if any(picture.labels is not None for picture in one.pictures):
                if to is Format.JSON:
                    write_json(where, one.split.name, one.pictures, taxonomy, one.extra)
                else:
                    write_txt(where, one.split.name, one.pictures, taxonomy, to.layout(taxonomy))
            jobs += [(picture.path, where / "Images" / one.split.name / picture.path.name) for picture in one.pictures]
            labelled = sum(picture.labels is not None for picture in one.pictures)
            rows.append((one.split.label, len(one.pictures), labelled, sum(len(p.cells) for p in one.pictures)))
        linked = bring_all(jobs, how, progress)
    copied = 0 if how is Bring.NONE else len(jobs) - linked
    return Exported(out, tuple(rows), (*left_out(faults), *losses(read, to, taxonomy)), linked, copied)


def left_out(faults: Sequence[Fault]) -> list[str]:
    """One sentence for each kind of label that is not written, since it could only mislead."""
    found: dict[Kind, list[Fault]] = defaultdict(list)
    written = {Kind.IMAGE_UNLABELLED, Kind.BOX_TWO_CLASSES}  # as they stand, for a person to decide
    for fault in faults:
        if fault.kind.level is Level.LEFT_OUT and fault.kind not in written:
            found[fault.kind].append(fault)
    return [f"{len(some)} {kind.plural if len(some) > 1 else kind.title}, the first: {some[0]}" for kind, some in found.items()]


def losses(read: Sequence[SplitLabels], to: Format, taxonomy: Taxonomy) -> list[str]:
    """What the labels say that the format cannot hold; empty where nothing is lost."""
    if to is Format.JSON:
        return []
    cells = [cell for one in read for picture in one.pictures for cell in picture.cells]
    layout = to.layout(taxonomy)
    found = []
    for position, attribute in enumerate(taxonomy.attributes):
        stated = sum(cell.attributes[position] >= 0 for cell in cells)
        if stated and attribute.key not in layout.keys:
            found.append(f"{attribute.name} of {stated} cells")
    if to is Format.TXT5:
        not_applicable = sum(NOT_APPLICABLE in cell.attributes for cell in cells)
        if not_applicable:
            found.append(f"that attributes do not apply to {not_applicable} cells")
    keys: Counter[str] = Counter()
    for cell in cells:
        _, _, w, h = cell.xywh_px
        keys.update(f"'{k}' of annotations" for k, v in cell.extra.items() if not _implied(k, v, w * h))
    for one in read:
        keys.update(f"'{k}' of images" for picture in one.pictures if picture.labels for k in picture.labels.extra)
        keys.update(f"'{k}' of the file" for k in one.extra)
    regions = sum(len(picture.ignored) for one in read for picture in one.pictures)
    found += [f"{regions} regions to ignore, which TXT cannot hold: what is in them will count as background"] if regions else []
    in_part = sum(bool(len(picture.unlabelled_px)) for one in read for picture in one.pictures)
    found += [f"what part of {in_part} pictures was labelled: the rest of them will count as background"] if in_part else []
    return found + [f"{key} ({n})" for key, n in sorted(keys.items())]


def _implied(key: str, value: object, area: float) -> bool:
    """Whether a reader gets this value of an annotation anyway: its area from its sides, no crowd."""
    if key == "area" and isinstance(value, int | float):
        return abs(value - area) <= max(0.02, 0.001 * area)
    return (key == "iscrowd" and not value) or (key == "segmentation" and not value)
