"""The journal of a review: one entry for each thing that a person did. Entries are only added, never changed, and each bears the digest
of the one before, so that a later edit shows."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime
from enum import Enum


class Act(str, Enum):
    """What was done."""

    OPENED = "opened"  # a cell was looked at by itself
    NAMED = "named"  # a cell was given a verdict
    ADDED = "added"  # a cell that was missed was added
    ACKNOWLEDGED = "acknowledged"  # a chart that was never joined was accepted as it is
    NOTED = "noted"  # a remark
    UNDONE = "undone"  # a step before was taken back
    SIGNED = "signed"
    SECONDED = "seconded"  # another person signed what stands
    REOPENED = "reopened"  # a signed slide was opened for a correction


@dataclass(frozen=True)
class Entry:
    """One row of the journal. What does not belong to the act is 0, "" or ().

    number: from 1, without a gap. at: when, and time_trusted: whether the clock could be believed. who: initials of the person.
    said_before, said: what was said of the cell before and after, as `device.slide.verdict` writes it; of a signature the revision
    before and after; of a chart its number. field_index, box_px: where an added cell lies (x1 y1 x2 y2 in the field's pixels).
    step: number of the first entry of what was done at one go; of an undo, that of the step which it takes back.
    previous, digest: SHA-256, hexadecimal, of the entry before and of this one with it.
    """

    number: int
    at: datetime
    time_trusted: bool
    who: str = field(repr=False)  # no line of a log may hold it
    act: Act
    cell_id: int = 0
    said_before: str = ""
    said: str = ""
    why: str = ""
    field_index: int = 0
    box_px: tuple[float, ...] = ()
    step: int = 0
    previous: str = ""
    digest: str = ""


def first_digest(slide_id: str) -> str:
    """What stands for "the digest before" in the first entry: of the slide, so that no journal passes for another slide's."""
    return hashlib.sha256(f"leukoscope review {slide_id}".encode()).hexdigest()


def digest_of(entry: Entry) -> str:
    """SHA-256 over the entry as canonical JSON (keys sorted, no spaces, ASCII), all but its own digest."""
    row = asdict(entry) | {"at": entry.at.isoformat(), "act": entry.act.value, "box_px": [float(value) for value in entry.box_px]}
    del row["digest"]
    return hashlib.sha256(json.dumps(row, sort_keys=True, separators=(",", ":"), allow_nan=False).encode()).hexdigest()


def chained(entry: Entry, previous: str) -> Entry:
    """`entry` behind the one whose digest is `previous`."""
    entry = replace(entry, previous=previous, digest="")
    return replace(entry, digest=digest_of(entry))


def verify(entries: Iterable[Entry], slide_id: str = "") -> list[str]:
    """The breaks of the chain, one line each; empty where every entry is as it was written.

    slide_id: whose journal it must be; "" asks only whether it hangs together. That entries at its end are gone is told only by what
    stands elsewhere: the signed summary bears the last digest.
    """
    breaks, previous = [], first_digest(slide_id) if slide_id else None
    for at, entry in enumerate(entries, 1):
        if entry.number != at:
            breaks.append(f"entry {at} bears the number {entry.number}")
        if previous is not None and entry.previous != previous:
            breaks.append(f"entry {entry.number} does not follow the one before it")
        if entry.digest != digest_of(entry):
            breaks.append(f"entry {entry.number} was changed after it was written")
        previous = entry.digest
    return breaks
