"""Which cameras are there: for `leukoscope doctor`, and for the message that says a camera is not. No frame is read here."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from device.camera import v4l2_device
from device.camera.v4l2_device import Mode

DEV = Path("/dev")
AUTO = "auto"
"""As camera.device: the one camera that is connected."""


@dataclass(frozen=True)
class VideoDevice:
    """One node that gives pictures, or could not be asked whether it does.

    stable_id: what to write into camera.device; the by-id path where there is one, else by-path, else the node itself.
    modes: as the device lists them; empty where it could not be asked, and `problem` then says why.
    """

    stable_id: Path
    node: Path
    name: str
    modes: tuple[Mode, ...] = ()
    problem: str = ""

    def __str__(self) -> str:
        return f"{self.stable_id} ({self.name})" if self.name else str(self.stable_id)


def list_devices(dev: Path = DEV) -> tuple[VideoDevice, ...]:
    """The V4L2 cameras, by node number, without nodes that give only metadata; one that cannot be asked is listed with its problem."""
    stable = _stable_ids(dev)
    nodes = (p for p in dev.glob("video*") if re.fullmatch(r"video\d+", p.name))
    described = (_describe(node, stable.get(node.resolve(), node)) for node in sorted(nodes, key=lambda p: int(p.name[5:])))
    return tuple(device for device in described if device is not None)


def what_is_there(dev: Path = DEV) -> str:
    """One clause for an error message: the cameras that are connected."""
    devices = list_devices(dev)
    if not devices:
        return "no camera is connected (there is no /dev/video*)"
    return "connected are: " + ", ".join(str(device) for device in devices)


def only_camera(dev: Path = DEV) -> VideoDevice | None:
    """The camera that is connected, by "auto"; None where there is none, or more than one, of which a person chooses."""
    usable = [device for device in list_devices(dev) if not device.problem]
    by_camera = {device.stable_id: device for device in usable}
    return next(iter(by_camera.values())) if len(by_camera) == 1 else None


def stable_id_of(node: Path, dev: Path = DEV) -> Path | None:
    """The by-id or by-path name that leads to `node`, or None."""
    return _stable_ids(dev).get(node.resolve())


def _stable_ids(dev: Path) -> dict[Path, Path]:
    found: dict[Path, Path] = {}
    for kind in ("by-id", "by-path"):
        for link in sorted((dev / "v4l" / kind).glob("*")):
            found.setdefault(link.resolve(), link)
    return found


def _describe(node: Path, stable_id: Path) -> VideoDevice | None:
    try:
        with v4l2_device.opened(node) as descriptor:
            name, captures = v4l2_device.capability(descriptor)
            if not captures:
                return None
            return VideoDevice(stable_id, node, name, v4l2_device.modes(descriptor))
    except PermissionError:
        return VideoDevice(stable_id, node, "", problem="this user may not open it; add the user to the group 'video'")
    except OSError as error:
        return VideoDevice(stable_id, node, "", problem=f"it does not answer as a camera: {error.strerror or error}")
