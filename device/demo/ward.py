"""A whole ward on this machine: a broker, simulated devices as real processes, and the supervisor's page. `make supervisor`.

The devices are `leukoscope run` with rendered film, one run a slide. Nothing of it is kept unless a folder is named, and nothing
listens beyond this machine.
"""

from __future__ import annotations

import itertools
import logging
import os
import secrets
import socket
import subprocess
import sys
import tempfile
import threading
from contextlib import ExitStack
from datetime import datetime, timezone
from pathlib import Path

from device.demo.broker import LocalBroker, end_child, free_port, local_broker
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
from device.supervisor import accounts
from device.supervisor.database import opened, writing
from device.supervisor.receiver import Reception
from device.supervisor.supervise import Site, supervise

log = logging.getLogger(__name__)

USER, RECEIVER = "demo", "supervisor"
WARD = {"clinic-north": ("AML", "normal", "CML"), "clinic-south": ("ALL", "CLL", "normal", "APML")}
"""Devices, and the cases on their films, one after the other."""
_FIELD_S, _CHANGE_S = 3.0, 3.0
"""Seconds of a field at 5 frames a second, and while the slide is changed."""
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
        for name, cases in WARD.items():
            open_things.enter_context(_Device(place / name, cases, broker, slide_s))
        site = Site(port=port or _page_port())
        sys.stdout.write(
            f"Broker: {broker.name} on port {broker.port}.\n"
            f"Devices: {', '.join(WARD)}: rendered film, no patient's blood, a slide every {slide_s:.0f} s.\n"
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


class _Device:
    """A device at whose microscope one slide is counted after the other: a run of the appliance for each, for the appliance does not
    count a film that lies there still from the slide before.
    """

    def __init__(self, place: Path, cases: tuple[str, ...], broker: LocalBroker, slide_s: float) -> None:
        self._place, self._cases, self._broker, self._slide_s = place, cases, broker, slide_s
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name=place.name, daemon=True)

    def __enter__(self) -> None:
        self._place.mkdir(parents=True, exist_ok=True)
        self._thread.start()

    def __exit__(self, *_error: object) -> None:
        self._stop.set()
        self._thread.join(2 * _STOP_S)

    def _run(self) -> None:
        with (self._place / "log").open("ab") as said:
            for number in itertools.count():
                config = self._config(self._cases[number % len(self._cases)], seed=7 + number)
                words = [sys.executable, "-m", "device", "run", "--config", str(config)]
                environment = {**os.environ, "OMP_NUM_THREADS": "1"}
                # A session of its own: Ctrl-C ends us, and we end the device after the page.
                child = subprocess.Popen(
                    words, stdout=said, stderr=said, stdin=subprocess.DEVNULL, env=environment, start_new_session=True
                )
                self._wait(child)
                if self._stop.is_set():
                    return
                if child.returncode:
                    log.warning("%s ended with exit code %s; its log is %s", self._place.name, child.returncode, said.name)
                if self._stop.wait(_CHANGE_S):
                    return

    def _wait(self, child: subprocess.Popen[bytes]) -> None:
        """Until the film has been read, or we are to stop: then in order."""
        while child.poll() is None and not self._stop.wait(0.2):
            pass
        end_child(child, _STOP_S)

    def _config(self, case: str, seed: int) -> Path:
        """The device's configuration, written as a technician would find it."""
        place, broker = self._place, self._broker
        fields = max(2, int(self._slide_s / _FIELD_S))
        config = Config(
            camera=SimulatorCamera(kind="simulator", seed=seed, case=case, fields=fields, width_px=1280, height_px=720, fps=5.0),
            device=DeviceSection(id=place.name, state_dir=place),
            microscope=MicroscopeSection(profile="zzcat-5mp", objective=100),
            engine=EngineSection(bundle="zoo:attridet-n", runtime="onnx", precision="float32", threads=1),  # nothing is tried out first
            slide=SlideSection(auto_start=True),
            display=DisplaySection(kind="none"),
            record=RecordSection(path=place / "record.sqlite"),
            broker=BrokerSection(
                host=broker.host, port=broker.port, protocol=broker.protocol, receivers=(RECEIVER,), send_crops=12, health_period_s=30
            ),
        )
        path = place / "device.yaml"
        path.write_text(describe(config), encoding="utf-8")
        return path
