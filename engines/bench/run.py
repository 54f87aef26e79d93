"""One engine measured on this machine, alone or beside others' programs; JSON, a plot, a page's section."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path

from engines.bench.frames import RENDERED, frames_of, words
from engines.bench.measure import Measured, Settings, measure
from engines.bench.page import section_text
from engines.bench.peers import PEERS
from engines.bench.request import BenchRequest
from engines.bench.section import put_section, shown_command, shown_engine
from engines.errors import DataError
from engines.files import check_file, write_json, write_result
from engines.progress import SILENT, Reporter
from engines.runtime.precision import AUTO


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
    settings = Settings(
        request.engine,
        request.runtime,
        request.threads,
        request.rounds,
        request.confidence,
        request.plans,
        request.precision,
        request.beside,
    )
    measured = measure(settings, images, [peer for name in request.peer for peer in PEERS[name]], python, reporter.progress)
    source = words(request.frames)
    if request.json is not None:
        created = datetime.now(timezone.utc).isoformat(timespec="seconds")
        write_json(request.json, {"created": created, "frames_of": source, **measured.to_dict()})
    if request.plot is not None:
        from engines.bench.plot import frame_times
        from engines.plot_style import png

        write_result(request.plot, png(frame_times(measured, source)))
    if request.page is not None:
        put_section(request.page, request.section, section_text(measured, source, _command(request)))
    return BenchResult(measured, tuple(filter(None, (request.json, request.plot, request.page))))


def _check(request: BenchRequest) -> None:
    """What can be found now rather than after minutes."""
    for path in (request.json, request.plot, request.page):
        check_file(path)
    if unknown := [name for name in request.peer if name not in PEERS]:
        raise DataError(f"--peer {unknown[0]}: there are {', '.join(PEERS)}.")
    if request.peer and request.peer_python is None:
        raise DataError("--peer needs --peer-python, the Python of an environment in which it is installed.")
    if request.peer_python is not None and not request.peer_python.exists():
        raise DataError(f"--peer-python {request.peer_python}: there is no such program.")
    if request.page is not None:
        put_section(request.page, request.section, None)


def _without_folder(beside: str) -> str:
    reference, at, precision = beside.rpartition("@")
    return f"{shown_engine(reference)}@{precision}" if at else shown_engine(beside)


def _command(request: BenchRequest) -> str:
    """What reproduces the measurement, without this machine's paths."""
    options: dict[str, object] = {"--runtime": request.runtime, "--threads": request.threads}
    options |= {"--precision": request.precision if request.precision != AUTO else None}
    options["--beside"] = [_without_folder(words) for words in request.beside]
    options["--frames"] = request.frames if request.frames == RENDERED else Path(request.frames).name
    options |= {"--count": request.count, "--rounds": request.rounds, "--plans": request.plans.name if request.plans else None}
    options |= {"--peer": request.peer, "--peer-python": "PYTHON" if request.peer else None}
    return shown_command(f"attridet bench {shown_engine(request.engine)}", options)
