"""A naming layer for a bundle whose network is random: it names by chance, but always alike."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from engines.bundle import Bundle, write_bundle
from engines.naming import NamingLayer


def random_layer(bundle: Bundle, seed: int = 0, **changed: Any) -> NamingLayer:
    """A layer that belongs to the bundle's second look, with a little spread in every answer. changed: fields in place of its own."""
    path, look = bundle.second_look()
    taxonomy, draw = bundle.taxonomy, np.random.default_rng(seed)
    outputs = 2 + len(taxonomy.classes) + taxonomy.n_logits
    fields = {
        "name": "layer-test",
        "version": "0.0.1",
        "encoder": bundle.manifest.files[path.name].sha256,
        "classes": tuple(taxonomy.classes),
        "mean": np.zeros(look.features, np.float32),
        "scale": np.ones(look.features, np.float32),
        "weights": draw.normal(0, 0.2, (look.features + 1, outputs)).astype(np.float32),
        "projection": draw.normal(0, 0.1, (look.features, 8)).astype(np.float32),
        "references": draw.normal(0, 1, (20, 8)).astype(np.float32),
        "foreign_limit": 3.0,
        "card": {"said": "random weights"},
    }
    return NamingLayer(**(fields | changed))


def with_layer(bundle: Bundle, folder: Path, layer: NamingLayer) -> Bundle:
    """A copy of a bundle that has the layer, whether it fits or not; without a golden picture."""
    assert bundle.manifest.second_look is not None
    look = bundle.manifest.second_look.model_copy(update={"layer": "naming-layer.npz"})
    files: dict[str, bytes | Path] = {n: bundle.path / n for n in bundle.manifest.files if not n.startswith("golden")}
    manifest = bundle.manifest.model_copy(update={"second_look": look})
    return write_bundle(folder, manifest, {**files, "naming-layer.npz": layer.to_bytes()})


def wide_arrays(bundle: Bundle) -> dict[str, np.ndarray]:
    """Fields of `random_layer` for a layer that takes the size in µm for one more feature."""
    look, draw = bundle.second_look()[1], np.random.default_rng(2)
    outputs, wide = 2 + len(bundle.taxonomy.classes) + bundle.taxonomy.n_logits, look.features + 1
    return {
        "mean": np.zeros(wide, np.float32),
        "scale": np.ones(wide, np.float32),
        "weights": draw.normal(0, 0.2, (wide + 1, outputs)).astype(np.float32),
        "projection": draw.normal(0, 0.1, (wide, 8)).astype(np.float32),
    }


def without_second_look(bundle: Bundle, folder: Path) -> Bundle:
    """A copy as bundles were before the second look: nothing of it in the manifest or among the files."""
    files: dict[str, bytes | Path] = {
        name: bundle.path / name for name in bundle.manifest.files if name not in bundle.manifest.second_look_files
    }
    manifest = bundle.manifest.model_copy(update={"second_look": None, "schema_version": 2})
    readme = (bundle.path / "README.md").read_bytes()
    return write_bundle(folder, manifest, files, loose={"README.md": readme})
