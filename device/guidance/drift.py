"""Whether lamp, camera or filters have changed since the white balance was measured, by the glass and plasma between the cells."""

from __future__ import annotations

from collections import deque

import numpy as np

from calibration.profile import CalibrationProfile
from device.camera.quality import Exposure
from device.language import _

FRAMES = 40
"""So many resting frames must agree: one field may be dense or stained."""
COLOUR, LEVEL = 0.10, 0.25
"""Departures that count: of a channel's share of the light, and of its level. Plasma itself tints by up to .06 on rendered film."""


class Drift:
    """Compares frames with what the profile's blank field had; says nothing where no blank field was measured.

    level: what the brightest channel of the corrected glass had; None: nothing was measured.
    """

    def __init__(self, level: float | None) -> None:
        self._level = level
        self._seen: deque[tuple[float, float]] = deque(maxlen=FRAMES)

    @classmethod
    def of(cls, profile: CalibrationProfile, objective: int) -> Drift:
        """By the blank field that was measured at this objective."""
        scale = profile.objectives.get(objective)
        return cls(None if scale is None or scale.optics is None else max(scale.optics.glass_bgr))

    def observe(self, light: Exposure) -> None:
        """Take in the light of a corrected, resting frame; one that is badly exposed says nothing of drift."""
        if self._level is not None and light.good:
            glass = np.array(light.glass_bgr)
            cast = float(np.abs(glass / glass.mean() - 1).max())
            self._seen.append((cast, float(glass.max() / self._level)))

    @property
    def words(self) -> str:
        """What has changed and what to do; "" while nothing has, or too little was seen."""
        if len(self._seen) < FRAMES:
            return ""
        cast, level = np.median(np.array(self._seen), axis=0)
        if cast > COLOUR:
            return _("The light has another colour than when it was calibrated: run leukoscope calibrate.")
        if not 1 - LEVEL < level < 1 + LEVEL:
            return _("The light is weaker or stronger than when it was calibrated: set the lamp, or run leukoscope calibrate.")
        return ""
