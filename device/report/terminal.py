"""The record's slides as a table in the terminal. One slide as a page is `page`'s."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text

from device.slide.doubt import FOREIGN, limit_words, sensitivity
from device.slide.model import ReviewState, SlideState
from device.slide.picture_state import PictureState
from device.slide.tally import tally
from device.store import Store, StoredSlide
from engines.pages import NOTICE

_STATE_STYLES = {SlideState.ABORTED: "bold red", SlideState.COUNTING: "green", SlideState.PAUSED: "yellow"}


def print_slides(record_path: Path, limit: int, console: Console | None = None) -> None:
    """Print the newest `limit` slides of the record, newest first. Raises StoreError (no record, or it cannot be read)."""
    console = console or Console()
    with Store.read(record_path) as store:
        newest = store.slides(limit)
        older = len(store.slide_ids(limit + 1)) > limit
    if not newest:
        console.print(Text(f"No slides yet in {record_path}."))
        return
    gap = 1 if console.width < 100 else 2
    table = Table(title=Text(f"Slides in {record_path}, newest first"), title_justify="left", box=None, padding=(0, gap, 0, 0))
    table.add_column("Slide", no_wrap=True)
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
    counts = [(stored, tally(stored.slide, stored.provenance.model.taxonomy)) for stored in newest]
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
    slide, made = stored.slide, stored.provenance
    counted = tally(slide, made.model.taxonomy)
    share = f"{counted.blast_percent:.1f} %" if counted.blasts else f"0\n≤ {limit_words(counted.blast_range[1])}"
    reviewed = slide.review_state is ReviewState.REVIEWED
    started = f"{slide.started_at:%Y-%m-%d %H:%M}{'' if made.time_trusted else ' *'}"
    return (
        Text(slide.slide_id),
        Text.assemble(
            (f"{slide.state.value} ", _STATE_STYLES.get(slide.state, "")),
            (slide.review_state.value.upper(), "" if reviewed else "yellow"),
            (" FOREIGN FILM", "bold yellow") if slide.foreign else "",
        ),
        Text(f"{len(slide.fields)} !" if is_poor else str(len(slide.fields)), style="yellow" if is_poor else ""),
        Text(f"{'≥ ' if PictureState.of(slide).at_limit else ''}{counted.white_cells}"),
        Text(share if counted.white_cells else "-", style="bold red" if counted.blasts else ""),
        Text(started, style="" if made.time_trusted else "yellow"),
        Text(made.model.label),
    )
