"""Follows the frames and says what the person at the stage can better, and why a frame must not be counted."""

from __future__ import annotations

from collections.abc import Iterator

from device.camera.base import Frame
from device.camera.focus import NOT_SHARP, Focus, FocusMeter
from device.camera.quality import Exposure, exposure, sharpness
from device.language import _


class Guide:
    """The guidance of one run. Used by the pipeline's thread only. stored: the pictures are files, whose focus nobody can turn."""

    def __init__(self, stored: bool = False) -> None:
        self._meter = FocusMeter(can_turn=not stored)
        self.focus = Focus(0.0, "", sharp=False)
        self.sharpness = 0.0
        self._light: Exposure | None = None

    def look(self, frame: Frame, at_s: float, resting: bool) -> str:
        """Take in the next frame, at a monotonic time in seconds; why nothing of it may be counted, in words, or "".

        resting: whether the stage rested at the frame before.
        """
        self.sharpness = sharpness(frame.image)
        self.focus = self._meter.observe(self.sharpness, at_s, resting)
        self._light = exposure(frame.image)
        return "" if self.focus.sharp else _(NOT_SHARP)

    def new_slide(self) -> None:
        """Forget what belongs to the slide before."""
        self._meter.reset()

    def advice(self) -> Iterator[str]:
        """Sentences for the technician, the most urgent first; none while all is well."""
        light = self._light
        if light is not None and not light.good:
            yield f"{light.text[:1].upper()}{light.text[1:]}."

    def late_advice(self) -> Iterator[str]:
        """The same, of what may wait until everything else was said."""
        if self._light is not None and self._light.cast:
            yield f"{self._light.cast[:1].upper()}{self._light.cast[1:]}."
