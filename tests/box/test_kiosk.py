"""The screen of a box under its real compositor: cage as its unit starts it, on a virtual X server in place of a graphics card.

The first window says what the boot does; the daemon of another user comes above it, has the keys, and when it is killed the first
window is seen again and says so. Screenshots lie in the test's folder.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest

from device.box.boot import alive
from device.box.progress import RUNNING, tell
from tests.support.listening import family, listening
from tests.support.units import SYSTEMD
from tests.support.x_server import on_screen, x_server

ROOT = Path(__file__).resolve().parents[2]
KIOSK, DAEMON, STRANGER = 64010, 64020, 64030
"""Numbers of three users that this machine need not know."""
PATIENCE_S = 60.0
SIZE = 1024, 768
"""Of the window that wlroots opens on an X server."""
START = "274", "726"
"""Where the page that waits for a slide has its word for the start."""
_TOP = {"busy": (0xF5, 0xB8, 0x5B), "fail": (0x66, 0x74, 0xFF)}

pytestmark = [
    pytest.mark.box,
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to be three users"),
    *(
        pytest.mark.skipif(shutil.which(program) is None, reason=f"needs {program} (Debian: apt install {package})")
        for program, package in (("cage", "cage"), ("Xvfb", "xvfb"), ("xdotool", "xdotool"), ("setpriv", "util-linux"))
    ),
]
pytest.importorskip("PySide6", reason="needs PySide6: pip install leukoscope[screen]")


def as_user(uid: int, *groups: int) -> list[str]:
    """To be put before a command. Python and this checkout may lie where that user could not read; nothing else is given to it."""
    may = "-all,+dac_read_search"
    of = [f"--groups={','.join(map(str, groups))}"] if groups else ["--clear-groups"]
    return ["setpriv", f"--reuid={uid}", f"--regid={uid}", *of, f"--inh-caps={may}", f"--ambient-caps={may}", f"--bounding-set={may}"]


def unit_environment() -> dict[str, str]:
    """What the kiosk's unit sets, but for the seat and the folder."""
    pairs = [pair for line in re.findall(r"^Environment=(.*)$", unit_text(), re.M) for pair in shlex.split(line)]
    return {
        name: value for name, _, value in (pair.partition("=") for pair in pairs) if name not in ("LIBSEAT_BACKEND", "XDG_RUNTIME_DIR")
    }


def unit_text() -> str:
    return (SYSTEMD / "leukoscope-kiosk.service").read_text()


class Box:
    """The folders of a box, its screen, and the programs that run on it."""

    def __init__(self, folder: Path, display: str) -> None:
        self.folder, self._display = folder, display
        self.boot, self.run, self.state = folder / "boot", folder / "kiosk", folder / "state"
        for path, uid, mode in ((self.boot, DAEMON, 0o755), (self.run, KIOSK, 0o750), (self.state, DAEMON, 0o750)):
            path.mkdir()
            os.chown(path, uid, uid)
            path.chmod(mode)
        self.config = folder / "device.yaml"
        self.config.write_text(
            "camera: {kind: simulator, loop: true, live: true, width_px: 640, height_px: 360, fps: 5}\n"
            f"device: {{id: clinic-7, state_dir: {self.state}}}\nengine: {{runtime: onnx, precision: float32, threads: 1}}\n"
            "display: {kind: screen}\nslide: {ask_specimen: false}\nbroker: {enabled: false}\nlog_level: info\n"
        )

    def start(self, uid: int, groups: tuple[int, ...], environment: dict[str, str], *command: str) -> subprocess.Popen[bytes]:
        base = {"PATH": os.environ["PATH"], "HOME": str(self.folder), "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
        with (self.folder / f"{uid}.log").open("ab") as log:
            return subprocess.Popen(
                [*as_user(uid, *groups), *command], env=base | environment, stdout=log, stderr=log, umask=0o007, start_new_session=True
            )

    def kiosk(self) -> subprocess.Popen[bytes]:
        """As the unit starts it; its screen is a window on the virtual X server."""
        (line,) = re.findall(r"^ExecStart=/usr/bin/(cage .*) /usr/bin/leukoscope (box screen)$", unit_text(), re.M)
        options = ["--folder", str(self.boot), "--config", str(self.config)]
        command = [*line[0].split(), sys.executable, "-m", "device", *line[1].split(), *options]
        place = {"XDG_RUNTIME_DIR": str(self.run), "WLR_BACKENDS": "x11", "DISPLAY": self._display}
        return self.start(KIOSK, (), unit_environment() | place, *command)

    def daemon(self) -> subprocess.Popen[bytes]:
        code = "import sys; from pathlib import Path; from device.box import boot; from device.cli import call\n"
        code += "boot.telling.__wrapped__.__defaults__ = (Path(sys.argv[1]),); sys.exit(call(sys.argv[2:]))"
        program = [sys.executable, "-c", code, str(self.boot), "run", "--config", str(self.config), "--wait-for-devices"]
        return self.start(
            DAEMON, (KIOSK,), {"WAYLAND_DISPLAY": str(self.run / "wayland-0"), "XDG_RUNTIME_DIR": str(self.state)}, *program
        )

    def reaches_the_screen(self, uid: int, *groups: int) -> bool:
        """Whether such a user can connect to the compositor's socket."""
        code = f"import socket; socket.socket(socket.AF_UNIX).connect({str(self.run / 'wayland-0')!r})"
        tried = subprocess.run([*as_user(uid, *groups), sys.executable, "-c", code], capture_output=True, text=True, check=False)
        assert tried.returncode == 0 or "PermissionError" in tried.stderr, tried.stderr
        return tried.returncode == 0

    def said(self, uid: int) -> str:
        path = self.folder / f"{uid}.log"
        return path.read_text(errors="replace") if path.exists() else ""

    def screen(self, name: str) -> np.ndarray:
        picture = on_screen(self.folder, *SIZE)
        cv2.imwrite(str(self.folder / f"{name}.png"), picture)
        return picture

    def first_window(self, level: str) -> bool:
        """The line at the top of the first window, over the whole width, in the colour of this level."""
        top = on_screen(self.folder, *SIZE)[2].astype(int)
        return bool((abs(top - _TOP[level]) < 12).all())

    def xdotool(self, *words: str) -> None:
        """Mouse and keyboard of the virtual X server."""
        subprocess.run(["xdotool", *words], env={**os.environ, "DISPLAY": self._display}, check=True)

    def until(self, what: Callable[[], bool]) -> None:
        deadline = time.monotonic() + PATIENCE_S
        while not what():
            assert time.monotonic() < deadline, f"kiosk: {self.said(KIOSK)[-1500:]}\ndaemon: {self.said(DAEMON)[-1500:]}"
            time.sleep(0.1)


@pytest.fixture
def box(tmp_path: Path) -> Iterator[Box]:
    tmp_path.chmod(0o755)
    for parent in tmp_path.parents:
        if parent.stat().st_uid == os.geteuid() and len(parent.parts) > 2:
            parent.chmod(parent.stat().st_mode | 0o011)
    with x_server(*SIZE, tmp_path) as (display, _):
        yield Box(tmp_path, display)


def ended(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGTERM)
    try:
        process.wait(20)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def test_the_first_window_the_daemon_above_it_and_the_first_window_again(box: Box) -> None:
    os.seteuid(DAEMON)
    try:
        tell("engine", RUNNING, "The engine is compiled for this GPU.", 43, box.boot)
    finally:
        os.seteuid(0)
    began = time.monotonic()
    kiosk = box.kiosk()
    daemon = None
    try:
        box.until(lambda: box.first_window("busy"))
        assert time.monotonic() - began < 20.0
        first = box.screen("1-boot")
        assert (first[80:220] > 200).any(), "big words"

        daemon = box.daemon()
        box.until(lambda: not box.first_window("busy"))
        box.until(lambda: '"done"' in (box.boot / "ready.json").read_text())
        box.until(lambda: (box.screen("2-daemon")[100:500, 40:600] > 60).mean() > 0.2)  # the simulated film
        assert alive(box.boot) is True and not box.first_window("busy")

        box.xdotool("mousemove", *START, "click", "1")  # mouse and keys reach the daemon's window: its record holds what they did
        box.until(lambda: states(box.state / "record.sqlite") == ["counting"])
        box.xdotool("key", "p")
        box.until(lambda: states(box.state / "record.sqlite") == ["paused"])
        box.screen("3-slide")

        everyone = [*family(daemon.pid), *family(kiosk.pid)]
        assert len(everyone) >= 4 and [found for pid in everyone for found in listening(pid)] == []

        assert box.reaches_the_screen(DAEMON, KIOSK) and not box.reaches_the_screen(STRANGER) and not box.reaches_the_screen(DAEMON)

        os.killpg(daemon.pid, signal.SIGKILL)  # with its window, as systemd does
        killed = time.monotonic()
        box.until(lambda: box.first_window("fail"))
        assert time.monotonic() - killed < 5.0
        again = box.screen("4-daemon-killed")
        assert abs(again.astype(int) - first.astype(int)).mean() > 0.5 and alive(box.boot) is False

        daemon.wait()
        daemon = box.daemon()
        box.until(lambda: not box.first_window("fail") and not box.first_window("busy"))
        box.screen("5-daemon-again")
        assert kiosk.poll() is None
    finally:
        for process in (daemon, kiosk):
            if process is not None:
                ended(process)


def test_a_socket_that_listens_is_seen() -> None:
    assert listening(os.getpid()) == []
    with socket.socket(socket.AF_INET6) as server, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as datagrams:
        server.bind(("::1", 0))
        server.listen()
        datagrams.bind(("127.0.0.1", 0))
        assert [found.partition(" ")[0] for found in listening(os.getpid())] == ["tcp6", "udp"]


def states(record: Path) -> list[str]:
    with sqlite3.connect(f"file:{record}?mode=ro", uri=True) as db:
        return [state for (state,) in db.execute("SELECT state FROM slides")]
