"""What a journal amounts to, entry by entry: verdicts, added cells, what was opened, which steps stand, the last signature."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime

from device.review.journal import Act, Entry

CHANGES = (Act.NAMED, Act.ADDED, Act.ACKNOWLEDGED, Act.NOTED)
"""Acts that an undo takes back."""


@dataclass
class Replay:
    """The state after the entries.

    verdicts: cell id to the last word that stands; added: cell id to the entry that added it; opened: ids of cells looked at by
    themselves; charts: acknowledged ones; notes: remarks that stand; steps: numbers of the steps since the last signature that an undo
    can take back, the newest last. signed: what stands is signed, by `signers` (small letters); revision, reviewer, signed_at: of the
    last signature.
    """

    verdicts: dict[int, str] = field(default_factory=dict)
    added: dict[int, Entry] = field(default_factory=dict)
    opened: set[int] = field(default_factory=set)
    charts: set[int] = field(default_factory=set)
    notes: list[Entry] = field(default_factory=list)
    steps: list[int] = field(default_factory=list)
    signed: bool = False
    signers: set[str] = field(default_factory=set)
    revision: int = 0
    reviewer: str = ""
    signed_at: datetime | None = None


def replay(entries: Iterable[Entry]) -> Replay:
    """The state after `entries`. An undo takes back a whole step; what was taken back leaves no trace but its entries."""
    entries = tuple(entries)
    taken_back = {entry.step for entry in entries if entry.act is Act.UNDONE}
    state = Replay()
    for entry in entries:
        if entry.act in CHANGES and entry.step in taken_back:
            continue
        match entry.act:
            case Act.OPENED:
                state.opened.add(entry.cell_id)
            case Act.NAMED:
                state.verdicts[entry.cell_id] = entry.said
            case Act.ADDED:
                state.added[entry.cell_id] = entry
            case Act.ACKNOWLEDGED:
                state.charts.add(int(entry.said))
            case Act.NOTED:
                state.notes.append(entry)
            case Act.SIGNED:
                state.signed, state.signers, state.steps = True, {entry.who.casefold()}, []
                state.revision, state.reviewer, state.signed_at = int(entry.said), entry.who, entry.at
            case Act.SECONDED:
                state.signers.add(entry.who.casefold())
            case Act.REOPENED:
                state.signed = False
        if entry.act in CHANGES and entry.step not in state.steps[-1:]:
            state.steps.append(entry.step)
    return state
