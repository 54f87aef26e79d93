"""The end of the demo: the slide is reviewed and signed by the demo itself, of rendered film only, and handed on as files."""

from __future__ import annotations

from pathlib import Path

from device.report.export import How, Wanted, export_record
from device.review.review import FEWEST_CELLS, Review
from device.slide.verdict import NOT_CLASSED
from device.store import Store

REVIEWER = "DEMO"
"""Initials of the demo as a reviewer; it is a program and looks at nothing."""
WHY = "signed by the demo, a program; nobody looked"


def hand_on(record_path: Path, slide_id: str, out: Path, simulated: bool) -> tuple[Path, ...]:
    """Write the slide's files as it was counted and, of rendered film, as the demo signed it; their folders. Raises StoreError.

    Pictures of one's own may be a patient's: a program signs no such slide.
    """
    folders: list[Path] = []
    export_record(record_path, out, Wanted(slide_id), How(), lambda one: folders.append(one.folder))
    if simulated and _sign(record_path, slide_id):
        export_record(record_path, out, Wanted(slide_id), How(), lambda one: folders.append(one.folder))
    return tuple(folders)


def _sign(record_path: Path, slide_id: str) -> bool:
    """Go through the review as a person must: each blast opened, what is unidentified left out, charts accepted. False for a slide that
    holds nothing to sign, or is not finished."""
    with Store.connect(record_path) as store:
        stored = store.slide(slide_id)
        review = Review(stored.slide, stored.provenance.model.taxonomy, stored.review, who=REVIEWER)
        if any(one.kind == "state" for one in review.blockers()) or not stored.slide.cells:
            return False
        for cell in review.cells.values():
            if cell.must_open:
                review = review.after(review.open(cell.cell_id))
        left = [cell.cell_id for cell in review.cells.values() if cell.said == ""]
        review = review.after(review.name(left, NOT_CLASSED, WHY))
        for chart in review.charts_open:
            review = review.after(review.acknowledge(chart))
        few = review.differential.white_cells < FEWEST_CELLS
        review = review.after(review.sign(why=WHY if few else ""))
        store.put_review(slide_id, review.entries, review.slide)
    return True
