"""A section of a Markdown page of benchmarks, between markers, and the line that says on what machine it was measured."""

from __future__ import annotations

import re
from pathlib import Path

from engines.bench.machine import Machine
from engines.errors import DataError
from engines.files import make_folder, write_whole

_HEAD = """# Benchmarks

Measured, never estimated. Each section below is written by the command that stands in it, which replaces that section and nothing else;
run it on your machine before you rely on a number. Speed only: what the networks find is judged elsewhere.
"""


def machine_words(host: Machine, load: float) -> str:
    """The line of a section that names the machine. load: average of the minute before the measurement."""
    memory = f", {host.memory_gib:.0f} GiB" if host.memory_gib is not None else ""
    mode = f", power mode {host.power_mode}" if host.power_mode else ""
    busy = ": **the machine was busy, so times are longer than they need be**" if load > 0.5 * host.cores else ""
    cores = f"{host.cores} {'core' if host.cores == 1 else 'cores'}"
    return f"- Machine: {host.processor}, {cores}{memory}, {host.system}{mode}; load average {load:.1f} before the run{busy}."


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
    if begin in before:
        head, _, rest = before.partition(begin)
        after = head + block + rest.partition(end)[2]
    else:
        after = f"{before.rstrip()}\n\n{block}\n"
    make_folder(path.absolute().parent)
    write_whole(path, after.encode())
