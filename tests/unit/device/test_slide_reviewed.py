"""What a person said goes before the engine's word; what is no white cell is told apart; the rules of counting."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from device.slide.description import describe
from device.slide.model import Cell, ReviewState, SlideState
from device.slide.tally import ReviewedDifferential, differences, differential, reviewed, tally
from engines.taxonomy import LEUKEMIA_ATTRI, Taxonomy
from tests.support.review import cell, slide


def test_the_persons_word_goes_before_the_engines() -> None:
    cells = [replace(cell("Lymphocyte"), verdict="Myeloblast"), replace(cell(""), verdict="blasts"), cell("Lymphocyte")]
    counted = differential(cells, LEUKEMIA_ATTRI)
    assert (counted.count("Myeloblast"), counted.count("Lymphocyte"), counted.blasts, counted.unidentified) == (1, 1, 2, 0)


def test_on_a_foreign_film_a_persons_type_stands() -> None:
    of = replace(slide(("Lymphocyte", "Lymphocyte")), foreign=True)
    named = replace(of, fields=(replace(of.fields[0], cells=(replace(of.cells[0], verdict="Monocyte"), of.cells[1])),))
    counted = tally(named, LEUKEMIA_ATTRI)
    assert (counted.count("Monocyte"), counted.count("Lymphocyte"), counted.count("Other white cell, kind uncertain")) == (1, 0, 1)


def said(*words: str) -> ReviewedDifferential:
    of = slide(("Lymphocyte",) * len(words))
    cells = tuple(replace(one, verdict=word) for one, word in zip(of.cells, words, strict=True))
    return reviewed(replace(of, fields=(replace(of.fields[0], cells=cells),)), LEUKEMIA_ATTRI)


def test_what_is_no_white_cell_is_told_for_100_white_cells_and_is_in_no_per_cent() -> None:
    counted = said(*["Lymphocyte"] * 45, *["Myeloblast"] * 5, *["nrbc"] * 3, *["smudge"] * 10, "artefact", "None", "not_classed")
    assert (counted.white_cells, counted.artefacts, counted.not_classed) == (50, 2, 1)
    assert {row.key: (row.count, row.per_100) for row in counted.apart} == {
        "nrbc": (3, 6.0),
        "smudge": (10, 20.0),
        "artefact": (2, 4.0),
        "not_classed": (1, 2.0),
    }
    assert sum(row.percent for row in counted.rows) == pytest.approx(100)
    assert counted.blast_percent == 10


@pytest.mark.parametrize(("nrbc", "white", "note"), [(4, 100, False), (5, 100, True), (10, 200, True), (9, 200, False), (3, 0, False)])
def test_from_5_nucleated_red_cells_per_100_the_white_count_needs_correcting(nrbc: int, white: int, note: bool) -> None:
    assert said(*["Lymphocyte"] * white, *["nrbc"] * nrbc).correct_white_count == note


def test_blasts_and_equivalents_are_told_together_and_apart() -> None:
    kinds = ["Myeloblast", "Lymphoblast", "Monoblast", "Promonocyte", "Abnormal promyelocyte", "blasts", "blasts"]
    counted = said(*kinds, *["Neutrophil"] * 13)
    together = (counted.blasts, counted.blasts_proper, counted.blast_equivalents, counted.blasts_uncertain)
    assert together == (7, 3, 2, 2)


@pytest.mark.parametrize(
    ("blasts", "white", "undecided"),
    [(5, 100, (5.0,)), (20, 100, (20.0,)), (0, 200, ()), (0, 50, (5.0,)), (60, 100, ()), (2, 10, (5.0, 20.0)), (0, 0, (5.0, 20.0))],
)
def test_counting_on_is_advised_where_the_interval_spans_what_decides(blasts: int, white: int, undecided: tuple[float, ...]) -> None:
    assert said(*["Myeloblast"] * blasts, *["Neutrophil"] * (white - blasts)).undecided_percents == undecided


def test_a_slide_that_nobody_reviewed_counts_as_before() -> None:
    of = slide(("Myeloblast", "None", "", "others", "Neutrophil", "blasts"))
    counted, plain = reviewed(of, LEUKEMIA_ATTRI), tally(of, LEUKEMIA_ATTRI)
    assert {name: getattr(counted, name) for name in vars(plain)} == vars(plain)
    assert [(row.key, row.count) for row in counted.apart] == [("nrbc", 0), ("smudge", 0), ("artefact", 1), ("not_classed", 0)]


def test_a_taxonomy_without_an_artefact_still_has_what_a_person_says_apart() -> None:
    own = Taxonomy(("Cell", "Blast"), LEUKEMIA_ATTRI.attributes, artefact="", blasts=("Blast",))
    cells = [Cell(0, 0.9, True, (0, 0, 9, 9), np.zeros(15, np.float32), verdict=word) for word in ("nrbc", "artefact", "Blast", "")]
    counted = differential(cells, own)
    assert (counted.white_cells, counted.blasts, counted.unidentified, counted.artefacts) == (2, 1, 0, 1)


def test_two_readers_differ_beyond_chance_only_outside_both_intervals() -> None:
    first = said(*["Myeloblast"] * 10, *["Neutrophil"] * 190)
    assert [one.beyond for one in differences(first, said(*["Myeloblast"] * 14, *["Neutrophil"] * 186))] == [False, False]
    assert [one.beyond for one in differences(first, said(*["Myeloblast"] * 40, *["Neutrophil"] * 160))] == [True, True]
    assert [one.name for one in differences(first, said(*["Neutrophil"] * 100))] == ["Myeloblast", "Neutrophil"]


def test_a_signed_slide_is_described_with_what_stands_apart() -> None:
    of = slide(("Lymphocyte",) * 203)
    words = [*["Myeloblast"] * 10, *["nrbc"] * 10, *["smudge"] * 5, *["artefact"] * 3, *["Lymphocyte"] * 175]
    cells = tuple(replace(one, verdict=word) for one, word in zip(of.cells, words, strict=True))
    of = replace(of, fields=(replace(of.fields[0], cells=cells),))
    signed = replace(of, state=SlideState.SIGNED, review_state=ReviewState.REVIEWED, revision=1)
    said = describe(signed, reviewed(signed, LEUKEMIA_ATTRI), LEUKEMIA_ATTRI)
    assert "Not in the per cents, and in brackets for 100 white blood cells: nucleated red cell 10 (5.4), smudge cell 5 (2.7)." in said
    assert "An analyser's white cell count needs correcting for nucleated red cells: WBC x 100 / (100 + 5.4)." in said
    assert "The 95 % range of the blasts spans 5 %: counting on would tell more." in said
    assert "Left out of the count: 3 artefacts (stain, debris)." in said
    before = describe(of, reviewed(of, LEUKEMIA_ATTRI), LEUKEMIA_ATTRI)
    assert "Left out of the count: 3 artefacts (smudged cells, stain)." in before
    assert not any("WBC" in sentence or "counting on" in sentence for sentence in before)
