"""A network straight from torch as an engine: what training wrote is judged as a bundle is, without exporting it first."""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from engines.decode import REGION_CAPACITY, Thresholds
from engines.detections import Float32, Image
from engines.errors import DataError, InferenceError, RuntimeUnavailableError
from engines.families.attridet.attridet import AttriDet
from engines.families.attridet.cell_features import cell_features, feature_count
from engines.families.base import MULTIPLE, Network
from engines.files import sha256_of
from engines.naming.tiles import TileGeometry, tile_runs
from engines.network.checkpoint import load_any
from engines.preprocess import to_planes
from engines.provenance import data_of
from engines.runtime.base import EngineInfo
from engines.runtime.engine import NetworkEngine

SUFFIXES = (".pt", ".safetensors")
"""Files that `open_checkpoint` takes."""
_TILES_A_RUN = 9


class TorchGraphs:
    """A network in place of a bundle's graphs; see `engines.runtime.graphs.Graphs`.

    The network is copied, so that one in training stays as it is, and fused on the device that it lies on.
    """

    def __init__(self, model: Network) -> None:
        self._source = model
        self._model: Network | None = None
        self._maps: Any = None
        self.regions = REGION_CAPACITY if model.describes else 0

    def open(self) -> None:
        model = copy.deepcopy(self._source).eval()
        model.fuse()
        self._model = model

    def detect(self, picture: Image, confidence: float = 0.0) -> Float32:
        return self._run(self._detect, to_planes(picture)[None])

    def describe(self, rois: Float32) -> Float32:
        return self._run(self._describe, rois)

    def look(self, tiles: Image) -> Float32:
        source = self._source
        if not isinstance(source, AttriDet):
            raise InferenceError(f"torch: the family {source.family} has no second look")
        if not len(tiles):
            return np.zeros((0, feature_count(source)), np.float32)
        geometry = TileGeometry(side_px=tiles.shape[1])
        runs = tile_runs(tiles, _TILES_A_RUN)
        return np.concatenate(
            [self._run(lambda model, given: _features(model, given, geometry), planes[:count]) for planes, count in runs]
        )

    def close(self) -> None:
        self._model = self._maps = None

    def _detect(self, model: Network, image: Tensor) -> Tensor:
        rows, self._maps = model.look(image)
        return rows[0]

    def _describe(self, model: Network, rois: Tensor) -> Tensor:
        """Regions without any extent are padding: they cost nothing and their probabilities are 0."""
        if self._maps is None:
            raise InferenceError("torch: no picture was shown yet; detect comes before describe.")
        out = rois.new_zeros(len(rois), model.taxonomy.n_logits)
        real = (rois[:, 2:] > rois[:, :2]).all(1)
        if real.any():
            indexed = torch.nn.functional.pad(rois[real], (1, 0))
            out[real] = model.describe(self._maps, indexed)
        return out

    def _run(self, step: Callable[[Network, Tensor], Tensor], given: Float32) -> Float32:
        if self._model is None:
            raise InferenceError("torch: the network is not open. Use the engine inside `with`.")
        device = next(self._model.parameters()).device
        try:
            with torch.inference_mode():
                answer: Float32 = step(self._model, torch.from_numpy(np.ascontiguousarray(given)).to(device)).cpu().numpy()
        except RuntimeError as error:
            raise InferenceError(f"torch: {str(error).strip().splitlines()[0]}") from error
        return answer


def engine_of(
    model: Network,
    name: str,
    version: str,
    side_px: int = 640,
    scale_up: bool = False,
    thresholds: Thresholds = Thresholds(),  # noqa: B008  # frozen
    digest: str | None = None,
) -> NetworkEngine:
    """An engine of a network in memory, on the device it lies on; use `with`. The network itself is left as it is.

    side_px: the input is a square of it, a multiple of 32. scale_up: small pictures are enlarged to fill it. thresholds: the working
    point. digest: identity of the weights; sha256 over the state dict unless given. Raises DataError for an impossible side.
    """
    if side_px < 32 or side_px % MULTIPLE:
        nearest = max(32, round(side_px / 32) * 32)
        raise DataError(f"--input {side_px}: the side of the network's input is a multiple of 32 px; the nearest is {nearest}")
    device = next(model.parameters()).device
    info = EngineInfo(
        name=name,
        version=version,
        digest=digest or _state_digest(model),
        runtime=f"torch {torch.__version__.partition('+')[0]} {device.type.upper()}",
        precision="fp32",
        input_hw=(side_px, side_px),
        taxonomy=model.taxonomy,
        score_threshold=thresholds.confidence,
    )
    engine = NetworkEngine(TorchGraphs(model), info, scale_up, thresholds)
    engine.untold = model.untold
    if model.concept_columns:
        engine.concept_columns, engine.types_given = model.concept_columns, model.types_given
    return engine


def open_checkpoint(
    path: Path,
    side_px: int = 640,
    scale_up: bool = False,
    thresholds: Thresholds | None = None,
    device: str = "cpu",
    threads: int | None = None,
    confidence: float | None = None,
) -> NetworkEngine:
    """An engine, not yet opened (use `with`), of what training wrote: a checkpoint (.pt, its averaged network) or .safetensors.

    thresholds: the working point; for None what an export would give, with boxes suppressed as the family has it, or `confidence`.
    threads: torch's in this process; unchanged for None. The engine is called after folder and file, its version says the epoch, its
    digest is the file's sha256. Raises DataError or BundleError naming the file, RuntimeUnavailableError for a device not there.
    """
    if path.suffix not in SUFFIXES:
        raise DataError(f"{path}: not a file of weights; give one that ends in {' or '.join(SUFFIXES)}")
    model, record = load_any(path)
    if threads is not None:
        torch.set_num_threads(threads)
    try:
        model.to(torch.device(device))
    except (RuntimeError, AssertionError) as error:  # torch without CUDA asserts
        raise RuntimeUnavailableError(f"--device {device}: torch cannot use it ({str(error).splitlines()[0]}). Try cpu.") from error
    name = f"{path.resolve().parent.name}/{path.name}"
    epoch = record.get("epoch", record.get("epochs"))
    version = f"epoch {epoch}" if epoch is not None else "epoch not recorded"
    if thresholds is None:
        thresholds = Thresholds(Thresholds.confidence if confidence is None else confidence, model.iou)
    engine = engine_of(model, name, version, side_px, scale_up, thresholds, sha256_of(path))
    engine.trained_on = data_of(record)
    return engine


def _features(model: Network, tiles: Tensor, geometry: TileGeometry) -> Tensor:
    assert isinstance(model, AttriDet)
    return cell_features(model, tiles, geometry)


def _state_digest(model: Network) -> str:
    digest = hashlib.sha256()
    for name, value in model.state_dict().items():
        digest.update(name.encode())
        digest.update(value.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()
