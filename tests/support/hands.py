"""Hands and eyes at a real window: a virtual X server with a window manager, keys and mouse by xdotool, the pixels that are shown."""

from __future__ import annotations

import mmap
import os
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import numpy as np

_X_NAMES = {
    "SPACE": "space",
    "RETURN": "Return",
    "ESCAPE": "Escape",
    "LEFT": "Left",
    "RIGHT": "Right",
    "UP": "Up",
    "DOWN": "Down",
    "PAGEUP": "Prior",
    "PAGEDOWN": "Next",
    "TAB": "Tab",
    "BACKSPACE": "BackSpace",
    "HOME": "Home",
    "END": "End",
}


class Hands:
    """On one X display. All that it does goes through one xdotool that stays, so that a key costs no start of a program."""

    def __init__(self, display: str, folder: Path) -> None:
        self._tool = subprocess.Popen(["xdotool", "-"], stdin=subprocess.PIPE, env={**os.environ, "DISPLAY": display}, text=True)
        self._frame = (folder / "Xvfb_screen0").open("rb")
        self._map = mmap.mmap(self._frame.fileno(), 0, prot=mmap.PROT_READ)
        header = [int.from_bytes(self._map[at : at + 4], "big") for at in (0, 16, 20, 48, 76)]
        self._start, (self.width, self.height, self._stride) = header[0] + header[4] * 12, header[1:4]
        self.presses = 0

    def key(self, word: str) -> None:
        """A key by the desk's name, with "+" before it together with Shift."""
        name = word.removeprefix("+")
        name = _X_NAMES.get(name, name.lower())
        self.say(f"key {'shift+' if word.startswith('+') else ''}{name}")
        self.presses += 1

    def press(self, x: float, y: float) -> None:
        """The left button, or a finger."""
        self.say(f"mousemove {round(x)} {round(y)} click 1")
        self.presses += 1

    def drag(self, start: tuple[float, float], end: tuple[float, float]) -> None:
        (x0, y0), (x1, y1) = start, end
        self.say(f"mousemove {round(x0)} {round(y0)} mousedown 1")
        for share in (0.3, 0.6, 1.0):
            self.say(f"mousemove {round(x0 + (x1 - x0) * share)} {round(y0 + (y1 - y0) * share)}")
        self.say("mouseup 1")
        self.presses += 1

    def say(self, line: str) -> None:
        stream: IO[str] | None = self._tool.stdin
        assert stream is not None
        stream.write(line + "\n")
        stream.flush()

    def seen(self, step: int = 1) -> np.ndarray:
        """Every `step`-th pixel of what is shown, BGR, a copy."""
        pixels = np.frombuffer(self._map, np.uint8, self._stride * self.height, self._start)
        return pixels.reshape(self.height, -1, 4)[::step, : self.width : step, :3].copy()

    def change_ms(self, before: np.ndarray, step: int, within_s: float = 2.0) -> float | None:
        """Milliseconds until the screen differs from `before`, None if it stays the same."""
        start = time.perf_counter()
        while (took := time.perf_counter() - start) < within_s:
            if not np.array_equal(self.seen(step), before):
                return took * 1000
            time.sleep(0.001)
        return None

    def close(self) -> None:
        assert self._tool.stdin is not None
        self._tool.stdin.close()
        self._tool.wait(10)
        self._map.close()
        self._frame.close()


@contextmanager
def desk_with_window_manager(width: int, height: int, folder: Path) -> Iterator[str]:
    """DISPLAY of a virtual X server with openbox; its picture lies in `folder`."""
    reading, writing = os.pipe()
    command = ["Xvfb", "-displayfd", str(writing), "-screen", "0", f"{width}x{height}x24", "-fbdir", str(folder), "-nolisten", "tcp"]
    server = subprocess.Popen([*command, "-noreset"], pass_fds=(writing,), stderr=subprocess.DEVNULL)
    manager = None
    try:
        os.close(writing)
        with os.fdopen(reading, "rb") as pipe:
            number = pipe.readline().strip().decode()
        assert number, "Xvfb did not start"
        display = f":{number}"
        manager = subprocess.Popen(["openbox"], env={**os.environ, "DISPLAY": display}, stderr=subprocess.DEVNULL)
        yield display
    finally:
        for process in (manager, server):
            if process is not None:
                process.terminate()
                process.wait()
