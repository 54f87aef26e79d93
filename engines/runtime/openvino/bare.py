"""OpenVINO on a bundle's files as they are, without anything of ours: what a benchmark compares the engine with. Never counted with."""

from __future__ import annotations

from typing import Any

from engines.bundle import Bundle
from engines.detections import Float32
from engines.runtime.graphs import IMAGE, P2, P3, ROIS
from engines.runtime.openvino.library import core, import_openvino, options
from engines.runtime.precision import FLOAT32


class BareOpenvino:
    """The graphs as OpenVINO reads and compiles them, with the engine's options. regions: of one run of the attribute graph, 0 without.

    Its answers are not right for INT8 (see `engines.runtime.openvino.rewrite.with_unsigned_maps`) and are not looked at.
    """

    def __init__(self, bundle: Bundle, threads: int, precision: str = FLOAT32) -> None:
        self._tensor = import_openvino().Tensor
        path, self.regions = bundle.describing_graph() if bundle.describes else (None, 0)
        requests: list[Any] = [
            graph and core().compile_model(core().read_model(str(graph)), "CPU", options(threads, precision)).create_infer_request()
            for graph in (bundle.detector_path, path)
        ]
        self._detector, self._describer = requests
        for name in (IMAGE,) if bundle.rereads else (P2, P3) if path else ():
            self._describer.set_tensor(name, self._detector.get_tensor(name))

    def detect(self, planes: Float32) -> None:
        """Runs the detector on prepared planes (1, 3, H, W)."""
        self._detector.set_tensor(IMAGE, self._tensor(planes, shared_memory=True))
        self._detector.infer(share_outputs=True)

    def describe(self, rois: Float32) -> None:
        """Runs the attribute graph on regions (regions, 4)."""
        self._describer.set_tensor(ROIS, self._tensor(rois, shared_memory=True))
        self._describer.infer(share_outputs=True)
