"""Checkpoints: one file with network, average, optimiser and position, written whole; read without running any code."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from engines.bundle import weights_of
from engines.errors import DataError
from engines.families import DEFAULT
from engines.families.attridet.attridet import AttriDet
from engines.families.base import Network
from engines.files import atomic_write
from engines.network.weights import load_weights, restored

FORMAT = 1


def save(path: Path, state: dict[str, Any]) -> None:
    """Write `state` (tensors and plain values only) atomically. Raises OSError."""
    path.parent.mkdir(parents=True, exist_ok=True)
    atomic_write(path, lambda file: torch.save({"format": FORMAT, **state}, file))


def read(path: Path) -> dict[str, Any]:
    """The state that `save` wrote; DataError naming the file if it is missing or something else. Runs no code from the file."""
    try:
        state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError as error:
        raise DataError(f"{path}: no such checkpoint; `attridet train` writes last.pt and best.pt into its run folder") from error
    except Exception as error:
        raise DataError(f"{path}: not a readable checkpoint ({type(error).__name__}); train or copy it again") from error
    if not isinstance(state, dict) or state.get("format") != FORMAT:
        raise DataError(f"{path}: not a checkpoint of this version (format {FORMAT})")
    return state


def load_network(path: Path) -> tuple[Network, dict[str, Any]]:
    """The averaged network of a checkpoint, in eval mode, and the rest of its state."""
    state = read(path)
    return restored(state.get("family", DEFAULT), state["size"], state["taxonomy"], state["ema"]), state


def load_any(path: Path) -> tuple[Network, dict[str, Any]]:
    """The network of a checkpoint (.pt, the averaged one) or of weights (.safetensors), in eval mode, and what the file says of it.

    path: the file, or a bundle that has weights, by its folder or as `zoo:NAME`.
    """
    path = weights_of(path)
    return load_weights(path) if path.suffix == ".safetensors" else load_network(path)


def load_attridet(path: Path) -> tuple[AttriDet, dict[str, Any]]:
    """As `load_any`, for what only AttriDet can: adaptation, the second look. Raises DataError naming the family of another one."""
    network, record = load_any(path)
    if not isinstance(network, AttriDet):
        raise DataError(f"{path}: is of the family {network.family}; this needs an AttriDet")
    return network, record
