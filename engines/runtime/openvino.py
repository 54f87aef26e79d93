"""OpenVINO on the CPU: the quick runtime for INT8 where no GPU is; it runs the same ONNX files. Opened by `engines.runtime.factory`."""

from __future__ import annotations

import importlib.metadata
import sys
from pathlib import Path
from typing import Any

import numpy as np

from engines.bundle import Bundle
from engines.detections import Float32
from engines.errors import BundleError, InferenceError, RuntimeUnavailableError
from engines.runtime.engine import BundleEngine
from engines.runtime.graphs import IMAGE, P2, P3, PROBABILITIES, ROIS, ROWS

INSTALL = "pip install 'leukoscope[openvino]'"


class OpenvinoGraphs:
    """A bundle's graphs as two compiled models that share the feature maps; see `engines.runtime.graphs.Graphs`.

    The attribute graph is the bundle's smallest, since a CPU pays for every region of it, used or not.
    """

    def __init__(self, bundle: Bundle, threads: int = 2) -> None:
        self._bundle = bundle
        self._threads = threads
        self._attributes_path, self.regions = bundle.attribute_graph()
        self._tensor: Any = None
        self._detector: Any = None
        self._describer: Any = None
        self._rows: Any = None
        self._probabilities: Any = None

    def open(self) -> None:
        """Loads both graphs. Raises RuntimeUnavailableError (not installed) or BundleError (a graph it cannot read)."""
        openvino = import_openvino()
        core, self._tensor = openvino.Core(), openvino.Tensor
        self._detector = self._request(core, self._bundle.detector_path, (IMAGE,), (ROWS, P2, P3))
        self._describer = self._request(core, self._attributes_path, (P2, P3, ROIS), (PROBABILITIES,))
        # The runtime writes where it is told to, for every picture in the same place: the maps reach the second graph uncopied.
        self._rows = self._output(self._detector, ROWS)
        for name in (P2, P3):
            self._describer.set_tensor(name, self._output(self._detector, name))
        self._probabilities = self._output(self._describer, PROBABILITIES)

    def detect(self, image: Float32) -> Float32:
        self._run(self._detector, IMAGE, image)
        rows: Float32 = self._rows.data[0]
        return rows

    def describe(self, rois: Float32) -> Float32:
        self._run(self._describer, ROIS, rois)
        probabilities: Float32 = self._probabilities.data
        return probabilities

    def close(self) -> None:
        self._tensor = self._detector = self._describer = self._rows = self._probabilities = None

    def _request(self, core: Any, path: Path, inputs: tuple[str, ...], outputs: tuple[str, ...]) -> Any:
        try:
            model = core.compile_model(with_unsigned_maps(core.read_model(str(path))), "CPU", options(self._threads))
        except RuntimeError as error:
            raise BundleError(f"{path}: OpenVINO cannot load it ({_words(error)}). Export the bundle again.") from error
        found = {i.any_name for i in model.inputs}, {o.any_name for o in model.outputs}
        if found != (set(inputs), set(outputs)):
            raise BundleError(
                f"{path}: has inputs {sorted(found[0])} and outputs {sorted(found[1])}, expected {sorted(inputs)} and "
                f"{sorted(outputs)}. Export the bundle again."
            )
        return model.create_infer_request()

    def _output(self, request: Any, name: str) -> Any:
        """A tensor of its own for an output; unlike the runtime's it is never moved."""
        own = request.get_tensor(name)
        tensor = self._tensor(own.element_type, own.shape)
        request.set_tensor(name, tensor)
        return tensor

    def _run(self, request: Any, name: str, value: Float32) -> None:
        if request is None:
            raise InferenceError("OpenVINO is not open. Use the engine inside `with`.")
        try:
            request.set_tensor(name, self._tensor(value, shared_memory=True))
            request.infer(share_outputs=True)
        except RuntimeError as error:
            raise InferenceError(f"OpenVINO: {_words(error)}") from error


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
        chain = [shift]
        for kind in ("Convert", "Convert", "FakeQuantize"):
            source = chain[-1].input_value(0).get_node() if chain[-1].get_input_size() else None
            if source is None or source.get_type_name() != kind:
                break
            chain.append(source)
        if shift.get_type_name() != "Subtract" or len(chain) < 4 or chain[2].get_element_type().to_string() != "i8":
            continue
        picture, low, high = (chain[3].input_value(i) for i in range(3))
        stored = op.fake_quantize(picture, low, high, np.float32(0), np.float32(255), 256)
        shift.input(0).replace_source_output(op.convert(op.convert(stored, "u8"), "f32").output(0))
        shift.input(1).replace_source_output(op.add(shift.input_value(1), np.float32(128)).output(0))
    model.validate_nodes_and_infer_types()
    return model


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
