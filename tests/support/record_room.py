"""A record with what writes to it, for the tests of the review and of what is sent of it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np

from calibration.profile import load_profile
from device.mqtt.payloads import SlideSummary, read_summary
from device.review.review import Review
from device.settings.broker import BrokerSection
from device.settings.config import Config, DeviceSection, RecordSection, SimulatorCamera
from device.slide.counting import FieldsChanged
from device.slide.model import Slide, SlideState
from device.store import Store
from device.store.events import SlideRecord
from device.store.journal import Journal
from device.store.reviewing import KeptReview
from engines.runtime.base import EngineInfo
from engines.taxonomy import LEUKEMIA_ATTRI
from tests.support.provenance import provenance
from tests.support.review import BEGUN

MODEL = EngineInfo("attridet-n", "1.0.0", "ab" * 32, "onnxruntime 1.23.2 CPU", "fp32", (640, 640), LEUKEMIA_ATTRI, 0.25)
IMAGE = np.full((1080, 1920, 3), 200, np.uint8)
SLIDE_ID = "20261123-181512-4f9a2c"


class Clock:
    """Moved by hand."""

    def __init__(self) -> None:
        self.moment = BEGUN + timedelta(hours=1)

    def monotonic_s(self) -> float:
        return self.moment.timestamp()

    def now(self) -> datetime:
        return self.moment

    def sleep(self, seconds: float) -> None:
        self.moment += timedelta(seconds=seconds)


@dataclass
class Room:
    """A record with what writes to it."""

    store: Store
    record: SlideRecord
    clock: Clock
    free: list[float]
    sent: list[int]

    def put(self, of: Slide, image: np.ndarray | None = IMAGE) -> None:
        """Count a slide as the pipeline does, field by field, and finish it."""
        opened = replace(of, state=SlideState.COUNTING, finished_at=None, fields=())
        self.record.started(opened, 1920)
        for field in of.fields:
            self.record.counted(opened, FieldsChanged(field, new=True, image=image))
        self.record.closed(of, 1920)

    def summaries(self, slide_id: str = SLIDE_ID) -> list[SlideSummary]:
        return [read_summary(payload).payload for _, payload in self.store.summaries(slide_id)]


def room_at(folder: Path, **broker: object) -> Iterator[Room]:
    clock, free, sent = Clock(), [10_000.0], list[int]()
    config = Config(
        camera=SimulatorCamera(kind="simulator"),
        device=DeviceSection(id="box-1", state_dir=folder),
        record=RecordSection(keep_pictures_days=30),
        broker=BrokerSection.model_validate(broker),
    )
    with Store.open(config.record_path) as store:
        journal = Journal(config.record_path, clock, lambda _: free[0], config.record.min_free_mb)
        profile = load_profile(config.microscope.profile)
        record = SlideRecord(store, journal, config, profile, provenance(MODEL, device_id="box-1"), clock, lambda: sent.append(1))
        yield Room(store, record, clock, free, sent)


def done(review: Review, kept: KeptReview, act: str, *given: object) -> Review:
    entries = getattr(review, act)(*given)
    after = review.after(entries)
    kept.keep(after, entries)
    return after
