"""Frames corrected by the microscope's own white balance and flat-field, before network, screen, record and registration see them."""

from __future__ import annotations

from dataclasses import replace
from typing import Protocol

from calibration.optics.correction import Correction
from device.camera.base import CameraStatus, Frame


class Source(Protocol):
    """What gives the newest frame: the capture thread."""

    @property
    def status(self) -> CameraStatus: ...

    def newest(self, timeout_s: float) -> Frame | None: ...


class CorrectedSource:
    """Another source's frames, corrected; all else is that source's. Used by one thread."""

    def __init__(self, source: Source, correction: Correction) -> None:
        self._source, self._correction = source, correction

    @property
    def status(self) -> CameraStatus:
        return self._source.status

    def newest(self, timeout_s: float) -> Frame | None:
        """As the source's own; the corrected frame has pixels of its own."""
        frame = self._source.newest(timeout_s)
        return None if frame is None else replace(frame, image=self._correction.apply(frame.image))
