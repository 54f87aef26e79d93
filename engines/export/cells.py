"""`cells.onnx`: backbone and neck of an AttriDet on tiles of cells, each map averaged over the cell; and its proof against torch."""

from __future__ import annotations

import numpy as np
import onnx
import torch

from engines.detections import Image
from engines.errors import BundleError
from engines.families.attridet.attridet import AttriDet
from engines.families.attridet.cell_features import POOLED, cell_features, feature_count, pooling_matrix
from engines.families.attridet.trunk import TrunkWriter, trunk
from engines.naming.tiles import TileGeometry, tile_runs
from engines.runtime.graphs import FEATURES, TILES
from engines.runtime.onnx import open_session, session_options

TILES_A_RUN = 9
MAX_FEATURE_DIFFERENCE = 1e-4
"""Of a feature, between the graph and torch; over cells a trained network's features spread by some tenths, and none reaches 10."""
ROUNDING = 1e-5
"""Of the largest feature, where it is beyond 10, as untrained networks have it: what 32 bits round away grows with what flows."""


@torch.no_grad()
def cells_graph(model: AttriDet, tiles: int = TILES_A_RUN, side_px: int = 224, cell_px: float = 130) -> onnx.ModelProto:
    """The second look's graph of a model: names and shapes as in `engines.runtime.graphs`. The model is left as it is.

    Averages are products with constant matrices, so that nothing depends on a box and every shape is a number.
    """
    graph, geometry = TrunkWriter(), TileGeometry(side_px, cell_px)
    outputs = trunk(graph, model, TILES, {})
    parts = []
    for pooled in POOLED:
        matrix, at = pooling_matrix(pooled, geometry), f"pool.{pooled.layer}"
        shape = graph.weight(f"{at}.shape", np.array([tiles, -1, len(matrix)], np.int64))
        y = graph.add("Reshape", [outputs[pooled.layer], shape], f"{at}.reshape")
        y = graph.add("MatMul", [y, graph.weight(f"{at}.matrix", matrix)], at)
        y = graph.add("Transpose", [y], f"{at}.transpose", perm=[0, 2, 1])
        parts.append(graph.add("Flatten", [y], f"{at}.flatten", axis=1))
    graph.add("Concat", parts, FEATURES, [FEATURES], axis=1)
    return graph.model("attridet-cells", {TILES: (tiles, 3, side_px, side_px)}, {FEATURES: (tiles, feature_count(model))})


@torch.no_grad()
def verify_cells(model: AttriDet, graph: bytes, tiles: Image, geometry: TileGeometry) -> float:
    """The largest difference of a feature between torch and `cells.onnx` on tiles (N, side, side, 3) uint8 BGR.

    The model is in evaluation mode. Raises BundleError when it is more than 1e-4 (or 1e-5 of the largest feature, where that is
    beyond 10), and ValueError where there is no tile.
    """
    if not len(tiles):
        raise ValueError("the second look's graph is verified on at least one tile")
    session = open_session(graph, session_options(torch.get_num_threads()))
    run = session.get_inputs()[0].shape[0]
    worst, largest = 0.0, 0.0
    for planes, count in tile_runs(tiles, run):
        found = session.run([FEATURES], {TILES: planes})[0][:count]
        expected = cell_features(model, torch.from_numpy(planes[:count]), geometry).numpy()
        worst = float(np.maximum(worst, np.abs(found - expected).max()))  # unlike max, it does not lose a NaN
        largest = max(largest, float(np.abs(expected).max()))
    allowed = max(MAX_FEATURE_DIFFERENCE, ROUNDING * largest)
    if not worst <= allowed:
        raise BundleError(
            f"the second look's graph differs from torch by {worst:.5f} in a feature (allowed {allowed:.5f}). "
            "The bundle was not written; do not use these weights."
        )
    return worst
