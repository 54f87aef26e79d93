"""`leukoscope demo`: the appliance with everything around it brought along: a slide, a person, a broker, a supervisor who listens.

The appliance itself is the one of `leukoscope run`; only the configuration and the neighbours are made here.
"""

from __future__ import annotations

import shutil
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

from rich.console import Console
from rich.markup import escape
from rich.text import Text

from device.app import Outcome
from device.demo.broker import local_broker
from device.demo.person import SPECIMEN
from device.demo.reading import Reading
from device.display.factory import parse_display
from device.errors import ConfigError
from device.mqtt.payloads import SlideSummary
from device.report.case import Case
from device.report.export import How, Wanted, export_record
from device.report.page import write_page
from device.review.journal import Act
from device.settings.broker import BrokerSection
from device.settings.config import (
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
from device.slide.tally import tally
from device.slide.verdict import BLASTS
from device.store import Store
from device.supervisor.watch import watch
from engines.runtime.choice import Asked, choose

Hand = Literal["fields", "whole", "ordinary", "overlap", "returns", "restless"]
MARKER = ".leukoscope-demo"
DEVICE_ID, HANDED_ON = "demo", "handed-on"
TARGET_CELLS = 50
"""Fewer than a slide needs: the demo is to be over soon. The signature therefore gives a reason."""
_SUMMARY_WITHIN_S = 20.0
_SCREENS_ON_PAGE = 3


def run_demo(
    *,
    report: Path,
    source: Path | None = None,
    fields: int = 14,
    display: str | None = None,
    seed: int = 7,
    case: str = "AML",
    hand: Hand = "returns",
    interactive: bool = False,
    console: Console | None = None,
) -> bool:
    """Read one slide and leave screenshots, record, messages, page, tables and FHIR in `report`; True if all was saved and came back.

    Rendered film is counted, reviewed and signed by the demo's own person, or with `interactive` by whoever sits at the window; of
    pictures nobody knows the truth, so that their slide stays unreviewed. Raises ConfigError for a report folder that holds something
    else, CameraError for a source that cannot be read.
    """
    console = console or Console()
    started = time.monotonic()
    camera: SimulatorConfig | ReplayCamera
    if source is None:
        camera = SimulatorConfig(kind="simulator", seed=seed, case=case, fields=fields, hand=hand, live=interactive, loop=interactive)
        slide = f"rendered film, case {case}, seed {seed}, {fields} fields and what a hand does besides ({hand}). No patient's blood."
    else:
        camera = ReplayCamera(kind="replay", source=str(source))
        slide = f"pictures of {source}, each taken as one field."
    _prepare(report)  # refused before anything is measured
    engine, how = _engine(console)
    alone = source is None and not interactive  # the demo's own person sits at the desk
    with local_broker() as broker:
        shots = DisplaySection(kind="file", directory=report / "screens", period_s=1.0)
        wanted = display if display is not None or not interactive else "screen"
        config = Config(
            camera=camera,
            device=DeviceSection(id=DEVICE_ID, state_dir=report / "state"),
            microscope=MicroscopeSection(profile="zzcat-5mp", objective=100),
            engine=engine,
            slide=SlideSection(auto_start=source is not None, finish_at_end=source is not None, target_cells=TARGET_CELLS),
            display=shots if wanted is None else parse_display(wanted, shots),
            record=RecordSection(path=report / "record.sqlite"),
            broker=BrokerSection(host=broker.host, port=broker.port, protocol=broker.protocol),
        )
        console.print(f"Broker: {broker.name} on port {broker.port}, for this demo only.")
        console.print(f"Slide: {slide}")
        console.print(f"Engine: {Path(engine.bundle).name}, {how}", highlight=False)
        if interactive:
            console.print(f"S starts a slide: scan or type {SPECIMEN}, then your initials. F finishes, R reviews, Q twice quits.")
        with _supervisor(config.broker, console) as received:
            reading = Reading(config, report / HANDED_ON)
            outcome = reading.run(console, with_person=alone)
            until = time.monotonic() + _SUMMARY_WITHIN_S
            while outcome.sent and len(received) < reading.summaries and time.monotonic() < until:
                time.sleep(0.05)
    _write_report(config, report, outcome, received)
    if not reading.summaries:
        console.print(
            "[yellow]No white cell was counted, so there is no summary to send.[/] That does not mean that the film has none."
        )
    elif not received:
        console.print("[bold red]No summary came back from the broker.[/] The record is kept.")
    for picture in outcome.skipped:
        console.print(f"[yellow]Skipped:[/] {escape(picture.name)}: {picture.reason}", highlight=False, soft_wrap=True)
    if outcome.slide is not None and reading.engine is not None:
        for line in _last_words(config.record_path, outcome.slide, reading):
            console.print(line)
    page, screens, seconds = report / "slide.html", report / "screens", time.monotonic() - started
    console.print(f"Done in {seconds:.0f} s. Look at [bold]{page}[/], the tables and FHIR in [bold]{report / HANDED_ON}[/]", end="")
    console.print(f" and the pictures in [bold]{screens}[/].")
    return outcome.saved and outcome.sent and len(received) >= reading.summaries


def _engine(console: Console) -> tuple[EngineSection, str]:
    """The shipped network by what runs it quickest here, of all that is installed and passes."""
    with console.status("Choosing what runs the engine quickest here") as status:
        choice = choose(Asked("zoo:attridet-n"), lambda task, done, total: status.update(f"Engine: {task} ({done + 1} of {total})"))
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
    """A supervisor's watch in a thread of its own; the list fills as summaries come back from the broker.

    It hears to the end of the run: what nobody hears is not delivered.
    """
    received: list[SlideSummary] = []
    ready, stop = threading.Event(), threading.Event()

    def listen() -> None:
        watch(section, device=DEVICE_ID, console=console, ready=ready, stop=stop, heard=received.append)

    thread = threading.Thread(target=listen, name="supervisor", daemon=True)
    thread.start()
    ready.wait(_SUMMARY_WITHIN_S)
    try:
        yield received
    finally:
        stop.set()
        thread.join(_SUMMARY_WITHIN_S)


def _last_words(record: Path, slide: Slide, reading: Reading) -> Iterator[Text]:
    """The result in few lines: a foreign film, blasts with their range or the limit of their zero, what the rendered film held, and
    what the review changed."""
    assert reading.engine is not None
    taxonomy, naming = reading.engine.taxonomy, reading.engine.naming
    with Store.read(record) as store:
        case = Case(store.slide(slide.slide_id))
    counted = tally(case.counted, taxonomy)
    if slide.foreign:
        yield Text(FOREIGN, style="bold yellow")
    if counted.blasts:
        low, high = counted.blast_range
        of_group = next((row.count for row in counted.rows if row.told == BLASTS), 0)
        uncertain = f", {of_group} of them of uncertain kind" if of_group else ""
        share = f"{counted.blast_percent:.0f} %, 95 % range {low:.0f} to {high:.0f} %"
        yield Text(
            f"Blasts and blast equivalents, as counted: {counted.blasts} of {counted.white_cells} white cells ({share}){uncertain}."
        )
    else:
        doubt = f"{zero_limit(counted)}. {sensitivity(naming, slide.foreign)}"
        yield Text(f"No blasts were told; that does not exclude them: {doubt}", style="yellow")
    if reading.truth is not None:
        yield Text(reading.truth.told(case.counted).words)
    if case.signature is not None:
        after, changed = case.after, sum(entry.act is Act.NAMED for entry in case.entries)
        yield Text(
            f"Reviewed by the demo reviewer ({case.signature.who}) with {reading.presses} key presses, {changed} cells named anew, "
            f"signed: {after.blasts} blasts of {after.white_cells} white cells ({after.blast_percent:.0f} %)."
        )


def _write_report(config: Config, report: Path, outcome: Outcome, received: list[SlideSummary]) -> None:
    if received:
        (report / "summary.json").write_bytes(received[0].to_bytes())
    if len(received) > 1:
        (report / "summary-signed.json").write_bytes(received[-1].to_bytes())
    screens = sorted((report / "screens").glob("screen-*.png"))
    if outcome.slide is not None:
        some = screens[len(screens) // 4 :: max(1, len(screens) // 3)][:_SCREENS_ON_PAGE]
        write_page(config.record_path, outcome.slide.slide_id, report / "slide.html", some)
        export_record(config.record_path, report / HANDED_ON, Wanted(outcome.slide.slide_id), How(), lambda _: None)
    if screens:
        shutil.copyfile(screens[-1], report / "last-screen.png")
