"""`attridet quantize`: a float bundle in INT8, blocks taken back to float until the gate passes, and what that cost."""

from __future__ import annotations

import tempfile
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path

from rich.console import Console
from rich.table import Table

from calibration.int8.bundles import Quantiser, blocks_of_bundle
from calibration.int8.frames import FrameSet, choose, pictures_in, read_set
from calibration.int8.quantize import METHODS, Method
from engines.bundle import Bundle, resolve
from engines.commands.gate import folder_and_split, table
from engines.commands.terminal import one_task, table_of
from engines.data.leukemiaattri import LabelledImage, read_split
from engines.errors import BundleError, DataError
from engines.evaluation.folder import Progress
from engines.evaluation.result import NOTICE
from engines.files import sha256_of
from engines.gate.measure import GateResult, Measured, check_pictures, compare, map_points, measure
from engines.gate.words import verdict
from engines.manifest import GateLimits
from engines.runtime.factory import open_engine

HEAD = "attribute_head"
"""What the blocks of the attribute head are called after."""


@dataclass(frozen=True)
class Request:
    """What the command line asks for; see `engines.cli.quantize`."""

    bundle: str
    out: Path
    frames: tuple[Path, ...]
    data: str
    count: int = 128
    method: str = "percentile"
    runtime: str = "auto"
    float_blocks: tuple[str, ...] = ()
    sensitivity: bool = False
    half: bool = False
    limits: GateLimits = field(default_factory=GateLimits)
    page: Path | None = None
    readme: Path | None = None
    replace: bool = False
    threads: int = 2


def run(request: Request) -> bool:
    """Chooses frames, quantises, judges, takes blocks back, writes bundle and page; whether the gate passed. Raises EnginesError.

    The bundle is written also when the gate fails, with its fault: an appliance refuses it then.
    """
    console = Console()
    source = Bundle.open(resolve(request.bundle))
    method = _check(request, source)
    root, split = folder_and_split(request.data)
    pictures = read_split(root, split, source.taxonomy)
    check_pictures(pictures, root.resolve().name, split)
    chosen = _frames(request, pictures)
    for note in chosen.notes:
        console.print(f"[yellow]{note}[/yellow]", soft_wrap=True)
    with one_task("measuring ranges") as progress:
        quantiser = Quantiser(source, chosen.frames, method, request.threads, progress)
    judge = _Judge(request, source, pictures, root.resolve().name, split)
    result, float_blocks, costs = _until_passed(request, quantiser, judge, console)
    readme = {"README.md": request.readme.read_bytes()} if request.readme else None
    made = quantiser.write(
        request.out,
        float_blocks,
        half=request.half,
        sensitivity={block: round(_own(block, cost), 2) for block, cost in costs.items()},
        gate=result.record(),
        files=readme,
        replace=request.replace,
    )
    if costs:
        console.print(sensitivities(costs, float_blocks))
    console.print(table(result))
    if request.page is not None:
        from engines.gate.page import write_page

        console.print(f"written: {write_page(result, request.page, datetime.now(timezone.utc), made)}", soft_wrap=True)
    in_float = f", in float: {', '.join(float_blocks)}" if float_blocks else ""
    console.print(
        f"{made.path}: {made.manifest.name} {made.manifest.version} {made.manifest.precision}, digest {made.digest[:8]}, calibrated on "
        f"{len(chosen.frames)} frames{in_float}",
        soft_wrap=True,
    )
    console.print(verdict(result), style="bold green" if result.passed else "bold red", soft_wrap=True)
    return result.passed


def sensitivities(costs: dict[str, tuple[float, float]], float_blocks: Collection[str]) -> Table:
    """The blocks, each alone in INT8, the costliest first."""
    shown = table_of(
        "Each block alone in INT8: what it costs", "block", ("mAP50-95", "attribute F1", "in the bundle"), padding=(0, 1, 0, 0)
    )
    for block, cost in sorted(costs.items(), key=lambda item: -_own(*item)):
        lost = f"{_own(block, cost):+.2f}"
        numbers = ("", lost) if block.startswith(HEAD) else (lost, "")
        shown.add_row(block, *numbers, "float" if block in float_blocks else "INT8")
    shown.caption = f"Points lost; a negative number is a gain. {NOTICE}"
    return shown


def _own(block: str, cost: tuple[float, float]) -> float:
    """Of both losses the one that a block can have: F1 for the attribute head, mAP50-95 for the detector."""
    return cost[1] if block.startswith(HEAD) else cost[0]


class _Judge:
    """The gate for any choice of blocks: the float bundle is measured once, each choice on one and the same pictures."""

    def __init__(self, request: Request, source: Bundle, pictures: Sequence[LabelledImage], data: str, split: str) -> None:
        self._request, self._pictures, self._data, self._split = request, pictures, data, split
        with (
            open_engine(source.path, "onnx", request.threads) as engine,
            one_task(f"{engine.info.label} on {data}/{split}") as progress,
        ):
            self._reference: Measured = measure(engine, pictures, data, split, progress)

    def result(self, bundle: Bundle, words: str) -> GateResult:
        with one_task(words) as progress:
            return compare(self._reference, self._measured(bundle, progress), self._request.limits)

    def cost(self, bundle: Bundle, block: str, progress: Progress) -> tuple[float, float]:
        """Points of mAP50-95 and of attribute F1 that a bundle with this block alone in INT8 loses; each only where it can."""
        if block.startswith(HEAD):
            return 0.0, self._reference.f1_points - self._measured(bundle, progress).f1_points
        with open_engine(bundle.path, self._request.runtime, self._request.threads, verify=False, ungated=True) as engine:
            return self._reference.map_points - map_points(engine, self._pictures, progress), 0.0

    def _measured(self, bundle: Bundle, progress: Progress) -> Measured:
        with open_engine(bundle.path, self._request.runtime, self._request.threads, verify=False, ungated=True) as engine:
            return measure(engine, self._pictures, self._data, self._split, progress)


def _until_passed(
    request: Request, quantiser: Quantiser, judge: _Judge, console: Console
) -> tuple[GateResult, list[str], dict[str, tuple[float, float]]]:
    """Takes the costliest block back to float, and again, until the gate passes or none is left that costs anything."""
    float_blocks = list(request.float_blocks)
    costs: dict[str, tuple[float, float]] = {}
    with tempfile.TemporaryDirectory() as scratch:
        while True:
            kept = len(quantiser.blocks) - len(float_blocks)
            made = quantiser.write(Path(scratch) / f"with-{kept}", float_blocks, half=request.half)
            result = judge.result(made, f"judging {kept} of {len(quantiser.blocks)} blocks in INT8")
            if (request.sensitivity or not result.passed) and not costs:
                costs = _costs(quantiser, [b for b in quantiser.blocks if b not in float_blocks], judge, Path(scratch))
            if result.passed:
                return result, float_blocks, costs
            worst = _worst(result, {b: c for b, c in costs.items() if b not in float_blocks})
            if worst is None:
                return result, float_blocks, costs
            console.print(f"not passed ({result.fault}): {worst} goes back to float", soft_wrap=True)
            float_blocks.append(worst)


def _costs(quantiser: Quantiser, blocks: list[str], judge: _Judge, scratch: Path) -> dict[str, tuple[float, float]]:
    costs: dict[str, tuple[float, float]] = {}
    with one_task("each block alone in INT8") as progress:
        for number, block in enumerate(blocks):

            def one(done: int, total: int, number: int = number) -> None:
                progress(number * total + done, len(blocks) * total)

            costs[block] = judge.cost(quantiser.write(scratch / f"only-{number}", only=[block]), block, one)
    return costs


def _worst(result: GateResult, costs: dict[str, tuple[float, float]]) -> str | None:
    """The block to take back: one of the attribute head where only the F1 fell and one of them has a part in it, else any."""
    detector_is_well = result.map_loss_points <= result.limits.map_points and result.shift_px <= result.limits.shift_px
    head = {b: c for b, c in costs.items() if b.startswith(HEAD)}
    if detector_is_well and any(c[1] > 0 for c in head.values()):
        costs = head
    return max(costs, key=lambda b: max(costs[b]), default=None)


def _frames(request: Request, pictures: Sequence[LabelledImage]) -> FrameSet:
    """The calibration set: a list that `attridet frames` wrote, or chosen now from folders; never a picture that judges."""
    judging = frozenset(sha256_of(p.path) for p in pictures)
    if len(request.frames) == 1 and request.frames[0].suffix == ".json":
        chosen = read_set(request.frames[0])
        for frame in chosen.frames:
            if frame.sha256 in judging:
                raise DataError(
                    f"{frame.path}: is one of the pictures that judge ({request.data}). Choose the frames again without it."
                )
        return chosen
    paths = [path for folder in request.frames for path in pictures_in(folder)]
    with one_task("choosing frames") as progress:
        return choose(paths, request.count, excluded_sha256=judging, progress=progress)


def _check(request: Request, source: Bundle) -> Method:
    """Refuses before the work what can be; the method."""
    method = next((m for m in METHODS if m == request.method), None)
    if method is None:
        raise DataError(f"--method {request.method}: no such method; take {' or '.join(METHODS)}")
    blocks = blocks_of_bundle(source)
    for block in request.float_blocks:
        if block not in blocks:
            raise DataError(f"--float {block}: no such block; there are {', '.join(blocks)}")
    if request.out.exists() and not request.replace:
        raise BundleError(f"{request.out}: exists already. Choose another folder, or say --replace.")
    if request.out.resolve() == source.path.resolve():
        raise BundleError(f"{request.out}: is the float bundle itself. Choose another folder.")
    if request.readme is not None and not request.readme.is_file():
        raise DataError(f"{request.readme}: no such file to lay beside the bundle as README.md")
    if request.page is not None and request.page.exists() and not request.page.is_dir():
        raise DataError(f"{request.page}: a file of that name is there already. Name a folder.")
    return method
