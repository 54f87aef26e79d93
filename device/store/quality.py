"""The known slide of the day: whether the appliance still finds and names its cells as it did when the slide was made the reference."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from math import sqrt
from typing import Any

from device.settings.config import QualitySection
from device.slide.model import Slide
from device.slide.tally import Differential
from device.store.checks import Check

CHECK, REFERENCE = "slide of the day", "reference"
_SURE = 2.58
"""Standard errors within which 99 % of the differences lie that chance alone makes between two counts of one film."""


@dataclass(frozen=True)
class Verdict:
    """faults: what is outside its limit, in words; none where the check is passed. result: what the record keeps."""

    faults: tuple[str, ...]
    result: dict[str, Any]

    @property
    def passed(self) -> bool:
        return not self.faults


def reference_of(slide: Slide, counted: Differential) -> dict[str, Any]:
    """What is kept of the slide that later ones are compared with: counts by row, fields. No identity."""
    rows = {row.name: row.count for row in counted.rows if row.count}
    return {
        "check": REFERENCE,
        "white_cells": counted.white_cells,
        "unidentified": counted.unidentified,
        "rows": rows,
        "fields": len(slide.fields),
    }


def judge(slide: Slide, counted: Differential, reference: dict[str, Any] | None, limits: QualitySection) -> Verdict:
    """Compare a count of the known slide with its reference (`reference_of`)."""
    now, faults = reference_of(slide, counted), []
    if counted.white_cells < limits.fewest_cells:
        faults.append(f"{counted.white_cells} nucleated cells, at least {limits.fewest_cells} are needed")
    if reference is None:
        faults.append("there is no reference yet: leukoscope qc reference SLIDE makes a slide that was looked through the reference")
        return Verdict(tuple(faults), now | {"check": CHECK, "faults": faults})
    found, wanted = (made["white_cells"] / max(1, made["fields"]) for made in (now, reference))
    located = found / wanted if wanted else 0.0
    if located < limits.located_share:
        faults.append(
            f"{found:.1f} cells a field where the reference has {wanted:.1f}: {located:.0%}, at least {limits.located_share:.0%}"
        )
    n, m = max(1, counted.white_cells), max(1, reference["white_cells"])
    for name in sorted({*now["rows"], *reference["rows"], "unidentified"}):
        here, there = ((made["unidentified"] if name == "unidentified" else made["rows"].get(name, 0)) for made in (now, reference))
        share, usual = here / n, there / m
        pooled = (here + there) / (n + m)
        allowed = max(limits.most_difference, _SURE * sqrt(pooled * (1 - pooled) * (1 / n + 1 / m)))
        if abs(share - usual) > allowed:
            faults.append(f"{name} {share:.0%} where the reference has {usual:.0%}, at most {allowed:.0%} apart")
    return Verdict(tuple(faults), now | {"check": CHECK, "located": round(located, 3), "faults": faults})


def passed_on(checks: tuple[Check, ...], day: date) -> bool:
    """Whether a check of the known slide was passed on this day (UTC)."""
    return any(check.passed and check.at.date() == day for check in checks)
