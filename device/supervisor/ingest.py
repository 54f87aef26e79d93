"""One message into the tables: read, held against its topic, stored once, its number looked at. No connection, no commit.

What is no good is put aside with its reason and the next message goes on; what the database cannot do now is raised, and the broker
keeps the message.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import datetime
from typing import Final

from sqlalchemy import delete
from sqlalchemy.exc import DataError, IntegrityError, SQLAlchemyError, StatementError
from sqlalchemy.orm import Session

from device.mqtt.client import Incoming
from device.mqtt.message import one_line
from device.mqtt.payloads import PayloadError
from device.mqtt.topics import Topics
from device.supervisor.notes import take_event, take_review
from device.supervisor.statuses import take_health, take_status
from device.supervisor.summaries import take_summary
from device.supervisor.tables import Rejected
from device.supervisor.taking import Taken

log = logging.getLogger(__name__)

LARGEST_BYTES: Final = 4 << 20
_KEPT_BYTES: Final = 256 << 10
_REJECTED_KEPT: Final = 2000
_POISON_STATES: Final = ("22", "23", "54")
"""Classes of PostgreSQL's error codes that another try would not mend: data, integrity, limits."""


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


_KINDS: Final[dict[str, Callable[[Session, str, Incoming, datetime], Taken]]] = {
    "summary": take_summary,
    "review": take_review,
    "event": take_event,
    "status": take_status,
    "health": take_health,
}
