"""What became of somebody else's weights, entry by entry, as values that a command prints and writes; decides nothing."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

from engines.network.foreign.archive import DTYPES, READERS
from engines.network.foreign.inert_pickle import Name
from engines.network.foreign.modules import printable

Outcome = Literal["taken", "part", "start"]
OUTCOMES: tuple[Outcome, ...] = ("taken", "part", "start")

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


def replaced_names(names: Mapping[Name, int]) -> dict[str, int]:
    """Globals of a file of which nothing was made, printable, with counts."""
    known = {*READERS, *DTYPES}
    counts = {str(name): count for name, count in names.items() if str(name) not in known}
    return {printable(name): counts[name] for name in sorted(counts)}


def unusual_names(names: Iterable[str]) -> tuple[str, ...]:
    """Those that a checkpoint of YOLOv5 has no need of: `posix.system` and its kin."""
    return tuple(name for name in names if name not in _USUAL and not name.startswith(_USUAL_ROOMS))
