"""The gate's judgement: the same network passes, every kind of damage fails by its own limit, and what proves nothing is refused."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from truthful import TruthfulGraphs, truthful_engine, write_split

from engines.bundle import GOLDEN_ANSWER, Bundle, golden_answer, write_bundle
from engines.data.leukemiaattri import LabelledImage, read_split
from engines.decode import Thresholds
from engines.detections import CellNames, Detections, Float32, Image
from engines.errors import BundleError, DataError
from engines.evaluation.folder import evaluate_pictures
from engines.evaluation.pairs import Agreement, Kind, corner_shift_px, worst
from engines.gate.losses import Losses, floor_faults
from engines.gate.measure import GateResult, compare, compare_engines, map_points, measure
from engines.gate.words import verdict
from engines.manifest import GateFloors, GateLimits, ReferenceScores, parse_manifest
from engines.runtime.engine import BundleEngine, NetworkEngine
from engines.taxonomy import LEUKEMIA_ATTRI, Attribute

WIDE = GateLimits(map_points=100, f1_points=100, youden_points=100, shift_px=100)


class Damaged(TruthfulGraphs):
    """Graphs with one fault: boxes moved by some px, a wrong type on the largest cell, or a NaN in the output that `nan` names."""

    def __init__(self, misses: int = 0, moved_px: float = 0, nan: str = "", wrong_size: bool = False, wrong_type: bool = False) -> None:
        super().__init__(misses, wrong_size, wrong_type)
        self._moved_px, self._nan = moved_px, nan

    def detect(self, picture: Image, confidence: float = 0.0) -> Float32:
        rows = super().detect(picture, confidence)
        rows[:, 0] += self._moved_px
        column = {"box": 2, "objectness": 4, "class": 9}.get(self._nan)
        if column is not None:
            rows[3, column] = np.nan  # a row of background
        return rows

    def describe(self, rois: Float32) -> Float32:
        out = super().describe(rois)
        if self._nan == "attribute":
            out[0, 3] = np.nan
        return out


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> list[LabelledImage]:
    root = tmp_path_factory.mktemp("data") / "film"
    write_split(root)
    return read_split(root, "val")


def judged(
    pictures: Sequence[LabelledImage],
    candidate: TruthfulGraphs,
    limits: GateLimits | None = None,
    reference: TruthfulGraphs | None = None,
) -> GateResult:
    with truthful_engine(reference) as one, truthful_engine(candidate, name="candidate") as other:
        return compare_engines(one, other, pictures, "film", "val", limits)


def test_the_same_network_passes(pictures: list[LabelledImage]) -> None:
    done: list[tuple[int, int]] = []
    with truthful_engine() as one, truthful_engine() as other:
        result = compare_engines(one, other, pictures, "film", "val", progress=lambda *counts: done.append(counts))
    assert result.passed and result.faults == () and done == [(i, 6) for i in range(1, 7)]
    assert (result.map_loss_points, result.f1_loss_points, result.shift_px) == (0, 0, 0)
    assert result.reference.map_points == pytest.approx(100) and result.candidate.f1_points == pytest.approx(100)
    agreement = result.agreement
    assert (agreement.reference_boxes, agreement.paired, agreement.same_type) == (9, 9, 9) and agreement.paired_share == 1
    assert worst(agreement) == []


@pytest.mark.parametrize(
    ("damage", "limit", "words"),
    [
        (Damaged(moved_px=2), {"shift_px": 1.5}, "paired boxes move by 2.00 px (median), 1.5 allowed"),
        (Damaged(wrong_type=True), {"map_points": 1}, "mAP50-95 (COCO) falls by 33.33 points, 1 allowed"),
        (Damaged(misses=1), {"map_points": 1}, "mAP50-95 (COCO) falls by 33.33 points, 1 allowed"),
        (Damaged(wrong_type=True), {"youden_points": 2}, "Youden's J of blasts falls by 100.00 points, 2 allowed"),
        (Damaged(wrong_size=True), {"f1_points": 1}, "mean attribute F1 falls by 14.29 points, 1 allowed"),
    ],
    ids=["moved", "type", "missed", "blasts", "attribute"],
)
def test_each_damage_fails_by_its_own_limit_and_no_other(
    pictures: list[LabelledImage], damage: Damaged, limit: dict[str, float], words: str
) -> None:
    result = judged(pictures, damage, WIDE.model_copy(update=limit))
    assert result.faults == (words,) and not result.passed
    assert judged(pictures, damage, WIDE).passed


def test_damage_within_the_limits_passes_and_just_beyond_them_fails(pictures: list[LabelledImage]) -> None:
    damage = Damaged(moved_px=0.5)
    assert judged(pictures, damage, GateLimits(map_points=0, f1_points=0, shift_px=0.5)).passed
    assert not judged(pictures, damage, GateLimits(map_points=0, f1_points=0, shift_px=0.49)).passed


def test_a_gain_passes(pictures: list[LabelledImage]) -> None:
    result = judged(pictures, Damaged(), GateLimits(map_points=0, f1_points=0, shift_px=0), reference=Damaged(misses=1))
    assert result.passed and result.map_loss_points == pytest.approx(-100 / 3)
    assert [d.kind for d in worst(result.agreement)] == [Kind.INVENTED] * 3


@pytest.mark.parametrize("nan", ["box", "objectness", "class", "attribute"])
def test_what_is_no_number_fails_anywhere(pictures: list[LabelledImage], nan: str) -> None:
    result = judged(pictures, Damaged(nan=nan), WIDE)
    assert not result.passed and "0.png and 2 more holds what is no number" in result.fault
    with pytest.raises(BundleError, match="the reference is broken"):
        judged(pictures, Damaged(), WIDE, reference=Damaged(nan=nan))


def test_an_engine_that_finds_nothing_fails_whatever_the_limits(pictures: list[LabelledImage]) -> None:
    result = judged(pictures, Damaged(misses=3), WIDE)
    assert result.faults == ("no box of the two engines could be paired",) and np.isnan(result.shift_px)
    assert result.f1_loss_points == pytest.approx(100)
    with pytest.raises(DataError, match="the reference finds no cell there"):
        judged(pictures, Damaged(), WIDE, reference=Damaged(misses=3))


def test_what_the_manifest_keeps(bundle: Bundle, pictures: list[LabelledImage]) -> None:
    result = judged(pictures, Damaged(wrong_size=True))
    record = result.record()
    assert not record.passed and record.fault == "mean attribute F1 falls by 14.29 points, 1 allowed"
    assert (record.images, record.cells, record.data, record.split, record.runtime) == (3, 9, "film", "val", "stand-in")
    assert record.f1_loss_points == pytest.approx(100 / 7) and record.reference == truthful_engine().info.digest
    manifest = bundle.manifest.model_copy(update={"precision": "int8", "gate": record})
    assert parse_manifest(manifest.to_json(), "manifest.json").gate == record
    assert manifest.gate_fault == "did not pass its gate: mean attribute F1 falls by 14.29 points, 1 allowed"
    assert manifest.model_copy(update={"gate": judged(pictures, Damaged()).record()}).gate_fault is None


def test_a_reference_below_its_floors_never_gives_green(pictures: list[LabelledImage]) -> None:
    """Of three cells a picture (a blast, an artefact, a lymphocyte) this one finds two, the blast not among them."""
    result = judged(pictures, Damaged(misses=1), reference=Damaged(misses=1))
    assert result.passed and result.level == "amber"
    assert result.cautions == (
        "tells no blast as a blast (at least 50 % asked)",
        "has a Youden's J of 0.00 for blasts (at least 0.3 asked; 0 is chance)",
    )
    words = verdict(result)
    assert words.startswith("Passes against its reference; the reference tells no blast as a blast") and "Passed" not in words
    record = result.record()
    assert record.passed and record.caution == "; ".join(result.cautions) and record.precision == "fp32"
    assert record.reference_scores == ReferenceScores(found=6 / 9, sensitivity=0.0, youden=0.0)
    assert judged(pictures, Damaged()).level == "green" and judged(pictures, Damaged(misses=1)).level == "red"


def test_a_floor_that_could_not_be_tried_is_not_reached() -> None:
    scores = ReferenceScores(found=0.22, sensitivity=None, youden=None)
    faults = floor_faults(scores, GateFloors())
    assert faults == ("finds 22 % of the cells (at least 50 % asked)", "was not tried on blasts: none is labelled there")
    assert floor_faults(ReferenceScores(found=0.5, sensitivity=0.5, youden=0.3), GateFloors()) == ()
    assert len(floor_faults(ReferenceScores(found=0.49, sensitivity=0.49, youden=0.29), GateFloors())) == 3


class Named(NetworkEngine):
    """An engine whose second look tells every cell as a blast of uncertain kind, or none of them."""

    told = "blasts"

    def name_cells(self, image: Image, found: Detections, um_per_px: float | None = None) -> Detections:
        n = len(found)
        types = np.full(n, -1, np.int64)
        return replace(found, names=CellNames(np.full((n, 14), 1 / 14, np.float32), types, (self.told,) * n, np.zeros(n, np.float32)))


def test_where_cells_are_named_at_a_second_look_the_gate_judges_those_names(pictures: list[LabelledImage]) -> None:
    """The detector tells every blast; a second look that calls all cells blasts has a J of 0, one that calls none no sensitivity."""
    measured = []
    for told in ("blasts", "others"):
        plain = truthful_engine()
        engine = Named(plain.graphs, plain.info, True, plain.thresholds)
        engine.told = told
        with engine:
            measured.append(measure(engine, pictures, "film", "val"))
    assert [one.scores.sensitivity for one in measured] == [1, 0] and [one.youden_points for one in measured] == [0, 0]
    assert measured[0].evaluation.blasts.youden == 1
    assert compare(*measured).cautions == ("has a Youden's J of 0.00 for blasts (at least 0.3 asked; 0 is chance)",)


def test_the_worst_loss_is_the_one_that_uses_up_most_of_its_limit() -> None:
    limits = GateLimits(map_points=1, f1_points=2, youden_points=2)
    assert Losses(0.5, 0.6, 3.0).worst(limits) == ("youden_points", 1.5)
    assert Losses(0.5, 0.6, float("nan")).worst(limits) == ("map_points", 0.5)
    assert Losses(-1.0, 0.6, -2.0).worst(limits) == ("f1_points", 0.3)
    assert Losses(0.1, 0.6, 0.0).worst(limits.model_copy(update={"map_points": 0.0})) == ("map_points", pytest.approx(10))


def test_a_record_from_before_the_floors_is_read_and_covers_its_runtime(bundle: Bundle, pictures: list[LabelledImage]) -> None:
    new = judged(pictures, Damaged()).record()
    assert new.covers("stand-in 2", "fp32") and not new.covers("stand-in", "int8") and not new.covers("openvino", "fp32")
    on_board = new.model_copy(update={"runtime": "TensorRT 10.3.0 on Orin (sm_87)"})
    assert on_board.covers("tensorrt", "fp32") and not on_board.covers("tensorrt_rtx", "fp32")
    manifest = json.loads(bundle.manifest.model_copy(update={"precision": "int8", "gate": new}).to_json())
    for key in ("caution", "precision", "youden_loss_points", "floors", "reference_scores"):
        del manifest["gate"][key]
    del manifest["gate"]["limits"]["youden_points"]
    old = parse_manifest(json.dumps(manifest), "manifest.json")
    assert old.gate is not None and old.gate.floors is None and old.gate.youden_loss_points is None
    assert old.gate_fault is None and old.gate_caution == "" and old.gate.covers("stand-in", "int8")


def test_one_reference_serves_many_candidates(pictures: list[LabelledImage]) -> None:
    with truthful_engine() as one:
        reference = measure(one, pictures, "film", "val")
    for damage, passed in ((Damaged(), True), (Damaged(misses=1), False)):
        with truthful_engine(damage) as other:
            assert compare(reference, measure(other, pictures, "film", "val")).passed is passed


def test_the_detector_alone_scores_as_in_an_evaluation(pictures: list[LabelledImage]) -> None:
    done: list[tuple[int, int]] = []
    with truthful_engine(Damaged(misses=1, moved_px=3)) as engine:
        alone = map_points(engine, pictures, lambda *counts: done.append(counts))
        whole = evaluate_pictures(engine, pictures, "film", "val", resamples=0)
    assert alone == pytest.approx(100 * whole.coco.map5095) and 0 < alone < 70 and done[-1] == (3, 3)


@pytest.fixture
def truthful_bundle(bundle: Bundle, tmp_path: Path) -> Bundle:
    """The bundle with the answer of `TruthfulGraphs` to its golden picture."""
    golden = bundle.golden()
    assert golden is not None
    with BundleEngine(bundle, TruthfulGraphs(), "stand-in") as engine:
        answer = golden_answer(engine.infer(golden[0]).detections)
    files = {name: bundle.path / name for name in bundle.manifest.files}
    return write_bundle(tmp_path / "truthful", bundle.manifest, {**files, GOLDEN_ANSWER: answer})


def test_the_golden_picture_is_part_of_it(bundle: Bundle, truthful_bundle: Bundle, pictures: list[LabelledImage]) -> None:
    def between(reference: Bundle, candidate: Bundle, graphs: TruthfulGraphs) -> GateResult:
        with BundleEngine(reference, TruthfulGraphs(), "stand-in") as one, BundleEngine(candidate, graphs, "stand-in") as other:
            return compare_engines(one, other, pictures, "film", "val", WIDE)

    assert between(truthful_bundle, truthful_bundle, Damaged(moved_px=0.5)).passed  # within the manifest's tolerance of 1 px
    moved = between(truthful_bundle, truthful_bundle, Damaged(moved_px=4))
    assert len(moved.faults) == 1 and moved.fault.startswith("the golden picture is not answered as stored: ")
    with pytest.raises(BundleError, match="the reference is broken"):
        between(bundle, truthful_bundle, Damaged())


def changed(engine: NetworkEngine, **info: object) -> NetworkEngine:
    engine.info = replace(engine.info, **info)  # type: ignore[arg-type]  # each test gives the field its type
    return engine


def test_engines_that_cannot_be_compared_are_refused_by_what_differs(pictures: list[LabelledImage]) -> None:
    fewer = replace(LEUKEMIA_ATTRI, attributes=(*LEUKEMIA_ATTRI.attributes[:-1], Attribute("vacuoles", "Vacuoles", ("no", "yes"))))
    other = truthful_engine()
    other.thresholds = Thresholds(confidence=0.3)
    for reference, candidate, words in (
        (changed(truthful_engine(), precision="int8"), truthful_engine(), "is int8, and a reference is fp32"),
        (truthful_engine(), changed(truthful_engine(), precision="int8"), "says int8, but its detector is the reference's own"),
        (truthful_engine(), changed(truthful_engine(), taxonomy=fewer), "another taxonomy than truthful"),
        (truthful_engine(), changed(truthful_engine(), input_hw=(640, 640)), r"another input.*\(640, 640\).*\(320, 320\)"),
        (truthful_engine(), other, r"another thresholds.*confidence=0\.3.*confidence=0\.25"),
    ):
        with reference, candidate, pytest.raises(BundleError, match=words):
            compare_engines(reference, candidate, pictures, "film", "val")


def test_a_bundle_that_is_the_reference_under_another_name_is_no_int8(truthful_bundle: Bundle, pictures: list[LabelledImage]) -> None:
    files = {name: truthful_bundle.path / name for name in truthful_bundle.manifest.files}
    claim = write_bundle(
        truthful_bundle.path.with_name("claim"), truthful_bundle.manifest.model_copy(update={"precision": "int8"}), files
    )
    with BundleEngine(truthful_bundle, TruthfulGraphs(), "s") as one, BundleEngine(claim, TruthfulGraphs(), "s") as other:
        assert one.info.digest != other.info.digest
        with pytest.raises(BundleError, match="its detector is the reference's own"):
            compare_engines(one, other, pictures, "film", "val")


def test_pictures_that_prove_nothing_are_refused(pictures: list[LabelledImage], tmp_path: Path) -> None:
    write_split(tmp_path / "bare", attributes=False)
    bare = read_split(tmp_path / "bare", "val")
    empty = [replace(p, boxes_px=p.boxes_px[:0], classes=p.classes[:0], attributes=p.attributes[:0]) for p in pictures]
    for given, words in (
        (bare, "no label states an attribute.*Name a set whose labels do"),
        (empty, "no labelled cell"),
        ([], "no lab"),
    ):
        with truthful_engine() as one, truthful_engine() as other, pytest.raises(DataError, match=words):
            compare_engines(one, other, given, "bare", "val")


def test_a_shift_is_that_of_the_corner_that_moved_most() -> None:
    boxes = np.array([[10, 10, 50, 50], [0, 0, 5, 5]], np.float32)
    moved = np.array([[13, 10, 50, 54], [0, 0, 5, 5]], np.float32)
    assert corner_shift_px(boxes, moved).tolist() == [5, 0]
    assert corner_shift_px(boxes[:0], moved[:0]).tolist() == []


def test_the_worst_disagreements_come_first_and_no_cell_twice(pictures: list[LabelledImage]) -> None:
    result = judged(pictures, Damaged(wrong_type=True, moved_px=3), WIDE)
    shown = worst(result.agreement, each=2)
    assert [d.kind for d in shown] == [Kind.TYPE] * 2 + [Kind.SHIFT] * 2  # scores are the same
    assert all(d.amount == pytest.approx(3) for d in shown[2:])
    assert len({(d.pairs.told.path, d.reference, d.candidate) for d in shown}) == 4
    lost = worst(judged(pictures, Damaged(misses=1), WIDE).agreement)
    assert [d.kind for d in lost] == [Kind.LOST] * 3 and all(d.candidate is None for d in lost)
    with pytest.raises(ValueError, match="two pictures"):
        examples = result.reference.evaluation.examples
        Agreement.of(examples[:1], examples[1:2])
