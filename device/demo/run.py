"""`leukoscope demo`: the appliance with everything around it brought along: a slide, a broker, a supervisor who listens.

The appliance itself is the one of `leukoscope run`; only the configuration and the neighbours are made here.
"""

from __future__ import annotations

import shutil
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.text import Text

from device.app import Outcome, run
from device.camera.simulator import SimulatorCamera
from device.clock import SystemClock
from device.demo.broker import local_broker
from device.demo.handed import hand_on
from device.demo.truth import told_of_truth
from device.display.factory import parse_display
from device.errors import ConfigError
from device.mqtt.payloads import SlideSummary
from device.pipeline import Pipeline, Round
from device.report.page import write_page
from device.settings.config import (
    BrokerSection,
    Config,
    DeviceSection,
    DisplaySection,
    EngineSection,
    MicroscopeSection,
    RecordSection,
    ReplayCamera,
    SlideSection,
)
from device.settings.config import SimulatorCamera as SimulatorConfig
from device.slide.doubt import FOREIGN, sensitivity, zero_limit
from device.slide.model import Slide
from device.slide.picture_state import count_of
from device.slide.tally import tally
from device.slide.verdict import BLASTS
from device.supervisor.watch import watch
from engines.pictures import list_folder
from engines.runtime.base import EngineInfo
from engines.runtime.choice import choose

MARKER = ".leukoscope-demo"
DEVICE_ID = "demo"
_SUMMARY_WITHIN_S = 20.0
_SCREENS_ON_PAGE = 3


def run_demo(
    *,
    report: Path,
    source: Path | None = None,
    fields: int = 24,
    display: str | None = None,
    seed: int = 7,
    case: str = "AML",
    console: Console | None = None,
) -> bool:
    """Read one slide and leave screenshots, record, summary and page in `report`; True if all was saved and came back.

    Raises ConfigError for a report folder that holds something else, CameraError for a source that cannot be read.
    """
    console = console or Console()
    started = time.monotonic()
    camera: SimulatorConfig | ReplayCamera
    if source is None:
        camera = SimulatorConfig(kind="simulator", seed=seed, case=case, fields=fields)
        slide = f"rendered film, case {case}, seed {seed}, {fields} fields. No patient's blood."
    else:
        camera = ReplayCamera(kind="replay", source=str(source))
        slide = f"pictures of {source}, each taken as one field."
    _prepare(report)  # refused before anything is measured
    engine, how = _engine(console)
    with local_broker() as broker:
        shots = DisplaySection(kind="file", directory=report / "screens", period_s=1.0)
        config = Config(
            camera=camera,
            device=DeviceSection(id=DEVICE_ID, state_dir=report / "state"),
            microscope=MicroscopeSection(profile="zzcat-5mp", objective=100),
            engine=engine,
            slide=SlideSection(auto_start=True),
            display=shots if display is None else parse_display(display, shots),
            record=RecordSection(path=report / "record.sqlite"),
            broker=BrokerSection(host=broker.host, port=broker.port, protocol=broker.protocol),
        )
        console.print(f"Broker: {broker.name} on port {broker.port}, for this demo only.")
        console.print(f"Slide: {slide}")
        console.print(f"Engine: {Path(engine.bundle).name}, {how}", highlight=False)
        with _supervisor(config.broker, console) as received:
            outcome, read = _run_with_progress(config, console)
            until = time.monotonic() + _SUMMARY_WITHIN_S
            while outcome.sent and not received and time.monotonic() < until:
                time.sleep(0.05)
    _write_report(config, report, outcome, received)
    if not received:
        console.print("[bold red]No summary came back from the broker.[/] The record is kept.")
    for picture in outcome.skipped:
        console.print(f"[yellow]Skipped:[/] {escape(picture.name)}: {picture.reason}", highlight=False, soft_wrap=True)
    if outcome.slide is not None and read.engine is not None:
        for line in _last_words(outcome.slide, read, camera):
            console.print(line)
    for folder in _hand_on(config, report, outcome):
        console.print(f"Handed on as page, tables and FHIR: {folder}", highlight=False, soft_wrap=True)
    page, screens, seconds = report / "slide.html", report / "screens", time.monotonic() - started
    console.print(f"Done in {seconds:.0f} s. Look at [bold]{page}[/] and the pictures in [bold]{screens}[/].")
    return outcome.saved and outcome.sent and bool(received)


def _engine(console: Console) -> tuple[EngineSection, str]:
    """The shipped network by what runs it quickest here, of all that is installed and passes."""
    with console.status("Choosing what runs the engine quickest here") as status:
        choice = choose("zoo:attridet-n", report=lambda task, done, total: status.update(f"Engine: {task} ({done + 1} of {total})"))
    taken = choice.chosen
    section = EngineSection(bundle=taken.bundle, runtime=taken.runtime, precision=taken.precision)  # type: ignore[arg-type]
    return section, choice.words


def _prepare(report: Path) -> None:
    """An empty report folder: a former demo's is cleared, anything else is left alone."""
    if report.exists() and not report.is_dir():
        raise ConfigError(f"{report}: is a file; name a folder with --report")
    if report.is_dir() and any(report.iterdir()):
        if not (report / MARKER).is_file():
            raise ConfigError(f"{report}: is not empty and holds no former demo; name another folder with --report")
        shutil.rmtree(report)
    report.mkdir(parents=True, exist_ok=True)
    (report / MARKER).write_text("This folder is cleared by the next `leukoscope demo` that reports into it.\n")


@contextmanager
def _supervisor(section: BrokerSection, console: Console) -> Iterator[list[SlideSummary]]:
    """A supervisor's watch in a thread of its own; the list fills when the summary has come back from the broker."""
    received: list[SlideSummary] = []
    ready, stop = threading.Event(), threading.Event()

    def listen() -> None:
        received.extend(watch(section, device=DEVICE_ID, count=1, console=console, ready=ready, stop=stop))

    thread = threading.Thread(target=listen, name="supervisor", daemon=True)
    thread.start()
    ready.wait(_SUMMARY_WITHIN_S)
    try:
        yield received
    finally:
        stop.set()
        thread.join(_SUMMARY_WITHIN_S)


@dataclass
class _Read:
    """What is kept of the run: of each field's index the frame that it was counted on, and the engine."""

    frames: dict[int, int] = field(default_factory=dict)
    engine: EngineInfo | None = None


def _run_with_progress(config: Config, console: Console) -> tuple[Outcome, _Read]:
    read = _Read()
    columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[words]}"), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task("Reading the slide", total=_fields(config), words="")

        def show(done: Round, pipeline: Pipeline) -> None:
            slide, seen = pipeline.slide, done.observation
            if seen is not None and seen.event is not None and seen.event.field is not None and done.frame is not None:
                read.frames[seen.event.field.index] = done.frame.sequence
            read.engine = pipeline.engine_info
            if slide is not None:
                counted = pipeline.differential
                words = f"{count_of(len(slide.fields), 'field')}, {counted.white_cells} white cells, {counted.blasts} told as blasts"
                words += ", foreign film: groups only" if slide.foreign else ""
                progress.update(task, completed=len(slide.fields), words=words)

        return run(config, each_round=show), read


def _last_words(slide: Slide, read: _Read, camera: SimulatorConfig | ReplayCamera) -> Iterator[Text]:
    """The result in few lines: a foreign film, blasts with their range or the limit of their zero, and what the rendered film held."""
    assert read.engine is not None
    taxonomy, naming = read.engine.taxonomy, read.engine.naming
    counted = tally(slide, taxonomy)
    if slide.foreign:
        yield Text(FOREIGN, style="bold yellow")
    if counted.blasts:
        low, high = counted.blast_range
        of_group = next((row.count for row in counted.rows if row.told == BLASTS), 0)
        uncertain = f", {of_group} of them of uncertain kind" if of_group else ""
        share = f"{counted.blast_percent:.0f} %, 95 % range {low:.0f} to {high:.0f} %"
        yield Text(f"Blasts and blast equivalents: {counted.blasts} of {counted.white_cells} white cells ({share}){uncertain}.")
    else:
        doubt = f"{zero_limit(counted)}. {sensitivity(naming, slide.foreign)}"
        yield Text(f"No blasts were told; that does not exclude them: {doubt}", style="yellow")
    if isinstance(camera, SimulatorConfig):
        yield Text(told_of_truth(SimulatorCamera(camera, SystemClock()), slide, read.frames, taxonomy).words)


def _fields(config: Config) -> int | None:
    """How many fields there are to read; None where that shows only at the end (a video)."""
    camera = config.camera
    if isinstance(camera, SimulatorConfig):
        return camera.fields
    folder = Path(camera.source) if isinstance(camera, ReplayCamera) else Path()
    return len(list_folder(folder).pictures) if folder.is_dir() else None


def _hand_on(config: Config, report: Path, outcome: Outcome) -> tuple[Path, ...]:
    if outcome.slide is None:
        return ()
    return hand_on(config.record_path, outcome.slide.slide_id, report / "handed-on", config.camera.simulated)


def _write_report(config: Config, report: Path, outcome: Outcome, received: list[SlideSummary]) -> None:
    if received:
        (report / "summary.json").write_bytes(received[0].to_bytes())
    screens = sorted((report / "screens").glob("screen-*.png"))
    if outcome.slide is not None:
        some = screens[len(screens) // 4 :: max(1, len(screens) // 3)][:_SCREENS_ON_PAGE]
        write_page(config.record_path, outcome.slide.slide_id, report / "slide.html", some)
    if screens:
        shutil.copyfile(screens[-1], report / "last-screen.png")
