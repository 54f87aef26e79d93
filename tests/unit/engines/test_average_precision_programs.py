"""The three rules of average precision against the programs that they are named after, on 200 random and adversarial sets of pictures.

What those programs said is frozen in tests/records/average_precision; its README says how it was made.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from engines.evaluation.average_precision import Judged
from engines.evaluation.detection import RULE_NAMES, ByRule, YoloResult

RECORD = Path(__file__).parents[2] / "records" / "average_precision" / "sets.npz"
PROGRAMS = {"coco": "pycocotools_ap", "yolov5": "yolov5_v7_ap", "ultralytics": "ultralytics_ap"}


@cache
def record() -> dict[str, np.ndarray]:
    with np.load(RECORD) as arrays:
        return dict(arrays)


def sets() -> Iterator[tuple[str, list[Judged], slice]]:
    """Each set's kind, its pictures, and the rows of its classes in the record."""
    r = record()
    found, cells, rows = (
        np.concatenate(([0], r[name].astype(int).cumsum())) for name in ("detections_of", "truths_of", "labelled_classes_of")
    )
    boxes, truths = (r[name].astype(np.float32) / 8 for name in ("boxes", "truth_boxes"))
    scores, codes, truth_codes = (
        (r["scores"].astype(np.float32) + 1) / 4097,
        r["classes"].astype(np.int64),
        r["truth_classes"].astype(np.int64),
    )
    picture = 0
    for number, (kind, pictures) in enumerate(zip(r["kinds"].tolist(), r["pictures_of"].tolist(), strict=True)):
        images = []
        for i in range(picture, picture + pictures):
            mine, its = slice(found[i], found[i + 1]), slice(cells[i], cells[i + 1])
            images.append(Judged(boxes[mine], scores[mine], codes[mine], truths[its], truth_codes[its]))
        picture += pictures
        yield f"set {number}, {kind}", images, slice(rows[number], rows[number + 1])


@cache
def ours() -> list[tuple[str, ByRule, slice]]:
    return [(name, ByRule.score(images), rows) for name, images, rows in sets()]


@pytest.mark.parametrize("rule", PROGRAMS)
def test_each_rule_is_the_program_that_it_is_named_after(rule: str) -> None:
    assert len(ours()) == 200 and set(PROGRAMS) == set(RULE_NAMES)
    for name, scores, rows in ours():
        ap = scores.each[rule]
        np.testing.assert_array_equal(ap.classes, record()["labelled_classes"][rows], err_msg=name)
        np.testing.assert_allclose(ap.ap, record()[PROGRAMS[rule]][rows], rtol=0, atol=1e-9, err_msg=name)


def test_precision_and_recall_are_those_of_yolov5_v7() -> None:
    for name, scores, rows in ours():
        assert isinstance(scores.yolo, YoloResult)
        np.testing.assert_allclose(scores.yolo.precision, record()["yolov5_v7_precision"][rows], rtol=0, atol=1e-9, err_msg=name)
        np.testing.assert_allclose(scores.yolo.recall, record()["yolov5_v7_recall"][rows], rtol=0, atol=1e-9, err_msg=name)


def test_the_sets_tell_the_rules_apart() -> None:
    """Were they alike on these sets, the tests above would prove nothing of the differences."""
    for one, other, sets_apart in (("coco", "yolov5", 150), ("coco", "ultralytics", 40), ("yolov5", "ultralytics", 150)):
        apart = [np.abs(scores.each[one].ap - scores.each[other].ap).max() for _, scores, _ in ours()]
        assert sum(d > 0.01 for d in apart) > sets_apart and max(apart) > 0.4, (one, other)
