"""The slide's logic on the simulated technician's path with perfect detections: every white blood cell once, nothing else."""

from __future__ import annotations

from collections import Counter
from datetime import datetime

import pytest
from truth_engine import TruthEngine, TruthfulSimulator

from device.camera.quality import sharpness
from device.clock import SystemClock
from device.errors import EndOfSourceError
from device.settings.config import SimulatorCamera as SimulatorSection
from device.settings.config import SlideSection
from device.slide.counting import FieldsChanged
from device.slide.session import SlideSession

pytestmark = pytest.mark.integration


class HastyClock:
    """Nobody waits between frames, and by its seconds nothing but that waiting takes time."""

    def __init__(self) -> None:
        self.waited_s = 0.0

    def monotonic_s(self) -> float:
        return self.waited_s

    def now(self) -> datetime:
        return SystemClock().now()

    def sleep(self, seconds: float) -> None:
        self.waited_s += seconds


def test_every_cell_of_the_visited_fields_is_counted_exactly_once() -> None:
    """Fields lie side by side; the stage shakes and is refocused while it rests, so each field is counted at its best, and once."""
    optics = {"domain": "H", "camera": "C1", "objective": 40, "width_px": 640, "height_px": 360}
    section = SimulatorSection(kind="simulator", case="CLL", fields=6, fps=120, **optics)
    camera = TruthfulSimulator(section, HastyClock())
    engine = TruthEngine(camera)
    session = SlideSession(engine.info.taxonomy, SlideSection(), 0.4, crops=False, jpeg_quality=90, clock=HastyClock())
    session.start()
    events: list[FieldsChanged] = []
    best = [0.0] * 6
    with camera, pytest.raises(EndOfSourceError):
        while True:
            frame = camera.read()
            sharp, on = sharpness(frame.image), camera.path.at(frame.sequence).field
            seen = session.observe(frame, engine.infer(frame.image).detections, sharp)
            if on is not None:
                best[on] = max(best[on], sharp)
            if seen.event:
                events.append(seen.event)
    slide = session.finish()
    truth = camera.truth_of_path()
    assert [len(f.cells) for f in slide.fields] == [len(t) for t in truth]
    assert sum(len(t) for t in truth) >= 6
    assert Counter(c.class_index for c in slide.cells) == Counter(int(k) for t in truth for k in t.classes)
    assert sum(e.new for e in events) == 6
    assert sum(e.image is not None for e in events) == 6, "else only cells that the shaking shows whole are written"
    assert all(f.focus > 0.95 * peak for f, peak in zip(slide.fields, best, strict=True))
