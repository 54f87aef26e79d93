"""Two mistakes that nothing else notices: another objective than the profile says, and another slide under a running count."""

from __future__ import annotations

from collections import deque
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
FIELDS = 3
"""So many fields in a row must say the same before anything is asked."""
_ALIKE_SIZE = 0.15
_OTHER_STAIN, _OTHER_SIZE, _REMEMBERED = 0.25, 0.12, 9
"""Logarithms of the ratio to the slide's median. On one rendered film fields differ by .1 at most, films by 0 to .9."""
_COMPARED_FIELDS = 2


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
        self._outside: list[float] = []
        self._accepted_um: float | None = None
        self.doubt: ObjectiveDoubt | None = None

    def observe(self, area: Area, width_px: int) -> None:
        """Take in one resting, sharp field. A field without single red cells says nothing, nor does one that is too thick."""
        scale = self._profile.um_per_px(self._objective, width_px)
        if scale is None or area.red_cell_px is None or area.thickness is Thickness.THICK:
            return
        size = area.red_cell_px * scale
        if self._limits[0] <= size <= self._limits[1] or self._is_accepted(size):
            self._outside.clear()
            return
        self._outside.append(size)
        if len(self._outside) >= FIELDS and self.doubt is None:
            self.doubt = ObjectiveDoubt(float(median(self._outside)), self._likely(size, width_px))

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


class SlideWatch:
    """Whether the film after a blank or lost spell is still that of before, by the stain and the size of its red cells.

    Slides of one batch of stain look alike: it notices some changes of slides, not all.
    """

    def __init__(self) -> None:
        self._known: deque[tuple[float, ...]] = deque(maxlen=_REMEMBERED)
        self._left = False
        self._other: list[tuple[float, ...]] = []
        self.doubt = False

    def left(self) -> None:
        """The film was out of sight, or the place on it was lost."""
        self._left = bool(self._known)

    def observe(self, area: Area) -> None:
        """Take in one resting, sharp field."""
        _, green, red = area.cover.bgr_density
        if min(green, red) <= 0 or area.thickness is Thickness.THICK:
            return
        seen = float(np.log(green)), float(np.log(red / green)), float("nan") if area.red_cell_px is None else np.log(area.red_cell_px)
        if not self._left or self.doubt:
            self._known.append(seen)
            return
        if not self._differs(seen):
            self._left, self._other = False, []
            self._known.append(seen)
            return
        self._other.append(seen)
        self.doubt = len(self._other) >= _COMPARED_FIELDS

    def accept(self) -> None:
        """A person says that it is the same slide."""
        self._known.extend(self._other)
        self._left, self._other, self.doubt = False, [], False

    def reset(self) -> None:
        """Another slide begins."""
        self._known.clear()
        self._left, self._other, self.doubt = False, [], False

    def _differs(self, seen: tuple[float, ...]) -> bool:
        usual = np.array(self._known)
        strength, hue = (abs(seen[i] - float(np.median(usual[:, i]))) for i in (0, 1))
        sizes = usual[:, 2][~np.isnan(usual[:, 2])]
        size = abs(seen[2] - float(np.median(sizes))) if len(sizes) and not np.isnan(seen[2]) else 0.0
        return bool(max(strength, hue) > _OTHER_STAIN or size > _OTHER_SIZE)
