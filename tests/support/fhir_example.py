"""The example in docs/schema, of no patient's blood: `python -m tests.support.fhir_example docs/schema` writes it anew."""

from __future__ import annotations

import sys
from dataclasses import replace
from datetime import datetime, timezone
from pathlib import Path
from unittest.mock import patch

from device.clock import TimeService
from device.report import facts, fhir
from device.store import StoredSlide
from engines.runtime.base import EngineInfo
from engines.taxonomy import LEUKEMIA_ATTRI
from tests.support.provenance import provenance
from tests.support.review import slide
from tests.support.signed import signed

NAME = "slide.example.fhir.json"
_CELLS = {"Neutrophil": 92, "Lymphocyte": 61, "Monocyte": 13, "Eosinophil": 4, "Myeloblast": 24, "Promonocyte": 3, "": 6, "None": 7}


def example() -> str:
    """A made-up slide, reviewed and signed, as `leukoscope slides export` writes it."""
    words = tuple(word for word, count in _CELLS.items() for _ in range(count))
    model = EngineInfo("attridet-n", "2.0.0", "4b" * 32, "onnxruntime 1.23.2 CPU", "fp32", (640, 640), LEUKEMIA_ATTRI, 0.25)
    counted = replace(slide(words[:100], words[100:]), specimen="26-004711", operator="KM")
    first = len(words) - _CELLS["None"] - _CELLS[""] + 1
    verdicts = {first: "Myeloblast", first + 1: "nrbc", first + 2: "smudge", first + 3: "Lymphocyte"}
    with patch.object(TimeService, "keeps", True), patch.object(facts, "version", lambda: "0.2.0"):
        case = signed(StoredSlide(counted, provenance(model), None), verdicts)
        return fhir.to_json(fhir.bundle(case, written_at=datetime(2026, 11, 30, tzinfo=timezone.utc)))


if __name__ == "__main__":
    (Path(sys.argv[1] if len(sys.argv) > 1 else "docs/schema") / NAME).write_text(example(), encoding="utf-8")
