"""What a bundle gets for the second look: its graph, proved against torch, and the naming layer and open cells that ship with it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from engines.bundle import Bundle, golden_answer
from engines.detections import Detections, Float32, Image
from engines.errors import BundleError
from engines.export.cells import TILES_A_RUN, cells_graph, verify_cells
from engines.families.attridet.attridet import AttriDet
from engines.families.attridet.cell_features import feature_count
from engines.manifest import SecondLook
from engines.naming.choice import layer_of
from engines.naming.tiles import TileGeometry, cut_tiles
from engines.runtime.engine import NetworkEngine
from engines.runtime.onnx import OnnxEngine

CELLS, LAYER, OPEN_CELLS = "cells.onnx", "naming-layer.npz", "open-cells.npz"
_CELLS_A_PICTURE = 4


@dataclass(frozen=True)
class NamingFiles:
    """layer: a naming layer fitted to this very graph. open_cells: what a site layer is mixed with. None: the bundle has none."""

    layer: Path | None = None
    open_cells: Path | None = None


def graph_of(encoder: AttriDet, tiles: Image) -> tuple[SecondLook, bytes]:
    """The manifest's record and the graph of a second look by `encoder`, verified on tiles (N, side, side, 3) uint8 BGR.

    The encoder is in evaluation mode. Raises BundleError when the graph differs from torch.
    """
    geometry = TileGeometry()
    graph = cells_graph(encoder, TILES_A_RUN, geometry.side_px, geometry.cell_px).SerializeToString(deterministic=True)
    record = SecondLook(
        graph=CELLS,
        tiles=TILES_A_RUN,
        side_px=geometry.side_px,
        cell_px=geometry.cell_px,
        features=feature_count(encoder),
        export_difference=verify_cells(encoder, graph, tiles, geometry),
        export_tiles=len(tiles),
    )
    return record, graph


def with_naming(draft: Bundle, naming: NamingFiles) -> tuple[SecondLook, dict[str, bytes | Path]]:
    """The record of a bundle's second look with these naming files, and the files to lay beside its graph.

    Raises BundleError, naming the file, for a layer that was fitted to another graph or other classes, or is no layer.
    """
    files: dict[str, bytes | Path] = {}
    if naming.layer is not None:
        layer_of(draft, naming.layer)
        files[LAYER] = naming.layer
    if naming.open_cells is not None:
        if not naming.open_cells.is_file():
            raise BundleError(f"{naming.open_cells}: no such file of open cells. Name the one that the layer was fitted on.")
        files[OPEN_CELLS] = naming.open_cells
    names = {key: name for key, name in (("layer", LAYER), ("open_cells", OPEN_CELLS)) if name in files}
    return draft.second_look()[1].model_copy(update=names), files


def tiles_of(engine: NetworkEngine, images: Iterable[Image]) -> Image:
    """Tiles of the cells that an open engine finds, at most 4 a picture; a picture without any gives its middle."""
    tiles = []
    for image in images:
        height, width = image.shape[:2]
        boxes_px = engine.infer(image).detections.boxes_px[:_CELLS_A_PICTURE]
        if not len(boxes_px):
            boxes_px = np.array([[0.4 * width, 0.4 * height, 0.6 * width, 0.6 * height]], np.float32)
        tiles.append(cut_tiles(image, boxes_px, TileGeometry()))
    return np.concatenate(tiles)


def named_golden(draft: Bundle, image: Image, found: Detections, margins: Float32 | None = None) -> bytes:
    """`golden.json` for detections on the golden picture, and what the draft's second look says of them if it has a naming layer."""
    if layer_of(draft) is None:
        return golden_answer(found, margins, draft.taxonomy)
    stored = replace(found, boxes_px=found.boxes_px.round(3))  # as the file has them
    with OnnxEngine(draft) as engine:
        return golden_answer(replace(found, names=engine.name_cells(image, stored).names), margins, draft.taxonomy)
