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
from engines.gate.measure import GateResult, Measured, compare, map_points, measure
from engines.progress import Reporter
from engines.runtime.engine import BundleEngine
from engines.runtime.factory import open_engine

HEAD = "attribute_head"
"""What the blocks of the attribute head are called after."""


@dataclass(frozen=True, eq=False)
class BlockChoice:
    """The gate's result with `float_blocks` in float. costs: points that each block loses when it alone is in INT8.

    They are of the attributes' F1 for blocks of the attribute head, of mAP50-95 for the detector's.
    """

    result: GateResult
    float_blocks: tuple[str, ...]
    costs: dict[str, float] = field(default_factory=dict)


class BlockSearch:
    """The gate for any choice of blocks: the float bundle is measured once, each choice on one and the same pictures."""

    def __init__(
        self,
        request: QuantizeRequest,
        quantiser: Quantiser,
        pictures: Sequence[LabelledImage],
        data: str,
        split: str,
        reporter: Reporter,
    ) -> None:
        self._request, self._quantiser, self._reporter = request, quantiser, reporter
        self._measured = pictures, data, split
        with open_engine(quantiser.source.path, "onnx", request.threads) as engine:
            self._reference: Measured = measure(engine, *self._measured, reporter.counter(f"{engine.info.label} on {data}/{split}"))

    def run(self) -> BlockChoice:
        """Takes the costliest block back to float, and again, until the gate passes or none is left that costs anything."""
        request, blocks = self._request, self._quantiser.blocks
        float_blocks = list(request.float_blocks)
        costs: dict[str, float] = {}
        with tempfile.TemporaryDirectory() as scratch:
            while True:
                kept = len(blocks) - len(float_blocks)
                made = self._quantiser.write(Path(scratch) / f"with-{kept}", float_blocks, half=request.half)
                counter = self._reporter.counter(f"judging {kept} of {len(blocks)} blocks in INT8")
                with self._open(made) as engine:
                    result = compare(self._reference, measure(engine, *self._measured, counter), request.limits, request.floors)
                if (request.sensitivity or not result.passed) and not costs:
                    costs = self._costs([b for b in blocks if b not in float_blocks], Path(scratch))
                left = {block: cost for block, cost in costs.items() if block not in float_blocks}
                worst = None if result.passed else _worst(result, left)
                if worst is None:
                    return BlockChoice(result, tuple(float_blocks), costs)
                self._reporter.message(f"not passed ({result.fault}): {worst} goes back to float")
                float_blocks.append(worst)

    def _costs(self, blocks: list[str], scratch: Path) -> dict[str, float]:
        costs: dict[str, float] = {}
        for number, block in enumerate(blocks):

            def progress(done: int, total: int, number: int = number) -> None:
                self._reporter.progress("each block alone in INT8", number * total + done, len(blocks) * total)

            with self._open(self._quantiser.write(scratch / f"only-{number}", only=[block])) as engine:
                if block.startswith(HEAD):
                    costs[block] = self._reference.f1_points - measure(engine, *self._measured, progress).f1_points
                else:
                    costs[block] = self._reference.map_points - map_points(engine, self._measured[0], progress)
        return costs

    def _open(self, bundle: Bundle) -> BundleEngine:
        return open_engine(bundle.path, self._request.runtime, self._request.threads, verify=False, ungated=True)


def _worst(result: GateResult, costs: dict[str, float]) -> str | None:
    """The block to take back: one of the attribute head where only the F1 fell and one of them has a part in it, else any."""
    detector_is_well = result.map_loss_points <= result.limits.map_points and result.shift_px <= result.limits.shift_px
    head = {block: cost for block, cost in costs.items() if block.startswith(HEAD)}
    if detector_is_well and any(cost > 0 for cost in head.values()):
        costs = head
    return max(costs, key=lambda block: max(costs[block], 0.0), default=None)
