"""A session over a piece of rendered film with cells at known places: a window that is put somewhere and held."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from functools import lru_cache

import cv2
import numpy as np

from device.camera.base import Frame
from device.settings.config import SlideSection
from device.slide.changes import FieldsChanged
from device.slide.counting import Observation
from device.slide.model import Slide
from device.slide.session import SlideSession
from engines.detections import Detections, Image
from engines.film import Film, Microscope
from engines.taxonomy import LEUKEMIA_ATTRI as TAXONOMY

NOW = datetime(2026, 11, 23, 18, 15, 12, tzinfo=timezone.utc)
SIZE = (640, 360)
FILM = (2200, 1400)
Point = tuple[int, int]


@lru_cache(1)
def plane() -> Image:
    """The film, (1400, 2200, 3)."""
    return Film(seed=11, case="AML").view((600.0, 600.0), Microscope("L", "C2", 100), FILM)[0]


class StillClock:
    """A clock that moves by a second whenever it is asked."""

    def __init__(self) -> None:
        self.at = NOW

    def monotonic_s(self) -> float:
        return (self.at - NOW).total_seconds()

    def now(self) -> datetime:
        self.at += timedelta(seconds=1)
        return self.at

    def sleep(self, seconds: float) -> None:
        self.at += timedelta(seconds=seconds)


@dataclass(eq=False)
class FilmBench:
    """cells: boxes (x1, y1, x2, y2) on the film; a perfect engine finds those of which half or more is in the window. step_s: seconds
    from frame to frame."""

    cells: list[tuple[int, int, int, int]]
    crops: bool = False
    session: SlideSession = field(init=False)
    events: list[FieldsChanged] = field(default_factory=list)
    seen: Observation = field(default_factory=lambda: Observation(False, False, False))
    clock: StillClock = field(default_factory=StillClock)
    looked: int = 0
    number: int = 0
    step_s: float = 0.1
    at_s: float = 0.0

    def __post_init__(self) -> None:
        self.session = self.new_session()

    def new_session(self) -> SlideSession:
        return SlideSession(TAXONOMY, SlideSection(), 0.4, self.crops, 90, self.clock)

    @property
    def slide(self) -> Slide:
        assert self.session.slide is not None
        return self.session.slide

    def found(self, place: Point) -> Detections:
        boxes, scores = [], []
        for x0, y0, x1, y1 in self.cells:
            box = np.array([x0, y0, x1, y1], np.float32) - np.array(place * 2, np.float32)
            inside = np.clip(box, 0, np.array(SIZE * 2, np.float32))
            if np.prod(np.clip(inside[2:] - inside[:2], 0, None)) >= 0.5 * np.prod(box[2:] - box[:2]):
                boxes.append(inside)
                scores.append(0.9)
        n = len(boxes)
        attributes = np.full((n, TAXONOMY.n_logits), 0.5, np.float32)
        return Detections(np.array(boxes, np.float32).reshape(-1, 4), np.array(scores, np.float32), np.full(n, 3), attributes)

    def show(self, place: Point, frames: int = 3, focus: float = 1.0, held: str = "", found: Detections | None = None) -> Observation:
        """Hold the window at a place of the film for some frames."""
        for _ in range(frames):
            x, y = place
            self.take(plane()[y : y + SIZE[1], x : x + SIZE[0]], self.found(place) if found is None else found, focus, held)
        return self.seen

    def dark(self, frames: int = 3) -> Observation:
        """The lamp is off, or there is no glass."""
        for _ in range(frames):
            self.take(np.full((SIZE[1], SIZE[0], 3), 15, np.uint8), Detections.empty(TAXONOMY.n_logits), 0.0, "")
        return self.seen

    def slide_to(self, place: Point, start: Point, steps: int = 6) -> None:
        """Move the window there in steps that can be followed."""
        for step in range(1, steps + 1):
            at = tuple(round(a + (b - a) * step / steps) for a, b in zip(start, place, strict=True))
            x, y = at
            image = np.asarray(cv2.blur(plane()[y : y + SIZE[1], x : x + SIZE[0]], (5, 3)), np.uint8)
            self.take(image, self.found((x, y)), 0.3, "moving")

    def take(self, image: Image, found: Detections, focus: float, held: str) -> None:
        self.number += 1
        self.at_s += self.step_s
        frame = Frame(image, self.number, self.at_s, self.clock.now(), "bench")
        self.note(self.session.observe(frame, found, focus, self.look, held))

    def settle(self) -> None:
        """What the pipeline does before a command."""
        self.note(self.session.settle(self.look))

    def look(self, _: Frame, cells: Detections) -> tuple[Detections, str]:
        self.looked += 1
        return cells, ""

    def note(self, seen: Observation) -> None:
        self.seen = seen
        if seen.event is not None:
            self.events.append(seen.event)
