"""The page of `attridet transfer` filled: pictures drawn of the pairs, their numbers and labels as the page wants them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import cv2
import numpy as np

from calibration.transfer import pictures as draw
from calibration.transfer.output import Labelled, notes_of
from calibration.transfer.page import Content, Pair, Panel, ShownLabel, rows_of, write_page
from calibration.transfer.pictures import Image, Mark
from calibration.transfer.registration import Limits
from calibration.transfer.sides import Alone, SidePicture
from calibration.transfer.work import PairOutcome
from engines.errors import DataError
from engines.taxonomy import Taxonomy

FOLDER = "report"


@dataclass(frozen=True)
class Drawing:
    """What the page is about. title: names of source and target; scale: words on the nominal one; most: pairs to draw."""

    title: tuple[str, str]
    taxonomy: Taxonomy
    limits: Limits
    scale: str
    written_at: datetime
    most: int


def write_report(
    out: Path,
    about: Drawing,
    outcomes: Sequence[PairOutcome],
    labelled: Sequence[Labelled],
    alone: Sequence[Alone],
    done: Callable[[], None] = lambda: None,
) -> Path:
    """Draw the pairs, those with a map first, at most `about.most`, and write the page; returns it."""
    folder = out / FOLDER
    folder.mkdir()
    by_target = {one.target.path: one for one in labelled}
    worth = sorted(range(len(outcomes)), key=lambda n: (outcomes[n].registration.fit.h is None, n))
    pairs: list[Pair] = []
    for place, n in enumerate(worth):
        pairs.append(_pair(outcomes[n], by_target, about, folder if place < about.most else None, place + 1))
        done()
    content = Content(
        source=about.title[0],
        target=about.title[1],
        written_at=about.written_at,
        pairs=pairs,
        alone=[(one.name, one.why) for one in alone],
        scale=about.scale,
        without_pictures=max(0, len(outcomes) - about.most),
    )
    return write_page(folder, content)


def _pair(outcome: PairOutcome, by_target: Mapping[Path, Labelled], about: Drawing, folder: Path | None, number: int) -> Pair:
    taxonomy = about.taxonomy
    one = by_target.get(outcome.target.path) if outcome.carried is not None else None
    labels, marks = _labels(outcome, one, taxonomy)
    lost = []
    if outcome.carried is not None:
        lost = [f"{_name(outcome.source, row, taxonomy)}, {why}" for row, why in outcome.carried.lost]
    return Pair(
        source=outcome.source.name,
        target=outcome.target.name,
        reasons=outcome.reasons,
        via=outcome.registration.fit.via,
        rows=rows_of(outcome.registration, about.limits),
        panels=() if folder is None else tuple(_panels(outcome, one, marks, taxonomy, folder, number)),
        labels=tuple(labels),
        lost=tuple(lost),
        notes=(*outcome.notes, *_merged_away(outcome, one)),
    )


def _labels(outcome: PairOutcome, one: Labelled | None, taxonomy: Taxonomy) -> tuple[list[ShownLabel], list[Mark]]:
    """What of the target's labels this pair brought, numbered as in its picture, and their marks."""
    labels: list[ShownLabel] = []
    marks: list[Mark] = []
    for merged in one.merged if one is not None else ():
        assert one is not None
        brought, carried, n, label = one.label(merged)
        if brought is not outcome:
            continue
        notes = tuple(notes_of(one, merged))
        number, name = len(labels) + 1, taxonomy.classes[label.code]
        others = [(one.outcomes[s].source, row) for s, row in merged.doubles]
        where = "; also ".join([brought.source.name, *(f"{_name(p, row, taxonomy)} in {p.name}" for p, row in others)])
        labels.append(ShownLabel(number, name, where, float(carried.confidence[n]), float(carried.visible[n]), notes))
        x1, y1, x2, y2 = (float(v) for v in carried.boxes[n])
        marks.append(Mark((x1, y1, x2, y2), f"{number} {name}", draw.AMBER if notes else draw.GREEN))
    return labels, marks


def _merged_away(outcome: PairOutcome, one: Labelled | None) -> list[str]:
    """A sentence where cells of this source came from another one."""
    if one is None:
        return []
    here = next(n for n, o in enumerate(one.outcomes) if o is outcome)
    away = sum(s == here for merged in one.merged for s, _ in merged.doubles)
    return [f"{away} of its labels are cells that another source brings"] if away else []


def _panels(
    outcome: PairOutcome, one: Labelled | None, marks: list[Mark], taxonomy: Taxonomy, folder: Path, number: int
) -> list[Panel]:
    source, target = outcome.source.read(), outcome.target.read()
    lost = {row for row, _ in outcome.carried.lost} if outcome.carried is not None else set()
    on_source = []
    for row, cell in enumerate(outcome.source.picture.cells):
        words = taxonomy.classes[cell.code]
        on_source.append(Mark(cell.xyxy_px, words, draw.RED if row in lost or not outcome.accepted else draw.GREEN))
    found = outcome.registration.fit
    panels = []

    def save(kind: str, image: Image, caption: str, wide: bool = False) -> None:
        file = f"{number:04d}-{kind}.png"
        if not cv2.imwrite(str(folder / file), image):
            raise DataError(f"{folder / file}: cannot be written; is the disk full?")
        panels.append(Panel(file, caption, wide))

    has = f"{len(on_source)} labels" if on_source else "no labels"
    save("source", draw.source_panel(source, on_source), f"source, {has}")
    if found.h is None:
        own = [Mark(c.xyxy_px, taxonomy.classes[c.code], draw.BLUE) for c in outcome.target.picture.cells]
        save("target", draw.target_panel(target, own, []), "target; no map was found")
        return panels
    outline = draw.outline_of(found.h, (source.shape[1], source.shape[0]))
    ignored = one.ignored if one is not None else ()
    caption = "target, its carried labels, the source's field" if one is not None else "target and the source's field as fitted"
    save("target", draw.target_panel(target, marks, [outline], ignored), caption)
    save("laid", draw.laid_panel(source, target, found.h), "the source laid on the target, in every other square")
    if found.source_points is not None:
        n = len(np.unique(np.round(found.source_points), axis=0))
        save("matches", draw.matches_panel(source, target, found), f"matches that agree, at most 60 of {n} drawn", wide=True)
    return panels


def _name(picture: SidePicture, row: int, taxonomy: Taxonomy) -> str:
    return taxonomy.classes[picture.picture.cells[row].code]
