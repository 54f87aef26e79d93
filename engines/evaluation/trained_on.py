"""Patients on both sides: whether a network was trained on those on whom it is judged, from what its training kept."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import PurePath

from engines.data.layout import patient_of
from engines.provenance import UNLABELLED, DataSeen


@dataclass(frozen=True)
class Overlap:
    """Who is judged although the network was trained on them.

    patients: of `judged` patients, in order. labelled: whether labels of theirs were learnt from, else only pictures were shown. where:
    the data that they came by. same: all judged pictures are one of these data, by their names.
    """

    patients: tuple[str, ...] = ()
    judged: int = 0
    labelled: bool = False
    where: tuple[str, ...] = ()
    same: bool = False

    def __bool__(self) -> bool:
        return bool(self.patients) or self.same

    @property
    def said(self) -> str:
        """Of a network, such as "was trained on 1 of 2 patients judged here (6, of H_100X_C2/train)"; empty where nobody overlaps."""
        if not self:
            return ""
        how = "was trained on" if self.labelled else "was shown, without labels,"
        if not self.patients:
            return f"{how} these very pictures ({', '.join(self.where)})"
        whom = f"{len(self.patients)} of {self.judged} patient{'s' * (self.judged != 1)} judged here"
        return f"{how} {whom} ({', '.join(self.patients)}, of {', '.join(self.where)})"

    @property
    def words(self) -> str:
        """The whole sentence, for people; empty where nobody overlaps."""
        return f"The network {self.said}: the scores flatter it. Judge it on patients that it has not seen." if self else ""


NONE = Overlap()
"""Nobody overlaps, or nobody kept who was trained on."""


def overlap(data: Sequence[DataSeen], names: Iterable[str]) -> Overlap:
    """Who of the patients of these pictures (file names) is among `data`; none where nobody kept who was trained on."""
    names = [PurePath(name).name for name in names]
    judged = {patient for patient in map(patient_of, names) if patient is not None}
    digest = digest_of(names)
    shared = {patient for one in data for patient in one.patients} & judged
    where = [one for one in data if shared & {*one.patients}] or [one for one in data if names and one.names_sha256 == digest]
    return Overlap(
        tuple(sorted(shared, key=lambda patient: (len(patient), patient))),
        len(judged),
        any(one.role != UNLABELLED for one in where),
        tuple(dict.fromkeys(one.place for one in where)),
        bool(where) and all(one.names_sha256 == digest for one in where),
    )


def digest_of(names: Iterable[str]) -> str:
    """sha256, hex, of file names, sorted, one a line: what `DataSeen.names_sha256` holds."""
    return hashlib.sha256("\n".join(sorted(names)).encode("utf-8", "surrogateescape")).hexdigest()
