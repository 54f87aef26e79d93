"""What the daemon tells systemd, over a real socket of both kinds, and its silence where there is nobody to tell."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from uuid import uuid4

import pytest

from device.service.systemd import Notifier, watchdog_interval_s


@pytest.fixture(params=["path", "abstract"])
def manager(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[socket.socket, str]]:
    """Systemd's end of the socket, and the address that it hands out."""
    address = str(tmp_path / "notify") if request.param == "path" else f"@leukoscope-test-{uuid4()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as end:
        end.bind("\0" + address[1:] if address.startswith("@") else address)
        end.setblocking(False)
        yield end, address


def heard(end: socket.socket) -> list[str]:
    messages = []
    while True:
        try:
            messages.append(end.recv(4096).decode())
        except BlockingIOError:
            return messages


def test_a_life(manager: tuple[socket.socket, str]) -> None:
    end, address = manager
    notifier = Notifier({"NOTIFY_SOCKET": address})
    notifier.ready("camera and engine are open")
    notifier.status("camera and engine are open")  # not again
    notifier.status("slide 7:\n12 cells")
    notifier.stopping("aborting slide 7")
    notifier.watchdog()  # nobody watches
    assert heard(end) == [
        "READY=1\nSTATUS=camera and engine are open",
        "STATUS=slide 7: 12 cells",
        "STOPPING=1\nSTATUS=aborting slide 7",
    ]


def test_the_watchdog_is_fed_often_enough_and_not_with_every_frame(manager: tuple[socket.socket, str]) -> None:
    end, address = manager
    now = [100.0]
    notifier = Notifier({"NOTIFY_SOCKET": address, "WATCHDOG_USEC": "30000000", "WATCHDOG_PID": str(os.getpid())}, lambda: now[0])
    fed_at = []
    for _ in range(600):  # a minute at ten frames a second
        notifier.watchdog()
        fed_at += [now[0]] * len(heard(end))
        now[0] += 0.1
    gaps = [later - earlier for earlier, later in pairwise(fed_at)]
    assert fed_at[0] == 100.0
    assert max(gaps) <= 15.0  # half of WatchdogSec
    assert min(gaps) > 5.0


def test_silent_without_systemd() -> None:
    notifier = Notifier({})
    notifier.ready("x")
    notifier.status("y")
    notifier.watchdog()
    notifier.stopping()


def test_a_manager_that_is_gone_is_logged_once_and_stops_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    notifier = Notifier({"NOTIFY_SOCKET": str(tmp_path / "gone")})
    notifier.ready()
    notifier.status("a")
    assert caplog.text.count("systemd was not told") == 1


def test_a_full_socket_does_not_block(tmp_path: Path) -> None:
    address = str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as end:
        end.bind(address)
        notifier = Notifier({"NOTIFY_SOCKET": address})
        for i in range(2000):  # many more than its queue holds
            notifier.status(str(i))


def test_an_address_that_is_none(caplog: pytest.LogCaptureFixture) -> None:
    Notifier({"NOTIFY_SOCKET": "vsock:2:1234"}).ready()
    assert "is no address" in caplog.text


@pytest.mark.parametrize(
    ("environment", "seconds"),
    [
        ({}, None),
        ({"WATCHDOG_USEC": "30000000"}, 15.0),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": str(os.getpid())}, 15.0),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "1"}, None),
        ({"WATCHDOG_USEC": "0"}, None),
        ({"WATCHDOG_USEC": "soon"}, None),
    ],
)
def test_watchdog_interval(environment: dict[str, str], seconds: float | None) -> None:
    assert watchdog_interval_s(environment) == seconds
