"""How alike two small pictures of the film are at every shift between them, and how alike they must be to show the same ground.

Exact normalised cross-correlation over the common part of each shift: numerator by Fourier transform, norms by summed areas. Shifts
are in px of the small picture: (x, y) such that `first` at (i, j) shows what `second` shows at (i + x, j + y).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from engines.detections import Float32

FLOOR_SHARES = (0.12, 0.20, 0.30, 0.50)
"""Shares of the picture in common ..."""
FLOOR_LIKENESS = (0.80, 0.65, 0.52, 0.45)
"""... and the least likeness that is believed there. Fields of different patients reach .61 at 12 %, .46 at 20 %, .38 at 30 %."""
SPREAD_DROP = 0.1
_MOST_SPREAD = 40
_LEAST_ENERGY = 0.05  # of what a common part of that size holds on average; below, there is nothing in it to compare by
_NEVER = 9.0  # a threshold that no likeness reaches


def floor_curve(share: Any) -> NDArray[np.float64]:
    """The least likeness that is believed, whatever the slide says, for the share of the picture in common (any shape)."""
    return np.asarray(np.where(np.asarray(share) < FLOOR_SHARES[0], _NEVER, np.interp(share, FLOOR_SHARES, FLOOR_LIKENESS)), np.float64)


def evidence(likeness: Any, share: Any) -> Any:
    """Likeness weighed by how much of the picture it rests on (Fisher's z times the root of the share): comparable between shifts."""
    return np.arctanh(np.clip(likeness, -0.999, 0.999)) * np.sqrt(share)


def likeness_of(evidence_: float, share: Any) -> Any:
    """The likeness that is that much evidence at that share."""
    return np.tanh(evidence_ / np.sqrt(np.maximum(share, 1e-6)))


def compressed(band: Float32, contrast: float) -> Float32:
    """The band between -1 and 1: a few dark nuclei no longer decide alone. What unrelated fields reach by chance falls by a fifth in
    the tail, what neighbours share stays.
    """
    flat = np.tanh(band * np.float32(1 / max(contrast, 1e-6)))
    return np.asarray(flat - flat.mean(), np.float32)


@dataclass(eq=False)
class Spectrum:
    """A small picture made ready to be matched. dft: packed transform; as_first, as_second: 1 / norm of its common part by shift."""

    band: Float32
    dft: Float32
    _summed: Float32
    _of: Correlator
    _norms: dict[bool, Float32] = field(default_factory=dict)

    def norms(self, first: bool) -> Float32:
        """1 / root of the energy in the common part, by shift, as the first or as the second picture of a pair; made when asked for."""
        if first not in self._norms:
            self._norms[first] = self._of.inverse_norms(self._summed, first)
        return self._norms[first]


@dataclass(frozen=True)
class Match:
    """The best shift found. margin: its likeness less the least one that is believed at that overlap; accepted from 0 up."""

    x: float
    y: float
    likeness: float
    margin: float
    share: float = 0.0  # of the picture in common
    spread: int = 0  # px to each side of the peak, in the worse direction, that are less than SPREAD_DROP below it; `match` only

    @property
    def evidence(self) -> float:
        return float(evidence(self.likeness, self.share))

    @property
    def accepted(self) -> bool:
        return self.margin >= 0.0


NO_MATCH = Match(0.0, 0.0, -1.0, -_NEVER)


class Correlator:
    """Matches small pictures of one shape (height, width). `curve` is the least likeness by shift; see `raise_curve`."""

    def __init__(self, shape: tuple[int, int]) -> None:
        self.shape = shape
        height, width = shape
        self.size = (cv2.getOptimalDFTSize(2 * height - 1), cv2.getOptimalDFTSize(2 * width - 1))
        rows, columns = (np.abs(np.rint(np.fft.fftfreq(n, 1 / n))) for n in self.size)
        self.shares = np.outer(np.clip(1 - rows / height, 0, None), np.clip(1 - columns / width, 0, None)).astype(np.float32)
        self._least = np.where(self.shares > 0, self.shares * np.float32(_LEAST_ENERGY), np.float32(1e30)).astype(np.float32)
        self._floor = floor_curve(self.shares).astype(np.float32)
        self.curve: Float32 = self._floor

    def share(self, x: float, y: float) -> float:
        """The share of the picture in common at that shift."""
        return max(0.0, 1 - abs(x) / self.shape[1]) * max(0.0, 1 - abs(y) / self.shape[0])

    def raise_curve(self, evidence_: float) -> None:
        """Demand at least that much evidence at every shift; never less than the floor. Calls do not add up."""
        self.curve = np.maximum(self._floor, likeness_of(evidence_, self.shares)).astype(np.float32)

    def spectrum(self, band: Float32) -> Spectrum:
        """Make a picture of this shape ready."""
        padded = np.zeros(self.size, np.float32)
        padded[: self.shape[0], : self.shape[1]] = band
        summed = np.asarray(cv2.integral(cv2.multiply(band, band), sdepth=cv2.CV_64F), np.float32)
        return Spectrum(band, np.asarray(cv2.dft(padded), np.float32), summed, self)

    def match(self, first: Spectrum, second: Spectrum, coarse: bool = False) -> Match:
        """The shift with the greatest margin of all with enough in common. coarse: to the px, and without its spread."""
        scores = self._scores(first, second)
        _, _, _, (column, row) = cv2.minMaxLoc(cv2.subtract(scores, self.curve))
        return self._match(scores, row, column, coarse)

    def match_near(self, first: Spectrum, second: Spectrum, x: float, y: float, reach: int) -> Match:
        """The same among the shifts within `reach` px of (x, y) in each axis."""
        height, width = self.shape
        rows = np.arange(max(1 - height, round(y) - reach), min(height - 1, round(y) + reach) + 1)
        columns = np.arange(max(1 - width, round(x) - reach), min(width - 1, round(x) + reach) + 1)
        if not len(rows) or not len(columns):
            return NO_MATCH
        window = np.ix_(rows % self.size[0], columns % self.size[1])
        product = self._product(first, second)
        scores = product[window] * first.norms(True)[window] * second.norms(False)[window]
        i, j = np.unravel_index(int((scores - self.curve[window]).argmax()), scores.shape)
        likeness, margin = float(scores[i, j]), float(scores[i, j] - self.curve[window][i, j])
        top_y, top_x = vertex(scores[:, j], int(i)), vertex(scores[i, :], int(j))
        share = float(self.shares[window][i, j])
        return Match(float(columns[j]) + top_x, float(rows[i]) + top_y, likeness, margin, share)

    def most_evidence(self, first: Spectrum, second: Spectrum) -> float:
        """The most evidence at any shift with enough in common: of two fields that share nothing it is what chance yields."""
        scores = self._scores(first, second)
        return float(evidence(scores, self.shares)[self.shares >= FLOOR_SHARES[0]].max())

    def inverse_norms(self, summed: Float32, first: bool) -> Float32:
        """1 / root of the energy of the common part by shift, in the transform's order, from the summed areas. All by slices."""
        height, width = self.shape
        energy = np.zeros(self.size, np.float32)
        up, left = self.size[0] - height + 1, self.size[1] - width + 1  # where the negative shifts begin
        whole = summed[height, width]
        # row r of `low` is the energy above row r, and so on: a common part always touches one corner of the picture
        low, right, bottom = summed, summed[:, width:] - summed, summed[height:, :] - summed
        far = whole - summed[:, width:] - summed[height:, :] + summed
        if first:
            energy[:height, :width] = low[height:0:-1, width:0:-1]
            energy[:height, left:] = right[height:0:-1, width - 1 : 0 : -1]
            energy[up:, :width] = bottom[height - 1 : 0 : -1, width:0:-1]
            energy[up:, left:] = far[height - 1 : 0 : -1, width - 1 : 0 : -1]
        else:
            energy[:height, :width] = far[:height, :width]
            energy[:height, left:] = bottom[:height, 1:width]
            energy[up:, :width] = right[1:height, :width]
            energy[up:, left:] = low[1:height, 1:width]
        least = self._least * np.float32(max(float(whole), 1e-6))
        return np.asarray(1 / np.sqrt(np.maximum(energy, least)), np.float32)

    def _product(self, first: Spectrum, second: Spectrum) -> Float32:
        spectrum = cv2.mulSpectrums(second.dft, first.dft, 0, conjB=True)
        return np.asarray(cv2.idft(spectrum, flags=cv2.DFT_SCALE | cv2.DFT_REAL_OUTPUT), np.float32)

    def _scores(self, first: Spectrum, second: Spectrum) -> Float32:
        half = cv2.multiply(self._product(first, second), first.norms(True))
        return np.asarray(cv2.multiply(half, second.norms(False)), np.float32)

    def _match(self, scores: Float32, row: int, column: int, coarse: bool) -> Match:
        rows, columns = self.size
        likeness = float(scores[row, column])
        margin = likeness - float(self.curve[row, column])
        x = column if column < self.shape[1] else column - columns
        y = row if row < self.shape[0] else row - rows
        if coarse:
            return Match(x, y, likeness, margin, float(self.shares[row, column]))
        around_x = scores[row, [(column - 1) % columns, column, (column + 1) % columns]]
        around_y = scores[[(row - 1) % rows, row, (row + 1) % rows], column]
        spread = max(_spread(np.roll(line, -at)) for line, at in ((scores[row, :], column), (scores[:, column], row)))
        return Match(x + vertex(around_x, 1), y + vertex(around_y, 1), likeness, margin, float(self.shares[row, column]), spread)


def _spread(line: NDArray[Any]) -> int:
    """Px from the peak, at index 0 of a circle, to where the line has fallen by SPREAD_DROP, on the longer side."""
    fallen = line < line[0] - SPREAD_DROP
    ahead, back = fallen[:_MOST_SPREAD], fallen[: -_MOST_SPREAD - 1 : -1]
    return max(int(side.argmax()) if side.any() else _MOST_SPREAD for side in (ahead[1:], back)) + 1


def vertex(scores: NDArray[Any], at: int) -> float:
    """Where the parabola through the peak and its neighbours has its top, -0.5 to 0.5; 0 at the border."""
    if not 0 < at < len(scores) - 1:
        return 0.0
    left, centre, right = (float(s) for s in scores[at - 1 : at + 2])
    curvature = left - 2 * centre + right
    return 0.0 if curvature >= 0 else float(np.clip(0.5 * (left - right) / curvature, -0.5, 0.5))
