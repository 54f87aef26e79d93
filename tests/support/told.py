"""A labelled picture whose truth is what an engine tells of it: a network of random weights would find no other truth."""

from __future__ import annotations

import json
from pathlib import Path

import cv2

from engines.bundle import Bundle
from engines.detections import Image
from engines.runtime.onnx import OnnxEngine
from engines.taxonomy import LEUKEMIA_ATTRI


def told_split(root: Path, bundle: Bundle, frame: Image) -> Path:
    """`root` with one picture and its JSON labels as the split val, in the published layout."""
    (root / "Images/val").mkdir(parents=True)
    (root / "json_labels").mkdir()
    keys = ["cell_size", "nuclear_chromatio", *(a.key for a in LEUKEMIA_ATTRI.attributes[2:])]
    cv2.imwrite(str(root / "Images/val/0.png"), frame)
    images = [{"id": 0, "file_name": "0.png", "height": frame.shape[0], "width": frame.shape[1]}]
    annotations = []
    with OnnxEngine(bundle, threads=1) as engine:
        told = engine.infer(frame).detections
    assert len(told) > 4
    for (x1, y1, x2, y2), code, probabilities in zip(told.boxes_px.tolist(), told.classes, told.attributes, strict=True):
        values = [int(probabilities[group].argmax()) for group in LEUKEMIA_ATTRI.groups]
        cell = {"category_id": int(code), "category_name": LEUKEMIA_ATTRI.classes[code], "bbox": [x1, y1, x2 - x1, y2 - y1]}
        annotations.append({"id": len(annotations), "image_id": 0, **cell, **dict(zip(keys, values, strict=True))})
    categories = [{"id": i, "name": n} for i, n in enumerate(LEUKEMIA_ATTRI.classes)]
    (root / "json_labels/val.json").write_text(json.dumps({"images": images, "annotations": annotations, "categories": categories}))
    return root
