"""The simulator's truth, and a perfect stand-in for the engine that answers with it: the line apart from the network's errors."""

from __future__ import annotations

import hashlib
import threading
from collections import OrderedDict
from types import TracebackType

import numpy as np
from typing_extensions import Self

from device.camera.base import Frame
from device.camera.simulator import SimulatorCamera
from device.camera.stage import StagePath
from device.clock import Clock
from device.settings.config import SimulatorCamera as SimulatorSection
from engines.detections import Detections, Image
from engines.errors import InferenceError
from engines.film import FieldTruth, labels
from engines.runtime.base import EngineInfo, Inference
from engines.taxonomy import LEUKEMIA_ATTRI, Taxonomy

_REMEMBERED = 64  # frames whose truth is kept for whoever asks by the picture


def field_frames(path: StagePath, field: int) -> range:
    """The frame numbers at which the stage rests on `field` (in the first round)."""
    numbers = [number for number in range(path.frames) if path.at(number).field == field]
    return range(numbers[0], numbers[-1] + 1)


class TruthfulSimulator(SimulatorCamera):
    """The simulated camera that also says what it showed. `truth_of_picture` may be asked from another thread."""

    def __init__(self, section: SimulatorSection, clock: Clock) -> None:
        super().__init__(section, clock)
        self._recent: OrderedDict[bytes, FieldTruth] = OrderedDict()
        self._guard = threading.Lock()

    @property
    def path(self) -> StagePath:
        """Where the stage is at every frame number; of a hand see `camera.hand`."""
        path = self._on_stage[1]
        assert isinstance(path, StagePath)
        return path

    def read(self) -> Frame:
        frame = super().read()
        truth = self.truth(frame.sequence)
        with self._guard:
            self._recent[picture_key(frame.image)] = truth
            while len(self._recent) > _REMEMBERED:
                self._recent.popitem(last=False)
        return frame

    def truth_of_picture(self, image: Image) -> FieldTruth | None:
        """The same for one of the last 64 pictures, known by its bytes; None for any other."""
        with self._guard:
            return self._recent.get(picture_key(image))

    def truth_of_path(self) -> tuple[FieldTruth, ...]:
        """What a perfect counter finds on the whole path, one entry a field in the order of visit; no cell is in two of them.

        At the last resting frame of each; the vibration of the others changes no cell's belonging (see `stage.plan_fields`).
        """
        return tuple(self.truth(field_frames(self.path, field)[-1]) for field in range(self._section.fields))


def picture_key(image: Image) -> bytes:
    """Digest of a picture's bytes and shape."""
    return hashlib.blake2b(np.ascontiguousarray(image).data, digest_size=16, salt=str(image.shape[:2]).encode()[:16]).digest()


class TruthEngine:
    """`engines.runtime.base.Engine` for pictures of one simulator; every place that shows an engine's name shows that it is none.

    Scores are 1, attributes one-hot, and NaN where the film states none (class None).
    """

    def __init__(
        self, simulator: TruthfulSimulator, taxonomy: Taxonomy = LEUKEMIA_ATTRI, input_hw: tuple[int, int] = (640, 640)
    ) -> None:
        self._simulator = simulator
        self._info = EngineInfo(
            name="truth of the rendered film (stand-in, no network)",
            version="0",
            digest=hashlib.sha256(b"truth of the rendered film").hexdigest(),
            runtime="none: the simulator's truth",
            precision="exact",
            input_hw=input_hw,
            taxonomy=taxonomy,
            score_threshold=0.0,
        )

    @property
    def info(self) -> EngineInfo:
        return self._info

    def infer(self, image: Image) -> Inference:
        """The truth of that very picture. Raises InferenceError for one that the simulator did not show lately."""
        truth = self._simulator.truth_of_picture(image)
        if truth is None:
            raise InferenceError("this picture is not one of the simulator's last frames; the stand-in engine knows no other")
        return Inference(as_detections(truth, self._info.taxonomy))

    def name_cells(self, image: Image, found: Detections, um_per_px: float | None = None) -> Detections:
        return found

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        return None


def as_detections(truth: FieldTruth, taxonomy: Taxonomy) -> Detections:
    """A field's truth in the form in which an engine answers."""
    probabilities = np.full((len(truth), taxonomy.n_logits), np.nan, np.float32)
    classes, attributes = labels(truth, taxonomy)
    for column, group in enumerate(taxonomy.groups):
        codes = attributes[:, column]
        known = codes >= 0
        probabilities[known, group] = np.eye(group.stop - group.start, dtype=np.float32)[codes[known]]
    ones = np.ones(len(truth), np.float32)
    return Detections(truth.boxes_px.astype(np.float32), ones, classes, probabilities)
