"""What the kinds of messages have in common on their way into the tables."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, cast

from sqlalchemy import Table, select, update
from sqlalchemy.orm import Session

from device.mqtt.payloads import PayloadError
from device.supervisor.database import insert_new
from device.supervisor.tables import LARGEST_NUMBER, LONGEST_ID, Device, DeviceState, SentReceipt

_FRESH: Final = timedelta(seconds=5)


@dataclass(frozen=True)
class Taken:
    """What became of a message. new: it was not there before. why: it was put aside. message_id: to be confirmed, "" for none."""

    device_id: str
    kind: str
    new: bool = False
    slide_id: str = ""
    message_id: str = ""
    why: str = ""


def of_its_topic(said: str, device: str) -> None:
    if said != device:
        raise PayloadError(f"device_id is {said}, but the topic belongs to {device}")


def fits_number(name: str, number: int) -> None:
    """PayloadError for a number that no column holds."""
    if number > LARGEST_NUMBER:
        raise PayloadError(f"{name}: a number beyond {LARGEST_NUMBER}")


def fits_stream(stream: str) -> None:
    """PayloadError for the name of a stream that is too long."""
    if len(stream) > LONGEST_ID:
        raise PayloadError(f"stream: more than {LONGEST_ID} characters")


def fits_path(slide_id: str) -> None:
    """PayloadError for a slide's id that could not stand in an address or a file's name."""
    if not slide_id.strip() or len(slide_id) > LONGEST_ID or set(slide_id) & set("/\\") or slide_id in (".", ".."):
        raise PayloadError(f"slide_id: 1 to {LONGEST_ID} characters, no '/' and no '\\'")


def confirm(session: Session, device: str, message_id: str, now: datetime) -> None:
    """Ask for a receipt, once more too: a device that sends again has not heard the first."""
    values = {"device_id": device, "message_id": message_id, "asked_at": now, "sent_at": None}
    if insert_new(session, SentReceipt, values, conflict=("device_id", "message_id")) is None:
        where = (SentReceipt.device_id == device, SentReceipt.message_id == message_id)
        session.execute(update(SentReceipt).where(*where).values(asked_at=now, sent_at=None))


def heard(session: Session, device: str, now: datetime, simulated: bool, alive: bool = True) -> bool:
    """Note that the device was heard; whether it was known before. alive: its own word, not one that the broker kept or said for it.

    Asked of the database once in a transaction, and written at most every few seconds: each writing locks the device's row for all
    other ingesters until the commit.
    """
    noted = session.info.setdefault("heard", {})
    if device in noted:
        return bool(noted[device])
    before = session.execute(select(Device.silent_since, Device.last_heard_at).where(Device.device_id == device)).first()
    if before is None:
        values = {"device_id": device, "first_heard_at": now, "last_heard_at": now, "simulated": simulated}
        known = insert_new(session, Device, {**values, "state": "unknown", "offline_reason": ""}, conflict=("device_id",)) is None
    else:
        known = True
    fresh = before is not None and before[0] is None and timedelta(0) <= now - before[1] < _FRESH
    if known and alive and not fresh:
        session.execute(update(_DEVICES).where(_DEVICES.c.device_id == device).values(last_heard_at=now, silent_since=None))
        if before is not None and before[0] is not None:
            session.add(DeviceState(device_id=device, at=now, state="heard"))
    if alive or not known:
        noted[device] = known
    return known


_DEVICES: Final = cast(Table, Device.__table__)
