"""A perfect stand-in for the engine: the simulator's truth. It shows what the line does apart from the network's errors."""

from __future__ import annotations

import hashlib
from types import TracebackType

import numpy as np
from typing_extensions import Self

from device.camera.simulator import SimulatorCamera
from engines.detections import Detections, Image
from engines.errors import InferenceError
from engines.film import FieldTruth, labels
from engines.runtime.base import EngineInfo, Inference
from engines.taxonomy import LEUKEMIA_ATTRI, Taxonomy


class TruthEngine:
    """`engines.runtime.base.Engine` for pictures of one simulator; every place that shows an engine's name shows that it is none.

    Scores are 1, attributes one-hot, and NaN where the film states none (class None).
    """

    def __init__(self, simulator: SimulatorCamera, taxonomy: Taxonomy = LEUKEMIA_ATTRI, input_hw: tuple[int, int] = (640, 640)) -> None:
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
