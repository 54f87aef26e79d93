"""A bundle on TensorRT: raw frames go to the GPU, and pixels are prepared there. Opened by `engines.runtime.factory`."""

from __future__ import annotations

from pathlib import Path
from time import perf_counter

import numpy as np

from engines.bundle import Bundle
from engines.detections import Image
from engines.errors import InferenceError
from engines.preprocess import letterbox_geometry
from engines.runtime.engine import BundleEngine, Proposals
from engines.runtime.tensorrt.loop import DEADLINE_MS, TensorrtGraphs


class TensorrtEngine(BundleEngine):
    """A bundle on the first GPU, by the plans that `attridet build` made on this device.

    plans: their folder. library: `tensorrt` or `tensorrt_rtx`. deadline_ms: a frame that takes longer is an InferenceError. The rest as
    in `BundleEngine`. Raises RuntimeUnavailableError, in one line with the way out, where driver, GPU, TensorRT, a way to CUDA or the
    plan is missing; `infer` raises DeviceLostError when the GPU faults.

    Of the timings, `preprocess` is the frame's copy into memory that the GPU reads; letterboxing is part of `detector`.
    """

    def __init__(
        self,
        bundle: Bundle,
        plans: Path,
        score_threshold: float | None = None,
        verify: bool = False,
        library: str = "tensorrt",
        deadline_ms: float = DEADLINE_MS,
    ) -> None:
        self._on_gpu = TensorrtGraphs(bundle, plans, library, deadline_ms)
        super().__init__(bundle, self._on_gpu, self._on_gpu.runtime, score_threshold, verify)

    @property
    def held_bytes(self) -> int:
        """Memory that the loop holds while it is open, the GPU's and pinned; TensorRT's own is not in it."""
        return self._on_gpu.held_bytes

    def propose(self, image: Image, timings_ms: dict[str, float] | None = None, confidence: float = 0.0) -> Proposals:
        """As in `NetworkEngine`, but the raw frame goes up and the kernel prepares it."""
        start = perf_counter()
        if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8:
            raise InferenceError(f"the frame cannot be prepared: it is {image.shape} {image.dtype}, not (height, width, 3) uint8 BGR")
        try:
            letterbox = letterbox_geometry((image.shape[0], image.shape[1]), self.info.input_hw, self._scale_up)
        except ValueError as error:
            raise InferenceError(f"the frame cannot be prepared: {error}") from error
        self._on_gpu.load(image, letterbox)
        loaded = perf_counter()
        rows = self._on_gpu.detect_loaded()
        if timings_ms is not None:
            timings_ms["preprocess"] = 1e3 * (loaded - start)
            timings_ms["detector"] = 1e3 * (perf_counter() - loaded)
        return Proposals(rows, letterbox)
