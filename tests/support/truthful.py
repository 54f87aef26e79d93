"""A rendered split and graphs that know what is on it, so that an evaluation's every number is known beforehand."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from engines.decode import Thresholds
from engines.detections import Float32, Image
from engines.errors import InferenceError
from engines.runtime.base import EngineInfo
from engines.runtime.engine import NetworkEngine
from engines.taxonomy import LEUKEMIA_ATTRI

BOXES = ((20, 30, 80, 90), (120, 100, 200, 180), (220, 20, 300, 80))  # x1 y1 x2 y2
CLASSES = (1, 0, 7)
ATTRIBUTES = ((2, 1, 0, 1, 0, 1, 0), (4,) * 7, (0, 0, 1, 0, 1, 0, 1))  # 4: not applicable


def write_split(root: Path, pictures: int = 3, attributes: bool = True, names: Sequence[str] = ()) -> None:
    """A split `val` of grey pictures, 320 x 240, each with the same three cells; 0.png, 1.png ... unless `names` are given."""
    names = names or [f"{i}.png" for i in range(pictures)]
    (root / "Images/val").mkdir(parents=True)
    (root / "json_labels").mkdir()
    keys = ["cell_size", "nuclear_chromatio", *(a.key for a in LEUKEMIA_ATTRI.attributes[2:])]
    images, annotations = [], []
    for i, file_name in enumerate(names):
        cv2.imwrite(str(root / "Images/val" / file_name), np.full((240, 320, 3), 60 + i, np.uint8))
        images.append({"id": i, "file_name": file_name, "height": 240, "width": 320})
        for (x1, y1, x2, y2), cls, values in zip(BOXES, CLASSES, ATTRIBUTES, strict=True):
            name = LEUKEMIA_ATTRI.classes[cls]
            entry = {
                "id": len(annotations),
                "image_id": i,
                "category_id": cls,
                "category_name": name,
                "bbox": [x1, y1, x2 - x1, y2 - y1],
            }
            annotations.append(entry | (dict(zip(keys, values, strict=True)) if attributes else {}))
    categories = [{"id": i, "name": n} for i, n in enumerate(LEUKEMIA_ATTRI.classes)]
    (root / "json_labels/val.json").write_text(json.dumps({"images": images, "annotations": annotations, "categories": categories}))


class TruthfulGraphs:
    """Graphs that find the cells of `write_split` on a 320 px input, with a weak wrong box beside them."""

    regions = 2

    def __init__(self, misses: int = 0, wrong_size: bool = False, wrong_type: bool = False) -> None:
        self._misses, self._wrong_size, self._wrong_type = misses, wrong_size, wrong_type

    def open(self) -> None: ...

    def close(self) -> None: ...

    def detect(self, picture: Image, confidence: float = 0.0) -> Float32:
        rows = np.zeros((5, 19), np.float32)
        for row, (x1, y1, x2, y2), cls in zip(rows[self._misses :], BOXES[self._misses :], CLASSES[self._misses :], strict=False):
            # The picture lies 40 px below the input's upper edge.
            row[:5] = (x1 + x2) / 2, (y1 + y2) / 2 + 40, x2 - x1, y2 - y1, 0.9
            row[5 + (3 if self._wrong_type and cls == 1 else cls)] = 0.95
        rows[4, :5] = 300, 250, 20, 20, 0.1
        rows[4, 8] = 0.9
        return rows

    def look(self, tiles: Image) -> Float32:
        raise InferenceError("these graphs have no second look")

    def describe(self, rois: Float32) -> Float32:
        out = np.zeros((2, 15), np.float32)
        for row, roi in zip(out, rois, strict=True):
            nearest = min(range(3), key=lambda i: abs(BOXES[i][0] - float(roi[0])))
            for column, group in enumerate(LEUKEMIA_ATTRI.groups):
                value = ATTRIBUTES[nearest][column] % 4
                row[group.start + (1 if self._wrong_size and column == 0 else value)] = 1
        return out


def truthful_engine(graphs: TruthfulGraphs | None = None, name: str = "truthful") -> NetworkEngine:
    """An engine of such graphs, not yet opened."""
    info = EngineInfo(
        name=name,
        version="1.0.0",
        digest="0123456789" * 6 + "abcd",
        runtime="stand-in",
        precision="fp32",
        input_hw=(320, 320),
        taxonomy=LEUKEMIA_ATTRI,
        score_threshold=0.25,
    )
    return NetworkEngine(graphs or TruthfulGraphs(), info, True, Thresholds())
