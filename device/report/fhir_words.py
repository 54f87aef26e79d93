"""FHIR R4's closed lists that a report uses, and the pieces that its resources are made of. What a slide says is `fhir`'s.

fhir.resources, which the tests check the structure with, lets any word pass as a status; so the required lists stand here as enums and
nothing else can be written.
"""

from __future__ import annotations

from datetime import datetime, timezone
from enum import Enum
from typing import Any
from uuid import UUID, uuid5

from device.report.codes import Code

LOINC, SNOMED, UCUM = "http://loinc.org", "http://snomed.info/sct", "http://unitsofmeasure.org"
OWN = "urn:leukoscope"
"""Systems of our own identifiers, codes and extensions begin with it: `urn:leukoscope:slide`."""
_NAMESPACE = UUID("8f0b7a52-3c55-4d1e-9a61-5b0e0f6d2a41")
Json = dict[str, Any]


class ReportStatus(str, Enum):
    """http://hl7.org/fhir/ValueSet/diagnostic-report-status, those that a slide can have."""

    PRELIMINARY = "preliminary"
    FINAL = "final"
    AMENDED = "amended"
    CORRECTED = "corrected"
    CANCELLED = "cancelled"


class ObservationStatus(str, Enum):
    """http://hl7.org/fhir/ValueSet/observation-status, those that a count can have."""

    PRELIMINARY = "preliminary"
    FINAL = "final"
    AMENDED = "amended"
    CORRECTED = "corrected"
    CANCELLED = "cancelled"


class AbsentReason(str, Enum):
    """Of http://terminology.hl7.org/CodeSystem/data-absent-reason."""

    UNSUPPORTED = "unsupported"  # the engine cannot see it and nobody looked
    NOT_PERFORMED = "not-performed"  # nothing was counted


class BundleKind(str, Enum):
    """Of http://hl7.org/fhir/ValueSet/bundle-type: one to be kept, one that a server takes."""

    COLLECTION = "collection"
    TRANSACTION = "transaction"


def urn(*parts: str) -> str:
    """The same address for the same parts, so that a resource that is written again is the same one."""
    return f"urn:uuid:{uuid5(_NAMESPACE, '/'.join(parts))}"


def instant(at: datetime) -> str:
    """A moment as FHIR's instant, in UTC."""
    return at.astimezone(timezone.utc).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def identifier(system: str, value: str) -> Json:
    return {"system": f"{OWN}:{system}", "value": value}


def concept(code: Code) -> Json:
    """Words, with the LOINC code where there is one; a code that only comes near is marked as no exact match."""
    if code.loinc is None:
        return {"text": code.display}
    coding = {"system": LOINC, "code": code.loinc, "display": code.display}
    return {"coding": [coding], "text": f"{code.display} (nearest term)" if code.nearest else code.display}


def coded(system: str, code: str, display: str) -> Json:
    return {"coding": [{"system": system, "code": code, "display": display}]}


def quantity(value: float, unit: str, ucum: str) -> Json:
    return {"value": value, "unit": unit, "system": UCUM, "code": ucum}


def percent(value: float) -> Json:
    return quantity(round(value, 2), "%", "%")


def component(key: str, words: str, value: Json) -> Json:
    return {"code": {**coded(f"{OWN}:component", key, words), "text": words}, "valueQuantity": value}


def absent(reason: AbsentReason, words: str) -> Json:
    system = "http://terminology.hl7.org/CodeSystem/data-absent-reason"
    return {**coded(system, reason.value, reason.value.replace("-", " ").title()), "text": words}


def entry(address: str, resource: Json, kind: BundleKind) -> Json:
    """One entry of a bundle. In a transaction it is put by its identifier, so that sending it again changes nothing."""
    given = {"fullUrl": address, "resource": resource}
    if kind is BundleKind.COLLECTION:
        return given
    name = resource["resourceType"]
    known = resource.get("identifier")
    if not known:  # Provenance has none: another one each time is what it is for
        return {**given, "request": {"method": "POST", "url": name}}
    return {**given, "request": {"method": "PUT", "url": f"{name}?identifier={known[0]['system']}|{known[0]['value']}"}}
