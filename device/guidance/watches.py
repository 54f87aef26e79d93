"""Two mistakes that nothing else notices: another objective than the profile says, and another slide under a running count."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

import numpy as np

from calibration.profile import CalibrationProfile
from device.guidance.area import Area, Thickness
from engines.red_cells import RED_CELL_UM

RED_CELL_LIMITS_UM = (6.2, 8.5)
"""Medians of red cells on dried films; outside, another objective or camera mode is more likely than the patient."""
NOMINAL_LIMITS_UM = (5.3, 9.9)
"""The same where nobody has measured the scale: a nominal one is good to a seventh. The next objective is a factor of 2.5 away."""
FIELDS, CELLS = 3, 20
"""So many fields in a row, with so many single red cells in all, must say the same before anything is asked."""
_ALIKE_SIZE = 0.15
_AGREE = 0.22
"""Logarithms of ratios: sizes that a person has confirmed, and fields that agree. At one place of a rendered film four to ten single
cells are all that is seen; their median lies within .12 of the slide's."""
_TINY_UM = 2.5
"""Where no single cells are to be seen (10x under a 100x profile shows them some px wide) the grain speaks: touching cells included it
is 1.4 to 2 um by the wrong scale, and 3.4 um or more where the objective is the right one or the next."""
_OTHER_STAIN, _OTHER_SIZE, _REMEMBERED = 0.25, 0.08, 9
"""Logarithms of the ratio between medians of fields, on rendered film: of one slide within .1 (stain) and .06 (size)."""


@dataclass(frozen=True)
class ObjectiveDoubt:
    """red_cell_um: median red cell by the scale in use. likely: the objective of the profile that would fit, None if none does."""

    red_cell_um: float
    likely: int | None


class ObjectiveWatch:
    """Compares red cells with the scale of the objective that the configuration names. It says nothing where the scale is not known."""

    def __init__(self, profile: CalibrationProfile, objective: int) -> None:
        self._profile, self._objective = profile, objective
        self._limits = RED_CELL_LIMITS_UM if profile.is_measured(objective) else NOMINAL_LIMITS_UM
        self._outside: list[tuple[float, int]] = []
        self._accepted_um: float | None = None
        self.doubt: ObjectiveDoubt | None = None

    def observe(self, area: Area, width_px: int) -> None:
        """Take in one resting, sharp field. One without single red cells says nothing, nor a thick one, unless its grain is tiny."""
        scale = self._profile.um_per_px(self._objective, width_px)
        if scale is None:
            return
        size, cells = (0.0 if area.red_cell_px is None else area.red_cell_px * scale), area.red_cells
        if area.red_cell_px is None or area.thickness is Thickness.THICK:
            size, cells = (area.grain_px or 0.0) * scale, CELLS
            if not 0 < size < _TINY_UM:
                return
        if self._limits[0] <= size <= self._limits[1] or self._is_accepted(size):
            self._outside.clear()
            return
        if self._outside and abs(np.log(size / self._size)) > _AGREE:
            self._outside.clear()  # two odd fields that do not agree: neither is the objective's doing
        self._outside.append((size, cells))
        if len(self._outside) >= FIELDS and sum(n for _, n in self._outside) >= CELLS and self.doubt is None:
            self.doubt = ObjectiveDoubt(self._size, self._likely(self._size, width_px))

    @property
    def _size(self) -> float:
        return float(median(size for size, _ in self._outside))

    def accept(self) -> None:
        """A person says that the objective is right: red cells of this size are not asked about again."""
        if self.doubt is not None:
            self._accepted_um = self.doubt.red_cell_um
        self.look_again()

    def look_again(self) -> None:
        """Something was changed: judge anew."""
        self._outside.clear()
        self.doubt = None

    def _is_accepted(self, size_um: float) -> bool:
        return self._accepted_um is not None and abs(np.log(size_um / self._accepted_um)) <= _ALIKE_SIZE

    def _likely(self, size_um: float, width_px: int) -> int | None:
        """The objective with which these cells would have their usual size."""
        here = self._profile.um_per_px(self._objective, width_px)
        assert here is not None
        fits = {}
        for other in self._profile.objectives:
            scale = self._profile.um_per_px(other, width_px)
            if scale is not None and other != self._objective:
                fits[other] = abs(float(np.log(size_um * scale / here / RED_CELL_UM)))
        best = min(fits, key=lambda objective: fits[objective], default=None)
        return best if best is not None and fits[best] < 0.3 else None


@dataclass(frozen=True)
class _Looks:
    """One field: logarithms of the stain's strength and hue, and of the red cells' size (NaN where it was not measured)."""

    strength: float
    hue: float
    size: float


class SlideWatch:
    """Whether the film after a blank spell is still that of before, by the stain and the size of its red cells.

    Medians of `FIELDS` fields or more on both sides are compared. doubt: stain and size are another, which is asked about. other_stain:
    the stain alone is, which is said, no more: a film may be stained unevenly. Slides of one batch of stain look alike, so that most
    changes of slides are noticed by neither.
    """

    def __init__(self) -> None:
        self._known: deque[_Looks] = deque(maxlen=_REMEMBERED)
        self._after: list[_Looks] = []
        self._left = False
        self.doubt = self.other_stain = False

    def left(self) -> None:
        """The film was out of sight."""
        if self._left or len(self._known) < FIELDS:
            return  # fields that were not judged yet stay what they are: after another blank spell too
        self._left, self._after = True, []

    def observe(self, area: Area) -> None:
        """Take in one resting, sharp field."""
        _, green, red = area.cover.bgr_density
        if min(green, red) <= 0 or area.thickness is Thickness.THICK or self.doubt:
            return
        size = float("nan") if area.red_cell_px is None else float(np.log(area.red_cell_px))
        seen = _Looks(float(np.log(green)), float(np.log(red / green)), size)
        if not self._left:
            self._known.append(seen)
            return
        self._after.append(seen)
        if len(self._after) >= FIELDS:
            self._compare()

    def _compare(self) -> None:
        strength, hue, size = (_apart(self._known, self._after, of) for of in ("strength", "hue", "size"))
        if max(strength, hue) <= _OTHER_STAIN:
            self.accept()
            return
        self.other_stain, self.doubt = True, size > _OTHER_SIZE
        if (
            len(self._after) >= _REMEMBERED and not self.doubt
        ):  # nobody has answered: what lies here now is what later fields are compared with
            self.accept()

    def accept(self) -> None:
        """It is the same slide."""
        self._known.extend(self._after)
        self._left, self._after = False, []
        self.doubt = self.other_stain = False

    def reset(self) -> None:
        """Another slide begins."""
        self._known.clear()
        self.accept()
        self._known.clear()


def _apart(before: Sequence[_Looks], after: Sequence[_Looks], of: str) -> float:
    """How far medians of fields lie apart; 0 where too few fields on one side have a value."""
    sides = []
    for fields in (before, after):
        values = [value for value in (getattr(field, of) for field in fields) if not np.isnan(value)]
        if len(values) < FIELDS:
            return 0.0
        sides.append(median(values))
    return float(abs(sides[0] - sides[1]))
