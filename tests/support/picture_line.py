"""The appliance's line over a few pictures: a stored source, an engine that sees one cell in each, a real record."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np

from device.camera.base import CameraState, CameraStatus, Frame, SkippedPicture
from device.clock import SystemClock
from device.display.base import NullDisplay
from device.line import Line
from device.mqtt.publisher import BrokerStatus
from device.pipeline import Pipeline
from device.settings.broker import BrokerSection
from device.settings.config import Config, DeviceSection, DisplaySection, ReplayCamera, SlideSection
from device.slide.commands import Command, Wish
from device.slide.model import Slide
from device.store import Store
from device.store.recording import FrameRecorder
from engines.detections import CellNames, Detections, Image
from engines.errors import InferenceError
from engines.runtime.base import EngineInfo, Inference
from engines.taxonomy import LEUKEMIA_ATTRI

CLOCK = SystemClock()
DESK = SlideSection(target_cells=50, finish_at_end=False, ask_specimen=False)
"""A person begins and ends each slide."""


def picture(seed: int) -> Image:
    """A field with structure of its own, so that it differs from every other."""
    coarse = np.random.default_rng(seed).integers(60, 220, (18, 32, 3), dtype=np.uint8)
    return np.kron(coarse, np.ones((10, 10, 1), np.uint8)).astype(np.uint8)


class Pictures:
    """A stored source: each picture as often as it is shown, then the end."""

    def __init__(self, shown: Sequence[int]) -> None:
        self._frames = [Frame(picture(n), i, CLOCK.monotonic_s(), CLOCK.now(), f"{n}.png") for i, n in enumerate(shown)]
        self.skipped: tuple[SkippedPicture, ...] = ()
        self.name = "pictures"

    def blurred(self, blurs: Sequence[float]) -> None:
        """Shows the next of them out of focus, by blurs in px."""
        for at, blur in enumerate(blurs):
            image = np.asarray(cv2.GaussianBlur(self._frames[at].image, (0, 0), blur), np.uint8)
            self._frames[at] = replace(self._frames[at], image=image)

    @property
    def status(self) -> CameraStatus:
        state, reason = (CameraState.STREAMING, "") if self._frames else (CameraState.ENDED, f"{self.name}: its last picture was shown")
        return CameraStatus(state, self.name, reason, skipped=self.skipped)

    def newest(self, timeout_s: float) -> Frame | None:
        return self._frames.pop(0) if self._frames else None


class OneNeutrophil:
    """An engine that sees one cell in each picture, and fails where it is told to."""

    def __init__(self, failing: frozenset[int] = frozenset(), naming_fails: bool = False, distance: float = 0.0) -> None:
        self.naming_fails, self.named, self.distance = naming_fails, list[float | None](), distance
        self._failing, self._calls = failing, 0
        self.info = EngineInfo("stand-in", "0", "0" * 64, "none", "exact", (640, 640), LEUKEMIA_ATTRI, 0.25)

    def infer(self, image: Image) -> Inference:
        self._calls += 1
        if self._calls - 1 in self._failing:
            raise InferenceError("out of memory, said the runtime")
        attributes = np.zeros((1, LEUKEMIA_ATTRI.n_logits), np.float32)
        attributes[0, [g.start for g in LEUKEMIA_ATTRI.groups]] = 1
        box, score = np.array([[40, 40, 90, 90]], np.float32), np.array([0.9], np.float32)
        return Inference(Detections(box, score, np.array([3]), attributes))

    def name_cells(self, image: Image, found: Detections, um_per_px: float | None = None) -> Detections:
        self.named.append(um_per_px)
        if self.naming_fails:
            raise InferenceError("no memory for a second look")
        myeloblast = np.array([1])
        shares = np.full((1, len(LEUKEMIA_ATTRI.classes)), 0.01, np.float32)
        shares[0, 1] = 0.87
        return replace(found, names=CellNames(shares, myeloblast, ("blasts",), np.full(1, self.distance, np.float32)))

    def __enter__(self) -> OneNeutrophil:
        return self

    def __exit__(self, *_: object) -> None:
        return None


def pipeline_of(
    folder: Path,
    source: Pictures,
    engine: OneNeutrophil,
    display: NullDisplay | None = None,
    store: Store | None = None,
    recorder: FrameRecorder | None = None,
    rules: SlideSection | None = None,
    stays: bool = False,
) -> Pipeline:
    """The pipeline with a real record in `folder`; slides open by themselves unless `rules` say otherwise."""
    config = Config(
        camera=ReplayCamera(kind="replay", source="pictures"),
        device=DeviceSection(id="unit", state_dir=folder),
        slide=rules or SlideSection(auto_start=True),
        display=DisplaySection(kind="none"),
        broker=BrokerSection(enabled=True),
    )
    opened = store or Store.open(config.record_path)
    line = Line(config, CLOCK, engine, opened, display or NullDisplay(), source)
    return line.pipeline(broker=lambda: BrokerStatus("connected"), recorder=recorder, free_mb=lambda _: 10_000.0, stays=stays)


def run_out(pipeline: Pipeline) -> Slide:
    """Rounds until the source has ended; the slide as it then stands."""
    while not pipeline.stopped:
        pipeline.round()
    assert pipeline.slide is not None
    return pipeline.slide


def counted(folder: Path, store: Store, shown: Sequence[int], finish: bool) -> str:
    """Count a slide at the desk, and finish it or leave it as a power cut does; its id."""
    pipeline = pipeline_of(folder, Pictures(shown), OneNeutrophil(), store=store, rules=DESK)
    assert pipeline.obey(Wish(Command.START, sure=True))[0]
    for _ in shown:
        pipeline.round()
    assert pipeline.slide is not None
    if finish:
        assert pipeline.obey(Wish(Command.FINISH, sure=True))[0]
    return pipeline.slide.slide_id
