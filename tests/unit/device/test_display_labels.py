"""Where labels go and how much they say."""

from __future__ import annotations

import itertools

import gallery
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from device.display.labels import Plan, Tag, plan, plate_piece
from device.display.layout import Rect, Unit
from device.display.palette import type_styles
from device.display.placing import nearest, place
from device.display.told import score_words
from device.display.words import DOUBT_BELOW, attribute_phrases, most_telling, phrases_of_cells
from engines.taxonomy import LEUKEMIA_ATTRI, UNKNOWN, Attribute, Taxonomy

UNIT = Unit(1.0)
AREA = Rect(6, 6, 1354, 800)
PHRASES = attribute_phrases(gallery.probabilities([2, 0, 1, 1, 0, 1, 0]), LEUKEMIA_ATTRI)


def overlap(a: Rect, b: Rect) -> bool:
    return a.x0 < b.x1 and b.x0 < a.x1 and a.y0 < b.y1 and b.y0 < a.y1


@st.composite
def boxes(draw: st.DrawFn) -> list[Rect]:
    out = []
    for _ in range(draw(st.integers(0, 25))):
        x, y = draw(st.integers(0, 1340)), draw(st.integers(0, 790))
        out.append(Rect(x, y, x + draw(st.integers(4, 400)), y + draw(st.integers(4, 400))))
    return out


@settings(max_examples=40)
@given(boxes(), boxes(), st.lists(st.tuples(st.integers(30, 400), st.integers(30, 200)), min_size=1, max_size=3))
def test_places_never_overlap_and_lie_in_the_area(cells: list[Rect], others: list[Rect], sizes: list[tuple[int, int]]) -> None:
    placed = place((tuple(sizes),) * len(cells), tuple(cells), tuple(others), AREA, 8)
    kept = [p for p in placed.places if p is not None]
    for a, b in itertools.combinations(kept, 2):
        assert not overlap(a, b)
    for at, size in zip(placed.places, placed.chosen, strict=True):
        if at is not None:
            assert (at.width, at.height) == sizes[size]
            assert at.x0 >= AREA.x0
            assert at.y0 >= AREA.y0
            assert at.x1 <= AREA.x1
            assert at.y1 <= AREA.y1
    if placed.good:
        assert None not in placed.places


def test_a_lone_cell_has_its_label_at_its_side() -> None:
    box = Rect(500, 300, 600, 400)
    placed = place((((300, 120),),), (box,), (), AREA, 8)
    assert placed.good
    assert placed.places == (Rect(608, 300, 908, 420),)


def test_a_label_at_the_edge_is_moved_inside_and_leaves_its_cell_free() -> None:
    box = Rect(1250, 600, 1354, 800)
    placed = place((((300, 120),),), (box,), (), AREA, 8)
    (at,) = placed.places
    assert placed.good
    assert at is not None
    assert not overlap(at, box)


def test_a_label_covers_no_cell() -> None:
    box, neighbour = Rect(500, 300, 600, 400), Rect(610, 280, 760, 420)
    (at,) = place((((300, 120),),), (box,), (neighbour,), AREA, 8).places
    assert at is not None
    assert not overlap(at, neighbour)
    assert place((((300, 120),),), (box,), (Rect(0, 0, 1360, 800),), AREA, 8).places == (None,)  # rather none at all


@settings(max_examples=40)
@given(boxes(), boxes())
def test_labels_never_lie_on_cells_nor_on_each_other(cells: list[Rect], others: list[Rect]) -> None:
    placed = place((((90, 28), (33, 28)),) * len(cells), tuple(cells), tuple(others), AREA, 8)
    kept = [p for p in placed.places if p is not None]
    assert not any(overlap(at, cell) for at in kept for cell in (*cells, *others))
    assert not any(overlap(a, b) for a, b in itertools.combinations(kept, 2))


def test_the_smaller_size_is_taken_where_the_larger_has_no_room() -> None:
    area = Rect(0, 0, 400, 200)
    placed = place((((390, 190), (90, 40)),), (Rect(10, 10, 200, 190),), (), area, 8)
    assert placed.chosen == (1,)
    assert placed.good


def test_no_room_is_told() -> None:
    placed = place((((390, 190),),), (Rect(10, 10, 200, 190),), (), Rect(0, 0, 300, 150), 8)
    assert placed.places == (None,)
    assert not placed.good


@pytest.mark.parametrize(
    ("label", "box", "points"),
    [
        (Rect(100, 100, 200, 150), Rect(300, 120, 400, 220), ((199, 135), (300, 135))),
        (Rect(100, 100, 200, 150), Rect(20, 300, 60, 340), ((100, 149), (59, 300))),
        (Rect(100, 100, 200, 150), Rect(100, 20, 200, 60), ((150, 100), (150, 59))),
    ],
)
def test_the_line_joins_the_nearest_points(label: Rect, box: Rect, points: tuple[tuple[int, int], tuple[int, int]]) -> None:
    assert nearest(label, box) == points


def tags(n: int, cell_px: int = 100) -> tuple[Tag, ...]:
    styles = [s for s in type_styles(LEUKEMIA_ATTRI) if not s.artefact]
    out = []
    for i, (x0, y0, x1, y1) in enumerate(gallery.grid(n, (1340, 790), cell_px)):
        out.append(Tag(Rect(round(x0), round(y0), round(x1), round(y1)), styles[i % len(styles)]))
    return tuple(out)


def planned(some: tuple[Tag, ...]) -> Plan:
    return plan(some, (), AREA, UNIT)


@pytest.mark.parametrize(("n", "cell_px"), [(1, 220), (8, 110), (15, 110), (40, 50)])
def test_each_cell_has_its_sign_and_code_and_nothing_is_left_out(n: int, cell_px: int) -> None:
    out = planned(tags(n, cell_px))
    assert out.caption == ""
    assert None not in out.places
    assert not any(out.short)


def test_plates_of_15_cells_cover_at_most_8_per_cent_of_the_picture() -> None:
    some = tags(15, 110)
    out = planned(some)
    covered = sum(at.width * at.height for at in out.places if at is not None)
    assert covered <= 0.08 * 1360 * 765
    for tag, at, short in zip(some, out.places, out.short, strict=True):
        assert at is not None
        picture, x, y = plate_piece(tag, short, at, UNIT)
        assert (x, y, picture.shape[1], picture.shape[0]) == (at.x0, at.y0, at.width, at.height)


def test_cells_without_room_are_counted() -> None:
    some = tuple(Tag(Rect(100, 100, 160, 160), tags(1)[0].style) for _ in range(300))
    out = planned(some)
    missing = sum(p is None for p in out.places)
    assert missing > 0
    assert f"{missing} without signs" in out.caption


def test_where_a_code_has_no_room_the_sign_stands_alone() -> None:
    wide = Tag(Rect(100, 100, 1306, 760), tags(1)[0].style)
    out = plan((wide,), (Rect(0, 0, 60, 810), Rect(60, 0, 1360, 96), Rect(60, 770, 1360, 810)), AREA, UNIT)
    assert out.short == (True,)
    assert out.caption == "1 without its code"


def test_a_trembling_box_leaves_its_label_in_place() -> None:
    still = tags(4)
    moved = tuple(t._replace(box=Rect(t.box.x0 + 1, t.box.y0, t.box.x1 + 1, t.box.y1)) for t in still)
    same = sum(a == b for a, b in zip(planned(still).places, planned(moved).places, strict=True))
    assert same >= 2


def test_attributes_in_words() -> None:
    assert [p.words for p in PHRASES] == [
        "large cell",
        "open chromatin",
        "irregular nucleus",
        "prominent nucleolus",
        "scanty cytoplasm",
        "moderate basophilia",
        "no vacuoles",
    ]
    assert most_telling(PHRASES, 3) == ("open chromatin", "irregular nucleus", "prominent nucleolus")


def test_unknown_attributes_are_left_out_and_doubtful_ones_questioned() -> None:
    some = gallery.probabilities([UNKNOWN, 0, UNKNOWN, 1, UNKNOWN, UNKNOWN, UNKNOWN], sure=DOUBT_BELOW - 0.05)
    assert [p.words for p in attribute_phrases(some, LEUKEMIA_ATTRI)] == ["open chromatin?", "prominent nucleolus?"]
    assert attribute_phrases(np.full(LEUKEMIA_ATTRI.n_logits, np.nan, np.float32), LEUKEMIA_ATTRI) == ()


def test_all_cells_at_once_say_what_each_says() -> None:
    rng = np.random.default_rng(2)
    attributes = rng.random((40, LEUKEMIA_ATTRI.n_logits), np.float32)
    attributes[rng.random(attributes.shape) < 0.05] = np.nan
    at_once = phrases_of_cells(attributes, LEUKEMIA_ATTRI)
    for row, said in zip(attributes, at_once, strict=True):
        assert attribute_phrases(row, LEUKEMIA_ATTRI) == said
        values = [row[group] for group in LEUKEMIA_ATTRI.groups]
        words = [a.values[v.argmax()] for a, v in zip(LEUKEMIA_ATTRI.attributes, values, strict=True) if not np.isnan(v).any()]
        assert [p.words.split()[0].replace("no", "absent", p.words.startswith("no ")) for p in said] == words
        doubts = [bool(v.max() < DOUBT_BELOW) for v in values if not np.isnan(v).any()]
        assert [p.words.endswith("?") for p in said] == doubts
    assert phrases_of_cells(attributes[:0], LEUKEMIA_ATTRI) == ()


def test_attributes_of_another_taxonomy_are_in_its_own_words() -> None:
    taxonomy = Taxonomy(("A",), (Attribute("granules", "Granules", ("absent", "many")),))
    assert [p.words for p in attribute_phrases(np.array([0.1, 0.9], np.float32), taxonomy)] == ["many granules"]
    assert [p.words for p in attribute_phrases(np.array([0.9, 0.1], np.float32), taxonomy)] == ["no granules"]


@pytest.mark.parametrize(("score", "words"), [(0.0, "0.00"), (0.874, "0.87"), (0.9999, "0.99"), (1.0, "1.00")])
def test_a_score_is_never_rounded_up_to_certainty(score: float, words: str) -> None:
    assert score_words(score) == words
