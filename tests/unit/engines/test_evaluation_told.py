"""What is told of the cells: every kind of answer counted by hand, foreign film, calibration, intervals, whole frames."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from truthful import BOXES, TruthfulGraphs, truthful_engine, write_split

from engines.detections import CellNames, Detections, Image
from engines.errors import DataError
from engines.evaluation.calibration import Reliability, area_under_curve
from engines.evaluation.folder import evaluate_folder
from engines.evaluation.frame import WholeFrame, lay
from engines.evaluation.intervals import Interval
from engines.evaluation.look_scores import score_look
from engines.evaluation.looks import DETECTOR, SECOND_LOOK, Look, detector_names
from engines.evaluation.shares import clustered_interval, effective_total, t_quantile, youden_interval
from engines.evaluation.told import Told, ToldCounts, told_rows
from engines.intervals import exact_limits
from engines.runtime.engine import NetworkEngine
from engines.taxonomy import LEUKEMIA_ATTRI

NONE, MYELOBLAST, LYMPHOBLAST, NEUTROPHIL, LYMPHOCYTE = 0, 1, 2, 3, 7


def look_of(told: list[tuple[int, str, int]], missed: tuple[int, ...] = (), distance: float = 0.0) -> Look:
    """told: of each box its type (-1: none), its group and the labelled class (-1: nothing). missed: classes that no box found."""
    probabilities = np.full((len(told), 14), 0.02, np.float32)
    for row, (kind, group, _) in zip(probabilities, told, strict=True):
        row[kind if kind >= 0 else LYMPHOBLAST if group == "blasts" else NEUTROPHIL] = 0.74
    names = CellNames(
        probabilities,
        np.array([kind for kind, _, _ in told], np.int64),
        tuple(group for _, group, _ in told),
        np.full(len(told), distance, np.float32),
    )
    on = [(place, label) for place, (_, _, label) in enumerate(told) if label >= 0]
    partner = np.array([place for place, _ in on] + [-1] * len(missed), np.int64)
    truth = np.array([label for _, label in on] + list(missed), np.int64)
    return Look(names, partner, truth, np.full((len(truth), 7), -1, np.int64), np.full((len(told), 15), np.nan, np.float32))


EVERY_KIND = [
    (MYELOBLAST, "blasts", MYELOBLAST),  # named right
    (LYMPHOBLAST, "blasts", MYELOBLAST),  # named wrong, group right
    (NEUTROPHIL, "others", MYELOBLAST),  # named wrong, a blast told as another cell
    (LYMPHOCYTE, "others", NONE),  # named on an artefact
    (NEUTROPHIL, "others", -1),  # invented
    (-1, "blasts", LYMPHOBLAST),  # group right
    (-1, "blasts", LYMPHOCYTE),  # group wrong: another cell told as a blast
    (-1, "blasts", -1),  # invented, a blast
    (-1, "", LYMPHOBLAST),  # unidentified
    (-1, "", -1),  # unidentified where nothing is
    (NONE, "", NEUTROPHIL),  # dropped
    (NONE, "", -1),  # rightly nothing
]


def test_every_kind_of_answer_is_counted_once() -> None:
    counts = ToldCounts.of(look_of(EVERY_KIND, missed=(MYELOBLAST, LYMPHOCYTE)), LEUKEMIA_ATTRI)
    expected = {"named_right": 1, "named_wrong": 3, "named_invented": 1, "grouped_right": 1, "grouped_wrong": 1, "grouped_invented": 1}
    expected |= {"unidentified": 1, "unsure_invented": 1, "dropped": 1, "white": 9, "found": 7}
    expected |= {"blasts": 6, "blasts_told": 3, "blasts_other": 1, "blasts_unsure": 1, "blasts_lost": 1}
    expected |= {"others": 3, "others_told_blast": 1, "invented_blasts": 1, "group_right": 3, "told_white": 10, "told_blasts": 5}
    assert {name: getattr(counts, name) for name in expected} == expected
    assert (counts.named, counts.grouped, counts.told, counts.invented) == (5, 3, 8, 3)


def scored(looks: list[Look], films: list[str], resamples: int = 0) -> Told:
    return score_look(looks, SECOND_LOOK, "by hand", films, films, True, LEUKEMIA_ATTRI, resamples, 0)


def test_shares_are_the_ratios_of_the_counts() -> None:
    told = scored([look_of(EVERY_KIND, missed=(MYELOBLAST, LYMPHOCYTE))], ["4"])
    assert told.sensitivity == 3 / 6 and told.specificity == 1 - 1 / 3 and told.youden == pytest.approx(1 / 6)
    assert told.share("named_right") == 1 / 5 and told.share("grouped_right") == 1 / 3 and told.share("told_right") == 2 / 8
    assert told.share("told_right_on_cells") == 2 / 6 and told.share("group_right") == 3 / 6 and told.share("invented") == 3 / 9
    (film,) = told.films
    assert film.blast_percent == (pytest.approx(100 * 6 / 9), 50) and told.blast_percent_off == pytest.approx(100 / 6)
    assert film.inside and film.blast_interval == (pytest.approx(18.7, abs=0.05), pytest.approx(81.3, abs=0.05))  # 5 of 10
    assert "6 blasts 3 are told as a blast, 1 as another white cell, 1 are unidentified and 1 lost" in told.words


def test_on_a_foreign_film_groups_alone_are_told() -> None:
    cells = [(NEUTROPHIL, "others", NEUTROPHIL)] * 30
    known, foreign = look_of(cells, distance=0.9), look_of(cells, distance=1.1)
    told = scored([known, foreign], ["1", "2"])
    assert told.foreign == (1, 2) and (told.counts.named_right, told.counts.grouped_right) == (30, 30)
    assert [film.likeness.verdict for film in told.films] == ["known", "unlike"]
    few = scored([look_of(cells[:29], distance=1.1)], ["1"])
    assert few.foreign == (0, 0) and few.counts.named_right == 29


def test_area_under_the_curve_counts_pairs() -> None:
    scores, positive = np.array([0.9, 0.5, 0.5, 0.1]), np.array([True, True, False, False])
    assert area_under_curve(scores, positive)[0] == (3 + 0.5) / 4
    twice = np.array([[1.0, 1, 1, 1], [0, 1, 1, 0], [1, 0, 0, 1], [1, 1, 0, 0]])
    assert area_under_curve(scores, positive, twice).tolist()[:3] == [0.875, 0.5, 1.0]
    assert math.isnan(area_under_curve(scores, positive, twice)[3])


def test_calibration_error_is_the_mean_distance_of_the_bins() -> None:
    """Four cells said 0.95, of which two are right; two said 0.25, of which one is: (4 x .45 + 2 x .25) / 6."""
    one = Reliability.of(np.array([0.95] * 4 + [0.25] * 2), np.array([True, True, False, False, True, False]))
    assert one.error == pytest.approx((4 * 0.45 + 2 * 0.25) / 6) and one.cells[[2, 9]].tolist() == [2, 4]
    assert Reliability.of(np.array([1.0, 0.0]), np.array([True, False])).error == 0
    assert math.isnan(Reliability.of(np.zeros(0), np.zeros(0, bool)).error)


def test_exact_limits_are_those_of_the_tables() -> None:
    assert exact_limits(0.3, 10) == (pytest.approx(0.0667, abs=5e-5), pytest.approx(0.6525, abs=5e-5))
    assert exact_limits(0, 20) == (0, pytest.approx(1 - 0.025 ** (1 / 20))) and exact_limits(1, 15)[0] == pytest.approx(
        0.025 ** (1 / 15)
    )
    assert t_quantile(1) == pytest.approx(12.7062, abs=1e-4) and t_quantile(9) == pytest.approx(2.26216, abs=1e-5)


def test_clusters_are_worth_fewer_cells_than_they_hold() -> None:
    alike, apart = np.full(12, 5.0), np.array([10.0, 0.0] * 6)
    totals = np.full(12, 10.0)
    narrow, wide = clustered_interval(alike, totals), clustered_interval(apart, totals)
    assert narrow[0] > exact_limits(0.5, 84)[0] and wide == exact_limits(0.5, effective_total(apart, totals))
    # between = 12 / 11 x 12 x 25 / 120^2, worth .25 / between, times (t_119 / t_11)^2
    assert effective_total(apart, totals) == pytest.approx(0.25 / (12 / 11 * 300 / 14400) * (t_quantile(119) / t_quantile(11)) ** 2)
    two = clustered_interval(np.array([90.0, 70.0]), np.array([100.0, 100.0]))
    assert two[0] < 0.2 and two[1] > 0.99  # two patients say hardly anything of a third
    assert clustered_interval(np.array([9.0]), np.array([10.0])) == exact_limits(0.9, 10)
    assert all(math.isnan(limit) for limit in clustered_interval(np.zeros(2), np.zeros(2)))


def test_limits_of_youden_come_from_those_of_both_shares() -> None:
    low, high = youden_interval(0.8, (0.6, 0.9), 0.1, (0.05, 0.3))
    assert low == pytest.approx(0.7 - math.hypot(0.2, 0.2)) and high == pytest.approx(0.7 + math.hypot(0.1, 0.05))
    told = scored([look_of(EVERY_KIND), look_of(EVERY_KIND[:6])], ["1", "2"], resamples=50)
    assert isinstance(told.intervals["youden"], Interval) and told.intervals["youden"].method == "exact"
    assert told.intervals["youden"].low <= told.youden <= told.intervals["youden"].high
    assert told.intervals["auc"].method == "halves" and "Only 2 patients" in told.caution


def test_the_detector_names_from_the_threshold_on() -> None:
    scores = np.zeros((4, 14), np.float32)
    scores[0, MYELOBLAST], scores[1, MYELOBLAST], scores[2, NONE], scores[3, NEUTROPHIL] = 0.4, 0.39, 0.1, 0.9
    names = detector_names(scores, LEUKEMIA_ATTRI)
    assert names.types.tolist() == [MYELOBLAST, -1, NONE, NEUTROPHIL] and names.groups == ("blasts", "", "", "others")
    assert detector_names(scores, LEUKEMIA_ATTRI, 0.3).types.tolist() == [MYELOBLAST, MYELOBLAST, NONE, NEUTROPHIL]


class Named(NetworkEngine):
    """The truthful engine with a second look that tells every white cell as a blast of uncertain kind, and sees where each box lies."""

    seen: list[tuple[tuple[int, ...], list[float]]]

    def name_cells(self, image: Image, found: Detections, um_per_px: float | None = None) -> Detections:
        self.seen.append((image.shape, found.boxes_px[0].tolist()))
        n = len(found)
        probabilities = np.zeros((n, 14), np.float32)
        probabilities[:, LYMPHOBLAST], probabilities[:, NEUTROPHIL] = 0.6, 0.4
        names = CellNames(probabilities, np.full(n, -1, np.int64), ("blasts",) * n, np.full(n, 0.5, np.float32))
        return replace(found, names=names, attributes=np.full((n, 15), 0.5, np.float32))


def named_engine() -> Named:
    plain = truthful_engine(TruthfulGraphs())
    engine = Named(plain.graphs, plain.info, True, plain.thresholds)
    engine.seen = []
    return engine


def test_both_looks_are_scored_beside_each_other(tmp_path: Path) -> None:
    write_split(tmp_path / "film", names=["1_1_1000_ALL.png", "2_1_1000_ALL.png"])
    with named_engine() as engine:
        result = evaluate_folder(engine, tmp_path / "film", "val", resamples=20)
    detector, second = result.told
    assert (detector.look, second.look) == (DETECTOR, SECOND_LOOK) and result.appliance is second
    assert (detector.youden, detector.share("named_right")) == (1, 1)
    assert (second.sensitivity, second.specificity, second.youden) == (1, 0, 0) and second.share("grouped_right") == 2 / 6
    assert second.auc == 0.5 and second.types.error == pytest.approx(0.6) and second.blasts.error == pytest.approx(0.1)
    assert "second look" in result.median_ms
    words = dict(told_rows(result.told))
    assert words["Cells named, told as a group, unidentified"] == [("4, 0, 0", "", ""), ("0, 6, 0", "", "")]
    plain = json.loads(json.dumps(result.to_dict()))["told"]
    assert [one["blasts"]["youden"] for one in plain] == [1, 0] and plain[1]["calibration"]["types"]["cells"] == 4


def test_a_picture_in_a_whole_frame_gives_boxes_of_the_picture(tmp_path: Path) -> None:
    """The truthful graphs tell fixed boxes of a 320 px input: in a frame three times as wide these are other places of the picture."""
    write_split(tmp_path / "film")
    with named_engine() as engine:
        whole = evaluate_folder(engine, tmp_path / "film", "val", resamples=0, frame=WholeFrame(960, 720))
        plain = evaluate_folder(engine, tmp_path / "film", "val", resamples=0)
    assert plain.working_point.found == 9 and plain.frame is None and whole.to_dict()["data"]["frame"] == [960, 720]
    assert engine.seen[0] == ((720, 960, 3), [3 * x for x in BOXES[1]])  # the second look cuts from the frame, in its px
    # The picture's corner lies at 320, 240 of the frame; box 2 is 120..200, 100..180 of the input, so 40..280, 60..300 of the picture.
    assert [40, 60, 280, 240] in whole.examples[0].boxes_px.tolist() and len(whole.examples[0].boxes_px) == 1


def test_laying_a_picture_shrinks_only_what_is_too_large() -> None:
    image = np.full((240, 320, 3), 7, np.uint8)
    out, laid = lay(image, WholeFrame(960, 720))
    assert out.shape == (720, 960, 3) and (laid.ratio, laid.left, laid.top) == (1, 320, 240) and (out[240:480, 320:640] == 7).all()
    assert (out[:240] == 114).all()
    small, shrunk = lay(image, WholeFrame(160, 160))
    assert shrunk.ratio == 0.5 and small.shape == (160, 160, 3) and (small[20 + 10, 50] == 7).all()
    assert shrunk.to_picture(np.array([[10, 30, 60, 50]], np.float32)).tolist() == [[20, 20, 120, 60]]
    assert lay(image, None)[0] is image
    with pytest.raises(DataError, match="such as 1920x1080"):
        WholeFrame.parse("1080p")
