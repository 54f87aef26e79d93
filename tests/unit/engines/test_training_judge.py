"""Judging while training: pictures of any shape, together, with the scores that each would have alone; and what a run leaves behind."""

from __future__ import annotations

import copy
import csv
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np
import pytest
import torch

from engines.data.augment import Sample
from engines.decode import AP_THRESHOLDS, candidates
from engines.evaluation.average_precision import Judged
from engines.evaluation.detection import yolo_ap
from engines.preprocess import prepare
from engines.training.judge import FolderJudge, judge_samples
from engines.training.record import ATTRIBUTE_LOSS, LOSSES, Record, panel_of, read

if TYPE_CHECKING:
    from engines.network import AttriDet


def fields(model: AttriDet) -> list[Sample]:
    """Fields of several shapes whose labels are what the network says of them, so that it is right."""
    rng = np.random.default_rng(4)
    samples = []
    for hw in ((96, 128), (128, 96), (96, 96), (64, 200), (96, 128), (120, 160)):
        image = rng.integers(120, 220, (*hw, 3)).astype(np.uint8)
        for _ in range(4):
            centre = (int(rng.integers(hw[1])), int(rng.integers(hw[0])))
            cv2.circle(image, centre, int(rng.integers(8, 20)), tuple(int(v) for v in rng.integers(20, 120, 3)), -1)
        blank = Sample(image, np.zeros((0, 4), np.float32), np.zeros((0, 8), np.int64))
        (one,) = judge_samples(model, [blank], 128, scale_up=True)
        cells = one.shown.select(np.arange(len(one.shown)) < 3)
        labels = np.concatenate([cells.classes[:, None], np.ones((len(cells), 7), np.int64)], axis=1)
        samples.append(Sample(image, cells.boxes_px, labels))
    return samples


def test_pictures_judged_together_are_judged_as_alone(model: AttriDet) -> None:
    # In float64: in float32 some processors' convolutions round otherwise for one picture than for two, and this network of random
    # weights makes hundredths of a pixel of it.
    model = copy.deepcopy(model).double()
    samples = fields(model)
    together = judge_samples(model, samples, 128, scale_up=True)
    for sample, one in zip(samples, together, strict=True):
        (alone,) = judge_samples(model, [sample], 128, scale_up=True)
        assert len(one.shown) == len(alone.shown) > 0
        np.testing.assert_array_equal(one.shown.classes, alone.shown.classes)
        np.testing.assert_allclose(one.shown.boxes_px, alone.shown.boxes_px, rtol=0, atol=1e-4)
        np.testing.assert_array_equal(one.partner, np.arange(len(sample.boxes)))  # each cell is found, by its own box
        # A region lies elsewhere on a larger canvas, where float32 rounds its corners otherwise.
        np.testing.assert_allclose(one.attributes, alone.attributes, atol=1e-4)
        assert np.isfinite(one.attributes).all()
        assert one.judged.truth_boxes_px is sample.boxes


def test_square_pictures_are_judged_as_an_engine_prepares_and_scores_them(model: AttriDet) -> None:
    samples = [Sample(s.image[:64, :64].copy(), s.boxes, s.labels) for s in fields(model)]
    expected = []
    for sample in samples:
        pixels, geometry = prepare(sample.image, (128, 128), True)
        with torch.no_grad():
            rows = model.decode(model.forward_train(torch.from_numpy(pixels))[0])[0].numpy()
        found = candidates(rows, AP_THRESHOLDS)
        boxes = geometry.to_frame(found.boxes_px)
        expected.append(Judged(boxes, found.scores, found.classes, sample.boxes, sample.labels[:, 0]))
    ap = yolo_ap(expected)
    far = [Sample(s.image, s.boxes + np.float32(500), s.labels) for s in samples]
    scores = FolderJudge({"near": samples, "far": far}, 128, scale_up=True)(model, 1)
    assert 0 < ap.map50 < 1
    assert (scores["near_map50"], scores["near_map"]) == pytest.approx((ap.map50, ap.map5095), abs=1e-6)
    assert (scores["far_map50"], scores["far_map"]) == (0.0, 0.0)
    assert scores["fitness"] == pytest.approx(0.05 * ap.map50 + 0.45 * ap.map5095)
    assert np.isnan(scores["far_attr_f1"])


def test_a_small_picture_is_enlarged_only_where_asked(model: AttriDet) -> None:
    sample = fields(model)[2]
    (kept,) = judge_samples(model, [sample], 320, scale_up=False)
    (enlarged,) = judge_samples(model, [sample], 320, scale_up=True)
    assert not np.array_equal(kept.judged.boxes_px[:5], enlarged.judged.boxes_px[:5])
    for one in (kept, enlarged):
        assert one.judged.boxes_px.max() <= 96


HISTORY = [
    {
        "epoch": 1,
        "box": 0.1,
        "attr": 2.0,
        "pbc_map50": 0.4,
        "pbc_map": 0.2,
        "pbc_attr_f1": float("nan"),
        "fitness": 0.22,
        "seconds": 3.5,
    },
    {"epoch": 2, "box": 0.08, "attr": 1.5, "pbc_map50": 0.5, "pbc_map": 0.3, "pbc_attr_f1": 0.6, "fitness": 0.32, "seconds": 3.25},
]


def test_the_table_is_written_whole_after_each_epoch(tmp_path: Path) -> None:
    record = Record(tmp_path, pictures=False)
    record.write(HISTORY[:1], last=False)
    record.write([HISTORY[0], {**HISTORY[1], "target": 0.5}], last=True)  # another column from there on
    with (tmp_path / "results.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert rows[0]["target"] == "" and rows[1]["target"] == "0.5" and rows[1]["pbc_map50"] == "0.5"
    assert read(tmp_path)[1] == {**HISTORY[1], "target": 0.5}
    assert read(tmp_path / "nowhere") == []
    assert [p.name for p in tmp_path.iterdir()] == ["results.csv"]


def test_curves_are_drawn_at_the_first_and_the_last_epoch_and_not_all_the_time(tmp_path: Path) -> None:
    record = Record(tmp_path, pictures=True)
    record.write(HISTORY[:1], last=False)
    first = (tmp_path / "results.png").read_bytes()
    record.write(HISTORY, last=False)  # right after the first: drawing again would cost more than the epoch
    assert (tmp_path / "results.png").read_bytes() == first
    record.write(HISTORY, last=True)
    record.close()
    image = cv2.imread(str(tmp_path / "results.png"))
    assert image is not None and min(image.shape[:2]) > 300
    assert (tmp_path / "results.png").read_bytes() != first


def test_columns_are_drawn_where_they_belong() -> None:
    assert [panel_of(name) for name in ("box", "target", "attr", "epoch")] == [LOSSES, LOSSES, ATTRIBUTE_LOSS, "run"]
    assert len({panel_of(name) for name in ("pbc_map50", "pbc_map", "pbc_attr_f1")}) == 3


def test_tensorboard_gets_every_number_where_it_is_installed(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard", reason="TensorBoard is not installed; the training does without it")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    record = Record(tmp_path, pictures=True)
    for last in (1, 2):
        record.write(HISTORY[:last], last=last == 2)
    record.close()
    events = EventAccumulator(str(tmp_path / "tensorboard"))
    events.Reload()
    assert [(e.step, round(e.value, 3)) for e in events.Scalars(f"{LOSSES}/box")] == [(1, 0.1), (2, 0.08)]
