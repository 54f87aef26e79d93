"""Summaries into the tables: each once, and the slide's row at its newest revision."""

from __future__ import annotations

import hashlib
from datetime import datetime
from typing import Any

from sqlalchemy import or_, select, update
from sqlalchemy.orm import Session

from device.mqtt.client import Incoming
from device.mqtt.payloads import PayloadError, SlideSummary, read_summary
from device.supervisor.database import insert_new
from device.supervisor.doubt import is_doubtful, picture_state
from device.supervisor.streams import number_came
from device.supervisor.tables import Slide, Summary
from device.supervisor.taking import Taken, confirm, fits_number, fits_path, fits_stream, heard, of_its_topic


def take_summary(session: Session, device: str, incoming: Incoming, now: datetime) -> Taken:
    """Either version of a summary, any form. PayloadError for one that is no good."""
    payload = incoming.payload
    summary = read_summary(payload).payload
    of_its_topic(summary.device_id, device)
    _fits(summary)
    heard_before = heard(session, device, now, summary.source.simulated)
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
    summary_id = insert_new(session, Summary, values, conflict=("device_id", "message_id"))
    if summary_id is None:
        stands = select(Summary.digest).where(Summary.device_id == device, Summary.message_id == message_id)
        if session.scalar(stands) != digest:
            raise PayloadError(f"message_id {message_id} came before with other contents; the first one stands")
    else:
        _newest(session, summary, summary_id, now)
        if summary.stream and summary.sequence:
            number_came(session, device, "summary", summary.stream, summary.sequence, heard_before, now)
    confirm(session, device, message_id, now)
    return Taken(device, "summary", summary_id is not None, summary.slide_id, message_id)


def _fits(summary: SlideSummary) -> None:
    """PayloadError for what no page could show under an address of its own, or no column could hold."""
    fits_path(summary.slide_id)
    fits_stream(summary.stream or "")
    for name in ("revision", "sequence", "white_cells", "target_cells"):
        fits_number(name, getattr(summary, name) or 0)


def _newest(session: Session, summary: SlideSummary, summary_id: int, now: datetime) -> None:
    """Bring the slide's row to this revision, unless a higher one is there; of equal ones the later end counts (docs/mqtt.md)."""
    where = (Slide.device_id == summary.device_id, Slide.slide_id == summary.slide_id)
    key = {"device_id": summary.device_id, "slide_id": summary.slide_id}
    values = slide_values(summary, summary_id, now)
    first = {**key, **values, "revisions": 1, "first_received_at": now}
    if insert_new(session, Slide, first, conflict=("device_id", "slide_id")) is not None:
        return
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
