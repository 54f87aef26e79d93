"""Publisher and watcher against real brokers: amqtt in this process, mosquitto as a child, over MQTT 5 and 3.1.1."""

from __future__ import annotations

import contextlib
import io
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from uuid import UUID, uuid4

import pytest
from rich.console import Console

from device.config import BrokerSection
from device.errors import BrokerError
from device.mqtt.client import Backoff, BrokerRefusedError, Link, open_link
from device.mqtt.embedded_broker import EmbeddedBroker, LocalBroker, MosquittoBroker, find_mosquitto, free_port
from device.mqtt.payloads import DeviceStatus, SlideSummary, read_status, read_summary
from device.mqtt.publisher import Publisher
from device.supervisor.watch import watch

pytestmark = pytest.mark.integration
needs_mosquitto = pytest.mark.skipif(find_mosquitto() is None, reason="mosquitto is not installed (apt install mosquitto)")
PATIENCE_S = 20.0
OPEN = ("allow_anonymous true",)


@dataclass(frozen=True)
class Row:
    message_id: str
    topic: str
    payload: bytes
    created_at: datetime


@dataclass
class Outbox:
    """Rows in memory, behind a lock; what the record keeps on disk."""

    rows: list[Row] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def put(self, summary: SlideSummary) -> None:
        with self.lock:
            topic = f"leukoscope/{summary.device_id}/summary"
            self.rows.append(Row(str(summary.message_id), topic, summary.to_bytes(), datetime.now(timezone.utc)))

    def pending(self, limit: int) -> Sequence[Row]:
        with self.lock:
            return self.rows[:limit]

    def acknowledge(self, message_id: str) -> None:
        with self.lock:
            self.rows = [row for row in self.rows if row.message_id != message_id]

    def pending_count(self) -> int:
        with self.lock:
            return len(self.rows)

    def close(self) -> None:
        pass


class Receiver:
    """`watch` in a thread, and what it printed."""

    def __init__(self, section: BrokerSection, client_id: str | None = None) -> None:
        self.paper = io.StringIO()
        self.received: list[SlideSummary] = []
        self.error: BaseException | None = None
        self._section, self._client_id = section, client_id
        self._ready, self._stop = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._run)

    def _run(self) -> None:
        console = Console(file=self.paper, width=160, color_system=None)
        try:
            self.received = watch(self._section, console=console, client_id=self._client_id, ready=self._ready, stop=self._stop)
        except Exception as error:
            self.error = error
            self._ready.set()

    def __enter__(self) -> Receiver:
        self._thread.start()
        assert self._ready.wait(PATIENCE_S)
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(PATIENCE_S)
        assert not self._thread.is_alive()

    @property
    def said(self) -> str:
        return self.paper.getvalue()


class Proxy:
    """Between publisher and broker: lets everything pass, or keeps the broker's answers back, or hangs up."""

    def __init__(self, port: int) -> None:
        self.answers = True
        self._target, self._pairs = port, list[tuple[socket.socket, socket.socket]]()
        self._server = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._server.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._server.accept()
            except OSError:
                return
            far = socket.create_connection(("127.0.0.1", self._target))
            self._pairs.append((near, far))
            threading.Thread(target=self._pump, args=(near, far, lambda: True), daemon=True).start()
            threading.Thread(target=self._pump, args=(far, near, lambda: self.answers), daemon=True).start()

    def _pump(self, source: socket.socket, sink: socket.socket, passes: Callable[[], bool]) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                if passes():
                    sink.sendall(data)

    def hang_up(self) -> None:
        for pair in self._pairs:
            for end in pair:
                with contextlib.suppress(OSError):
                    end.shutdown(socket.SHUT_RDWR)
                end.close()
        self._pairs.clear()

    def __enter__(self) -> Proxy:
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(OSError):
            self._server.shutdown(socket.SHUT_RDWR)
        self._server.close()
        self.hang_up()


def until(happened: Callable[[], object], what: str) -> None:
    give_up_s = time.monotonic() + PATIENCE_S
    while not happened():
        assert time.monotonic() < give_up_s, f"waited {PATIENCE_S:.0f} s for {what}"
        time.sleep(0.01)


def quick(section: BrokerSection, status: DeviceStatus, outbox: Outbox, **options: float) -> Publisher:
    return Publisher(section, status, lambda: outbox, backoff=Backoff(0.05, 0.2), **options)


@pytest.fixture(scope="module")
def example() -> SlideSummary:
    repository = Path(__file__).resolve().parents[2]
    return read_summary((repository / "docs/schema/summary-1.example.json").read_bytes()).payload


@pytest.fixture
def fresh(example: SlideSummary) -> Callable[[], SlideSummary]:
    return lambda: example.model_copy(update={"message_id": uuid4(), "slide_id": f"slide-{uuid4().hex[:6]}"})


@pytest.fixture
def status(repository: Path) -> DeviceStatus:
    return read_status((repository / "docs/schema/status-1.example.json").read_bytes()).payload


@pytest.fixture(
    params=["amqtt", pytest.param("mosquitto-5", marks=needs_mosquitto), pytest.param("mosquitto-3.1.1", marks=needs_mosquitto)]
)
def section(request: pytest.FixtureRequest) -> Iterator[BrokerSection]:
    """A running broker of each kind, and the version it is spoken to in."""
    kind, _, version = request.param.partition("-")
    broker: LocalBroker = EmbeddedBroker() if kind == "amqtt" else MosquittoBroker()
    with broker:
        yield BrokerSection(host=broker.host, port=broker.port, protocol=version or broker.protocol)


def listen(section: BrokerSection, topic: str, seen: list[tuple[bytes, bool]]) -> Link:
    link = open_link(section, f"test-{uuid4().hex[:8]}", versions=("3.1.1",), on_message=lambda _t, p, r: seen.append((p, r)))
    link.subscribe([topic])
    return link


# ---- every kind of broker


def test_summary_and_status_arrive_and_the_outbox_empties(
    section: BrokerSection, status: DeviceStatus, fresh: Callable[[], SlideSummary]
) -> None:
    outbox, sent = Outbox(), [fresh() for _ in range(20)]  # more than are under way at once
    with Receiver(section) as receiver, quick(section, status, outbox) as publisher:
        until(lambda: publisher.status.state == "connected", "the connection")
        assert publisher.status.protocol == section.protocol
        for each in sent:
            outbox.put(each)
        publisher.notify()
        assert publisher.drain(PATIENCE_S)
        assert outbox.pending_count() == publisher.status.pending == 0
        until(lambda: "clinic-7 ONLINE" in " ".join(receiver.said.split()), "the status")
        until(lambda: receiver.said.count("For review, not a diagnosis.") == len(sent), "the summaries")
    assert sorted(s.message_id for s in receiver.received) == sorted(s.message_id for s in sent)
    assert {s.slide_id: s for s in receiver.received} == {s.slide_id: s for s in sent}


def test_status_is_retained_and_the_stop_is_told(section: BrokerSection, status: DeviceStatus) -> None:
    topic = "leukoscope/clinic-7/status"
    with quick(section, status, Outbox()) as publisher:
        until(lambda: publisher.status.state == "connected", "the connection")
        seen: list[tuple[bytes, bool]] = []
        link = listen(section, topic, seen)
        while not seen:
            link.service(0.1)
        assert seen[0][1]  # it was there before we came
        online = read_status(seen[0][0]).payload
        assert (online.state, online.offline_reason) == ("online", None)
        assert online.since is not None
        publisher.set_device_status(status.model_copy(update={"slide": None}))  # something new: sent without waiting for the minute
        while len(seen) < 2:
            link.service(0.1)
        assert read_status(seen[1][0]).payload.slide is None
    while len(seen) < 3:
        link.service(0.1)
    link.close()
    assert read_status(seen[2][0]).payload.offline_reason == "stopped"
    late: list[tuple[bytes, bool]] = []
    link = listen(section, topic, late)
    while not late:
        link.service(0.1)
    link.close()
    assert late[0][1]
    assert read_status(late[0][0]).payload.state == "offline"


_DEVICE = """
import sys, time
from device.config import BrokerSection
from device.mqtt.payloads import read_status
from device.mqtt.publisher import Publisher
section = BrokerSection.model_validate_json(sys.argv[1])
status = read_status(open(sys.argv[2], "rb").read()).payload
class Empty:
    def pending(self, limit): return ()
    def acknowledge(self, message_id): pass
    def pending_count(self): return 0
    def close(self): pass
with Publisher(section, status, Empty):
    time.sleep(60)
"""


def test_a_killed_device_leaves_its_last_will(section: BrokerSection, repository: Path) -> None:
    seen: list[tuple[bytes, bool]] = []
    link = listen(section, "leukoscope/clinic-7/status", seen)
    arguments = [sys.executable, "-c", _DEVICE, section.model_dump_json(), str(repository / "docs/schema/status-1.example.json")]
    device = subprocess.Popen(arguments, cwd=repository)
    try:
        while not seen:
            assert device.poll() is None
            link.service(0.1)
        assert read_status(seen[0][0]).payload.state == "online"
        device.send_signal(signal.SIGKILL)
        while len(seen) < 2:
            link.service(0.1)
    finally:
        device.kill()
        device.wait()
        link.close()
    will = read_status(seen[1][0]).payload
    assert (will.state, will.offline_reason, will.since, will.slide) == ("offline", "lost", None, None)
    late: list[tuple[bytes, bool]] = []
    link = listen(section, "leukoscope/clinic-7/status", late)
    while not late:
        link.service(0.1)
    link.close()
    assert late[0] == (will.to_bytes(), True)


def test_a_row_waits_for_its_acknowledgement_and_doubles_are_dropped(
    section: BrokerSection, status: DeviceStatus, fresh: Callable[[], SlideSummary]
) -> None:
    outbox = Outbox()
    with Receiver(section) as receiver, Proxy(section.port) as proxy:
        by_proxy = section.model_copy(update={"port": proxy.port})
        with quick(by_proxy, status, outbox) as publisher:
            until(lambda: publisher.status.state == "connected", "the connection")
            proxy.answers = False
            outbox.put(fresh())
            publisher.notify()
            until(lambda: "For review" in receiver.said, "the summary")  # the broker has it, we do not know
            assert not publisher.drain(0.3)
            assert outbox.pending_count() == 1
            proxy.answers = True
            proxy.hang_up()
            assert publisher.drain(PATIENCE_S)
            assert outbox.pending_count() == 0
        until(lambda: "came once more; dropped" in receiver.said, "the double")
    assert len(receiver.received) == 1


# ---- protocol


def test_auto_finds_the_version_that_a_broker_speaks(status: DeviceStatus) -> None:
    with EmbeddedBroker() as broker, quick(BrokerSection(host=broker.host, port=broker.port), status, Outbox()) as publisher:
        until(lambda: publisher.status.state == "connected", "the connection")
        assert publisher.status.protocol == "3.1.1"


@needs_mosquitto
def test_auto_prefers_the_newer_version(status: DeviceStatus) -> None:
    with MosquittoBroker() as broker, quick(BrokerSection(host=broker.host, port=broker.port), status, Outbox()) as publisher:
        until(lambda: publisher.status.state == "connected", "the connection")
        assert publisher.status.protocol == "5"


@pytest.mark.parametrize("refusal", [b"\x20\x02\x00\x01", b"\x20\x03\x00\x84\x00", b""], ids=["code 1", "code 0x84", "hangs up"])
def test_auto_falls_back_where_mqtt_5_is_refused(refusal: bytes) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        section = BrokerSection(host="127.0.0.1", port=server.getsockname()[1])

        def answer() -> None:
            for reply, level in ((refusal, 5), (b"\x20\x02\x00\x00", 4)):
                visitor, _ = server.accept()
                with visitor:
                    connect = visitor.recv(1024)
                    assert connect[connect.index(b"MQTT") + 4] == level
                    visitor.sendall(reply)
                    if level == 4:
                        visitor.recv(1024)

        broker = threading.Thread(target=answer)
        broker.start()
        link = open_link(section, "test")
        assert link.version == "3.1.1"
        link.close()
        broker.join(PATIENCE_S)


def test_a_version_that_was_asked_for_is_not_changed() -> None:
    with EmbeddedBroker(allow_anonymous=False) as broker:
        section = BrokerSection(host=broker.host, port=broker.port, protocol="3.1.1")
        with pytest.raises(BrokerRefusedError, match="Not authorized"):
            open_link(section, "test", versions=("3.1.1",))


# ---- mosquitto: killed, refusing, limited, encrypted


def persistent(folder: Path, port: int | None) -> MosquittoBroker:
    """A broker that keeps sessions and messages through a power cut."""
    user = ("user root",) if os.geteuid() == 0 else ()
    keeping = ("persistence true", f"persistence_location {folder}/", "autosave_on_changes true", "autosave_interval 1")
    return MosquittoBroker(port=port, lines=(*OPEN, *user, *keeping))


@needs_mosquitto
def test_nothing_is_lost_when_the_broker_is_killed(tmp_path: Path, status: DeviceStatus, fresh: Callable[[], SlideSummary]) -> None:
    port, outbox, sent = free_port(), Outbox(), list[SlideSummary]()
    section = BrokerSection(host="127.0.0.1", port=port)

    def put(publisher: Publisher) -> None:
        sent.append(fresh())
        outbox.put(sent[-1])
        publisher.notify()

    with contextlib.ExitStack() as stack:
        first = stack.enter_context(persistent(tmp_path, port))
        receiver = stack.enter_context(Receiver(section, client_id="supervisor"))
        publisher = stack.enter_context(quick(section, status, outbox))
        for _ in range(5):
            put(publisher)
        assert publisher.drain(PATIENCE_S)
        put(publisher)
        first.kill()  # in the middle: with or without this one
        for _ in range(5):
            put(publisher)
        until(lambda: publisher.status.state == "lost", "the loss")
        assert "127.0.0.1" in publisher.status.reason
        assert outbox.pending_count() >= 5
        stack.enter_context(persistent(tmp_path, port))
        assert publisher.drain(PATIENCE_S)
        until(lambda: receiver.said.count("For review, not a diagnosis.") == len(sent), "the summaries")
    assert {s.message_id for s in receiver.received} == {s.message_id for s in sent}
    assert len(receiver.received) == len(sent)


@needs_mosquitto
def test_refused_credentials_are_told_the_outbox_is_kept_and_a_mended_password_works(
    tmp_path: Path, status: DeviceStatus, fresh: Callable[[], SlideSummary]
) -> None:
    known, password = tmp_path / "known", tmp_path / "password"
    known.touch()
    subprocess.run(["mosquitto_passwd", "-b", str(known), "box", "right"], check=True)
    tmp_path.chmod(0o755)
    known.chmod(0o644)
    password.write_text("wrong\n")
    outbox = Outbox()
    outbox.put(fresh())
    with MosquittoBroker(lines=("allow_anonymous false", f"password_file {known}", *as_we_are())) as broker:
        section = BrokerSection(host=broker.host, port=broker.port, username="box", password_file=password)
        with quick(section, status, outbox) as publisher:
            until(lambda: publisher.status.state == "refused", "the refusal")
            assert "refuses: Not authorized; check username and password file" in publisher.status.reason
            assert not publisher.drain(0.3)
            assert (publisher.status.pending, outbox.pending_count()) == (1, 1)
            password.write_text("right\n")
            assert publisher.drain(PATIENCE_S)
            assert (publisher.status.state, publisher.status.reason) == ("connected", "")
        anonymous = BrokerSection(host=broker.host, port=broker.port)
        with pytest.raises(BrokerRefusedError, match="Not authorized"):
            watch(anonymous, timeout_s=PATIENCE_S, console=Console(file=io.StringIO()))


@needs_mosquitto
def test_a_device_that_may_not_publish_keeps_its_summaries(
    tmp_path: Path, status: DeviceStatus, fresh: Callable[[], SlideSummary]
) -> None:
    rights = tmp_path / "acl"
    rights.write_text("topic write leukoscope/+/status\n")
    rights.chmod(0o644)
    tmp_path.chmod(0o755)
    outbox = Outbox()
    outbox.put(fresh())
    with MosquittoBroker(lines=(*OPEN, f"acl_file {rights}", *as_we_are())) as broker:
        section = BrokerSection(host=broker.host, port=broker.port)
        with quick(section, status, outbox, hold_s=0.3) as publisher:
            until(lambda: publisher.status.state == "refused", "the refusal")
            assert publisher.status.reason == "the broker refuses summaries: Not authorized; allow leukoscope/clinic-7/summary"
            assert publisher.status.pending == 1
            rights.write_text("topic write leukoscope/#\n")
            assert broker.pid is not None
            os.kill(broker.pid, signal.SIGHUP)
            assert publisher.drain(PATIENCE_S)
            until(lambda: publisher.status.state == "connected", "the good end")


@needs_mosquitto
def test_one_message_that_is_too_large_does_not_stop_the_others(status: DeviceStatus, fresh: Callable[[], SlideSummary]) -> None:
    small = fresh().model_copy(update={"morphology": (), "description": (), "message_id": UUID(int=2)})
    large = fresh()
    limit = len(small.to_bytes()) + 500
    assert len(large.to_bytes()) > limit
    outbox = Outbox()
    outbox.put(large)
    outbox.put(small)
    with MosquittoBroker(lines=(*OPEN, f"max_packet_size {limit}")) as broker:
        section = BrokerSection(host=broker.host, port=broker.port)
        with Receiver(section) as receiver, quick(section, status, outbox) as publisher:
            until(lambda: outbox.pending_count() == 1, "the small one's way")
            assert outbox.rows[0].message_id == str(large.message_id)
            until(lambda: publisher.status.state == "refused", "the refusal")
            assert f"takes at most {limit} bytes" in publisher.status.reason
            until(lambda: "For review" in receiver.said, "the small one")
    assert receiver.received == [small]


@needs_mosquitto
def test_a_device_id_used_twice_is_told(status: DeviceStatus) -> None:
    with MosquittoBroker() as broker:
        section = BrokerSection(host=broker.host, port=broker.port)
        with quick(section, status, Outbox()) as one, quick(section, status, Outbox()) as other:
            until(lambda: any("is the device id used twice?" in each.status.reason for each in (one, other)), "the reason")


def test_a_taken_over_session_is_told_where_the_broker_says_so(status: DeviceStatus) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        section = BrokerSection(host="127.0.0.1", port=server.getsockname()[1], protocol="5")
        with Publisher(section, status, Outbox) as publisher:
            visitor, _ = server.accept()
            with visitor:
                visitor.recv(1024)
                visitor.sendall(b"\x20\x03\x00\x00\x00" + b"\xe0\x01\x8e")
                until(lambda: publisher.status.state == "lost", "the loss")
            assert publisher.status.reason.endswith("ended the connection: Session taken over; is the device id used twice?")


@needs_mosquitto
def test_tls_is_checked(tmp_path: Path, status: DeviceStatus, fresh: Callable[[], SlideSummary]) -> None:
    certificate, key = tmp_path / "broker.pem", tmp_path / "broker.key"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=broker.example",
         "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(key), "-out", str(certificate)],
        check=True, capture_output=True,
    )  # fmt: skip
    outbox = Outbox()
    outbox.put(fresh())
    lines = (*OPEN, f"certfile {certificate}", f"keyfile {key}", *as_we_are())
    with MosquittoBroker(lines=lines) as broker:
        section = BrokerSection(host=broker.host, port=broker.port, tls=True)
        with pytest.raises(BrokerRefusedError, match=r"is not trusted: .*; set broker\.ca_file"):
            open_link(section, "test")
        with pytest.raises(BrokerRefusedError, match=r"is not trusted: .*'localhost'"):
            open_link(section.model_copy(update={"host": "localhost", "ca_file": certificate}), "test")
        with quick(section.model_copy(update={"ca_file": certificate}), status, outbox) as publisher:
            assert publisher.drain(PATIENCE_S)
        with quick(section.model_copy(update={"tls": False}), status, outbox) as publisher:
            until(lambda: publisher.status.state == "lost", "the loss")
            assert "is it a broker, and no TLS port?" in publisher.status.reason
    with MosquittoBroker() as plain, pytest.raises(BrokerError, match="is it a TLS port"):
        open_link(section.model_copy(update={"port": plain.port, "ca_file": certificate}), "test")


def as_we_are() -> tuple[str, ...]:
    """Started by root, mosquitto becomes a user that may not read our files."""
    return ("user root",) if os.geteuid() == 0 else ()
