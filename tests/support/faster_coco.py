"""COCO's rule by a library of others, faster-coco-eval: what our own is held to."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from faster_coco_eval import COCO, COCOeval_faster

from engines.detections import Float32, Int64
from engines.evaluation.average_precision import IOU_THRESHOLDS, Judged


def faster_coco_ap(images: Sequence[Judged], boxes: int = 100) -> tuple[Int64, np.ndarray]:
    """Classes that the labels hold, (C,), and their AP at each threshold, (C, 10). A region to ignore is a crowd of every class."""
    classes = np.unique(np.concatenate([j.truth_classes for j in images]))
    every = sorted(set(classes.tolist()).union(*(j.classes.tolist() for j in images)))
    truths, found = [], []
    for i, j in enumerate(images, 1):
        truths += [_truth(i, c, b, 0) for b, c in zip(j.truth_boxes_px, j.truth_classes, strict=True)]
        truths += [_truth(i, c, b, 1) for b in j.ignored_px for c in every]
        found += [
            {"image_id": i, "category_id": int(c), "bbox": _xywh(b), "score": float(s)}
            for b, c, s in zip(j.boxes_px, j.classes, j.scores, strict=True)
        ]
    truth = COCO(
        {
            "info": {},
            "images": [{"id": i} for i in range(1, len(images) + 1)],
            "annotations": [{"id": i, **t} for i, t in enumerate(truths, 1)],
            "categories": [{"id": c, "name": str(c)} for c in every],
        }
    )
    judge = COCOeval_faster(truth, truth.loadRes(found), "bbox", print_function=lambda *_: None)
    judge.params.iouThrs = IOU_THRESHOLDS
    judge.params.maxDets = [1, 10, boxes]
    judge.evaluate()
    judge.accumulate()
    # (threshold, recall, class, area, detections): every area, all detections; -1 where a class has no truth.
    precision = np.asarray(judge.eval["precision"])[:, :, :, 0, -1]
    columns = [list(judge.params.catIds).index(int(c)) for c in classes]
    return classes, precision[:, :, columns].mean(1).T


def _truth(image: int, cls: int, box: Float32, crowd: int) -> dict[str, object]:
    x, y, width, height = _xywh(box)
    return {"image_id": image, "category_id": int(cls), "bbox": [x, y, width, height], "area": width * height, "iscrowd": crowd}


def _xywh(box: Float32) -> list[float]:
    x1, y1, x2, y2 = (float(v) for v in box)
    return [x1, y1, x2 - x1, y2 - y1]
