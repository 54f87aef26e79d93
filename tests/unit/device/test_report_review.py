"""What the review and the place on the film add to a slide's page: before and after, who said what, the map, the rules."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import timedelta
from html.parser import HTMLParser

import pytest

from device import language
from device.report import review_part
from device.report.case import Case
from device.report.fhir import bundle
from device.report.page import page
from device.review.journal import Act
from device.slide.model import Place
from device.store import StoredSlide
from engines.runtime.base import EngineInfo
from engines.taxonomy import LEUKEMIA_ATTRI
from tests.support.provenance import provenance
from tests.support.review import BEGUN, ordinary
from tests.support.review import slide as slide_of
from tests.support.signed import Desk, signed

MODEL = EngineInfo("attridet-n", "2.0.0", "4b" * 32, "onnxruntime CPU", "fp32", (640, 640), LEUKEMIA_ATTRI, 0.25)


class Text(HTMLParser):
    """The page's words."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.text, self.muted = "", False
        self.feed(html)
        self.text = " ".join(self.text.split())

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.muted = tag == "style"

    def handle_endtag(self, tag: str) -> None:
        self.muted = False

    def handle_data(self, data: str) -> None:
        self.text += "" if self.muted else f" {data}"


def text(case: Case) -> str:
    return Text(page(case.stored)).text


def stored(*more: str, lymphocytes: int = 200, **changed: object) -> StoredSlide:
    made = replace(ordinary(*more, lymphocytes=lymphocytes), specimen="26-004711", operator="KM")
    return StoredSlide(replace(made, **changed), provenance(MODEL), None)  # type: ignore[arg-type]


def test_before_and_after_stand_side_by_side_with_who_signed() -> None:
    said = text(signed(stored("Myeloblast", "Myeloblast", "", "", "None"), {201: "Monoblast", 203: "nrbc"}))
    for words in (
        "REVIEWED, revision 1",
        "specimen 26-004711",
        "counted by KM",
        "signed by AB , 2 March 2026, 10:0",
        "before the review after the review",
        "MYB Myeloblast blast 2 1.0 0 to 3 1 0.5 0 to 3",
        "MOB Monoblast blast 0 0.0 0 to 1 1 0.5 0 to 3",
        "? Unidentified 2 1.0 0 to 3 0 0.0 0 to 1",
        "White blood cells 204 100.0 202 100.0",
        "Nucleated red cell, left out 0 1 0.5 per 100",
        "Artefact, left out 1 1 0.5 per 100",
        "Blasts without equivalents: 2 (1.0 %); equivalents: 0 (0.0 %).",
        "each was looked at by AB",
        "Changed by the review: Myeloblast → Monoblast: 1; Unidentified → Nucleated red cell: 1; Unidentified → Not classed: 1.",
        "205 times a cell was looked at by itself",
    ):
        assert words in said, words
    assert "blast?" not in said and "must confirm" not in said and "acute" not in said.lower()
    assert "of all white blood cells" in said


def test_an_unreviewed_page_shows_no_second_column_and_asks_for_a_review() -> None:
    said = text(Case(stored("Myeloblast")))
    assert "before the review" not in said and "blast?" in said
    assert "to be filled in by the person who looked at the film" in said
    assert "The review changed no cell" not in said


def test_a_type_that_the_review_emptied_stays_in_the_table() -> None:
    said = text(signed(stored("Promonocyte"), {201: "Monocyte"}))
    assert "PMO Promonocyte 1 0.5 0 to 3 0 0.0 0 to 1" in said.replace("blast ", "")


def test_every_unidentified_cell_is_shown_before_the_review() -> None:
    made = stored(*[""] * 30, "Neutrophil")
    fields = tuple(replace(f, cells=tuple(replace(c, crop_jpeg=b"\xff\xd8x") for c in f.cells)) for f in made.slide.fields)
    html = page(replace(made, slide=replace(made.slide, fields=fields)))
    assert html.count("<img") == 12 + 1 + 30  # 12 of the lymphocytes


def test_every_blast_is_shown_with_who_looked_at_it() -> None:
    made = stored(*["Myeloblast"] * 75)
    fields = tuple(
        replace(f, cells=tuple(replace(c, crop_jpeg=b"\xff\xd8x" if c.cell_id > 200 else b"") for c in f.cells))
        for f in made.slide.fields
    )
    html = page(signed(replace(made, slide=replace(made.slide, fields=fields)), {201: "Monoblast"}).stored)
    assert html.count('<img src="data:image/jpeg') == 75
    assert len(re.findall(r"<b>AB, 02 Mar 10:0", html)) == 75
    assert html.count("was Myeloblast") == 1


def test_the_journal_is_told_step_by_step_and_a_step_of_many_cells_is_one_row() -> None:
    desk = Desk(stored(*[""] * 12, "Myeloblast"))
    desk.act(desk.review.name(range(201, 213), "Lymphocyte"))
    desk.act(desk.review.name([213], "Monocyte"))
    desk.act(desk.review.undo())
    desk.act(desk.review.note("film too thick at the edge"))
    desk.act(desk.review.add(1, (900.0, 900.0, 960.0, 960.0), "Eosinophil"))
    desk.open_all()
    desk.sign("few cells")
    case = desk.case()
    rows = {row.words: row for row in review_part.journal(case)}
    assert [row.words for row in review_part.journal(case)] == ["named", "named", "taken back", "remark", "added", "signed"]
    many = review_part.journal(case)[0]
    assert (many.numbers, many.before, many.after) == ("1–12", "Unidentified", "Lymphocyte")  # noqa: RUF001
    assert many.cells == "201, 202, 203, 204, 205, 206, 207, 208, … (12)"
    assert (rows["taken back"].before, rows["taken back"].after) == ("Monocyte", "Myeloblast")
    assert rows["remark"].why == "film too thick at the edge"
    assert (rows["added"].before, rows["added"].after, rows["added"].cells) == ("", "Eosinophil", "214")
    assert case.entries[-1].digest in text(case)


def test_charts_that_were_never_joined_are_drawn_apart_and_said_on_the_first_page() -> None:
    many, few = ("Lymphocyte",) * 60, ("Myeloblast", "", "None")
    made = slide_of(many, many, few, charts=(1, 1, 2))
    desk = Desk(StoredSlide(made, provenance(MODEL), None))
    desk.open_all()
    desk.name_the_unidentified("others")
    desk.act(desk.review.acknowledge(2))
    desk.sign()
    case = desk.case()
    main, apart = review_part.charts(case)
    assert (main.main, main.number, len(main.fields), main.cells) == (True, 1, 2, 120)
    assert (apart.main, apart.number) == (False, 2)
    assert [dot.look for dot in apart.dots] == ["cell", "excluded", "blast"]
    assert main.fields == ((0.0, 0.0, 1920.0, 1080.0), (0.0, 2000.0, 1920.0, 1080.0))
    said = text(case)
    warned = (
        "The place on the film was lost at 1 rest. 1 piece of the film was never joined with the rest: at most 3 cells on it could be"
    )
    assert said.index(warned) < said.index("Differential")
    assert "Accepted by AB (2)." in said and "never joined (chart 2): 1 field, 3 cells" in said
    assert page(case.stored).count('<svg class="map"') == 2


def test_a_dot_lies_where_its_cell_lies() -> None:
    made = stored("Myeloblast")
    moved = replace(made.slide.fields[1], place=Place(1, -500.0, 300.0))
    first = replace(made.slide.fields[0], place=Place(1, 100.0, 200.0))
    case = Case(replace(made, slide=replace(made.slide, fields=(first, moved))))
    [chart] = review_part.charts(case)
    assert (chart.width, chart.height) == (100 + 1920 + 500, 300 - 200 + 1080)
    x1, y1, x2, y2 = moved.cells[0].box_px
    blast = chart.dots[-1]
    assert (blast.look, blast.x, blast.y) == ("blast", (x1 + x2) / 2, (y1 + y2) / 2 + 100)


def test_records_without_places_say_so() -> None:
    made = stored("Myeloblast")
    bare = replace(made.slide, fields=tuple(replace(field, place=None) for field in made.slide.fields))
    assert "This record does not say where on the film its fields lie." in text(Case(replace(made, slide=bare)))


@pytest.mark.parametrize(
    ("more", "lymphocytes", "hint"),
    [
        (("Myeloblast",), 149, "150 white cells were counted; 200 are usual"),
        (("Myeloblast",) * 10, 190, "The 95 % range of the blasts spans 5 %: count on, to 400 or 500 cells."),
        (("Myeloblast",) * 40, 160, "The 95 % range of the blasts spans 20 %"),
        (("Myeloblast",), 499, ""),
    ],
)
def test_what_a_reader_is_to_be_told_first(more: tuple[str, ...], lymphocytes: int, hint: str) -> None:
    hints = review_part.hints(Case(stored(*more, lymphocytes=lymphocytes)))
    assert any(hint in one for one in hints) if hint else hints == []


def test_many_nucleated_red_cells_ask_for_a_correction_that_is_never_computed() -> None:
    case = signed(stored(*[""] * 10), dict.fromkeys(range(201, 211), "nrbc"))
    [hint] = [one for one in review_part.hints(case) if "nucleated" in one]
    assert hint.startswith("5 nucleated red cells to 100 white cells") and "(100 + 5)" in hint


def test_two_readers_are_compared() -> None:
    desk = Desk(stored(*["Myeloblast"] * 40))
    desk.open_all()
    desk.sign()
    desk.act(desk.review.reopen("second reader"))
    other = Desk(desk.stored, "CD", desk.review.entries)
    other.act(other.review.name(range(201, 241), "Lymphoblast"))
    other.sign()
    found = review_part.readers(other.case())
    assert found[0] == "Myeloblast 16.7 % (AB), 0.0 % (CD), beyond what chance leaves open"
    assert review_part.readers(signed(stored("Myeloblast"))) == []
    # the second reader opened none by itself: the first did
    assert "each was looked at by AB" in text(other.case()) and "signed by CD" in text(other.case())


def test_what_people_typed_stays_text() -> None:
    evil = '<img src=x onerror="alert(1)"></td><script>'
    desk = Desk(stored("Myeloblast", specimen=f"{evil}7", operator=evil))
    desk.act(desk.review.note(evil))
    desk.open_all()
    desk.sign(evil)
    case = desk.case()
    html = page(case.stored)
    assert "<script" not in html and "<img src=x" not in html
    assert text(case).count(evil) >= 4
    report = bundle(case, written_at=BEGUN)["entry"][0]["resource"]
    assert "<script" not in report["text"]["div"]


def test_the_rules_name_what_is_left_out_and_the_equivalents() -> None:
    rules = " ".join(review_part.rules(Case(stored())))
    for words in (
        "200 white cells are the usual target",
        "nucleated red cell, smudge cell, artefact, not classed",
        "half of it or more",
    ):
        assert words in rules
    assert "Equivalents: Promonocyte, Abnormal promyelocyte." in rules


@pytest.mark.parametrize("code", ["fr", "ur", "sw"])
def test_the_page_is_english_whatever_the_screen_speaks(code: str) -> None:
    """The whole page, letter by letter, of a slide with a review and what stands apart."""
    case = signed(stored("Myeloblast", "Myeloblast", "", "", "None", lymphocytes=150), {151: "Monoblast", 153: "nrbc"})
    written_at = BEGUN + timedelta(days=1)
    english = page(case.stored, written_at=written_at)
    with language.speaking(code):
        assert page(case.stored, written_at=written_at) == english
    assert '<html lang="en"' in english


def test_a_clock_that_was_wrong_at_the_review_is_marked() -> None:
    case = signed(stored("Myeloblast"))
    assert all(entry.time_trusted or entry.act for entry in case.entries)
    late = Desk(stored("Myeloblast"))
    late.begun -= timedelta(days=20000)
    late.open_all()
    late.sign()
    assert "* the clock was not synchronised" in text(late.case())
    assert [entry.act for entry in late.case().entries][-1] is Act.SIGNED
