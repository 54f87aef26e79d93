"""The record's slides in the terminal: as a table, one by itself, and what is deleted. One slide as a page is `page`'s."""

from __future__ import annotations

import json
from datetime import datetime, timezone
from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text

from device.report.case import Case, Kind, Line
from device.report.keeping import candidates, check_words, delete
from device.report.page import read_slide
from device.report.review_part import doubts, hints, standing
from device.slide.doubt import FOREIGN, limit_words, sensitivity, zero_limit
from device.slide.model import ReviewState, SlideState
from device.slide.picture_state import PictureState, count_of
from device.slide.tally import reviewed
from device.store import Store, StoredSlide
from engines.pages import NOTICE

_GOING, _STAYS = "goes", "stays"

_STATE_STYLES = {SlideState.ABORTED: "bold red", SlideState.COUNTING: "green", SlideState.PAUSED: "yellow"}


def print_slides(record_path: Path, limit: int, console: Console | None = None) -> None:
    """Print the newest `limit` slides of the record, newest first. Raises StoreError (no record, or it cannot be read)."""
    console = console or Console()
    with Store.read(record_path) as store:
        newest, damaged = store.readable(store.slide_ids(limit))
        put_aside = {row.name: row.why for row in store.quarantine(kind="slide")}
        older = len(store.slide_ids(limit + 1)) > limit
    for error in damaged:
        console.print(Text(str(error), style="bold red"))
    for stored in newest:
        if why := put_aside.get(stored.slide.slide_id):
            console.print(
                Text(f"slide {stored.slide.slide_id} is damaged and was put aside: {why}; see leukoscope verify", style="bold red")
            )
    if not newest:
        console.print(Text(f"No slides yet in {record_path}." if not damaged else ""))
        return
    gap = 1 if console.width < 100 else 2
    table = Table(title=Text(f"Slides in {record_path}, newest first"), title_justify="left", box=None, padding=(0, gap, 0, 0))
    table.add_column("Slide,\nspecimen" if any(stored.slide.specimen for stored in newest) else "Slide", no_wrap=True)
    table.add_column("State,\nreview", min_width=10)
    for name, width in (("Fields", 6), ("White\ncells", 5), ("Blasts", 6)):
        table.add_column(name, justify="right", min_width=width)
    table.add_column("Started\n(UTC)", min_width=10)
    table.add_column("Model", overflow="fold")
    poor = [bool(PictureState.of(stored.slide).sentences(only_grave=True)) for stored in newest]
    for stored, is_poor in zip(newest, poor, strict=True):
        table.add_row(*_row(stored, is_poor))
    console.print(table)
    if any(stored.slide.foreign for stored in newest):
        console.print(Text(f"FOREIGN FILM: {FOREIGN}", style="yellow"))
    counts = [(stored, reviewed(stored.reviewed, stored.provenance.model.taxonomy)) for stored in newest]
    zeros = {sensitivity(s.provenance.model.naming, s.slide.foreign): None for s, n in counts if n.white_cells and not n.blasts}
    if zeros:
        words = f"0, ≤ 3 %: no blast was told; up to so many of the cells told may be blasts unseen. {' '.join(zeros)}"
        console.print(Text(words, style="yellow"))
    doubtful = not all(stored.provenance.time_trusted for stored in newest)
    console.print(Text(f"{'* the clock of the device was not synchronised. ' if doubtful else ''}{NOTICE}", style="dim"))
    if any(poor):
        console.print(Text("! poor, blank or unread pictures, or more cells than counted: see its page.", style="yellow"))
    if older:
        console.print(Text(f"There are older ones: `leukoscope slides --limit {2 * limit}`.", style="dim"))


def _row(stored: StoredSlide, is_poor: bool) -> tuple[Text, ...]:
    slide, made = stored.reviewed, stored.provenance
    counted = reviewed(slide, made.model.taxonomy)
    share = f"{counted.blast_percent:.1f} %" if counted.blasts else f"0\n≤ {limit_words(counted.blast_range[1])}"
    is_reviewed = slide.review_state is ReviewState.REVIEWED
    started = f"{slide.started_at:%Y-%m-%d %H:%M}{'' if made.time_trusted else ' *'}"
    return (
        Text("\n".join(filter(None, (slide.slide_id, slide.specimen, f"signed {slide.reviewer}, r{slide.revision}" * is_reviewed)))),
        Text.assemble(
            (f"{slide.state.value} ", _STATE_STYLES.get(slide.state, "")),
            (slide.review_state.value.upper(), "" if is_reviewed else "yellow"),
            (" FOREIGN FILM", "bold yellow") if slide.foreign else "",
        ),
        Text(f"{len(slide.fields)} !" if is_poor else str(len(slide.fields)), style="yellow" if is_poor else ""),
        Text(f"{'≥ ' if PictureState.of(slide).at_limit else ''}{counted.white_cells}"),
        Text(share if counted.white_cells else "-", style="bold red" if counted.blasts else ""),
        Text(started, style="" if made.time_trusted else "yellow"),
        Text(made.model.label),
    )


def print_slide(record_path: Path, slide_id: str, console: Console | None = None) -> None:
    """Print one slide: who, when, the differential before and after the review. Raises StoreError (no record, no such slide)."""
    console = console or Console()
    case = Case(read_slide(record_path, slide_id))
    slide, made = case.slide, case.stored.provenance
    signature, review, doubt = standing(case)
    console.print(Text.assemble((f"{review}  ", "bold" if signature else "bold yellow"), (NOTICE, "dim")))
    signed = "" if signature is None else f"{' '.join((signature.who, *signature.seconded))}, {signature.at:%Y-%m-%d %H:%M} UTC"
    facts = {
        "Slide": f"{slide.slide_id}, {slide.state.value}{f': {slide.abort_reason}' if slide.abort_reason else ''}",
        "Specimen": slide.specimen,
        "Counted by": slide.operator,
        "Signed by": f"{signed}, revision {slide.revision}" if signed else "",
        "Begun": f"{slide.started_at:%Y-%m-%d %H:%M} UTC{'' if made.time_trusted else ' (clock not synchronised)'}",
        "Fields": f"{len(slide.fields)}, {slide.fields_undone} taken back",
        "Model": made.model.label,
    }
    for name, words in facts.items():
        if words:
            console.print(Text(f"{name + ':':12}{words}"))
    for warning in (*([doubt] if doubt else []), *doubts(case), *hints(case)):
        console.print(Text(warning, style="yellow"))
    table = Table(box=None, padding=(0, 2, 0, 0))
    for name in ("", "Before", "%", "Now", "%", "95 % range"):
        table.add_column(name, justify="left" if not name else "right")
    for line in case.lines:
        if line.count or line.before or line.kind is Kind.SUM:
            table.add_row(*(Text(words, style="bold red" if line.blast and line.count else "") for words in _line(line)))
    console.print(table)
    if case.after.white_cells and not case.after.blasts:
        console.print(
            Text(f"No blast was told: {zero_limit(case.after)}. {sensitivity(made.model.naming, slide.foreign)}", style="yellow")
        )


def _line(line: Line) -> tuple[str, ...]:
    per_100 = line.kind is Kind.PER_100
    now = f"{line.value:.1f}{' per 100' if per_100 else ''}" if line.whole else ""
    limits = "" if line.low is None or line.high is None else f"{line.low:.1f} to {limit_words(line.high)}"
    return line.name, str(line.before), "" if per_100 else f"{line.value_before:.1f}", str(line.count), now, limits


def print_deletion(
    record_path: Path,
    older_than_days: int,
    who: str,
    why: str,
    *,
    signed: bool,
    do_it: bool,
    now: datetime | None = None,
    console: Console | None = None,
) -> int:
    """Say which slides go and which stay, and with `do_it` delete them; the exit code. Raises StoreError."""
    console, now = console or Console(), now or datetime.now(timezone.utc)
    with Store.read(record_path) as store:
        old = candidates(store, older_than_days, signed, now)
    check_words(who, why, old)
    for one in old:
        words = f"{_STAYS}: {one.stays}" if one.stays else _GOING
        console.print(
            Text(f"{one.slide_id}  {one.ended:%Y-%m-%d}  {one.state}, {one.cells} cells: {words}", style="dim" if one.stays else "")
        )
    going = [one for one in old if not one.stays]
    if not do_it:
        then = "say --yes to delete them" if going else "nothing to delete"
        console.print(Text(f"{count_of(len(going), 'slide')} of {len(old)} older than {count_of(older_than_days, 'day')}; {then}."))
        return 0
    done = delete(record_path, old, who, why, now)
    words = f"{count_of(len(done.slides), 'slide')} deleted, with {count_of(done.pictures, 'picture')}"
    console.print(Text(f"{words}; `leukoscope slides deleted` lists what was deleted so far."))
    for words in done.left:
        console.print(Text(words, style="yellow"))
    return 1 if done.left else 0


def print_deletions(record_path: Path, console: Console | None = None) -> None:
    """Print the record's log of deletions. Raises StoreError."""
    console = console or Console()
    with Store.read(record_path) as store:
        gone = store.deletions()
    if not gone:
        console.print(Text(f"Nothing was deleted from {record_path}."))
    for one in gone:
        what = ", ".join(f"{name} {value}" for name, value in json.loads(one.what).items())
        console.print(Text(f"{one.at:%Y-%m-%d %H:%M}  {one.slide_id}  {one.who}: {one.why} ({what})"))
