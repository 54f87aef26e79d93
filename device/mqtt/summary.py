"""From a closed slide to the `SlideSummary` that is sent: a pure function of what was counted and where it came from."""

from __future__ import annotations

import hashlib
from collections import Counter
from dataclasses import dataclass
from datetime import datetime
from typing import Literal
from uuid import UUID

from device.camera.quality import PictureFault
from device.language import speaking
from device.mqtt.crops import choose_crops
from device.mqtt.message import one_line
from device.mqtt.payloads import (
    ApartCount,
    AttributeShares,
    Blasts,
    CountBefore,
    DifferentialShare,
    ModelProvenance,
    PictureState,
    ReviewOutcome,
    SkippedKind,
    SlideSummary,
    SoftwareVersion,
    TypeMorphology,
    Unidentified,
    ValueShare,
)
from device.mqtt.provenance import Provenance
from device.review.journal import Act
from device.review.review import Review
from device.slide import picture_state
from device.slide.description import describe
from device.slide.doubt import sensitivity
from device.slide.model import ReviewState, Slide, SlideState
from device.slide.tally import percent, reviewed, tally
from engines.taxonomy import Attribute, Taxonomy
from engines.version import version

_FILMS: dict[bool | None, Literal["known", "foreign", "undecided"]] = {None: "undecided", False: "known", True: "foreign"}
_CLOSED: dict[SlideState, Literal["review", "aborted"]] = {
    SlideState.REVIEW: "review",
    SlideState.SIGNED: "review",  # receivers of form 1.0 know no third word; review_state tells it
    SlideState.ABORTED: "aborted",
}


@dataclass(frozen=True)
class Disclosure:
    """What of persons and patients leaves the device: how the reviewer is told, whether the tube's number is sent, how many pictures of
    cells."""

    reviewer: Literal["omitted", "hashed", "initials"] = "omitted"
    specimen: bool = False
    crops: int = 0

    def told_reviewer(self, initials: str, device_id: str) -> str:
        """A hash keeps one person's signatures together and hides them from a glance; initials are few, so it is no secret."""
        match self.reviewer if initials else "":
            case "initials":
                return one_line(initials)
            case "hashed":
                return "sha256:" + hashlib.sha256(f"{device_id} {initials.casefold()}".encode()).hexdigest()[:16]
        return ""


@speaking("en")
def build_summary(
    slide: Slide,
    provenance: Provenance,
    *,
    message_id: UUID,
    target_cells: int,
    review: Review | None = None,
    disclosure: Disclosure = Disclosure(),
) -> SlideSummary:
    """The summary of a closed slide. review: its review, where it is signed; `slide` is then the review's. Where pictures of cells are
    disclosed, `slide` bears them.

    Per cents are rounded to 2 decimals here, counts decide. Raises ValueError for a slide that is not closed, one whose provenance
    another version wrote, or one whose numbers do not add up (pydantic's ValidationError is one).
    """
    taxonomy, calibration, source = provenance.model.taxonomy, provenance.calibration, provenance.source
    if calibration is None or source is None:
        raise ValueError(f"slide {slide.slide_id}: another version wrote its calibration or its source, which this one cannot read")
    counts, naming = reviewed(slide, taxonomy), provenance.model.naming
    low, high = counts.blast_range
    if slide.state not in _CLOSED or slide.finished_at is None:
        raise ValueError(f"slide {slide.slide_id} is {slide.state.value}: a summary is made of a finished or an aborted slide")
    state, pictures = _CLOSED[slide.state], picture_state.PictureState.of(slide)
    pictures_of_blasts = choose_crops(slide, taxonomy, disclosure.crops)
    return SlideSummary(
        message_id=message_id,
        device_id=provenance.device_id,
        slide_id=one_line(slide.slide_id),
        state=state,
        abort_reason=(one_line(slide.abort_reason) or "no reason given") if state == "aborted" else "",
        review_state=slide.review_state.value,
        started_at=slide.started_at,
        finished_at=slide.finished_at,
        time_trusted=provenance.time_trusted,
        boot_id=one_line(provenance.boot_id),
        fields_counted=len(slide.fields),
        fields_undone=slide.fields_undone,
        target_cells=target_cells,
        white_cells=counts.white_cells,
        differential=tuple(
            DifferentialShare(
                name=one_line(row.name),
                count=row.count,
                percent=round(row.percent, 2),
                blast=row.blast,
                group=row.told if isinstance(row.told, str) else "",
            )
            for row in counts.rows
            if naming or row.count or not row.is_group
        ),
        unidentified=Unidentified(count=counts.unidentified, percent=round(counts.unidentified_percent, 2)),
        artefacts=counts.artefacts,
        blasts=Blasts(
            count=counts.blasts,
            percent=round(counts.blast_percent, 2),
            uncertain_kind=sum(row.count for row in counts.rows if row.blast and row.is_group),
            low_percent=round(low, 2),
            high_percent=round(high, 2),
            sensitivity=one_line(sensitivity(naming, slide.foreign)),
            equivalents=counts.blast_equivalents,
            confirmed=slide.review_state is ReviewState.REVIEWED,
        ),
        morphology=morphology(slide, taxonomy),
        description=tuple(one_line(sentence) for sentence in describe(slide, counts, taxonomy, naming)),
        model=ModelProvenance.of(provenance.model, provenance.identify_threshold),
        calibration=calibration,
        source=source,
        skipped_pictures=len(slide.skipped),
        fields_at_limit=pictures.at_limit,
        pictures=PictureState(
            judged=pictures.judged,
            blank_views=pictures.blank_views,
            skipped=tuple(SkippedKind(kind=one_line(kind), count=count) for kind, count in pictures.skipped.items()),
            **{fault.value: pictures.faults[fault] for fault in PictureFault},
        ),
        versions=SoftwareVersion(leukoscope=one_line(version())),
        film=_FILMS[slide.foreign],
        fields_first_look=pictures.first_look,
        non_finite=pictures.non_finite,
        revision=slide.revision,
        review=_outcome(slide, review, provenance.device_id, disclosure),
        apart=tuple(
            ApartCount(
                key=one_line(row.key),
                name=one_line(row.name),
                count=row.count,
                per_100=None if row.per_100 is None else round(row.per_100, 2),
            )
            for row in counts.apart
        ),
        charts=slide.charts,
        lost_rests=slide.lost_rests,
        possible_doubles=slide.possible_doubles,
        specimen=one_line(slide.specimen) if disclosure.specimen else "",
        stream="",
        sequence=0,  # the record gives the number
        duration_s=slide.duration_s if slide.duration_s is not None else _between(slide.started_at, slide.finished_at),
        crops=pictures_of_blasts.crops,
        crops_left_out=pictures_of_blasts.left_out,
    )


def _between(start: datetime, end: datetime) -> float:
    return max(0.0, (end - start).total_seconds())


def _outcome(slide: Slide, review: Review | None, device_id: str, disclosure: Disclosure) -> ReviewOutcome:
    if review is None or slide.review_state is not ReviewState.REVIEWED:
        return ReviewOutcome(
            corrected=False,
            reviewer="",
            signed_at=None,
            reason="",
            counts_before=(),
            unidentified_before=0,
            artefacts_before=0,
            changed_cells=0,
            added_cells=0,
            journal_digest="",
        )
    before = review.differential_before
    return ReviewOutcome(
        corrected=slide.revision > 1,
        reviewer=disclosure.told_reviewer(slide.reviewer, device_id),
        signed_at=slide.signed_at,
        reason=one_line(next(entry.why for entry in reversed(review.entries) if entry.act is Act.SIGNED)),
        counts_before=tuple(CountBefore(name=one_line(row.name), count=row.count) for row in before.rows),
        unidentified_before=before.unidentified,
        artefacts_before=before.artefacts,
        changed_cells=changed_cells(review),
        added_cells=added_cells(review),
        journal_digest=review.entries[-1].digest,
    )


def changed_cells(review: Review) -> int:
    """Cells of which the person says something else than the device."""
    return sum(not cell.added and cell.said != cell.said_before for cell in review.cells.values())


def added_cells(review: Review) -> int:
    return sum(cell.added for cell in review.cells.values())


def morphology(slide: Slide, taxonomy: Taxonomy) -> tuple[TypeMorphology, ...]:
    """Attributes of each type and group that was told of at least one cell, in the tally's order; artefacts have none."""
    types = []
    for row in tally(slide, taxonomy).rows:
        words = [c.attribute_words(taxonomy) for c in slide.cells if slide.told(c) == row.told]
        if words:
            shares = tuple(_shares(a, Counter(w[a.key] for w in words if a.key in w)) for a in taxonomy.attributes)
            types.append(TypeMorphology(name=one_line(row.name), cells=len(words), attributes=shares))
    return tuple(types)


def _shares(attribute: Attribute, counts: Counter[str]) -> AttributeShares:
    known = sum(counts.values())
    best = [word for word in attribute.values if counts[word] and counts[word] == max(counts.values())]
    return AttributeShares(
        key=one_line(attribute.key),
        name=one_line(attribute.name),
        known=known,
        majority=one_line(best[0]) if len(best) == 1 else None,
        shares=tuple(
            ValueShare(value=one_line(word), count=counts[word], percent=round(percent(counts[word], known), 2))
            for word in attribute.values
        ),
    )
