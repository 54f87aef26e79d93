"""`attridet build`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from engines.options import Option, Request
from engines.progress import ProgressLines

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

APPLIANCE_PLANS = Path("/var/lib/leukoscope/plans")
"""Where the appliance's service looks for plans."""
RUNTIMES = ("tensorrt", "tensorrt_rtx")
"""TensorRT under its two names."""


@dataclass(frozen=True, kw_only=True)
class BuildRequest(Request):
    """The options of the command; `engines.build_plans` has what it calls."""

    bundle: Annotated[str, Option("Engine folder, or zoo:NAME.", argument=True)]
    plans: Annotated[Path, Option("Folder of this device's plans (engine.plans of the configuration).")] = APPLIANCE_PLANS
    runtime: Annotated[str, Option("tensorrt on a Jetson; tensorrt_rtx on a desktop's RTX card.", choices=RUNTIMES)] = "tensorrt"
    force: Annotated[bool, Option("Build although a plan is there that answers the golden picture.")] = False
    check: Annotated[bool, Option("Parse and compile only, keep nothing; tensorrt_rtx does so without a GPU.")] = False


def build(request: BuildRequest) -> None:
    """Compile an engine folder for this machine's GPU, prove it on the golden picture, and put it in the old plan's place."""
    from engines.build import MIB
    from engines.build_plans import build_plans, check
    from engines.bundle import Bundle, resolve
    from engines.commands.terminal import Terminal, progress_bar

    bundle, terminal = Bundle.open(resolve(request.bundle)), Terminal()
    bundle.check_graphs()
    with progress_bar() as bar:
        if request.check:
            results = check(bundle, request.runtime, lambda graph: Bars(bar, graph))
        else:
            outcome = build_plans(bundle, request.plans, request.runtime, request.force, lambda graph: Bars(bar, graph))
    if request.check:
        for one in results:
            words = one.fault or f"accepted; a plan of {one.bytes / MIB:.1f} MiB in {one.seconds:.1f} s, thrown away"
            terminal.message(f"{one.file}: {words}")
        return
    record = outcome.record
    if not outcome.built:
        words = f"nothing to do: the plan of {record.built} fits and answers the golden picture"
    else:
        size = sum(file.bytes for file in record.files.values()) / MIB
        words = f"{size:.1f} MiB in {record.seconds:.0f} s, with at most {record.workspace_bytes // MIB} MiB to try tactics in; "
        words += f"it answers the golden picture{f'; {outcome.removed} files of older plans removed' if outcome.removed else ''}"
    terminal.message(f"{outcome.path}: {record.bundle} {record.bundle_version} for {record.gpu}: {words}")


class Bars:
    """TensorRT's phases as bars, one below the other as they lie in each other; see `engines.build.Phases`."""

    def __init__(self, bar: Progress, graph: str) -> None:
        self._bar = bar
        self._graph = graph
        self._tasks: dict[str, tuple[TaskID, int]] = {}
        self._lines = ProgressLines()

    def start(self, name: str, parent: str | None, steps: int) -> None:
        if not self._tasks:
            self._lines.begin()
        depth = self._tasks[parent][1] + 1 if parent in self._tasks else 0
        words = f"{self._graph}: {name}" if depth == 0 else f"{'  ' * depth}{name}"
        self._tasks[name] = self._bar.add_task(words, total=steps), depth

    def step(self, name: str, done: int) -> None:
        if name in self._tasks:
            task, depth = self._tasks[name]
            self._bar.update(task, completed=done)
            total = next((int(each.total) for each in self._bar.tasks if each.id == task and each.total), None)
            if depth == 0 and not self._bar.console.is_terminal:
                from engines.commands.terminal import say_line

                line = self._lines.due(f"{self._graph}: {name}", done, total)
                if line is not None:
                    say_line(line)

    def finish(self, name: str) -> None:
        if name in self._tasks:
            self._bar.remove_task(self._tasks.pop(name)[0])
