"""What was measured, as a section of a Markdown page; nothing is measured here."""

from __future__ import annotations

from engines.bench.measure import BESIDE, OURS, RUNTIME, WHOLE, Measured, Row
from engines.bench.section import STAGE_WORDS, engine_lines, section_head
from engines.bench.spread import Percentiles

_DIFFERENCES = (
    "- Ultralytics' network is the YOLOv5n that its package builds (no anchors, its newer head) with as many classes and random "
    "weights; ours is the original YOLOv5n with anchors. Theirs is somewhat heavier, but finds next to nothing, so that its "
    "suppression has less to do.",
    "- It reads no attributes; our whole path does, for every cell, and the row of detection alone does not. Its INT8 is of its "
    "own export (NNCF), calibrated on these pictures.",
    "- It is driven by its own command line (`yolo predict`), and the times are those that it prints: preparing, computing, "
    "suppressing. Starting, reading pictures and what lies between its clocks are not counted, in its favour; of single pictures "
    "it prints the computing alone, the other two as means.",
    "- It reads the next picture on the same cores while it computes, which slows it, in our favour; the pictures are BMP, so that "
    "this costs least. Every round is a new process, whose first five pictures do not count. It has no option for threads: "
    "`OMP_NUM_THREADS` is set, and its libraries take the cores that they are held to. Its processor time cannot be measured.",
    "- Its OpenVINO computes in bfloat16, where the processor can, what is not INT8; ours in the precision that is named.",
)


def section_text(measured: Measured, frames: str, command: str) -> str:
    """The section in Markdown, ending in a newline. frames: what the pictures are; command: what reproduces it."""
    m, engine, host = measured, measured.engine, measured.machine
    sizes = " and ".join(f"{w} x {h}" for w, h in m.sizes_px) if len(m.sizes_px) < 4 else f"{len(m.sizes_px)} sizes of"
    others = sorted({row.software for row in m.rows if row.key not in OURS and not row.key.startswith(BESIDE)})
    lines = [
        *section_head(f"An engine alone: {engine.name}, {engine.precision}", command, host, m.load),
        *engine_lines(engine, m.settings.threads, host, others),
        f"- Input: {m.frames} pictures of {sizes} px held in memory ({frames}), with {m.cells} cells, read in {m.attribute_runs} runs "
        "of the attribute graph.",
        f"- {m.settings.rounds} rounds, in each every row once over all pictures, in turned order, all on the same cores. Frames a "
        "second: median of the rounds, smallest and largest; a quotient is of the same round. Milliseconds: of single frames; those of "
        "the processor are of all threads together, and a busy machine hardly changes them.",
        f"- {agreement_words(m)}",
        f"- Memory: {m.peak_mib:.0f} MiB at most, of a process that opens the engine and reads one frame. {energy_words(m)}",
        "",
        "| | frames/s | smallest to largest | whole path ÷ it | detection ÷ it | processor ms a frame | ms, p50 | p90 | p99 |",
        "|---|---:|---:|---:|---:|---:|---:|---:|---:|",
        *(f"| {row_text(row)} |" for row in m.rows),
        "",
        "| Stage of a frame | ms, p50 | p90 | p99 |",
        "|---|---:|---:|---:|",
        *(f"| {STAGE_WORDS[name]} | {milliseconds(p)} |" for name, p in m.stages_ms.items()),
    ]
    if any(row.key == RUNTIME for row in m.rows):
        lines += [
            "",
            "The bare runtime compiles the bundle's two ONNX files as they are, with the same threads and precision, and is given "
            "planes and regions that are ready; nothing of this project is on its clock, nor are its answers looked at. Our graphs "
            "alone are the same files rewritten for it, with pooling and decoding in numpy, on letterboxed pictures.",
        ]
    if others:
        lines += ["", "What is not the same:", "", *_DIFFERENCES]
    return "\n".join(lines) + "\n"


def row_text(row: Row) -> str:
    """One contender as a row's cells: name, frames a second, their range, two quotients, processor time, percentiles."""
    whole = "" if row.key == WHOLE else f"{row.times:.2f}"
    detection = "" if row.key in OURS else f"{row.detection_times:.2f}"
    fps = f"**{row.fps.median:.2f}** | {row.fps.range()}"
    processor = "" if row.processor_ms is None else f"{row.processor_ms.median:.1f}"
    return f"{row.label} | {fps} | {whole} | {detection} | {processor} | {milliseconds(row.frame_ms)}"


def milliseconds(p: Percentiles) -> str:
    """Percentiles as three cells."""
    digits = 2 if p.p50 < 1 else 1
    return f"{p.p50:.{digits}f} | {p.p90:.{digits}f} | {p.p99:.{digits}f}"


def agreement_words(measured: Measured) -> str:
    """Whether it sees what the reference runtime sees: a benchmark of wrong answers is worth nothing."""
    agreed = measured.agreement
    if agreed is None:
        return "It is the reference runtime."
    return (
        f"Its answers beside ONNX Runtime's on the same bundle: {agreed.matched} of {agreed.boxes} boxes ({agreed.share:.1%}) have "
        f"their equal there (same type, IoU 0.9), with corners within {agreed.corner_px:.2g} px and scores within {agreed.score:.2g}."
    )


def energy_words(measured: Measured) -> str:
    """Joules a frame, or that this board counts none."""
    if measured.joules_a_frame is None:
        return "Energy: this machine does not tell."
    return f"Energy: {measured.joules_a_frame:.2f} J a frame of the whole path ({measured.meter})."
