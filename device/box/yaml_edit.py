"""Changes values in a YAML file and leaves its comments, where that can be done line by line; the caller gets None where it cannot."""

from __future__ import annotations

import re
from typing import Any

import yaml

from engines.yaml_lines import read_document


def edited(text: str, wanted: dict[str, Any]) -> str | None:
    """`text` with the sections and keys of `wanted` in it, and nothing else changed; None where the result would not read as `wanted`.

    A key that stands behind '#' as an example is taken from there. Sections are written in blocks, as in the shipped example.
    """
    present = read_document(text).data
    if not isinstance(present, dict):
        return None
    lines = text.rstrip("\n").split("\n")
    for name, section in wanted.items():
        former = present.get(name)
        if former == section:
            continue
        if not isinstance(section, dict):
            lines = _set(lines, 0, len(lines), "", name, section)
            continue
        lines = _section(lines, name, section, former if isinstance(former, dict) else {})
    result = "\n".join(lines) + "\n"
    return result if read_document(result).data == wanted else None


def _section(lines: list[str], name: str, section: dict[str, Any], former: dict[str, Any]) -> list[str]:
    start = next((at for at, line in enumerate(lines) if re.match(rf"{re.escape(name)}:\s*(#.*)?$", line)), None)
    if start is None:
        return [*lines, "", *_dumped({name: section})]
    for key in former.keys() - section.keys():
        first, last = _block(lines, start)
        lines = [line for at, line in enumerate(lines) if not (first <= at < last and re.match(rf"  {re.escape(key)}:", line))]
    for key, value in section.items():
        if former.get(key) != value or key not in former:
            lines = _set(lines, *_block(lines, start), "  ", key, value)
    return lines


def _block(lines: list[str], start: int) -> tuple[int, int]:
    """Where the lines below a section's name begin and end."""
    end = next((at for at in range(start + 1, len(lines)) if re.match(r"[A-Za-z_]", lines[at])), len(lines))
    return start + 1, end


def _set(lines: list[str], first: int, last: int, indent: str, key: str, value: object) -> list[str]:
    """The lines with `key` set between two of them: in its own line, in that of its example, or as the first one."""
    new = [indent + line for line in _dumped({key: value})]
    for sign in ("", "#"):
        pattern = re.compile(rf"{indent}{sign}{re.escape(key)}:(?P<rest>.*)$")
        for at in range(first, last):
            if found := pattern.match(lines[at]):
                comment = re.search(r"\s+#\s.*$", found["rest"])
                if comment and len(new) == 1:
                    new[0] += comment[0]
                return [*lines[:at], *new, *lines[at + 1 :]]
    return [*lines[:first], *new, *lines[first:]]


def _dumped(data: dict[str, Any]) -> list[str]:
    return yaml.safe_dump(data, sort_keys=False, allow_unicode=True, width=1000).rstrip("\n").split("\n")
