"""What became of somebody else's weights: which tensor of a file is taken for which entry of a network of ours, and its account."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Generic, Literal, TypeVar

import torch
from torch import Tensor, nn

from engines.network.foreign.archive import DTYPES, READERS, ForeignWeightsError, StoredTensor, TorchFile
from engines.network.foreign.inert_pickle import Name
from engines.network.foreign.modules import Network, printable

ABSENT = "is not in the file"

Conversion = Callable[[Tensor], Tensor]
Outcome = Literal["taken", "part", "start"]
OUTCOMES: tuple[Outcome, ...] = ("taken", "part", "start")
Ours = TypeVar("Ours", bound=nn.Module)

_USUAL_ROOMS = ("models.", "utils.", "yolov5.", "ultralytics.nn.", "torch.nn.", "numpy.core.multiarray.", "numpy._core.multiarray.")
_USUAL = frozenset(
    (
        *("argparse.Namespace", "pathlib.Path", "pathlib.PosixPath", "pathlib.WindowsPath", "datetime.datetime"),
        *("numpy.dtype", "numpy.ndarray", "_codecs.encode", "collections.defaultdict"),
        *("copyreg._reconstructor", "copy_reg._reconstructor"),
        *("torch.device", "torch.dtype", "torch.float32", "torch.float16", "torch.int64"),
        *("builtins.object", "builtins.slice", "builtins.dict", "builtins.list", "builtins.int", "builtins.frozenset"),
        "__builtin__.object",
    )
)
"""What checkpoints of YOLOv5 name besides networks: how they were trained, when, and by which options."""


@dataclass(frozen=True)
class Entry:
    """One entry of our state dict: taken whole, in part, or left at its random start. source: their name of it, or ""."""

    key: str
    shape: tuple[int, ...]
    outcome: Outcome
    source: str = ""
    note: str = ""


@dataclass(frozen=True)
class LeftOut:
    """One entry of theirs that nothing of ours takes."""

    key: str
    shape: tuple[int, ...]


@dataclass(frozen=True)
class Transfer:
    """What became of somebody else's weights.

    layout, size, where: what the detector's file is, and which part of the checkpoint was read ("" for the file itself). classes: how
    many it tells apart (None: its detection layer is another); class_names: their names there. classes_taken, classes_at_start: names
    of ours; attributes_taken, attributes_at_start: keys of ours. entries: each of our state dict. left_out: the rest of theirs.
    anchors_px: of P3, P4, P5, as now in the network. replaced: globals that the files name and nothing was made of, with counts;
    unusual: those of them that a checkpoint has no need of. warnings: what a person should know before using the result.
    """

    layout: str
    size: str
    where: str
    classes: int | None
    class_names: tuple[str, ...]
    classes_taken: tuple[str, ...]
    classes_at_start: tuple[str, ...]
    attributes_taken: tuple[str, ...]
    attributes_at_start: tuple[str, ...]
    entries: tuple[Entry, ...]
    left_out: tuple[LeftOut, ...]
    anchors_px: tuple[tuple[tuple[float, float], ...], ...]
    replaced: dict[str, int]
    unusual: tuple[str, ...]
    warnings: tuple[str, ...]

    def count(self, outcome: Outcome) -> int:
        """Entries of ours with this outcome."""
        return sum(e.outcome == outcome for e in self.entries)

    @property
    def anchors_taken(self) -> bool:
        """Whether the anchors are those of the file; else they are COCO's."""
        return any(e.key == "model.24.anchors" and e.outcome == "taken" for e in self.entries)

    def to_dict(self) -> dict[str, Any]:
        """Plain form for JSON."""
        return {**asdict(self), "counts": {outcome: self.count(outcome) for outcome in OUTCOMES}}


@dataclass
class Assignment(Generic[Ours]):
    """Which tensor of the file becomes which entry of our network: decided by names and shapes alone, read from the file at the end.

    positive: entries of which every number must be above 0. classes: ours to theirs. attributes: keys of those that were taken.
    """

    model: Ours
    decided: dict[str, Entry] = field(default_factory=dict)
    reading: dict[str, tuple[TorchFile, StoredTensor, Conversion | None]] = field(default_factory=dict)
    left_out: list[LeftOut] = field(default_factory=list)
    positive: set[str] = field(default_factory=set)
    classes: Mapping[int, int] = field(default_factory=dict)
    attributes: tuple[str, ...] = ()
    warnings: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.own: dict[str, Tensor] = self.model.state_dict()

    def offer(
        self,
        key: str,
        source: str,
        file: TorchFile,
        network: Network,
        needed: tuple[int, ...] | None = None,
        as_ours: Conversion | None = None,
        note: str = "",
    ) -> None:
        """Take their entry `source` for ours where it has the shape `needed` (ours unless given), a part of it where `note` says why.

        as_ours: makes its numbers ours. Else our entry stays at its random start.
        """
        shape, tensor = tuple(self.own[key].shape), network.tensors.get(source)
        if tensor is None:
            self.decided[key] = Entry(key, shape, "start", "", ABSENT)
        elif tensor.shape == (shape if needed is None else needed):
            self.decided[key] = Entry(key, shape, "part" if note else "taken", source, note)
            self.reading[key] = (file, tensor, as_ours)
        else:
            theirs, ours = ("x".join(map(str, sides)) or "()" for sides in (tensor.shape, shape))
            self.decided[key] = Entry(key, shape, "start", source, f"has the shape {theirs} there, needed is {ours}")

    def leave_the_rest(self, network: Network) -> None:
        used = {entry.source for entry in self.decided.values() if entry.outcome != "start"}
        self.left_out += [LeftOut(printable(k), tensor.shape) for k, tensor in network.tensors.items() if k not in used]

    @torch.no_grad()
    def read(self) -> None:
        """Copy the numbers into our network. Raises ForeignWeightsError where they are not finite, or not positive as asked."""
        for key, (file, tensor, as_ours) in self.reading.items():
            numbers = file.numbers(tensor)
            if not torch.isfinite(numbers).all():
                raise ForeignWeightsError(
                    f"{file.path}: {self.decided[key].source} holds numbers that are not finite: a run that failed."
                )
            if key in self.positive and not (numbers > 0).all():
                raise ForeignWeightsError(f"{file.path}: the numbers of {key} are not all positive; the file is damaged.")
            numbers = numbers.to(self.own[key].dtype)
            self.own[key].copy_(numbers if as_ours is None else as_ours(numbers))

    def entries(self, missing: str) -> tuple[Entry, ...]:
        """What became of each entry of ours. missing: why one that nothing was offered for was not taken."""
        return tuple(self.decided.get(key, Entry(key, tuple(v.shape), "start", "", missing)) for key, v in self.own.items())


def named_globals(names: Counter[Name]) -> tuple[dict[str, int], tuple[str, ...], list[str]]:
    """What of the globals that a file names nothing was made of, with counts; those that no checkpoint needs; a warning of them."""
    counts = {str(name): count for name, count in names.items()}
    replaced = {printable(name): counts[name] for name in sorted(counts) if name not in READERS and name not in DTYPES}
    unusual = tuple(name for name in replaced if name not in _USUAL and not name.startswith(_USUAL_ROOMS))
    shown = ", ".join(unusual[:6]) + (" and others" if len(unusual) > 6 else "")
    words = f"It names {shown}, which no detector needs. Nothing of it was run here; other programs may run it."
    return replaced, unusual, [words] if unusual else []
