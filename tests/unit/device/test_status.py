"""The status tells the truth: what waits is counted in the record, the way to the broker, NOT SAVED; and in words, for a person."""

from __future__ import annotations

import json
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pytest

from device.cli import call
from device.mqtt.device_status import BrokerReport, DeviceStatus, PartStatus, read_status
from device.mqtt.publisher import BrokerStatus
from device.service.control import ControlServer
from device.service.status_words import status_words
from device.settings.config import Config, DeviceSection, ReplayCamera
from device.status import CurrentStatus
from device.store import Store
from tests.support.picture_line import CLOCK, OneNeutrophil, Pictures, pipeline_of, run_out
from tests.support.provenance import provenance

LOST = BrokerStatus("lost", "no broker listens on localhost:1; start it", pending=7)


@pytest.fixture
def told(repository: Path) -> DeviceStatus:
    return read_status((repository / "docs/schema/status-1.example.json").read_bytes()).payload


def current(tmp_path: Path, pipeline: Any) -> CurrentStatus:
    config = Config(camera=ReplayCamera(kind="replay", source="pictures"), device=DeviceSection(id="unit", state_dir=tmp_path))
    return CurrentStatus(config, provenance(pipeline.engine_info), CLOCK)


def test_the_outbox_is_counted_in_the_record_and_the_brokers_reason_is_there(tmp_path: Path) -> None:
    with Store.open(tmp_path / "record.sqlite") as store:
        pipeline = pipeline_of(tmp_path, Pictures([1, 1, 1, 2, 2, 2]), OneNeutrophil(), store=store)
        run_out(pipeline)
        store.put_aside_row("message", "m-1", "the broker hangs up at it")
        status = current(tmp_path, pipeline)
        assert status.as_json()["broker"]["state"] == "connecting"
        status.update(pipeline, LOST)
        said = status.as_json()
        assert store.pending_count() > 0 and said["outbox_pending"] == store.pending_count()
        assert said["quarantined"] == 1 and said["unsaved"] == 0
        assert said["broker"]["state"] == "lost" and said["broker"]["reason"] == LOST.reason


def test_a_record_that_does_not_answer_leaves_what_was_last_known(tmp_path: Path) -> None:
    pipeline = pipeline_of(tmp_path, Pictures([1, 1, 1]), OneNeutrophil())
    (tmp_path / "elsewhere").mkdir()
    status = current(tmp_path / "elsewhere", pipeline)  # no record there
    status.update(pipeline, LOST)
    assert status.as_json()["outbox_pending"] == 7


def test_what_only_runs_on_is_no_news(told: DeviceStatus) -> None:
    assert told.broker is not None
    ran_on = {"outbox_pending": 9, "unconfirmed": 3, "broker": told.broker.model_copy(update={"delivered_slide": "x"})}
    assert told.model_copy(update=ran_on).says_the_same_as(told)
    waiting = told.model_copy(update={"unsaved": 4})
    assert not waiting.says_the_same_as(told) and waiting.model_copy(update={"unsaved": 9}).says_the_same_as(waiting)
    assert not told.model_copy(update={"quarantined": 1}).says_the_same_as(told)


def test_all_well_in_words(told: DeviceStatus) -> None:
    alarms, calm = status_words(told)
    assert alarms == []
    assert "broker: connected, MQTT 5" in calm
    assert "outbox: 1 message waiting, 1 of them with the broker and confirmed by no receiver" in calm
    assert "delivered last: slide 20250603-084117, 2025-06-03 08:58 UTC" in calm
    assert any("for review; a cell told as a blast, unreviewed" in line for line in calm)


def test_what_needs_a_person_comes_first(told: DeviceStatus) -> None:
    report = BrokerReport(state="refused", reason="Not authorized", protocol="", delivered_slide="", delivered_at=None)
    bad = {
        "unsaved": 17,
        "record": PartStatus(level="fail", text="NOT SAVED: 17 waiting"),
        "quarantined": 1,
        "time_trusted": False,
        "broker": report,
        "sent_at": datetime(2000, 1, 1, tzinfo=timezone.utc),
    }
    alarms, _ = status_words(told.model_copy(update=bad))
    assert [line.split(":")[0] for line in alarms] == ["NOT SAVED", "broker", "put aside", "clock"]
    assert alarms[0].startswith("NOT SAVED: 17 writes not on the disk yet")
    assert "2000-01-01 00:00 UTC, not synchronised" in alarms[3]


def test_a_status_of_an_older_device_is_told_too(repository: Path) -> None:
    old = read_status((repository / "tests/messages/1.3/f219df0-status-counting.json").read_bytes()).payload
    assert old.broker is None and old.unsaved is None
    assert status_words(old)[1]


def test_the_command_gives_json_to_scripts_and_words_to_people(
    tmp_path: Path, told: DeviceStatus, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "device.yaml"
    file.write_text(f"camera: {{kind: simulator}}\ndevice: {{state_dir: {tmp_path}}}\n")
    with ControlServer(tmp_path / "control.sock", lambda: told.model_dump(mode="json", by_alias=True)):
        assert call(["status", "--config", str(file)]) == 0
        assert json.loads(capsys.readouterr().out)["device_id"] == "clinic-7"
        assert call(["status", "--words", "--config", str(file)]) == 0
        assert "broker: connected, MQTT 5\n" in capsys.readouterr().out
    failing = told.model_copy(update={"time_trusted": False})
    with ControlServer(tmp_path / "control.sock", lambda: failing.model_dump(mode="json", by_alias=True)):
        assert call(["status", "--words", "--config", str(file)]) == 1
        assert capsys.readouterr().out.startswith("! clock: ")
