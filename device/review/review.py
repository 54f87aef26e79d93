"""A slide under review: what its cells are said to be, in which order they are looked at, what is still in the way of a signature.

Its state is the slide as counted and the journal, and nothing else: an act gives new entries, and the review with these is the next
one. Nothing is stored, sent or drawn here.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from functools import cached_property

import numpy as np

from device.clock import time_trusted
from device.language import _, ngettext
from device.review.journal import Act, Entry, chained, first_digest, verify
from device.review.replay import Replay, replay
from device.slide.model import Cell, ReviewState, Slide, SlideState
from device.slide.session import RefusedError
from device.slide.tally import Difference, ReviewedDifferential, differences, reviewed
from device.slide.verdict import as_verdict, is_blast, numbered, pre_class, said, with_verdict
from engines.taxonomy import Taxonomy

FEWEST_CELLS = 100
"""White cells below which a signature needs a reason."""
PERHAPS_FROM = 0.2
"""Probability of being a blast from which an unidentified cell is shown with those whose likest type is one."""
_GROUPS = ("blasts", "perhaps", "unidentified", "abnormal", "rest")


@dataclass(frozen=True, eq=False)
class ReviewCell:
    """A cell as the review shows it.

    cell: with the verdict applied. said_before: what the engine said ("" unidentified, or added by a person); said: what is said now.
    opened: looked at by itself. must_open: a signature waits for that. added: by a person. certainty: of what the engine said, 0 to 1.
    """

    cell: Cell
    field_index: int
    said_before: str
    said: str
    opened: bool
    must_open: bool
    added: bool
    certainty: float

    @property
    def cell_id(self) -> int:
        return self.cell.cell_id


@dataclass(frozen=True, eq=False)
class ReviewGroup:
    """Cells that are looked at together, the least certain first. key: blasts, perhaps, unidentified, abnormal or rest."""

    key: str
    name: str
    cells: tuple[ReviewCell, ...]


@dataclass(frozen=True)
class Blocker:
    """Why the slide may not be signed. kind: state, chain, unidentified, blasts, charts, or few, which a reason lifts."""

    kind: str
    words: str
    count: int


@dataclass(frozen=True)
class Signature:
    """number: of its entry in the journal. seconds: it signs what another person had signed."""

    number: int
    revision: int
    who: str
    at: datetime
    seconds: bool


class Review:
    """The review of one slide after `entries`. slide: as it was counted, finished.

    who: initials of the person at the desk. Each act returns the entries that it adds, not yet part of this review (`after` gives the
    review with them), or raises RefusedError with one line that says why not.
    """

    def __init__(
        self,
        slide: Slide,
        taxonomy: Taxonomy,
        entries: Iterable[Entry] = (),
        *,
        who: str = "",
        now: Callable[[], datetime] = lambda: datetime.now(timezone.utc),
    ) -> None:
        self.counted = slide if slide.state is SlideState.ABORTED or slide.is_open else numbered(_unsigned(slide))
        self.taxonomy, self.entries, self.who = taxonomy, tuple(entries), who
        self._bears_revision, self._now = slide.revision, now
        self._former: dict[int, ReviewCell] = {}  # cells of the review before, of which most have not changed

    def after(self, entries: Iterable[Entry]) -> Review:
        """The review with these entries behind its own."""
        claimed = replace(self.counted, revision=self._bears_revision)
        after = Review(claimed, self.taxonomy, (*self.entries, *entries), who=self.who, now=self._now)
        after._former = self.__dict__.get("cells", {})
        return after

    def by(self, who: str) -> Review:
        """The same review with another person at the desk."""
        return Review(replace(self.counted, revision=self._bears_revision), self.taxonomy, self.entries, who=who, now=self._now)

    # ---- what stands

    @cached_property
    def slide(self) -> Slide:
        """The slide with verdicts applied and added cells, and with what the last signature says of it."""
        after, slide = self._after, self.counted
        fields = []
        for field in slide.fields:
            cells = [self._applied(cell, after.verdicts.get(cell.cell_id, "")) for cell in field.cells]
            cells += [self._added(entry) for entry in after.added.values() if entry.field_index == field.index]
            fields.append(replace(field, cells=tuple(cells)) if after.verdicts or after.added else field)
        slide = replace(slide, fields=tuple(fields))
        if after.revision:
            slide = replace(slide, revision=after.revision, reviewer=after.reviewer, signed_at=after.signed_at)
        if after.signed:
            slide = replace(slide, state=SlideState.SIGNED, review_state=ReviewState.REVIEWED)
        return slide

    @cached_property
    def differential(self) -> ReviewedDifferential:
        """Of the slide as it stands."""
        return reviewed(self.slide, self.taxonomy)

    @cached_property
    def differential_before(self) -> ReviewedDifferential:
        """Of the slide as it was counted."""
        return reviewed(self.counted, self.taxonomy)

    @cached_property
    def cells(self) -> dict[int, ReviewCell]:
        """Every cell of the slide by its id."""
        before = {cell.cell_id: cell for cell in self.counted.cells}
        return {
            cell.cell_id: self._review_cell(cell, field.index, before.get(cell.cell_id))
            for field in self.slide.fields
            for cell in field.cells
        }

    def groups(self) -> tuple[ReviewGroup, ...]:
        """All cells in the order of review: every group, also an empty one, and every cell in one of them."""
        found: dict[str, list[ReviewCell]] = {key: [] for key in _GROUPS}
        for cell in self.cells.values():
            found[self._group_of(cell)].append(cell)
        names = {
            "blasts": _("Blasts and equivalents"),
            "perhaps": _("Unidentified, perhaps a blast"),
            "unidentified": _("Unidentified"),
            "abnormal": _("Other abnormal"),
            "rest": _("All other cells"),
        }
        for cells in found.values():
            cells.sort(key=lambda cell: (cell.certainty, cell.cell_id))
        return tuple(ReviewGroup(key, names[key], tuple(found[key])) for key in _GROUPS)

    @property
    def charts_open(self) -> tuple[int, ...]:
        """Charts that were never joined with the main one and that nobody has acknowledged."""
        return tuple(chart for chart in self.counted.unjoined_charts if chart not in self._after.charts)

    @cached_property
    def breaks(self) -> list[str]:
        """Where the journal's chain is broken; empty while it holds."""
        breaks = verify(self.entries, self.counted.slide_id)
        if self._after.revision < self._bears_revision:
            breaks.append(f"the slide was signed {self._bears_revision} times, its journal knows of {self._after.revision}")
        return breaks

    @property
    def signatures(self) -> tuple[Signature, ...]:
        """All of them, the oldest first."""
        return tuple(
            Signature(entry.number, int(entry.said), entry.who, entry.at, entry.act is Act.SECONDED)
            for entry in self.entries
            if entry.act in (Act.SIGNED, Act.SECONDED)
        )

    def at(self, number: int) -> Review:
        """The review as it stood after the entry of that number."""
        return Review(replace(self.counted, revision=0), self.taxonomy, self.entries[:number], who=self.who, now=self._now)

    def differences(self) -> tuple[Difference, ...]:
        """What stands now against the last signature of another person; empty where there is none."""
        others = [one for one in self.signatures if not one.seconds and one.who.casefold() != self.who.casefold()]
        return differences(self.at(others[-1].number).differential, self.differential) if others else ()

    def blockers(self) -> tuple[Blocker, ...]:
        """All that is in the way of a signature; of kind "few" alone, a signature with a reason is possible."""
        if self._after.signed:
            return (Blocker("state", _("signed already; reopen it for a correction"), 0),)
        if self.counted.state is not SlideState.REVIEW:
            return (Blocker("state", _("the slide is {state}: finish it first").format(state=self.counted.state.value), 0),)
        unidentified = self.differential.unidentified
        unopened = sum(cell.must_open and not cell.opened for cell in self.cells.values())
        charts, cells = len(self.charts_open), self.differential.white_cells
        found = (
            (len(self.breaks), "chain", _("the journal was changed from outside: {where}").format(where="; ".join(self.breaks[:1]))),
            (unidentified, "unidentified", ngettext("{n} cell is unidentified", "{n} cells are unidentified", unidentified)),
            (unopened, "blasts", ngettext("{n} blast was not opened by itself", "{n} blasts were not opened one by one", unopened)),
            (
                charts,
                "charts",
                ngettext("{n} piece of film was never joined", "{n} pieces of film were never joined", charts),
            ),
        )
        blockers = [Blocker(kind, words.format(n=count), count) for count, kind, words in found if count]
        if cells < FEWEST_CELLS:
            words = ngettext("only {n} white cell; give a reason", "only {n} white cells; give a reason", cells).format(n=cells)
            blockers.append(Blocker("few", words, cells))
        return tuple(blockers)

    # ---- what a person does

    def open(self, cell_id: int) -> list[Entry]:
        """A cell was looked at by itself, large. Opening is no change: no undo takes it back."""
        cell = self._cell(cell_id)
        if self.counted.state is not SlideState.REVIEW:
            self._must_be_open()
        return [] if cell.opened or self._after.signed else self._entries([self._entry(Act.OPENED, cell_id, said=cell.said)])

    def name(self, cell_ids: Iterable[int], verdict: str, why: str = "") -> list[Entry]:
        """Say what one or many cells are; cells of which that is said already by a person get no entry."""
        self._must_be_open()
        verdict = self._verdict(verdict)
        cells = [cell for cell in map(self._cell, dict.fromkeys(cell_ids)) if (cell.cell.verdict or None) != verdict]
        return self._entries([self._entry(Act.NAMED, cell.cell_id, cell.said, verdict, why) for cell in cells])

    def add(self, field_index: int, box_px: tuple[float, float, float, float], verdict: str) -> list[Entry]:
        """Add a cell that was missed; its id is the entry's `cell_id`."""
        self._must_be_open()
        verdict = self._verdict(verdict)
        field = next((field for field in self.counted.fields if field.index == field_index), None)
        if field is None:
            raise RefusedError(_("there is no field {n} on this slide").format(n=field_index))
        x1, y1, x2, y2 = (float(value) for value in box_px)
        if not (0 <= x1 < x2 <= field.size_px[0] and 0 <= y1 < y2 <= field.size_px[1]):
            raise RefusedError(_("the box lies outside the field's picture"))
        taken = [cell.cell_id for each in self.counted.fields for cell in (*each.cells, *each.seen)]
        new_id = 1 + max([*taken, *(entry.cell_id for entry in self.entries)], default=0)
        box = (x1, y1, x2, y2)
        return self._entries([self._entry(Act.ADDED, new_id, "", verdict, field_index=field_index, box_px=box)])

    def acknowledge(self, chart: int) -> list[Entry]:
        """Accept a chart that was never joined: cells on it may have been counted twice."""
        self._must_be_open()
        if chart not in self.counted.unjoined_charts:
            raise RefusedError(_("there is no unjoined piece of film {n} on this slide").format(n=chart))
        return [] if chart in self._after.charts else self._entries([self._entry(Act.ACKNOWLEDGED, said=str(chart))])

    def note(self, words: str, cell_id: int = 0) -> list[Entry]:
        """A remark on the slide, or on one cell."""
        self._must_be_open()
        if not words.strip():
            raise RefusedError(_("the note is empty"))
        of = self._cell(cell_id).cell_id if cell_id else 0
        return self._entries([self._entry(Act.NOTED, of, why=" ".join(words.split()))])

    def undo(self) -> list[Entry]:
        """Take back the last change that stands, as far back as the last signature; the undo is an entry itself."""
        self._must_be_open()
        if not self._after.steps:
            raise RefusedError(_("nothing to take back in this review"))
        taken = self._after.steps[-1]
        first = self.entries[taken - 1]
        return self._entries([self._entry(Act.UNDONE, first.cell_id, first.said, first.said_before, step=taken)])

    def sign(self, who: str = "", why: str = "") -> list[Entry]:
        """Sign what stands. why: the reason for signing so few cells. Another person's signature on a signed slide seconds it."""
        who = self._signer(who)
        specimen = self.counted.specimen.casefold()
        if specimen and specimen in why.casefold():
            raise RefusedError(_("the reason is sent with the summary: leave the specimen's number out of it"))
        if self._after.signed and not self.breaks and who.casefold() not in self._after.signers:
            return self._entries([self._by(who, Act.SECONDED, why, self._after.revision)])
        blockers = [one for one in self.blockers() if one.kind != "few" or not why.strip()]
        if blockers:
            raise RefusedError(_("cannot be signed: {why}").format(why="; ".join(one.words for one in blockers)))
        return self._entries([self._by(who, Act.SIGNED, why, self._after.revision + 1)])

    def reopen(self, why: str, who: str = "") -> list[Entry]:
        """Open a signed slide for a correction; the signed report stays what it was."""
        if not self._after.signed:
            raise RefusedError(_("the slide is not signed, so it can be changed as it is"))
        if not why.strip():
            raise RefusedError(_("say why the signed slide is to be corrected"))
        return self._entries([self._by(self._signer(who), Act.REOPENED, why, self._after.revision)])

    # ---- within

    @cached_property
    def _after(self) -> Replay:
        return replay(self.entries)

    def _entry(
        self,
        act: Act,
        cell_id: int = 0,
        said_before: str = "",
        said: str = "",
        why: str = "",
        field_index: int = 0,
        box_px: tuple[float, ...] = (),
        step: int = 0,
    ) -> Entry:
        now = self._now()
        return Entry(0, now, time_trusted(now), self.who, act, cell_id, said_before, said, why, field_index, box_px, step)

    def _by(self, who: str, act: Act, why: str, revision: int) -> Entry:
        entry = self._entry(act, said_before=str(self._after.revision), said=str(revision), why=" ".join(why.split()))
        return replace(entry, who=who)

    def _entries(self, new: list[Entry]) -> list[Entry]:
        """`new` numbered and chained behind what is there."""
        first = number = len(self.entries) + 1
        previous = self.entries[-1].digest if self.entries else first_digest(self.counted.slide_id)
        out = []
        for entry in new:
            out.append(chained(replace(entry, number=number, step=entry.step or first), previous))
            number, previous = number + 1, out[-1].digest
        return out

    def _must_be_open(self) -> None:
        if self.counted.state is not SlideState.REVIEW:
            raise RefusedError(_("the slide is {state}: finish it first").format(state=self.counted.state.value))
        if self._after.signed:
            raise RefusedError(_("the slide is signed; reopen it for a correction"))

    def _signer(self, who: str) -> str:
        who = (who or self.who).strip().upper()
        if not re.fullmatch(r"[^\W\d_]{2,4}", who):
            raise RefusedError(_("sign with your initials, 2 to 4 letters"))
        return who

    def _verdict(self, word: str) -> str:
        try:
            return as_verdict(word, self.taxonomy)
        except ValueError as error:
            raise RefusedError(str(error)) from error

    def _cell(self, cell_id: int) -> ReviewCell:
        if cell_id not in self.cells:
            raise RefusedError(_("there is no cell {n} on this slide").format(n=cell_id))
        return self.cells[cell_id]

    def _applied(self, cell: Cell, verdict: str) -> Cell:
        former = self._former.get(cell.cell_id)
        if verdict and former is not None and former.cell.verdict == verdict and not former.added:
            return former.cell
        return with_verdict(cell, verdict, self.taxonomy)

    def _added(self, entry: Entry) -> Cell:
        x1, y1, x2, y2 = entry.box_px
        unknown = np.full(self.taxonomy.n_logits, np.nan, np.float32)
        plain = Cell(0, 1.0, False, (x1, y1, x2, y2), unknown, cell_id=entry.cell_id)
        return with_verdict(plain, self._after.verdicts.get(entry.cell_id, entry.said), self.taxonomy)

    def _review_cell(self, cell: Cell, field_index: int, before: Cell | None) -> ReviewCell:
        groups_only, opened = bool(self.counted.foreign), cell.cell_id in self._after.opened
        former = self._former.get(cell.cell_id)
        if former is not None and former.cell is cell and former.opened == opened:
            return former
        first = "" if before is None else pre_class(before, self.taxonomy, groups_only)
        now = said(cell, self.taxonomy, groups_only)
        must_open = is_blast(first, self.taxonomy) or is_blast(now, self.taxonomy)
        certainty = 1.0 if before is None else before.certainty(before.told(groups_only))
        return ReviewCell(cell, field_index, first, now, opened, must_open, before is None, certainty)

    def _group_of(self, one: ReviewCell) -> str:
        """A cell that the engine called a blast stays among the blasts, also where a person says otherwise."""
        likest_blast = not one.cell.verdict and self.taxonomy.is_blast(one.cell.class_index)
        if one.must_open:
            return "blasts"
        if one.said == "":
            return "perhaps" if likest_blast or (one.cell.blast_probability or 0.0) >= PERHAPS_FROM else "unidentified"
        likest = self.taxonomy.classes[one.cell.class_index] if one.said == "others" else one.said
        return "abnormal" if likest in self.taxonomy.members("abnormal") else "rest"


def _unsigned(slide: Slide) -> Slide:
    """`slide` as it was when it was finished: what its signatures say is in the journal."""
    return replace(slide, state=SlideState.REVIEW, review_state=ReviewState.UNREVIEWED, revision=0, reviewer="", signed_at=None)
