"""Whether boxes of white cells lie on stained nuclei, and if not, what shift or turn would put them there.

It asks the picture alone, so that it also sees labels that were wrong before they were carried over. Nothing is moved here. Two
questions: `check_labels` asks whether carried labels may be used (`attridet transfer`), `misplaced` whether published ones are where
they belong (`attridet data check`), which also sees boxes that still touch their nuclei.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import cv2
import numpy as np
import numpy.typing as npt

Float64 = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]

STAINED_SHARE = 0.06
"""A box holds a nucleus if this share of it is nuclear stain. Of 1,902 real cells 99.5 % have more than 0.12, the least 0.07."""

MISPLACED_BELOW = 0.5
"""Labels are suspect when fewer than this share of the boxes hold a nucleus."""

GAIN = 0.4
"""A shift or turn explains it when that much larger a share would hold one."""

_SEARCH = 0.4
"""Shifts are sought up to this share of the picture's sides."""
_TURN_SEARCH = 0.1
_STEP = 1 / 160
_RING = 0.25
_FITS_WELL = 0.15
"""Boxes that fit so well are left alone: no more than 0.3 can be had, so nothing could be twice as good."""
_FITS_BETTER, _FITS_NOT = 0.12, 0.03
_FEW = 0.34
"""So small a share of the boxes holds a nucleus where the boxes may be another picture's."""
_NUCLEUS_SHARE = 0.12
"""Of a box's area: so large a piece of stain may be a nucleus."""
_NOT_TURNED = "not turned"


@dataclass(frozen=True)
class LabelCheck:
    """What the picture says of its boxes.

    boxes: how many were looked at (artefacts are not). on_nucleus: how many hold one. shift_px: the shift (dx, dy) that fits best.
    turned: how the picture would have to be turned first. on_nucleus_then: how many would hold one.
    """

    boxes: int
    on_nucleus: int
    shift_px: tuple[float, float] = (0.0, 0.0)
    turned: str = _NOT_TURNED
    on_nucleus_then: int = 0

    @property
    def sound(self) -> bool:
        return not self.boxes or self.on_nucleus / self.boxes >= MISPLACED_BELOW

    @property
    def words(self) -> str:
        """What is wrong; empty where all is well."""
        if self.sound:
            return ""
        said = f"{self.on_nucleus} of {self.boxes} boxes hold a stained nucleus"
        if (self.on_nucleus_then - self.on_nucleus) / self.boxes < GAIN:
            return f"{said}, and no shift would help: check the labels by eye"
        return f"{said}, but {self.on_nucleus_then} would if {self.way_back}: the labels are misplaced"

    def told(self, scale: float) -> str:
        """What `misplaced` found, in words; shifts `scale` times as far."""
        said = f"{self.on_nucleus} of {self.boxes} boxes hold a stained nucleus"
        if self.turned == _NOT_TURNED and self.shift_px == (0.0, 0.0):
            return f"{said}, and nuclei lie beside them: boxes of another picture?"
        dx, dy = self.shift_px
        better = f"{self.on_nucleus_then} would" if self.on_nucleus_then > self.on_nucleus else "they would lie better"
        return f"{said}; {better} if {replace(self, shift_px=(dx * scale, dy * scale)).way_back}"

    @property
    def way_back(self) -> str:
        """What would put the boxes where they belong, in words."""
        move = f"moved by {self.shift_px[0]:+.0f}, {self.shift_px[1]:+.0f} px"
        return move if self.turned == _NOT_TURNED else f"{self.turned} and {move}"


def nuclear_stain(image: npt.NDArray[np.uint8]) -> Mask:
    """Where a BGR picture bears nuclear stain.

    Nuclei bind azure and eosin: they take away green far more than red and blue, red cells (grey-blue to pink, as the lamp and the
    stain will) do not. 3 OD_green - OD_red - OD_blue, the optical density against the brightest tenth; two Otsu thresholds, the first
    between glass and everything, the second between red cells and nuclei.
    """
    longest = max(image.shape[:2])
    soft = cv2.GaussianBlur(image, (0, 0), max(0.8, longest / 430)).astype(np.float32) + 1
    ground = np.percentile(soft.reshape(-1, 3), 90, axis=0)
    density = -np.log(np.minimum(soft / ground, 1))
    stain = np.maximum(0, 3 * density[..., 1] - density[..., 0] - density[..., 2])
    top = float(np.percentile(stain, 99.9))
    if top <= 0:
        return np.zeros(stain.shape, bool)
    levels = np.clip(stain / top * 255, 0, 255).astype(np.uint8)
    glass, _ = cv2.threshold(levels, 0, 255, cv2.THRESH_OTSU)
    film = levels[levels > glass]
    cells = cv2.threshold(film.reshape(-1, 1), 0, 255, cv2.THRESH_OTSU)[0] if film.size else glass
    # The darkest chromatin takes away every colour alike and falls out of the mask; its rim does not.
    side = max(3, round(longest / 60))
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (side, side))
    return np.asarray(cv2.morphologyEx((levels > cells).astype(np.uint8), cv2.MORPH_CLOSE, disc), np.bool_)


def check_labels(image: npt.NDArray[np.uint8], boxes: npt.ArrayLike) -> LabelCheck:
    """Look whether boxes (N, 4) x1 y1 x2 y2 of white cells lie on nuclei of a BGR picture; leave artefacts out beforehand."""
    mask = nuclear_stain(image)
    b = np.asarray(boxes, np.float64).reshape(-1, 4)
    b = b[_areas(b) > 0]
    if not len(b):
        return LabelCheck(0, 0)
    sums = np.asarray(cv2.integral(mask.astype(np.uint8)), np.int32)
    held = int(_held(sums, b, np.zeros((1, 2))).sum())
    as_it_is = LabelCheck(len(b), held, on_nucleus_then=held)
    if as_it_is.sound:
        return as_it_is
    return max(_searched(sums, b, held), key=lambda one: one[0])[1]


def misplaced(mask: Mask, boxes: npt.ArrayLike) -> LabelCheck | None:
    """Whether boxes (N, 4) x1 y1 x2 y2 of white cells, in px of the `mask` of nuclear stain, belong elsewhere; None: nothing says so.

    Either a shift or turn would put them on nuclei far better, also where they still touch them; or few hold one while nuclei lie
    beside them, as with the boxes of another picture: then `on_nucleus_then` is `on_nucleus`. Of 950 real fields with their own boxes
    none is told; of those moved by a tenth of their side three in four or more are. Nothing is said where no nuclei stand out.
    """
    b = np.asarray(boxes, np.float64).reshape(-1, 4)
    b = b[(b[:, 2:] - b[:, :2] >= 1).all(1)]
    if not len(b) or not mask.any():
        return None
    sums = np.asarray(cv2.integral(mask.astype(np.uint8)), np.int32)
    as_it_is = float(_fits(sums, b, np.zeros((1, 2)))[0])
    if as_it_is >= _FITS_WELL:
        return None
    held = int(_held(sums, b, np.zeros((1, 2))).sum())
    fit, found = max(_searched(sums, b, held, quarters=True), key=lambda one: one[0])
    if found.on_nucleus_then >= MISPLACED_BELOW * len(b) and fit - as_it_is > _FITS_BETTER and as_it_is < fit / 2:
        return found
    free = _free_nuclei(mask, b) if held <= _FEW * len(b) else 0
    other = (len(b) >= 3 and free >= 2) or (as_it_is < _FITS_NOT and free >= max(1, len(b) / 2))
    return LabelCheck(len(b), held, on_nucleus_then=held) if other else None


def _free_nuclei(mask: Mask, boxes: Float64) -> int:
    """Pieces of stain as large as a nucleus of these boxes may be that lie in none of them."""
    free = mask.astype(np.uint8)
    for x1, y1, x2, y2 in np.maximum(boxes.round().astype(int), 0).tolist():
        free[y1:y2, x1:x2] = 0
    _, _, pieces, _ = cv2.connectedComponentsWithStats(free)
    return int((pieces[1:, cv2.CC_STAT_AREA] > _NUCLEUS_SHARE * np.median(_areas(boxes))).sum())


def _searched(sums: npt.NDArray[np.int32], b: Float64, held: int, quarters: bool = False) -> list[tuple[float, LabelCheck]]:
    """The best shift for each way to turn the boxes first, with how well it fits. quarters: turns by 90 degrees, of square pictures."""
    height, width = sums.shape[0] - 1, sums.shape[1] - 1
    whole = np.array([width, height], np.float64)
    x1, y1, x2, y2 = b.T
    turns = {
        _NOT_TURNED: (b, _SEARCH),
        "turned by 180°": (np.concatenate([whole, whole]) - b[:, [2, 3, 0, 1]], _TURN_SEARCH),
        "mirrored left to right": (np.stack([width - x2, y1, width - x1, y2], axis=1), _TURN_SEARCH),
        "mirrored top to bottom": (np.stack([x1, height - y2, x2, height - y1], axis=1), _TURN_SEARCH),
    }
    if quarters and abs(width - height) <= 0.02 * width:
        turns |= {
            "turned by 90° clockwise": (np.stack([width - y2, x1, width - y1, x2], axis=1), _TURN_SEARCH),
            "turned by 90° counterclockwise": (np.stack([y1, height - x2, y2, height - x1], axis=1), _TURN_SEARCH),
            "with x and y exchanged": (b[:, [1, 0, 3, 2]], _TURN_SEARCH),
        }
    found: list[tuple[float, LabelCheck]] = []
    for name, (placed, search) in turns.items():
        shifts = _shifts(whole, search)
        fits = _fits(sums, placed, shifts)
        shift = _middle(shifts, fits, placed)
        then = int(_held(sums, placed, shift[None]).sum())
        # A turn is the simpler story only if it needs less of a shift and explains as much.
        fit = float(fits.max()) - 0.1 * float(np.hypot(*shift) / np.hypot(*whole))
        found.append((fit, LabelCheck(len(b), held, (float(shift[0]), float(shift[1])), name, then)))
    return found


def _areas(boxes: Float64) -> Float64:
    return np.asarray((boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1]), np.float64)


def _shifts(whole: Float64, search: float) -> Float64:
    """Shifts (S, 2), the smallest first, so that of equal ones the smallest is found."""
    steps = [np.arange(-search, search + _STEP / 2, _STEP) * side for side in whole]
    grid = np.stack(np.meshgrid(*steps), axis=-1).reshape(-1, 2)
    return np.asarray(grid[np.argsort(np.hypot(grid[:, 0], grid[:, 1]), kind="stable")], np.float64)


def _middle(shifts: Float64, fits: Float64, boxes: Float64) -> Float64:
    """The best shift: boxes are looser than nuclei, so several fit alike, and the middle of those around the smallest is meant."""
    first = shifts[int(np.argmax(fits))]
    half = float(np.median(boxes[:, 2:] - boxes[:, :2])) / 2
    alike = (fits >= 0.98 * fits.max()) & (np.abs(shifts - first).max(axis=1) <= half)
    return np.asarray(shifts[alike].mean(axis=0), np.float64)


def _fits(sums: npt.NDArray[np.int32], boxes: Float64, shifts: Float64) -> Float64:
    """How well boxes hold nuclei at each shift: share of stain within, what is cut off by their edges taken away, mean over boxes."""
    inside = _stained(sums, boxes, shifts)
    sides = boxes[:, 2:] - boxes[:, :2]
    grown = np.concatenate([boxes[:, :2] - _RING * sides, boxes[:, 2:] + _RING * sides], axis=1)
    around = _stained(sums, grown, shifts) - inside
    return np.asarray(np.clip((inside - around) / _areas(boxes)[:, None], 0, 0.3).mean(axis=0), np.float64)


def _held(sums: npt.NDArray[np.int32], boxes: Float64, shifts: Float64) -> npt.NDArray[np.bool_]:
    """Whether each box holds a nucleus at each shift, (N, S)."""
    return np.asarray(_stained(sums, boxes, shifts) >= STAINED_SHARE * _areas(boxes)[:, None], np.bool_)


def _stained(sums: npt.NDArray[np.int32], boxes: Float64, shifts: Float64) -> Float64:
    """Stained px within each box at each shift, (N, S)."""
    height, width = sums.shape[0] - 1, sums.shape[1] - 1
    x1, y1, x2, y2 = (np.round(boxes[:, k, None] + shifts[None, :, k % 2]).astype(int) for k in range(4))
    x1, x2 = np.clip(x1, 0, width), np.clip(x2, 0, width)
    y1, y2 = np.clip(y1, 0, height), np.clip(y2, 0, height)
    return np.asarray(sums[y2, x2] - sums[y1, x2] - sums[y2, x1] + sums[y1, x1], np.float64)
