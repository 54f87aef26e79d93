"""What was measured, as a table in the terminal and as a section of docs/benchmarks.md between markers; nothing is measured here."""

from __future__ import annotations

import os
import platform
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from statistics import median

import cv2
from rich.console import Console
from rich.table import Table
from typing_extensions import Self

from device.errors import ConfigError, StoreError
from device.report.whole import write_whole
from engines.runtime.base import EngineInfo

_HEAD = """# Benchmarks

Measured, never estimated. Each section below is written by the command that stands in it, which replaces that section and nothing else;
run it on your machine before you rely on a number. Speed only: what the networks find is judged elsewhere.
"""
_STAGES = {
    "preprocess": "preprocess: letterbox",
    "detector": "detector graph",
    "nms": "non-maximum suppression",
    "attributes": "attribute graph",
    "slide and record": "slide and record: rest, new field, crops, SQLite",
    "screen": "drawing the screen, 1920 x 1080",
}


@dataclass(frozen=True)
class Spread:
    """Median of several repeats, the smallest and the largest."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Self:
        return cls(median(values), min(values), max(values))


@dataclass(frozen=True)
class Machine:
    """What it was measured on; no names of hosts or people."""

    processor: str
    cores: int
    memory_gib: float | None
    system: str
    python: str
    opencv: str


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


def machine() -> Machine:
    """This machine."""
    memory = None
    if hasattr(os, "sysconf") and "SC_PHYS_PAGES" in os.sysconf_names:
        memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    system = f"{platform.system()} {platform.machine()}"
    return Machine(_processor(), cores, memory, system, platform.python_version(), cv2.__version__)


def section_text(measured: Measured, command: str) -> str:
    """The section in Markdown, ending in a newline. command: what reproduces it."""
    m, engine, host = measured, measured.engine, measured.machine
    memory = f", {host.memory_gib:.0f} GiB" if host.memory_gib is not None else ""
    busy = f"load average {m.load:.1f} before the run" + (
        ": **the machine was busy, so times are longer than they need be**" if m.load > 0.5 * host.cores else ""
    )
    counting = [] if m.counting_ms is None else [f"| slide and record, on a frame that counts a field | {_ms(m.counting_ms)} |"]
    lines = [
        "## The whole way of a frame",
        "",
        f"`{command}`, {datetime.now(timezone.utc):%Y-%m-%d}.",
        "",
        f"- Machine: {host.processor}, {host.cores} {'core' if host.cores == 1 else 'cores'}{memory}, {host.system}; {busy}.",
        f"- Software: Python {host.python}, {engine.runtime} with {m.threads} {'thread' if m.threads == 1 else 'threads'}, "
        f"OpenCV {host.opencv}.",
        f"- Engine: {engine.name} {engine.version}, {engine.precision}, input {engine.input_hw[1]} x {engine.input_hw[0]} px, "
        f"digest `{engine.digest}`.",
        f"- Input: {m.frames} frames of {m.size_px[0]} x {m.size_px[1]} px held in memory ({m.source}); on them "
        f"{m.fields} {'field was' if m.fields == 1 else 'fields were'} counted, with {m.cells} cells in all. "
        f"The screen showed {m.shown.median:.0f} cells and artefacts a frame (median; {m.shown.low:.0f} to {m.shown.high:.0f}).",
        f"- Median of {m.repeats} {'reading' if m.repeats == 1 else 'readings'} of these frames, with the smallest and the largest; "
        "a reading's stage is the mean over its frames, so that stages add up.",
        "",
        "| | median | smallest to largest |",
        "|---|---:|---:|",
        f"| **whole way, frames a second** (camera thread, engine, slide, record, screen) | **{m.path_fps.median:.2f}** | "
        f"{m.path_fps.low:.2f} to {m.path_fps.high:.2f} |",
        f"| the two graphs alone, on the same letterboxed pictures | {m.network_fps.median:.2f} | "
        f"{m.network_fps.low:.2f} to {m.network_fps.high:.2f} |",
        f"| whole way / graphs alone, in the same reading | {m.path_over_network.median:.0%} | "
        f"{m.path_over_network.low:.0%} to {m.path_over_network.high:.0%} |",
        f"| whole way from JPEG files, decoded in the camera thread (one reading) | {m.jpeg_fps:.2f} | |",
        f"| peak resident memory of that reading, in a process of its own | {m.peak_mib:.0f} MiB | |",
        "",
        "| Stage of a frame | ms | smallest to largest | share |",
        "|---|---:|---:|---:|",
        *(f"| {row} |" for row in _stage_rows(m)),
        f"| **whole frame** | **{m.frame_ms.median:.1f}** | {m.frame_ms.low:.1f} to {m.frame_ms.high:.1f} | 100% |",
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
    per_second = {"whole way, frames a second": m.path_fps, "graphs alone, frames a second": m.network_fps}
    for name, spread in per_second.items():
        table.add_row(name, *(f"{v:.2f}" for v in (spread.median, spread.low, spread.high)), style="bold")
    ratio = m.path_over_network
    table.add_row("whole way / graphs alone", *(f"{v:.0%}" for v in (ratio.median, ratio.low, ratio.high)))
    stages = {_STAGES.get(name, name): spread for name, spread in m.stages_ms.items()}
    for name, spread in {
        **stages,
        "whole frame": m.frame_ms,
        "around the network": m.around_ms,
        "processor time": m.processor_ms,
        "hand-over": m.hand_over_ms,
        "JPEG decode": m.decode_ms,
    }.items():
        table.add_row(f"{name}, ms", *(f"{v:.1f}" for v in (spread.median, spread.low, spread.high)))
    table.add_row("peak resident memory, MiB", f"{m.peak_mib:.0f}")
    console.print(table)


def update_section(path: Path, name: str, text: str | None) -> None:
    """Replace the section `name` of the Markdown file, or add it; `text` None only checks that this could be done.

    Raises ConfigError for a name that cannot be one, or markers that do not match; StoreError when the file cannot be read or written.
    """
    if not re.fullmatch(r"[a-z0-9][a-z0-9.-]*", name):
        raise ConfigError(f"a section is named in small letters, digits, '-' and '.', not {name!r}")
    begin, end = f"<!-- bench {name}: begin -->", f"<!-- bench {name}: end -->"
    try:
        before = path.read_text(encoding="utf-8") if path.exists() else _HEAD
    except (OSError, UnicodeDecodeError) as error:
        raise StoreError(f"{path}: cannot be read ({error}); name another file with --out") from error
    if (before.count(begin), before.count(end)) not in ((0, 0), (1, 1)) or before.find(end) < before.find(begin):
        raise ConfigError(f"{path}: the markers '{begin}' and '{end}' do not match; mend them, or remove both")
    if text is None:
        return
    block = f"{begin}\n\n{text.strip()}\n\n{end}"
    if begin in before:
        head, _, rest = before.partition(begin)
        after = head + block + rest.partition(end)[2]
    else:
        after = f"{before.rstrip()}\n\n{block}\n"
    write_whole(path, after)


def _stage_rows(measured: Measured) -> list[str]:
    whole = measured.frame_ms.median
    rows = [(_STAGES.get(name, name), spread) for name, spread in measured.stages_ms.items()]
    lines = [f"{name} | {_ms(spread)} | {spread.median / whole:.0%}" for name, spread in rows]
    rest = whole - sum(spread.median for _, spread in rows)
    return [*lines, f"the rest: hand-over, boxes back to the frame, commands | {rest:.1f} | | {rest / whole:.0%}"]


def _ms(spread: Spread) -> str:
    digits = 2 if spread.median < 1 else 1
    return f"{spread.median:.{digits}f} | {spread.low:.{digits}f} to {spread.high:.{digits}f}"


def _processor() -> str:
    """The processor's own name, or the board's where the kernel gives none (ARM)."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    named = [line.partition(":")[2].strip() for line in lines if line.startswith(("model name", "Model"))]
    board = Path("/proc/device-tree/model")
    if not named and board.is_file():
        named = [board.read_text(errors="replace").strip("\0 \n")]
    return named[0] if named else platform.processor() or platform.machine()
