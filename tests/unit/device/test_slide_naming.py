"""What the second look says, as cells, counts and words: types, groups, foreign films, and what a zero leaves open."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timezone

import numpy as np
import pytest

from device.slide.cells import is_foreign, read_cells
from device.slide.description import describe
from device.slide.doubt import FOREIGN, UNKNOWN_SENSITIVITY, limit_words
from device.slide.model import Cell, Field, Slide
from device.slide.tally import differential, tally
from engines.detections import CellNames, Detections
from engines.naming import NamingInfo
from engines.taxonomy import LEUKEMIA_ATTRI as TAXONOMY

NOW = datetime(2026, 11, 30, 9, 0, tzinfo=timezone.utc)
LAYER = NamingInfo("open", "1", "ab" * 32, said="Of blasts on films like this it told 88 of 100.")
ARTEFACT, MYELOBLAST, NEUTROPHIL = (TAXONOMY.classes.index(name) for name in ("None", "Myeloblast", "Neutrophil"))


def detections(*cells: tuple[dict[str, float], int, str, float]) -> Detections:
    """Cells as (probabilities by name, told type or -1, group, distance); the detector itself saw basophils at .9."""
    shares = np.zeros((len(cells), len(TAXONOMY.classes)), np.float32)
    for row, (given, *_) in zip(shares, cells, strict=True):
        for name, share in given.items():
            row[TAXONOMY.classes.index(name)] = share
    names = CellNames(shares, np.array([c[1] for c in cells]), tuple(c[2] for c in cells), np.array([c[3] for c in cells], np.float32))
    count = len(cells)
    boxes = np.tile(np.array([10, 10, 60, 60], np.float32), (count, 1))
    attributes = np.full((count, TAXONOMY.n_logits), np.nan, np.float32)
    return Detections(boxes, np.full(count, 0.9, np.float32), shares.argmax(1), attributes, names=names)


SURE = ({"Myeloblast": 0.8, "Monoblast": 0.1, "Neutrophil": 0.1}, MYELOBLAST, "blasts", 0.5)
BLAST = ({"Myeloblast": 0.4, "Lymphoblast": 0.5, "Neutrophil": 0.1}, -1, "blasts", 0.6)
OTHER = ({"Neutrophil": 0.5, "Monocyte": 0.45, "Myeloblast": 0.05}, -1, "others", 0.7)
UNEVEN = ({"Lymphocyte": 0.4, "Myeloblast": 0.3, "Lymphoblast": 0.3}, -1, "blasts", 0.6)
NEITHER = ({"None": 0.45, "Myeloblast": 0.25, "Neutrophil": 0.3}, -1, "", 0.8)
NOTHING = ({"None": 0.9, "Neutrophil": 0.1}, ARTEFACT, "", 0.9)


def slide_of(*cells: Cell, foreign: bool | None = None) -> Slide:
    return Slide("s", NOW, fields=(Field(1, NOW, "t", (99, 99), 1.0, cells),), foreign=foreign)


def test_cells_bear_what_was_told() -> None:
    cells = read_cells(detections(SURE, BLAST, OTHER, NEITHER, NOTHING), TAXONOMY, 0.4)
    assert [(c.class_index, c.identified, c.group) for c in cells] == [
        (MYELOBLAST, True, "blasts"),
        (TAXONOMY.classes.index("Lymphoblast"), False, "blasts"),
        (NEUTROPHIL, False, "others"),
        (NEUTROPHIL, False, ""),  # most like the artefact, yet told as a white cell
        (ARTEFACT, True, ""),
    ]
    (uneven,) = read_cells(detections(UNEVEN), TAXONOMY, 0.4)
    assert TAXONOMY.is_blast(uneven.class_index) and uneven.probability == pytest.approx(0.3)  # most like, within the group told
    assert [c.probability for c in cells] == pytest.approx([0.8, 0.5, 0.5, 0.3, 0.9])
    assert [c.blast_probability for c in cells] == pytest.approx([0.9, 0.9, 0.05, 0.25, 0])
    assert [c.distance for c in cells] == pytest.approx([0.5, 0.6, 0.7, 0.8, 0.9])
    assert [c.told() for c in cells[:4]] == [MYELOBLAST, "blasts", "others", ""]
    assert [c.told(groups_only=True) for c in cells[:4]] == ["blasts", "blasts", "others", ""]


def test_without_a_second_look_the_score_decides_as_ever() -> None:
    found = replace(detections(SURE, BLAST), names=None, scores=np.array([0.9, 0.3], np.float32))
    first, second = read_cells(found, TAXONOMY, 0.4)
    assert (first.told(), second.told()) == (MYELOBLAST, "")
    assert (first.group, first.probability, first.blast_probability, first.distance) == ("", None, None, None)


def test_groups_are_counted_and_the_blast_group_is_a_blast() -> None:
    cells = read_cells(detections(SURE, SURE, BLAST, OTHER, NEITHER, NOTHING), TAXONOMY, 0.4)
    counted = tally(slide_of(*cells), TAXONOMY)
    assert {row.name: row.count for row in counted.rows if row.count} == {
        "Myeloblast": 2,
        "Blast or equivalent, kind uncertain": 1,
        "Other white cell, kind uncertain": 1,
    }
    assert (counted.white_cells, counted.unidentified, counted.artefacts, counted.blasts) == (5, 1, 1, 3)
    assert counted.blast_percent == 60
    assert counted.blast_range == pytest.approx((14.66, 94.73), abs=0.01)  # Clopper and Pearson, 3 of 5


def test_a_foreign_film_is_counted_by_groups_only() -> None:
    cells = read_cells(detections(SURE, BLAST, OTHER, NOTHING), TAXONOMY, 0.4)
    first_look = replace(cells[0], group="", probability=None, distance=None)
    slide = slide_of(*cells, first_look, foreign=True)
    counted = tally(slide, TAXONOMY)
    assert {row.told: row.count for row in counted.rows if row.count} == {"blasts": 2, "others": 1}
    assert (counted.unidentified, counted.artefacts) == (1, 1)
    words = describe(slide, counted, TAXONOMY, LAYER)
    assert words[0] == FOREIGN and "review all cells" in FOREIGN
    assert "50 % are blasts or equivalents of uncertain kind" in words[2] and "yeloblast" not in " ".join(words)


def test_the_first_thirty_white_cells_decide_whether_a_film_is_foreign() -> None:
    near, far, smudge = read_cells(
        detections((SURE[0], MYELOBLAST, "blasts", 0.9), (SURE[0], MYELOBLAST, "blasts", 1.4), (NOTHING[0], ARTEFACT, "", 3.0)),
        TAXONOMY,
        0.4,
    )
    assert is_foreign([far] * 29, TAXONOMY) is None
    assert is_foreign([*[far] * 29, *[smudge] * 9], TAXONOMY) is None
    assert is_foreign([*[smudge] * 9, *[far] * 30, *[near] * 400], TAXONOMY) is True
    assert is_foreign([*[near] * 30, *[far] * 400], TAXONOMY) is False
    assert is_foreign([replace(near, distance=0.0)] * 40, TAXONOMY) is None  # a layer without references cannot tell
    assert is_foreign([replace(near, distance=None)] * 40, TAXONOMY) is None


def test_a_zero_stands_with_its_limit_and_the_sensitivity() -> None:
    sure = ({"Neutrophil": 0.9, "Monocyte": 0.1}, NEUTROPHIL, "others", 0.1)
    cells = read_cells(detections(*[sure] * 100, *[NEITHER] * 50), TAXONOMY, 0.4)
    counted = differential(cells, TAXONOMY)
    assert counted.blast_range == (0, pytest.approx(2.951, abs=1e-3))  # of the 100 told; the 50 others may be anything
    words = describe(slide_of(*cells), counted, TAXONOMY, LAYER)
    at = next(i for i, sentence in enumerate(words) if "none were identified" in sentence)
    assert words[at].endswith("that does not exclude them: of 100 cells told, up to 3.0 % may be blasts unseen.")
    assert words[at + 1] == LAYER.said
    assert UNKNOWN_SENSITIVITY in describe(slide_of(*cells), counted, TAXONOMY)
    nobody = read_cells(detections(NEITHER), TAXONOMY, 0.4)
    assert "any share is possible" in " ".join(describe(slide_of(*nobody), differential(nobody, TAXONOMY), TAXONOMY, LAYER))


@pytest.mark.parametrize(("percent", "words"), [(2.91, "3.0 %"), (0.3, "0.3 %"), (0.301, "0.4 %"), (25.9, "26 %"), (95, "95 %")])
def test_a_limit_is_never_rounded_down(percent: float, words: str) -> None:
    assert limit_words(percent) == words
