"""One engine measured on this machine, alone or beside others' programs; JSON, a plot, a page's section."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path

from engines.bench.frames import frames_of, words
from engines.bench.measure import Measured, Settings, measure
from engines.bench.page import section_text
from engines.bench.peers import PEERS
from engines.bench.request import BenchRequest
from engines.bench.section import put_section
from engines.errors import DataError
from engines.files import write_json, write_result
from engines.progress import SILENT, Reporter


@dataclass(frozen=True, eq=False)
class BenchResult:
    """What was measured, and the files that were asked for and written."""

    measured: Measured
    written: tuple[Path, ...]


def bench(request: BenchRequest, reporter: Reporter = SILENT) -> BenchResult:
    """Measure as `attridet bench` does. Raises EnginesError; each file is written whole or not at all."""
    _check(request)
    images = frames_of(request.frames, request.count, reporter.counter("laying in pictures"))
    # Not resolved: an environment's Python is a link to another one.
    python = request.peer_python.absolute() if request.peer_python else None
    settings = Settings(request.engine, request.runtime, request.threads, request.rounds, request.confidence, request.plans)
    measured = measure(settings, images, [peer for name in request.peer for peer in PEERS[name]], python, reporter.progress)
    now = datetime.now(timezone.utc)
    if request.json is not None:
        write_json(
            request.json, {"created": now.isoformat(timespec="seconds"), "frames_of": words(request.frames), **measured.to_dict()}
        )
    if request.plot is not None:
        from engines.bench.plot import frame_times
        from engines.plot_style import png

        write_result(request.plot, png(frame_times(measured, words(request.frames))))
    if request.page is not None:
        put_section(request.page, request.section, section_text(measured, words(request.frames), request.command))
    return BenchResult(measured, tuple(path for path in (request.json, request.plot, request.page) if path is not None))


def _check(request: BenchRequest) -> None:
    """What can be found now rather than after minutes."""
    for path in (request.json, request.plot, request.page):
        if path is not None and not path.absolute().parent.is_dir():
            raise DataError(f"{path}: its folder does not exist. Make it, or name another file.")
    if unknown := [name for name in request.peer if name not in PEERS]:
        raise DataError(f"--peer {unknown[0]}: there are {', '.join(PEERS)}.")
    if request.peer and request.peer_python is None:
        raise DataError("--peer needs --peer-python, the Python of an environment in which it is installed.")
    if request.peer_python is not None and not request.peer_python.exists():
        raise DataError(f"--peer-python {request.peer_python}: there is no such program.")
    if request.page is not None:
        put_section(request.page, request.section, None)
