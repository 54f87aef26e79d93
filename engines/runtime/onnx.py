"""ONNX Runtime on the CPU: the reference runtime, and the one that runs everywhere. Opened by `engines.runtime.factory`."""

from __future__ import annotations

import importlib.metadata
import os
from pathlib import Path
from typing import Any

import numpy as np

from engines.bundle import Bundle
from engines.detections import Float32, Image
from engines.errors import BundleError, InferenceError, RuntimeUnavailableError
from engines.naming.tiles import tile_runs
from engines.preprocess import to_planes
from engines.runtime.engine import BundleEngine
from engines.runtime.graphs import FEATURES, IMAGE, P2, P3, PROBABILITIES, ROIS, ROWS, TILES, check_input, check_names

_NOT_OPEN = "ONNX Runtime is not open. Use the engine inside `with`."


class OnnxGraphs:
    """A bundle's graphs in ONNX Runtime sessions; see `engines.runtime.graphs.Graphs`.

    The attribute graph is the bundle's smallest, since a CPU pays for every region of it, used or not.
    """

    def __init__(self, bundle: Bundle, threads: int = 2) -> None:
        self._bundle = bundle
        self._threads = threads
        self.regions = bundle.describing_graph()[1] if bundle.describes else 0
        self._answers = (ROWS, P2, P3) if bundle.describes and not bundle.rereads else (ROWS,)
        self._detector: Any = None
        self._describer: Any = None
        self._cells: Any = None
        self._maps: dict[str, Float32] = {}
        self._planes = np.empty(0, np.float32)

    @property
    def _told_from(self) -> tuple[str, ...]:
        """What attributes are told from, besides the regions."""
        return (IMAGE,) if self._bundle.rereads else (P2, P3)

    def open(self) -> None:
        """Loads detector and attributes. Raises RuntimeUnavailableError (not installed) or BundleError (a graph it cannot read)."""
        options = session_options(self._threads)
        self._detector = self._session(self._bundle.detector_path, options, (IMAGE,), self._answers)
        check_input(self._bundle.detector_path, self._detector.get_inputs()[0].shape, self._bundle.manifest.input.hw)
        if self._bundle.describes:
            self._describer = self._session(self._bundle.describing_graph()[0], options, (*self._told_from, ROIS), (PROBABILITIES,))

    def detect(self, picture: Image, confidence: float = 0.0) -> Float32:
        shape = (3, *picture.shape[:2])
        if self._planes.shape != shape:
            self._planes = np.empty(shape, np.float32)
        planes = to_planes(picture, self._planes)[None]
        all_rows, *maps = self._run(self._detector, list(self._answers), {IMAGE: planes})
        self._maps = {IMAGE: planes} if self._bundle.rereads else dict(zip(self._answers[1:], maps, strict=True))
        rows: Float32 = all_rows[0]
        return rows

    def describe(self, rois: Float32) -> Float32:
        return self._run(self._describer, [PROBABILITIES], {**self._maps, ROIS: rois})[0]

    def look(self, tiles: Image) -> Float32:
        if self._detector is None:
            raise InferenceError(_NOT_OPEN)
        path, second = self._bundle.second_look()
        if self._cells is None:
            self._cells = self._session(path, session_options(self._threads), (TILES,), (FEATURES,))
        features = np.empty((len(tiles), second.features), np.float32)
        done = 0
        for planes, count in tile_runs(tiles, second.tiles):
            features[done : done + count] = self._run(self._cells, [FEATURES], {TILES: planes})[0][:count]
            done += count
        return features

    def close(self) -> None:
        self._detector = self._describer = self._cells = None
        self._maps = {}

    @staticmethod
    def _session(path: Path, options: Any, inputs: tuple[str, ...], outputs: tuple[str, ...]) -> Any:
        try:
            session = open_session(path, options)
        except Exception as error:  # the runtime's exceptions share no base of their own
            raise BundleError(f"{path}: ONNX Runtime cannot load it ({_first_line(error)}). Export the bundle again.") from error
        found = {i.name for i in session.get_inputs()}, {o.name for o in session.get_outputs()}
        check_names(path, found, inputs, outputs)
        return session

    @staticmethod
    def _run(session: Any, outputs: list[str], inputs: dict[str, Float32]) -> list[Float32]:
        if session is None:
            raise InferenceError(_NOT_OPEN)
        try:
            answer: list[Float32] = session.run(outputs, inputs)
        except Exception as error:  # the runtime's exceptions share no base of their own
            raise InferenceError(f"ONNX Runtime: {_first_line(error)}") from error
        return answer


class OnnxEngine(BundleEngine):
    """A bundle on ONNX Runtime, CPU. threads: how many the graphs may use; the rest as in `BundleEngine`."""

    def __init__(self, bundle: Bundle, threads: int = 2, score_threshold: float | None = None, verify: bool = False) -> None:
        super().__init__(bundle, OnnxGraphs(bundle, threads), f"onnxruntime {version()} CPU", score_threshold, verify)


def session_options(threads: int) -> Any:
    """Options for a session that shares its processor with a camera and a screen. Raises RuntimeUnavailableError."""
    # A clinic's box reports nothing to anybody: merely importing some wheels of ONNX Runtime leaves a device id in the home folder.
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    try:
        import onnxruntime
    except ImportError as error:
        raise RuntimeUnavailableError(f"ONNX Runtime cannot be imported ({error}). Run: pip install onnxruntime") from error
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    # Threads that spin while they wait take the processor from everything else; on a busy one that doubled an inference's time.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return options


def open_session(graph: Path | bytes, options: Any) -> Any:
    """A session on the CPU for a file or a serialised graph; raises what ONNX Runtime raises."""
    import onnxruntime

    source = graph if isinstance(graph, bytes) else str(graph)
    return onnxruntime.InferenceSession(source, options, providers=["CPUExecutionProvider"])


def version() -> str:
    """The installed version, without importing the runtime."""
    for distribution in ("onnxruntime", "onnxruntime-gpu"):
        try:
            return importlib.metadata.version(distribution)
        except importlib.metadata.PackageNotFoundError:
            continue
    raise RuntimeUnavailableError("ONNX Runtime is not installed. Run: pip install onnxruntime")


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
