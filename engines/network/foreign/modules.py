"""From a checkpoint's data to a network's state dict: which object in it is the network, and its tensors under their published
names."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from engines.network.foreign.archive import ForeignWeightsError, StoredTensor, TorchFile
from engines.network.foreign.inert_pickle import Inert, Name

WHERE = ("ema", "model", "state_dict", "model_state_dict")
"""Where checkpoints keep their network, tried in turn: the averaged one first, as YOLOv5 itself does."""
_DEEPEST, _MOST_MODULES, _LONGEST_PATH = 32, 20_000, 500
_LONGEST_TEXT = 60


@dataclass(frozen=True)
class Module:
    """One `nn.Module` of the file: its class by name and its attributes, as data."""

    kind: str
    attributes: Mapping[str, Any]


@dataclass
class Network:
    """What a file holds of a network.

    where: the key of the checkpoint, or "" when the file is the network itself. tensors: by published name, prefixes of wrappers
    removed. modules: by path ("model.24"), "" for the whole; empty when the file holds a plain state dict.
    """

    where: str
    tensors: dict[str, StoredTensor] = field(default_factory=dict)
    modules: dict[str, Module] = field(default_factory=dict)

    def attribute(self, name: str) -> Any:
        """An attribute of the whole network, or None."""
        whole = self.modules.get("")
        return None if whole is None else whole.attributes.get(name)


def find_network(file: TorchFile) -> Network:
    """The network in `file`. Raises ForeignWeightsError saying what the file holds instead."""
    root = file.value
    candidates = [("", root)]
    if isinstance(root, dict):
        candidates = [(key, root[key]) for key in WHERE if root.get(key) is not None] + candidates
    for where, value in candidates:
        network = Network(where)
        if isinstance(value, Inert):
            _collect(network, value, file)
        else:
            network.tensors = {k: v for k, v in _entries(value) if isinstance(v, StoredTensor)}
        if network.tensors:
            if all(name.startswith("module.") for name in network.tensors):  # so training on several GPUs calls them
                network.tensors = {name.removeprefix("module."): tensor for name, tensor in network.tensors.items()}
            return network
    raise ForeignWeightsError(f"{file.path}: holds no network, but {_described(root)}. Give a checkpoint as YOLOv5 writes it.")


def class_names(network: Network) -> tuple[str, ...]:
    """The network's own names of its classes, in order; empty when it has none."""
    names = network.attribute("names")
    if isinstance(names, dict):
        numbers = sorted(k for k in names if type(k) is int)
        if numbers != list(range(len(names))):
            return ()
        names = [names[k] for k in numbers]
    if not isinstance(names, list | tuple) or not all(isinstance(name, str) for name in names):
        return ()
    return tuple(printable(name) for name in names)


def printable(text: str) -> str:
    """A text of the file, fit for a terminal: one short line without control characters."""
    shown = "".join(c if c.isprintable() else "?" for c in text[:_LONGEST_TEXT])
    return shown if len(text) <= _LONGEST_TEXT else f"{shown}..."


def _collect(network: Network, whole: Inert, file: TorchFile) -> None:
    waiting: list[tuple[str, Inert, int]] = [("", whole, 0)]
    seen = 0
    while waiting:
        path, thing, depth = waiting.pop()
        seen += 1
        if depth > _DEEPEST or seen > _MOST_MODULES or len(path) > _LONGEST_PATH:
            raise ForeignWeightsError(f"{file.path}: its modules lie in one another without end; it is damaged or made to mislead.")
        attributes = _attributes(thing)
        kind = printable(str(thing.made_by)) if isinstance(thing.made_by, Name) else "?"
        network.modules[path] = Module(kind, attributes)
        prefix = f"{path}." if path else ""
        listed = attributes.get("_non_persistent_buffers_set")
        passing = {name for name in listed if isinstance(name, str)} if isinstance(listed, list) else set()
        for part in ("_parameters", "_buffers"):
            for name, value in _entries(attributes.get(part)):
                if isinstance(value, StoredTensor) and name not in passing:
                    network.tensors[prefix + name] = value
        children = [
            (prefix + name, child, depth + 1) for name, child in _entries(attributes.get("_modules")) if isinstance(child, Inert)
        ]
        waiting.extend(reversed(children))


def _attributes(thing: Inert) -> dict[str, Any]:
    """An object's attributes: all states it was given, which for a module are dictionaries."""
    found: dict[str, Any] = {}
    for state in thing.state:
        for part in state if isinstance(state, tuple) else (state,):  # (attributes, slots) where a class has slots
            found.update(_entries(part))
    return found


def _entries(value: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict):
        yield from ((k, v) for k, v in value.items() if isinstance(k, str))


def _described(value: Any) -> str:
    if isinstance(value, dict):
        keys = ", ".join(printable(k) for k in list(value)[:6] if isinstance(k, str))
        return f"a dictionary with {keys}" if keys else "a dictionary without names"
    if isinstance(value, Inert):
        return f"an object of {printable(str(value.made_by)) if isinstance(value.made_by, Name) else 'an unknown class'}"
    return f"a {type(value).__name__}"
