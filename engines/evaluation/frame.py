"""A picture laid into a whole frame, as the appliance would see it: so the detector looks at the scale that it has there."""

from __future__ import annotations

import re
from dataclasses import dataclass

import cv2
import numpy as np

from engines.detections import Float32, Image
from engines.errors import DataError
from engines.preprocess import PAD_VALUE


@dataclass(frozen=True)
class WholeFrame:
    """The size of a camera's frame in px."""

    width: int
    height: int

    @classmethod
    def parse(cls, text: str) -> WholeFrame:
        """From "1920x1080". Raises DataError with what was meant."""
        found = re.fullmatch(r"(\d{2,5})x(\d{2,5})", text.strip())
        if found is None:
            raise DataError(f"--frame {text}: give width and height of the camera's frame in px, such as 1920x1080.")
        return cls(int(found[1]), int(found[2]))

    @property
    def words(self) -> str:
        return f"{self.width} x {self.height}"


@dataclass(frozen=True)
class Laid:
    """How a picture lies in the frame: scaled by `ratio` (1 unless it is larger than the frame), its corner at left, top."""

    hw: tuple[int, int]
    ratio: float = 1.0
    left: int = 0
    top: int = 0

    def to_picture(self, boxes_px: Float32) -> Float32:
        """Boxes of the frame, (N, 4), in px of the picture, clipped to it."""
        boxes: Float32 = (boxes_px - np.array([self.left, self.top] * 2, np.float32)) / np.float32(self.ratio)
        return boxes.clip(0, np.array([self.hw[1], self.hw[0]] * 2, np.float32))


def lay(image: Image, frame: WholeFrame | None) -> tuple[Image, Laid]:
    """The picture in the middle of a grey frame at its own size, or shrunk to fit; as it is without a frame."""
    height, width = hw = image.shape[:2]
    if frame is None:
        return image, Laid(hw)
    ratio = min(1.0, frame.width / width, frame.height / height)
    small = image if ratio == 1 else np.asarray(cv2.resize(image, None, fx=ratio, fy=ratio, interpolation=cv2.INTER_AREA), np.uint8)
    out = np.full((frame.height, frame.width, 3), PAD_VALUE, np.uint8)
    rows, columns = min(small.shape[0], frame.height), min(small.shape[1], frame.width)
    left, top = (frame.width - columns) // 2, (frame.height - rows) // 2
    out[top : top + rows, left : left + columns] = small[:rows, :columns]
    return out, Laid(hw, ratio, left, top)
