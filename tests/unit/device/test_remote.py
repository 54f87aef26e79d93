"""Requests over the broker and the box's own gauges: checked, rationed, answered; nothing of the count can be changed by them."""

from __future__ import annotations

import json
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from device import messages
from device.clock import clock_offset_ms
from device.errors import StoreError
from device.language import speaking
from device.mqtt.client import Incoming
from device.mqtt.commands import CommandAnswer, read_answer
from device.mqtt.device_status import PartStatus, read_status
from device.mqtt.health import read_health
from device.mqtt.topics import Topics
from device.service.health import Gauges, Health, Machine
from device.service.remote import Remote
from device.slide.commands import Command, Wish
from device.view import EngineStatus
from engines.runtime.base import EngineInfo
from engines.taxonomy import LEUKEMIA_ATTRI
from tests.support.provenance import provenance

ROOT = Path(__file__).parents[3]
TOPICS = Topics("clinic-7")
STATUS = read_status((ROOT / "docs/schema/status-1.example.json").read_bytes()).payload
HEALTH = read_health((ROOT / "docs/schema/health-1.example.json").read_bytes()).payload


class Clock:
    def __init__(self) -> None:
        self.moment = datetime(2026, 11, 30, 9, 0, tzinfo=timezone.utc)

    def monotonic_s(self) -> float:
        return self.moment.timestamp()

    def now(self) -> datetime:
        return self.moment

    def sleep(self, seconds: float) -> None:
        self.moment += timedelta(seconds=seconds)


class Bench:
    """A device that can be asked."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.offers: list[tuple[str, str]] = []
        self.resent: list[tuple[str, datetime | None]] = []
        self.remote = Remote(TOPICS, self.clock, status=lambda: STATUS, health=lambda: HEALTH, resend=self._resend, offer=self._offer)

    def _resend(self, slide_id: str, since: datetime | None) -> int:
        if slide_id == "none":
            raise StoreError("record: no slide none; `leukoscope slides` lists them")
        self.resent.append((slide_id, since))
        return 2

    def _offer(self, url: str, by: str) -> None:
        self.offers.append((url, by))

    def raw(self, name: str, payload: bytes = b"", **more: object) -> bytes | None:
        return self.remote(Incoming(f"leukoscope/clinic-7/cmd/{name}", payload, **more))  # type: ignore[arg-type]

    def ask(self, name: str, **request: object) -> CommandAnswer:
        answer = self.raw(name, json.dumps(request).encode())
        assert answer is not None
        return read_answer(answer).payload


@pytest.fixture
def bench() -> Bench:
    return Bench()


def test_status_and_health_are_told(bench: Bench) -> None:
    answer = bench.ask("status", request_id="7")
    assert (answer.ok, answer.request_id, answer.command, answer.status, answer.health) == (True, "7", "status", STATUS, None)
    assert bench.ask("health").health == HEALTH
    empty = bench.raw("status", b"")
    assert empty is not None and read_answer(empty).payload.ok
    assert bench.remote.requests() == [] and bench.resent == []


def test_before_the_first_measurement_there_is_no_health() -> None:
    clock = Clock()
    remote = Remote(TOPICS, clock, status=lambda: STATUS, health=lambda: None, resend=lambda *_: 0)
    answer = remote(Incoming("leukoscope/clinic-7/cmd/health", b""))
    assert answer is not None and not read_answer(answer).payload.ok


def test_a_slide_or_all_since_a_moment_is_sent_again(bench: Bench) -> None:
    answer = bench.ask("resend", slide_id="20250603-091402")
    assert (answer.ok, answer.messages, answer.text) == (True, 2, "2 messages are sent again")
    since = datetime(2026, 11, 29, tzinfo=timezone.utc)
    assert bench.ask("resend", since=since.isoformat()).ok
    assert bench.resent == [("20250603-091402", None), ("", since)]
    for request, said in (
        ({}, "slide_id or since is needed"),
        ({"slide_id": "none"}, "no slide none"),
        ({"slide_id": "a", "since": since.isoformat()}, "either slide_id or since"),
        ({"since": "2026-11-29"}, "since"),
    ):
        refused = bench.ask("resend", **request)
        assert not refused.ok and said in refused.text and refused.messages is None
    assert len(bench.resent) == 2


def test_the_box_shows_a_line_before_all_else_for_a_minute(bench: Bench) -> None:
    assert bench.ask("identify", by="ward 3").ok
    (asked,) = bench.remote.requests()
    assert asked.wish == Wish(Command.IDENTIFY, reason="ward 3") and bench.remote.requests() == []
    clock = bench.clock
    line = messages.Messages(clock.monotonic_s)
    line.say(messages.identified("ward 3"))
    line.say(messages.told("Field 3 counted."))
    assert [text for text, _ in line.fresh()] == ["A supervisor asks for this box (ward 3).", "Field 3 counted."]
    with speaking("fr"):
        assert next(line.fresh())[0] == "Un superviseur cherche cet appareil (ward 3)."
    clock.sleep(59)
    assert next(line.fresh())[0].startswith("A supervisor")
    clock.sleep(2)
    assert list(line.fresh()) == []
    assert messages.identified("")() == "A supervisor asks for this box."


@pytest.mark.parametrize(
    ("payload", "said"),
    [
        (b"{", "not JSON"),
        (b"[]", "not a JSON object"),
        (b'{"by": "a\\u001b[2J"}', "by:"),
        (b'{"by": 7}', "by:"),
        (b'{"schema": "leukoscope.command/2"}', "schema:"),
        (b'{"request_id": "' + b"x" * 65 + b'"}', "request_id:"),
        (b" " * 5000, "5000 bytes"),
    ],
)
def test_a_bad_request_is_answered_with_the_first_wrong_field(bench: Bench, payload: bytes, said: str) -> None:
    answer = bench.raw("identify", payload)
    assert answer is not None
    told = read_answer(answer).payload
    assert not told.ok and said in told.text and bench.remote.requests() == []


def test_an_unknown_command_is_refused_and_what_is_no_request_gets_no_answer(bench: Bench) -> None:
    assert "no such command; there are resend, status, health, identify" in bench.ask("format").text
    assert bench.raw("answer") is None  # our own
    assert bench.raw("status", retained=True) is None
    assert bench.remote(Incoming("leukoscope/clinic-7/receipt", b"{}")) is None
    assert bench.raw("status", response_topic="leukoscope/clinic-7/summary") is None
    assert bench.raw("status", response_topic="leukoscope/clinic-8/cmd/identify") is None
    assert bench.raw("status", response_topic="replies/7") is not None


def test_a_flood_is_rationed_and_told_once(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    answers = [bench.raw("status") for _ in range(300)]
    given = [read_answer(answer).payload.ok for answer in answers if answer is not None]
    assert given == [True] * 10 + [False]
    assert caplog.text.count("too many requests") == 1
    bench.clock.sleep(3)
    assert bench.ask("status").ok
    assert bench.raw("status") is not None and bench.raw("status") is None


@settings(max_examples=80, deadline=None)
@given(st.binary(max_size=200) | st.text(max_size=60).map(lambda text: json.dumps({"by": text, "slide_id": text}).encode()))
def test_no_request_raises(payload: bytes) -> None:
    bench = Bench()
    for name in ("resend", "identify", "status", "x"):
        answer = bench.raw(name, payload)
        assert answer is not None and read_answer(answer).ignored == ()


# ---- gauges


def put(root: Path, path: str, text: str) -> None:
    (root / path).parent.mkdir(parents=True, exist_ok=True)
    (root / path).write_text(text)


def test_a_machine_that_tells_nothing_gives_nothing(tmp_path: Path) -> None:
    machine = Machine(tmp_path)
    assert (machine.temperature_c(), machine.throttled(), machine.memory_mb(), machine.memory_free_mb(), machine.load()) == (None,) * 5
    put(tmp_path, "sys/class/thermal/thermal_zone0/temp", "no number")
    put(tmp_path, "sys/class/thermal/thermal_zone1/temp", "-274000")
    put(tmp_path, "proc/meminfo", "MemAvailable: many kB")
    put(tmp_path, "proc/loadavg", "")
    assert (machine.temperature_c(), machine.memory_free_mb(), machine.load()) == (None, None, None)


def test_gauges_of_a_raspberry_pi(tmp_path: Path) -> None:
    machine = Machine(tmp_path)
    put(tmp_path, "sys/class/thermal/thermal_zone0/temp", "48312\n")
    put(tmp_path, "sys/class/thermal/thermal_zone1/temp", "61900\n")
    put(tmp_path, "sys/devices/platform/soc/soc:firmware/get_throttled", "50005\n")
    put(tmp_path, "proc/self/status", "Name:\tpython\nVmRSS:\t  421888 kB\n")
    put(tmp_path, "proc/meminfo", "MemTotal: 8000000 kB\nMemAvailable:    2048000 kB\n")
    put(tmp_path, "proc/loadavg", "1.75 1.2 1.0 2/300 99\n")
    assert machine.temperature_c() == 61.9
    assert machine.throttled() == ("under-voltage", "throttled")  # 0x50000: it happened before, and is over
    put(tmp_path, "sys/devices/platform/soc/soc:firmware/get_throttled", "50000\n")
    assert machine.throttled() == ()
    assert (machine.memory_mb(), machine.memory_free_mb(), machine.load()) == (412.0, 2000.0, 1.75)


def test_gauges_of_a_jetson(tmp_path: Path) -> None:
    machine = Machine(tmp_path)
    put(tmp_path, "sys/class/hwmon/hwmon2/oc1_event_cnt", "5")
    put(tmp_path, "sys/class/hwmon/hwmon2/oc3_event_cnt", "0")
    assert machine.throttled() == ()  # of before we looked
    put(tmp_path, "sys/class/hwmon/hwmon2/oc3_event_cnt", "2")
    assert machine.throttled() == ("over-current",)
    assert machine.throttled() == ()
    put(tmp_path, "sys/class/thermal/cooling_device0/type", "pwm-fan")
    put(tmp_path, "sys/class/thermal/cooling_device0/cur_state", "3")
    put(tmp_path, "sys/class/thermal/cooling_device1/type", "cpufreq-cpu0")
    put(tmp_path, "sys/class/thermal/cooling_device1/cur_state", "1")
    assert machine.throttled() == ("temperature limit",)


def test_the_report_is_made_once_a_period_and_read_back(tmp_path: Path) -> None:
    clock = Clock()
    engine = EngineInfo("attridet-n", "1.0.0", "ab" * 32, "onnxruntime", "fp32", (640, 640), LEUKEMIA_ATTRI, 0.25)
    health = Health(provenance(engine, device_id="clinic-7"), tmp_path / "record.sqlite", clock, 60.0)
    asked = []

    class Spool:
        pending, unconfirmed, quarantined = 4, 3, 1

    def gauges() -> Gauges:
        asked.append(1)
        return Gauges(EngineStatus(frames=9, failures=1, median_ms=58.24, fps=11.913), PartStatus(level="ok", text=""), Spool())

    report = health.due(gauges)
    assert report is not None and health.newest is report and health.due(gauges) is None
    assert read_health(report.to_bytes()).payload == report
    assert (report.fps, report.engine_ms, report.engine_failures) == (11.91, 58.2, 1)
    assert (report.spool, report.unconfirmed, report.quarantined) == (4, 3, 1)
    assert report.disk_free_mb is not None and report.disk_free_mb > 0
    assert report.memory_mb is not None and report.memory_mb > 10
    clock.sleep(59)
    assert health.due(gauges) is None
    clock.sleep(1)
    again = health.due(gauges)
    assert again is not None and again.uptime_s == 60.0 and asked == [1, 1]


def test_a_disk_that_does_not_answer_is_no_fault_of_the_report(tmp_path: Path) -> None:
    def broken(path: Path) -> float:
        raise OSError("input/output error")

    engine = EngineInfo("attridet-n", "1.0.0", "ab" * 32, "onnxruntime", "fp32", (640, 640), LEUKEMIA_ATTRI, 0.25)
    health = Health(provenance(engine, device_id="clinic-7"), tmp_path, Clock(), 60.0, Machine(tmp_path), broken)

    class Spool:
        pending = unconfirmed = quarantined = 0

    report = health.due(lambda: Gauges(EngineStatus(), PartStatus(level="busy", text="waits for a picture"), Spool()))
    assert report is not None
    assert (report.disk_free_mb, report.engine_ms, report.temperature_c, report.throttled) == (None, None, None, None)


def test_the_kernels_offset_is_a_number_or_unknown() -> None:
    offset = clock_offset_ms()
    assert offset is None or abs(offset) < 1e6


def test_an_update_is_only_offered_and_only_from_https(bench: Bench) -> None:
    answer = bench.ask("update", url="https://updates.example/x.raucb", by="supervisor-1")
    assert answer.ok and "only a person there installs it" in answer.text
    for url in (
        "",
        "http://a.example/x",
        "file:///x",
        "https://name:word@a.example/x",
        "https://a.example/ x",
        "https://a.example/" + "x" * 600,
    ):
        assert not bench.ask("update", url=url).ok
        bench.clock.sleep(3)
    assert bench.offers == [("https://updates.example/x.raucb", "supervisor-1")]
    assert bench.remote.requests() == [] and bench.resent == []
    plain = Remote(TOPICS, bench.clock, status=lambda: STATUS, health=lambda: None, resend=lambda *_: 0)
    told = plain(Incoming("leukoscope/clinic-7/cmd/update", b'{"url": "https://a.example/x"}'))
    assert told is not None and "no flashed box" in read_answer(told).payload.text
