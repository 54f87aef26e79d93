"""Where the numbers of a test's slide are said to come from."""

from __future__ import annotations

from dataclasses import replace

from calibration.profile import load_profile
from device.mqtt.payloads import CalibrationProvenance, SourceProvenance
from device.mqtt.provenance import Provenance
from device.settings.config import ReplayCamera, SimulatorCamera, V4l2Camera
from engines.runtime.base import EngineInfo

REPLAY = ReplayCamera(kind="replay", source="pictures")
SIMULATOR = SimulatorCamera(kind="simulator")
V4L2 = V4l2Camera(kind="v4l2", device="/dev/video0")


def provenance(model: EngineInfo, **changed: object) -> Provenance:
    """Of `model` under the nominal profile at 1920 px, on the device "box-1"; `changed` goes before."""
    calibration = CalibrationProvenance.of(load_profile("zzcat-5mp"), 100, 1920)
    made = Provenance(model, 0.4, calibration, SourceProvenance.of(REPLAY, "/pictures/film 3"), "box-1", "b-1", True)
    return replace(made, **changed)  # type: ignore[arg-type]  # a field's own type is checked where it is used
