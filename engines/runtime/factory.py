"""The one place that turns two words of a configuration, a bundle and a runtime, into an engine."""

from __future__ import annotations

import difflib
from dataclasses import replace
from pathlib import Path

from engines.bundle import Bundle, resolve
from engines.errors import BundleError, RuntimeUnavailableError
from engines.naming import NamingLayer
from engines.naming.choice import layer_of
from engines.runtime import precision as precisions
from engines.runtime.engine import BundleEngine

AUTO = "auto"
"""OpenVINO for a bundle in INT8 where it is installed and the processor suits it, and for less than float32; otherwise ONNX Runtime.

`EngineInfo.runtime` says which it became.
"""
RUNTIMES = ("onnx", "openvino", "tensorrt", "tensorrt_rtx")
"""Runtimes that this version has; each is imported when it is chosen."""


def open_engine(
    reference: str | Path,
    runtime: str = "onnx",
    threads: int = 2,
    score_threshold: float | None = None,
    verify: bool = True,
    ungated: bool = False,
    plans: Path | None = None,
    precision: str = precisions.AUTO,
    layer: Path | None = None,
) -> BundleEngine:
    """An engine, not yet opened (use `with`), for `zoo:NAME` or a folder.

    runtime: one of `RUNTIMES`, or `AUTO`. threads: of the processor; a GPU's runtime has no use for them. ungated: a bundle that is not
    float is opened although it passed no gate; for the laboratory, and for those who say so. plans: folder of the plans that
    `attridet build` made on this device, for TensorRT. precision: in what the float part is computed, one of `PRECISIONS`, or `AUTO`,
    which is float32 here. layer: file of a naming layer that a person chose, in place of the bundle's own.

    Hashes are checked here; the golden picture on entering, unless `verify` is False. Raises BundleError (also for a bundle whose gate
    is not passed, and for a layer that was fitted to another), or RuntimeUnavailableError for a runtime that is not there.
    """
    if runtime not in (AUTO, *RUNTIMES):
        near = difflib.get_close_matches(runtime, [AUTO, *RUNTIMES], 1, 0.5)
        advice = f" Did you mean {near[0]!r}?" if near else ""
        raise RuntimeUnavailableError(f"there is no runtime {runtime!r}.{advice} Available: {', '.join((AUTO, *RUNTIMES))}.")
    precisions.check_word(precision)
    bundle = Bundle.open(resolve(reference))
    fault = bundle.manifest.gate_fault
    if fault is not None and not ungated:
        raise BundleError(
            f"{reference}: {fault}, so it is not opened. Compare it first: `attridet gate {reference} --reference FLOAT --data DIR`. "
            "To count with it all the same, set engine.ungated: true in the appliance's configuration."
        )
    bundle.check_graphs()
    chosen = layer_of(bundle, layer) if layer is not None else None
    verify = verify and bundle.golden() is not None
    computed = precisions.FLOAT32 if precision == precisions.AUTO else precision
    name = runtime_for(bundle, runtime, computed)
    if name == "openvino":
        if bundle.manifest.precision.endswith(precisions.HALF):
            raise RuntimeUnavailableError(
                f"{reference}: its graphs hold FP16, which is for a GPU. For OpenVINO take the bundle that it was made from, which "
                "it computes in 16 bits where the processor can (engine.precision)."
            )
        from engines.runtime.openvino.graphs import OpenvinoEngine

        return _named(OpenvinoEngine(bundle, threads, score_threshold, verify, computed), chosen)
    if computed != precisions.FLOAT32:
        title = "ONNX Runtime computes" if name == "onnx" else "TensorRT's plans compute"
        raise RuntimeUnavailableError(f"{title} in float32, not in {computed}. Set engine.precision to auto or float32.")
    if name in ("tensorrt", "tensorrt_rtx"):
        if plans is None:
            raise RuntimeUnavailableError(
                f"the runtime {name!r} runs plans that were built on this device. Run `attridet build {reference} --runtime {name}`, "
                "and name its folder of plans (engine.plans in the appliance's configuration)."
            )
        from engines.runtime.tensorrt.engine import TensorrtEngine

        return _named(TensorrtEngine(bundle, plans, score_threshold, verify, name), chosen)
    from engines.runtime.onnx import OnnxEngine

    return _named(OnnxEngine(bundle, threads, score_threshold, verify), chosen)


def _named(engine: BundleEngine, layer: NamingLayer | None) -> BundleEngine:
    """The engine, its cells named by the layer that was chosen, by the bundle's own without one."""
    if layer is not None:
        engine.naming, engine.info = layer, replace(engine.info, naming=layer.info)
    return engine


def runtime_for(bundle: Bundle, runtime: str, precision: str = precisions.FLOAT32) -> str:
    """The runtime that a word means for this bundle: `AUTO` becomes one of `RUNTIMES`, the others are themselves."""
    if runtime != AUTO:
        return runtime
    if precision != precisions.FLOAT32:
        return "openvino"
    if bundle.manifest.precision != "int8":
        return "onnx"
    from engines.runtime.openvino.library import suits_int8

    return "openvino" if suits_int8() else "onnx"
