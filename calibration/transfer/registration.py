"""Whether two pictures show one field of film, and the map between them: RANSAC, tests that refuse with a reason, chains.

Paper: homography by SIFT and RANSAC, checked by hand; it gives no thresholds. Ours are measured: docs/transfer.md.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

import cv2
import numpy as np

from calibration.transfer.features import Features, match, overlay
from calibration.transfer.homography import (
    Float64,
    Shape,
    clip_polygon,
    compose,
    field_corners,
    map_points,
    polygon_area,
    shape_of,
)

HOMOGRAPHY, SIMILARITY = "homography", "similarity"

LOW_POWER_SCALE = 0.2
"""A field that comes out smaller than this is one at 10x: a pixel of it is large, RANSAC's band narrower."""


@dataclass(frozen=True)
class Limits:
    """What a map must meet. Changing one changes what is believed; docs/transfer.md has what real fields and unrelated ones reach.

    ratio: Lowe's. band_px, band_low_power_px: RANSAC's, in px of the target. min_inliers, min_inlier_ratio: matches at different
    places that agree. few_inliers: from here a rotation, one scale and a shift are tried instead of a homography, which
    min_inliers_similarity must agree on. scale_tolerance: share around the nominal scale. rotation_tolerance_deg: around the rotation
    asked for. side_ratio, perspective: see homography.Shape. cover: share of the common area that the agreeing matches span. overlap:
    share of the smaller field that both show. likeness: normalised cross-correlation of the overlay. iterations: at the least inlier
    ratio that is accepted, 850 draws of four find a good one with 99.9 %; more would be spent on pairs that are refused in any case.
    """

    ratio: float = 0.75
    band_px: float = 5.0
    band_low_power_px: float = 3.0
    iterations: int = 2000
    confidence: float = 0.999
    min_inliers: int = 20
    min_inlier_ratio: float = 0.3
    few_inliers: int = 8
    min_inliers_similarity: int = 14
    scale_tolerance: float = 0.35
    rotation_tolerance_deg: float = 20.0
    side_ratio: float = 1.5
    perspective: float = 0.15
    cover: float = 0.25
    overlap: float = 0.1
    likeness: float = 0.4


LIMITS = Limits()


@dataclass(frozen=True)
class Expected:
    """What the pair is expected to do. scale: target px of a source px, None where it is not known. rotation_deg: None for any."""

    scale: float | None = None
    rotation_deg: float | None = 0.0


@dataclass(frozen=True, eq=False)
class Fit:
    """What was measured of a pair. h: source to target, pixel middles, None where there is none.

    matches: pairs of keypoints; inliers: those at different places that agree within the band. residual_px: their root mean square
    misfit in the target. cover, overlap, likeness: see Limits. source_points, target_points: (inliers, 2), px. via: names of the
    pictures between.
    """

    h: Float64 | None
    matches: int
    inliers: int
    model: str = HOMOGRAPHY
    residual_px: float = float("nan")
    shape: Shape | None = None
    cover: float = 0.0
    overlap: float = 0.0
    likeness: float = float("nan")
    source_points: Float64 = field(default_factory=lambda: np.zeros((0, 2)))
    target_points: Float64 = field(default_factory=lambda: np.zeros((0, 2)))
    via: tuple[str, ...] = ()

    @property
    def inlier_ratio(self) -> float:
        return self.inliers / self.matches if self.matches else 0.0


@dataclass(frozen=True)
class Criterion:
    """One measured quantity of a fit: what it is, what is asked of it, and the sentence for people where that is not met.

    met: None where nothing is asked.
    """

    name: str
    value: str
    asked: str = ""
    met: bool | None = None
    reason: str = ""


_TESTS = (
    ("side_ratio", "unequal sides", ".3f", "the field is stretched: its sides grow unequally by {:.2f} (at most {:g})"),
    ("perspective", "tilt", ".3f", "the map tilts the field by {:.2f} (at most {:g}); film is flat"),
    ("overlap", "common field", ".0%", "the fields share {:.0%} of the smaller one (at least {:.0%})"),
    (
        "cover",
        "spanned by matches",
        ".0%",
        "matches that agree span {:.0%} of what both fields show (at least {:.0%}); the rest is a guess",
    ),
    ("likeness", "likeness", ".2f", "laid on each other the pictures are not alike: correlation {:.2f} (at least {:g})"),
)
"""Fields of Fit or Shape that have a limit of the same name: each one's name on the page, its format there, and the refusal."""


@dataclass(frozen=True, eq=False)
class Registration:
    """A fit and the judgement of it: accepted, or the reasons why not, the weightiest first, each a sentence for people."""

    fit: Fit
    expected: Expected
    reasons: tuple[str, ...]

    @property
    def accepted(self) -> bool:
        return not self.reasons


def register(source: Features, target: Features, expected: Expected | None = None, limits: Limits = LIMITS) -> Registration:
    """Find the map from source to target and judge it. Two unrelated pictures are no error: they come back refused."""
    return judge(fit(source, target, limits), expected or Expected(), limits)


def fit(source: Features, target: Features, limits: Limits = LIMITS) -> Fit:
    """Match, fit, measure; believe nothing yet."""
    rows, columns = match(source, target, limits.ratio)
    p, q = source.points[rows], target.points[columns]
    matches = _places(p, q)
    if matches < max(4, limits.few_inliers):
        return Fit(None, matches, 0)
    found = _estimated(p, q, HOMOGRAPHY, limits.band_px, limits)
    if found.h is not None and found.inliers >= limits.few_inliers and shape_of(found.h, source.size).scale < LOW_POWER_SCALE:
        found = _estimated(p, q, HOMOGRAPHY, limits.band_low_power_px, limits)
    if limits.few_inliers <= found.inliers < limits.min_inliers:
        found = _estimated(p, q, SIMILARITY, limits.band_px, limits)
    if found.h is None or found.inliers < limits.few_inliers:
        return Fit(None, matches, found.inliers, found.model)
    return _measured(source, target, replace(found, matches=matches))


def _measured(source: Features, target: Features, found: Fit) -> Fit:
    """`found` with what its map does to the field and how well the two pictures agree under it."""
    h = found.h
    assert h is not None
    shape = shape_of(h, source.size)
    residual, cover, overlap, likeness = found.residual_px, found.cover, 0.0, float("nan")
    if shape.convex:
        seen = map_points(h, field_corners(source.size))
        common_px2 = polygon_area(clip_polygon(seen, field_corners(target.size)))
        whole_px2 = min(polygon_area(seen), float(target.size[0] * target.size[1]))
        overlap = common_px2 / whole_px2 if whole_px2 > 0 else 0.0
        if len(found.source_points):
            misfit = map_points(h, found.source_points) - found.target_points
            residual = float(np.sqrt((misfit**2).sum(axis=1).mean()))
            hull = cv2.convexHull(found.target_points.astype(np.float32)).reshape(-1, 2)
            cover = min(1.0, polygon_area(hull) / common_px2) if common_px2 > 0 else 0.0
        if 0.005 < shape.scale < 200 and overlap > 0:
            likeness = overlay(source, target, h).likeness()
    return replace(found, shape=shape, residual_px=residual, cover=cover, overlap=overlap, likeness=likeness)


def judge(found: Fit, expected: Expected, limits: Limits = LIMITS) -> Registration:
    """Accept a fit, or say why not. Tests of spec 5; those of a map's shape count only where enough matches stand behind it."""
    shape, (_, agree, share, *others) = found.shape, criteria(found, expected, limits)
    if found.h is None or shape is None or not agree.met or not share.met:
        reasons = [agree.reason]
    elif not shape.convex:
        reasons = ["the map folds the field: its corners do not stay a convex quad"]
    else:
        reasons = ["the target is a mirror image of the source; turn one of the pictures over"] if shape.mirrored else []
        turn_first = sorted(others, key=lambda one: one.name != "turn")
        reasons += [one.reason for one in turn_first if one.met is False]
    return Registration(found, expected, tuple(reasons))


def criteria(found: Fit, expected: Expected, limits: Limits = LIMITS) -> list[Criterion]:
    """The numbers behind a judgement as the page lists them; of a map that folds or is none only the three that count matches."""
    shape, inlier_ratio = found.shape, limits.min_inlier_ratio
    needed = limits.min_inliers if found.model == HOMOGRAPHY else limits.min_inliers_similarity
    few = (
        f"no common field found: {found.inliers} of {found.matches} matching places agree on one map, {needed} places and "
        f"{inlier_ratio:.0%} must"
    )
    counted = [
        Criterion("matching places", str(found.matches)),
        Criterion("that agree", str(found.inliers), f"≥ {needed}", found.inliers >= needed, few),
        Criterion("share", f"{found.inlier_ratio:.2f}", f"≥ {inlier_ratio:g}", found.inlier_ratio >= inlier_ratio, few),
    ]
    if shape is None or not shape.convex:
        return counted
    misfit = "" if found.model == HOMOGRAPHY else f" ({found.model})"
    turn, turn_asked, turn_met = shape.rotation_deg, "any", None
    if expected.rotation_deg is not None:
        turn_asked = f"{expected.rotation_deg:.0f} ± {limits.rotation_tolerance_deg:.0f}°"
        turn_met = abs((turn - expected.rotation_deg + 180) % 360 - 180) <= limits.rotation_tolerance_deg
    turned = (
        f"the same field, but turned by {turn:.1f}° ({turn_asked} is allowed): labels copied without the turn would miss their cells; "
        f"if the turn is meant, --rotation {turn:.0f} takes it"
    )
    scale_asked, scale_met, resized = "not known", None, ""
    if expected.scale is not None:
        nominal, tolerance = f"{expected.scale:.3f}", f"± {limits.scale_tolerance:.0%}"
        scale_asked, scale_met = f"{nominal} {tolerance}", abs(shape.scale / expected.scale - 1) <= limits.scale_tolerance
        resized = f"the field comes out {shape.scale:.3f} times as large, the pairs of these cameras {nominal} times ({tolerance})"
    rows = [
        *counted,
        Criterion("misfit of these, px", f"{found.residual_px:.2f}{misfit}"),
        Criterion("scale", f"{shape.scale:.3f}", scale_asked, scale_met, resized),
        Criterion("turn", f"{round(turn, 1) + 0.0:.1f}°", turn_asked, turn_met, turned),  # no minus zero
    ]
    measured = vars(found) | vars(shape)
    for key, name, form, words in _TESTS:
        value, limit, at_least = measured[key], getattr(limits, key), "at least" in words
        asked = f"{'≥' if at_least else '≤'} {format(limit, '.0%' if form == '.0%' else 'g')}"
        met = bool(value >= limit if at_least else value <= limit)
        rows.append(Criterion(name, format(value, form), asked, met, words.format(value, limit)))
    return rows


def chain(source: Features, target: Features, links: Sequence[Registration], names: Sequence[str], expected: Expected) -> Fit:
    """The fit of source to target by way of pictures between (`names`): maps composed, the weakest link's matches, misfits added up.

    ValueError where a link was refused: a chain is no way around a refusal.
    """
    maps = [link.fit.h for link in links if link.accepted and link.fit.h is not None]
    if len(maps) != len(links) or not links:
        raise ValueError("every link of a chain must be accepted")
    weakest = min((link.fit for link in links), key=lambda f: f.inliers)
    misfit = 0.0
    for link in links:
        scale = link.fit.shape.scale if link.fit.shape else 1.0
        misfit = float(np.hypot(misfit * scale, link.fit.residual_px))
    cover = min(link.fit.cover for link in links)
    whole = Fit(compose(maps), weakest.matches, weakest.inliers, weakest.model, misfit, cover=cover, via=tuple(names))
    return _measured(source, target, whole)


def nominal_scale(registrations: Iterable[Registration], fewest: int = 3) -> float | None:
    """Median scale of the accepted, the calibration of a pair of cameras; None below `fewest`, where one wrong pair would count."""
    scales = [r.fit.shape.scale for r in registrations if r.accepted and r.fit.shape is not None]
    return float(np.median(scales)) if len(scales) >= fewest else None


def _estimated(p: Float64, q: Float64, model: str, band_px: float, limits: Limits) -> Fit:
    """The map by which most of the points (N, 2) agree, found by RANSAC, and those that do."""
    if model == HOMOGRAPHY:
        h, mask = cv2.findHomography(p, q, cv2.RANSAC, band_px, maxIters=limits.iterations, confidence=limits.confidence)
    else:
        h, mask = cv2.estimateAffinePartial2D(
            p, q, method=cv2.RANSAC, ransacReprojThreshold=band_px, maxIters=limits.iterations, confidence=limits.confidence
        )
        h = None if h is None else np.vstack([h, [0, 0, 1]])
    if h is None or not np.isfinite(h).all() or abs(h[2, 2]) < 1e-12:
        return Fit(None, len(p), 0, model)
    inside = mask.ravel().astype(bool)
    p, q = p[inside], q[inside]
    return Fit(np.asarray(h / h[2, 2], np.float64), len(inside), _places(p, q), model, source_points=p, target_points=q)


def _places(p: Float64, q: Float64) -> int:
    """How many different places agree: SIFT gives one place several keypoints where it sees several orientations."""
    return min(len(np.unique(np.round(points), axis=0)) for points in (p, q)) if len(p) else 0
