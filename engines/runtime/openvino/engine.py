"""A bundle on OpenVINO. Opened by `engines.runtime.factory`."""

from __future__ import annotations

from engines.bundle import Bundle
from engines.runtime.engine import BundleEngine
from engines.runtime.openvino.graphs import OpenvinoGraphs
from engines.runtime.openvino.library import version


class OpenvinoEngine(BundleEngine):
    """A bundle on OpenVINO, CPU. threads: how many the graphs may use; the rest as in `BundleEngine`."""

    def __init__(self, bundle: Bundle, threads: int = 2, score_threshold: float | None = None, verify: bool = False) -> None:
        super().__init__(bundle, OpenvinoGraphs(bundle, threads), f"openvino {version()} CPU", score_threshold, verify)
