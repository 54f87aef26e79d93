"""The record's slides as a table in the terminal. One slide as a page is `page`'s."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text

from device.slide.description import NOTICE
from device.slide.model import ReviewState, SlideState
from device.slide.picture_state import PictureState
from device.slide.tally import differential
from device.store import SlideHeader, Store, StoredSlide

_STATE_STYLES = {SlideState.ABORTED: "bold red", SlideState.COUNTING: "green", SlideState.PAUSED: "yellow"}


def print_slides(record_path: Path, limit: int, console: Console | None = None) -> None:
    """Print the newest `limit` slides of the record, newest first. Raises StoreError (no record, or it cannot be read)."""
    console = console or Console()
    with Store.read(record_path) as store:
        headers = store.slides(limit + 1)
        if not headers:
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
        poor = False
        for header in headers[:limit]:
            stored = store.slide(header.slide_id)
            state = PictureState.of(stored.slide)
            poor = poor or bool(state.sentences(only_grave=True))
            table.add_row(*_row(header, stored, state))
    console.print(table)
    doubtful = any(not header.time_trusted for header in headers[:limit])
    console.print(Text(f"{'* the clock of the device was not synchronised. ' if doubtful else ''}{NOTICE}", style="dim"))
    if poor:
        console.print(Text("! poor, blank or unread pictures, or more cells than counted: see its page.", style="yellow"))
    if len(headers) > limit:
        console.print(Text(f"There are older ones: `leukoscope slides --limit {2 * limit}`.", style="dim"))


def _row(header: SlideHeader, stored: StoredSlide, state: PictureState) -> tuple[Text, ...]:
    tally = differential(stored.slide.cells, stored.provenance.model.taxonomy)
    share = f"{tally.blast_percent:.1f} %" if tally.white_cells else "-"
    reviewed = header.review_state is ReviewState.REVIEWED
    started = f"{header.started_at:%Y-%m-%d %H:%M}{'' if header.time_trusted else ' *'}"
    return (
        Text(header.slide_id),
        Text.assemble(
            (f"{header.state.value} ", _STATE_STYLES.get(header.state, "")),
            (header.review_state.value.upper(), "" if reviewed else "yellow"),
        ),
        Text(f"{header.fields} !" if state.sentences(only_grave=True) else str(header.fields), style="yellow" if state.faults else ""),
        Text(f"{'≥ ' if state.at_limit else ''}{tally.white_cells}"),
        Text(share, style="bold red" if tally.blasts else ""),
        Text(started, style="" if header.time_trusted else "yellow"),
        Text(header.model),
    )
