"""Where a slide's numbers come from: one value, kept with the slide, sent with its summary, shown on screen and page."""

from __future__ import annotations

from dataclasses import dataclass

from device.mqtt.payloads import CalibrationProvenance, SourceProvenance
from engines.runtime.base import EngineInfo


@dataclass(frozen=True)
class Provenance:
    """Device, boot, model, microscope and camera.

    calibration, source: None only in a stored slide where another version wrote them in a form that this one does not know.
    time_trusted: whether the wall clock could be believed at the start; boot_id orders slides where it could not.
    """

    model: EngineInfo
    identify_threshold: float
    calibration: CalibrationProvenance | None
    source: SourceProvenance | None
    device_id: str
    boot_id: str
    time_trusted: bool

    @property
    def calibration_label(self) -> str:
        """The calibration in short form, for the screen and the status."""
        return "calibration unknown" if self.calibration is None else self.calibration.label
