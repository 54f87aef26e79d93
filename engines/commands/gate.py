"""`attridet gate`: an engine against its float reference; the verdict on the terminal, in the manifest and on a page."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path

from rich.console import Console
from rich.table import Table

from engines.bundle import Bundle, resolve
from engines.commands.terminal import one_task, table_of
from engines.data.leukemiaattri import read_split
from engines.errors import BundleError, DataError
from engines.evaluation.result import NOTICE
from engines.gate.measure import GateResult, check_comparable, check_pictures, gate
from engines.gate.record import check_recordable, write_record
from engines.gate.words import rows, verdict
from engines.manifest import GateLimits
from engines.runtime.factory import open_engine

SPLIT = "val"
"""The split that is meant where none is named."""


@dataclass(frozen=True)
class Request:
    """What the command line asks for; see `engines.cli.gate`."""

    candidate: str
    reference: str
    data: str
    runtime: str = "auto"
    page: Path | None = None
    map_points: float = 1.0
    f1_points: float = 1.0
    shift_px: float = 1.0
    threads: int = 2


def run(request: Request) -> GateResult:
    """Compares, prints, keeps the verdict in the candidate's manifest, also a bad one, and writes the page. Raises EnginesError."""
    root, split = folder_and_split(request.data)
    bundle = Bundle.open(resolve(request.candidate))
    check_recordable(bundle)
    _check_page(request.page, bundle)
    limits = GateLimits(map_points=request.map_points, f1_points=request.f1_points, shift_px=request.shift_px)
    data = root.resolve().name
    # The candidate's answer to its golden picture is part of the verdict, so that it is no reason to stop on opening.
    reference = open_engine(request.reference, "onnx", request.threads)
    candidate = open_engine(request.candidate, request.runtime, request.threads, verify=False, ungated=True)
    if candidate.bundle.digest == reference.bundle.digest:
        raise BundleError(f"{bundle.path}: is the reference itself, so there is nothing to compare. Name the bundle made from it.")
    check_comparable(reference, candidate)
    pictures = read_split(root, split, reference.info.taxonomy)
    check_pictures(pictures, data, split)
    with reference, candidate, one_task(f"{candidate.info.label} against {reference.info.label} on {data}/{split}") as progress:
        result = gate(reference, candidate, pictures, data, split, limits, progress)
    kept = write_record(bundle, result.record())
    console = Console()
    console.print(table(result))
    console.print(
        f"{kept.path}: verdict kept in its manifest, so its digest is now {kept.digest[:8]} (was {bundle.digest[:8]})", soft_wrap=True
    )
    if request.page is not None:
        from engines.gate.page import write_page

        written = write_page(result, request.page, datetime.now(timezone.utc), kept)
        console.print(f"written: {written}", soft_wrap=True)
    console.print(verdict(result), style="bold green" if result.passed else "bold red", soft_wrap=True)
    return result


def folder_and_split(text: str) -> tuple[Path, str]:
    """Folder and split from "DIR" or "DIR:SPLIT"."""
    folder, _, split = text.rpartition(":")
    return (Path(folder), split) if folder and split and not Path(text).is_dir() else (Path(text), SPLIT)


def table(result: GateResult) -> Table:
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
    agreement = result.agreement
    shown.caption = (
        f"Scores are points (0 to 100). At the working point {agreement.paired} boxes pair at IoU 0.5, of "
        f"{agreement.reference_boxes} of the reference and {agreement.candidate_boxes} of the candidate; {agreement.same_type} pairs "
        "bear the same type. "
        f"The candidate ran on {other.engine.runtime}. {NOTICE}"
    )
    return shown


def _check_page(page: Path | None, bundle: Bundle) -> None:
    if page is None:
        return
    if page.exists() and not page.is_dir():
        raise DataError(f"{page}: a file of that name is there already. Name a folder.")
    if page.resolve().is_relative_to(bundle.path.resolve()):
        raise DataError(f"{page}: lies in the bundle, which holds no folders. Name a folder beside it.")
