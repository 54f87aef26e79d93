"""Classes and attributes of all subsets as one sheet of numbers. It only lays out what a census counted."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass

from engines.data.census import Census
from engines.data.vocabulary import NOT_APPLICABLE
from engines.taxonomy import UNKNOWN, Taxonomy


@dataclass(frozen=True)
class Sheet:
    """columns: subsets with their splits. rows: a name and a number for each column; `sections` are the rows that begin a new part."""

    columns: tuple[str, ...]
    rows: tuple[tuple[str, tuple[int, ...]], ...]
    sections: frozenset[int]

    def csv(self) -> str:
        """The sheet as comma-separated values, one head line."""
        out = io.StringIO()
        writer = csv.writer(out, lineterminator="\n")
        writer.writerow(["", *self.columns])
        writer.writerows([name, *numbers] for name, numbers in self.rows)
        return out.getvalue()


def sheet(censuses: Sequence[Census], taxonomy: Taxonomy) -> Sheet:
    """Pictures, cells of each class, and values of each attribute, a column for each census."""
    rows: list[tuple[str, tuple[int, ...]]] = [
        (name, tuple(getattr(c, key) for c in censuses))
        for name, key in (("pictures", "images"), ("labelled pictures", "labelled"), ("without cells", "empty"), ("cells", "cells"))
    ]
    rows.append(("patients", tuple(len(c.patients) for c in censuses)))
    sections = {len(rows)}
    rows += [(name, tuple(c.classes[code] for c in censuses)) for code, name in enumerate(taxonomy.classes)]
    for attribute in taxonomy.attributes:
        sections.add(len(rows))
        words = [*enumerate(attribute.values), (UNKNOWN, "not stated"), (NOT_APPLICABLE, "not applicable")]
        rows += [(f"{attribute.name}: {word}", tuple(c.attributes[attribute.key][code] for c in censuses)) for code, word in words]
    return Sheet(tuple(c.label for c in censuses), tuple(rows), frozenset(sections))
