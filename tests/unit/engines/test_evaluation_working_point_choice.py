"""The working point by stated costs: the confidence of least cost counted by hand, and the bundle that is written with it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from commands import attridet
from looking_bundles import random_layer, with_layer
from told import told_split

from engines.bundle import Bundle, write_bundle
from engines.detections import Image
from engines.evaluation.average_precision import Judged
from engines.evaluation.looks import DETECTOR, Look, detector_names
from engines.evaluation.picture import Example, PictureResult
from engines.evaluation.told import ToldCounts
from engines.evaluation.working_point_choice import Costs, choose_confidence
from engines.manifest import parse_manifest
from engines.runtime.factory import open_engine
from engines.taxonomy import LEUKEMIA_ATTRI

MYELOBLAST, NEUTROPHIL = 1, 3


def seen(cells: list[tuple[float, int, int]]) -> PictureResult:
    """A picture of boxes side by side. cells: score, type told, class labelled (-1: nothing there)."""
    corner = 60.0 * np.arange(len(cells))
    boxes = np.stack((corner, corner * 0, corner + 40, corner * 0 + 40), 1).astype(np.float32)
    on = [i for i, (_, _, label) in enumerate(cells) if label >= 0]
    scores = np.zeros((len(cells), 14), np.float32)
    for row, (score, kind, _) in zip(scores, cells, strict=True):
        row[kind] = score
    truth = np.array([cells[i][2] for i in on], np.int64)
    told = scores.max(1), scores.argmax(1)
    shown = Example(boxes, *told, boxes[on], truth, path=Path("a.png"), partner=np.array(on, np.int64))
    names = detector_names(scores, LEUKEMIA_ATTRI, 0.01)
    look = Look(names, shown.partner, truth, np.full((len(on), 7), -1), np.full((len(cells), 15), np.nan, np.float32))
    none = np.zeros((0, 6), np.int64)
    judged = Judged(boxes, *told, boxes[on], truth)
    return PictureResult(judged, shown, look.truth_attributes, np.zeros((0, 15), np.float32), none, none, {}, looks={DETECTOR: look})


def test_the_confidence_is_the_cheapest_and_lies_in_the_middle() -> None:
    """A blast at .295 and a neutrophil at .50 are right; .205 and .10 lie on nothing: cheapest from .21 to .29."""
    result = seen([(0.5, NEUTROPHIL, NEUTROPHIL), (0.295, MYELOBLAST, MYELOBLAST), (0.205, NEUTROPHIL, -1), (0.1, NEUTROPHIL, -1)])
    confidence, counts = choose_confidence([result], DETECTOR, Costs(5, 1), LEUKEMIA_ATTRI)
    assert confidence == 0.25 and (counts.blasts_told, counts.invented, counts.named_right) == (1, 0, 2)


def test_a_dear_blast_takes_cells_on_nothing_with_it() -> None:
    """The blast lies below three boxes on nothing: worth it at a cost of 5, not at 2."""
    cells = [(0.5, NEUTROPHIL, NEUTROPHIL), *[(score, NEUTROPHIL, -1) for score in (0.4, 0.38, 0.36)], (0.3, MYELOBLAST, MYELOBLAST)]
    dear, cheap = (choose_confidence([seen(cells)], DETECTOR, Costs(blast, 1), LEUKEMIA_ATTRI) for blast in (5, 2))
    assert dear[0] < 0.3 and dear[1].blasts_told == 1 and dear[1].invented == 3
    assert 0.4 <= cheap[0] < 0.5 and cheap[1].blasts_told == 0 and cheap[1].invented == 0


def test_what_each_answer_costs() -> None:
    counts = replace(
        ToldCounts(), white=10, found=7, dropped=1, blasts=4, blasts_told=1, blasts_other=1, blasts_unsure=0, others_told_blast=2
    )
    counts = replace(counts, named_invented=3, grouped_invented=1, unsure_invented=1)
    # Of 4 blasts 3 are not told (2 of them lost); of 4 lost cells 2 are others; 2 told as a blast; 5 on nothing.
    assert Costs(5, 2).of(counts) == 5 * 3 + 2 * 2 + 2 + 5


@pytest.mark.parametrize("named", [False, True])
def test_the_bundle_bears_what_was_chosen_and_where(bundle: Bundle, frame: Image, tmp_path: Path, named: bool) -> None:
    film = told_split(tmp_path / "film", bundle, frame)
    source = with_layer(bundle, tmp_path / "named", random_layer(bundle)) if named else bundle
    called = attridet("working-point", source.path, tmp_path / "out", "--data", film, "--blast-cost", 3, "--threads", 1)
    assert called.code == 0 and "chosen on film/val" in called.out, called.err
    made = Bundle.open(tmp_path / "out")
    chosen = made.manifest.working_point
    assert chosen is not None and (chosen.data, chosen.split, chosen.images, chosen.blast_cost) == ("film", "val", 1, 3)
    assert made.manifest.thresholds.confidence == chosen.confidence and made.manifest.thresholds.iou == source.manifest.thresholds.iou
    assert parse_manifest(made.manifest.to_json(), "m").working_point == chosen and made.manifest.schema_version == 3
    with open_engine(made.path, threads=1) as engine:  # its golden picture is answered as stored
        assert engine.info.score_threshold == chosen.confidence
        assert (engine.naming is not None) is named
        if engine.naming is not None:
            assert engine.naming.card["working_point"]["data"] == "film" and chosen.naming is not None
            assert engine.naming.thresholds.blast == chosen.naming["blast"]
    again = attridet("working-point", source.path, tmp_path / "out", "--data", film)
    assert again.code == 2 and "exists already" in again.err


def test_what_proves_nothing_is_refused(bundle: Bundle, frame: Image, tmp_path: Path) -> None:
    film = told_split(tmp_path / "film", bundle, frame)
    labels = film / "json_labels/val.json"
    for kind, name, words in (
        (MYELOBLAST, "Myeloblast", "no white cell that is no blast"),
        (NEUTROPHIL, "Neutrophil", "no blast is labelled"),
    ):
        text = labels.read_text()
        for code, other in enumerate(LEUKEMIA_ATTRI.classes):
            text = text.replace(
                f'"category_id": {code}, "category_name": "{other}"', f'"category_id": {kind}, "category_name": "{name}"'
            )
        labels.write_text(text)
        called = attridet("working-point", bundle.path, tmp_path / "out", "--data", film)
        assert called.code == 2 and words in called.err
    int8 = write_bundle(
        tmp_path / "int8", bundle.manifest.model_copy(update={"precision": "int8"}), {n: bundle.path / n for n in bundle.manifest.files}
    )
    called = attridet("working-point", int8.path, tmp_path / "out", "--data", film)
    assert called.code == 2 and "Choose on the float bundle" in called.err and not (tmp_path / "out").exists()
