"""Which blocks may be in INT8: all at first, then the costliest goes back to float, and again, until the gate passes."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from calibration.int8.bundles import Quantiser
from calibration.int8.request import QuantizeRequest
from engines.bundle import Bundle
from engines.data.leukemiaattri import LabelledImage
from engines.evaluation.folder import Progress
from engines.gate.measure import GateResult, Measured, compare, map_points, measure
from engines.progress import Reporter
from engines.runtime.engine import BundleEngine
from engines.runtime.factory import open_engine

HEAD = "attribute_head"
"""What the blocks of the attribute head are called after."""


@dataclass(frozen=True, eq=False)
class BlockChoice:
    """The gate's result with `float_blocks` in float. costs: for each block measured alone the points of mAP50-95 and of F1 lost."""

    result: GateResult
    float_blocks: tuple[str, ...]
    costs: dict[str, tuple[float, float]] = field(default_factory=dict)


class BlockJudge:
    """The gate for any choice of blocks: the float bundle is measured once, each choice on one and the same pictures."""

    def __init__(
        self, request: QuantizeRequest, source: Bundle, pictures: Sequence[LabelledImage], data: str, split: str, reporter: Reporter
    ) -> None:
        self._request, self._reporter = request, reporter
        self._measured = pictures, data, split
        with open_engine(source.path, "onnx", request.threads) as engine:
            self._reference: Measured = measure(engine, *self._measured, reporter.counter(f"{engine.info.label} on {data}/{split}"))

    def result(self, bundle: Bundle, task: str) -> GateResult:
        """The gate's answer to a bundle."""
        with self._open(bundle) as engine:
            return compare(self._reference, measure(engine, *self._measured, self._reporter.counter(task)), self._request.limits)

    def cost(self, bundle: Bundle, block: str, progress: Progress) -> tuple[float, float]:
        """Points of mAP50-95 and of attribute F1 that a bundle with this block alone in INT8 loses; each only where it can."""
        with self._open(bundle) as engine:
            if block.startswith(HEAD):
                return 0.0, self._reference.f1_points - measure(engine, *self._measured, progress).f1_points
            return self._reference.map_points - map_points(engine, self._measured[0], progress), 0.0

    def _open(self, bundle: Bundle) -> BundleEngine:
        return open_engine(bundle.path, self._request.runtime, self._request.threads, verify=False, ungated=True)


def choose_blocks(request: QuantizeRequest, quantiser: Quantiser, judge: BlockJudge, reporter: Reporter) -> BlockChoice:
    """Takes the costliest block back to float, and again, until the gate passes or none is left that costs anything."""
    float_blocks = list(request.float_blocks)
    costs: dict[str, tuple[float, float]] = {}
    with tempfile.TemporaryDirectory() as scratch:
        while True:
            kept = len(quantiser.blocks) - len(float_blocks)
            made = quantiser.write(Path(scratch) / f"with-{kept}", float_blocks, half=request.half)
            result = judge.result(made, f"judging {kept} of {len(quantiser.blocks)} blocks in INT8")
            if (request.sensitivity or not result.passed) and not costs:
                costs = _costs(quantiser, [b for b in quantiser.blocks if b not in float_blocks], judge, Path(scratch), reporter)
            left = {block: cost for block, cost in costs.items() if block not in float_blocks}
            worst = None if result.passed else _worst(result, left)
            if worst is None:
                return BlockChoice(result, tuple(float_blocks), costs)
            reporter.message(f"not passed ({result.fault}): {worst} goes back to float")
            float_blocks.append(worst)


def own_cost(block: str, cost: tuple[float, float]) -> float:
    """Of both losses the one that a block can have: F1 for the attribute head, mAP50-95 for the detector."""
    return cost[1] if block.startswith(HEAD) else cost[0]


def _costs(
    quantiser: Quantiser, blocks: list[str], judge: BlockJudge, scratch: Path, reporter: Reporter
) -> dict[str, tuple[float, float]]:
    costs: dict[str, tuple[float, float]] = {}
    for number, block in enumerate(blocks):

        def progress(done: int, total: int, number: int = number) -> None:
            reporter.progress("each block alone in INT8", number * total + done, len(blocks) * total)

        costs[block] = judge.cost(quantiser.write(scratch / f"only-{number}", only=[block]), block, progress)
    return costs


def _worst(result: GateResult, costs: dict[str, tuple[float, float]]) -> str | None:
    """The block to take back: one of the attribute head where only the F1 fell and one of them has a part in it, else any."""
    detector_is_well = result.map_loss_points <= result.limits.map_points and result.shift_px <= result.limits.shift_px
    head = {b: c for b, c in costs.items() if b.startswith(HEAD)}
    if detector_is_well and any(c[1] > 0 for c in head.values()):
        costs = head
    return max(costs, key=lambda b: max(costs[b]), default=None)
