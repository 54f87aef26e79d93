"""A section of a Markdown page of benchmarks, between markers, and its first lines: command, machine, software, engine."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import datetime, timezone
from pathlib import Path

from engines.bench.machine import Machine
from engines.errors import DataError
from engines.files import make_folder, write_result
from engines.runtime.base import EngineInfo

_HEAD = """# Benchmarks

Measured, never estimated. Each section below is written by the command that stands in it, which replaces that section and nothing else;
run it on your machine before you rely on a number. Speed only: what the networks find is judged elsewhere.
"""


STAGE_WORDS = {
    "preprocess": "preprocess: letterbox",
    "detector": "detector graph",
    "nms": "non-maximum suppression",
    "attributes": "attribute graph",
}


def section_head(title: str, command: str, host: Machine, load: float) -> list[str]:
    """The first lines of a section: title, the command that reproduces it and the day, the machine. load: of the minute before."""
    memory = f", {host.memory_gib:.0f} GiB" if host.memory_gib is not None else ""
    mode = f", power mode {host.power_mode}" if host.power_mode else ""
    busy = ": **the machine was busy, so times are longer than they need be**" if load > 0.5 * host.cores else ""
    machine = f"{host.processor}, {count(host.cores, 'core')}{memory}, {host.system}{mode}"
    return [
        f"## {title}",
        "",
        f"`{command}`, {datetime.now(timezone.utc):%Y-%m-%d}.",
        "",
        f"- Machine: {machine}; load average {load:.1f} before the run{busy}.",
    ]


def engine_lines(engine: EngineInfo, threads: int, host: Machine, others: Sequence[str] = ()) -> list[str]:
    """The lines that name the software, that of `others` too, and the engine with its digest and whether it passed its gate."""
    software = "; ".join((f"Python {host.python}, {engine.runtime} with {count(threads, 'thread')}, OpenCV {host.opencv}", *others))
    ungated = f"; **not gated**: it {engine.gate_fault}" if engine.gate_fault else ""
    return [
        f"- Software: {software}.",
        f"- Engine: {engine.name} {engine.version}, {engine.precision}, input {engine.input_hw[1]} x {engine.input_hw[0]} px, "
        f"digest `{engine.digest}`{ungated}.",
    ]


def shown_command(words: str, options: Mapping[str, object]) -> str:
    """A command as a section shows it: options without a value (None, "") are left out, those with several are repeated."""
    parts = [words]
    for name, value in options.items():
        given = value if isinstance(value, (list, tuple)) else () if value in (None, "") else (value,)
        parts += [f"{name} {each}" for each in given]
    return " ".join(parts)


def shown_engine(reference: str) -> str:
    """An engine's reference without this machine's folders."""
    return reference if reference.startswith("zoo:") else Path(reference).name


def count(n: int, what: str) -> str:
    """ "1 thread", "2 threads"."""
    return f"{n} {what}{'' if n == 1 else 's'}"


def put_section(path: Path, name: str, text: str | None) -> None:
    """Replaces the section `name` of the Markdown file, or adds it; `text` None only checks that it could be done. Raises DataError."""
    if not re.fullmatch(r"[a-z0-9][a-z0-9.-]*", name):
        raise DataError(f"--section {name}: a section is named in small letters, digits, '-' and '.'")
    begin, end = f"<!-- bench {name}: begin -->", f"<!-- bench {name}: end -->"
    try:
        before = path.read_text(encoding="utf-8") if path.exists() else _HEAD
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: cannot be read ({error}). Name another page.") from error
    if (before.count(begin), before.count(end)) not in ((0, 0), (1, 1)) or before.find(end) < before.find(begin):
        raise DataError(f"{path}: the markers '{begin}' and '{end}' do not match. Mend them, or remove both.")
    if text is None:
        return
    block = f"{begin}\n\n{text.strip()}\n\n{end}"
    head, _, rest = before.partition(begin)
    after = head + block + rest.partition(end)[2] if rest else f"{before.rstrip()}\n\n{block}\n"
    make_folder(path.absolute().parent)
    write_result(path, after.encode())
