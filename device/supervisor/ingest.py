"""One message into the tables: read, held against its topic, stored once, its number looked at. No connection, no commit.

What is no good is put aside with its reason and the next message goes on; what the database cannot do now is raised, and the broker
keeps the message.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from sqlalchemy import delete, func, or_, select, update
from sqlalchemy.exc import DataError, IntegrityError, SQLAlchemyError, StatementError
from sqlalchemy.orm import Session

from device.mqtt.client import Incoming
from device.mqtt.device_status import DeviceStatus, read_status
from device.mqtt.message import one_line
from device.mqtt.payloads import PayloadError, SlideSummary, read_summary
from device.mqtt.topics import Topics
from device.supervisor.database import insert_new
from device.supervisor.doubt import is_doubtful, picture_state
from device.supervisor.streams import number_came
from device.supervisor.tables import LARGEST_NUMBER, LONGEST_ID, Device, DeviceState, Rejected, SentReceipt, Slide, Summary

log = logging.getLogger(__name__)

LARGEST_BYTES: Final = 4 << 20
_KEPT_BYTES: Final = 256 << 10
_REJECTED_KEPT: Final = 2000
_POISON_STATES: Final = ("22", "23", "54")
"""Classes of PostgreSQL's error codes that another try would not mend: data, integrity, limits."""


@dataclass(frozen=True)
class Taken:
    """What became of a message. new: it was not there before. why: it was put aside. message_id: to be confirmed, "" for none."""

    device_id: str
    kind: str
    new: bool = False
    slide_id: str = ""
    message_id: str = ""
    why: str = ""


def take(session: Session, topics: Topics, incoming: Incoming, now: datetime) -> Taken:
    """Store one message within the caller's transaction. Raises SQLAlchemyError where the database cannot answer now."""
    device, kind = topics.device_of(incoming.topic), topics.kind_of(incoming.topic)
    try:
        with session.begin_nested():
            if not device or kind not in _KINDS:
                raise PayloadError("a topic that no device of ours has")
            if len(incoming.payload) > LARGEST_BYTES:
                raise PayloadError(f"{len(incoming.payload)} bytes, more than any message has")
            return _KINDS[kind](session, device, incoming, now)
    except PayloadError as error:
        why = str(error)
    except SQLAlchemyError as error:
        if not _is_poison(error):
            raise
        why = f"the database does not take it: {type(error).__name__}"
    except Exception as error:  # a fault of ours must not stop the messages behind it; the bytes are kept
        log.warning("a message of %s could not be read: %s", device or "an unknown device", type(error).__name__)
        why = f"could not be read: {type(error).__name__}"
    return _put_aside(session, device, kind, incoming, why, now)


def _is_poison(error: SQLAlchemyError) -> bool:
    """Whether the message is to blame, not the database's state."""
    if isinstance(error, (DataError, IntegrityError)):
        return True
    original = getattr(error, "orig", None)
    said = original.args[0] if original is not None and original.args else None
    if isinstance(said, dict):  # pg8000
        return str(said.get("C", "")).startswith(_POISON_STATES)
    return type(error) is StatementError  # a value that cannot be bound


def _put_aside(session: Session, device: str, kind: str, incoming: Incoming, why: str, now: datetime) -> Taken:
    """Keep what is no good, cut, and not more than the newest `_REJECTED_KEPT`."""
    said, topic = one_line(why)[:500], one_line(incoming.topic)[:300]
    row = Rejected(
        received_at=now, device_id=device, topic=topic, why=said, size=len(incoming.payload), payload=incoming.payload[:_KEPT_BYTES]
    )
    session.add(row)
    session.flush()
    if row.id % 100 == 0:
        session.execute(delete(Rejected).where(Rejected.id <= row.id - _REJECTED_KEPT))
    return Taken(device, kind, why=said)


# ---- summaries


def _take_summary(session: Session, device: str, incoming: Incoming, now: datetime) -> Taken:
    payload = incoming.payload
    summary = read_summary(payload).payload
    _of_its_topic(summary.device_id, device)
    _fits(summary)
    heard_before = _heard(session, device, now, summary.source.simulated)
    message_id, digest = str(summary.message_id), hashlib.sha256(payload).hexdigest()
    values = {
        "message_id": message_id,
        "device_id": device,
        "slide_id": summary.slide_id,
        "revision": summary.revision or 0,
        "stream": summary.stream or "",
        "sequence": summary.sequence or 0,
        "started_at": summary.started_at,
        "finished_at": summary.finished_at,
        "received_at": now,
        "digest": digest,
        "payload": payload,
    }
    new = insert_new(session, Summary, values, conflict=("device_id", "message_id"))
    row = session.execute(select(Summary.id, Summary.digest).where(Summary.device_id == device, Summary.message_id == message_id)).one()
    if row.digest != digest:
        raise PayloadError(f"message_id {message_id} came before with other contents; the first one stands")
    if new:
        _newest(session, summary, row.id, now)
        if summary.stream and summary.sequence:
            number_came(session, device, "summary", summary.stream, summary.sequence, heard_before, now)
    confirm(session, device, message_id, now)
    return Taken(device, "summary", new, summary.slide_id, message_id)


def _of_its_topic(said: str, device: str) -> None:
    if said != device:
        raise PayloadError(f"device_id is {said}, but the topic belongs to {device}")


def _fits(summary: SlideSummary) -> None:
    """PayloadError for what no page could show under an address of its own, or no column could hold."""
    fits_path(summary.slide_id)
    if len(summary.stream or "") > LONGEST_ID:
        raise PayloadError(f"stream: more than {LONGEST_ID} characters")
    for name in ("revision", "sequence", "white_cells", "target_cells"):
        if (getattr(summary, name) or 0) > LARGEST_NUMBER:
            raise PayloadError(f"{name}: a number beyond {LARGEST_NUMBER}")


def fits_path(slide_id: str) -> None:
    """PayloadError for a slide's id that could not stand in an address or a file's name."""
    if not slide_id.strip() or len(slide_id) > LONGEST_ID or set(slide_id) & set("/\\") or slide_id in (".", ".."):
        raise PayloadError(f"slide_id: 1 to {LONGEST_ID} characters, no '/' and no '\\'")


def _newest(session: Session, summary: SlideSummary, summary_id: int, now: datetime) -> None:
    """Bring the slide's row to this revision, unless a higher one is there; of equal ones the later end counts (docs/mqtt.md)."""
    where = (Slide.device_id == summary.device_id, Slide.slide_id == summary.slide_id)
    key = {"device_id": summary.device_id, "slide_id": summary.slide_id}
    values = slide_values(summary, summary_id, now)
    insert_new(session, Slide, {**key, **values, "revisions": 0, "first_received_at": now}, conflict=("device_id", "slide_id"))
    session.execute(update(Slide).where(*where).values(revisions=Slide.revisions + 1))
    equal_and_later = (Slide.revision == values["revision"]) & (Slide.finished_at <= summary.finished_at)
    session.execute(update(Slide).where(*where, or_(Slide.revision < values["revision"], equal_and_later)).values(**values))


def slide_values(summary: SlideSummary, summary_id: int, received_at: datetime) -> dict[str, Any]:
    """What the lists show of a summary, by the names of `Slide`'s columns."""
    blasts = summary.blasts
    return {
        "summary_id": summary_id,
        "revision": summary.revision or 0,
        "state": summary.state,
        "review_state": summary.review_state,
        "corrected": summary.review is not None and summary.review.corrected,
        "started_at": summary.started_at,
        "finished_at": summary.finished_at,
        "time_trusted": summary.time_trusted,
        "received_at": received_at,
        "white_cells": summary.white_cells,
        "target_cells": summary.target_cells,
        "blast_count": blasts.count,
        "blast_percent": blasts.percent,
        "blast_low": blasts.low_percent,
        "blast_high": blasts.high_percent,
        "blasts_confirmed": bool(blasts.confirmed),
        "film": summary.film or "",
        "doubtful": is_doubtful(summary),
        "at_least": bool(picture_state(summary).at_least),
        "simulated": summary.source.simulated,
        "specimen": summary.specimen or "",
        "model": f"{summary.model.name} {summary.model.version}",
    }


def confirm(session: Session, device: str, message_id: str, now: datetime) -> None:
    """Ask for a receipt, once more too: a device that sends again has not heard the first."""
    values = {"device_id": device, "message_id": message_id, "asked_at": now, "sent_at": None}
    if not insert_new(session, SentReceipt, values, conflict=("device_id", "message_id")):
        where = (SentReceipt.device_id == device, SentReceipt.message_id == message_id)
        session.execute(update(SentReceipt).where(*where).values(asked_at=now, sent_at=None))


# ---- statuses


def _take_status(session: Session, device: str, incoming: Incoming, now: datetime) -> Taken:
    payload = incoming.payload
    if not payload:  # a person removed the retained status from the broker
        return Taken(device, "status")
    status = read_status(payload).payload
    _of_its_topic(status.device_id, device)
    _heard(session, device, now, status.simulated, alive=status.state == "online" and not incoming.retained)
    before = session.execute(
        select(Device.state, Device.offline_reason, Device.status).where(Device.device_id == device).with_for_update()
    ).one()
    told = _words(read_status(before.status).payload) if before.status else ""
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


def _words(status: DeviceStatus) -> str:
    """The parts of a device that are not well, as one line."""
    parts = (("camera", status.camera), ("engine", status.engine), ("record", status.record))
    return "; ".join(f"{name}: {part.text or part.level}" for name, part in parts if part.level in ("warn", "fail"))


def _heard(session: Session, device: str, now: datetime, simulated: bool, alive: bool = True) -> bool:
    """Note that the device was heard; whether it was known before. alive: its own word, not one that the broker kept or said for it."""
    values = {
        "device_id": device,
        "first_heard_at": now,
        "last_heard_at": now,
        "state": "unknown",
        "offline_reason": "",
        "simulated": simulated,
    }
    if insert_new(session, Device, values, conflict=("device_id",)):
        return False
    if alive:
        later = func.coalesce(Device.last_heard_at, now) <= now
        session.execute(update(Device).where(Device.device_id == device, later).values(last_heard_at=now, silent_since=None))
    return True


_KINDS: dict[str, Callable[[Session, str, Incoming, datetime], Taken]] = {"summary": _take_summary, "status": _take_status}
