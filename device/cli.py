"""The command `leukoscope`: reads the command line, calls the room that does the work, turns errors into one line and an exit code."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import App, CycloptsError, Parameter
from cyclopts.validators import Number

from device.box_command import box
from device.calibrate_command import calibrate
from device.check_command import check_config
from device.contract_command import contract
from device.errors import LeukoscopeError
from device.fleet_command import fleet_sim
from device.options import DEFAULT_CONFIG, ConfigOption, Count
from device.qc_command import qc
from device.record_command import backup, quarantine, restore, verify
from device.resend_command import resend
from device.slides_command import export, slides
from device.status_command import status
from device.supervise_command import supervise
from device.supervisor_command import watch
from device.support_command import support_bundle
from engines.errors import EnginesError
from engines.files import print_any_name

HELP = "A second pair of eyes for leukaemia beside a microscope. For review by a person, never a diagnosis."
INTERRUPTED = 130
"""Exit code after Ctrl-C, as a shell has it."""


def _version() -> str:
    from engines.version import version

    return f"leukoscope {version()}"


app = App(name="leukoscope", help=HELP, help_format="plaintext", version=_version, default_parameter=Parameter(negative=()))


@app.command
def run(
    *,
    config: ConfigOption = DEFAULT_CONFIG,
    display: str | None = None,
    start: bool = False,
    wait_for_devices: bool = False,
    record: Path | None = None,
    record_every: Annotated[float | None, Parameter(validator=Number(gte=0))] = None,
) -> int:
    """Run the appliance until it is stopped; a slide that is open then comes back, paused, at the next start.

    Args:
        display: screen, none, or file:DIR; overrides the file.
        start: Open a slide with the first frame.
        wait_for_devices: Wait for a camera or screen that is not there at the start, as at boot.
        record: A folder. Keep frames as the camera gives them, for a calibration set; goes on behind those in it.
        record_every: Seconds between two frames of the resting stage; each counted field is kept besides. Default: 5.
    """
    from device.box.boot import telling

    with telling() as boot:
        from device.app import run as run_appliance
        from device.app import with_overrides
        from device.settings.config_file import load_config

        loaded = load_config(config)
        _log(loaded.log_level)
        changed = with_overrides(loaded, display, start, record, record_every)
        outcome = run_appliance(changed, wait_for_devices=wait_for_devices, each_round=boot.look)
    if outcome.reason:
        logging.getLogger(__name__).info("ended: %s", outcome.reason)
    return _saved(outcome.saved)


@app.command
def demo(
    *,
    source: Path | None = None,
    report: Path = Path("demo-report"),
    fields: Count = 14,
    display: str | None = None,
    seed: Annotated[int, Parameter(validator=Number(gte=0))] = 7,
    case: str = "AML",
    hand: Literal["fields", "whole", "ordinary", "overlap", "returns", "restless"] = "returns",
    interactive: bool = False,
) -> int:
    """Read one slide from its barcode to the signed report, without camera, GPU, screen, broker or person of yours.

    Args:
        source: A folder of pictures or a video instead of the simulated slide; it stays unreviewed.
        report: Where screenshots, record, messages, page, tables and FHIR are kept.
        fields: Fields of the simulated slide, besides what the hand does.
        display: screen or none; default: pictures in the report folder.
        seed: Which simulated slide.
        case: Which case is simulated: AML, ALL, APML, CLL, CML, normal or mixed.
        hand: How the stage is moved: returns goes back to ground it has seen; fields lie clear of each other, as no hand moves.
        interactive: Count, review and sign by yourself, in a window, while the simulated hand moves the stage.
    """
    from device.demo.run import run_demo

    _log("warning")
    given = {"fields": fields, "display": display, "seed": seed, "case": case, "hand": hand, "interactive": interactive}
    return _saved(run_demo(report=report, source=source, **given))  # type: ignore[arg-type]


@app.command
def example_config(path: Path | None = None, /) -> None:
    """Print the example configuration, which explains every key, or write it to a file to be changed.

    Args:
        path: A new file; default: it is printed.
    """
    from device.settings.config_file import EXAMPLE, write_example

    if path is None:
        sys.stdout.write(EXAMPLE.read_text(encoding="utf-8"))
    else:
        write_example(path)
        sys.stdout.write(f"{path}: written; change it, then run: leukoscope check-config {path}\n")


app.command(check_config)
app.command(box)


@app.command
def doctor(*, config: ConfigOption = DEFAULT_CONFIG) -> int:
    """Try camera, engine, display, disk and broker, and print what was found with the next step."""
    from device.box.findings import box_findings
    from device.service.doctor import examine, print_findings
    from device.settings.config_file import load_config

    loaded = load_config(config)
    _log("error")
    return 0 if print_findings([*examine(loaded), *box_findings(loaded)]) else 1


app.command(slides)
app.command(support_bundle)
app.command(export)
app.command(resend)
for _of_record in (verify, backup, restore, quarantine):
    app.command(_of_record)


@app.command
def report(slide_id: str, /, *, out: Path = Path("slide.html"), config: ConfigOption = DEFAULT_CONFIG) -> None:
    """Write a slide of the record as a page: differential, description, morphology bank, provenance.

    Args:
        slide_id: A slide's id, as `leukoscope slides` shows it.
        out: The page to write.
    """
    from device.report.page import write_page
    from device.settings.config_file import load_config

    write_page(load_config(config).record_path, slide_id, out)
    sys.stdout.write(f"{out}\n")


app.command(watch)
app.command(supervise)
app.command(contract)
app.command(fleet_sim)


@app.command
def bench(
    *,
    engine: str = "zoo:attridet-n",
    runtime: str = "auto",
    threads: Annotated[int, Parameter(validator=Number(gte=1, lte=64))] = 2,
    frames: Annotated[int, Parameter(validator=Number(gte=5, lte=1000))] = 60,
    repeats: Count = 5,
    source: Path | None = None,
    objective: Literal[40, 100] = 100,
    out: Path | None = None,
    section: str = "whole-path",
    precision: str = "auto",
) -> None:
    """Measure frames a second of the whole path and milliseconds of each stage at 1080p on this machine.

    Args:
        engine: A bundle: zoo:NAME or a folder.
        runtime: What runs it: auto, onnx, openvino, tensorrt, tensorrt_rtx.
        threads: Threads of the engine.
        frames: Frames of one reading; all are held in memory, 6 MB each.
        repeats: Readings; fewer, at least 3, where they take too long.
        source: A folder of pictures of one size instead of rendered film.
        objective: Of the rendered film; at 40x a field has six times as many cells.
        out: Also put it into this Markdown page, as the section --section.
        section: Name of that section; other sections are kept.
        precision: Of what is not in 8 bits: auto, float32, bfloat16, float16. What is auto is measured first, as the appliance does it.
    """
    from device.bench.run import Settings, run_bench

    run_bench(Settings(engine, runtime, threads, frames, repeats, source, objective, precision), out, section)


@app.command
def learn(
    *, activate: bool = False, fewest: Annotated[int, Parameter(validator=Number(gte=20))] = 50, config: ConfigOption = DEFAULT_CONFIG
) -> None:
    """Fit a site layer to the cells that were reviewed and signed on this box, and show what it tells of slides left out.

    It names cells only after a person has said so, here or by `leukoscope layer use`.

    Args:
        activate: Say yes beforehand: the layer is taken at the next start.
        fewest: Refuse fewer reviewed white cells.
    """
    from device.service.learning import learn as learn_from_reviewed
    from device.settings.config_file import load_config

    learn_from_reviewed(load_config(config), activate, fewest)


_layer = App(name="layer", help="The layer that names cells: activate a site's own, take it back, see what is in use.")
app.command(_layer)


@_layer.command
def use(file: Path, /, *, config: ConfigOption = DEFAULT_CONFIG) -> None:
    """Activate a naming layer that `attridet learn` fitted; taken at the next start of the appliance.

    Args:
        file: The layer (.npz); a copy is kept in the state folder.
    """
    from device.service.layers import use as use_layer
    from device.settings.config_file import load_config

    sys.stdout.write(f"{use_layer(load_config(config), file)}\n")


@_layer.command
def back(*, config: ConfigOption = DEFAULT_CONFIG) -> None:
    """Take the layer in use back, to the one before it."""
    from device.service.layers import back as take_back
    from device.settings.config_file import load_config

    sys.stdout.write(f"{take_back(load_config(config))}\n")


@_layer.command
def show(*, config: ConfigOption = DEFAULT_CONFIG) -> None:
    """What is in use, what its card says, and every change so far."""
    from device.service.layers import show as show_layers
    from device.settings.config_file import load_config

    sys.stdout.write(f"{show_layers(load_config(config))}\n")


app.command(calibrate)
app.command(qc)

_slide = App(name="slide", help="Ask the running daemon, as its keys do.")
app.command(_slide)


def _ask(config: Path, command: str, *, anyway: bool = False, **said: str) -> None:
    from device.service.control import send
    from device.settings.config_file import load_config
    from device.slide.commands import Command, Wish

    sys.stdout.write(f"{send(load_config(config).control_path, Wish(Command(command), sure=anyway, **said))}\n")


@_slide.command
def start(*, specimen: str = "", operator: str = "", anyway: bool = False, config: ConfigOption = DEFAULT_CONFIG) -> None:
    """Open a new slide.

    Args:
        specimen: The specimen's number, as on its label; never a name. It stays in the shell's history.
        operator: Initials of who counts, 2 to 4 letters.
        anyway: Also where this specimen has a slide already.
    """
    _ask(config, "start", anyway=anyway, specimen=specimen, operator=operator)


@_slide.command
def finish(*, anyway: bool = False, config: ConfigOption = DEFAULT_CONFIG) -> None:
    """Close the slide for review and send its summary.

    Args:
        anyway: Also below the target, and with many unidentified cells.
    """
    _ask(config, "finish", anyway=anyway)


@_slide.command
def abort(*, reason: str, config: ConfigOption = DEFAULT_CONFIG) -> None:
    """Close the slide as aborted; what was counted stays in the record.

    Args:
        reason: Why, in a few words, such as "poor film". It is sent with the summary: nothing of a patient or specimen.
    """
    _ask(config, "abort", reason=reason)


@_slide.command
def answer(choice: str, /, *, config: ConfigOption = DEFAULT_CONFIG) -> None:
    """Answer what the screen asks about objective or slide.

    Args:
        choice: The key that stands before the answer, as 1.
    """
    _ask(config, "answer", reason=choice)


def _add_slide_command(name: str, words: str) -> None:
    def ask(*, config: ConfigOption = DEFAULT_CONFIG) -> None:
        _ask(config, name)

    _slide.command(ask, name=name, help=words)


for _name, _words in {
    "undo": "Take back the field counted last.",
    "pause": "Stop counting, or go on.",
    "go-on": "Count on after a pause; at the target up to the next one.",
    "reopen": "Count on where the slide was finished, as long as nobody has signed it.",
}.items():
    _add_slide_command(_name, _words)


app.command(status)


def _saved(saved: bool) -> int:
    return 0 if saved else _fail("not everything could be saved; see the lines above", 1)


def _log(level: str) -> None:
    logging.basicConfig(level=level.upper(), format="%(levelname)s %(name)s: %(message)s", stream=sys.stderr)


def _fail(words: str, code: int) -> int:
    sys.stderr.write(f"leukoscope: {words}\n")
    return code


def call(words: Sequence[str]) -> int:
    """The exit code of one call; an error that a person can do something about is one line on stderr."""
    try:
        command, bound, _ = app.parse_args(list(words), exit_on_error=False, print_error=False)
        code: int = command(*bound.args, **bound.kwargs) or 0
        return code if list(words) not in ([], ["slide"], ["layer"], ["calibrate"]) else 2  # help was printed, for want of a command
    except CycloptsError as error:
        return _fail(f"{' '.join(str(error).split())} See: {' '.join(('leukoscope', *(error.command_chain or ())))} --help", 2)
    except (LeukoscopeError, EnginesError) as error:
        return _fail(str(error), error.exit_code)
    except KeyboardInterrupt:
        return _fail("stopped", INTERRUPTED)
    except BrokenPipeError:
        # The reader (head, less) has gone; Python would complain once more while it flushes.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1


def main() -> None:
    """Entry point of `leukoscope`. Exit codes: 0 done, 1 it failed, 2 what was asked for cannot be done, 130 after Ctrl-C."""
    from device.service.signals import leave

    print_any_name()
    leave(call(sys.argv[1:]))
