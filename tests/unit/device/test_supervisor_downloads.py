"""FHIR and CSV of received summaries: sound by fhir.resources, in the box's own columns and codes, no formula for a spreadsheet."""

from __future__ import annotations

import csv
import io
import json
import uuid
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from fhir.resources.R4B.bundle import Bundle
from sqlalchemy.orm import Session

from device.language import speaking
from device.mqtt.payloads import SlideSummary, read_summary
from device.mqtt.summary import Disclosure, build_summary
from device.report.csv_files import DIFFERENTIAL, differential_csv
from device.report.fhir import bundle
from device.report.fhir_words import Json
from device.store import StoredSlide
from device.supervisor import queries
from device.supervisor.rows import Filters, SecondRow
from device.supervisor.web import handed_on
from engines.pages import NOTICE
from engines.runtime.base import EngineInfo
from engines.taxonomy import LEUKEMIA_ATTRI
from tests.support.provenance import provenance
from tests.support.review import ordinary
from tests.support.signed import signed
from tests.support.ward import MESSAGES, NOW, example, new_database, ward, without_blasts

MODEL = EngineInfo("attridet-n", "2.0.0", "4b" * 32, "onnxruntime CPU", "fp32", (640, 640), LEUKEMIA_ATTRI, 0.25)
SIGNED = next(MESSAGES.glob("1.3/*-summary-signed.json"))
AGREES = SecondRow(NOW, "amina", "AK", True, "", 1, "")
AGAINST = SecondRow(NOW, "juma", "JM", False, "more blasts", 1, "")


def read(document: dict[str, Any] | bytes) -> SlideSummary:
    return read_summary(document if isinstance(document, bytes) else json.dumps(document).encode()).payload


def resources(summary: SlideSummary, *seconds: SecondRow) -> dict[str, list[dict[str, Any]]]:
    made = json.loads(handed_on.fhir(summary, seconds, written_at=NOW))
    Bundle.model_validate(made)
    found: dict[str, list[dict[str, Any]]] = {}
    for entry in made["entry"]:
        found.setdefault(entry["resource"]["resourceType"], []).append(entry["resource"])
    return found


def table(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text, newline="")))


@pytest.mark.parametrize("path", sorted(MESSAGES.glob("*/*-summary-*.json")), ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_every_message_of_every_form_is_sound_fhir(path: Path) -> None:
    summary = read(path.read_bytes())
    found = resources(summary)
    [report] = found["DiagnosticReport"]
    signed = summary.review_state == "reviewed"
    assert report["status"] == ("cancelled" if summary.state == "aborted" else "final" if signed else "preliminary")
    assert NOTICE in report["conclusion"]
    assert "Patient" not in found
    if summary.source.simulated:
        assert report["meta"]["security"][0]["code"] == "HTEST"
    assert all(one["device"] for one in found["Observation"])


def test_a_signature_makes_it_final_a_change_of_it_corrected_and_a_second_one_is_named() -> None:
    document = json.loads(SIGNED.read_bytes())
    [report] = resources(read(document), AGREES)["DiagnosticReport"]
    assert report["status"] == "final"
    assert [one["display"] for one in report["resultsInterpreter"]] == [handed_on.NOT_NAMED, "AK"]
    later = document | {"revision": 2}
    assert resources(read(later))["DiagnosticReport"][0]["status"] == "amended"
    corrected = later | {"review": document["review"] | {"corrected": True, "reviewer": "KM"}}
    found = resources(read(corrected), AGREES)
    assert found["DiagnosticReport"][0]["status"] == "corrected"
    assert [one["display"] for one in found["DiagnosticReport"][0]["resultsInterpreter"]] == ["KM"], "AK signed revision 1"


def test_a_second_reader_who_disagrees_is_told_and_changes_no_status() -> None:
    [report] = resources(read(SIGNED.read_bytes()), AGAINST)["DiagnosticReport"]
    assert report["status"] == "final"
    assert "A second reader (JM) does not agree." in report["conclusion"]
    assert [one["display"] for one in report["resultsInterpreter"]] == [handed_on.NOT_NAMED]


def test_reviewed_without_who_and_when_is_not_final() -> None:
    document = {**example(), "review_state": "reviewed"}
    for name in ("review", "revision"):
        del document[name]
    assert resources(read(document))["DiagnosticReport"][0]["status"] == "preliminary"


def test_a_zero_of_blasts_bears_what_it_leaves_open() -> None:
    found = resources(read(without_blasts(example())))
    said = found["DiagnosticReport"][0]["conclusion"]
    assert "that does not exclude them" in said and "1.8 %" in said
    blasts = next(one for one in found["Observation"] if one["identifier"][0]["value"].endswith("/all_blasts"))
    limits = {each["code"]["coding"][0]["code"]: each["valueQuantity"]["value"] for each in blasts["component"]}
    assert limits["high-95"] == pytest.approx(100 * (1 - 0.05 ** (1 / 168)), abs=0.01)


def test_the_box_and_the_supervisor_hand_on_the_same_of_one_slide() -> None:
    """One slide, signed at a desk, as the box writes it and as its summary gives it."""
    made = provenance(MODEL)
    case = signed(StoredSlide(ordinary("Myeloblast", "", "Promonocyte", "blasts"), made, None), {1: "Lymphoblast", 2: "nrbc"})
    disclosure = Disclosure(reviewer="initials")
    summary = build_summary(case.slide, made, message_id=uuid.UUID(int=4), target_cells=200, review=case.review, disclosure=disclosure)
    own, ours = table(differential_csv(case)), table(handed_on.slide_csv(summary))
    own = [row for row in own if row["kind"] != "group" or row["count"] != "0"]  # empty groups are not sent
    assert [[row[key] for key in DIFFERENTIAL if key != "doubts"] for row in ours] == [
        [row[key] for key in DIFFERENTIAL if key != "doubts"] for row in own
    ]

    def told(made: Json) -> list[tuple[Any, ...]]:
        observations = [e["resource"] for e in made["entry"] if e["resource"]["resourceType"] == "Observation"]
        return [(one["identifier"], one["status"], one["code"], one.get("valueQuantity"), one.get("component")) for one in observations]

    assert told(json.loads(handed_on.fhir(summary, written_at=NOW))) == told(json.loads(json.dumps(bundle(case, written_at=NOW))))


def test_a_table_is_english_in_every_language_and_computes_nothing() -> None:
    document = json.loads(SIGNED.read_bytes()) | {"specimen": "=HYPERLINK(1)"}
    document["review"] = document["review"] | {"reviewer": "@KM"}
    with speaking("fr"):
        rows = table(handed_on.slide_csv(read(document), (AGREES,)))
    assert tuple(rows[0]) == DIFFERENTIAL
    assert {row["specimen"] for row in rows} == {"'=HYPERLINK(1)"}
    assert {row["signed_by"] for row in rows} == {"'@KM AK"}
    blasts = next(row for row in rows if row["name"] == "Blasts and equivalents together")
    assert (blasts["count"], blasts["of_cells"], blasts["percent"], blasts["kind"]) == ("4", "5", "80.0", "sum")


@pytest.fixture
def session(tmp_path: Path) -> Iterator[Session]:
    engine = new_database(tmp_path / "ward.sqlite")
    ward(engine, slides=12)
    with Session(engine) as opened:
        yield opened
    engine.dispose()


def test_a_list_has_a_row_a_slide_with_doubt_and_notice(session: Session) -> None:
    slides = list(queries.every_slide(session, Filters()))
    rows = table(handed_on.slides_csv([replace(slides[0], specimen="+1", model="-1"), *slides[1:]]))
    assert len(rows) == len(slides) == 12
    assert tuple(rows[0]) == handed_on.SLIDES
    assert (rows[0]["specimen"], rows[0]["model"]) == ("'+1", "'-1")
    assert {row["notice"] for row in rows} == {NOTICE}
    assert [row["blasts"] for row in rows] == [str(one.blasts) for one in slides]
