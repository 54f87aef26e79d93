"""Which display the configuration or the command line names; nothing is opened here, and what draws is imported only for it."""

from __future__ import annotations

import difflib
from pathlib import Path

from device import language
from device.display.base import Display, NullDisplay
from device.errors import ConfigError
from device.settings.config import DisplaySection


def open_display(section: DisplaySection, min_free_mb: int = 0) -> Display:
    """The display that `section` names, to be opened by `with`; that raises DisplayError where it cannot be had.

    min_free_mb: below so much free space no pictures are written. From now on its language is spoken. ConfigError where that cannot be
    written here.
    """
    _speak(section.language)
    if section.kind == "none":
        return NullDisplay()
    if section.kind == "file":
        if section.directory is None:
            raise ConfigError("display: kind 'file' needs 'directory'")
        from device.display.file import FileDisplay

        size_px = section.width_px, section.height_px
        return FileDisplay(section.directory, section.period_s, size_px, keep=section.keep_pictures, min_free_mb=min_free_mb)
    from device.display.screen import Screen

    return Screen(section)


def _speak(code: str) -> None:
    if code in language.RIGHT_TO_LEFT:
        from device.display.text import can_shape

        if not can_shape():
            needed = "needs the system library FriBiDi, so that its letters are joined and run from right to left"
            raise ConfigError(f"display.language: {code!r} {needed}; on Debian: apt install libfribidi0")
    language.use(code)


def parse_display(text: str, section: DisplaySection) -> DisplaySection:
    """`section` with what `--display` says put over it: "none", "screen" or "file:DIR"; raises ConfigError for anything else."""
    kind, colon, place = text.strip().partition(":")
    if kind == "file":
        if not place.strip():
            raise ConfigError(f"--display {text!r}: the folder is missing; write file:DIR, for example file:screens")
        return section.model_copy(update={"kind": "file", "directory": Path(place.strip()).expanduser()})
    if kind in ("none", "screen") and not colon:
        return section.model_copy(update={"kind": kind})
    near = difflib.get_close_matches(kind.lower(), ("none", "screen", "file"), 1)
    meant = f"; did you mean {'file:DIR' if near[0] == 'file' else near[0]}?" if near else ""
    raise ConfigError(f"--display {text!r}: expected none, screen or file:DIR{meant}")
