"""The compared trainings as a table in the terminal and as a section of docs/benchmarks.md; nothing is measured here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from rich import box
from rich.console import Console
from rich.table import Table

from engines.bench.machine import Machine
from engines.bench.section import count, section_head
from engines.bench.spread import Spread
from engines.bench.training_programs import CLASSES, Program, Settings


@dataclass(frozen=True)
class Row:
    """One program's result. Spreads are over rounds; times: by key of a peer, its processor time over ours in the same round."""

    program: Program
    size: str
    per_s: Spread
    processor_ms: Spread
    times: Mapping[str, Spread]


@dataclass(frozen=True)
class TrainingMeasured:
    """The whole result. load: of the machine before (1 minute). torch: ours. epochs: counted of each training. notes: remarks.

    cells: labelled on a picture, mean; a mosaic is of four pictures and holds about so many as four share its area.
    """

    machine: Machine
    load: float
    torch: str
    data: str
    pictures: int
    cells: float
    epochs: int
    settings: Settings
    rounds: int
    rows: tuple[Row, ...]
    notes: tuple[str, ...] = ()

    @property
    def peers(self) -> list[Program]:
        return [row.program for row in self.rows if row.program.peer]


def rows_of(readings: Sequence[tuple[Program, str, Sequence[float], Sequence[float]]]) -> tuple[Row, ...]:
    """Rows from (program, its size in words, pictures a second, processor ms) with a number for each round."""
    peers = {program.key: processor_ms for program, _, _, processor_ms in readings if program.peer}

    def times(program: Program, own: Sequence[float]) -> dict[str, Spread]:
        others = {} if program.peer or not all(own) else peers  # a system that tells no processor time says 0
        return {key: Spread.of([its / mine for its, mine in zip(theirs, own, strict=True)]) for key, theirs in others.items()}

    return tuple(
        Row(program, size, Spread.of(per_s), Spread.of(processor_ms), times(program, processor_ms))
        for program, size, per_s, processor_ms in readings
    )


def training_text(measured: TrainingMeasured, command: str) -> str:
    """The section in Markdown, ending in a newline. command: what reproduces it."""
    m, host = measured, measured.machine
    heads, same = "".join(f" {peer.label} ÷ it |" for peer in m.peers), m.settings
    lines = [
        *section_head("Training speed", command, host, m.load),
        f"- Software: Python {host.python}, torch {m.torch}; {'; '.join(peer.software for peer in m.peers)}. Others' programs run in "
        f"an environment of their own (`pip install {' '.join(peer.key for peer in m.peers)}`; PYTHON is its Python) and are no "
        "part of this project.",
        f"- The same for all: {m.pictures} pictures of `{m.data}` with {m.cells:.1f} labelled cells each, held in memory, "
        f"{same.imgsz} px, batches of {same.batch}, "
        f"{count(same.threads, 'thread')}, size n with {CLASSES} classes from random weights, SGD with momentum, mosaic and the "
        "published augmentation (set low), EMA, a checkpoint after each epoch, no autoanchor, no plots.",
        f"- {count(m.rounds, 'round')}, in each every program once, in turned order; {count(m.epochs, 'epoch')} of a training "
        "counted, after a first one. Median, smallest and largest. Processor time is of all threads and processes together, and the "
        "load of a machine changes it least: quotients are of it, in the same round (above 1: ours takes less).",
        "",
        f"| training | arithmetic | processes for pictures | processor ms a picture | smallest to largest |{heads} pictures/s | "
        "smallest to largest |",
        f"|---|---|---:|---:|---:|{'---:|' * len(m.peers)}---:|---:|",
        *(_line(row, m.peers) for row in m.rows),
        "",
        "What is not the same:",
        "",
        *(f"- {text}" for text in (*_differences(m), *m.notes)),
    ]
    return "\n".join(lines) + "\n"


def _line(row: Row, peers: Sequence[Program]) -> str:
    times = (f"{row.times[p.key]:.2f}" if p.key in row.times else "" for p in peers)
    program, cost = row.program, (f"**{row.processor_ms.median:.1f}**", row.processor_ms.range(".1f"))
    speed = f"{row.per_s.median:.2f}", row.per_s.range()
    return f"| {' | '.join((program.label, program.arithmetic, str(program.workers), *cost, *times, *speed))} |"


def _differences(measured: TrainingMeasured) -> list[str]:
    said = {row.program.key: f" ({row.size})" if row.size else "" for row in measured.rows if row.program.peer}
    texts = []
    if "ultralytics" in said:
        texts.append(
            f"Ultralytics builds from its `yolov5n.yaml` the old backbone with its newer head{said['ultralytics']}: no anchors, boxes "
            "as distributions, a costlier assignment of cells. Its network is heavier than ours, and the quotient flatters us by that "
            "much. On a CPU it takes no process for pictures, whatever it is told; so ours has none either where the two are compared."
        )
    if "yolov5" in said:
        texts.append(
            f"YOLOv5 v7.0, as the package `yolov5` carries it, is the very network, loss and assignment of ours{said['yolov5']}. Its "
            "option not to score ends in an error, so it scores one picture after each epoch, and that is counted."
        )
    texts.append(
        "They compute in 32 bits on a CPU; our row with 32 bits is the like for like. bfloat16 is what `attridet train` takes unless "
        "told otherwise: convolutions in bfloat16, weights and losses in 32 bits; processors with avx512_bf16 or AMX gain by it."
    )
    texts.append(
        "The row of AttriDet-n is what `attridet train` does by default: it trains the attribute head on each labelled cell besides, "
        "which the others have not, and one process prepares pictures. What that costs grows with the cells: a field of LeukemiaAttri "
        "holds several and a mosaic of four fields 10 to 40, where a set of single cells has one a picture."
    )
    return texts


def print_training(measured: TrainingMeasured, console: Console) -> None:
    """The result in the terminal."""
    title = f"processor ms a picture, {measured.data}, {measured.settings.imgsz} px"
    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for name in ("training", "arithmetic"):
        table.add_column(name, no_wrap=True)
    for name in ("median", "from", "to", *(f"{peer.label} ÷ it" for peer in measured.peers), "pictures/s"):
        table.add_column(name.replace(" ", "\n"), justify="right")
    for row in measured.rows:
        times = (f"{row.times[p.key].median:.2f}" if p.key in row.times else "" for p in measured.peers)
        cost = (f"{value:.1f}" for value in (row.processor_ms.median, row.processor_ms.low, row.processor_ms.high))
        table.add_row(row.program.label, row.program.arithmetic, *cost, *times, f"{row.per_s.median:.2f}")
    console.print(table)
