"""What this box learns from its reviewer: signed cells become a site layer, which names cells only when a person says so."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn
from rich.table import Table
from rich.text import Text

from device.errors import StoreError
from device.service import layers
from device.settings.config import Config
from device.store import Store
from engines.progress import Reporter

if TYPE_CHECKING:
    from calibration.site import LearnResult

FOLDER = "learnt"
"""In the state folder: layers that were fitted here, each version with its card; which one is in use is `layers`' to know."""


def fit_to_reviewed(config: Config, reporter: Reporter, fewest: int = 50) -> LearnResult:
    """Fit a site layer to what persons signed on this box, as `attridet learn` does, and judge it with each slide left out in turn.

    fewest: refuse fewer labelled white cells. Nothing names cells anew by this. Raises StoreError (the folder cannot be made) and
    EnginesError (no record, no signed slide, no stored picture, too few cells, of one group or slide, a bundle without open cells).
    """
    from calibration.site import LearnRequest
    from calibration.site import learn as fit

    with Store.read(config.record_path):  # which says that there is none, or why it cannot be read
        pass
    out = config.device.state_dir / FOLDER / f"site-{config.device.id}.npz"
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        advice = "run it as the appliance's user (sudo -u leukoscope)"
        raise StoreError(f"{out.parent}: cannot be made ({error.strerror}); {advice}") from error
    threads = config.engine.threads
    return fit(LearnRequest(bundle=config.engine.bundle, out=out, cells=config.record_path, fewest=fewest, threads=threads), reporter)


def learn(config: Config, activate: bool = False, fewest: int = 50, console: Console | None = None) -> None:
    """Fit, show what the layer tells of slides that it never saw, and ask whether it shall name cells from the next start on.

    activate: the person's yes, given beforehand. Where nobody can be asked (no terminal) the command that activates it is printed.
    """
    console = console or Console()
    with _Bar(console) as reporter:
        result = fit_to_reviewed(config, reporter, fewest)
    console.print(_table(result))
    for note in result.layer.card["notes"]:
        console.print(Text(f"Mind: {note}", style="yellow"))
    console.print(Text(str(result.layer.card["said"]), style="bold"))
    console.print(f"Drawn: {result.picture}", highlight=False, soft_wrap=True)
    label = result.layer.info.label
    if not activate and sys.stdin.isatty():
        activate = console.input(f"Shall {label} name the cells of this box from its next start on? Type yes: ").strip() == "yes"
    if activate:
        console.print(layers.use(config, result.path), highlight=False, soft_wrap=True)
    else:
        console.print(f"{label} is not in use. To activate it: leukoscope layer use {result.path}", highlight=False, soft_wrap=True)


def _table(result: LearnResult) -> Table:
    from calibration.site.card import figures_in_words

    found = figures_in_words(result.found)
    before = {} if result.before is None else figures_in_words(result.before)
    table = Table("Cells of slides left out of the fit", "this layer", *(["the bundle's own"] if before else []), box=None)
    for title, words in found.items():
        table.add_row(title, words, *([before[title]] if before else []))
    return table


class _Bar(Reporter):
    """Messages as they come, progress as a bar."""

    def __init__(self, console: Console) -> None:
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
        self._progress = Progress(*columns, console=console, transient=True)
        self._tasks: dict[str, TaskID] = {}

    def __enter__(self) -> _Bar:
        self._progress.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self._progress.stop()

    def message(self, text: str) -> None:
        self._progress.console.print(Text(text))

    def progress(self, task: str, done: int, total: int | None) -> None:
        if task not in self._tasks:
            self._tasks[task] = self._progress.add_task(task, total=total)
        self._progress.update(self._tasks[task], completed=done, total=total)
