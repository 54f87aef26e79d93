"""A bundle's graphs on OpenVINO's CPU plugin, rewritten to what it does quickly, with numpy for what it does not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from engines.bundle import Bundle
from engines.detections import Float32, Image
from engines.errors import BundleError, InferenceError
from engines.naming.tiles import tile_runs
from engines.preprocess import to_planes
from engines.runtime.engine import BundleEngine
from engines.runtime.graphs import FEATURES, IMAGE, P2, P3, PROBABILITIES, ROIS, ROWS, TILES, check_input, check_names
from engines.runtime.logits import Level, decode
from engines.runtime.openvino.library import check_precision, core, import_openvino, options, version, words
from engines.runtime.openvino.rewrite import (
    POOLED,
    Pool,
    with_levels_for_input,
    with_logits,
    with_maps_as_computed,
    with_unsigned_maps,
    without_roi_align,
)
from engines.runtime.precision import FLOAT32
from engines.runtime.roi_align import FeatureMap, roi_align

_SIZES = (1, 2, 3, 4, 6, 8, 12, 16)
"""Numbers of regions for which the attribute graph is compiled: a CPU pays for every region of it, used or not."""
_NOT_OPEN = "OpenVINO is not open. Use the engine inside `with`."


class OpenvinoGraphs:
    """A bundle's graphs as compiled models, with RoiAlign and decoding in numpy; see `engines.runtime.graphs.Graphs`.

    OpenVINO's own RoiAlign takes ten times as long as `engines.runtime.roi_align`, and longer than all the rest of the attribute graph.
    """

    def __init__(self, bundle: Bundle, threads: int = 2, precision: str = FLOAT32) -> None:
        self._bundle = bundle
        self.regions = bundle.describing_graph()[1] if bundle.rereads else _SIZES[-1] if bundle.describes else 0
        self._threads = threads
        self._precision = precision
        self._tensor: Any = None
        self._detector: Any = None
        self._cells: Any = None
        self._describers: dict[int, Any] = {}
        self._rereader: Any = None
        self._planes = np.empty(0, np.float32)
        self._outputs: dict[str, Any] = {}
        self._levels: dict[str, Level] = {}
        self._maps: dict[str, FeatureMap] = {}
        self._pools: tuple[Pool, ...] = ()
        self._pooled = self._probabilities = np.empty(0, np.float32)

    def open(self) -> None:
        """Loads detector and attributes. Raises RuntimeUnavailableError (not installed) or BundleError (a graph it cannot read)."""
        openvino = import_openvino()
        check_precision(self._precision)
        self._tensor = openvino.Tensor
        self._open_detector(openvino, core())
        if self._bundle.rereads:
            path, _ = self._bundle.describing_graph()
            self._rereader = self._request(core(), path, self._read(core(), path, (IMAGE, ROIS), (PROBABILITIES,)))
        elif self._bundle.describes:
            self._open_describers(openvino, core())

    def detect(self, picture: Image, confidence: float = 0.0) -> Float32:
        if self._detector is None:
            raise InferenceError(_NOT_OPEN)
        try:
            self._detector.set_tensor(IMAGE, self._tensor(picture[None], shared_memory=True))
            self._detector.infer(share_outputs=True)
        except RuntimeError as error:
            raise InferenceError(f"OpenVINO: {words(error)}") from error
        if not self._levels:
            if self._rereader is not None:
                self._planes = to_planes(picture)[None]
            rows: Float32 = self._outputs[ROWS][0]
            return rows
        return decode([(self._outputs[name], level) for name, level in self._levels.items()], confidence)

    def describe(self, rois: Float32) -> Float32:
        if self._rereader is not None:
            return self._reread(rois)
        if not self._describers:
            raise InferenceError(_NOT_OPEN)
        if rois.shape != (self.regions, 4) or not np.isfinite(rois).all():
            raise InferenceError(f"OpenVINO: regions are {self.regions} x 4 numbers, not {rois.tolist()}")
        used = int(np.flatnonzero(rois.any(1)).max(initial=-1)) + 1  # the others are there to fill up
        if not used:
            return self._probabilities
        for pool in self._pools:
            roi_align(self._maps[pool.map], rois[:used], pool.scale, self._pooled[:used, ..., pool.channels])
        try:
            self._describers[next(size for size in _SIZES if size >= used)].infer(share_outputs=True)
        except RuntimeError as error:
            raise InferenceError(f"OpenVINO: {words(error)}") from error
        return self._probabilities

    def _reread(self, rois: Float32) -> Float32:
        """Attributes of boxes as their network reads them from the picture seen last."""
        try:
            for name, array in ((IMAGE, self._planes), (ROIS, rois)):
                self._rereader.set_tensor(name, self._tensor(array, shared_memory=True))
            self._rereader.infer(share_outputs=True)
        except RuntimeError as error:
            raise InferenceError(f"OpenVINO: {words(error)}") from error
        told: Float32 = self._rereader.get_tensor(PROBABILITIES).data.copy()
        return told

    def look(self, tiles: Image) -> Float32:
        if self._detector is None:
            raise InferenceError(_NOT_OPEN)
        path, second = self._bundle.second_look()
        if self._cells is None:
            self._cells = self._request(core(), path, self._read(core(), path, (TILES,), (FEATURES,)), FLOAT32)
        features = np.empty((len(tiles), second.features), np.float32)
        done = 0
        for planes, count in tile_runs(tiles, second.tiles):
            try:
                self._cells.set_tensor(TILES, self._tensor(planes, shared_memory=True))
                self._cells.infer(share_outputs=True)
            except RuntimeError as error:
                raise InferenceError(f"OpenVINO: {words(error)}") from error
            features[done : done + count] = self._cells.get_tensor(FEATURES).data[:count]
            done += count
        return features

    def close(self) -> None:
        self._tensor = self._detector = self._cells = self._rereader = None
        self._describers, self._outputs, self._levels, self._maps, self._pools = {}, {}, {}, {}, ()

    def _open_detector(self, openvino: Any, core: Any) -> None:
        path = self._bundle.detector_path
        maps = (P2, P3) if self._bundle.describes and not self._bundle.rereads else ()
        model = self._read(core, path, (IMAGE,), (ROWS, *maps))
        check_input(path, list(model.input(IMAGE).shape), self._bundle.manifest.input.hw)
        try:
            model = with_unsigned_maps(with_levels_for_input(openvino, model))
            steps = with_maps_as_computed(model)
            if maps:
                model, self._levels = with_logits(openvino, model)
        except BundleError as error:
            raise BundleError(f"{path}: {error}. Export the bundle again.") from error
        detector = self._request(core, path, model)
        for name in (*maps, *(self._levels or (ROWS,))):
            self._outputs[name] = np.zeros_like(detector.get_tensor(name).data)
            detector.set_tensor(name, self._tensor(self._outputs[name], shared_memory=True))
        self._maps = {name: FeatureMap(self._outputs[name], *steps[name]) for name in maps}
        self._detector = detector

    def _open_describers(self, openvino: Any, core: Any) -> None:
        path, _ = self._bundle.attribute_graph()
        model = self._read(core, path, (P2, P3, ROIS), (PROBABILITIES,))
        try:
            model, self._pools = without_roi_align(openvino, model)
        except BundleError as error:
            raise BundleError(f"{path}: {error}. Export the bundle again.") from error
        model = with_unsigned_maps(model)
        (_, *pooled), (_, *answer) = (list(port.get_shape()) for port in (model.input(POOLED), model.output(PROBABILITIES)))
        # All sizes read and write the same arrays, from their beginning.
        self._pooled = np.zeros((self.regions, *pooled), np.float32)
        self._probabilities = np.zeros((self.regions, *answer), np.float32)
        describers = {}
        for size in _SIZES:
            model.reshape({POOLED: [size, *pooled]})
            describers[size] = self._request(core, path, model)
            for name, array in ((POOLED, self._pooled), (PROBABILITIES, self._probabilities)):
                describers[size].set_tensor(name, self._tensor(array[:size], shared_memory=True))
            describers[size].infer()  # the first run sets up buffers; no frame shall wait for that
        self._describers = describers

    @staticmethod
    def _read(core: Any, path: Path, inputs: tuple[str, ...], outputs: tuple[str, ...]) -> Any:
        try:
            model = core.read_model(str(path))
        except RuntimeError as error:
            raise BundleError(f"{path}: OpenVINO cannot load it ({words(error)}). Export the bundle again.") from error
        found = {i.any_name for i in model.inputs}, {o.any_name for o in model.outputs}
        check_names(path, found, inputs, outputs)
        return model

    def _request(self, core: Any, path: Path, model: Any, precision: str = "") -> Any:
        """The compiled model, ready to run. precision: in place of the engine's own."""
        try:
            return core.compile_model(model, "CPU", options(self._threads, precision or self._precision)).create_infer_request()
        except RuntimeError as error:
            raise BundleError(f"{path}: OpenVINO cannot compile it ({words(error)}). Export the bundle again.") from error


class OpenvinoEngine(BundleEngine):
    """A bundle on OpenVINO, CPU. threads: how many the graphs may use; the rest as in `BundleEngine`."""

    def __init__(
        self,
        bundle: Bundle,
        threads: int = 2,
        score_threshold: float | None = None,
        verify: bool = False,
        precision: str = FLOAT32,
    ) -> None:
        graphs = OpenvinoGraphs(bundle, threads, precision)
        super().__init__(bundle, graphs, f"openvino {version()} CPU", score_threshold, verify, precision)
