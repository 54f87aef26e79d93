"""The work of `attridet transfer` between reading and writing: fits, judgements, chains, checks of the labels, labels carried."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np

from calibration.transfer import registration as reg
from calibration.transfer.carry import Carried, agreement, carry
from calibration.transfer.features import detect
from calibration.transfer.homography import Float64
from calibration.transfer.registration import Expected, Registration
from calibration.transfer.request import TransferRequest
from calibration.transfer.sides import SidePicture
from engines.data.nuclei import LabelCheck, check_labels
from engines.pictures import read_image
from engines.taxonomy import Taxonomy

UNLABELLED = "the source bears no labels: nothing to carry"

_CACHED = 88
"""So many pictures' keypoints are kept, at most 7 MB each."""


@dataclass(frozen=True, eq=False)
class PairOutcome:
    """One pair, done with. reasons: why nothing was carried, from the registration or from the labels; notes: what to know."""

    source: SidePicture
    target: SidePicture
    registration: Registration
    reasons: tuple[str, ...] = ()
    carried: Carried | None = None
    notes: tuple[str, ...] = ()
    label_check: str = ""

    @property
    def accepted(self) -> bool:
        return not self.reasons


class Transfer:
    """The pairs of one run: each picture's keypoints and the check of its labels are found once. Raises DataError naming a picture."""

    def __init__(self, request: TransferRequest, taxonomy: Taxonomy) -> None:
        self._request, self._taxonomy = request, taxonomy
        self._features = lru_cache(_CACHED)(lambda path: detect(read_image(path)))
        self._checked: Callable[[SidePicture], LabelCheck] = lru_cache(None)(self._check)

    def register(
        self, pairs: Sequence[tuple[SidePicture, SidePicture]], between: Sequence[SidePicture], progress: Callable[[int, int], None]
    ) -> tuple[list[Registration], float | None]:
        """A judgement for each pair, and the nominal scale by which it was judged; `progress` after each fit.

        Unless given, that scale is the median of the pairs that pass without it. `between` are pictures by way of which refused pairs
        are tried again, those of the same patient and field first of all and only.
        """
        fits = []
        for source, target in pairs:
            fits.append(reg.fit(self._features(source.path), self._features(target.path)))
            progress(len(fits), len(pairs))
        blind = Expected(self._request.scale, self._request.rotation_deg)
        scale = blind.scale or reg.nominal_scale(reg.judge(f, blind) for f in fits)
        judged = [reg.judge(f, replace(blind, scale=scale)) for f in fits]
        for n, (source, target) in enumerate(pairs):
            if not judged[n].accepted and between:
                judged[n] = self._by_way_of(source, target, between, judged[n])
        return judged, scale

    def _by_way_of(
        self, source: SidePicture, target: SidePicture, between: Sequence[SidePicture], direct: Registration
    ) -> Registration:
        """The accepted chain with the most matches behind its weakest link; else the direct judgement and what the chains said."""
        found: list[Registration] = []
        said: list[str] = []
        a, c = self._features(source.path), self._features(target.path)
        for middle in between:
            if middle.key is None or middle.key not in (source.key, target.key) or middle.path in (source.path, target.path):
                continue
            b = self._features(middle.path)
            links = [reg.register(one, other, Expected(None, None)) for one, other in ((a, b), (b, c))]
            refused = next((link for link in links if not link.accepted), None)
            if refused is None:
                whole = reg.judge(reg.chain(a, c, links, [middle.name], direct.expected), direct.expected)
                if whole.accepted:
                    found.append(whole)
                    continue
                refused = whole
            said.append(f"by way of {middle.name}: {refused.reasons[0]}")
        if found:
            return max(found, key=lambda r: r.fit.inliers)
        return replace(direct, reasons=(*direct.reasons, *(said or ["no picture between them bears the field's name"])))

    def carry(self, source: SidePicture, target: SidePicture, registration: Registration) -> PairOutcome:
        """One pair's labels carried, or the reasons why not."""
        check = self._request.label_check
        outcome = PairOutcome(source, target, registration, registration.reasons)
        if target.cells and check and not (own := self._checked(target)).sound:
            outcome = replace(outcome, notes=(f"labels that the target has already: {own.words}",))
        if not registration.accepted:
            return outcome
        if source.labels is None:
            return replace(outcome, notes=(UNLABELLED, *outcome.notes))
        if check and not (before := self._checked(source)).sound:
            reason = f"the source's own labels are not sound: {before.words}"
            return replace(outcome, reasons=(reason,), label_check=before.words)
        carried = carry(registration.fit, _boxes(source), self._features(source.path), self._features(target.path))
        if check and (white := [n for n, row in enumerate(carried.rows) if self._is_white(source, row)]):
            after = check_labels(target.read(), carried.boxes[white])
            if not after.sound:
                return replace(outcome, reasons=(f"once carried, {after.words}",), label_check=after.words)
            said = f"{after.on_nucleus} of {after.boxes} on a nucleus" if after.boxes else ""
            outcome = replace(outcome, label_check=said)
        if target.cells:
            outcome = replace(outcome, notes=(*outcome.notes, _compared(carried, _boxes(target))))
        return replace(outcome, carried=carried)

    def _check(self, picture: SidePicture) -> LabelCheck:
        white = [self._is_white(picture, row) for row in range(len(picture.cells))]
        return check_labels(picture.read(), _boxes(picture)[white]) if any(white) else LabelCheck(0, 0)

    def _is_white(self, picture: SidePicture, row: int) -> bool:
        return not self._taxonomy.is_artefact(picture.cells[row].code)


def _boxes(picture: SidePicture) -> Float64:
    """Boxes (N, 4) x1 y1 x2 y2 of a picture's labels, float64, px."""
    return np.array([c.xyxy_px for c in picture.cells], np.float64).reshape(-1, 4)


def _compared(carried: Carried, there: Float64) -> str:
    found = agreement(carried.boxes, there)
    overlap = f", mean IoU {found.mean_iou:.2f}" if found.matched else ""
    alone = f"{found.only_carried} carried and {found.only_there} there have no partner"
    return f"against the target's {len(there)} labels: {found.matched} agree{overlap}, {alone}"
