"""What a fine-tuning in 8 bits learns on: labelled splits, or the calibration frames; never a picture that judges."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from calibration.int8.frames import Frame
from calibration.int8.request import QuantizeRequest
from engines.data.aspect import given_for
from engines.data.leukemiaattri import read_split
from engines.detections import Float32, Image
from engines.errors import DataError
from engines.files import sha256_of
from engines.taxonomy import Taxonomy

SPLIT = "train"
"""Of a folder of which none is named."""


def taught_on(
    request: QuantizeRequest, taxonomy: Taxonomy, frames: Sequence[Frame], judging: frozenset[str]
) -> tuple[list[Callable[[], Image]], list[Float32 | None]]:
    """What reads each picture, and its labelled boxes (N, 4) in px; None where there are no labels. Raises DataError."""
    if not request.tune_data:
        return [frame.read for frame in frames], [None] * len(frames)
    read: list[Callable[[], Image]] = []
    labelled: list[Float32 | None] = []
    for words in request.tune_data:
        folder, _, split = words.rpartition(":")
        root, split = (Path(folder), split) if folder and split and not Path(words).is_dir() else (Path(words), SPLIT)
        for picture in read_split(root, split, taxonomy, given_for(root, request.pixel_aspect)):
            if sha256_of(picture.path) in judging:
                raise DataError(
                    f"{picture.path}: is one of the pictures that judge ({request.data}). Name another split for --tune-data."
                )
            read.append(picture.read)
            labelled.append(picture.boxes_px)
    return read, labelled
