"""`attridet bench`: one engine measured on this machine, alone or beside others' programs; tables, JSON, a plot, a page's section."""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path

from rich.console import Console

from engines.bench.frames import frames_of, words
from engines.bench.measure import Measured, Settings, measure
from engines.bench.page import section_text
from engines.bench.peers import PEERS
from engines.bench.section import put_section
from engines.commands.bench_tables import print_measured
from engines.commands.terminal import one_task, progress_bar
from engines.errors import DataError
from engines.files import write_result


@dataclass(frozen=True)
class Request:
    """What the command line asks for. frames: `rendered` or a folder. page: a Markdown file that gets the section `section`."""

    settings: Settings
    frames: str
    count: int
    peers: Sequence[str] = ()
    peer_python: Path | None = None
    json: Path | None = None
    plot: Path | None = None
    page: Path | None = None
    section: str = "engine"


def run(request: Request) -> Measured:
    """Measures, prints, writes. Raises EnginesError; each file is written whole or not at all."""
    _check(request)
    chosen = [peer for name in request.peers for peer in PEERS[name]]
    with one_task("laying in pictures") as progress:
        images = frames_of(request.frames, request.count, progress)
    # Not resolved: an environment's Python is a link to another one.
    python = request.peer_python.absolute() if request.peer_python else None
    with progress_bar() as bar:
        task = bar.add_task("opening")

        def report(what: str, done: int, total: int) -> None:
            bar.update(task, description=what, completed=done, total=total)

        measured = measure(request.settings, images, chosen, python, report)
    console, now = Console(), datetime.now(timezone.utc)
    print_measured(measured, console)
    with ExitStack() as written:
        if request.json is not None:
            content = {"created": now.isoformat(timespec="seconds"), "frames_of": words(request.frames), **measured.to_dict()}
            write_result(request.json, (json.dumps(content, indent=1, allow_nan=False) + "\n").encode())
            written.callback(console.print, f"written: {request.json}", soft_wrap=True)
        if request.plot is not None:
            from engines.bench.plot import frame_times
            from engines.plot_style import png

            write_result(request.plot, png(frame_times(measured, words(request.frames))))
            written.callback(console.print, f"written: {request.plot}", soft_wrap=True)
        if request.page is not None:
            put_section(request.page, request.section, section_text(measured, words(request.frames), command(request)))
            written.callback(console.print, f"written: {request.page}", soft_wrap=True)
    return measured


def command(request: Request) -> str:
    """What reproduces the measurement, without this machine's paths."""
    s = request.settings
    parts = [f"attridet bench {s.reference if s.reference.startswith('zoo:') else Path(s.reference).name}", f"--runtime {s.runtime}"]
    parts += [f"--threads {s.threads}", f"--frames {request.frames if request.frames == 'rendered' else Path(request.frames).name}"]
    parts += [f"--count {request.count}", f"--rounds {s.rounds}"]
    parts += [f"--plans {s.plans.name}"] if s.plans else []
    parts += [f"--peer {name}" for name in request.peers] + (["--peer-python PYTHON"] if request.peers else [])
    return " ".join(parts)


def _check(request: Request) -> None:
    """What can be found now rather than after minutes."""
    for path in (request.json, request.plot, request.page):
        if path is not None and not path.absolute().parent.is_dir():
            raise DataError(f"{path}: its folder does not exist. Make it, or name another file.")
    if unknown := [name for name in request.peers if name not in PEERS]:
        raise DataError(f"--peer {unknown[0]}: there are {', '.join(PEERS)}.")
    if request.peers and request.peer_python is None:
        raise DataError("--peer needs --peer-python, the Python of an environment in which it is installed.")
    if request.peer_python is not None and not request.peer_python.exists():
        raise DataError(f"--peer-python {request.peer_python}: there is no such program.")
    if request.page is not None:
        put_section(request.page, request.section, None)
