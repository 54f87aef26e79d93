"""A whole ward on this machine: a broker, simulated devices as real processes, and the supervisor's page. `make supervisor`.

The devices are `leukoscope run` with rendered film; a hand of ours finishes a slide now and then and begins the next, as a technician
would by key. Nothing of it is kept unless a folder is named, and nothing listens beyond this machine.
"""

from __future__ import annotations

import contextlib
import logging
import os
import secrets
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import datetime, timezone
from pathlib import Path

from device.demo.broker import LocalBroker, free_port, local_broker
from device.errors import LeukoscopeError
from device.service.control import send
from device.settings.broker import BrokerSection
from device.settings.config import (
    Config,
    DeviceSection,
    DisplaySection,
    EngineSection,
    MicroscopeSection,
    RecordSection,
    SimulatorCamera,
    SlideSection,
)
from device.settings.config_file import describe
from device.slide.commands import Command, Wish
from device.supervisor import accounts
from device.supervisor.database import opened, writing
from device.supervisor.receiver import Reception
from device.supervisor.supervise import Site, supervise

log = logging.getLogger(__name__)

USER, RECEIVER = "demo", "supervisor"
WARD = (("clinic-north", "AML", 7), ("clinic-south", "ALL", 11))
"""Devices: id, the case on their film, and its seed."""
_STOP_S = 30.0


def run_ward(
    *, port: int | None = None, folder: Path | None = None, slide_s: float = 60.0, stop: threading.Event | None = None
) -> None:
    """Run until Ctrl-C, SIGTERM or `stop`; then all of it ends in order: page, devices, broker.

    port: of the page; default: 8080 where it is free. folder: where records and database are kept; default: they are not.
    slide_s: seconds from slide to slide. Raises LeukoscopeError.
    """
    with ExitStack() as open_things:
        place = folder or Path(
            open_things.enter_context(tempfile.TemporaryDirectory(prefix="leukoscope-ward-", ignore_cleanup_errors=True))
        )
        place.mkdir(parents=True, exist_ok=True, mode=0o750)
        url, password = f"sqlite:///{place / 'supervisor.sqlite'}", secrets.token_urlsafe(12)
        _account(url, password)
        broker = open_things.enter_context(local_broker())
        for number, (name, case, seed) in enumerate(WARD):
            config = _config(place / name, name, case, seed, broker)
            open_things.enter_context(_device(config, place / name, slide_s, first_s=slide_s * (0.4 + 0.4 * number)))
        site = Site(port=port or _page_port())
        sys.stdout.write(
            f"Broker: {broker.name} on port {broker.port}.\n"
            f"Devices: {', '.join(name for name, _, _ in WARD)}: rendered film, no patient's blood, a slide every {slide_s:.0f} s.\n"
            f"\n  Page:      {site.address}\n  Name:      {USER}\n  Password:  {password}\n\n"
            "Ctrl-C ends all of it.\n"
        )
        sys.stdout.flush()
        section = BrokerSection(host=broker.host, port=broker.port, protocol=broker.protocol)
        supervise(url, Reception(section, RECEIVER), site, stop)
        sys.stdout.write("Ending the devices and the broker.\n")


def _account(url: str, password: str) -> None:
    """The demo's own user, with a new password at each start."""
    now = datetime.now(timezone.utc)
    with opened(url) as engine, writing(engine) as session:
        try:
            with session.begin_nested():
                accounts.add_user(session, USER, "admin", password, now)
        except accounts.AccountError:
            accounts.change_user(session, USER, now, password=password)


def _page_port() -> int:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", 8080))
        except OSError:
            return free_port()
    return 8080


def _config(place: Path, name: str, case: str, seed: int, broker: LocalBroker) -> Path:
    """A device's configuration, written as a technician would find it."""
    place.mkdir(parents=True, exist_ok=True)
    config = Config(
        camera=SimulatorCamera(
            kind="simulator", seed=seed, case=case, fields=400, width_px=1280, height_px=720, fps=4.0, live=True, loop=True
        ),
        device=DeviceSection(id=name, state_dir=place),
        microscope=MicroscopeSection(profile="zzcat-5mp", objective=100),
        engine=EngineSection(bundle="zoo:attridet-n", runtime="onnx", precision="float32", threads=1),  # nothing is tried out first
        slide=SlideSection(ask_specimen=False, finish_at_end=False, stop_at_target=False),
        display=DisplaySection(kind="none"),
        record=RecordSection(path=place / "record.sqlite"),
        broker=BrokerSection(
            host=broker.host, port=broker.port, protocol=broker.protocol, receivers=(RECEIVER,), send_crops=12, health_period_s=30
        ),
    )
    path = place / "device.yaml"
    path.write_text(describe(config), encoding="utf-8")
    return path


@contextlib.contextmanager
def _device(config: Path, place: Path, slide_s: float, first_s: float) -> Iterator[None]:
    """A running device and the hand at its keys, as long as the block runs."""
    stop = threading.Event()
    said = (place / "log").open("ab")
    words = [sys.executable, "-m", "device", "run", "--config", str(config)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    # A session of its own: Ctrl-C ends us, and we end the device after the page.
    child = subprocess.Popen(words, stdout=said, stderr=said, stdin=subprocess.DEVNULL, env=environment, start_new_session=True)
    hand = threading.Thread(target=_hand, args=(child, place, slide_s, first_s, stop), name=f"hand-{place.name}", daemon=True)
    hand.start()
    try:
        yield
    finally:
        stop.set()
        child.send_signal(signal.SIGTERM)
        try:
            child.wait(_STOP_S)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()
        hand.join(_STOP_S)
        said.close()


def _hand(child: subprocess.Popen[bytes], place: Path, slide_s: float, first_s: float, stop: threading.Event) -> None:
    """Begin a slide as soon as the device answers, finish it after a while, and so on; what is refused is asked again."""
    command, pause_s, lasts_s, refused = Command.START, 1.0, first_s, 0
    while not stop.wait(pause_s):
        if child.poll() is not None:
            log.warning("%s ended with exit code %s; its log is %s", place.name, child.returncode, place / "log")
            return
        try:
            send(place / "control.sock", Wish(command, sure=True))
        except LeukoscopeError:
            pause_s, refused = 2.0, refused + 1
            if refused % 10 == 0:  # it is in another state than we believe
                command = Command.FINISH if command is Command.START else Command.START
            continue
        refused = 0
        if command is Command.START:
            command, pause_s, lasts_s = Command.FINISH, lasts_s, slide_s
        else:
            command, pause_s = Command.START, 1.0
