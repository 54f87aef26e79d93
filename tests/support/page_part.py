"""The part of a page that a measurement writes: what stands between two lines of it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path


def write_part(page: Path, begin: str, end: str, made: Callable[[str], str]) -> None:
    """Put what `made` makes of the old part between the lines `begin` and `end`. SystemExit where the page has not both."""
    text = page.read_text(encoding="utf-8")
    head, mark, rest = text.partition(begin)
    old, closing, tail = rest.partition(end)
    if not mark or not closing:
        raise SystemExit(f"{page}: has not the lines {begin} and {end}")
    page.write_text(f"{head}{begin}\n{made(old)}\n{end}{tail}", encoding="utf-8")
