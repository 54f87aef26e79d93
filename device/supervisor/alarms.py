"""What nobody sends and somebody must see: devices that fell silent, slides with blasts that wait too long for a reviewer."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from typing import Final

from sqlalchemy import Engine, select, update
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from device.supervisor.database import writing
from device.supervisor.queries import overdue
from device.supervisor.tables import Device, DeviceState

log = logging.getLogger(__name__)

SILENT_AFTER: Final = timedelta(minutes=3)
"""Devices say how they are at least once a minute."""
_LOOK_S: Final = 15.0


def note_silent(session: Session, now: datetime, silent_after: timedelta = SILENT_AFTER) -> list[str]:
    """Mark the devices that should be there and were not heard for so long; those newly marked."""
    quiet = (Device.state == "online", Device.last_heard_at < now - silent_after, Device.silent_since.is_(None))
    devices = list(session.scalars(select(Device.device_id).where(*quiet).order_by(Device.device_id).with_for_update()))
    for device in devices:
        session.execute(update(Device).where(Device.device_id == device).values(silent_since=now))
        session.add(DeviceState(device_id=device, at=now, state="silent"))
    return devices


class Alarms:
    """Looks now and then, in a thread of its own. listening_since: since when this process hears statuses: as long as it does not,
    silence says nothing of the devices. told: called with each device that fell silent."""

    def __init__(
        self,
        engine: Engine,
        listening_since: Callable[[], datetime | None],
        told: Callable[[str], None],
        *,
        silent_after: timedelta = SILENT_AFTER,
        overdue_after: timedelta,
    ) -> None:
        self._engine, self._listening_since, self._told = engine, listening_since, told
        self._silent_after, self._overdue_after = silent_after, overdue_after
        self._overdue = 0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="alarms")

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        self._thread.join(30.0)

    def _run(self) -> None:
        while not self._stop.wait(_LOOK_S):
            try:
                self.look(datetime.now(timezone.utc))
            except SQLAlchemyError:
                continue  # the receiver tells of it
            except Exception:
                log.exception("the look for silent devices failed; trying again")

    def look(self, now: datetime) -> None:
        """One look. Raises SQLAlchemyError where the database is away."""
        since = self._listening_since()
        with writing(self._engine) as session:
            heard_long_enough = since is not None and now - since >= self._silent_after
            devices = note_silent(session, now, self._silent_after) if heard_long_enough else []
            waiting = len(overdue(session, now, self._overdue_after))
        for device in devices:
            log.warning("device %s fell silent: not heard for %.0f s", device, self._silent_after.total_seconds())
            self._told(device)
        if waiting > self._overdue:
            hours = self._overdue_after.total_seconds() / 3600
            log.warning("%d slides with blasts wait for a reviewer for longer than %.0f h", waiting, hours)
        self._overdue = waiting
