"""The page of `attridet transfer`: what was accepted, what was refused and why, pictures drawn of the pairs, their numbers and labels.

How it looks is in the template beside it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from calibration.transfer import pictures as draw
from calibration.transfer.homography import map_points, rectangle
from calibration.transfer.output import Labelled, notes_of
from calibration.transfer.pictures import Mark
from calibration.transfer.registration import criteria
from calibration.transfer.sides import SidePicture
from calibration.transfer.work import PairOutcome
from engines.detections import Image
from engines.errors import DataError
from engines.files import write_result
from engines.pages import page_template
from engines.taxonomy import Taxonomy

FOLDER = "report"
TEMPLATE = "transfer.html.j2"
PAGE = "index.html"

_Entry = dict[str, Any]
"""What the template reads by name."""


def write_report(
    out: Path,
    about: Mapping[str, Any],
    most: int,
    taxonomy: Taxonomy,
    outcomes: Sequence[PairOutcome],
    labelled: Sequence[Labelled],
    progress: Callable[[int, int], None],
) -> None:
    """Draw the pairs, those with a map first, at most `most`, and write the page.

    about: source, target, written_at, scale (words on the nominal one), alone ((name, why) of pictures without a partner).
    """
    folder = out / FOLDER
    folder.mkdir()
    by_target = {one.target.path: one for one in labelled}
    pairs = []
    for number, outcome in enumerate(sorted(outcomes, key=lambda o: o.registration.fit.h is None), start=1):
        one = by_target[outcome.target.path] if outcome.carried is not None else None
        pairs.append(_pair(outcome, one, taxonomy, folder if number <= most else None, number))
        progress(number, len(outcomes))
    content = {"pairs": pairs, "without_pictures": max(0, len(outcomes) - most), **about}
    write_result(folder / PAGE, page_template(Path(__file__).with_name(TEMPLATE)).render(content))


def _pair(outcome: PairOutcome, one: Labelled | None, taxonomy: Taxonomy, folder: Path | None, number: int) -> _Entry:
    labels, marks = _labels(outcome, one, taxonomy)
    lost = outcome.carried.lost if outcome.carried is not None else ()
    return {
        "outcome": outcome,
        "rows": criteria(outcome.registration.fit, outcome.registration.expected),
        "panels": [] if folder is None else _panels(outcome, one, marks, taxonomy, folder, number),
        "labels": labels,
        "lost": [f"{_name(outcome.source, row, taxonomy)}, {why}" for row, why in lost],
        "notes": [*outcome.notes, *_merged_away(outcome, one)],
    }


def _labels(outcome: PairOutcome, one: Labelled | None, taxonomy: Taxonomy) -> tuple[list[_Entry], list[Mark]]:
    """What of the target's labels this pair brought, numbered as in its picture, and their marks."""
    labels: list[_Entry] = []
    marks: list[Mark] = []
    for merged in one.merged if one is not None else ():
        assert one is not None
        brought, carried, n, label = one.label(merged)
        if brought is not outcome:
            continue
        notes, name = notes_of(one, merged), taxonomy.classes[label.code]
        others = [(one.outcomes[s].source, row) for s, row in merged.doubles]
        where = "; also ".join([brought.source.name, *(f"{_name(p, row, taxonomy)} in {p.name}" for p, row in others)])
        labels.append(
            {"name": name, "source": where, "confidence": carried.confidence[n], "visible": carried.visible[n], "notes": notes}
        )
        x1, y1, x2, y2 = (float(v) for v in carried.boxes[n])
        marks.append(Mark((x1, y1, x2, y2), f"{len(labels)} {name}", draw.AMBER if notes else draw.GREEN))
    return labels, marks


def _merged_away(outcome: PairOutcome, one: Labelled | None) -> list[str]:
    """A sentence where cells of this source came from another one."""
    if one is None:
        return []
    here = one.outcomes.index(outcome)
    away = sum(s == here for merged in one.merged for s, _ in merged.doubles)
    return [f"{away} of its labels are cells that another source brings"] if away else []


def _panels(
    outcome: PairOutcome, one: Labelled | None, marks: list[Mark], taxonomy: Taxonomy, folder: Path, number: int
) -> list[_Entry]:
    source, target = outcome.source.read(), outcome.target.read()
    lost = {row for row, _ in outcome.carried.lost} if outcome.carried is not None else set()
    on_source = []
    for row, cell in enumerate(outcome.source.cells):
        words = taxonomy.classes[cell.code]
        on_source.append(Mark(cell.xyxy_px, words, draw.RED if row in lost or not outcome.accepted else draw.GREEN))
    found = outcome.registration.fit
    panels: list[_Entry] = []

    def save(kind: str, image: Image, caption: str, wide: bool = False) -> None:
        file = f"{number:04d}-{kind}.png"
        if not cv2.imwrite(str(folder / file), image):
            raise DataError(f"{folder / file}: cannot be written; is the disk full?")
        panels.append({"file": file, "caption": caption, "wide": wide})

    has = f"{len(on_source)} labels" if on_source else "no labels"
    save("source", draw.labels_panel(source, on_source), f"source, {has}")
    if found.h is None:
        own = [Mark(c.xyxy_px, taxonomy.classes[c.code], draw.BLUE) for c in outcome.target.cells]
        save("target", draw.labels_panel(target, own), "target; no map was found")
        return panels
    outline = map_points(found.h, rectangle((source.shape[1], source.shape[0])))
    ignored = one.ignored if one is not None else ()
    caption = "target, its carried labels, the source's field" if one is not None else "target and the source's field as fitted"
    save("target", draw.labels_panel(target, marks, outline, ignored), caption)
    save("laid", draw.laid_panel(source, target, found.h), "the source laid on the target, in every other square")
    if len(found.source_points):
        n = len(np.unique(np.round(found.source_points), axis=0))
        save("matches", draw.matches_panel(source, target, found), f"matches that agree, at most 60 of {n} drawn", wide=True)
    return panels


def _name(picture: SidePicture, row: int, taxonomy: Taxonomy) -> str:
    return taxonomy.classes[picture.cells[row].code]
