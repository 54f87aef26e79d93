"""A bundle scored on a folder: a perfect engine scores perfectly, and every way the folder can be wrong is named."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from datetime import datetime, timezone
from pathlib import Path

import cv2
import numpy as np
import PIL.Image
import pytest
from truthful import TruthfulGraphs, truthful_engine, write_split

from engines.bundle import Bundle
from engines.commands.evaluate_tables import tables
from engines.data.leukemiaattri import read_split
from engines.decode import AP_THRESHOLDS, Thresholds, candidates
from engines.errors import DataError
from engines.evaluation.average_precision import Judged
from engines.evaluation.folder import evaluate_folder, evaluate_pictures
from engines.evaluation.page import write_page
from engines.evaluation.picture import Example, PictureResult
from engines.evaluation.working_point import Blasts, BoxLimits
from engines.runtime.engine import BundleEngine
from engines.runtime.onnx import OnnxEngine
from engines.taxonomy import LEUKEMIA_ATTRI


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_split(tmp_path / "film")
    return tmp_path / "film"


def test_a_perfect_engine_scores_perfectly(bundle: Bundle, folder: Path) -> None:
    seen: list[tuple[int, int]] = []
    with BundleEngine(bundle, TruthfulGraphs(), "stand-in") as engine:
        result = evaluate_folder(engine, folder, "val", lambda done, total: seen.append((done, total)))
    assert seen == [(1, 3), (2, 3), (3, 3)]
    assert result.yolo.map5095 == pytest.approx(0.995) and result.coco.map5095 == pytest.approx(1)
    point = result.working_point
    assert (point.cells, point.detections, point.found, point.right_type) == (9, 9, 9, 9)
    assert result.blasts == Blasts(labelled=3, told=3, other=0, missed=0, others=6, confused=0, invented=0)
    assert result.blasts.sensitivity == result.blasts.youden == 1
    assert all(s.n == 6 and s.coverage == s.accuracy == s.f1 == s.ap == 1 for s in result.attributes.values())
    assert result.published.rows == 6 and result.published.mean_f1 == 1 and len(result.published.scores) == 6
    plain = result.to_dict()
    assert plain["data"] == {
        "name": "film",
        "split": "val",
        "images": 3,
        "frame": None,
        "cells": 9,
        "notes": [],
        "scored": "3 pictures",
        "pictures": 3,
        "used": 3,
        "regions_to_ignore": 0,
        "left_out": {},
        "passed": {},
        "labelled_in_part": {"pictures": 0, "share_of_ground": 1.0},
        "pixel_aspect": plain["data"]["pixel_aspect"],
    }
    assert [(one["undone"], one["origin"]) for one in plain["data"]["pixel_aspect"]] == [(1, "taken as 1")]
    assert [limit["pictures"] for limit in plain["detection"]["box_limits"].values() if limit] == [0, 0, 0, 0]
    assert plain["engine"]["digest"] == bundle.digest and plain["engine"]["runtime"] == "stand-in"
    assert set(plain["detection"]["classes"]) == {"None", "Myeloblast", "Lymphocyte"}
    json.dumps(plain, allow_nan=False)


def test_each_fault_costs_where_it_belongs(bundle: Bundle, folder: Path) -> None:
    with BundleEngine(bundle, TruthfulGraphs(misses=1, wrong_size=True), "stand-in") as engine:
        result = evaluate_folder(engine, folder, "val")
    point = result.working_point
    assert (point.found, point.right_type, point.detections) == (6, 6, 6)
    assert point.recall == pytest.approx(2 / 3) and point.precision == 1
    assert result.coco.map50 == pytest.approx(2 / 3)
    assert result.attributes["cell_size"].accuracy == 0 and result.attributes["cytoplasm"].accuracy == 1
    assert result.attributes["cytoplasm"].n == 3 and result.attributes["cytoplasm"].coverage == 0.5
    assert result.published.rows == 6  # the published rule takes the nearest box, however far


def test_labels_without_attributes_are_scored_without(bundle: Bundle, tmp_path: Path) -> None:
    write_split(tmp_path / "film", attributes=False)
    with BundleEngine(bundle, TruthfulGraphs(), "stand-in") as engine:
        result = evaluate_folder(engine, tmp_path / "film", "val")
    assert result.coco.map50 == pytest.approx(1)
    assert all(s.n == 0 and math.isnan(s.f1) for s in result.attributes.values())
    assert result.published.rows == 0
    plain = result.to_dict()["attributes"]
    assert plain["mean"]["f1"] is None and plain["published_rule"]["mean_f1"] is None


@pytest.mark.shared
def test_the_real_engine_is_scored_on_real_fields(bundle: Bundle, shared_data: Path, tmp_path: Path) -> None:
    source, root = shared_data / "lld_40x", tmp_path / "some"
    names = sorted(p.name for p in (source / "Images/val").iterdir())[:4]
    (root / "Images/val").mkdir(parents=True)
    (root / "json_labels").mkdir()
    (root / "json_labels/val.json").symlink_to(source / "json_labels/val.json")
    for name in names:
        (root / "Images/val" / name).symlink_to(source / "Images/val" / name)
    with OnnxEngine(bundle, threads=1) as engine:
        result = evaluate_folder(engine, root, "val")
        proposals = engine.propose(cv2.imread(str(root / "Images/val" / names[0])))
    assert result.images == 4 and 0 <= result.coco.map50 < 0.2  # its weights are random
    assert len(candidates(proposals.rows, AP_THRESHOLDS)) > 0
    assert set(result.median_ms) == {"preprocess", "detector"}


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        ("split", r"no Images/test; splits there: val"),
        ("folder", r"nowhere: no such folder"),
        ("labels", r"the split 'val' has no labelled cell"),
        ("picture", r"1\.png: cannot be decoded"),
    ],
)
def test_a_wrong_folder_is_named(bundle: Bundle, folder: Path, spoil: str, message: str) -> None:
    root, split = folder, "val"
    if spoil == "split":
        split = "test"
    elif spoil == "folder":
        root = folder / "nowhere"
    elif spoil == "labels":
        (folder / "json_labels/val.json").unlink()
    else:
        (folder / "Images/val/1.png").write_bytes(b"not a picture")
    with BundleEngine(bundle, TruthfulGraphs(), "stand-in") as engine, pytest.raises(DataError, match=message):
        evaluate_folder(engine, root, split)


def test_labels_that_state_attributes_of_cells_never_found_are_no_labels_without_attributes(tmp_path: Path) -> None:
    write_split(tmp_path / "film")
    with truthful_engine(TruthfulGraphs(misses=3)) as engine:
        result = evaluate_folder(engine, tmp_path / "film", "val", resamples=10)
    assert result.attributes_stated and result.attributes["cell_size"].coverage == 0 and result.working_point.found == 0
    assert result.to_dict()["attributes"]["mean"]["f1"] is None


def test_a_wrong_type_stands_in_the_confusion(tmp_path: Path) -> None:
    write_split(tmp_path / "film")
    with truthful_engine(TruthfulGraphs(wrong_type=True)) as engine:
        result = evaluate_folder(engine, tmp_path / "film", "val", resamples=0)
    assert result.confusion[1, 3] == result.confusion[0, 0] == result.confusion[7, 7] == 3 and result.confusion.sum() == 9
    assert result.attribute_confusions["cell_size"].tolist() == [[3, 0, 0], [0, 0, 0], [0, 0, 3]]
    assert result.wbc.coco.map50 == pytest.approx(1) and result.wbc_cells == 6 and result.working_point.right_type == 6
    assert (
        result.blasts == Blasts(labelled=3, told=0, other=3, missed=0, others=6, confused=0, invented=0) and result.blasts.youden == 0
    )


def test_blasts_are_one_group_and_no_type_but_theirs_counts() -> None:
    """Myeloblast and monoblast told for each other are told as blasts; an artefact or nothing told as one is not."""
    counts = np.zeros((15, 15), np.int64)
    names = LEUKEMIA_ATTRI.classes
    blast, other, none = names.index("Myeloblast"), names.index("Monoblast"), names.index("None")
    cell, background = names.index("Lymphocyte"), 14
    counts[blast, blast], counts[blast, other], counts[other, cell], counts[other, background] = 5, 2, 3, 4
    counts[cell, blast], counts[none, other], counts[background, blast], counts[cell, cell] = 6, 1, 2, 50
    blasts = Blasts.of(counts, LEUKEMIA_ATTRI)
    assert blasts == Blasts(labelled=14, told=7, other=3, missed=4, others=57, confused=7, invented=2) and blasts.sensitivity == 0.5
    assert blasts.youden == pytest.approx(0.5 - 7 / 57)
    assert blasts.words == (
        "Blasts and their equivalents, as one group: of 14 labelled, 7 are told as a blast, 3 as another type and 4 not found; "
        "of 57 others 7 are told as a blast, and 2 where nothing is. Youden's J is 0.38 (0 is chance)."
    )
    assert Blasts.of(np.zeros((15, 15), np.int64), LEUKEMIA_ATTRI).words == ""


def test_no_picture_at_all_is_said() -> None:
    with truthful_engine() as engine, pytest.raises(DataError, match="film/val: no picture"):
        evaluate_pictures(engine, [], "film", "val")


@pytest.mark.parametrize("misses", [0, 1])
def test_a_detection_in_a_region_to_ignore_is_neither_right_nor_wrong(tmp_path: Path, misses: int) -> None:
    """The lymphocyte is no label but a region: what is told there counts nowhere. A cell inside a region is a cell like any other."""
    write_split(tmp_path / "film")
    pictures = [
        replace(
            p,
            boxes_px=p.boxes_px[:2],
            classes=p.classes[:2],
            attributes=p.attributes[:2],
            ignored_px=np.array([[210, 10, 310, 90], [0, 0, 100, 100]], np.float32),
        )
        for p in read_split(tmp_path / "film", "val")
    ]
    with truthful_engine(TruthfulGraphs(misses=misses)) as engine:
        with_regions = evaluate_pictures(engine, pictures, "film", "val", resamples=10)
        without = evaluate_pictures(engine, [replace(p, ignored_px=p.ignored_px[:0]) for p in pictures], "film", "val", resamples=0)
    found = 6 - 3 * misses
    assert (with_regions.working_point.detections, without.working_point.detections) == (found, found + 3)
    assert with_regions.working_point.precision == 1 and with_regions.working_point.recall == found / 6
    assert with_regions.confusion[-1].sum() == 0 and without.confusion[-1].sum() == 3
    assert sum(film.told.sum() for film in with_regions.films) == (3 if not misses else 0)
    assert with_regions.wbc.coco.map50 == pytest.approx(0 if misses else 1)
    assert with_regions.intervals is not None and with_regions.intervals.each["precision"].value == 1


def test_a_limit_that_is_met_is_said_with_the_recall_that_it_leaves(tmp_path: Path) -> None:
    write_split(tmp_path / "film")
    with truthful_engine() as engine:
        engine.thresholds = replace(engine.thresholds, max_detections=2)
        result = evaluate_folder(engine, tmp_path / "film", "val", resamples=0)
        engine.thresholds = replace(engine.thresholds, max_detections=3)
        raised = evaluate_folder(engine, tmp_path / "film", "val", resamples=0)
    assert result.notes == (
        "3 pictures reached the limit of 2 boxes at the working point: recall can be at most 0.667. Raise the limit: --max-boxes.",
    )
    assert result.working_point.recall == pytest.approx(2 / 3) and raised.working_point.recall == 1 and raised.notes == ()
    assert result.to_dict()["detection"]["box_limits"]["working_point"] == {
        "boxes": 2, "pictures": 3, "recall_at_most": pytest.approx(2 / 3),
    }  # fmt: skip
    table = tables(result)[0]
    assert "3 pictures reached the limit of 2 boxes" in str(table.title)
    write_page(result, tmp_path / "page", datetime.now(timezone.utc))
    assert "recall can be at most 0.667" in (tmp_path / "page/index.html").read_text()


def test_the_limits_of_both_rules_are_said_and_rise_with_the_engines() -> None:
    """400 cells of two types on one picture, 140 on another: what the rules look at, and the recall that leaves."""
    boxes = np.zeros((540, 4), np.float32)
    results = []
    for cells, met in ((slice(0, 400), True), (slice(400, 540), False)):
        types = np.arange(540)[cells] % 2 + 1
        judged = Judged(boxes[:0], np.zeros(0, np.float32), np.zeros(0, np.int64), boxes[cells], types)
        shown = Example(judged.boxes_px, judged.scores, judged.classes, boxes[cells], types, path=Path("a.png"), partner=types * 0 - 1)
        none = np.zeros((0, 6), np.int64)
        results.append(PictureResult(judged, shown, none, np.zeros((0, 15), np.float32), none, none, {}, met))
    white = [replace(r.judged, truth_classes=r.judged.truth_classes * 0) for r in results]
    limits = BoxLimits.of(results, white, Thresholds())
    assert (limits.coco.boxes, limits.coco.pictures, limits.yolov5.boxes) == (100, 2, 300)
    assert limits.coco.recall_at_most == pytest.approx((100 + 100 + 140) / 540)
    assert limits.words == (
        "1 picture reached the limit of 300 boxes at the working point: recall can be at most 0.815. "
        "AP is over 300 boxes a picture: recall at most 0.815 there. "
        "COCO's rule looks at 100 boxes of a type and picture: recall at most 0.630 there (0.370 with all types as one). "
        "Raise the limit: --max-boxes."
    )
    unmet = [replace(r, limit_met=False) for r in results]
    assert BoxLimits.of(unmet, white, Thresholds(max_detections=500)).words == ""


def test_what_is_left_out_of_a_split_stands_before_its_scores(tmp_path: Path) -> None:
    write_split(tmp_path / "film")
    file = tmp_path / "film/json_labels/val.json"
    labels = json.loads(file.read_text())
    labels["images"] = labels["images"][1:]
    labels["annotations"] = [a for a in labels["annotations"] if a["image_id"]]
    file.write_text(json.dumps(labels))
    with truthful_engine() as engine:
        result = evaluate_folder(engine, tmp_path / "film", "val", resamples=0)
    words = "2 of 3 pictures; left out: 1 picture without label"
    assert f"scored: {words}" in str(tables(result)[0].title) and result.coco.map50 == pytest.approx(1)
    plain = result.to_dict()["data"]
    assert (plain["scored"], plain["used"], plain["left_out"]["image-unlabelled"]["count"]) == (words, 2, 1)
    write_page(result, tmp_path / "page", datetime.now(timezone.utc))
    assert words in (tmp_path / "page/index.html").read_text()


@pytest.mark.parametrize("misses", [0, 3])
def test_an_exif_turn_is_named_where_nothing_is_found(tmp_path: Path, misses: int) -> None:
    write_split(tmp_path / "film", names=["0.jpg", "1.jpg"])
    for path in (tmp_path / "film/Images/val").iterdir():
        with PIL.Image.open(path) as picture:
            exif = picture.getexif()
            exif[0x0112] = 3
            picture.save(path, exif=exif)
    with truthful_engine(TruthfulGraphs(misses=misses)) as engine:
        result = evaluate_folder(engine, tmp_path / "film", "val", resamples=0)
    words = "All 2 pictures bear an EXIF turn; labels are read in the turned picture; if the labelling program ignored it, strip it."
    assert result.notes == ((words,) if misses else ())


def test_a_bundle_made_for_squeezed_cells_says_so_on_round_ones(bundle: Bundle, folder: Path) -> None:
    with BundleEngine(bundle, TruthfulGraphs(), "stand-in") as engine:
        engine.pixel_aspect = 0.56
        seen = evaluate_folder(engine, folder, "val", resamples=0)
        as_they_are = evaluate_folder(engine, folder, "val", resamples=0, given_aspect=1)
    assert any("made for pixel aspect 0.56" in note for note in seen.notes)
    assert as_they_are.notes == () and as_they_are.to_dict()["engine"]["pixel_aspect"] == 0.56
