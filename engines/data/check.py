"""Every fault of a data set, each with its file and line: pictures, labels, the two label formats against each other, patients' sides.

The faults of single files come from the readers; this looks at what only shows when things are laid side by side.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Any

from engines.data.aspect import PixelAspect, aspect_findings, pixel_aspect
from engines.data.census import Census, count, in_order, together
from engines.data.class_lists import ClassNumbers
from engines.data.completeness import completeness_findings
from engines.data.faults import Fault, Kind, Level, Place
from engines.data.layout import FLAT, Split, Subset, film_name, find_subsets
from engines.data.look_alikes import same_fields
from engines.data.looks import look_findings, nuclei_findings
from engines.data.origin import source_name
from engines.data.pictures import Decoded, decode
from engines.data.reading import read_labels
from engines.data.sisters import sister_findings
from engines.taxonomy import LEUKEMIA_ATTRI, Taxonomy

_LABEL_SUFFIXES = {".txt", ".json", ".xml", ".csv"}

Progress = Callable[[int, int], None]


@dataclass(frozen=True, eq=False)
class Checked:
    """A data set as found. splits: one census each, in order; faults and notes in the order of their places.

    numbers: splits whose TXT labels have a list of class names, and what it says. aspects: pixel aspect and red cells of each subset.
    """

    root: Path
    taxonomy: Taxonomy
    subsets: tuple[Subset, ...]
    splits: tuple[Census, ...]
    numbers: tuple[tuple[str, ClassNumbers], ...]
    aspects: tuple[PixelAspect, ...]
    findings: tuple[Fault, ...]

    @property
    def faults(self) -> tuple[Fault, ...]:
        """What wants mending."""
        return tuple(f for f in self.findings if f.kind.level is not Level.NOTE)

    @property
    def notes(self) -> tuple[Fault, ...]:
        """What is worth knowing."""
        return tuple(f for f in self.findings if f.kind.level is Level.NOTE)

    @property
    def total(self) -> Census:
        return together("all", self.splits, self.taxonomy)

    def to_dict(self) -> dict[str, Any]:
        """Plain form for machines."""
        return {
            "data": str(self.root),
            "clean": not self.faults,
            "splits": [census.to_dict() for census in self.splits],
            "class_lists": {split: numbers.to_dict() for split, numbers in self.numbers},
            "total": self.total.to_dict(),
            "pixel_aspect": [one.to_dict() for one in self.aspects],
            "faults": [fault.to_dict() for fault in self.faults],
            "notes": [fault.to_dict() for fault in self.notes],
        }


def check(
    root: Path, taxonomy: Taxonomy = LEUKEMIA_ATTRI, progress: Progress | None = None, threads: int = 2, nuclei: bool = True
) -> Checked:
    """Read every picture and label of the data set at `root` and tell what is wrong.

    nuclei: whether it is asked that boxes of white cells lie on stained nuclei. `progress` is called with (pictures read, pictures in
    all). Raises DataError only where `root` is no data set.
    """
    subsets = find_subsets(root, flat=True)
    splits = [split for subset in subsets for split in subset.splits]
    pictures = {split.label: split.pictures() for split in splits}
    decoded: dict[Path, Decoded] = {}
    paths = [path for found in pictures.values() for path in found]
    with ThreadPoolExecutor(threads) as pool:
        for path, one in zip(paths, pool.map(decode, paths), strict=True):
            decoded[path] = one
            if progress is not None:
                progress(len(decoded), len(paths))
    findings: list[Fault] = []
    censuses = []
    numbers: list[tuple[str, ClassNumbers]] = []
    looks = {path: one.look for path, one in decoded.items() if one.look is not None}
    for split in splits:
        read = read_labels(split, taxonomy, findings.append, decoded, both=True)
        findings += nuclei_findings(read.pictures, looks, taxonomy) if nuclei else ()
        censuses.append(count(split.label, read.pictures, taxonomy, read.sources))
        numbers += [(split.label, read.numbers)] if read.numbers and read.numbers.files else []
    cells = {picture.path: len(picture.cells) for census in censuses for picture in census.pictures}
    for subset in subsets:
        findings += look_findings({p: looks[p] for split in subset.splits for p in pictures[split.label] if p in looks}, cells)
        for archive in subset.packed:
            words = f"{subset.name} has no labels but this archive, in which none can be read; unpack it there, or fetch it again"
            findings.append(Fault(Kind.LABELS_PACKED, Place(archive), words))
        if subset.archive is not None:
            words = f"the labels of {subset.name} are read from this archive; --unpack writes them beside it"
            findings.append(Fault(Kind.LABELS_IN_ARCHIVE, Place(subset.archive), words))
    aspects = tuple(pixel_aspect(subset, always_measure=True) for subset in subsets)
    findings += [fault for subset, one in zip(subsets, aspects, strict=True) for fault in aspect_findings(subset, one)]
    findings += _copies(splits, pictures, decoded)
    findings += _patients(splits, pictures)
    findings += list(sister_findings(censuses, taxonomy))
    findings += list(completeness_findings(root, subsets, censuses, findings))
    if not any(census.labelled for census in censuses):
        findings.append(Fault(Kind.NO_LABELS, Place(root), f"not one label was read; {_unread_labels(root)}"))
    order = {kind: position for position, kind in enumerate(Kind)}
    findings = list(dict.fromkeys(findings))  # lists of class names are read anew for each split
    findings.sort(key=lambda f: (order[f.kind], f.place, f.message))
    return Checked(root, taxonomy, tuple(subsets), tuple(censuses), tuple(numbers), aspects, tuple(findings))


def _unread_labels(root: Path) -> str:
    """What lies in the folder and looks like labels, for a message."""
    found = Counter((p.parent, p.suffix) for p in root.rglob("*") if p.suffix.lower() in _LABEL_SUFFIXES and "/." not in p.as_posix())
    if not found:
        return "the pictures serve as an unlabelled target, not to learn or score on"
    (folder, suffix), number = found.most_common(1)[0]
    return f"{folder} holds {number} {suffix} files that belong to no layout (see docs/data.md), so they were not read"


def _copies(splits: Iterable[Split], pictures: dict[str, list[Path]], decoded: dict[Path, Decoded]) -> Iterable[Fault]:
    """The same bytes under two names; copies on two sides by their names before an exporter added to them, else by their looks."""
    placed = [(path, split) for split in splits for path in pictures[split.label] if not decoded[path].fault]
    first: dict[bytes | str, int] = {}
    same: dict[int, int] = {}
    copies: dict[tuple[int, int], str] = {}
    for position, (path, _) in enumerate(placed):
        source = source_name(path.name)
        if (before := first.setdefault(decoded[path].digest, position)) != position:
            same[position] = before
        named = first.setdefault(PurePath(source).stem.casefold(), position)
        if {source} != {path.name, placed[named][0].name}:
            copies[named, position] = f"by its name ({source})"
    for one, other, sharp in same_fields([small for path, _ in placed if (small := decoded[path].small) is not None]):
        copies.setdefault((one, other), "by its looks" if sharp else "")
    for position, before in same.items():
        (earlier, where), (path, split) = placed[before], placed[position]
        sides = f", which is on another side ({where.label})" if where.side != split.side else ""
        yield Fault(Kind.IMAGE_TWICE, Place(path), f"the same picture as {earlier}{sides}; keep one of them")
    for (one, other), how in sorted(copies.items()):
        (earlier, where), (path, split) = placed[one], placed[other]
        if where.side != split.side and other not in same:
            also = f", which is on another side ({where.label}); keep {'copies' if how else 'them'} together"
            if how:
                yield Fault(Kind.COPY_BOTH_SIDES, Place(path), f"a copy of {earlier} {how}{also}")
            else:
                words = f"but for its fine detail like {earlier}{also} if they show one field"
                yield Fault(Kind.FIELD_BOTH_SIDES, Place(path), words)


def _patients(splits: Sequence[Split], pictures: dict[str, list[Path]]) -> Iterable[Fault]:
    """Patients on more than one side, within a subset or across several; patients with several diagnoses; names that give none."""
    seen: dict[str, dict[str, list[tuple[Split, Path]]]] = defaultdict(lambda: defaultdict(list))
    diagnoses: dict[str, dict[str, Path]] = defaultdict(dict)
    for split in splits:
        unnamed = [path for path in pictures[split.label] if film_name(path.name) is None]
        if unnamed:
            words = f"{len(unnamed)} of {len(pictures[split.label])} file names give no patient ({unnamed[0].name}): no check of sides"
            yield Fault(Kind.PATIENT_UNKNOWN, Place(unnamed[0].parent), words)
        for path in pictures[split.label]:
            name = film_name(path.name)
            if name is not None:
                diagnoses[name.patient].setdefault(name.diagnosis, path)
                if split.name != FLAT:
                    seen[name.patient][split.side].append((split, path))
    for patient in sorted(seen, key=in_order):
        sides = seen[patient]
        if len(sides) > 1:
            parts = [f"{len(found)} of {', '.join(dict.fromkeys(s.label for s, _ in found))}" for found in sides.values()]
            fewest = min(sides.values(), key=len)
            words = f"patient {patient} is on {len(sides)} sides: {'; '.join(parts)} (attridet data split makes sides by patient)"
            yield Fault(Kind.PATIENT_BOTH_SIDES, Place(fewest[0][1]), words)
    for patient, found in diagnoses.items():
        if len(found) > 1:
            words = f"patient {patient} has pictures of {', '.join(sorted(found))}; are these two people?"
            yield Fault(Kind.PATIENT_DIAGNOSES, Place(next(iter(found.values()))), words)
