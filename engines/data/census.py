"""What a data set holds, counted: pictures, cells, classes, attribute values, patients. Nothing is judged or drawn here."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from engines.data.labels import Picture
from engines.data.layout import film_name
from engines.data.vocabulary import NOT_APPLICABLE
from engines.taxonomy import UNKNOWN, Taxonomy


@dataclass(frozen=True, eq=False)
class Census:
    """Counts of one split or of several together.

    labelled: pictures that a label file mentions; empty: those of them without a cell. ignored: regions to ignore. classes: cells by
    label code, all codes. attributes: by attribute key, cells by code, UNKNOWN and NOT_APPLICABLE included; by_type: the same by
    (label code, code). patients: pictures by patient; unnamed: pictures whose names give none; fields: places on patients' films,
    which several subsets may show. diagnoses: pictures by diagnosis. sources: "JSON", "TXT 12" and so on.
    """

    label: str
    taxonomy: Taxonomy
    pictures: tuple[Picture, ...]
    labelled: int
    empty: int
    ignored: int
    classes: tuple[int, ...]
    attributes: dict[str, Counter[int]]
    by_type: dict[str, Counter[tuple[int, int]]]
    patients: Counter[str]
    unnamed: int
    fields: int
    diagnoses: Counter[str]
    sources: tuple[str, ...]

    @property
    def images(self) -> int:
        return len(self.pictures)

    @property
    def cells(self) -> int:
        return sum(self.classes)

    @property
    def in_part(self) -> int:
        """Pictures of which only a part was labelled."""
        return sum(bool(len(picture.unlabelled_px)) for picture in self.pictures)

    def stated(self, key: str) -> int:
        """Cells for which the attribute `key` is stated."""
        return sum(n for code, n in self.attributes[key].items() if code >= 0)

    def to_dict(self) -> dict[str, Any]:
        """Plain form for machines, with words for codes."""
        taxonomy = self.taxonomy
        words = {UNKNOWN: "unknown", NOT_APPLICABLE: "not applicable"}
        return {
            "name": self.label,
            "sources": list(self.sources),
            "images": self.images,
            "labelled": self.labelled,
            "without_cells": self.empty,
            "cells": self.cells,
            "regions_to_ignore": self.ignored,
            "labelled_in_part": self.in_part,
            "classes": dict(zip(taxonomy.classes, self.classes, strict=True)),
            "attributes": {
                a.key: {word: self.attributes[a.key][code] for code, word in [*enumerate(a.values), *words.items()]}
                for a in taxonomy.attributes
            },
            "patients": {name: self.patients[name] for name in sorted(self.patients, key=in_order)},
            "images_without_patient": self.unnamed,
            "physical_fields": self.fields,
            "diagnoses": dict(sorted(self.diagnoses.items())),
        }


def count(label: str, pictures: Iterable[Picture], taxonomy: Taxonomy, sources: Iterable[str] = ()) -> Census:
    """The census of some pictures with their labels."""
    pictures = tuple(pictures)
    labelled = [picture for picture in pictures if picture.labels is not None]
    cells = [cell for picture in pictures for cell in picture.cells]
    classes = Counter(cell.code for cell in cells)
    names = [film_name(picture.path.name) for picture in pictures]
    return Census(
        label,
        taxonomy,
        pictures,
        labelled=len(labelled),
        empty=sum(not picture.cells for picture in labelled),
        ignored=sum(len(picture.ignored) for picture in pictures),
        classes=tuple(classes[code] for code in range(len(taxonomy.classes))),
        attributes={a.key: Counter(cell.attributes[n] for cell in cells) for n, a in enumerate(taxonomy.attributes)},
        by_type={a.key: Counter((cell.code, cell.attributes[n]) for cell in cells) for n, a in enumerate(taxonomy.attributes)},
        patients=Counter(name.patient for name in names if name),
        unnamed=names.count(None),
        fields=len({(name.patient, name.field) for name in names if name}),
        diagnoses=Counter(name.diagnosis for name in names if name),
        sources=tuple(sources),
    )


def together(label: str, parts: Sequence[Census], taxonomy: Taxonomy) -> Census:
    """The sum of several."""
    pictures = (picture for part in parts for picture in part.pictures)
    return count(label, pictures, taxonomy, dict.fromkeys(source for part in parts for source in part.sources))


def in_order(name: str) -> tuple[int, int, str]:
    """Sort key that puts patients 4, 18 and 27 in the order of their numbers, before those with letters."""
    return (0, int(name), name) if name.isdecimal() else (1, 0, name)
