"""From a slide in the real record to the supervisor, through a real broker; what waits survives the process."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np
import pytest

from device.clock import Backoff
from device.demo.broker import EmbeddedBroker, free_port
from device.mqtt.device_status import DeviceStatus
from device.mqtt.payloads import SlideSummary, read_summary
from device.mqtt.publisher import Publisher
from device.mqtt.summary import build_summary
from device.mqtt.topics import Topics
from device.settings.broker import BrokerSection
from device.slide.model import Cell, Field, Slide, SlideState
from device.store import OutboxMessage
from device.store.record import Store
from engines.runtime.base import EngineInfo
from engines.taxonomy import LEUKEMIA_ATTRI as TAXONOMY
from tests.support.provenance import provenance

pytestmark = pytest.mark.integration
START = datetime(2025, 6, 3, 9, 14, 2, tzinfo=timezone.utc)
ENGINE = EngineInfo("attridet-n", "1.0.0", "ab" * 32, "onnxruntime CPU", "fp32", (640, 640), TAXONOMY, 0.25)


def keep_slide(store: Store, slide_id: str) -> SlideSummary:
    """A slide of one field with a myeloblast, closed in the record together with its outbox row."""
    attributes = np.full(TAXONOMY.n_logits, np.nan, np.float32)
    cell = Cell(TAXONOMY.classes.index("Myeloblast"), 0.9, True, (0.0, 0.0, 9.0, 9.0), attributes)
    field = Field(1, START, "field.png", (1920, 1080), 0.8, (cell,))
    slide = Slide(slide_id, START, SlideState.REVIEW, START + timedelta(seconds=90), fields=(field,))
    made = provenance(ENGINE, device_id="clinic-7")
    summary = build_summary(slide, made, message_id=uuid4(), target_cells=200)
    store.start_slide(slide, made)
    store.close_slide(slide, OutboxMessage(str(summary.message_id), Topics("clinic-7").summary, summary.to_bytes(), START))
    payload = store.slide(slide_id).summary
    assert payload is not None  # as it was handed over, with its number
    return read_summary(payload).payload


def test_what_waited_without_a_broker_is_sent_by_the_next_process(
    tmp_path: Path, status: DeviceStatus, receive: Any, until: Callable[[Callable[[], object], str], None]
) -> None:
    path, port = tmp_path / "record.sqlite", free_port()
    section = BrokerSection(host="127.0.0.1", port=port, protocol="3.1.1")

    def publisher() -> Publisher:
        return Publisher(section, status, lambda: Store.connect(path), backoff=Backoff(0.05, 0.2))

    with Store.open(path) as store, publisher() as first:
        sent = [keep_slide(store, "s-1")]
        first.notify()
        assert not first.drain(0.3)
        assert first.status.pending == 1
    with Store.open(path) as store, EmbeddedBroker(port) as broker:
        assert broker.port == port
        with receive(section) as receiver, publisher() as second:
            assert second.drain(60)
            sent.append(keep_slide(store, "s-2"))
            second.notify()
            assert second.drain(60)
            assert store.pending_count() == second.status.unconfirmed == 2  # in 3.1.1 only a receipt proves the delivery
            until(lambda: "s-1" in receiver.said and "s-2" in receiver.said, "both summaries")
    assert receiver.received == sent
    assert not [t.name for t in threading.enumerate() if t.name in ("publisher", "embedded-broker")]
