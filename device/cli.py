"""The command `leukoscope`: reads the command line, calls the room that does the work, turns errors into one line and an exit code."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Literal, NoReturn, Optional

import typer

from engines.files import print_any_name

app = typer.Typer(
    help="A second pair of eyes for leukaemia beside a microscope. For review by a person, never a diagnosis.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
slide_app = typer.Typer(help="Ask the running daemon, as its keys do.", no_args_is_help=True)
app.add_typer(slide_app, name="slide")

ConfigOption = Annotated[Path, typer.Option("--config", "-c", help="The configuration file (YAML).")]
DEFAULT_CONFIG = Path("/etc/leukoscope/device.yaml")


def _print_version(asked: bool) -> None:
    if asked:
        from engines.version import version

        typer.echo(f"leukoscope {version()}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[bool, typer.Option("--version", is_eager=True, callback=_print_version, help="Print the version.")] = False,
) -> None:
    pass


@app.command()
def run(
    config: ConfigOption = DEFAULT_CONFIG,
    display: Annotated[Optional[str], typer.Option(help="screen, none, or file:DIR; overrides the file.")] = None,  # noqa: UP045  # typer on 3.10
    start: Annotated[bool, typer.Option("--start", help="Open a slide with the first frame.")] = False,
    wait_for_devices: Annotated[
        bool, typer.Option("--wait-for-devices", help="Wait for a camera or screen that is not there at the start, as at boot.")
    ] = False,
    record: Annotated[
        Optional[Path],  # noqa: UP045  # typer on 3.10
        typer.Option(metavar="DIR", help="Keep frames as the camera gives them, for a calibration set; goes on behind those in DIR."),
    ] = None,
    record_every: Annotated[
        Optional[float],  # noqa: UP045  # typer on 3.10
        typer.Option(min=0, help="Seconds between two frames of the resting stage; each counted field is kept besides. Default: 5."),
    ] = None,
) -> None:
    """Run the appliance until it is stopped; an open slide is then closed as aborted, not lost."""
    with _advice():
        from device.app import run as run_appliance
        from device.app import with_overrides
        from device.settings.config_file import load_config

        loaded = load_config(config)
        _log(loaded.log_level)
        changed = with_overrides(loaded, display, start, record, record_every)
        outcome = run_appliance(changed, wait_for_devices=wait_for_devices)
        _end(outcome.reason, outcome.saved)


@app.command()
def demo(
    source: Annotated[Optional[Path], typer.Option(help="A folder of pictures or a video instead of the simulated slide.")] = None,  # noqa: UP045  # typer on 3.10
    report: Annotated[Path, typer.Option(help="Where screenshots, record and summary are kept.")] = Path("demo-report"),
    fields: Annotated[int, typer.Option(min=1, help="Fields of the simulated slide.")] = 24,
    display: Annotated[Optional[str], typer.Option(help="screen or none; default: pictures in the report folder.")] = None,  # noqa: UP045  # typer on 3.10
    seed: Annotated[int, typer.Option(min=0, help="Which simulated slide.")] = 7,
    case: Annotated[str, typer.Option(help="Which case is simulated: AML, ALL, APML, CLL, CML, normal or mixed.")] = "AML",
) -> None:
    """Read one slide from start to summary, without camera, GPU, screen or broker of yours."""
    with _advice():
        from device.demo.run import run_demo

        _log("warning")
        _end("", run_demo(report=report, source=source, fields=fields, display=display, seed=seed, case=case))


@app.command("example-config")
def example_config(path: Annotated[Optional[Path], typer.Argument(help="A new file; default: it is printed.")] = None) -> None:  # noqa: UP045  # typer on 3.10
    """Print the example configuration, which explains every key, or write it to a file to be changed."""
    with _advice():
        from device.settings.config_file import EXAMPLE, write_example

        if path is None:
            typer.echo(EXAMPLE.read_text(encoding="utf-8"), nl=False)
        else:
            write_example(path)
            typer.echo(f"{path}: written; change it, then run: leukoscope check-config {path}")


@app.command("check-config")
def check_config(config: Annotated[Path, typer.Argument(help="The configuration file (YAML).")] = DEFAULT_CONFIG) -> None:
    """Say whether a configuration can be used, every fault with its line, and print what it amounts to."""
    with _advice():
        from device.settings.config_file import describe, load_config

        loaded = load_config(config)
        typer.echo(describe(loaded), nl=False)
        typer.echo(f"{config}: good")


@app.command()
def doctor(config: ConfigOption = DEFAULT_CONFIG) -> None:
    """Try camera, engine, display, disk and broker, and print what was found with the next step."""
    with _advice():
        from device.service.doctor import examine, print_findings
        from device.settings.config_file import load_config

        loaded = load_config(config)
        _log("error")
        if not print_findings(examine(loaded)):
            raise typer.Exit(1)


@app.command()
def slides(config: ConfigOption = DEFAULT_CONFIG, limit: Annotated[int, typer.Option(min=1)] = 20) -> None:
    """List the slides in the record, newest first."""
    with _advice():
        from device.report.terminal import print_slides
        from device.settings.config_file import load_config

        print_slides(load_config(config).record_path, limit)


@app.command()
def report(
    slide_id: Annotated[str, typer.Argument(help="A slide's id, as `leukoscope slides` shows it.")],
    out: Annotated[Path, typer.Option(help="The page to write.")] = Path("slide.html"),
    config: ConfigOption = DEFAULT_CONFIG,
) -> None:
    """Write a slide of the record as a page: differential, description, morphology bank, provenance."""
    with _advice():
        from device.report.page import write_page
        from device.settings.config_file import load_config

        write_page(load_config(config).record_path, slide_id, out)
        typer.echo(str(out))


@app.command()
def watch(
    host: Annotated[str, typer.Option(help="The broker.")] = "localhost",
    port: Annotated[int, typer.Option(min=1, max=65535)] = 1883,
    device: Annotated[str, typer.Option(help="One device's id; default: all.")] = "+",
    count: Annotated[Optional[int], typer.Option(min=1, help="End after so many summaries.")] = None,  # noqa: UP045  # typer on 3.10
    username: Annotated[Optional[str], typer.Option()] = None,  # noqa: UP045  # typer on 3.10
    password_file: Annotated[Optional[Path], typer.Option()] = None,  # noqa: UP045  # typer on 3.10
    tls: Annotated[bool, typer.Option()] = False,
    ca_file: Annotated[Optional[Path], typer.Option(help="Certificate of the authority that signed the broker's.")] = None,  # noqa: UP045  # typer on 3.10
    topic_root: Annotated[str, typer.Option()] = "leukoscope",
    client_id: Annotated[
        Optional[str],  # noqa: UP045  # typer on 3.10
        typer.Option(help="With a name of its own the broker keeps what is published while nobody watches."),
    ] = None,
) -> None:
    """The supervisor's terminal: print each slide's summary as it arrives."""
    with _advice():
        from device.settings.config_file import broker_from_options
        from device.supervisor.watch import watch as watch_broker

        section = broker_from_options(
            host=host, port=port, username=username, password_file=password_file, tls=tls, ca_file=ca_file, topic_root=topic_root
        )
        watch_broker(section, device=device, count=count, client_id=client_id)


@app.command()
def bench(
    engine: Annotated[str, typer.Option(help="A bundle: zoo:NAME or a folder.")] = "zoo:attridet-n",
    runtime: Annotated[str, typer.Option(help="What runs it: auto, onnx, openvino, tensorrt, tensorrt_rtx.")] = "auto",
    threads: Annotated[int, typer.Option(min=1, max=64, help="Threads of the engine.")] = 2,
    frames: Annotated[int, typer.Option(min=5, max=1000, help="Frames of one reading; all are held in memory, 6 MB each.")] = 60,
    repeats: Annotated[int, typer.Option(min=1, help="Readings; fewer, at least 3, where they take too long.")] = 5,
    source: Annotated[Optional[Path], typer.Option(help="A folder of pictures of one size instead of rendered film.")] = None,  # noqa: UP045  # typer on 3.10
    objective: Annotated[int, typer.Option(help="Of the rendered film: 100, or 40 with six times as many cells a field.")] = 100,
    out: Annotated[
        Optional[Path],  # noqa: UP045  # typer on 3.10
        typer.Option(metavar="PAGE", help="Also put it into this Markdown page, as the section --section."),
    ] = None,
    section: Annotated[str, typer.Option(help="Name of that section; other sections are kept.")] = "whole-path",
) -> None:
    """Measure frames a second of the whole path and milliseconds of each stage at 1080p on this machine."""
    if objective not in (40, 100):
        raise typer.BadParameter(f"{objective}: film is rendered for 40 or 100", param_hint="--objective")
    with _advice():
        from device.bench.run import Settings, run_bench

        lens: Literal[40, 100] = 40 if objective == 40 else 100
        run_bench(Settings(engine, runtime, threads, frames, repeats, source, lens), out, section)


def _ask(config: Path, wish: str) -> None:
    with _advice():
        from device.service.control import send
        from device.settings.config_file import load_config
        from device.slide.commands import Command

        typer.echo(send(load_config(config).control_path, Command(wish)))


@slide_app.command("start")
def slide_start(config: ConfigOption = DEFAULT_CONFIG) -> None:
    """Open a new slide."""
    _ask(config, "start")


@slide_app.command("finish")
def slide_finish(config: ConfigOption = DEFAULT_CONFIG) -> None:
    """Close the slide for review and send its summary."""
    _ask(config, "finish")


@slide_app.command("undo")
def slide_undo(config: ConfigOption = DEFAULT_CONFIG) -> None:
    """Take back the field counted last."""
    _ask(config, "undo")


@slide_app.command("pause")
def slide_pause(config: ConfigOption = DEFAULT_CONFIG) -> None:
    """Stop counting, or go on."""
    _ask(config, "pause")


@app.command()
def status(config: ConfigOption = DEFAULT_CONFIG) -> None:
    """What the running daemon does, as JSON."""
    with _advice():
        import json

        from device.service.control import ask_status
        from device.settings.config_file import load_config

        typer.echo(json.dumps(ask_status(load_config(config).control_path), indent=2))


@contextmanager
def _advice() -> Iterator[None]:
    """Errors that a person can do something about end in their own words and exit code, without a traceback."""
    from calibration.profile import ProfileError
    from device.errors import LeukoscopeError
    from engines.errors import EnginesError

    try:
        yield
    except (LeukoscopeError, EnginesError, ProfileError) as error:
        _fail(str(error), error.exit_code)
    except KeyboardInterrupt:
        _fail("stopped", 130)


def _fail(text: str, code: int) -> NoReturn:
    typer.echo(f"leukoscope: {text}", err=True)
    raise typer.Exit(code)


def _end(reason: str, saved: bool) -> None:
    if reason:
        logging.getLogger(__name__).info("ended: %s", reason)
    if not saved:
        _fail("not everything could be saved; see the lines above", 1)


def _log(level: str) -> None:
    logging.basicConfig(level=level.upper(), format="%(levelname)s %(name)s: %(message)s", stream=sys.stderr)


def main() -> None:
    """Entry point of the script `leukoscope`."""
    print_any_name()
    app()
