"""The two tables of a slide: every cell and every type, as RFC 4180, and nothing in them that a spreadsheet would compute."""

from __future__ import annotations

import csv
import io
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from device.language import speaking
from device.report.case import Case
from device.report.csv_files import cells_csv, differential_csv
from device.report.fhir import bundle, to_json
from device.report.page import page
from device.report.tables import csv_text, guarded
from device.slide.tally import reviewed
from device.store import StoredSlide
from engines.runtime.base import EngineInfo
from engines.taxonomy import LEUKEMIA_ATTRI
from tests.support.provenance import provenance
from tests.support.review import BEGUN, ordinary
from tests.support.signed import Desk, signed

MODEL = EngineInfo("attridet-n", "2.0.0", "4b" * 32, "onnxruntime CPU", "fp32", (640, 640), LEUKEMIA_ATTRI, 0.25)


def stored(*more: str, specimen: str = "26-004711") -> StoredSlide:
    return StoredSlide(replace(ordinary(*more), specimen=specimen), provenance(MODEL), None)


def rows(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text, newline="")))


def test_one_row_a_cell_before_and_after() -> None:
    desk = Desk(stored("Myeloblast", "", "Promonocyte"))
    desk.open_all()
    desk.act(desk.review.name([101], "Monoblast"))
    desk.name_the_unidentified("smudge")
    desk.act(desk.review.add(1, (500.0, 500.0, 560.0, 560.0), "Myeloblast"))
    desk.act(desk.review.open(104))
    desk.sign()
    by_id = {row["cell_id"]: row for row in rows(cells_csv(desk.case()))}
    assert len(by_id) == 104
    named = by_id["101"]
    assert (named["pre_class"], named["class_after"], named["act"], named["who"]) == ("Myeloblast", "Monoblast", "named", "AB")
    assert named["when"].startswith("2026-03-02T10:0") and named["when"].endswith("+00:00")
    assert (named["slide"], named["specimen"], named["review_state"]) == ("20261123-181512-4f9a2c", "26-004711", "reviewed")
    assert (named["chart"], named["film_x_px"], named["film_y_px"]) == ("1", "60.0", "4060.0")
    assert (named["x_um"], named["y_um"]) == ("4.8", "324.8")  # 0.08 um each
    smudge, added = by_id["102"], by_id["104"]
    assert (smudge["pre_class"], smudge["class_after"], smudge["in_differential"]) == ("Unidentified", "Smudge cell", "0")
    assert (added["pre_class"], added["score"], added["class_after"], added["act"]) == ("", "", "Myeloblast", "opened")
    assert named["model_digest"] == MODEL.digest


def test_the_differential_adds_up_and_is_the_one_that_was_counted() -> None:
    case = signed(stored("Myeloblast", "", "Promonocyte", "None"), {102: "nrbc"})
    table = rows(differential_csv(case))
    parts = [row for row in table if row["kind"] in ("type", "group", "unidentified")]
    assert sum(int(row["count"]) for row in parts) == case.after.white_cells == 102
    assert sum(float(row["percent"]) for row in parts) == pytest.approx(100, abs=0.05)
    apart = {row.name: row for row in reviewed(case.slide, case.taxonomy).apart}
    for row in table:
        if row["kind"] == "per 100 white cells":
            assert int(row["count"]) == apart[row["name"]].count
            assert float(row["per_100_white_cells"]) == pytest.approx(apart[row["name"]].per_100, abs=0.01)
            assert row["percent"] == row["low_95"] == ""
    sums = {row["name"]: int(row["count"]) for row in table if row["kind"] == "sum"}
    assert sums == {"Blasts and equivalents together": 2, "Blasts without equivalents": 1, "Blast equivalents": 1}
    assert {row["signed_by"] for row in table} == {"AB"}


def test_an_unreviewed_slide_says_so_in_every_row() -> None:
    case = Case(stored("Myeloblast", ""))
    for table in (rows(cells_csv(case)), rows(differential_csv(case))):
        assert {row["review_state"] for row in table} == {"unreviewed"}
        assert {row["signed_by"] for row in table} == {""}


def test_every_line_bears_what_speaks_against_it() -> None:
    poor = replace(stored("Myeloblast"), slide=replace(stored("Myeloblast").slide, lost_rests=1))
    assert {row["doubts"] for row in rows(differential_csv(Case(poor)))} == {"The place on the film was lost at 1 rest."}
    assert {row["simulated"] for row in rows(cells_csv(Case(poor)))} == {"0"}


@pytest.mark.parametrize("code", ["fr", "ur", "sw"])
def test_what_goes_to_machines_stays_english(code: str) -> None:
    case = signed(stored("Myeloblast", ""))
    poor = Case(replace(case.stored, slide=replace(case.stored.slide, lost_rests=1)))

    def written() -> tuple[str, ...]:
        now = BEGUN
        return cells_csv(poor), differential_csv(poor), to_json(bundle(poor, written_at=now)), page(poor.stored, written_at=now)

    english = written()
    with speaking(code):
        assert written() == english


@pytest.mark.parametrize("evil", ["=1+1", "+cmd|' /C calc'!A0", "-2", "@SUM(A1)", "\tx", "\rx", "\nx", "＝1"])  # noqa: RUF001
def test_no_formula_gets_through(evil: str) -> None:
    assert guarded(evil) == f"'{evil}"
    for table in (cells_csv(Case(stored("Myeloblast", specimen=evil))), differential_csv(Case(stored("Myeloblast", specimen=evil)))):
        assert {row["specimen"] for row in rows(table)} == {f"'{evil}"}


def test_a_negative_number_stays_a_number() -> None:
    assert csv_text(("a", "b"), [{"a": -1.5, "b": True}]) == "a,b\r\n-1.5,1\r\n"


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0")), min_size=1, max_size=4))
def test_any_text_comes_back_as_it_was(words: list[str]) -> None:
    columns = [f"c{n}" for n in range(len(words))]
    text = csv_text(columns, [dict(zip(columns, words, strict=True))])
    [row] = rows(text)
    assert [value.removeprefix("'") if value != words[n] else value for n, value in enumerate(row.values())] == words


def test_no_byte_order_mark_and_every_line_ends_as_rfc_4180_has_it() -> None:
    text = cells_csv(Case(stored("Myeloblast")))
    assert not text.startswith("\ufeff")
    assert text.count("\r\n") == text.count("\n") == 102


def test_a_row_that_does_not_fit_its_head_is_an_error() -> None:
    with pytest.raises(KeyError):
        csv_text(("a", "b"), [{"a": 1}])
    with pytest.raises(ValueError, match="c"):
        csv_text(("a",), [{"a": 1, "c": 2}])
