"""`leukoscope supervise` as a process: starts, answers, streams, stops in order; and the whole ward of `make supervisor`."""

from __future__ import annotations

import io
import re
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stdout
from http.cookiejar import CookieJar
from pathlib import Path

import pytest

from device.cli import call
from device.demo.broker import free_port
from device.demo.ward import USER, WARD, run_ward
from device.mqtt.device_status import DeviceStatus
from device.supervisor import queries
from device.supervisor.database import open_database, reading
from device.supervisor.rows import Filters

pytestmark = pytest.mark.integration
PATIENCE_S = 120.0
PASSWORD = "correct horse battery"


def until(happened: Callable[[], object], what: str) -> None:
    give_up_s = time.monotonic() + PATIENCE_S
    while not happened():
        assert time.monotonic() < give_up_s, f"waited {PATIENCE_S:.0f} s for {what}"
        time.sleep(0.1)


def leukoscope(*words: str, said: str = "") -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "device", "supervise", *words]
    return subprocess.run(command, input=said, capture_output=True, text=True, timeout=PATIENCE_S, check=False)


class Browser:
    """As much of one as a log-in needs."""

    def __init__(self, port: int) -> None:
        self._base = f"http://127.0.0.1:{port}"
        self._opener = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(CookieJar()))

    def get(self, path: str) -> str:
        with self._opener.open(f"{self._base}{path}", timeout=30) as answer:
            return str(answer.read().decode())

    def open(self, path: str) -> object:
        return self._opener.open(f"{self._base}{path}", timeout=30)

    def log_in(self, name: str, password: str) -> None:
        found = re.search(r'name="csrf" value="([0-9a-f]+)"', self.get("/login"))
        assert found
        form = urllib.parse.urlencode({"csrf": found[1], "name": name, "password": password, "next": "/"}).encode()
        with self._opener.open(f"{self._base}/login", form, timeout=30) as answer:
            assert answer.status == 200


@contextmanager
def served(url: str, port: int) -> Iterator[subprocess.Popen[str]]:
    """The process, its pages up; no broker is there."""
    command = [sys.executable, "-m", "device", "supervise", "--database", url, "--port", str(port), "--broker-port", str(free_port())]
    child = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)

    def answers() -> bool:
        assert child.poll() is None, child.stderr and child.stderr.read()
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{port}/healthz", timeout=5).close()
        except urllib.error.HTTPError as error:
            error.close()
            return True  # trouble: there is no broker
        except OSError:
            return False
        return True

    try:
        until(answers, "the page")
        yield child
    finally:
        child.kill()
        child.wait()
        if child.stderr is not None:
            child.stderr.close()


def test_it_tells_how_to_begin_serves_without_a_broker_and_ends_in_order_under_open_streams(tmp_path: Path) -> None:
    url, port = f"sqlite:///{tmp_path}/new folder/supervisor.sqlite", free_port()
    with served(url, port) as child:
        added = leukoscope("user", "add", "anna", "--role", "admin", "--database", url, said=f"{PASSWORD}\n")
        assert added.returncode == 0, added.stderr
        browser = Browser(port)
        browser.log_in("anna", PASSWORD)
        assert "No connection to the broker since" in browser.get("/"), "an old page must not look like a quiet ward"
        stream = browser.open("/events")
        began_s = time.monotonic()
        child.send_signal(signal.SIGTERM)
        assert child.wait(PATIENCE_S) == 0
        assert time.monotonic() - began_s < PATIENCE_S / 2
        stream.close()  # type: ignore[attr-defined]
        assert child.stderr is not None
        said = child.stderr.read()
    assert "leukoscope supervise user add NAME --role admin" in said
    assert said.count("no broker listens") == 1, "a fault is told once, not at every try"
    assert "Traceback" not in said
    assert PASSWORD not in said
    assert oct((tmp_path / "new folder/supervisor.sqlite").stat().st_mode & 0o007) == "0o0", "nobody else reads it"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--host", "0.0.0.0"], "--insecure"),
        (["--database", "mysql://x/y"], "is not served"),
        (["--database", "sqlite://"], "name a file"),
        (["--database", "nonsense"], "--database"),
        (["--database", "sqlite:////proc/nothing/x.sqlite"], "--database"),
        (["--name", "a b"], "--name"),
        (["--behind-proxy", "lab.example"], "https://"),
        (["user", "add", "bob", "--role", "viewer"], "a password has"),
    ],
)
def test_what_cannot_be_used_is_one_line_and_exit_code_2(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], words: list[str], said: str
) -> None:
    more = [] if "--database" in words else ["--database", f"sqlite:///{tmp_path}/x.sqlite"]
    monkeypatch.setattr(sys, "stdin", io.StringIO("short\n"))
    assert call(["supervise", *words, *more]) == 2
    printed = capsys.readouterr().err
    assert said in printed
    assert len(printed.strip().splitlines()) == 1


def test_a_port_that_is_taken_is_told(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        done = leukoscope("--port", port, "--database", f"sqlite:///{tmp_path}/x.sqlite", "--broker-port", str(free_port()))
    assert done.returncode == 2
    assert "--port" in done.stderr
    assert "Traceback" not in done.stderr


def test_make_supervisors_ward_counts_sends_confirms_and_shows(tmp_path: Path) -> None:
    """Two real devices, a real broker and the page, as `make supervisor` starts them."""
    port, stop, paper = free_port(), threading.Event(), io.StringIO()
    url, fault = f"sqlite:///{tmp_path}/supervisor.sqlite", list[BaseException]()

    def run() -> None:
        try:
            with redirect_stdout(paper):
                run_ward(port=port, folder=tmp_path, slide_s=6.0, stop=stop)
        except BaseException as error:
            fault.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        until(lambda: "Password:" in paper.getvalue() or fault, "the ward")
        assert not fault
        password = re.search(r"Password:\s+(\S+)", paper.getvalue())
        assert password
        engine = open_database(url)

        def confirmed() -> bool:
            with reading(engine) as session:
                rows = queries.devices(session)
            statuses = [row.status for row in rows if row.status is not None]
            return len(rows) == len(WARD) and all(row.slides >= 2 for row in rows) and any(_delivered(status) for status in statuses)

        until(confirmed, "two slides of each device, and a device that knows that its slide was confirmed")
        browser = Browser(port)
        browser.log_in(USER, password[1])
        page = browser.get("/slides")
        with reading(engine) as session:
            for row in queries.slides(session, Filters()).rows:
                assert row.slide_id in page
                assert row.simulated
            assert queries.rejected(session) == []
            assert queries.open_gaps(session) == []
        engine.dispose()
    finally:
        stop.set()
        thread.join(PATIENCE_S)
    assert not thread.is_alive()
    assert not fault


def _delivered(status: DeviceStatus) -> bool:
    """The device's own word that the supervisor has what it sent."""
    broker = status.broker
    return broker is not None and bool(broker.delivered_slide) and status.unconfirmed == 0
