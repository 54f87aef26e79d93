"""What was measured, as a table in the terminal and as a section of docs/benchmarks.md; nothing is measured here."""

from __future__ import annotations

from dataclasses import astuple, dataclass

from rich.console import Console
from rich.table import Table

from engines.bench.machine import Machine
from engines.bench.section import STAGE_WORDS, count, engine_lines, section_head
from engines.bench.spread import Spread
from engines.runtime.base import EngineInfo

_STAGES = STAGE_WORDS | {
    "slide and record": "slide and record: rest, new field, crops, SQLite",
    "screen": "drawing the screen, 1920 x 1080",
}


@dataclass(frozen=True)
class Measured:
    """The whole result. Spreads are over repeats, whose stage times are means over frames; load: of the machine before (1 minute).

    shown: cells and artefacts on the screen, over the frames. processor_ms: of a frame, all threads; a busy machine hardly changes it.
    around_ms: preprocessing, suppression and screen of one frame together, a reading's median over its frames. counting_ms: slide and
    record on the single frames that counted a field. jpeg_fps and peak_mib: of a process of its own that read the frames as JPEG files
    by the replay camera, once.
    """

    machine: Machine
    load: float
    engine: EngineInfo
    threads: int
    source: str
    size_px: tuple[int, int]
    frames: int
    repeats: int
    fields: int
    cells: int
    shown: Spread
    path_fps: Spread
    network_fps: Spread
    path_over_network: Spread
    jpeg_fps: float
    peak_mib: float
    frame_ms: Spread
    processor_ms: Spread
    stages_ms: dict[str, Spread]
    around_ms: Spread
    counting_ms: Spread | None
    decode_ms: Spread
    hand_over_ms: Spread


def section_text(measured: Measured, command: str) -> str:
    """The section in Markdown, ending in a newline. command: what reproduces it."""
    m = measured
    counting = [] if m.counting_ms is None else [f"| slide and record, on a frame that counts a field | {_ms(m.counting_ms)} |"]
    speeds = {"the two graphs alone, on the same letterboxed pictures": (m.network_fps, ".2f")}
    speeds["whole way / graphs alone, in the same reading"] = (m.path_over_network, ".0%")
    lines = [
        *section_head("The whole way of a frame", command, m.machine, m.load),
        *engine_lines(m.engine, m.threads, m.machine),
        f"- Input: {m.frames} frames of {m.size_px[0]} x {m.size_px[1]} px held in memory ({m.source}); on them "
        f"{count(m.fields, 'field')} {'was' if m.fields == 1 else 'were'} counted, with {m.cells} cells in all. "
        f"The screen showed {m.shown.median:.0f} cells and artefacts a frame (median; {m.shown.low:.0f} to {m.shown.high:.0f}).",
        f"- Median of {count(m.repeats, 'reading')} of these frames, with the smallest and the largest; "
        "a reading's stage is the mean over its frames, so that stages add up.",
        "",
        "| | median | smallest to largest |",
        "|---|---:|---:|",
        f"| **whole way, frames a second** (camera thread, engine, slide, record, screen) | **{m.path_fps.median:.2f}** | "
        f"{m.path_fps.range()} |",
        *(f"| {words} | {spread.median:{form}} | {spread.range(form)} |" for words, (spread, form) in speeds.items()),
        f"| whole way from JPEG files, decoded in the camera thread (one reading) | {m.jpeg_fps:.2f} | |",
        f"| peak resident memory of that reading, in a process of its own | {m.peak_mib:.0f} MiB | |",
        "",
        "| Stage of a frame | ms | smallest to largest | share |",
        "|---|---:|---:|---:|",
        *(f"| {row} |" for row in _stage_rows(m)),
        f"| **whole frame** | **{m.frame_ms.median:.1f}** | {m.frame_ms.range('.1f')} | 100% |",
        "",
        "| Beside it | ms | smallest to largest |",
        "|---|---:|---:|",
        f"| **around the network**: preprocess, suppression, screen of a frame together, median of the frames | {_ms(m.around_ms)} |",
        *counting,
        f"| processor time of a whole frame, all threads together | {_ms(m.processor_ms)} |",
        f"| hand-over from the camera thread to the engine's | {_ms(m.hand_over_ms)} |",
        f"| JPEG decode of one such frame, for comparison: an MJPG camera's driver does it in the camera thread | {_ms(m.decode_ms)} |",
    ]
    return "\n".join(lines) + "\n"


def print_measured(measured: Measured, console: Console) -> None:
    """The result in the terminal."""
    m = measured
    table = Table(title=f"{m.engine.label} on {m.engine.runtime}", title_justify="left", show_edge=False)
    table.add_column("")
    for name in ("median", "smallest", "largest"):
        table.add_column(name, justify="right")
    rows = {
        "whole way, frames a second": (m.path_fps, ".2f"),
        "graphs alone, frames a second": (m.network_fps, ".2f"),
        "whole way / graphs alone": (m.path_over_network, ".0%"),
    }
    times = {_STAGES.get(name, name): spread for name, spread in m.stages_ms.items()}
    times |= {"whole frame": m.frame_ms, "around the network": m.around_ms, "processor time": m.processor_ms}
    times |= {"hand-over": m.hand_over_ms, "JPEG decode": m.decode_ms}
    rows |= {f"{name}, ms": (spread, ".1f") for name, spread in times.items()}
    for name, (spread, form) in rows.items():
        style = "bold" if name.endswith("a second") else None
        table.add_row(name, *(f"{v:{form}}" for v in astuple(spread)), style=style)
    table.add_row("peak resident memory, MiB", f"{m.peak_mib:.0f}")
    console.print(table)


def _stage_rows(measured: Measured) -> list[str]:
    whole = measured.frame_ms.median
    rows = [(_STAGES.get(name, name), spread) for name, spread in measured.stages_ms.items()]
    lines = [f"{name} | {_ms(spread)} | {spread.median / whole:.0%}" for name, spread in rows]
    rest = whole - sum(spread.median for _, spread in rows)
    return [*lines, f"the rest: hand-over, boxes back to the frame, commands | {rest:.1f} | | {rest / whole:.0%}"]


def _ms(spread: Spread) -> str:
    form = ".2f" if spread.median < 1 else ".1f"
    return f"{spread.median:{form}} | {spread.range(form)}"
