"""The screen of a box while nothing else is on it: what the boot does, what failed, which box this is. `kiosk_window` draws it.

    page = current_page(FOLDER, CONFIG)

It is the kiosk's own client and lies below everything: the daemon's window comes above it, and when that goes this is seen again.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from pathlib import Path

from device.box.boot import ENDED, alive
from device.box.identity import About, about
from device.box.progress import BOOT, DONE, FAILED, RUNNING, WAITING, Step, read
from device.clock import time_trusted
from device.language import N_, RIGHT_TO_LEFT, _, in_use, number, use
from engines.version import version

_NAMES = {
    "provision": N_("Set-up"),
    "engine": N_("Engine"),
    "camera": N_("Camera"),
    "ready": N_("Ready"),
    "update": N_("Update"),
    "support-bundle": N_("Support bundle"),
    "restart": N_("Restart"),
}
_STATES = {WAITING: N_("waits"), RUNNING: N_("runs"), DONE: N_("done"), FAILED: N_("failed")}
_LEVELS = {WAITING: "dim", RUNNING: "busy", DONE: "ok", FAILED: "fail"}


@dataclass(frozen=True)
class Row:
    """One step in words. level: dim, busy, ok or fail; share: 0 to 1 of it done, None where nobody knows."""

    name: str
    state: str
    level: str
    words: str
    share: float | None = None


@dataclass(frozen=True)
class Page:
    """All that is drawn: the sentence in big letters with its level, the steps, and the line at the foot."""

    headline: str
    level: str
    rows: tuple[Row, ...]
    foot: str
    language: str = "en"


def current_page(folder: Path, config: Path) -> Page:
    """The page as it is now, in the language that the configuration names."""
    now = datetime.now(timezone.utc)
    box = about(version(), config, time_trusted=time_trusted(now))
    use(box.language)
    return page_of(read(folder), alive(folder), box, now.astimezone())


def page_of(steps: tuple[Step, ...], daemon: bool | None, about: About, now: datetime) -> Page:
    """The page for what was told. daemon: whether it lives (`boot.alive`); now: in the zone of the box. Speaks the language in use."""
    told = {step.step: step for step in steps}
    if daemon is False and (ready := told.get("ready")) is not None and ready.state in (DONE, RUNNING):
        words = N_("The program has stopped without a word. It is started again by itself.")  # killed, or its machine code failed
        told["ready"] = replace(ready, state=FAILED, words=words, percent=None)
    shown = (*BOOT, *(name for name in told if name not in BOOT))
    rows = tuple(_row(step, told.get(step)) for step in shown)
    headline, level = _headline(told, daemon)
    return Page(headline, level, rows, _foot(about, now), about.language)


def _row(name: str, step: Step | None) -> Row:
    state = WAITING if step is None else step.state
    percent = None if step is None or state == DONE else step.percent
    words = _(_STATES[state]) if percent is None or state != RUNNING else _apart(f"{number(percent)} %")
    said = "" if step is None else step.spoken
    return Row(_(_NAMES[name]), words, _LEVELS[state], said, None if percent is None else percent / 100)


def _headline(told: Mapping[str, Step], daemon: bool | None) -> tuple[str, str]:
    """What matters most in one sentence, and its level."""
    ready = told.get("ready")
    if ready is not None and ready.state == FAILED:
        return _("The program has stopped. It is started again by itself."), "fail"
    if ready is not None and ready.state == WAITING and ready.words == ENDED:
        return _("The program was ended."), "dim"
    for name, words in (
        ("provision", N_("The set-up failed. This box counts, without a network.")),
        ("camera", N_("No picture from the camera.")),
        ("engine", N_("The engine could not be built for this graphics processor.")),
    ):
        if (step := told.get(name)) is not None and step.state == FAILED:
            return _(words), "fail" if name == "camera" else "warn"
    if ready is not None and ready.state == DONE and daemon is not False:
        return _("Ready. The picture opens."), "ok"
    engine = told.get("engine")
    if engine is not None and engine.state == RUNNING:
        share = "" if engine.percent is None else f", {number(engine.percent)} %"
        return _("The engine is being built for this box{share}").format(share=share), "busy"
    return _("Leukoscope starts"), "busy"


def _foot(about: About, now: datetime) -> str:
    clock = _apart(f"{now:%Y-%m-%d %H:%M}")
    parts = [
        _apart(about.device_id),
        _("version {version}").format(version=_apart(about.version)) if about.version else "",
        _("slot {slot}").format(slot=_apart(about.slot)) if about.slot else "",
        clock if about.time_trusted else _("{clock} (clock not set)").format(clock=clock),
    ]
    return "   ·   ".join(part for part in parts if part)


def _apart(words: str) -> str:
    """Read from left to right, also within a line of Arabic letters."""
    return f"\u2066{words}\u2069" if words and in_use() in RIGHT_TO_LEFT else words
