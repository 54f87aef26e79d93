"""`attridet build`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from engines.appliance import AUTO, PLANS, named_engine
from engines.errors import BuildError, BundleError, DataError
from engines.options import Option, Request
from engines.progress import ProgressLines

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

    from engines.build_plans import Outcome
    from engines.bundle import Bundle
    from engines.commands.build_progress import ProgressFile
    from engines.commands.terminal import Terminal

RUNTIMES = ("auto", "tensorrt", "tensorrt_rtx")
"""TensorRT under its two names, or whichever of them is installed here."""


@dataclass(frozen=True, kw_only=True)
class BuildRequest(Request):
    """The options of the command; `engines.build_plans` has what it calls."""

    bundle: Annotated[str, Option("Engine folder, or zoo:NAME.", argument=True)] = ""
    config: Annotated[Path | None, Option("Appliance's configuration, whose engine.bundle, .plans and .runtime are taken.")] = None
    plans: Annotated[Path | None, Option(f"Folder of this device's plans; {PLANS} without a configuration.")] = None
    runtime: Annotated[str, Option("tensorrt on a Jetson; tensorrt_rtx on a desktop's RTX card.", choices=RUNTIMES)] = "auto"
    force: Annotated[bool, Option("Build although a plan is there that answers the golden picture.")] = False
    check: Annotated[bool, Option("Parse and compile only, keep nothing; tensorrt_rtx does so without a GPU.")] = False
    progress: Annotated[Path | None, Option("File that says how far it is, for the screen of a box's start.")] = None


@dataclass(frozen=True)
class _Asked:
    """What is built, for what, and where to. library: "" where the configuration names a runtime without plans.

    beside: also the bundles in FP16 and INT8 that `auto` may take in its place here.
    """

    bundle: str
    library: str
    plans: Path
    beside: bool = False


def build(request: BuildRequest) -> None:
    """Compile an engine folder for this machine's GPU, prove it on the golden picture, and put it in the old plan's place."""
    from engines.commands.build_progress import ProgressFile

    told = ProgressFile(request.progress)
    with told.ending():
        _build(request, told)


def _build(request: BuildRequest, told: ProgressFile) -> None:
    from engines.build_plans import plans_wanted
    from engines.bundle import Bundle, resolve
    from engines.commands.terminal import Terminal

    asked, terminal = _asked(request), Terminal()
    if not asked.library:
        terminal.message(told.done(f"nothing to build: engine.runtime of {request.config} runs without plans"))
        return
    bundle = Bundle.open(resolve(asked.bundle))
    wanted = plans_wanted(bundle, asked.library) if asked.beside else [bundle]
    told.begin(wanted)
    if request.check:
        for one in wanted:
            _check(one, asked, told, terminal, named=len(wanted) > 1)
        told.done("checked")
        return
    ready, *others = [_one_built(one, asked, request.force, told, terminal, must=one is bundle) for one in wanted]
    assert ready is not None
    record, weakly = ready.record, ", weakly typed" if ready.record.weakly_typed else ""
    also = [other.record.precision for other in others if other is not None]
    more = f", also in {' and '.join(also)}" if also else ""
    told.done(f"the engine {record.bundle} {record.bundle_version} is ready for {record.gpu}{more}{weakly}")


def _check(bundle: Bundle, asked: _Asked, told: ProgressFile, terminal: Terminal, named: bool) -> None:
    """Parses and compiles one bundle's graphs. named: which bundle it is, is said too."""
    from engines.build import MIB
    from engines.build_plans import check
    from engines.commands.terminal import progress_bar

    bundle.check_graphs()
    with progress_bar() as bar:
        results = check(bundle, asked.library, lambda graph: told.phases(bundle, graph, Bars(bar, graph)))
    for one in results:
        weakly = f", weakly typed only ({one.weakly_typed})" if one.weakly_typed else ""
        words = f"accepted{weakly}; a plan of {one.bytes / MIB:.1f} MiB in {one.seconds:.1f} s, thrown away"
        if one.left_out:
            words += f". {one.left_out} is left out: it asks for a GPU while it is parsed, and there is none here"
        terminal.message(f"{bundle.manifest.precision + ' ' if named else ''}{one.file}: {words}")


def _one_built(bundle: Bundle, asked: _Asked, force: bool, told: ProgressFile, terminal: Terminal, must: bool) -> Outcome | None:
    """One bundle's plans, built and told of. One that need not be there is left out, with a warning, where it cannot be built."""
    from engines.build import MIB
    from engines.build_plans import build_plans
    from engines.commands.terminal import progress_bar

    try:
        bundle.check_graphs()
        with progress_bar() as bar:
            outcome = build_plans(bundle, asked.plans, asked.library, force, lambda graph: told.phases(bundle, graph, Bars(bar, graph)))
    except (BuildError, BundleError) as error:
        if must:
            raise
        terminal.warning(f"{bundle.path}: stays without a plan, and `auto` leaves it out: {error}")
        return None
    record = outcome.record
    if not outcome.built:
        words = f"nothing to do: the plan of {record.built} fits and answers the golden picture"
    else:
        size = sum(file.bytes for file in record.files.values()) / MIB
        words = f"{size:.1f} MiB in {record.seconds:.0f} s, with at most {record.workspace_bytes // MIB} MiB to try tactics in; "
        words += f"it answers the golden picture{f'; {outcome.removed} files of older plans removed' if outcome.removed else ''}"
    for role, reason in record.weakly_typed.items():
        words += f"\n  {role}: weakly typed, because strongly typed it was refused: {reason}"
    precision = "" if record.precision == "fp32" else f" {record.precision}"
    terminal.message(f"{outcome.path}: {record.bundle} {record.bundle_version}{precision} for {record.gpu}: {words}")
    return outcome


def _asked(request: BuildRequest) -> _Asked:
    """By the options, and by the configuration for what they leave open. Raises DataError."""
    if bool(request.bundle) == bool(request.config):
        raise DataError("name either an engine folder or --config FILE: attridet build --config /etc/leukoscope/device.yaml")
    if request.config is None:
        return _Asked(request.bundle, _library(request.runtime), request.plans or PLANS)
    named = named_engine(request.config)
    plans = request.plans or named.plans
    if request.runtime != "auto" or named.runtime in RUNTIMES:
        chooses = (request.runtime, named.runtime, named.precision) == (AUTO, AUTO, AUTO)
        return _Asked(named.bundle, _library(request.runtime if request.runtime != AUTO else named.runtime), plans, beside=chooses)
    return _Asked(named.bundle, "", plans)


def _library(runtime: str) -> str:
    """For "auto" TensorRT for RTX where it alone is installed, else TensorRT, whose absence is then told with the way out."""
    if runtime != "auto":
        return runtime
    from engines.runtime.tensorrt.library import installed

    return "tensorrt_rtx" if not installed("tensorrt") and installed("tensorrt_rtx") else "tensorrt"


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
