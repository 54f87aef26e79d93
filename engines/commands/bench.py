"""`attridet bench`."""

from __future__ import annotations

from engines.bench import BenchRequest


def bench(request: BenchRequest) -> None:
    """Measure an engine on this machine: each stage, the whole path, the graphs alone, memory, energy; beside others' programs."""
    from engines.bench import bench as run
    from engines.bench.measure import WHOLE
    from engines.bench.page import agreement_words, energy_words, milliseconds, row_text
    from engines.bench.section import STAGE_WORDS
    from engines.commands.terminal import Terminal, table_of

    with Terminal() as terminal:
        result = run(request, terminal)
        m = result.measured
        speed = table_of(f"{m.engine.label} on {m.engine.runtime}", "", ("frames/s", "range", "whole path ÷ it", "detection ÷ it"))
        spent = table_of("Milliseconds", "", ("p50", "p90", "p99", "processor"))
        for row in m.rows:
            style = "bold" if row.key == WHOLE else None
            name, *cells = (cell.strip() for cell in row_text(row).replace("**", "").split("|"))
            speed.add_row(name, *cells[:4], style=style)
            spent.add_row(name, *cells[5:], cells[4], style=style)
        for name, p in m.stages_ms.items():
            spent.add_row(STAGE_WORDS[name], *milliseconds(p).split(" | "))
        for part in (speed, spent, f"{agreement_words(m)} Peak memory {m.peak_mib:.0f} MiB. {energy_words(m)}"):
            terminal.console.print(part)
        for path in result.written:
            terminal.message(f"written: {path}")
