"""Which naming layer an engine takes: the one that a person chose, else the bundle's own; refused where it was fitted to another."""

from __future__ import annotations

from pathlib import Path

from engines.bundle import Bundle
from engines.errors import BundleError
from engines.naming.layer import NamingLayer


def layer_of(bundle: Bundle, file: Path | None = None) -> NamingLayer | None:
    """The layer in `file`, or the bundle's own without one; None for a bundle without a second look, or without a layer.

    Raises BundleError, naming file and next step, where the file is no layer or was fitted to another encoder or taxonomy.
    """
    look = bundle.manifest.second_look
    if look is None:
        if file is not None:
            raise BundleError(f"{bundle.path}: has no second look, so no naming layer suits it. Take a newer bundle, or no layer.")
        return None
    path = file or (bundle.path / look.layer if look.layer is not None else None)
    if path is None:
        return None
    layer = NamingLayer.read(path)
    fault = misfit(layer, bundle)
    if fault is not None:
        raise BundleError(f"{path}: {fault} Fit it anew: `attridet learn {bundle.path} --cells FOLDER --out LAYER`.")
    return layer


def encoder_of(bundle: Bundle) -> str:
    """sha256 of the graph that the second look's features come from. Raises BundleError for a bundle without one."""
    look = bundle.manifest.second_look
    if look is None:
        raise BundleError(f"{bundle.path}: has no second look, so there are no features to name cells by. Take a newer bundle.")
    return bundle.manifest.files[look.graph].sha256


def misfit(layer: NamingLayer, bundle: Bundle) -> str | None:
    """Why the layer does not suit the bundle, as a sentence; None where it does."""
    look, taxonomy = bundle.manifest.second_look, bundle.taxonomy
    encoder = encoder_of(bundle)
    if layer.encoder != encoder:
        return f"this layer was fitted to another encoder ({layer.encoder[:12]}…) than this bundle has ({encoder[:12]}…)."
    if layer.classes != taxonomy.classes:
        return f"this layer names other types ({', '.join(layer.classes)}) than this bundle."
    columns, rows = 2 + len(taxonomy.classes) + taxonomy.n_logits, (look.features if look else 0) + layer.uses_size
    if layer.weights.shape != (rows + 1, columns):
        found = " x ".join(map(str, layer.weights.shape))
        return f"this layer has weights of {found} and not {rows + 1} x {columns} as features and taxonomy of this bundle need."
    if not layer.mean.shape == layer.scale.shape == (rows,):
        return f"this layer has {layer.mean.size} means and {layer.scale.size} scales for {rows} features."
    if len(layer.references) and layer.projection.shape != (rows, layer.references.shape[1]):
        return "this layer's projection does not bring the features to where its references are."
    return None
