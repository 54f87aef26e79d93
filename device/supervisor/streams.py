"""The numbers that a device gives its messages: what is missing is noted, and closed when it comes."""

from __future__ import annotations

from datetime import datetime
from typing import Final, cast

from sqlalchemy import Table, select, update
from sqlalchemy.orm import Session

from device.supervisor.database import insert_new
from device.supervisor.tables import Gap, Stream

_STREAMS: Final = cast(Table, Stream.__table__)


def number_came(session: Session, device: str, kind: str, stream: str, number: int, known: bool, now: datetime) -> None:
    """A message with this number was stored. known: the device was heard before, so that a new stream of it begins at 1 for us too;
    of a device that is new here, what it had sent to others before is not missing.
    """
    key = {"device_id": device, "kind": kind, "stream": stream}
    c = _STREAMS.c
    next_one = (c.device_id == device) & (c.kind == kind) & (c.stream == stream) & (c.highest == number - 1)
    if session.connection().execute(update(_STREAMS).where(next_one).values(highest=number, last_at=now)).rowcount:
        return
    begins = 1 if known else number
    insert_new(
        session, Stream, {**key, "lowest": begins, "highest": begins - 1, "last_at": now}, conflict=("device_id", "kind", "stream")
    )
    row = session.get_one(Stream, (device, kind, stream), with_for_update=True, populate_existing=True)
    row.last_at = now
    if number > row.highest:
        if number > row.highest + 1:
            session.add(Gap(**key, first=row.highest + 1, last=number - 1, noticed_at=now))
        row.highest = number
    elif number < row.lowest:
        row.lowest = number
    else:
        _close(session, device, kind, stream, number, now)
    session.flush()


def _close(session: Session, device: str, kind: str, stream: str, number: int, now: datetime) -> None:
    """Take one number out of the gap that it was missing in; the rest of the gap stays open."""
    wanted = select(Gap).where(Gap.device_id == device, Gap.kind == kind, Gap.stream == stream)
    gap = session.scalars(wanted.where(Gap.first <= number, Gap.last >= number, Gap.closed_at.is_(None))).first()
    if gap is None:
        return
    key = {"device_id": device, "kind": kind, "stream": stream, "noticed_at": gap.noticed_at}
    for first, last in ((gap.first, number - 1), (number + 1, gap.last)):
        if first <= last:
            session.add(Gap(**key, first=first, last=last))
    gap.first = gap.last = number
    gap.closed_at = now
