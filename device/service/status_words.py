"""A device's status in words: what needs a person, then how the rest is. No number is said without what it means."""

from __future__ import annotations

from datetime import datetime, timezone

from device.mqtt.device_status import DeviceStatus

_BROKER = {
    "disabled": "switched off: summaries stay on this box",
    "connecting": "connecting",
    "refused": "refuses us, or something that we send",
    "lost": "is not reached; it is tried again",
}


def status_words(status: DeviceStatus) -> tuple[list[str], list[str]]:
    """Lines that need a person, and those that do not. A status of an older version says less."""
    alarms, calm = list[str](), list[str]()
    if status.unsaved:
        alarms.append(f"NOT SAVED: {_many(status.unsaved, 'write')} not on the disk yet; do not switch off ({status.record.text})")
    for name, part in (("camera", status.camera), ("engine", status.engine), ("record", status.record)):
        line = f"{name}: {part.level}{f' ({part.text})' if part.text else ''}"
        (alarms if part.level in ("warn", "fail") and not (status.unsaved and name == "record") else calm).append(line)
    broker = status.broker
    if broker is not None:
        what = f"connected, MQTT {broker.protocol}" if broker.state == "connected" else _BROKER[broker.state]
        line = f"broker: {what}{f': {broker.reason}' if broker.reason else ''}"
        (alarms if broker.state in ("refused", "lost") or broker.reason else calm).append(line)
    if status.quarantined:
        alarms.append(
            f"put aside: {_many(status.quarantined, 'thing')} that cannot be sent, read or written; leukoscope doctor names them"
        )
    if not status.time_trusted:
        advice = "connect to a network once, or set it: dates of slides need a look"
        alarms.append(f"clock: {_at(status.sent_at)}, not synchronised; {advice}")
    waits = f"{_many(status.outbox_pending, 'message')} waiting" if status.outbox_pending else "nothing waits"
    if status.unconfirmed:
        waits += f", {status.unconfirmed} of them with the broker and confirmed by no receiver"
    calm.append(f"outbox: {waits}")
    if broker is not None and broker.delivered_slide and broker.delivered_at is not None:
        calm.append(f"delivered last: slide {broker.delivered_slide}, {_at(broker.delivered_at)}")
    if (slide := status.slide) is not None:
        blasts = "; a cell told as a blast, unreviewed: look now" if slide.blast_seen else ""
        counted = f"{_many(slide.fields, 'field')}, {slide.white_cells} of {slide.target_cells} white cells, for review"
        calm.append(f"slide {slide.slide_id}: {slide.state}, {counted}{blasts}")
    else:
        calm.append("slide: none is open")
    film = "; the camera is a simulator" if status.simulated else ""
    calm.append(f"{status.device_id}: {status.versions.leukoscope}, {status.versions.engine}, up {_long(status.uptime_s)}{film}")
    return alarms, calm


def _many(count: int, what: str) -> str:
    return f"{count} {what}{'' if count == 1 else 's'}"


def _at(moment: datetime) -> str:
    return f"{moment.astimezone(timezone.utc):%Y-%m-%d %H:%M} UTC"


def _long(seconds: float) -> str:
    hours, minutes = divmod(int(seconds) // 60, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min"
