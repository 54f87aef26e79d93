"""FHIR of a slide: sound by fhir.resources, closed lists by our own enums, never "final" without a signature that holds."""

from __future__ import annotations

import base64
import itertools
import json
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from fhir.resources.R4B.bundle import Bundle

from device.errors import StoreError
from device.mqtt.payloads import SourceProvenance
from device.report.case import Case, Kind
from device.report.codes import ROWS, codes, licence
from device.report.fhir import CLOCK_NOTE, bundle, to_json
from device.report.fhir_words import AbsentReason, BundleKind, ObservationStatus, ReportStatus
from device.review.journal import Act
from device.settings.config import is_loinc
from device.slide.model import ReviewState, Slide, SlideState
from device.slide.session import RefusedError
from device.store import StoredSlide
from engines.pages import NOTICE
from engines.runtime.base import EngineInfo
from engines.taxonomy import LEUKEMIA_ATTRI
from tests.support.fhir_example import NAME, example
from tests.support.provenance import provenance
from tests.support.review import ordinary
from tests.support.signed import Desk, signed

MODEL = EngineInfo("attridet-n", "2.0.0", "4b" * 32, "onnxruntime CPU", "fp32", (640, 640), LEUKEMIA_ATTRI, 0.25)
NOW = datetime(2026, 11, 30, 12, tzinfo=timezone.utc)
SIGNED = {"final", "amended", "corrected"}


def stored(*more: str, trusted: bool = True, **changed: object) -> StoredSlide:
    slide = replace(ordinary(*more), specimen="26-004711", operator="KM", **changed)  # type: ignore[arg-type]
    return StoredSlide(slide, provenance(MODEL, time_trusted=trusted), None)


def resources(case: Case, **how: Any) -> dict[str, list[dict[str, Any]]]:
    """Of the bundle, checked by fhir.resources, by type."""
    made = json.loads(to_json(bundle(case, written_at=NOW, **how)))
    Bundle.model_validate(made)
    found: dict[str, list[dict[str, Any]]] = {}
    for entry in made["entry"]:
        found.setdefault(entry["resource"]["resourceType"], []).append(entry["resource"])
    return found


def observation(found: dict[str, list[dict[str, Any]]], key: str) -> dict[str, Any]:
    return next(each for each in found["Observation"] if each["identifier"][0]["value"].endswith(f"/{key}"))


def components(one: dict[str, Any]) -> dict[str, float]:
    return {each["code"]["coding"][0]["code"]: each["valueQuantity"]["value"] for each in one["component"]}


def test_an_unreviewed_slide_is_preliminary_and_says_so_everywhere() -> None:
    found = resources(Case(stored("Myeloblast", "", "Promonocyte")))
    [report] = found["DiagnosticReport"]
    assert report["status"] == "preliminary"
    assert report["category"][0]["coding"][0] == {
        "system": "http://terminology.hl7.org/CodeSystem/v2-0074", "code": "HM", "display": "Hematology",
    }  # fmt: skip
    assert report["code"]["coding"][0]["code"] == "69738-3"
    assert report["conclusion"].startswith(NOTICE) and licence() in report["conclusion"]
    assert "resultsInterpreter" not in report and "entity" not in found["Provenance"][0]
    assert {one["status"] for one in found["Observation"]} == {"preliminary"}
    assert all(NOTICE in one["note"][0]["text"] for one in found["Observation"] if "note" in one)
    assert "Patient" not in found
    assert found["Specimen"][0]["accessionIdentifier"] == {"value": "26-004711"}
    assert {one["value"] for one in found["Device"][0]["version"]} >= {MODEL.digest, "attridet-n 2.0.0 fp32"}


def test_a_type_bears_its_share_counts_interval_and_count_before() -> None:
    found = resources(signed(stored("Myeloblast", "Myeloblast", "", "Promonocyte"), {101: "Monoblast"}))
    one = observation(found, "Monoblast")
    assert one["valueQuantity"] == {"value": 0.97, "unit": "%", "system": "http://unitsofmeasure.org", "code": "%"}
    parts = components(one)
    assert (parts["cells-counted"], parts["cells-in-all"], parts["count-before-review"]) == (1, 103, 0)
    assert parts["low-95"] < 0.97 < parts["high-95"]
    assert one["code"]["coding"][0]["code"] == "34923-3"
    together = observation(found, "all_blasts")
    assert components(together)["cells-counted"] == 3 and len(together["hasMember"]) == 5
    assert components(observation(found, "equivalents"))["cells-counted"] == 1
    assert components(observation(found, "blasts_proper"))["cells-counted"] == 2
    assert "nearest term" in observation(found, "Abnormal promyelocyte")["code"]["text"]
    assert observation(found, "Myeloblast")["code"]["coding"][0]["code"] == "747-6"
    assert "coding" not in observation(found, "equivalents")["code"]  # no term means them: words alone


def test_what_nobody_could_see_has_a_reason_and_no_number() -> None:
    found = resources(Case(stored("Myeloblast")))
    for key in ("nrbc", "smudge", "not_classed", "Neutrophils.band"):
        one = observation(found, key) if key != "Neutrophils.band" else found["Observation"][-1]
        if key == "Neutrophils.band":
            one = next(o for o in found["Observation"] if o["code"].get("coding", [{}])[0].get("code") == "764-1")
        assert one["dataAbsentReason"]["coding"][0]["code"] == AbsentReason.UNSUPPORTED.value
        assert "valueQuantity" not in one
    seen = resources(signed(stored("", "Myeloblast"), {101: "nrbc"}))
    assert observation(seen, "nrbc")["valueQuantity"] == {
        "value": 0.99, "unit": "per 100 white blood cells", "system": "http://unitsofmeasure.org", "code": "/100{WBCs}",
    }  # fmt: skip
    empty = resources(Case(StoredSlide(replace(ordinary(), fields=(), state=SlideState.ABORTED), provenance(MODEL), None)))
    assert observation(empty, "Lymphocyte")["dataAbsentReason"]["coding"][0]["code"] == AbsentReason.NOT_PERFORMED.value
    assert empty["DiagnosticReport"][0]["status"] == "cancelled"


def test_a_zero_of_blasts_says_what_it_leaves_open() -> None:
    conclusion = resources(signed(stored()))["DiagnosticReport"][0]["conclusion"]
    assert "No blast was told; that does not exclude them" in conclusion
    assert "acute" not in conclusion.lower()


def test_the_film_in_words_goes_along() -> None:
    one = observation(resources(signed(stored("Myeloblast"))), "film")
    assert one["code"]["coding"][0]["code"] == "5909-7"
    assert "lymphocytes" in one["valueString"] and one["valueString"].endswith(NOTICE)


def test_a_signature_names_reviewer_and_journal() -> None:
    case = signed(stored("Myeloblast"))
    found = resources(case)
    assert found["DiagnosticReport"][0]["status"] == "final"
    assert found["DiagnosticReport"][0]["resultsInterpreter"] == [{"type": "Practitioner", "display": "AB"}]
    [made] = found["Provenance"]
    assert made["entity"][0]["what"]["identifier"]["value"] == case.entries[-1].digest
    assert [agent["who"].get("display") for agent in made["agent"]] == [None, "KM", "AB"]


def test_a_change_after_the_signature_is_corrected_and_a_mere_second_look_amended() -> None:
    desk = Desk(stored("Myeloblast"))
    desk.open_all()
    desk.sign()
    desk.act(desk.review.reopen("second thoughts"))
    with pytest.raises(RefusedError, match="reopened and not signed again: what was signed stands"):
        bundle(desk.case(), written_at=NOW)
    amended, corrected = Desk(desk.stored, entries=desk.review.entries), Desk(desk.stored, entries=desk.review.entries)
    amended.sign()
    assert resources(amended.case())["DiagnosticReport"][0]["status"] == "amended"
    corrected.act(corrected.review.name([101], "Lymphoblast"))
    corrected.sign()
    assert resources(corrected.case())["DiagnosticReport"][0]["status"] == "corrected"


def claims(slide: Slide) -> list[Slide]:
    """Every way in which a slide's row may claim a signature, wholly or in part."""
    choices: dict[str, tuple[Any, ...]] = {
        "state": (SlideState.REVIEW, SlideState.SIGNED),
        "review_state": (ReviewState.UNREVIEWED, ReviewState.REVIEWED),
        "revision": (0, 1),
        "reviewer": ("", "AB"),
        "signed_at": (None, NOW),
    }
    return [replace(slide, **dict(zip(choices, values, strict=True))) for values in itertools.product(*choices.values())]


@pytest.mark.parametrize("journal", ["none", "opened", "one entry changed", "signature cut off", "another slide's"])
def test_final_is_impossible_without_a_signature_that_the_journal_bears_out(journal: str) -> None:
    whole = signed(stored("Myeloblast")).entries
    entries = {
        "none": (),
        "opened": tuple(entry for entry in whole if entry.act is Act.OPENED),
        "one entry changed": (replace(whole[0], who="ZZ"), *whole[1:]),
        "signature cut off": whole[:-1],
        "another slide's": whole,
    }[journal]
    base = stored("Myeloblast")
    if journal == "another slide's":
        base = replace(base, slide=replace(base.slide, slide_id="20261123-181512-bbbbbb"))
    for slide in claims(base.slide):
        case = Case(replace(base, slide=slide, review=entries))
        try:
            made = to_json(bundle(case, written_at=NOW))
        except (StoreError, RefusedError):
            continue
        assert not SIGNED & {entry["resource"].get("status") for entry in json.loads(made)["entry"]}, slide


def test_the_row_must_agree_with_a_sound_journal() -> None:
    case = signed(stored("Myeloblast"))
    for wrong in ({"revision": 2}, {"reviewer": "ZZ"}, {"state": SlideState.REVIEW}, {"revision": 0}):
        slide = replace(case.stored.slide, **wrong)  # type: ignore[arg-type]
        with pytest.raises((StoreError, RefusedError)):
            bundle(Case(replace(case.stored, slide=slide)), written_at=NOW)


def test_a_doubtful_clock_is_an_extension_and_a_note() -> None:
    found = resources(Case(stored("Myeloblast", trusted=False)))
    [report] = found["DiagnosticReport"]
    assert report["extension"] == [{"url": "urn:leukoscope:time-trusted", "valueBoolean": False}]
    assert CLOCK_NOTE in report["conclusion"]
    assert CLOCK_NOTE in observation(found, "Myeloblast")["note"][0]["text"]
    assert "extension" not in resources(Case(stored("Myeloblast")))["DiagnosticReport"][0]


def test_a_transaction_puts_by_identifier_and_is_the_same_each_time() -> None:
    case = signed(stored("Myeloblast"))
    made = bundle(case, kind=BundleKind.TRANSACTION, written_at=NOW)
    Bundle.model_validate(json.loads(to_json(made)))
    again = bundle(case, kind=BundleKind.TRANSACTION, written_at=NOW + timedelta(days=1))
    assert to_json(made) == to_json(again)
    for entry in made["entry"]:
        method, url = entry["request"]["method"], entry["request"]["url"]
        if entry["resource"]["resourceType"] == "Provenance":
            assert method == "POST"
        else:
            known = entry["resource"]["identifier"][0]
            assert (method, url) == ("PUT", f"{entry['resource']['resourceType']}?identifier={known['system']}|{known['value']}")


def test_rendered_film_is_labelled_as_test_data_and_doubts_stand_in_the_conclusion() -> None:
    base = stored("Myeloblast", "Neutrophil", foreign=True, lost_rests=2)
    source = SourceProvenance(kind="simulator", name="x", simulated=True)
    simulated = replace(base, provenance=replace(base.provenance, source=source))
    found = resources(Case(simulated))
    [report] = found["DiagnosticReport"]
    assert report["meta"]["security"][0]["code"] == "HTEST"
    assert bundle(Case(simulated), written_at=NOW)["meta"]["tag"][1]["code"] == "HTEST"
    assert all("no patient's blood" in one["note"][0]["text"] for one in found["Observation"] if "note" in one)
    for words in (
        "no patient's blood",
        "This film is unlike the films that this engine knows",
        "The place on the film was lost at 2 rests",
    ):
        assert words in report["conclusion"]
    assert "meta" not in resources(Case(base))["DiagnosticReport"][0]


def test_every_reference_leads_to_an_entry_and_every_address_is_one() -> None:
    made = bundle(signed(stored("Myeloblast", "Promonocyte")), written_at=NOW)
    addresses = [entry["fullUrl"] for entry in made["entry"]]
    assert len(addresses) == len(set(addresses))

    def references(value: Any) -> list[str]:
        if isinstance(value, dict):
            own = [value["reference"]] if "reference" in value else []
            return own + [one for part in value.values() for one in references(part)]
        return [one for part in value for one in references(part)] if isinstance(value, list) else []

    assert set(references(made)) <= set(addresses)


def test_the_page_goes_along_when_asked_and_the_code_is_the_configured_one() -> None:
    case = signed(stored("Myeloblast"))
    assert "presentedForm" not in resources(case)["DiagnosticReport"][0]
    [report] = resources(case, page="<!DOCTYPE html>é", report_code="12345-6")["DiagnosticReport"]
    assert base64.b64decode(report["presentedForm"][0]["data"]).decode() == "<!DOCTYPE html>é"
    assert report["presentedForm"][0]["contentType"] == "text/html"
    assert report["code"]["coding"][0]["code"] == "12345-6"


def test_every_class_group_and_persons_class_has_a_code_or_an_explicit_null() -> None:
    table, taxonomy = codes(), LEUKEMIA_ATTRI
    assert set(ROWS) <= set(table)
    wanted = {*taxonomy.classes, *(g.key for g in taxonomy.told_groups), *(p.key for p in taxonomy.person_classes)}
    assert wanted <= set(table)
    assert {line.key for line in Case(stored("Myeloblast")).lines} <= set(table)
    for code in table.values():
        assert code.loinc is None or (code.loinc[-2] == "-" and code.loinc.replace("-", "").isdigit()), code
        assert code.source and code.display
        assert (code.checked_on is None) == (not code.verified) or code.loinc is None, code
    assert "LOINC is copyright" in licence()
    # the last digit is a check digit: a code that was mistyped is seen
    assert not [code for code in table.values() if code.loinc and not is_loinc(code.loinc)]


def test_the_published_example_is_what_is_written() -> None:
    where = Path(__file__).parents[3] / "docs" / "schema" / NAME
    assert where.read_text(encoding="utf-8") == example(), "run `python -m tests.support.fhir_example docs/schema`"
    Bundle.model_validate(json.loads(example()))


def test_the_closed_lists_hold_nothing_that_fhir_does_not_know() -> None:
    assert {status.value for status in ReportStatus} <= {
        "registered", "partial", "preliminary", "final", "amended", "corrected", "appended", "cancelled", "entered-in-error", "unknown",
    }  # fmt: skip
    assert {status.value for status in ObservationStatus} == {status.value for status in ReportStatus}
    assert {line.kind for line in Case(stored("Myeloblast")).lines} == set(Kind)
