"""What `attridet gate` and `quantize` print: what an engine loses against its float reference, and each block's part in it."""

from __future__ import annotations

from collections.abc import Collection
from math import isnan

from rich.table import Table

from engines.commands.terminal import Terminal, table_of
from engines.gate.losses import Losses
from engines.gate.measure import GateResult
from engines.gate.words import floor_rows, rows, verdict
from engines.manifest import GateLimits
from engines.pages import NOTICE


def gate_table(result: GateResult) -> Table:
    """What was measured, within 80 columns."""
    one, other = result.reference.evaluation, result.candidate.evaluation
    shown = table_of(
        "\n".join((f"{other.engine.label} against {one.engine.label}", f"scored: {other.scored.summary}", *other.notes)),
        f"{other.data}/{other.split}",
        ("reference", "candidate", "lost", "allowed"),
        caption_justify="left",
        padding=(0, 1, 0, 0),
        pad_edge=False,
    )
    for row in rows(result):
        lost = row.lost if row.within is not False else f"[red]{row.lost}[/red]"
        shown.add_row(row.name, row.reference, row.candidate, lost, row.allowed)
    shown.add_section()
    for name, score, least, reached in floor_rows(result):
        shown.add_row(f"reference: {name}", score if reached else f"[yellow]{score}[/yellow]", "", "", f">= {least}")
    agreement = result.agreement
    shown.caption = (
        f"Scores are points (0 to 100). At the working point {agreement.paired} boxes pair at IoU 0.5, of "
        f"{agreement.reference_boxes} of the reference and {agreement.candidate_boxes} of the candidate; {agreement.same_type} pairs "
        "bear the same type. "
        f"The candidate ran on {other.engine.runtime}. {NOTICE}"
    )
    return shown


def block_table(costs: dict[str, Losses], float_blocks: Collection[str], limits: GateLimits) -> Table:
    """The blocks, each alone in INT8, the costliest first: by the largest share of what may be lost."""
    columns = ("mAP50-95", "attribute F1", "J of blasts", "in the bundle")
    shown = table_of("Each block alone in INT8: what it costs", "block", columns, padding=(0, 1, 0, 0))
    for block, lost in sorted(costs.items(), key=lambda item: -item[1].worst(limits)[1]):
        numbers = ("" if isnan(points) else f"{points:+.2f}" for points in (lost.map_points, lost.f1_points, lost.youden_points))
        shown.add_row(block, *numbers, "float" if block in float_blocks else "INT8")
    shown.caption = f"Points lost; a negative number is a gain. {NOTICE}"
    return shown


def print_verdict(result: GateResult, terminal: Terminal) -> None:
    """The last line, in the colour of the verdict."""
    colour = {"green": "green", "amber": "yellow", "red": "red"}[result.level]
    terminal.console.print(verdict(result), style=f"bold {colour}", soft_wrap=True)


EXIT_CODES = {"green": 0, "red": 1, "amber": 3}
"""Of a verdict. 3: passed, but against a reference that does not reach its floors."""
