"""A training in phases: each begins with the last weights of the one before, head included; optimiser and schedule are new (spec 2.3).

OUT always holds the last phase; the phases before it lie in OUT/phase-1, OUT/phase-2 ... Which one is in work is seen from the files.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

CHECKPOINT = "last.pt"


@dataclass(frozen=True)
class Phase:
    """One phase of `of`; number counts from 1. initial: the weights it starts from, None for random ones."""

    number: int
    of: int
    epochs: int
    folder: Path
    initial: Path | None

    @property
    def checkpoint(self) -> Path:
        return self.folder / CHECKPOINT

    @property
    def begun(self) -> bool:
        """Whether at least one of its epochs is done."""
        return self.checkpoint.exists()


def phases(out: Path, epochs: Sequence[int], initial: Path | None) -> list[Phase]:
    """The phases of a training with so many epochs each."""
    planned: list[Phase] = []
    for number, count in enumerate(epochs, 1):
        folder = out if number == len(epochs) else out / f"phase-{number}"
        planned.append(Phase(number, len(epochs), count, folder, planned[-1].checkpoint if planned else initial))
    return planned


def remaining(planned: Sequence[Phase]) -> Sequence[Phase]:
    """From the latest phase that has begun, which may be complete, to the last; all of them if none has begun."""
    reached = max((n for n, phase in enumerate(planned) if phase.begun), default=0)
    return planned[reached:]
