"""What a layer says of itself: the card in its file, and the same as a page for people."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import date
from typing import Any

import numpy as np

from calibration.site.figures import Figures
from engines.bundle import Bundle
from engines.naming import NamingLayer
from engines.naming.cells import LabelledCells
from engines.naming.fit import FitSettings
from engines.taxonomy import Taxonomy
from engines.version import version


def card(
    bundle: Bundle,
    cells: LabelledCells,
    settings: FitSettings,
    left_out: str,
    found: Figures,
    before: Figures | None,
    notes: Sequence[str],
    site: bool,
) -> dict[str, Any]:
    """The card as the layer bears it. left_out: "slide", "source" or "patient". before: the bundle's own layer on the same."""
    return {
        "kind": "site" if site else "open",
        "said": said(found, left_out),
        "bundle": {"name": bundle.manifest.name, "version": bundle.manifest.version, "digest": bundle.digest},
        "sources": [_source(cells, str(source), bundle.taxonomy) for source in np.unique(cells.sources)],
        "settings": asdict(settings),
        "left_out": left_out,
        "figures": found.to_dict(),
        "before": None if before is None else before.to_dict(),
        "notes": list(notes),
        "leukoscope": version(),
    }


def said(found: Figures, left_out: str) -> str:
    """One sentence on how far names may be believed; it stands beside counts on screen and page."""
    if not found.blasts:
        return "No blast could be left out to test the naming of cells on: how sensitive it is, is not known."
    told = f"{found.blasts_told} of {found.blasts} blasts were told as such, and {found.others_told} of {found.others} other cells"
    if left_out == "slide":
        slides = len(found.slides)
        return f"On {slides} slides of this microscope, each left out of the fit in turn, {told}."
    return f"On open data, each {left_out} left out of the fit in turn, {told}; of other microscopes nothing is known."


def page(layer: NamingLayer, file: str, found: Figures, before: Figures | None) -> str:
    """The card as Markdown."""
    card, thresholds = layer.card, layer.thresholds
    kind = "Site layer" if layer.site else "Open layer"
    lines = [
        f"# {kind} {layer.info.label}",
        "",
        f"Written {date.today().isoformat()} by leukoscope {card['leukoscope']}; file `{file}`, digest `{layer.digest}`.",
        f"Fitted to the second look of {card['bundle']['name']} {card['bundle']['version']} (encoder `{layer.encoder[:16]}`); no other "
        "engine takes it.",
        "",
        f"**{card['said']}**",
        "",
        *(f"- Mind: {note}" for note in card["notes"]),
        "",
        "## Cells",
        "| source | blasts | other white cells | artefacts | patients | licence |",
        "|---|---|---|---|---|---|",
        *(_row(each) for each in card["sources"]),
        "",
        f"## Told of cells that were left out ({card['left_out']} by {card['left_out']})",
        "| | this layer |" + (" the bundle's own |" if before else ""),
        "|---|---|" + ("---|" if before else ""),
        *_figures(found, before),
        "",
        "Thresholds were chosen on cells of the same origin, so figures are rather too good; a few slides say little of the next.",
        "",
        *(_slides(found) if layer.site else []),
        "## Thresholds",
        f"White cell from {thresholds.cell:g}; blast from {thresholds.blast:g}, none up to {thresholds.other:g}; a type from "
        f"{thresholds.type:g}. A missed blast costs {card['settings']['blast_cost']:g} other cells told as blasts.",
        "",
    ]
    return "\n".join(lines)


def _source(cells: LabelledCells, source: str, taxonomy: Taxonomy) -> dict[str, Any]:
    here = cells.select(cells.sources == source)
    groups = [taxonomy.group_of(int(kind)) for kind in here.classes]
    kinds, counts = np.unique(here.classes, return_counts=True)
    return {
        "name": source,
        "blasts": groups.count("blasts"),
        "others": groups.count("others"),
        "artefacts": groups.count(""),
        "patients": len(np.unique(here.patients)),
        "types": {taxonomy.classes[int(kind)]: int(number) for kind, number in zip(kinds, counts, strict=True)},
        "rendered": source in cells.rendered,
        "licence": cells.licences.get(source, ""),
    }


def _row(source: Mapping[str, Any]) -> str:
    shown = (source[key] for key in ("name", "blasts", "others", "artefacts", "patients"))
    return f"| {' | '.join(map(str, shown))} | {source['licence'] or 'of the site'} |"


def _figures(found: Figures, before: Figures | None) -> list[str]:
    columns = [figures_in_words(each) for each in (found, before) if each is not None]
    return [f"| {title} | {' | '.join(column[title] for column in columns)} |" for title in columns[0]]


def figures_in_words(found: Figures) -> dict[str, str]:
    """The figures as people read them, by what they are."""
    low, high = (100 * limit for limit in found.sensitivity)
    return {
        "AUC, blasts against other white cells": _number(found.auc, ".3f"),
        "Youden's J": _number(found.j, "+.2f"),
        "blasts told as blasts": _of(found.blasts_told, found.blasts),
        "exact 95 % interval of that": f"{low:.0f} to {high:.0f} %",
        "other white cells told as blasts": _of(found.others_told, found.others),
        "told as a group, of these right": _of(found.grouped_right, found.grouped),
        "told as a type, of these right": _of(found.typed_right, found.typed),
        "white cells told as artefacts": _of(found.cells_lost, found.blasts + found.others),
        "artefacts told as white cells": _of(found.artefacts_told, found.artefacts),
        "blast per cent off by, mean of slides": _number(found.percent_off, ".0f"),
    }


def _slides(found: Figures) -> list[str]:
    return [
        "## Slides",
        "| slide | white cells | blasts, % | told, % |",
        "|---|---|---|---|",
        *(f"| {s.slide} | {s.cells} | {s.blast_percent:.0f} | {_number(s.told_percent, '.0f')} |" for s in found.slides),
        "",
    ]


def _of(count: int, total: int) -> str:
    return f"{count} of {total}" + (f" ({100 * count / total:.0f} %)" if total else "")


def _number(value: float, spec: str) -> str:
    return "not known" if value != value else f"{value:{spec}}"  # noqa: PLR0124  # NaN alone differs from itself
