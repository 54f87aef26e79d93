"""A frame's whole way, put together for measuring: the appliance's own parts without window and broker, and its stages one by one."""

from __future__ import annotations

import itertools
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from types import TracebackType

import cv2
import numpy as np
from typing_extensions import Self

from device.camera.base import Camera, Frame, SkippedPicture
from device.camera.capture import Capture
from device.camera.factory import open_camera
from device.clock import SystemClock
from device.display.base import NullDisplay, ScreenView
from device.display.overlay import draw_on
from device.display.sheet import Sheet
from device.errors import CameraError, EndOfSourceError
from device.line import Line, Openers
from device.rounds import Round
from device.settings.broker import BrokerSection
from device.settings.config import Config, EngineSection, RecordSection, ReplayCamera, SimulatorCamera, SlideSection
from engines.bench.machine import peak_mib
from engines.decode import candidates, region_batches
from engines.detections import Float32, Image
from engines.preprocess import place
from engines.runtime.base import Engine
from engines.runtime.engine import BundleEngine
from engines.runtime.factory import AUTO, open_engine
from engines.runtime.graphs import Graphs

SIZE_PX = (1920, 1080)
_NETWORK_FRAMES, _DECODED, _HANDED_OVER = 10, 10, 20
_COUNTING = "slide and record"
AROUND = ("preprocess", "nms", "screen")
"""Stages of a frame that cost the same whatever network runs between them."""


@dataclass(frozen=True)
class SlideReading:
    """One slide read from its first frame to its last. stages_ms: a value for each frame; counting_ms: of those that counted fields.

    shown: how many cells and artefacts lay in the picture of the screen, for each frame.
    """

    frames: int
    seconds: float
    processor_s: float  # of all threads of this process
    stages_ms: dict[str, list[float]]
    counting_ms: list[float]
    fields: int
    cells: int
    shown: list[int]

    @property
    def fps(self) -> float:
        return self.frames / self.seconds

    @property
    def around_ms(self) -> float:
        """Median over the frames of what is around the network: preprocessing, suppression and the screen of one frame together."""
        together: list[float] = [sum(parts) for parts in zip(*(self.stages_ms[name] for name in AROUND), strict=True)]
        return median(together)


class FramesInMemory:
    """Frames in memory as a camera that waits for whoever looks at them, as a stored source does.

    live: they pass over and over instead, one every 15 ms, stamped the moment the driver returns.
    """

    name, notice = "frames in memory", ""
    skipped: tuple[SkippedPicture, ...] = ()

    def __init__(self, images: Sequence[Image], live: bool = False) -> None:
        self._images, self.live, self._clock, self._next = images, live, SystemClock(), 0

    def read(self) -> Frame:
        if self.live:
            time.sleep(0.015)
        elif self._next == len(self._images):
            raise EndOfSourceError(f"{self.name}: the last was shown")
        number, self._next = self._next, self._next + 1
        return Frame(self._images[number % len(self._images)], number, self._clock.monotonic_s(), self._clock.now(), "memory")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        return None


class Canvas(NullDisplay):
    """A display without a window: every view is drawn at full size over the one before, as the window's are."""

    def __init__(self) -> None:
        self._sheet = Sheet(np.empty((SIZE_PX[1], SIZE_PX[0], 3), np.uint8))
        self.shown: list[int] = []

    def show(self, view: ScreenView) -> None:
        self.shown.append(0 if view.detections is None else len(view.detections))
        draw_on(self._sheet, view)


def read_slide(engine: Engine, camera: Callable[[], Camera], config: Config) -> SlideReading:
    """One slide through the appliance's own pipeline into a record in a new folder; `engine` is open."""
    rounds: list[Round] = []
    shown: list[int] = []
    canvas = Canvas()
    with tempfile.TemporaryDirectory(prefix="leukoscope-bench-") as folder:
        config = config.model_copy(update={"record": RecordSection(path=Path(folder) / "record.sqlite")})
        openers = Openers(SystemClock(), camera, lambda: nullcontext(engine), lambda: canvas)
        with Line.open(config, openers, guarded=False) as line:
            pipeline = line.pipeline()
            started = ended = time.perf_counter()
            spent_before = spent = time.process_time()
            while not pipeline.stopped:
                done = pipeline.round()
                if done.frame is not None:
                    ended, spent = time.perf_counter(), time.process_time()
                    rounds.append(done)
                    shown.append(canvas.shown[-1])
            pipeline.close()
            fields = pipeline.slide.fields if pipeline.slide is not None else ()
    stages: dict[str, list[float]] = {}
    for done in rounds:
        for stage, ms in done.timings_ms.items():
            stages.setdefault(stage, []).append(ms)
    counted = [
        done for done in rounds if done.observation is not None and done.observation.event is not None and done.observation.event.new
    ]
    counting = [done.timings_ms[_COUNTING] for done in counted]
    cells = sum(len(field.cells) for field in fields)
    return SlideReading(len(rounds), ended - started, spent - spent_before, stages, counting, len(fields), cells, shown)


def network_alone(graphs: Graphs, inputs: Sequence[tuple[Image, Float32]], confidence: float) -> float:
    """Frames a second of the bare graphs: letterboxed pictures (H, W, 3) and their boxes in, nothing before, between or after."""
    started = time.perf_counter()
    for picture, boxes_px in inputs:
        graphs.detect(picture, confidence)
        for rois, _ in region_batches(boxes_px, graphs.regions):
            graphs.describe(rois)
    return len(inputs) / (time.perf_counter() - started)


def network_inputs(engine: BundleEngine, frames: Sequence[Image]) -> list[tuple[Image, Float32]]:
    """What the engine gives its graphs for some of the frames, evenly taken."""
    given = []
    for at in np.linspace(0, len(frames) - 1, min(_NETWORK_FRAMES, len(frames))).round().astype(int):
        recipe = engine.bundle.manifest.input
        picture, _ = place(frames[at], recipe.hw, recipe.scale_up)
        kept = candidates(engine.propose(frames[at]).rows, engine.bundle.manifest.decode_thresholds)
        given.append((picture, kept.boxes_px))
    return given


def decode_ms(jpegs: Sequence[bytes]) -> float:
    """Median milliseconds to decode one of these JPEGs, as the driver of an MJPG camera does."""
    spent = list[float]()
    for jpeg in itertools.islice(itertools.cycle(jpegs), _DECODED):
        started = time.perf_counter()
        cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR)
        spent.append(1e3 * (time.perf_counter() - started))
    return median(spent)


def hand_over_ms(image: Image) -> float:
    """Median milliseconds from the driver's return in the capture thread to the frame in the thread that waits for it."""
    clock, spent = SystemClock(), list[float]()
    two = (image, image[::-1].copy())  # a live camera that repeats one picture is taken for frozen
    with Capture(lambda: FramesInMemory(two, live=True), clock) as capture:
        while len(spent) < _HANDED_OVER:
            frame = capture.newest(1.0)
            if frame is not None:
                spent.append(1e3 * (clock.monotonic_s() - frame.captured_s))
    return median(spent)


def from_jpegs(reference: str, runtime: str, threads: int, folder: Path, precision: str = AUTO) -> tuple[float, float]:
    """Frames a second and peak resident MiB of this process, which reads `folder` by the appliance's replay camera, and nothing else.

    To be called in a process of its own: the caller holds all frames in memory, the appliance never does.
    """
    section = ReplayCamera(kind="replay", source=str(folder))
    each_once = section.model_copy(update={"hold_frames": 1})  # these are no stills: the stage comes to rest in them by itself
    config = config_of(section, reference, threads)
    with open_engine(reference, runtime, threads, ungated=True, precision=precision) as engine:
        run = read_slide(engine, lambda: open_camera(each_once, SystemClock()), config)
    return run.fps, peak_mib()


def frames_of(camera: Camera, count: int, progress: Callable[[int], None]) -> list[Image]:
    """The first `count` frames of a camera, fewer where it ends before. Raises CameraError for none, or frames of different sizes."""
    images: list[Image] = []
    with camera:
        while len(images) < count:
            try:
                images.append(camera.read().image)
            except EndOfSourceError:
                break
            progress(len(images))
    if not images:
        raise CameraError(f"{camera.name}: gave no frame; name another --source")
    sizes = {image.shape[:2] for image in images}
    if len(sizes) > 1:
        raise CameraError(f"{camera.name}: its pictures have different sizes, so their times cannot be compared; name another --source")
    return images


def config_of(camera: SimulatorCamera | ReplayCamera, reference: str, threads: int) -> Config:
    """The appliance's configuration for a slide that is begun with the first frame."""
    engine, slide = EngineSection(bundle=reference, threads=threads), SlideSection(auto_start=True)
    return Config(camera=camera, engine=engine, slide=slide, broker=BrokerSection(enabled=False))
