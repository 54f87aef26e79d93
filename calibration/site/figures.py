"""What a layer tells of cells that its fit never saw: area under the curve, Youden's J, types, and the blast per cent of each slide."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engines.detections import Float32, Int64
from engines.evaluation.calibration import area_under_curve
from engines.intervals import exact_interval
from engines.naming.cells import Texts
from engines.naming.layer import NamingThresholds, told, white_and_blast
from engines.taxonomy import Taxonomy


@dataclass(frozen=True)
class SlideFigures:
    """One slide left out: labelled white cells, per cent of them that are blasts as labelled and as told (NaN where none was told)."""

    slide: str
    cells: int
    blast_percent: float
    told_percent: float


@dataclass(frozen=True)
class Figures:
    """Over white cells left out. auc, j: blasts or equivalents against the others; NaN where one of them is missing.

    blasts, others: how many; blasts_told, others_told: how many of each are told as blasts. typed, typed_right: cells told as a type,
    and rightly; grouped, grouped_right: as a group. cells_lost: white cells told as artefacts; artefacts, artefacts_told: how many,
    and how many of them are told as white cells.
    """

    auc: float
    j: float
    blasts: int
    blasts_told: int
    others: int
    others_told: int
    typed: int
    typed_right: int
    grouped: int
    grouped_right: int
    cells_lost: int
    artefacts: int
    artefacts_told: int
    slides: tuple[SlideFigures, ...]

    @property
    def sensitivity(self) -> tuple[float, float]:
        """The exact 95 % interval of the share of blasts told; cells of one slide are not independent, so it is rather too narrow."""
        return exact_interval(self.blasts_told, self.blasts)

    @property
    def percent_off(self) -> float:
        """Mean difference of the blast per cent told from that labelled, in points over slides; NaN without any."""
        gaps = [abs(slide.told_percent - slide.blast_percent) for slide in self.slides]
        known = [gap for gap in gaps if not math.isnan(gap)]
        return sum(known) / len(known) if known else math.nan

    def to_dict(self) -> dict[str, Any]:
        """Plain form for a card: no NaN, which JSON has not."""
        plain = asdict(self)
        plain["slides"] = [_without_nan(slide) for slide in plain["slides"]]
        return _without_nan(plain)


def figures(probabilities: Float32, classes: Int64, slides: Texts, thresholds: NamingThresholds, taxonomy: Taxonomy) -> Figures:
    """Figures of cells (N,) from their probabilities (N, C) as the thresholds tell them."""
    white, blast = ~np.isin(classes, taxonomy.artefact_codes), np.isin(classes, taxonomy.blast_codes)
    types, keys = told(probabilities, taxonomy, thresholds)
    groups = np.array(keys, np.str_)
    gone = np.isin(types, taxonomy.artefact_codes)
    as_blast = groups == "blasts"
    group_right = np.where(blast, as_blast, groups == "others")
    named, grouped = white & ~gone & (types >= 0), white & ~gone & (groups != "")
    yes, no = white & blast, white & ~blast
    share = white_and_blast(probabilities, taxonomy)[1]

    def count(rows: NDArray[np.bool_]) -> int:
        return int(rows.sum())

    return Figures(
        auc=float(area_under_curve(share[white].astype(np.float64), blast[white])[0]),
        j=float(as_blast[yes].mean() - as_blast[no].mean()) if yes.any() and no.any() else math.nan,
        blasts=count(yes),
        blasts_told=count(yes & as_blast),
        others=count(no),
        others_told=count(no & as_blast),
        typed=count(named),
        typed_right=count(named & (types == classes)),
        grouped=count(grouped),
        grouped_right=count(grouped & group_right),
        cells_lost=count(white & gone),
        artefacts=count(~white),
        artefacts_told=count(~white & ~gone),
        slides=tuple(_slide(str(slide), slides == slide, white, blast, as_blast, gone) for slide in np.unique(slides[white])),
    )


def _slide(
    name: str,
    rows: NDArray[np.bool_],
    white: NDArray[np.bool_],
    blast: NDArray[np.bool_],
    as_blast: NDArray[np.bool_],
    gone: NDArray[np.bool_],
) -> SlideFigures:
    cells, counted = rows & white, rows & white & ~gone
    percent = 100 * float(as_blast[counted].mean()) if counted.any() else math.nan
    return SlideFigures(name, int(cells.sum()), 100 * float(blast[cells].mean()), percent)


def _without_nan(values: dict[str, Any]) -> dict[str, Any]:
    return {key: None if isinstance(value, float) and math.isnan(value) else value for key, value in values.items()}
