"""Runtimes see the same on 50 real fields: the shipped float engine to a hair, its INT8 sister almost everywhere."""

from __future__ import annotations

import importlib.util
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from engines.bench.agreement import Agreement, agreement
from engines.detections import Detections, Image
from engines.runtime.factory import open_engine
from engines.runtime.openvino.library import suits_int8

FIELDS = (("bccd", 20), ("lld_40x", 20), ("pbc", 10))


@pytest.fixture(scope="module")
def fields(shared_data: Path) -> list[Image]:
    """50 pictures of three public sets, evenly taken from their side for tests."""
    chosen = []
    for name, count in FIELDS:
        paths = sorted((shared_data / name / "Images" / "val").iterdir())
        chosen += [paths[i * len(paths) // count] for i in range(count)]
    images = [cv2.imread(str(path)) for path in chosen]
    return [np.asarray(image, np.uint8) for image in images if image is not None]


def both(reference: str, images: list[Image]) -> tuple[list[Detections], list[Detections], float]:
    """What ONNX Runtime and OpenVINO say of them, and the threshold."""
    told = []
    for runtime in ("onnx", "openvino"):
        with open_engine(reference, runtime) as engine:
            told.append([engine.infer(image).detections for image in images])
            threshold = engine.thresholds.confidence
    return told[0], told[1], threshold


@pytest.mark.skipif(importlib.util.find_spec("openvino") is None, reason="needs the extra openvino")
def test_float_engines_agree_on_50_real_fields(fields: list[Image]) -> None:
    expected, found, threshold = both("zoo:attridet-n", fields)
    told = agreement(expected, found, threshold, margin=1e-3)
    assert len(fields) == 50 and told.boxes > 200
    assert told.share == 1
    assert told.corner_px < 0.1 and told.score < 1e-3
    for one, other in zip(expected, found, strict=True):
        if len(one) == len(other):
            np.testing.assert_allclose(other.attributes, one.attributes, atol=1e-3)


@pytest.mark.skipif(not suits_int8(), reason="needs the extra openvino, and a processor with VNNI")
def test_int8_engines_agree_on_50_real_fields(fields: list[Image]) -> None:
    """Rounding differs and spreads (docs/bundles.md), so it is almost everywhere and not everywhere; no box is left out."""
    expected, found, threshold = both("zoo:attridet-n-int8", fields)
    told = agreement(expected, found, threshold)
    assert len(fields) == 50 and told.boxes > 200
    assert told.share >= 0.98, told


def some(n: int = 4) -> Detections:
    corner = np.arange(n)[:, None] * np.array([50.0, 0.0])
    boxes = np.concatenate((corner, corner + 30), 1).astype(np.float32)
    return Detections(boxes, np.linspace(0.9, 0.3, n, dtype=np.float32), np.arange(n), np.zeros((n, 15), np.float32))


def test_agreement_counts_boxes_of_both() -> None:
    a = some()
    assert agreement([a], [a], 0.25) == Agreement(8, 8, 0.0, 0.0)
    assert agreement([a], [a.select(np.arange(3))], 0.25) == Agreement(7, 6, 0.0, 0.0)
    assert agreement([a], [a.select(np.arange(3))], 0.25, margin=0.06) == Agreement(6, 6, 0.0, 0.0)  # 0.3 may be lost
    assert agreement([a.select(np.arange(1, 4))], [a], 0.25, margin=0.06).share == pytest.approx(6 / 7)
    turned = replace(a, classes=a.classes[::-1])
    assert agreement([a], [turned], 0.25).matched == 0
    near, far = (replace(a, boxes_px=a.boxes_px + np.float32(shift)) for shift in (0.5, 2.0))
    assert agreement([a], [near], 0.25).share == 1 and agreement([a], [near], 0.25).corner_px == pytest.approx(0.5)
    assert agreement([a], [far], 0.25).matched == 0
    assert agreement([some(0)], [some(0)], 0.25).share == 1
    assert agreement([a], [replace(a, scores=a.scores * np.float32(np.nan), classes=a.classes + 1)], 0.25).share == 0


def test_a_box_is_nobodys_equal_twice() -> None:
    a = some(1)
    double = a.select(np.array([0, 0]))
    assert agreement([double], [a], 0.25) == Agreement(3, 2, 0.0, 0.0)
