"""OpenVINO on the CPU: the quick runtime for INT8 where no GPU is; it runs the same ONNX files. Opened by `engines.runtime.factory`."""

from __future__ import annotations

import importlib.metadata
import re
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from engines.bundle import Bundle
from engines.detections import Float32
from engines.errors import BundleError, InferenceError, RuntimeUnavailableError
from engines.runtime.engine import BundleEngine
from engines.runtime.graphs import IMAGE, P2, P3, PROBABILITIES, ROIS, ROWS
from engines.runtime.roi_align import FeatureMap, roi_align

INSTALL = "pip install 'leukoscope[openvino]'"


@dataclass(frozen=True, eq=False)
class _Pool:
    """One RoiAlign that was taken out of the attribute graph: of which map, at which scale, and where its result goes."""

    map: str
    scale: float
    regions: Float32  # (n, h, w, C)


class OpenvinoGraphs:
    """A bundle's graphs as two compiled models, with RoiAlign between them in numpy; see `engines.runtime.graphs.Graphs`.

    The attribute graph is the bundle's smallest, since a CPU pays for every region of it, used or not. OpenVINO's own RoiAlign takes
    ten times as long as `engines.runtime.roi_align`, and longer than all the rest of the graph.
    """

    def __init__(self, bundle: Bundle, threads: int = 2) -> None:
        self._bundle = bundle
        self._threads = threads
        self._attributes_path, self.regions = bundle.attribute_graph()
        self._tensor: Any = None
        self._detector: Any = None
        self._describer: Any = None
        self._outputs: dict[str, Any] = {}
        self._maps: dict[str, FeatureMap] = {}
        self._pools: tuple[_Pool, ...] = ()

    def open(self) -> None:
        """Loads both graphs. Raises RuntimeUnavailableError (not installed) or BundleError (a graph it cannot read)."""
        openvino = import_openvino()
        core, self._tensor = openvino.Core(), openvino.Tensor
        detector = with_unsigned_maps(self._read(core, self._bundle.detector_path, (IMAGE,), (ROWS, P2, P3)))
        steps = _with_maps_as_computed(detector)
        self._detector = self._request(core, detector, (ROWS, P2, P3))
        self._maps = {name: FeatureMap(self._outputs[name], *steps[name]) for name in (P2, P3)}
        describer = self._read(core, self._attributes_path, (P2, P3, ROIS), (PROBABILITIES,))
        describer, self._pools = _without_roi_align(openvino, describer, self._attributes_path)
        self._describer = self._request(core, with_unsigned_maps(describer), (PROBABILITIES,))
        for pool in self._pools:
            self._describer.set_tensor(pool.map, self._tensor(pool.regions, shared_memory=True))

    def detect(self, image: Float32) -> Float32:
        if self._detector is None:
            raise InferenceError("OpenVINO is not open. Use the engine inside `with`.")
        try:
            self._detector.set_tensor(IMAGE, self._tensor(image, shared_memory=True))
            self._detector.infer(share_outputs=True)
        except RuntimeError as error:
            raise InferenceError(f"OpenVINO: {_words(error)}") from error
        rows: Float32 = self._outputs[ROWS][0]
        return rows

    def describe(self, rois: Float32) -> Float32:
        if self._describer is None:
            raise InferenceError("OpenVINO is not open. Use the engine inside `with`.")
        if rois.shape != (self.regions, 4) or not np.isfinite(rois).all():
            raise InferenceError(f"OpenVINO: regions are {self.regions} x 4 numbers, not {rois.tolist()}")
        for pool in self._pools:
            for box_px, out in zip(rois, pool.regions, strict=True):
                if box_px.any():  # the others are not used
                    roi_align(self._maps[pool.map], box_px, pool.scale, out)
        try:
            self._describer.infer(share_outputs=True)
        except RuntimeError as error:
            raise InferenceError(f"OpenVINO: {_words(error)}") from error
        probabilities: Float32 = self._outputs[PROBABILITIES]
        return probabilities

    def close(self) -> None:
        self._tensor = self._detector = self._describer = None
        self._outputs, self._maps, self._pools = {}, {}, ()

    @staticmethod
    def _read(core: Any, path: Path, inputs: tuple[str, ...], outputs: tuple[str, ...]) -> Any:
        try:
            model = core.read_model(str(path))
        except RuntimeError as error:
            raise BundleError(f"{path}: OpenVINO cannot load it ({_words(error)}). Export the bundle again.") from error
        found = {i.any_name for i in model.inputs}, {o.any_name for o in model.outputs}
        if found != (set(inputs), set(outputs)):
            raise BundleError(
                f"{path}: has inputs {sorted(found[0])} and outputs {sorted(found[1])}, expected {sorted(inputs)} and "
                f"{sorted(outputs)}. Export the bundle again."
            )
        return model

    def _request(self, core: Any, model: Any, outputs: tuple[str, ...]) -> Any:
        """The compiled model, ready to run, writing its outputs into arrays of ours: the same for every picture, never copied."""
        try:
            request = core.compile_model(model, "CPU", options(self._threads)).create_infer_request()
        except RuntimeError as error:
            raise BundleError(f"{self._bundle.path}: OpenVINO cannot compile it ({_words(error)}). Export the bundle again.") from error
        for name in outputs:
            self._outputs[name] = np.zeros_like(request.get_tensor(name).data)
            request.set_tensor(name, self._tensor(self._outputs[name], shared_memory=True))
        return request


class OpenvinoEngine(BundleEngine):
    """A bundle on OpenVINO, CPU. threads: how many the graphs may use; the rest as in `BundleEngine`."""

    def __init__(self, bundle: Bundle, threads: int = 2, score_threshold: float | None = None, verify: bool = False) -> None:
        super().__init__(bundle, OpenvinoGraphs(bundle, threads), f"openvino {_version()} CPU", score_threshold, verify)


def options(threads: int) -> dict[str, str]:
    """How a graph is compiled, beside a camera and a screen on the same processor."""
    return {
        # Left alone it computes in bfloat16 where the processor can: scores then differ from the reference's by some hundredths.
        "INFERENCE_PRECISION_HINT": "f32",
        "PERFORMANCE_HINT": "LATENCY",
        "NUM_STREAMS": "1",
        "INFERENCE_NUM_THREADS": str(threads),
    }


def with_unsigned_maps(model: Any) -> Any:
    """The model with its maps' 8-bit numbers stored from 0 to 255, zero at 128, in place of -128 to 127: the same values.

    OpenVINO's CPU plugin (2026.4) loses the negative numbers of a signed map that goes from a convolution through a Concat into the
    next one, as in every C3 block: the detector then sees hundreds of cells that are not there. Unsigned maps pass, as quickly. The
    file stays signed, as TensorRT wants it; weights are left alone, and a float graph has nothing to change.
    """
    from openvino import opset13 as op

    for shift in model.get_ordered_ops():
        # DequantizeLinear's Subtract of the zero point, behind QuantizeLinear's FakeQuantize and Convert to 8 bits.
        chain = _chain_to(shift, ("Subtract", "Convert", "Convert", "FakeQuantize"))
        if not chain or chain[2].get_element_type().to_string() != "i8":
            continue
        picture, low, high = (chain[3].input_value(i) for i in range(3))
        stored = op.fake_quantize(picture, low, high, np.float32(0), np.float32(255), 256)
        shift.input(0).replace_source_output(op.convert(op.convert(stored, "u8"), "f32").output(0))
        shift.input(1).replace_source_output(op.add(shift.input_value(1), np.float32(128)).output(0))
    model.validate_nodes_and_infer_types()
    return model


def _with_maps_as_computed(model: Any) -> dict[str, tuple[float, float]]:
    """Changes a detector to give out its feature maps as (1, H, W, C), and in 8 bits where they are quantised: as it computes them.

    Gives step and zero of each (see `FeatureMap`). Turning whole maps round and back to float took a sixth of the detector's time; of
    regions it takes next to nothing.
    """
    from openvino import opset13 as op

    steps = {}
    for result in model.get_results():
        name, told = result.output(0).get_any_name(), result.input_value(0)
        if name not in (P2, P3):
            continue
        chain = _chain_to(told.get_node(), ("Multiply", "Subtract", "Convert", "Convert", "FakeQuantize"))
        steps[name] = (1.0, 0.0)
        source = told
        if chain and chain[3].get_element_type().to_string() == "u8":
            low, high = (float(chain[4].input_value(i).get_node().get_data()) for i in (1, 2))
            step = (high - low) / 255
            steps[name] = (step, float(round(-low / step)))
            source = chain[3].output(0)
        turned = op.transpose(source, np.array((0, 2, 3, 1)))
        told.get_tensor().set_names(set())
        turned.output(0).get_tensor().set_names({name})
        result.input(0).replace_source_output(turned.output(0))
    model.validate_nodes_and_infer_types()
    return steps


def _chain_to(node: Any, kinds: tuple[str, ...]) -> list[Any]:
    """This node and those before it by their first inputs, where they are of these kinds; else nothing."""
    chain: list[Any] = []
    for kind in kinds:
        if node is None or node.get_type_name() != kind:
            return []
        chain.append(node)
        node = node.input_value(0).get_node() if node.get_input_size() else None
    return chain


def _without_roi_align(openvino: Any, model: Any, path: Path) -> tuple[Any, tuple[_Pool, ...]]:
    """The attribute graph from its pooled regions on, as inputs named like their maps, and what is to be pooled."""
    from openvino import opset13 as op

    inputs, pools = [], []
    for node in model.get_ordered_ops():
        if node.get_type_name() != "ROIAlign":
            continue
        how, source = node.get_attributes(), node.input_value(0).get_node().get_friendly_name()
        if source not in (P2, P3) or (how["sampling_ratio"], how["mode"], how["aligned_mode"]) != (0, "avg", "asymmetric"):
            raise BundleError(
                f"{path}: {node.get_friendly_name()} pools in another way than this runtime does. Export the bundle again."
            )
        n, channels, height, width = node.output(0).get_shape()
        regions = np.zeros((n, height, width, channels), np.float32)
        pooled = op.parameter(regions.shape, np.float32)
        pooled.output(0).get_tensor().set_names({source})
        node.output(0).replace(op.transpose(pooled, np.array((0, 3, 1, 2))).output(0))
        inputs.append(pooled)
        pools.append(_Pool(source, how["spatial_scale"], regions))
    return openvino.Model(model.get_results(), inputs, "attributes"), tuple(pools)


def suits_int8() -> bool:
    """Whether OpenVINO is installed and this processor computes INT8 rightly in it: on x86 without VNNI the sums of products overflow.

    The golden picture shows that (13 cells for 7), so that such an engine is refused; this only spares the attempt.
    """
    if not available():
        return False
    try:
        flags = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return True
    return "vnni" in flags or not re.search(r"^flags\s*:", flags, re.MULTILINE)  # only x86 calls them flags


def available() -> bool:
    """Whether OpenVINO is installed; it is not imported for that."""
    try:
        importlib.metadata.version("openvino")
    except importlib.metadata.PackageNotFoundError:
        return False
    return True


def import_openvino() -> Any:
    """The module, without its reports to its maker. Raises RuntimeUnavailableError."""
    # A clinic's box reports nothing to anybody: merely importing OpenVINO sends an event to its maker and leaves a device id in the
    # home folder, and no switch turns it off but a file there. Without the package that sends, OpenVINO takes its own stand-in for it.
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]  # None is Python's word for "must not be imported"
    try:
        import openvino
    except ImportError as error:
        raise RuntimeUnavailableError(f"OpenVINO cannot be imported ({error}). Run: {INSTALL}") from error
    return openvino


def _version() -> str:
    """The installed version, without importing the runtime."""
    try:
        return importlib.metadata.version("openvino")
    except importlib.metadata.PackageNotFoundError:
        raise RuntimeUnavailableError(f"OpenVINO is not installed. Run: {INSTALL}") from None


def _words(error: Exception) -> str:
    """What went wrong, in the runtime's own words: the last line; those before say where in its source."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1] if lines else type(error).__name__
