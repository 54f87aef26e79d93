"""What a report says of a slide, as plain facts: of a stored slide here, of a received summary in `device.supervisor.web.handed_on`."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from device.language import speaking
from device.report.case import Case, Line, Signature
from device.report.review_part import doubts, hints
from device.slide.description import describe
from device.slide.doubt import sensitivity, zero_limit
from device.slide.model import SlideState
from engines.version import version


@dataclass(frozen=True)
class Facts:
    """One slide. at: when it ended. abort_reason: None unless it was aborted. zero: what no blasts leave open, "" where there are some.

    looked_at: a person has reviewed the slide. model: name, version and precision; naming: the layer, "" without one.
    """

    device_id: str
    slide_id: str
    revision: int
    at: datetime
    time_trusted: bool
    simulated: bool
    abort_reason: str | None
    signature: Signature | None
    lines: tuple[Line, ...]
    looked_at: bool
    doubts: tuple[str, ...]
    hints: tuple[str, ...]
    zero: str
    sensitivity: str
    sentences: tuple[str, ...]
    specimen: str
    operator: str
    software: str
    model: str
    model_digest: str
    naming: str


@speaking("en")
def facts_of(case: Case) -> Facts:
    """Of a stored slide. DoubtfulSignatureError where the record calls it signed and its journal does not bear that out."""
    slide, made = case.slide, case.stored.provenance
    model, naming = made.model, made.model.naming
    aborted = case.stored.slide.state is SlideState.ABORTED
    return Facts(
        device_id=made.device_id,
        slide_id=slide.slide_id,
        revision=slide.revision,
        at=slide.finished_at or slide.started_at,
        time_trusted=made.time_trusted,
        simulated=case.simulated,
        abort_reason=slide.abort_reason if aborted else None,
        signature=case.signature,
        lines=case.lines,
        looked_at=bool(case.entries),
        doubts=tuple(doubts(case)),
        hints=tuple(hints(case)),
        zero=zero_limit(case.after),
        sensitivity=sensitivity(naming, slide.foreign),
        sentences=describe(slide, case.after, case.taxonomy, naming),
        specimen=slide.specimen,
        operator=slide.operator,
        software=version(),
        model=f"{model.name} {model.version} {model.precision}",
        model_digest=model.digest,
        naming="" if naming is None else f"{naming.name} {naming.version} {naming.digest}".strip(),
    )
