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
from engines.gate.losses import Losses
from engines.gate.measure import GateResult, Measured, compare, measure
from engines.gate.rounded import open_judged
from engines.progress import Reporter
from engines.runtime.engine import BundleEngine
from engines.runtime.factory import open_engine


@dataclass(frozen=True, eq=False)
class BlockChoice:
    """The gate's result with `float_blocks` in float. costs: what each block loses when it alone is in INT8."""

    result: GateResult
    float_blocks: tuple[str, ...]
    costs: dict[str, Losses] = field(default_factory=dict)


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
        costs: dict[str, Losses] = {}
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

    def _costs(self, blocks: list[str], scratch: Path) -> dict[str, Losses]:
        costs = {}
        for number, block in enumerate(blocks):

            def progress(done: int, total: int, number: int = number) -> None:
                self._reporter.progress("each block alone in INT8", number * total + done, len(blocks) * total)

            with self._open(self._quantiser.write(scratch / f"only-{number}", only=[block])) as engine:
                costs[block] = self._reference.losses(measure(engine, *self._measured, progress))
        return costs

    def _open(self, bundle: Bundle) -> BundleEngine:
        return open_judged(bundle.path, self._request.runtime, self._request.threads)


def _worst(result: GateResult, costs: dict[str, Losses]) -> str | None:
    """The block to take back: the one that costs most of what was lost most, measured by its limit (mAP, attribute F1 or J)."""
    name, _ = result.losses.worst(result.limits)
    points = {block: getattr(lost, name) for block, lost in costs.items()}
    return max(points, key=lambda block: points[block] if points[block] > 0 else 0.0, default=None)
