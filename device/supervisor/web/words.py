"""How the pages say moments, shares, states: short, in the reader's language, always with the doubt that belongs to them.

Times are UTC, written 2026-11-30 18:54 UTC: devices lie in several zones, the box's own report says UTC, and a table
in the reader's zone beside a printed page in another one is how two slides get mixed up.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from typing import Any, Final

from device.language import N_, RIGHT_TO_LEFT, _, in_use, ngettext, number
from device.supervisor.alarms import SILENT_AFTER

FILTERS: Final = (
    "moment",
    "clock",
    "iso",
    "ago",
    "share",
    "between",
    "counted",
    "lasted",
    "device_lamp",
    "review_word",
    "role_word",
    "told",
    "kind_word",
    "history_words",
    "in_pairs",
)

_ORDER = {"ok": 0, "busy": 0, "warn": 1, "fail": 2}
_KINDS = {
    "summary": N_("summary received"),
    "review": N_("review received"),
    "second": N_("second signature"),
    "receipt": N_("receipt sent"),
    "event": N_("told by the device"),
    "online": N_("online"),
    "stopped": N_("switched off in order"),
    "lost": N_("connection lost"),
    "silent": N_("silent"),
    "heard": N_("heard again"),
    "gap": N_("summaries are missing"),
}


@dataclass(frozen=True)
class Lamp:
    """A state: kind ("ok", "warn", "fail", "off", "silent", "unknown") gives shape and colour, word and why are read."""

    kind: str
    word: str
    why: str = ""


def moment(at: datetime | None, trusted: bool = True) -> str:
    """2026-11-30 18:54 UTC; of a clock that nobody had set with a "?"."""
    if at is None:
        return "–"  # noqa: RUF001  (an en dash is meant)
    return f"{at.astimezone(timezone.utc):%Y-%m-%d %H:%M} UTC" + ("" if trusted else " ?")


def clock(at: datetime) -> str:
    """18:54:40, of a day that stands beside it."""
    return f"{at.astimezone(timezone.utc):%H:%M:%S}"


def iso(at: datetime) -> str:
    """For the `datetime` attribute."""
    return at.astimezone(timezone.utc).isoformat(timespec="seconds").replace("+00:00", "Z")


def ago(at: datetime | None, now: datetime | None = None) -> str:
    """How long ago, in one unit; a moment that lies ahead is "now"."""
    if at is None:
        return _("never")
    seconds = ((now or datetime.now(timezone.utc)) - at) / timedelta(seconds=1)
    if seconds < 60:
        return _("just now")
    if seconds < 3600:
        return ngettext("{n} min ago", "{n} min ago", n := int(seconds // 60)).format(n=n)
    if seconds < 48 * 3600:
        return ngettext("{n} h ago", "{n} h ago", n := int(seconds // 3600)).format(n=n)
    return ngettext("{n} day ago", "{n} days ago", n := int(seconds // 86400)).format(n=n)


def lasted(seconds: float | None) -> str:
    """A duration: 3 min 41 s."""
    if seconds is None:
        return ""
    minutes, rest = divmod(max(0, round(seconds)), 60)
    return f"{minutes} min {rest:02d} s" if minutes else f"{rest} s"


def share(percent: float, digits: int = 1) -> str:
    """A per cent, kept together and left to right also within Urdu."""
    words = f"{number(percent, digits)}\u00a0%"
    return f"\u2066{words}\u2069" if in_use() in RIGHT_TO_LEFT else words


def between(low: float, high: float) -> str:
    """The limits of an interval: 29.9 to 44.1 %."""
    return _("{low} to {high}").format(low=number(low, 1), high=share(high))


def counted(count: int, at_least: bool = False) -> str:
    """A count, with "at least" before it where more cells were found than the network may give."""
    least = _("at least")
    return f"{least} {count}" if at_least else str(count)


def told(name: str) -> str:
    """A type or group by its name in the reader's language; of a taxonomy of one's own as the device wrote it."""
    return _(name)


def kind_word(kind: str) -> str:
    """What a line of a history is."""
    return _(_KINDS[kind]) if kind in _KINDS else kind


def history_words(words: str) -> str:
    """What stands beside a line of a history: a revision in the reader's language, all else as it was written."""
    revision = re.fullmatch(r"revision ([0-9]+)", words)
    return words if revision is None else _("revision {n}").format(n=revision[1])


def role_word(role: str) -> str:
    """What a user may do."""
    return {
        "viewer": _("viewer: reads"),
        "reviewer": _("reviewer: reads, signs as second"),
        "admin": _("admin: users, audit log too"),
    }.get(role, role)


def in_pairs(names: Iterable[str]) -> list[tuple[str, str]]:
    """Choices whose key is their word."""
    return [(name, name) for name in names]


def review_word(row: Any) -> str:
    """Review state of a slide (a row or a summary with `state`, `review_state`, `corrected`)."""
    if row.review_state == "reviewed":
        return _("Corrected, reviewed") if getattr(row, "corrected", False) else _("Reviewed")
    return _("Aborted, unreviewed") if row.state == "aborted" else _("Unreviewed")


def device_lamp(row: Any, now: datetime | None = None) -> Lamp:
    """The state of a device: the worst of what is known of it. A device that is not heard is never "ok"."""
    if (unheard := _unheard(row, now)) is not None:
        return unheard
    if row.status.unsaved:
        return Lamp("fail", _("NOT SAVED: {n} waiting").format(n=row.status.unsaved), row.status.record.text)
    worst = max(_parts(row.status), key=lambda part: _ORDER.get(part[1].level, 0))
    kind = {0: "ok", 1: "warn", 2: "fail"}[_ORDER.get(worst[1].level, 0)]
    return Lamp("ok", _("online")) if kind == "ok" else Lamp(kind, _(worst[0]), worst[1].text)


def _unheard(row: Any, now: datetime | None) -> Lamp | None:
    """Why a device's last word says nothing of now; where the alarm of silence has not come yet (this program has just begun to
    listen), its state is not known."""
    last = _("last heard {when}").format(when=ago(row.heard_at, now))
    if row.silent:
        return Lamp("silent", _("silent"), last)
    if row.status is None:
        return Lamp("unknown", _("no status yet"))
    if row.status.state == "offline":
        stopped = row.status.offline_reason == "stopped"
        return (
            Lamp("off", _("switched off in order"), moment(row.status.since)) if stopped else Lamp("fail", _("connection lost"), last)
        )
    late = (now or datetime.now(timezone.utc)) - row.heard_at > SILENT_AFTER
    return Lamp("unknown", _("not heard lately"), last) if late else None


def parts(status: Any) -> list[tuple[str, Lamp]]:
    """Each part of the device with its lamp; the text is the device's own."""
    kinds = {"ok": "ok", "busy": "ok", "warn": "warn", "fail": "fail"}
    words = {"ok": _("ok"), "busy": _("busy"), "warn": _("look at it"), "fail": _("failed")}
    return [(_(name), Lamp(kinds[part.level], words[part.level], part.text)) for name, part in _parts(status)]


def _parts(status: Any) -> list[tuple[str, Any]]:
    known = (N_("camera"), N_("engine"), N_("record"))
    return [(name, getattr(status, name)) for name in known]


def by_urgency(devices: Iterable[Any]) -> list[tuple[Any, Lamp]]:
    """Devices with their lamps, those that need a person first."""
    order = ("silent", "fail", "warn", "unknown", "ok", "off")
    return sorted(((row, device_lamp(row)) for row in devices), key=lambda pair: (order.index(pair[1].kind), pair[0].device_id))
