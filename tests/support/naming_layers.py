"""Bundles with a second look, and layers that suit them, for tests that run no graph."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from engines.bundle import ZOO, Bundle, write_bundle
from engines.manifest import Manifest, SecondLook
from engines.naming import NamingLayer
from engines.naming.choice import encoder_of
from engines.taxonomy import LEUKEMIA_ATTRI, Taxonomy

FEATURES = 6


def bundle_with_look(folder: Path, graph: bytes = b"a graph", layer: NamingLayer | None = None, features: int = FEATURES) -> Bundle:
    """The shipped bundle with files for a second look beside it; the graph is looked at by its hash only."""
    shipped = Bundle.open(ZOO / "attridet-n", verify=False)
    files: dict[str, bytes | Path] = {name: shipped.path / name for name in shipped.manifest.files}
    files["cells.onnx"] = graph
    if layer is not None:
        files["layer.npz"] = layer.to_bytes()
    look = SecondLook(tiles=9, side_px=224, cell_px=130, features=features, export_difference=0.0, export_tiles=8)
    look = look.model_copy(update={"layer": None if layer is None else "layer.npz"})
    data = {**shipped.manifest.model_dump(), "second_look": look.model_dump()}
    records = {name: {"bytes": 0, "sha256": "0" * 64} for name in files}
    return write_bundle(folder, Manifest.model_validate({**data, "files": records}), files)


def plain_layer(
    encoder: str | Bundle, name: str = "plain", taxonomy: Taxonomy = LEUKEMIA_ATTRI, features: int = FEATURES
) -> NamingLayer:
    """A layer of no knowledge that suits a bundle (or the encoder of that hash)."""
    return NamingLayer(
        name,
        "1",
        encoder if isinstance(encoder, str) else encoder_of(encoder),
        taxonomy.classes,
        np.zeros(features, np.float32),
        np.ones(features, np.float32),
        np.zeros((features + 1, 2 + len(taxonomy.classes) + taxonomy.n_logits), np.float32),
    )
