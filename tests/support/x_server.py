"""A virtual X server without a window manager, and what it shows."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np


@contextmanager
def x_server(width: int, height: int, folder: Path) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    """A virtual X server without a window manager; its picture lies in `folder` as Xvfb_screen0."""
    reading, writing = os.pipe()
    command = ["Xvfb", "-displayfd", str(writing), "-screen", "0", f"{width}x{height}x24", "-fbdir", str(folder), "-nolisten", "tcp"]
    server = subprocess.Popen([*command, "-noreset"], pass_fds=(writing,), stderr=subprocess.DEVNULL)
    try:
        os.close(writing)
        with os.fdopen(reading, "rb") as pipe:
            number = pipe.readline().strip().decode()
        assert number, "Xvfb did not start"
        yield f":{number}", server
    finally:
        server.terminate()
        server.wait()


def on_screen(folder: Path, width: int = 1280, height: int = 720) -> np.ndarray:
    """What the X server shows, BGR: the XWD file that Xvfb keeps of its frame buffer."""
    data = (folder / "Xvfb_screen0").read_bytes()
    header, colours = int.from_bytes(data[0:4], "big"), int.from_bytes(data[76:80], "big")
    stride = int.from_bytes(data[48:52], "big")
    pixels = np.frombuffer(data, np.uint8, stride * height, header + colours * 12)
    return pixels.reshape(height, stride // 4, 4)[:, :width, :3]
