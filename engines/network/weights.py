"""A network's weights as one safetensors file that says what it is: family, size, taxonomy and where it was trained."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from engines.errors import BundleError
from engines.families import DEFAULT, family
from engines.families.base import Network
from engines.files import atomic_write
from engines.taxonomy import Taxonomy


def save_weights(model: Network, path: Path, record: Mapping[str, Any]) -> None:
    """Writes `model`'s state dict with family, size, taxonomy and `record` (JSON: data, seed, command, metrics) as metadata.

    The model must not be fused (ValueError): its normalisations belong to the published names.
    """
    state = {k: v.detach().cpu().contiguous() for k, v in model.state_dict().items()}
    if not any(k.endswith("running_mean") for k in state):
        raise ValueError("a fused model has no weights of its own any more; save the one it was made from")
    metadata = {
        "family": model.family,
        "size": model.size,
        "taxonomy": json.dumps(model.taxonomy.to_dict()),
        "record": json.dumps(dict(record)),
    }
    atomic_write(path, save(state, metadata))


def restored(name: str, size: str, taxonomy: Any, state: Mapping[str, Tensor]) -> Network:
    """The network of a state dict, in evaluation mode. name: its family. taxonomy: its plain form. Raises what loading it raises."""
    return family(name).restored(size, Taxonomy.from_dict(taxonomy), state)


def load_weights(path: Path) -> tuple[Network, dict[str, Any]]:
    """The model (evaluation mode, CPU) and the record that `save_weights` wrote. Raises BundleError naming the file."""
    try:
        with safe_open(path, framework="pt") as stored:
            metadata = stored.metadata() or {}
            state = {key: stored.get_tensor(key) for key in stored.keys()}  # noqa: SIM118  # not a dict: it has no iterator
        model = restored(metadata.get("family", DEFAULT), metadata["size"], json.loads(metadata["taxonomy"]), state)
        record: dict[str, Any] = json.loads(metadata["record"])
    except FileNotFoundError as error:
        raise BundleError(f"{path}: no such file of weights. Give the .safetensors that training wrote.") from error
    except (SafetensorError, OSError) as error:
        raise BundleError(f"{path}: not a safetensors file ({error}). Give the .safetensors that training wrote.") from error
    except (KeyError, ValueError, TypeError, RuntimeError) as error:
        reason = str(error).strip().splitlines()[0]
        raise BundleError(
            f"{path}: not the weights of a detector of ours ({reason}). Give the .safetensors that training wrote."
        ) from error
    return model, record
