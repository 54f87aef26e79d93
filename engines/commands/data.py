"""Look after a data set: find its faults, split it by patient, change its label format, draw what is in it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from engines.errors import DataError
from engines.options import TAXONOMY, Option, Request

ROOT = Option("A subset (Images/SPLIT and labels) or a folder of several (H_100X_C1 ...).", metavar="DIR", argument=True)
OUT = Option("New folder to write, in the published layout.")


@dataclass(frozen=True, kw_only=True)
class CheckRequest(Request):
    root: Annotated[Path, ROOT]
    taxonomy: Annotated[Path | None, TAXONOMY] = None
    json: Annotated[Path | None, Option("Also write counts and every fault here, for machines.")] = None
    csv: Annotated[Path | None, Option("Also write classes and attributes by subset here, as one sheet.")] = None
    page: Annotated[Path | None, Option("Also write that sheet, faults and notes here, as a page (HTML).")] = None
    every: Annotated[bool, Option("Print every count, fault and note, not what a screen of 60 lines holds.", name="--all")] = False
    unpack: Annotated[bool, Option("First write the labels of archives (labels.zip) beside the pictures, as folders.")] = False
    nuclei: Annotated[bool, Option("Leave out whether boxes of white cells lie on stained nuclei.", off="--no-nuclei")] = True
    threads: Annotated[int, Option("Pictures that are read at once.", low=1)] = 2


@dataclass(frozen=True, kw_only=True)
class SplitRequest(Request):
    root: Annotated[Path, ROOT]
    out: Annotated[Path, OUT]
    taxonomy: Annotated[Path | None, TAXONOMY] = None
    val: Annotated[float, Option("Share of val.", low=0.01, high=0.9)] = 0.2
    test: Annotated[float, Option("Share of a new test; 0: none.", low=0, high=0.9)] = 0
    seed: Annotated[int, Option("Which of the good divisions.", low=0)] = 0
    pooled: Annotated[
        tuple[str, ...], Option("Split to divide; repeat for several; default: all but test.", name="--from", metavar="SPLIT")
    ] = ()
    subsets: Annotated[
        tuple[str, ...],
        Option(
            "Only this subset, by its folder's name; repeat for several, which are divided together.", name="--subset", metavar="NAME"
        ),
    ] = ()
    leave_out_shared: Annotated[
        bool, Option("Leave out pictures of patients who are in a kept split (test) of any subset, where they are refused otherwise.")
    ] = False
    images: Annotated[str, Option("link (hard links, no room taken) or copy.", choices=("link", "copy"))] = "link"


@dataclass(frozen=True, kw_only=True)
class ExportRequest(Request):
    root: Annotated[Path, ROOT]
    to: Annotated[str, Option("json, txt5, txt11 or txt12.", choices=("json", "txt5", "txt11", "txt12"))]
    out: Annotated[Path, OUT]
    taxonomy: Annotated[Path | None, TAXONOMY] = None
    images: Annotated[
        str, Option("link (hard links, no room taken), copy, or none: labels alone.", choices=("link", "copy", "none"))
    ] = "link"


@dataclass(frozen=True, kw_only=True)
class PlotRequest(Request):
    root: Annotated[Path, ROOT]
    out: Annotated[Path, Option("Picture to write: PNG, SVG or PDF.")]
    taxonomy: Annotated[Path | None, TAXONOMY] = None
    splits: Annotated[tuple[str, ...], Option("Only this split; repeat for several.", name="--split", metavar="SPLIT")] = ()


def check(request: CheckRequest) -> int:
    """Count what is there and name every fault with file and line. Exit code 0: clean, 1: faults, 2: no data set."""
    from engines.commands.data_check import print_check, write_check
    from engines.commands.terminal import Terminal
    from engines.data.check import check as check_data
    from engines.data.layout import find_subsets
    from engines.data.packed import unpack
    from engines.taxonomy import read_taxonomy

    with Terminal() as terminal:
        for subset in find_subsets(request.root, flat=True) if request.unpack else ():
            if subset.archive is not None:
                terminal.message(f"{subset.archive}: {unpack(subset.archive)} label files written beside it")
        found = check_data(
            request.root,
            read_taxonomy(request.taxonomy),
            progress=terminal.counter("reading pictures"),
            threads=request.threads,
            nuclei=request.nuclei,
        )
    write_check(found, request.root, request.json, request.csv, request.page)
    print_check(found, request.root, request.every)
    return 1 if found.faults else 0


def split(request: SplitRequest) -> None:
    """Divide by patient, no patient on two sides, each class shared out; by picture, and said so, where names give no patient."""
    from engines.commands.data_tables import print_split
    from engines.commands.terminal import Terminal
    from engines.data.splits import plan, write_plan
    from engines.data.writing import Bring
    from engines.taxonomy import read_taxonomy

    val, test = request.val, request.test
    if val + test >= 1:
        raise DataError(f"--val {val:g} and --test {test:g} leave nothing for train; together they must be below 1")
    shares = {"train": 1 - val - test, "val": val} | ({"test": test} if test else {})
    taxonomy = read_taxonomy(request.taxonomy)
    planned = plan(request.root, shares, request.seed, request.pooled, taxonomy, request.subsets, request.leave_out_shared)
    with Terminal() as terminal:
        brought = write_plan(planned, request.out, Bring(request.images), terminal.counter("writing pictures"))
        print_split(terminal, planned, request.out, *brought)


def export(request: ExportRequest) -> None:
    """Write the labels in another format; what that format cannot hold is named."""
    from engines.commands.data_tables import print_export
    from engines.commands.terminal import Terminal
    from engines.data.export import Format
    from engines.data.export import export as export_data
    from engines.data.writing import Bring
    from engines.taxonomy import read_taxonomy

    with Terminal() as terminal:
        done = export_data(
            request.root,
            Format(request.to),
            request.out,
            Bring(request.images),
            read_taxonomy(request.taxonomy),
            terminal.counter("writing pictures"),
        )
    print_export(done, request.to)


def plot(request: PlotRequest) -> None:
    """Draw the cells of each class and the values of each attribute, as the paper's Fig. 2 does."""
    from engines.commands.terminal import Terminal
    from engines.data.census import count
    from engines.data.export import left_out
    from engines.data.layout import find_subsets
    from engines.data.leukemiaattri import admit
    from engines.data.plots import draw
    from engines.taxonomy import read_taxonomy

    taxonomy = read_taxonomy(request.taxonomy)
    chosen = [split for subset in find_subsets(request.root) for split in subset.splits if split.pictures()]
    names = sorted({split.name for split in chosen})
    if unknown := sorted(set(request.splits) - set(names)):
        raise DataError(f"{request.root}: no split '{unknown[0]}'; splits there: {', '.join(names)}")
    asked = [split for split in chosen if not request.splits or split.name in request.splits]
    read, faults = admit(asked, request.root, taxonomy)
    counts = [count(one.split.label, one.pictures, taxonomy) for one in read]
    draw(request.root.resolve().name, counts, taxonomy, request.out)
    with Terminal() as terminal:
        for words in left_out(faults):
            terminal.warning(f"not counted: {words}")
        terminal.message(f"{request.out}: written")
