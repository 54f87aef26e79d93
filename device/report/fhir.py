"""A slide as FHIR R4: a bundle of DiagnosticReport, Observations, Specimen, Device and Provenance. No patient: specimens lead there.

"final", "amended" and "corrected" are written from a `Signature` alone, which only a slide has that a person signed and whose journal
is whole (of a received summary: of which its device says so); everything else is preliminary or cancelled. What a code
means is the table's (`codes`), the closed lists are `fhir_words`'.
"""

from __future__ import annotations

import base64
import hashlib
import html
import json
from datetime import datetime

from device.language import speaking
from device.report import fhir_words as words
from device.report.case import Case, Kind, Line, Signature
from device.report.codes import Code, code_of, licence
from device.report.facts import Facts, facts_of
from device.report.fhir_words import AbsentReason, BundleKind, Json, ObservationStatus, ReportStatus, urn
from device.slide.model import SlideState
from device.slide.session import RefusedError
from device.slide.verdict import BLASTS
from engines.pages import NOTICE

CLOCK_NOTE = "The device's clock was not synchronised: these dates need a person's look."
SIMULATED_NOTE = "Simulated film: rendered by a program, no patient's blood."
PRELIMINARY_NOTE = "Preliminary: counted by a network, not yet signed by a person."
_LABORATORY = "http://terminology.hl7.org/CodeSystem/observation-category"
_SECTION = "http://terminology.hl7.org/CodeSystem/v2-0074"


def status_of(case: Case) -> ReportStatus:
    """The report's status. RefusedError for a slide that was reopened: its last signed report stands until it is signed again."""
    if case.stored.slide.state is SlideState.ABORTED:
        return ReportStatus.CANCELLED
    if case.reopened:
        slide_id = case.stored.slide.slide_id
        raise RefusedError(f"slide {slide_id} was reopened and not signed again: what was signed stands; sign it, then export it")
    return _signed(case.signature)


def _status(facts: Facts) -> ReportStatus:
    return _signed(facts.signature) if facts.abort_reason is None else ReportStatus.CANCELLED


def _signed(signature: Signature | None) -> ReportStatus:
    if signature is None:
        return ReportStatus.PRELIMINARY
    if signature.revision == 1:
        return ReportStatus.FINAL
    return ReportStatus.CORRECTED if signature.corrected else ReportStatus.AMENDED


@speaking("en")
def bundle(
    case: Case,
    *,
    kind: BundleKind = BundleKind.COLLECTION,
    report_code: str | None = None,
    page: str | None = None,
    written_at: datetime,
) -> Json:
    """The slide as a bundle, ready for `to_json`.

    report_code: the LOINC code of the report, instead of the table's. page: its HTML, to go along as presentedForm.
    Raises RefusedError (`status_of`), StoreError (the journal does not bear the signature out).
    """
    status_of(case)
    return bundle_of(facts_of(case), kind=kind, report_code=report_code, page=page, written_at=written_at)


@speaking("en")
def bundle_of(
    facts: Facts,
    *,
    kind: BundleKind = BundleKind.COLLECTION,
    report_code: str | None = None,
    page: str | None = None,
    written_at: datetime,
) -> Json:
    """The same of what is known of a slide without its record, a received summary for instance."""
    return _Writer(facts, _status(facts), kind, written_at).bundle(report_code, page)


def to_json(bundle: Json) -> str:
    """The bundle's text: UTF-8 JSON, no NaN."""
    return json.dumps(bundle, indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def _of_test(facts: Facts) -> list[Json]:
    """HL7's label for what is about no person, on rendered film."""
    system = "http://terminology.hl7.org/CodeSystem/v3-ActReason"
    return [{"system": system, "code": "HTEST", "display": "test health data"}] if facts.simulated else []


class _Writer:
    """What the resources of one bundle share."""

    def __init__(self, facts: Facts, status: ReportStatus, kind: BundleKind, written_at: datetime) -> None:
        self.facts, self.status, self.kind = facts, status, kind
        self.signature = facts.signature
        self.issued = self.signature.at if self.signature else written_at
        self.at = words.instant(facts.at)
        self.trusted = facts.time_trusted and (self.signature is None or self.signature.time_trusted)
        self.addresses = {name: self._address(name) for name in ("report", "specimen", "device", "provenance")}

    def _address(self, name: str) -> str:
        return urn(self.facts.device_id, self.facts.slide_id, name)

    def bundle(self, report_code: str | None, page: str | None) -> Json:
        shown = [line for line in self.facts.lines if line.kind is not Kind.GROUP or line.count or line.before]
        observations = [self._observation(line) for line in shown]
        observations += [self._unseen(code_of("bands")), self._in_words()]
        resources = [self._report(observations, report_code, page), *observations, self._specimen(), self._device(), self._provenance()]
        entries = [words.entry(self._address_of(resource), resource, self.kind) for resource in resources]
        return {
            "resourceType": "Bundle",
            "id": urn(self.facts.device_id, self.facts.slide_id, str(self.facts.revision)).rpartition(":")[2],
            "meta": {"tag": [{"system": f"{words.OWN}:notice", "code": "review", "display": NOTICE}, *_of_test(self.facts)]},
            "type": self.kind.value,
            "timestamp": words.instant(self.issued),
            "entry": entries,
        }

    def _address_of(self, resource: Json) -> str:
        kind = {"DiagnosticReport": "report", "Specimen": "specimen", "Device": "device", "Provenance": "provenance"}
        name = kind.get(resource["resourceType"])
        return self.addresses[name] if name else self._address(resource["identifier"][0]["value"])

    def _key(self, name: str) -> str:
        return f"{self.facts.device_id}/{self.facts.slide_id}/{name}"

    def _clock(self) -> Json:
        """That the dates are not to be relied on, for programs."""
        return {} if self.trusted else {"extension": [{"url": f"{words.OWN}:time-trusted", "valueBoolean": False}]}

    def _notes(self) -> list[str]:
        notes = [NOTICE]
        if self.facts.simulated:
            notes.append(SIMULATED_NOTE)
        if self.status is ReportStatus.PRELIMINARY:
            notes.append(PRELIMINARY_NOTE)
        if not self.trusted:
            notes.append(CLOCK_NOTE)
        return notes

    def _report(self, observations: list[Json], report_code: str | None, page: str | None) -> Json:
        code = code_of("report")
        if report_code is not None and report_code != code.loinc:
            code = Code("report", report_code, "Differential of a blood film", "configuration", None)
        conclusion = self._conclusion()
        report: Json = {
            "resourceType": "DiagnosticReport",
            **({"meta": {"security": _of_test(self.facts)}} if self.facts.simulated else {}),
            **self._clock(),
            "text": {"status": "generated", "div": f'<div xmlns="http://www.w3.org/1999/xhtml">{html.escape(conclusion)}</div>'},
            "identifier": [words.identifier("slide", self._key("report"))],
            "status": self.status.value,
            "category": [words.coded(_SECTION, "HM", "Hematology")],
            "code": words.concept(code),
            "effectiveDateTime": self.at,
            "issued": words.instant(self.issued),
            "specimen": [{"reference": self.addresses["specimen"]}],
            "result": [{"reference": self._address_of(each)} for each in observations],
            "conclusion": conclusion,
        }
        if self.signature:
            who = (self.signature.who, *self.signature.seconded)
            report["resultsInterpreter"] = [{"type": "Practitioner", "display": initials} for initials in who]
        title = f"Slide {self.facts.slide_id}, revision {self.facts.revision}"
        form: Json = {"contentType": "text/html", "language": "en", "title": title}
        if page is not None:
            raw = page.encode()
            digest = base64.b64encode(hashlib.sha1(raw, usedforsecurity=False).digest()).decode()  # FHIR asks for SHA-1 here
            form |= {"data": base64.b64encode(raw).decode(), "size": len(raw), "hash": digest}
            report["presentedForm"] = [form]
        return report

    def _conclusion(self) -> str:
        facts, said = self.facts, self._notes()
        if facts.abort_reason is not None:
            said.append(f"The slide was aborted: {facts.abort_reason or 'no reason was given'}.")
        said += facts.doubts
        if facts.zero:
            said.append(f"No blast was told; that does not exclude them: {facts.zero}. {facts.sensitivity}")
        said += facts.hints
        said.append(licence())
        return " ".join(said)

    def _shell(self, key: str, code: Code) -> Json:
        """What all observations have in common."""
        return {
            "resourceType": "Observation",
            **self._clock(),
            "identifier": [words.identifier("count", self._key(key))],
            "status": ObservationStatus(self.status.value).value,
            "category": [words.coded(_LABORATORY, "laboratory", "Laboratory")],
            "code": words.concept(code),
            "effectiveDateTime": self.at,
            "issued": words.instant(self.issued),
            "specimen": {"reference": self.addresses["specimen"]},
            "device": {"reference": self.addresses["device"]},
        }

    def _observation(self, line: Line) -> Json:
        one = self._shell(line.key, line.code)
        # the words are ours, so that a report reads the same where two lines bear one code
        one["code"]["text"] = f"{line.name} (nearest term: {line.code.display})" if line.code.nearest else line.name
        notes = self._notes()
        unreviewed_eyes = line.kind is Kind.PER_100 and line.key != "artefact" and not self.facts.looked_at
        if unreviewed_eyes:
            words_ = "The network cannot tell these apart, and no person has looked yet."
            return one | {"dataAbsentReason": words.absent(AbsentReason.UNSUPPORTED, words_), "note": [{"text": " ".join(notes)}]}
        if not line.whole:
            reason = words.absent(AbsentReason.NOT_PERFORMED, "No white blood cell was counted.")
            return one | {"dataAbsentReason": reason, "note": [{"text": " ".join(notes)}]}
        per_100 = line.kind is Kind.PER_100
        one["valueQuantity"] = (
            words.quantity(round(line.value, 2), "per 100 white blood cells", "/100{WBCs}") if per_100 else words.percent(line.value)
        )
        if line.key == "all_blasts":
            parts = [each for each in self.facts.lines if each.blast and each.kind in (Kind.TYPE, Kind.GROUP)]
            parts = [each for each in parts if each.kind is Kind.TYPE or each.count or each.before]
            one["hasMember"] = [{"reference": self._address(self._key(each.key))} for each in parts]
            if not line.count:
                notes.append(self.facts.sensitivity)
        if line.key == BLASTS or line.kind is Kind.UNIDENTIFIED:
            notes.append("Kind not certain; it stands in the denominator of every per cent.")
        one["note"] = [{"text": " ".join(notes)}]
        one["component"] = self._components(line)
        return one

    def _components(self, line: Line) -> list[Json]:
        cells = [
            ("cells-counted", "Cells counted as this", line.count),
            ("cells-in-all", "White blood cells in all", line.whole),
            ("count-before-review", "Cells counted as this before the review", line.before),
        ]
        found = [words.component(key, name, words.quantity(value, "cells", "{cells}")) for key, name, value in cells]
        if line.low is not None and line.high is not None:
            found.append(words.component("low-95", "Lower limit of the exact 95 % interval", words.percent(line.low)))
            found.append(words.component("high-95", "Upper limit of the exact 95 % interval", words.percent(line.high)))
        return found

    def _unseen(self, code: Code) -> Json:
        """A line that other laboratories report and this taxonomy has no class for."""
        why = "Band forms are counted among the neutrophils: the taxonomy has no class of their own."
        return self._shell(code.name, code) | {"dataAbsentReason": words.absent(AbsentReason.UNSUPPORTED, why)}

    def _in_words(self) -> Json:
        """The film in sentences, made from the counts and the engine's attributes."""
        return self._shell("film", code_of("film")) | {"valueString": " ".join(self.facts.sentences)}

    def _specimen(self) -> Json:
        specimen: Json = {
            "resourceType": "Specimen",
            "identifier": [words.identifier("specimen-of-slide", self._key("specimen"))],
            "type": {**words.coded(words.SNOMED, "119297000", "Blood specimen"), "text": "Blood film"},
            "note": [{"text": f"Slide {self.facts.slide_id}"}],
        }
        if self.facts.specimen:
            specimen["accessionIdentifier"] = {"value": self.facts.specimen}
        return specimen

    def _device(self) -> Json:
        facts = self.facts
        versions = [
            {"type": {"text": "software"}, "value": f"leukoscope {facts.software}".strip()},
            {"type": {"text": "model"}, "value": facts.model},
            {"type": {"text": "model digest, SHA-256"}, "value": facts.model_digest},
        ]
        if facts.naming:
            versions.append({"type": {"text": "naming layer"}, "value": facts.naming})
        return {
            "resourceType": "Device",
            "identifier": [words.identifier("device", facts.device_id)],
            "status": "active",
            "serialNumber": facts.device_id,
            "deviceName": [{"name": "Leukoscope", "type": "model-name"}],
            "type": {"text": "Camera and computer beside a microscope that counts white blood cells for review"},
            "version": versions,
        }

    def _provenance(self) -> Json:
        agents: list[Json] = [{"type": {"text": "counted by"}, "who": {"reference": self.addresses["device"]}}]
        if self.facts.operator:
            agents.append({"type": {"text": "operator"}, "who": {"type": "Practitioner", "display": self.facts.operator}})
        found: Json = {
            "resourceType": "Provenance",
            **self._clock(),
            "target": [{"reference": self.addresses["report"]}],
            "recorded": words.instant(self.issued),
            "agent": agents,
        }
        if self.signature:
            for n, who in enumerate((self.signature.who, *self.signature.seconded)):
                agents.append(
                    {"type": {"text": "second signature" if n else "signed by"}, "who": {"type": "Practitioner", "display": who}}
                )
            if self.signature.digest:
                what = {"identifier": words.identifier("journal-digest", self.signature.digest), "display": "Journal of the review"}
                found["entity"] = [{"role": "source", "what": what}]
        return found
