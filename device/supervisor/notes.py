"""Reviews and events into the tables: what a person did at a device, and what a supervisor should hear at once."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy.orm import Session

from device.mqtt.client import Incoming
from device.mqtt.events import ReviewEvent, SlideEvent, read_event, read_review
from device.supervisor.database import insert_new
from device.supervisor.streams import number_came
from device.supervisor.tables import Note
from device.supervisor.taking import Taken, confirm, fits_number, fits_path, fits_stream, heard, of_its_topic


def take_review(session: Session, device: str, incoming: Incoming, now: datetime) -> Taken:
    """Signed, seconded or opened again."""
    review = read_review(incoming.payload).payload
    fits_number("revision", review.revision)
    return _take(session, device, "review", review.act, review, incoming.payload, now)


def take_event(session: Session, device: str, incoming: Incoming, now: datetime) -> Taken:
    """The first blast of a slide, and what later devices tell."""
    event = read_event(incoming.payload).payload
    return _take(session, device, "event", event.what, event, incoming.payload, now)


def _take(session: Session, device: str, kind: str, what: str, said: ReviewEvent | SlideEvent, payload: bytes, now: datetime) -> Taken:
    of_its_topic(said.device_id, device)
    fits_path(said.slide_id)
    fits_stream(said.stream)
    fits_number("sequence", said.sequence)
    heard_before, message_id = heard(session, device, now, said.simulated), str(said.message_id)
    values = {"device_id": device, "slide_id": said.slide_id, "message_id": message_id, "kind": kind, "what": what}
    new = (
        insert_new(session, Note, {**values, "received_at": now, "payload": payload}, conflict=("device_id", "message_id")) is not None
    )
    if new and said.stream and said.sequence:
        number_came(session, device, kind, said.stream, said.sequence, heard_before, now)
    confirm(session, device, message_id, now)
    return Taken(device, kind, new, said.slide_id, message_id)
