"""A record with slides as the appliance and a person at its desk would have left them."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from pathlib import Path
from uuid import uuid4

import cv2
import numpy as np

from device.mqtt.summary import build_summary
from device.review.journal import Entry
from device.slide.model import Slide, SlideState
from device.store import OutboxMessage, Store
from engines.runtime.base import EngineInfo
from engines.taxonomy import LEUKEMIA_ATTRI
from tests.support.provenance import provenance
from tests.support.signed import Desk

MODEL = EngineInfo("attridet-n", "2.0.0", "4b" * 32, "onnxruntime CPU", "fp32", (640, 640), LEUKEMIA_ATTRI, 0.25)


def keep(record: Path, slide: Slide, *, trusted: bool = True, unsent: bool = False, pictures: bool = False) -> None:
    """Write a slide; unsent: its summary waits in the outbox; pictures: of each field, beside the record."""
    made = provenance(MODEL, time_trusted=trusted)
    with Store.open(record) as store:
        store.start_slide(replace(slide, fields=(), state=SlideState.COUNTING, finished_at=None), made)
        for field in slide.fields:
            if pictures:
                field = replace(field, picture=f"{slide.slide_id}/field-{field.index:06d}.jpg")  # noqa: PLW2901
                path = record.parent / "pictures" / field.picture
                path.parent.mkdir(parents=True, exist_ok=True)
                cv2.imwrite(str(path), np.full((*field.size_px[::-1], 3), 200, np.uint8))
            store.put_field(slide.slide_id, field)
        if slide.is_open:
            return
        kept = replace(
            store.slide(slide.slide_id).slide, state=slide.state, finished_at=slide.finished_at, abort_reason=slide.abort_reason
        )
        sent = build_summary(kept, made, message_id=uuid4(), target_cells=200)
        message = OutboxMessage(str(sent.message_id), "t", sent.to_bytes(), slide.started_at, slide_id=slide.slide_id)
        store.close_slide(kept, message)
        if not unsent:
            store.acknowledge(message.message_id)


def sign(record: Path, slide_id: str, who: str = "AB", at: datetime | None = None) -> tuple[Entry, ...]:
    """Look at every cell, name what is unidentified, sign; returns the journal."""
    with Store.open(record) as store:
        desk = Desk(store.slide(slide_id), who)
        desk.begun = at or desk.begun
        if desk.review.signatures:
            desk.act(desk.review.reopen("second thoughts"))
        desk.open_all()
        desk.name_the_unidentified("not_classed")
        desk.sign()
        store.put_review(slide_id, desk.review.entries, desk.review.slide)
        return desk.review.entries
