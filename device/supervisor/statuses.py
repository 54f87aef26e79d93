"""Statuses and health reports into the tables: the newest, and what changed."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import delete, func, select, update
from sqlalchemy.orm import Session

from device.mqtt.client import Incoming
from device.mqtt.device_status import DeviceStatus, read_status
from device.mqtt.health import read_health
from device.mqtt.payloads import PayloadError
from device.supervisor.tables import Device, DeviceState, HealthSample
from device.supervisor.taking import Taken, fits_number, heard, of_its_topic

_SAMPLE_EACH: Final = timedelta(minutes=5)
_SAMPLES_KEPT: Final = timedelta(days=14)


def take_status(session: Session, device: str, incoming: Incoming, now: datetime) -> Taken:
    """The device's own word, or the broker's for it (last will). PayloadError for one that is no good."""
    payload = incoming.payload
    if not payload:  # a person removed the retained status from the broker
        return Taken(device, "status")
    status = read_status(payload).payload
    of_its_topic(status.device_id, device)
    heard(session, device, now, status.simulated, alive=status.state == "online" and not incoming.retained)
    before = session.execute(
        select(Device.state, Device.offline_reason, Device.status).where(Device.device_id == device).with_for_update()
    ).one()
    last = kept_status(before.status)
    told = "" if last is None else _words(last)
    reason, words = status.offline_reason or "", _words(status)
    session.execute(
        update(Device)
        .where(Device.device_id == device)
        .values(
            state=status.state, offline_reason=reason, since=status.since, status_at=now, status=payload, simulated=status.simulated
        )
    )
    changed = (before.state, before.offline_reason, told) != (status.state, reason, words)
    if changed:
        session.add(DeviceState(device_id=device, at=now, state=status.state, reason=reason, words=words))
    return Taken(device, "status", changed)


def kept_status(data: bytes | None) -> DeviceStatus | None:
    """A device's newest status as it lies in the tables; None before there is one, and for one that another version of ours kept."""
    try:
        return None if data is None else read_status(data).payload
    except PayloadError:
        return None


def _words(status: DeviceStatus) -> str:
    """The parts of a device that are not well, as one line."""
    parts = (("camera", status.camera), ("engine", status.engine), ("record", status.record))
    return "; ".join(f"{name}: {part.text or part.level}" for name, part in parts if part.level in ("warn", "fail"))


def take_health(session: Session, device: str, incoming: Incoming, now: datetime) -> Taken:
    """A point of the device's chart, at most one in `_SAMPLE_EACH`; old ones go."""
    report = read_health(incoming.payload).payload
    of_its_topic(report.device_id, device)
    fits_number("spool", report.spool)
    heard(session, device, now, report.simulated, alive=not incoming.retained)
    last = session.scalar(select(func.max(HealthSample.at)).where(HealthSample.device_id == device))
    if last is not None and last > now - _SAMPLE_EACH:
        return Taken(device, "health")
    values = {name: getattr(report, name) for name in ("fps", "temperature_c", "disk_free_mb")}
    session.add(HealthSample(device_id=device, at=now, outbox=report.spool, **values))
    session.execute(delete(HealthSample).where(HealthSample.device_id == device, HealthSample.at < now - _SAMPLES_KEPT))
    return Taken(device, "health", new=True)
