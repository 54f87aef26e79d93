"""Where labels go and how much they say."""

from __future__ import annotations

import itertools

import gallery
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from device.display.labels import Plan, Tag, join, plan, score_words
from device.display.layout import Rect, Unit
from device.display.palette import type_styles
from device.display.placing import nearest, place
from device.display.words import DOUBT_BELOW, Phrase, attribute_phrases, most_telling, phrases_of_cells
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


def test_a_label_does_not_cover_another_cell_if_it_can_help_it() -> None:
    box, neighbour = Rect(500, 300, 600, 400), Rect(610, 280, 760, 420)
    (at,) = place((((300, 120),),), (box,), (neighbour,), AREA, 8).places
    assert at is not None
    assert not overlap(at, neighbour)


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


def tags(n: int, cell_px: int = 100, phrases: tuple[Phrase, ...] = PHRASES) -> tuple[Tag, ...]:
    styles = [s for s in type_styles(LEUKEMIA_ATTRI) if not s.artefact]
    out = []
    for i, (x0, y0, x1, y1) in enumerate(gallery.grid(n, (1340, 790), cell_px)):
        out.append(Tag(Rect(round(x0), round(y0), round(x1), round(y1)), styles[i % len(styles)], 0.95 - 0.01 * i, phrases))
    return tuple(out)


def planned(some: tuple[Tag, ...]) -> Plan:
    return plan(some, (), AREA, UNIT)


def test_few_cells_say_all_their_attributes() -> None:
    out = planned(tags(2))
    assert out.caption == ""
    for label in out.labels:
        assert label.whole
        assert " · ".join(label.lines) == " · ".join(p.words for p in PHRASES)


def test_more_cells_say_the_most_telling_attributes() -> None:
    out = planned(tags(8, 80))
    assert "attributes" in out.caption
    assert sum(bool(label.lines) for label in out.labels) >= 6
    assert not any(label.whole for label in out.labels)


def test_many_cells_say_attributes_for_the_surest_alone() -> None:
    some = tags(16, 60)
    out = planned(some)
    with_words = {i for i, label in enumerate(out.labels) if label.lines}
    assert with_words
    assert with_words <= set(range(5))  # scores fall with the index
    assert f"of {len(some)} cells" in out.caption


def test_a_crowd_is_in_codes_and_every_cell_has_its_own() -> None:
    out = planned(tags(40, 50))
    assert all(label.short for label in out.labels)
    assert None not in out.places
    assert out.caption.endswith("types as codes, see the list")


def test_cells_without_room_are_counted() -> None:
    some = tuple(Tag(Rect(100, 100, 160, 160), tags(1)[0].style, 0.9, ()) for _ in range(300))
    out = planned(some)
    missing = sum(p is None for p in out.places)
    assert missing > 0
    assert f"no room for {missing} of 300" in out.caption


def test_cells_whose_attributes_are_unknown_leave_nothing_out() -> None:
    out = planned(tags(3, 100, ()))
    assert out.caption == ""


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


def test_phrases_are_joined_in_lines_of_bounded_length() -> None:
    lines = join(tuple(p.words for p in PHRASES), UNIT)
    assert 3 <= len(lines) <= 5
    assert " · ".join(lines) == " · ".join(p.words for p in PHRASES)


@pytest.mark.parametrize(("score", "words"), [(0.0, "0.00"), (0.874, "0.87"), (0.9999, "0.99"), (1.0, "1.00")])
def test_a_score_is_never_rounded_up_to_certainty(score: float, words: str) -> None:
    assert score_words(score) == words
