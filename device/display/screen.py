"""The window on the technician's screen, as the pipeline sees it: pictures go there, keys come back as commands.

The window lives in a process of its own (`window`), so that a display server which is missing or dies never ends the count.
"""

from __future__ import annotations

import importlib.util
import logging
import mmap
import os
import select
import subprocess
import sys
import tempfile
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

import numpy as np
from typing_extensions import Self

from device.display.base import ScreenView
from device.display.inputs import Input, Kind
from device.display.overlay import draw_on
from device.display.sheet import Sheet
from device.display.targets import Targets
from device.errors import DisplayError
from device.settings.config import DisplaySection

_log = logging.getLogger(__name__)

_MIN_PERIOD_S = 0.03
_OPEN_TIMEOUT_S = 30.0
_CLOSE_TIMEOUT_S = 3.0
_SLOTS = 2
_LARGEST_PX = (7680, 4320)
"""No canvas is larger. So much memory is set aside for each slot; only what is drawn on is really taken."""
_WAY_OUT = "or run with `--display none` or `--display file:DIR`"


class Screen:
    """A full-screen window (or a plain one, `fullscreen: false`). May be opened again after it went away."""

    def __init__(self, section: DisplaySection, monotonic_s: Callable[[], float] = time.monotonic) -> None:
        self._section = section
        self._now = monotonic_s
        self._child: subprocess.Popen[bytes] | None = None
        self._map: mmap.mmap | None = None
        self._reset()

    def _reset(self) -> None:
        self.size_px = (self._section.width_px, self._section.height_px)  # of the window
        self.platform = ""  # Qt's name of what it draws on ("xcb", "wayland"); empty before the window is open
        self._free = list(range(_SLOTS))
        self._sheets: dict[int, Sheet] = {}
        self._given: list[Input] = []
        self._targets = Targets()
        self._canvas_px = (1, 1)
        self._pressed: tuple[str, tuple[float, float], bool] | None = None
        self._pending: ScreenView | None = None
        self._drawn_s = float("-inf")
        self._heard = b""
        self._complaints: deque[str] = deque(maxlen=40)
        self._complaint = b""

    def __enter__(self) -> Self:
        """Open the window; returns when it is on the screen. Raises DisplayError with the way out."""
        environment = _environment()
        self._reset()
        try:
            self._start(environment)
            deadline = time.monotonic() + _OPEN_TIMEOUT_S
            while not self.platform:
                if not self._listen(max(0.0, deadline - time.monotonic())):
                    raise self._gone("the window cannot be opened")
                if time.monotonic() >= deadline:
                    late = f"the window did not appear within {_OPEN_TIMEOUT_S:.0f} s"
                    raise DisplayError(f"{late}; look at the display server, {_WAY_OUT}")
        except BaseException:
            self._close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._close()

    def show(self, view: ScreenView) -> None:
        """Draw `view` if the last picture is old enough and the window has taken it; raises DisplayError when the window went away."""
        self._pending = view
        if not self._listen():
            raise self._gone("the window went away")
        self._draw_pending()

    def inputs(self) -> Sequence[Input]:
        """What was done at the window since the last call."""
        if self._child is not None and self._listen() and self._pending is not None:
            with suppress(DisplayError):  # show() tells; what was done until then still counts
                self._draw_pending()
        given, self._given = self._given, []
        return given

    def _start(self, environment: dict[str, str]) -> None:
        section = self._section
        slot_bytes = _LARGEST_PX[0] * _LARGEST_PX[1] * 3
        descriptor = _shared_memory(slot_bytes * _SLOTS)
        try:
            self._map = mmap.mmap(descriptor, slot_bytes * _SLOTS)
            numbers = (descriptor, slot_bytes, int(section.fullscreen), section.width_px, section.height_px)
            self._child = subprocess.Popen(
                [sys.executable, "-m", "device.display.window", *(str(n) for n in numbers)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                bufsize=0,
                pass_fds=(descriptor,),
                env=environment,
            )
        finally:
            os.close(descriptor)
        for stream in (self._child.stdout, self._child.stderr):
            assert stream is not None
            os.set_blocking(stream.fileno(), False)

    def _draw_pending(self) -> None:
        now = self._now()
        if self._pending is None or not self._free or now - self._drawn_s < _MIN_PERIOD_S:
            return
        view, self._pending = self._pending, None
        slot = self._free.pop(0)
        width, height = self._canvas_size()
        self._targets, self._canvas_px = draw_on(self._sheet(slot, width, height), view), (width, height)
        self._drawn_s = now
        assert self._child is not None
        assert self._child.stdin is not None
        try:
            self._child.stdin.write(f"draw {slot} {width} {height}\n".encode())
        except BrokenPipeError:
            raise self._gone("the window went away") from None

    def _canvas_size(self) -> tuple[int, int]:
        """The window's own size, so that letters are sharp; unless it is `native`, not beyond the configured one."""
        width, height = self.size_px
        most = _LARGEST_PX if self._section.native else (self._section.width_px, self._section.height_px)
        share = min(1.0, most[0] / width, most[1] / height)
        return max(320, round(width * share)), max(180, round(height * share))

    def _sheet(self, slot: int, width: int, height: int) -> Sheet:
        """The slot's pixels with what was last drawn on them, as the window only reads them; a blank sheet after a change of size."""
        assert self._map is not None
        sheet = self._sheets.get(slot)
        if sheet is None or sheet.pixels.shape != (height, width, 3):
            start = slot * _LARGEST_PX[0] * _LARGEST_PX[1] * 3
            flat = np.frombuffer(self._map, np.uint8, width * height * 3, start)
            sheet = self._sheets[slot] = Sheet(flat.reshape(height, width, 3))
        return sheet

    def _listen(self, wait_s: float = 0.0) -> bool:
        """Hear what the window says, waiting at most `wait_s` for its first word; False when it has ended."""
        if self._child is None:
            return False
        out, err = self._child.stdout, self._child.stderr
        assert out is not None
        assert err is not None
        readable, _, _ = select.select([out, err], [], [], wait_s)
        if err in readable:
            self._note(_read(err.fileno()))
        if out not in readable:
            return True
        said = _read(out.fileno())
        *lines, self._heard = (self._heard + said).split(b"\n")
        for line in lines:
            self._heed(line.decode().split())
        return bool(said)

    def _heed(self, words: list[str]) -> None:
        match words:
            case ["open", platform, width, height]:
                self.platform, self.size_px = platform, (int(width), int(height))
            case ["size", width, height]:
                self.size_px = (max(1, int(width)), max(1, int(height)))
            case ["free", slot]:
                self._free.append(int(slot))
            case ["key", name, typed, shift]:
                self._given.append(Input(Kind.KEY, name, bytes.fromhex(typed[1:]).decode(), shift=shift == "1"))
            case ["press", x, y, shift]:
                self._pressed = (*self._target(x, y), shift == "1")
            case ["release", x, y]:
                self._release(*self._target(x, y))
            case ["closed"]:
                self._given.append(Input(Kind.CLOSED))

    def _target(self, x: str, y: str) -> tuple[str, tuple[float, float]]:
        """The target under a point of the window, by what was drawn last."""
        width, height = self._canvas_px
        return self._targets.at(float(x) * width / self.size_px[0], float(y) * height / self.size_px[1])

    def _release(self, onto: str, at: tuple[float, float]) -> None:
        """A press counts when it is let go on the target where it began; elsewhere it is a drag."""
        pressed, self._pressed = self._pressed, None
        if pressed is None or not pressed[0]:
            return
        word, began, shift = pressed
        if onto == word:
            self._given.append(Input(Kind.PRESS, word, at=began, shift=shift))
        elif onto:
            self._given.append(Input(Kind.DRAG, word, onto=onto, at=at, shift=shift))

    def _note(self, said: bytes) -> None:
        """Keep and log what Qt complains of."""
        *lines, self._complaint = (self._complaint + said).split(b"\n")
        for line in lines:
            words = line.decode(errors="replace").strip()
            if words:
                self._complaints.append(words)
                _log.warning("window: %s", words)

    def _gone(self, what: str) -> DisplayError:
        """The error for a window that has ended, with the reason that it gave."""
        assert self._child is not None
        with suppress(subprocess.TimeoutExpired):
            self._child.wait(_CLOSE_TIMEOUT_S)
        assert self._child.stderr is not None
        while said := _read(self._child.stderr.fileno()):
            self._note(said)
        reason = _reason(list(self._complaints)) or f"exit status {self._child.returncode}"
        return DisplayError(f"{what}: {reason}; start a display server, {_WAY_OUT}")

    def _close(self) -> None:
        child, self._child = self._child, None
        if child is not None:
            assert child.stdin is not None
            with suppress(BrokenPipeError):
                child.stdin.close()
            try:
                child.wait(_CLOSE_TIMEOUT_S)
            except subprocess.TimeoutExpired:
                child.kill()
                child.wait()
            for stream in (child.stdout, child.stderr):
                assert stream is not None
                stream.close()
        self._sheets.clear()
        if self._map is not None:
            with suppress(BufferError):  # a canvas is still held by somebody; freed with it
                self._map.close()
            self._map = None


def _environment() -> dict[str, str]:
    """The environment for the window's process; raises DisplayError where no window can be hoped for."""
    if importlib.util.find_spec("PySide6") is None:
        raise DisplayError(f"PySide6 is not installed, so there is no window: pip install leukoscope[screen], {_WAY_OUT}")
    environment = dict(os.environ)
    wayland, x11 = environment.get("WAYLAND_DISPLAY"), environment.get("DISPLAY")
    if not environment.get("QT_QPA_PLATFORM"):
        if not wayland and not x11:
            raise DisplayError(f"no display: neither DISPLAY nor WAYLAND_DISPLAY is set; start a display server, {_WAY_OUT}")
        environment["QT_QPA_PLATFORM"] = ";".join(name for name, there in (("wayland", wayland), ("xcb", x11)) if there)
    environment["QT_ENABLE_HIGHDPI_SCALING"] = "0"  # the overlay scales itself; Qt shall count in real pixels
    package_root = str(Path(__file__).resolve().parents[2])
    environment["PYTHONPATH"] = os.pathsep.join(p for p in (package_root, environment.get("PYTHONPATH")) if p)
    return environment


def _shared_memory(size: int) -> int:
    """Descriptor of a nameless piece of memory; in a file only where the system has none, as files would wear out a memory card."""
    if hasattr(os, "memfd_create"):
        descriptor = os.memfd_create("leukoscope-screen")
    else:
        with tempfile.TemporaryFile() as file:
            descriptor = os.dup(file.fileno())
    os.ftruncate(descriptor, size)
    return descriptor


def _read(descriptor: int) -> bytes:
    """All that lies ready; empty at the end, or when nothing does."""
    try:
        return os.read(descriptor, 65536)
    except BlockingIOError:
        return b""


def _reason(complaints: Sequence[str]) -> str:
    """The line of Qt's or Python's complaints that says most."""
    marks = ("could not connect", "connection broke", "connection was broken", "is needed to load", "Error:")
    telling = (line for mark in marks for line in complaints if mark in line)
    return next(telling, complaints[0] if complaints else "")
