"""From the configuration's camera section to the camera: one place that knows every kind, and imports only the one asked for."""

from __future__ import annotations

from device.camera.base import Camera
from device.clock import Clock
from device.settings.config import CameraSection, Picamera2Camera, ReplayCamera, V4l2Camera


def open_camera(section: CameraSection, clock: Clock) -> Camera:
    """The camera that `section` names, not yet opened: its hardware opens in `with`, which raises CameraError where it cannot."""
    if isinstance(section, V4l2Camera):
        from device.camera import v4l2

        return v4l2.V4l2Camera(section, clock)
    if isinstance(section, Picamera2Camera):
        from device.camera import picamera

        return picamera.Picamera2Camera(section, clock)
    if isinstance(section, ReplayCamera):
        from device.camera import replay

        return replay.ReplayCamera(section, clock)
    from device.camera import simulator

    return simulator.SimulatorCamera(section, clock)
