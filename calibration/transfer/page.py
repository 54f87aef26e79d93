"""The page of a transfer: what was accepted, what was refused and why, with pictures. It says what it is given; how it looks is in the
template beside it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from urllib.parse import quote

from calibration.transfer.registration import HOMOGRAPHY, Limits, Registration
from engines.files import write_result
from engines.pages import page_template

TEMPLATE = "transfer.html.j2"
PAGE = "index.html"


@dataclass(frozen=True)
class Row:
    """One measured quantity of a pair: its name, what it was, what is asked; met None where nothing is asked."""

    name: str
    value: str
    asked: str = ""
    met: bool | None = None


@dataclass(frozen=True)
class ShownLabel:
    """A carried label for the page's table."""

    number: int
    name: str
    source: str
    confidence: float
    visible: float
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Panel:
    """A picture beside the page, and what it shows."""

    file: str
    caption: str
    wide: bool = False

    @property
    def address(self) -> str:
        return quote(self.file)


@dataclass(frozen=True, eq=False)
class Pair:
    """One source and one target: the judgement, numbers, pictures, labels. reasons: empty where accepted."""

    source: str
    target: str
    reasons: tuple[str, ...]
    via: tuple[str, ...] = ()
    rows: tuple[Row, ...] = ()
    panels: tuple[Panel, ...] = ()
    labels: tuple[ShownLabel, ...] = ()
    lost: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def accepted(self) -> bool:
        return not self.reasons


@dataclass(frozen=True, eq=False)
class Content:
    """All that the page says. alone: (name, why) of pictures without a partner. scale: the nominal one and where it comes from."""

    source: str
    target: str
    written_at: datetime
    pairs: Sequence[Pair]
    alone: Sequence[tuple[str, str]]
    scale: str
    without_pictures: int = 0


def rows_of(registration: Registration, limits: Limits) -> tuple[Row, ...]:
    """The numbers behind a judgement, each with what is asked of it."""
    found, expected = registration.fit, registration.expected
    needed = limits.min_inliers if found.model == HOMOGRAPHY else limits.min_inliers_similarity
    rows = [
        Row("matching places", str(found.matches)),
        Row("that agree", str(found.inliers), f"≥ {needed}", found.inliers >= needed),
        Row("share", f"{found.inlier_ratio:.2f}", f"≥ {limits.min_inlier_ratio:g}", found.inlier_ratio >= limits.min_inlier_ratio),
    ]
    shape = found.shape
    if shape is None or not shape.convex:
        return tuple(rows)
    off = None if expected.rotation_deg is None else abs((shape.rotation_deg - expected.rotation_deg + 180) % 360 - 180)
    turn_asked = "any" if expected.rotation_deg is None else f"{expected.rotation_deg:.0f} ± {limits.rotation_tolerance_deg:.0f}°"
    scale_met = None if expected.scale is None else abs(shape.scale / expected.scale - 1) <= limits.scale_tolerance
    scale_asked = "not known" if expected.scale is None else f"{expected.scale:.3f} ± {limits.scale_tolerance:.0%}"
    turn = f"{round(shape.rotation_deg, 1) + 0.0:.1f}°"  # no minus zero
    turn_met = None if off is None else off <= limits.rotation_tolerance_deg
    misfit = "" if found.model == HOMOGRAPHY else f" ({found.model})"
    rows += [
        Row("misfit of these, px", f"{found.residual_px:.2f}{misfit}"),
        Row("scale", f"{shape.scale:.3f}", scale_asked, scale_met),
        Row("turn", turn, turn_asked, turn_met),
        Row("unequal sides", f"{shape.side_ratio:.3f}", f"≤ {limits.side_ratio:g}", shape.side_ratio <= limits.side_ratio),
        Row("tilt", f"{shape.perspective:.3f}", f"≤ {limits.perspective:g}", shape.perspective <= limits.perspective),
        Row("common field", f"{found.overlap:.0%}", f"≥ {limits.overlap:.0%}", found.overlap >= limits.overlap),
        Row("spanned by matches", f"{found.cover:.0%}", f"≥ {limits.cover:.0%}", found.cover >= limits.cover),
        Row("likeness", f"{found.likeness:.2f}", f"≥ {limits.likeness:g}", found.likeness >= limits.likeness),
    ]
    return tuple(rows)


def write_page(folder: Path, content: Content) -> Path:
    """Write the page into a folder that holds its pictures; returns the file."""
    accepted = sum(pair.accepted for pair in content.pairs)
    template = page_template(Path(__file__).with_name(TEMPLATE))
    write_result(folder / PAGE, template.render(c=content, accepted=accepted, refused=len(content.pairs) - accepted))
    return folder / PAGE
