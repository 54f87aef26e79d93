"""The scale from a picture of a stage micrometer: the period of its lines in px, in the direction in which they repeat."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from calibration.optics.blank import OpticsError
from engines.detections import Image

FEWEST_LINES = 4
_LONGEST_PX = 1920
_STRONG = 25.0
"""Times the median of the spectrum that the lines' frequency stands out by at least; film and glass reach 3 to 9."""
_ALIKE, _UNLIKE, _SWING, _HALVES = 0.6, 0.45, 0.3, 0.01
_MOST_OVERTONES = 6
_UPRIGHT_DEGREES = 20.0
_SQUARE = 0.01
_PLAUSIBLE = 1.6


@dataclass(frozen=True)
class Ruling:
    """Lines found on one picture. period_px: from line to line, across them; across: they repeat along x (else along y)."""

    period_px: float
    across: bool
    lines: float


@dataclass(frozen=True)
class Scale:
    """um_per_px of frames `width_px` wide; directions: "across", "down" or "across and down"."""

    um_per_px: float
    width_px: int
    directions: str


def measure_ruling(image: Image, across: bool) -> Ruling:
    """Period of lines that repeat along x (or y) of a BGR picture, to about a thousandth; they may be turned by up to 20 degrees.

    Raises OpticsError where there is no such ruling, too few lines, or two halves of the picture disagree.
    """
    grey = np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2GRAY), np.float32)
    if not across:
        grey = np.ascontiguousarray(grey.T)
    factor = max(1.0, grey.shape[1] / _LONGEST_PX)
    if factor > 1:
        grey = np.asarray(cv2.resize(grey, None, fx=1 / factor, fy=1 / factor, interpolation=cv2.INTER_AREA), np.float32)
    grey = np.asarray(grey - cv2.GaussianBlur(grey, (0, 0), grey.shape[1] / 6), np.float32)
    whole = _period(grey)
    half = grey.shape[1] // 2
    parts = [_period(grey[:, :half], near=whole), _period(grey[:, half:], near=whole)]
    if abs(parts[0] - parts[1]) > 2 * _HALVES * whole:
        raise OpticsError("the lines lie wider on one side than on the other: is the micrometer flat and in focus?")
    return Ruling(whole * factor, across, grey.shape[1] / whole)


def scale_from(pictures: list[Image], step_um: float, nominal_um_per_px: float | None = None) -> Scale:
    """The scale by one or more pictures of one size of a ruling with lines every `step_um`, along x, along y, or both.

    nominal_um_per_px: what the profile had; a result far from it is refused. Raises OpticsError.
    """
    if len({picture.shape for picture in pictures}) != 1:
        raise OpticsError("give pictures of one size" if pictures else "no picture of the micrometer was given")
    found: dict[bool, list[float]] = {True: [], False: []}
    faults = []
    for picture in pictures:
        seen = 0
        for across in (True, False):
            try:
                found[across].append(measure_ruling(picture, across).period_px)
                seen += 1
            except OpticsError as error:
                faults.append(str(error))
        if not seen:
            raise OpticsError(faults[-1])
    periods = {across: float(np.median(values)) for across, values in found.items() if values}
    if len(periods) == 2 and abs(np.log(periods[True] / periods[False])) > _SQUARE:
        raise OpticsError(
            f"a step is {periods[True]:.1f} px across and {periods[False]:.1f} px down: the camera's pixels are not square; "
            "choose a mode of the camera that does not squeeze the picture"
        )
    um_per_px = step_um / float(np.mean(list(periods.values())))
    if nominal_um_per_px is not None and not 1 / _PLAUSIBLE < um_per_px / nominal_um_per_px < _PLAUSIBLE:
        raise OpticsError(
            f"{um_per_px:.4f} um a px is {um_per_px / nominal_um_per_px:.2f} times what the profile has for this objective: "
            f"is the right objective in, and has the ruling a line every {step_um:g} um?"
        )
    directions = " and ".join(word for across, word in ((True, "across"), (False, "down")) if across in periods)
    return Scale(um_per_px, pictures[0].shape[1], directions)


def _period(grey: NDArray[np.float32], near: float | None = None) -> float:
    """Lines repeat along x. By the strongest frequency that its own autocorrelation confirms; `near`: looked for around there only."""
    height, width = grey.shape
    window = np.outer(np.hanning(height), np.hanning(width)).astype(np.float32)
    pad_h, pad_w = 1 << (height - 1).bit_length(), 2 << (width - 1).bit_length()
    power = np.abs(np.fft.rfft2(grey * window, s=(pad_h, pad_w))) ** 2
    fy = np.fft.fftfreq(pad_h)[:, None]
    fx = np.fft.rfftfreq(pad_w)[None, :]
    fewest = FEWEST_LINES if near is None else 1.5
    allowed = (fx > fewest / width) & (fx < 0.25) & (np.abs(fy) <= fx * np.tan(np.radians(_UPRIGHT_DEGREES)))
    if near is not None:
        frequency = np.hypot(fx, fy)
        allowed &= np.abs(frequency * near - 1) < 0.1
    shown = np.where(allowed, power, 0.0)
    row, column = np.unravel_index(int(shown.argmax()), shown.shape)
    nothing = "no ruling is to be seen: focus on the micrometer's lines, let at least four of them lie in the picture, upright or level"
    if not allowed.any() or (near is None and shown[row, column] < _STRONG * float(np.median(power[allowed]))):
        raise OpticsError(nothing)
    x = float(fx[0, column]) + _top(power[row, column - 1 : column + 2]) / pad_w
    y = float(fy[row, 0]) + _top(power[[row - 1, row, (row + 1) % pad_h], column]) / pad_h
    period = 1.0 / float(np.hypot(x, y))
    if near is not None:
        return period
    times = _overtone(grey, x, y)
    if times is None:
        raise OpticsError(nothing)
    return period * times


def _overtone(grey: NDArray[np.float32], x: float, y: float) -> int | None:
    """Thin lines have overtones, of which one may be the strongest: the least number of its periods by which the picture, moved, looks
    like itself; None if it never does."""
    length2 = x * x + y * y
    for times in range(1, _MOST_OVERTONES + 1):
        likeness = _likeness(grey, times * x / length2, times * y / length2)
        if likeness >= _ALIKE:
            between = _likeness(grey, (times - 0.5) * x / length2, (times - 0.5) * y / length2)
            return times if likeness - between > _SWING else None  # what is moved along its lines looks like itself everywhere
        if likeness > _UNLIKE:  # half of the lines, or other lines than the ruling's: a guess would be wrong by a whole factor
            return None
    return None


def _likeness(grey: NDArray[np.float32], dx: float, dy: float) -> float:
    height, width = grey.shape
    moved = cv2.warpAffine(grey, np.array([[1, 0, -dx], [0, 1, -dy]]), (width, height), flags=cv2.INTER_LINEAR)
    edge_x, edge_y = int(abs(dx)) + 2, int(abs(dy)) + 2
    if edge_x * 2 >= 0.8 * width or edge_y * 2 >= height:
        return 0.0
    a, b = (part[edge_y:-edge_y, edge_x:-edge_x] for part in (grey, moved))
    spread = float(a.std() * b.std())
    return float(((a - a.mean()) * (b - b.mean())).mean()) / spread if spread > 0 else 0.0


def _top(three: NDArray[np.floating]) -> float:
    """Where the parabola through the logarithms of three values has its top, -0.5 to 0.5 of a step."""
    if len(three) < 3 or not (three > 0).all():
        return 0.0
    low, middle, high = np.log(three)
    bend = low - 2 * middle + high
    return 0.0 if bend >= 0 else float(np.clip(0.5 * (low - high) / bend, -0.5, 0.5))
