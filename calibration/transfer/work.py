"""The work of `attridet transfer` between reading and writing: fits, judgements, chains, checks of the labels, labels carried."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from calibration.transfer import registration as reg
from calibration.transfer.carry import Carried, agreement, carry
from calibration.transfer.features import Features, detect
from calibration.transfer.homography import Float64
from calibration.transfer.label_check import LabelCheck, check_labels
from calibration.transfer.registration import Expected, Fit, Limits, Registration
from calibration.transfer.sides import SidePicture
from engines.taxonomy import Taxonomy

UNLABELLED = "the source bears no labels: nothing to carry"

CACHE_BYTES = 600 * 2**20
"""Most bytes of keypoints that are kept."""


@dataclass(frozen=True)
class TransferSettings:
    """What the person asks of a run. scale: None to learn it from the pairs. rotation_deg: None for any."""

    scale: float | None = None
    rotation_deg: float | None = 0.0
    check_labels: bool = True
    limits: Limits = reg.LIMITS


@dataclass(frozen=True, eq=False)
class PairOutcome:
    """One pair, done with. reasons: why nothing was carried, from the registration or from the labels; notes: what to know."""

    source: SidePicture
    target: SidePicture
    registration: Registration
    reasons: tuple[str, ...]
    carried: Carried | None = None
    notes: tuple[str, ...] = ()
    label_check: str = ""

    @property
    def accepted(self) -> bool:
        return not self.reasons


class FeatureCache:
    """Keypoints of pictures, each found once, the least recently used forgotten first."""

    def __init__(self, most_bytes: int = CACHE_BYTES) -> None:
        self._kept: OrderedDict[Path, Features] = OrderedDict()
        self._most, self._bytes = most_bytes, 0

    def of(self, picture: SidePicture) -> Features:
        """Keypoints of a picture; DataError if it cannot be decoded."""
        if picture.path in self._kept:
            self._kept.move_to_end(picture.path)
            return self._kept[picture.path]
        found = detect(picture.read())
        self._kept[picture.path] = found
        self._bytes += _bytes(found)
        while self._bytes > self._most and len(self._kept) > 1:
            self._bytes -= _bytes(self._kept.popitem(last=False)[1])
        return found


def boxes_of(picture: SidePicture, taxonomy: Taxonomy, artefacts: bool = True) -> Float64:
    """Boxes (N, 4) x1 y1 x2 y2 of a picture's labels, float64, px."""
    cells = [c for c in picture.picture.cells if artefacts or not taxonomy.is_artefact(c.code)]
    return np.array([c.xyxy_px for c in cells], np.float64).reshape(-1, 4)


def register_pairs(
    pairs: Sequence[tuple[SidePicture, SidePicture]],
    between: Sequence[SidePicture],
    settings: TransferSettings,
    cache: FeatureCache,
    done: Callable[[], None] = lambda: None,
) -> tuple[list[Registration], float | None]:
    """A judgement for each pair, and the nominal scale by which it was judged.

    Unless given, that scale is the median of the pairs that pass without it. `between` are pictures by way of which refused pairs are
    tried again, those of the same patient and field first of all and only.
    """
    fits = []
    for source, target in pairs:
        fits.append(reg.fit(cache.of(source), cache.of(target), settings.limits))
        done()
    blind = Expected(settings.scale, settings.rotation_deg)
    scale = settings.scale or reg.nominal_scale(reg.judge(f, blind, settings.limits) for f in fits)
    expected = Expected(scale, settings.rotation_deg)
    judged = [reg.judge(f, expected, settings.limits) for f in fits]
    for n, (source, target) in enumerate(pairs):
        if not judged[n].accepted and between:
            judged[n] = _by_way_of(source, target, between, judged[n], settings, cache)
    return judged, scale


def _by_way_of(
    source: SidePicture,
    target: SidePicture,
    between: Sequence[SidePicture],
    direct: Registration,
    settings: TransferSettings,
    cache: FeatureCache,
) -> Registration:
    """The accepted chain with the most matches behind its weakest link; else the direct judgement and what the chains said."""
    found: list[Registration] = []
    said: list[str] = []
    a, c = cache.of(source), cache.of(target)
    for middle in between:
        if middle.key is None or middle.key not in (source.key, target.key) or middle.path in (source.path, target.path):
            continue
        b = cache.of(middle)
        links = [reg.register(a, b, Expected(None, None), settings.limits), reg.register(b, c, Expected(None, None), settings.limits)]
        refused = next((link for link in links if not link.accepted), None)
        if refused is None:
            whole = reg.judge(reg.chain(a, c, links, [middle.name], direct.expected), direct.expected, settings.limits)
            if whole.accepted:
                found.append(whole)
                continue
            refused = whole
        said.append(f"by way of {middle.name}: {refused.reasons[0]}")
    if found:
        return max(found, key=lambda r: r.fit.inliers)
    return replace(direct, reasons=(*direct.reasons, *(said or ["no picture between them bears the field's name"])))


class LabelChecks:
    """Checks of labels against their pictures, each picture's once."""

    def __init__(self, taxonomy: Taxonomy) -> None:
        self._taxonomy = taxonomy
        self._found: dict[Path, LabelCheck] = {}

    def of(self, picture: SidePicture) -> LabelCheck:
        if picture.path not in self._found:
            boxes = boxes_of(picture, self._taxonomy, artefacts=False)
            self._found[picture.path] = check_labels(picture.read(), boxes) if len(boxes) else LabelCheck(0, 0)
        return self._found[picture.path]

    def carried(self, source: SidePicture, target: SidePicture, carried: Carried) -> LabelCheck:
        """The same for labels just carried."""
        cells = source.picture.cells
        white = [n for n, row in enumerate(carried.rows) if not self._taxonomy.is_artefact(cells[row].code)]
        return check_labels(target.read(), carried.boxes[white]) if white else LabelCheck(0, 0)


def carry_labels(
    source: SidePicture,
    target: SidePicture,
    registration: Registration,
    settings: TransferSettings,
    cache: FeatureCache,
    checks: LabelChecks,
    taxonomy: Taxonomy,
) -> PairOutcome:
    """One pair's labels carried, or the reasons why not."""
    notes: list[str] = []
    if target.picture.cells and settings.check_labels and not (own := checks.of(target)).sound:
        notes.append(f"labels that the target has already: {own.words}")
    if not registration.accepted:
        return PairOutcome(source, target, registration, registration.reasons, notes=tuple(notes))
    if source.picture.labels is None:
        return PairOutcome(source, target, registration, (), notes=(UNLABELLED, *notes))
    if settings.check_labels and not (before := checks.of(source)).sound:
        reason = f"the source's own labels are not sound: {before.words}"
        return PairOutcome(source, target, registration, (reason,), notes=tuple(notes), label_check=before.words)
    boxes = boxes_of(source, taxonomy)
    carried = carry(registration.fit, boxes, cache.of(source), cache.of(target))
    said = ""
    if settings.check_labels:
        after = checks.carried(source, target, carried)
        said = f"{after.on_nucleus} of {after.boxes} on a nucleus" if after.boxes else ""
        if not after.sound:
            return PairOutcome(
                source, target, registration, (f"once carried, {after.words}",), notes=tuple(notes), label_check=after.words
            )
    if target.picture.cells:
        notes.append(_compared(carried, boxes_of(target, taxonomy)))
    return PairOutcome(source, target, registration, (), carried, tuple(notes), said)


def _compared(carried: Carried, there: Float64) -> str:
    found = agreement(carried.boxes, there)
    overlap = f", mean IoU {found.mean_iou:.2f}" if found.matched else ""
    alone = f"{found.only_carried} carried and {found.only_there} there have no partner"
    return f"against the target's {len(there)} labels: {found.matched} agree{overlap}, {alone}"


def position_error_px(fit: Fit) -> float | None:
    """Root mean square misfit of the matches in the target, or None where it was not measured."""
    return round(fit.residual_px, 3) if np.isfinite(fit.residual_px) else None


def _bytes(features: Features) -> int:
    return features.descriptors.nbytes + features.points.nbytes + features.grey.nbytes
