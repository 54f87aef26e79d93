"""What `attridet bench` measured, as tables in the terminal."""

from __future__ import annotations

from rich.console import Console, RenderableType

from engines.bench.measure import WHOLE, Measured
from engines.bench.page import agreement_words, energy_words, milliseconds, row_text
from engines.bench.section import STAGE_WORDS
from engines.commands.terminal import table_of


def tables(measured: Measured) -> list[RenderableType]:
    """The result for the terminal."""
    m = measured
    speed = table_of(f"{m.engine.label} on {m.engine.runtime}", "", ("frames/s", "range", "whole path ÷ it", "detection ÷ it"))
    spent = table_of("Milliseconds", "", ("p50", "p90", "p99", "processor"))
    for row in m.rows:
        style = "bold" if row.key == WHOLE else None
        name, *cells = (cell.strip() for cell in row_text(row).replace("**", "").split("|"))
        speed.add_row(name, *cells[:4], style=style)
        spent.add_row(name, *cells[5:], cells[4], style=style)
    for name, p in m.stages_ms.items():
        spent.add_row(STAGE_WORDS[name], *milliseconds(p).split(" | "))
    return [speed, spent, f"{agreement_words(m)} Peak memory {m.peak_mib:.0f} MiB. {energy_words(m)}"]


def print_measured(measured: Measured, console: Console) -> None:
    """The result in the terminal."""
    for part in tables(measured):
        console.print(part)
