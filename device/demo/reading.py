"""The demo's run of the appliance, with progress, and with the demo's own person at the desk where film is rendered."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from device.app import Outcome, run
from device.camera.simulator import SimulatorCamera
from device.clock import SystemClock
from device.demo.person import DemoPerson
from device.demo.truth import Truth
from device.display.factory import open_display
from device.display.pages_review import Shown
from device.line import Openers
from device.pipeline import Pipeline
from device.report.export import How, Wanted, export_record
from device.rounds import Round
from device.settings.config import Config, ReplayCamera
from device.settings.config import SimulatorCamera as SimulatorConfig
from device.slide.ending import nothing_counted
from device.slide.model import SlideState
from device.slide.picture_state import count_of
from device.slide.tally import tally
from device.slide.verdict import ARTEFACT, NOT_CLASSED
from engines.pictures import list_folder
from engines.runtime.base import EngineInfo
from engines.taxonomy import LEUKEMIA_ATTRI


class Reading:
    """One run. handed_on: folder for the preliminary report, made when the slide is finished.

    engine: what looked; truth: of rendered film, None of pictures; summaries: how many the slide amounts to, 0 where nothing was
    counted; presses: of the demo's
    person.
    """

    def __init__(self, config: Config, handed_on: Path) -> None:
        self._config, self._handed_on = config, handed_on
        self._frames: dict[int, int] = {}  # of each field's index, the frame that it was counted on
        self.engine: EngineInfo | None = None
        self.truth: Truth | None = None
        self.summaries, self.presses = 0, 0
        if isinstance(config.camera, SimulatorConfig):
            self.truth = Truth(SimulatorCamera(config.camera, SystemClock()), self._frames, LEUKEMIA_ATTRI)

    def run(self, console: Console, with_person: bool) -> Outcome:
        """Run the appliance to its end; Ctrl-C ends it in order."""
        openers = Openers.of(self._config)
        person: DemoPerson | None = None
        if with_person:
            person = DemoPerson(
                open_display(self._config.display, self._config.record.min_free_mb), self._verdict, openers.clock.monotonic_s
            )
            openers = replace(openers, display=lambda: person)
        columns = (
            SpinnerColumn(),
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.fields[words]}"),
            TimeElapsedColumn(),
        )
        with Progress(*columns, console=console, transient=True) as progress:
            task = progress.add_task("Reading the slide", total=_fields(self._config), words="")

            def show(done: Round, pipeline: Pipeline) -> None:
                slide, seen = pipeline.slide, done.observation
                if seen is not None and seen.event is not None and seen.event.field is not None and done.frame is not None:
                    self._frames[seen.event.field.index] = done.frame.sequence
                self.engine = pipeline.engine_info
                if slide is None:
                    return
                counted = pipeline.differential
                words = f"{count_of(len(slide.fields), 'field')}, {counted.white_cells} white cells, {counted.blasts} told as blasts"
                words += ", foreign film: groups only" if slide.foreign else ""
                if slide.state is SlideState.REVIEW and not self._handed_on.exists():
                    export_record(self._config.record_path, self._handed_on, Wanted(slide.slide_id), How(), lambda _: None)
                reviewing = "Reviewing" if slide.state in (SlideState.REVIEW, SlideState.SIGNED) else "Reading the slide"
                progress.update(task, completed=len(slide.fields), words=words, description=reviewing)

            outcome = run(self._config, openers, each_round=show)
        self.presses = 0 if person is None else person.presses
        slide = outcome.slide
        if slide is not None and not slide.is_open and not nothing_counted(tally(slide, LEUKEMIA_ATTRI)):
            self.summaries = 1 + slide.revision
        return outcome

    def _verdict(self, shown: Shown) -> str:
        """What the cell is on the rendered film, by the name of its class; one cut by the border, of which the film shows less than
        half there, is not classed."""
        assert self.truth is not None
        kind = self.truth.at(shown.field_index, shown.cell.box_px)
        if kind is None:
            return NOT_CLASSED if shown.cell.provisional else ARTEFACT
        return ARTEFACT if LEUKEMIA_ATTRI.is_artefact(kind) else LEUKEMIA_ATTRI.classes[kind]


def _fields(config: Config) -> int | None:
    """How many fields there are to read; None where that shows only at the end (a video, a hand that moves as it likes)."""
    camera = config.camera
    if isinstance(camera, SimulatorConfig):
        return camera.fields if camera.hand == "fields" else None
    folder = Path(camera.source) if isinstance(camera, ReplayCamera) else Path()
    return len(list_folder(folder).pictures) if folder.is_dir() else None
