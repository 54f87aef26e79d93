"""`attridet build`: an engine folder compiled for this machine's GPU, with TensorRT's progress on the terminal."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.progress import Progress, TaskID

from engines.build import MIB
from engines.build_plans import Outcome, build_plans, check
from engines.bundle import Bundle, resolve
from engines.commands.terminal import progress_bar


@dataclass(frozen=True)
class Request:
    """What the command line asked for; see `attridet build --help`."""

    bundle: str
    plans: Path
    runtime: str
    force: bool
    check: bool


class Bars:
    """TensorRT's phases as bars, one below the other as they lie in each other; see `engines.build.Phases`."""

    def __init__(self, bar: Progress, graph: str) -> None:
        self._bar = bar
        self._graph = graph
        self._tasks: dict[str, tuple[TaskID, int]] = {}

    def start(self, name: str, parent: str | None, steps: int) -> None:
        depth = self._tasks[parent][1] + 1 if parent in self._tasks else 0
        words = f"{self._graph}: {name}" if depth == 0 else f"{'  ' * depth}{name}"
        self._tasks[name] = self._bar.add_task(words, total=steps), depth

    def step(self, name: str, done: int) -> None:
        if name in self._tasks:
            self._bar.update(self._tasks[name][0], completed=done)

    def finish(self, name: str) -> None:
        if name in self._tasks:
            self._bar.remove_task(self._tasks.pop(name)[0])


def run(request: Request) -> None:
    """Builds, or checks, and says what became of it. Raises EnginesError."""
    bundle = Bundle.open(resolve(request.bundle))
    with progress_bar() as bar:
        if request.check:
            results = check(bundle, request.runtime, lambda graph: Bars(bar, graph))
        else:
            outcome = build_plans(bundle, request.plans, request.runtime, request.force, lambda graph: Bars(bar, graph))
    if not request.check:
        _say(outcome)
        return
    for one in results:
        words = one.fault or f"accepted; a plan of {one.bytes / MIB:.1f} MiB in {one.seconds:.1f} s, thrown away"
        Console().print(f"{one.file}: {words}", soft_wrap=True)


def _say(outcome: Outcome) -> None:
    record = outcome.record
    if not outcome.built:
        words = f"nothing to do: the plan of {record.built} fits and answers the golden picture"
    else:
        size = sum(file.bytes for file in record.files.values()) / MIB
        words = f"{size:.1f} MiB in {record.seconds:.0f} s, with at most {record.workspace_bytes // MIB} MiB to try tactics in; "
        words += f"it answers the golden picture{f'; {outcome.removed} files of older plans removed' if outcome.removed else ''}"
    Console().print(f"{outcome.path}: {record.bundle} {record.bundle_version} for {record.gpu}: {words}", soft_wrap=True)
