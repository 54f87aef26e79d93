"""What a data set holds, counted: pictures, cells, classes, attribute values, patients. Nothing is judged or drawn here."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from engines.data.labels import CellLabel, Picture
from engines.data.layout import film_name
from engines.data.vocabulary import NOT_APPLICABLE
from engines.taxonomy import UNKNOWN, Taxonomy


@dataclass(frozen=True, eq=False)
class Census:
    """Counts of one split or of several together.

    labelled: pictures that a label file mentions; empty: those of them without a cell. ignored: regions to
    ignore. classes: cells by label code, all codes.
    attributes: by attribute key, cells by code, UNKNOWN and NOT_APPLICABLE included. patients: pictures by patient; unnamed: pictures
    whose names give none. diagnoses: pictures by diagnosis. sources: "JSON", "TXT 12" and so on.
    """

    label: str
    taxonomy: Taxonomy
    images: int = 0
    labelled: int = 0
    empty: int = 0
    ignored: int = 0
    classes: tuple[int, ...] = ()
    attributes: dict[str, Counter[int]] = field(default_factory=dict)
    patients: Counter[str] = field(default_factory=Counter)
    unnamed: int = 0
    diagnoses: Counter[str] = field(default_factory=Counter)
    sources: tuple[str, ...] = ()

    @property
    def cells(self) -> int:
        return sum(self.classes)

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
            "classes": dict(zip(taxonomy.classes, self.classes, strict=True)),
            "attributes": {
                a.key: {word: self.attributes[a.key][code] for code, word in [*enumerate(a.values), *words.items()]}
                for a in taxonomy.attributes
            },
            "patients": {name: self.patients[name] for name in sorted(self.patients, key=in_order)},
            "images_without_patient": self.unnamed,
            "diagnoses": dict(sorted(self.diagnoses.items())),
        }


def count(label: str, pictures: Iterable[Picture], taxonomy: Taxonomy, sources: Sequence[str] = ()) -> Census:
    """The census of some pictures with their labels."""
    classes = [0] * len(taxonomy.classes)
    attributes: dict[str, Counter[int]] = {a.key: Counter() for a in taxonomy.attributes}
    patients: Counter[str] = Counter()
    diagnoses: Counter[str] = Counter()
    images = labelled = empty = ignored = unnamed = 0
    for picture in pictures:
        images += 1
        labelled += picture.labels is not None
        ignored += len(picture.ignored)
        empty += picture.labels is not None and not picture.cells
        name = film_name(picture.path.name)
        if name is None:
            unnamed += 1
        else:
            patients[name.patient] += 1
            diagnoses[name.diagnosis] += 1
        for cell in picture.cells:
            classes[cell.code] += 1
            for attribute, code in zip(taxonomy.attributes, cell.attributes, strict=True):
                attributes[attribute.key][code] += 1
    return Census(
        label, taxonomy, images, labelled, empty, ignored, tuple(classes), attributes, patients, unnamed, diagnoses, tuple(sources)
    )


def together(label: str, parts: Sequence[Census], taxonomy: Taxonomy) -> Census:
    """The sum of several."""
    return Census(
        label,
        taxonomy,
        sum(p.images for p in parts),
        sum(p.labelled for p in parts),
        sum(p.empty for p in parts),
        sum(p.ignored for p in parts),
        tuple(sum(p.classes[code] for p in parts) for code in range(len(taxonomy.classes))),
        {a.key: sum((p.attributes[a.key] for p in parts), Counter()) for a in taxonomy.attributes},
        sum((p.patients for p in parts), Counter()),
        sum(p.unnamed for p in parts),
        sum((p.diagnoses for p in parts), Counter()),
        tuple(dict.fromkeys(s for p in parts for s in p.sources)),
    )


def sources_of(json_cells: bool, txt_cells: Iterable[CellLabel] | None) -> tuple[str, ...]:
    """Names of the label sources of a split: "JSON", "TXT 12"; several where lines differ in columns."""
    found = ["JSON"] if json_cells else []
    if txt_cells is not None:
        columns = sorted({cell.columns for cell in txt_cells})
        found += [f"TXT {n}" for n in columns] or ["TXT"]
    return tuple(found)


def in_order(name: str) -> tuple[int, int, str]:
    """Sort key that puts patients 4, 18 and 27 in the order of their numbers, before those with letters."""
    return (0, int(name), name) if name.isdecimal() else (1, 0, name)
