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
    """One program's result. Spreads are over rounds; times: by key of a peer, ours over theirs in the same round."""

    program: Program
    size: str
    per_s: Spread
    processor_ms: Spread
    times: Mapping[str, Spread]


@dataclass(frozen=True)
class TrainingMeasured:
    """The whole result. load: of the machine before (1 minute). torch: ours. epochs: counted of each training. notes: remarks."""

    machine: Machine
    load: float
    torch: str
    data: str
    pictures: int
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
    peers = {program.key: per_s for program, _, per_s, _ in readings if program.peer}

    def times(program: Program, per_s: Sequence[float]) -> dict[str, Spread]:
        others = {} if program.peer else peers
        return {key: Spread.of([own / other for own, other in zip(per_s, theirs, strict=True)]) for key, theirs in others.items()}

    return tuple(
        Row(program, size, Spread.of(per_s), Spread.of(processor_ms), times(program, per_s))
        for program, size, per_s, processor_ms in readings
    )


def training_text(measured: TrainingMeasured, command: str) -> str:
    """The section in Markdown, ending in a newline. command: what reproduces it."""
    m, host = measured, measured.machine
    heads, same = "".join(f" ÷ {peer.label} |" for peer in m.peers), m.settings
    lines = [
        *section_head("Training speed", command, host, m.load),
        f"- Software: Python {host.python}, torch {m.torch}; {'; '.join(peer.software for peer in m.peers)}. Others' programs run in "
        f"an environment of their own (`pip install {' '.join(peer.key for peer in m.peers)}`; PYTHON is its Python) and are no "
        "part of this project.",
        f"- The same for all: {m.pictures} pictures of `{m.data}` held in memory, {same.imgsz} px, batches of {same.batch}, "
        f"{count(same.threads, 'thread')}, size n with {CLASSES} classes from random weights, SGD with momentum, mosaic and the "
        "published augmentation (set low), EMA, a checkpoint after each epoch, no autoanchor, no plots.",
        f"- {count(m.rounds, 'round')}, in each every program once, in turned order; {count(m.epochs, 'epoch')} of a training "
        "counted, after a first one. Median, smallest and largest; a quotient is of the same round.",
        "",
        f"| training | arithmetic | processes for pictures | pictures/s | smallest to largest |{heads} processor ms a picture |",
        f"|---|---|---:|---:|---:|{'---:|' * len(m.peers)}---:|",
        *(_line(row, m.peers) for row in m.rows),
        "",
        "What is not the same:",
        "",
        *(f"- {text}" for text in (*_differences(m), *m.notes)),
    ]
    return "\n".join(lines) + "\n"


def _line(row: Row, peers: Sequence[Program]) -> str:
    times = (f"{row.times[p.key]:.2f}" if p.key in row.times else "" for p in peers)
    program, speed = row.program, (f"**{row.per_s.median:.2f}**", row.per_s.range())
    return (
        f"| {' | '.join((program.label, program.arithmetic, str(program.workers), *speed, *times, f'{row.processor_ms.median:.1f}'))} |"
    )


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
        "which the others have not, and one process prepares pictures."
    )
    return texts


def print_training(measured: TrainingMeasured, console: Console) -> None:
    """The result in the terminal."""
    title = f"pictures a second, {measured.data}, {measured.settings.imgsz} px"
    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for name in ("training", "arithmetic"):
        table.add_column(name, no_wrap=True)
    for name in ("median", "from", "to", *(f"÷ {peer.label}" for peer in measured.peers), "processor ms"):
        table.add_column(name.replace(" ", "\n"), justify="right")
    for row in measured.rows:
        times = (f"{row.times[p.key].median:.2f}" if p.key in row.times else "" for p in measured.peers)
        speeds = (f"{row.per_s.median:.2f}", f"{row.per_s.low:.1f}", f"{row.per_s.high:.1f}")
        table.add_row(row.program.label, row.program.arithmetic, *speeds, *times, f"{row.processor_ms.median:.1f}")
    console.print(table)
