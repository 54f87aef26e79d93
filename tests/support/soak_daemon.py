"""`leukoscope` on a rendered slide whose glass is away while a file is there: `python -m tests.support.soak_daemon WORDS...`.

Without the change of the glass the appliance would rightly count nothing on the next slide. All else is as shipped.
"""

from __future__ import annotations

import os
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np

from device.camera.base import Frame
from device.camera.simulator import SimulatorCamera

AWAY = "LEUKOSCOPE_GLASS_AWAY"
"""Names the variable that names the file."""


def main() -> None:
    """Run the command."""
    from device.cli import call

    away, read = Path(os.environ[AWAY]), SimulatorCamera.read

    def with_glass(self: SimulatorCamera) -> Frame:
        frame = read(self)
        if not away.exists():
            return frame
        light = np.random.default_rng(frame.sequence).normal(225.0, 1.5, frame.image.shape)
        return replace(frame, image=light.astype(np.uint8))

    SimulatorCamera.read = with_glass  # type: ignore[method-assign]  # the one thing that differs
    sys.exit(call(sys.argv[1:]))


if __name__ == "__main__":
    main()
