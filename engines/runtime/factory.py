"""The one place that turns two words of a configuration, a bundle and a runtime, into an engine."""

from __future__ import annotations

import difflib
from pathlib import Path

from engines.bundle import Bundle, resolve
from engines.errors import RuntimeUnavailableError
from engines.runtime.engine import BundleEngine

RUNTIMES = ("onnx",)
"""Runtimes that this version has."""
PLANNED = {"openvino": "OpenVINO", "tensorrt": "TensorRT"}
"""Known names that this version cannot open yet."""


def open_engine(
    reference: str | Path, runtime: str = "onnx", threads: int = 2, score_threshold: float | None = None, verify: bool = True
) -> BundleEngine:
    """An engine, not yet opened (use `with`), for `zoo:NAME` or a folder.

    Hashes are checked here; the golden picture on entering, unless `verify` is False. Raises BundleError, or
    RuntimeUnavailableError for a runtime that is not there.
    """
    if runtime in PLANNED:
        raise RuntimeUnavailableError(f"the runtime {PLANNED[runtime]} is not in this version. Available: {', '.join(RUNTIMES)}.")
    if runtime not in RUNTIMES:
        near = difflib.get_close_matches(runtime, [*RUNTIMES, *PLANNED], 1, 0.5)
        advice = f" Did you mean {near[0]!r}?" if near else ""
        raise RuntimeUnavailableError(f"there is no runtime {runtime!r}.{advice} Available: {', '.join(RUNTIMES)}.")
    bundle = Bundle.open(resolve(reference))
    from engines.runtime.onnx import OnnxEngine

    return OnnxEngine(bundle, threads, score_threshold, verify and bundle.golden() is not None)
