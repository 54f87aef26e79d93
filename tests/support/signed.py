"""Slides that a person reviewed and signed, as the record would give them back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timedelta, timezone

from device.report.case import Case
from device.review.journal import Entry
from device.review.review import Review
from device.slide.verdict import numbered
from device.store import StoredSlide

BEGUN = datetime(2026, 3, 2, 10, 0, tzinfo=timezone.utc)


class Desk:
    """A person who reviews: every act is written into `entries`, a second after the one before."""

    def __init__(self, stored: StoredSlide, who: str = "AB", entries: tuple[Entry, ...] = ()) -> None:
        self.stored, self.seconds, self.begun = stored, 0, BEGUN
        entries = entries or stored.review
        self.review = Review(stored.slide, stored.provenance.model.taxonomy, entries, who=who, now=self.now)

    def now(self) -> datetime:
        self.seconds += 1
        return self.begun + timedelta(seconds=self.seconds)

    def act(self, entries: list[Entry]) -> None:
        self.review = self.review.after(entries)

    def open_all(self) -> None:
        """Look at every cell by itself."""
        for cell_id in self.review.cells:
            self.act(self.review.open(cell_id))

    def name_the_unidentified(self, verdict: str) -> None:
        self.act(self.review.name([cell.cell_id for cell in self.review.cells.values() if cell.said == ""], verdict))

    def sign(self, why: str = "few cells on the film") -> None:
        self.act(self.review.sign(why=why))

    def case(self) -> Case:
        """The slide as the record holds it after these acts: cells as they were counted, and what the last signature says."""
        slide = self.review.slide
        of_signature = {key: getattr(slide, key) for key in ("state", "review_state", "revision", "reviewer", "signed_at")}
        slide = replace(numbered(self.stored.slide), **of_signature)
        return Case(replace(self.stored, slide=slide, review=self.review.entries))


def signed(stored: StoredSlide, verdicts: Mapping[int, str] | None = None, rest: str = "not_classed") -> Case:
    """`stored` with all cells looked at, these named, whatever is unidentified named `rest`, and signed by AB."""
    desk = Desk(stored)
    desk.open_all()
    for cell_id, verdict in (verdicts or {}).items():
        desk.act(desk.review.name([cell_id], verdict))
    desk.name_the_unidentified(rest)
    desk.sign()
    return desk.case()
