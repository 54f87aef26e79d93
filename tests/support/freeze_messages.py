"""Takes from a real mosquitto the messages that the code at hand sends, one of each kind and state, as files to be kept for ever.

`python -m tests.support.freeze_messages tests/messages` (tests/messages/README.md) writes 1.N/COMMIT-KIND-WHAT.json and, of version 2,
2.0/COMMIT-summary-WHAT.json: `leukoscope run` over rendered film with the shipped engine; a slide is finished and signed, one aborted,
and the appliance killed. Nothing here runs in the daemon.
"""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timezone
from pathlib import Path
from typing import Any
from uuid import UUID

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from calibration.profile import load_profile
from device.clock import SystemClock
from device.demo.broker import MosquittoBroker
from device.mqtt.asyncapi import FORM
from device.mqtt.receipt import receipts
from device.mqtt.topics import Topics
from device.settings.config_file import load_config
from device.store import Store, free_mb
from device.store.events import SlideRecord
from device.store.journal import Journal
from tests.support.freeze_record import _asked, _fields, _until

_TOPICS = Topics("frozen")
_CONFIGURATION = """\
camera: {{kind: simulator, loop: true, live: true, width_px: 960, height_px: 540, case: AML}}
device: {{id: frozen, state_dir: {state}}}
engine: {{runtime: onnx, precision: float32}}
display: {{kind: none}}
broker: {{host: 127.0.0.1, port: {port}, send_reviewer: hashed, send_crops: 1, health_period_s: 5, summary_version: {version}}}
log_level: error
"""


class Ear:
    """Everything that goes over the broker."""

    def __init__(self, port: int) -> None:
        self.heard: list[tuple[str, bytes]] = []
        self.client = paho.Client(CallbackAPIVersion.VERSION2, "ear", protocol=MQTTProtocolVersion.MQTTv5)
        self.client.on_message = lambda _client, _data, message: self.heard.append((message.topic, bytes(message.payload)))
        self.client.connect("127.0.0.1", port)
        self.client.subscribe("leukoscope/#", 1)
        self.client.loop_start()

    def find(self, kind: str, **fields: Any) -> bytes | None:
        """The newest of a kind with these values; `...`: any but null."""
        for topic, payload in reversed(self.heard):
            if topic == _TOPICS.of(kind):
                content = json.loads(payload)
                if all(content[key] == value or (value is ... and content[key] is not None) for key, value in fields.items()):
                    return payload
        return None


@contextmanager
def _running(config: Path, ends: int = signal.SIGTERM) -> Iterator[None]:
    process = subprocess.Popen([sys.executable, "-m", "device", "run", "--config", str(config)])
    try:
        yield
    finally:
        process.send_signal(ends)
        process.wait(60)


def _counted(config: Path, number: int) -> None:
    record = load_config(config).record_path
    _until(lambda: _asked(config, "start", "--specimen", f"H26-10431{number}", "--operator", "AB", "--anyway"))
    _until(lambda: _fields(record) >= 3)


def _sign(config: Path) -> None:
    """The newest slide, as a person signs it."""
    loaded, clock = load_config(config), SystemClock()
    with Store.open(loaded.record_path) as store:
        (newest,) = store.slides(1)
        journal = Journal(loaded.record_path, clock, free_mb, 0)
        profile = load_profile(loaded.microscope.profile)
        record = SlideRecord(store, journal, loaded, profile, newest.provenance, clock, lambda: None)
        review, kept = record.open_review(newest.slide.slide_id, "AB")
        unsure = [cell.cell_id for cell in review.cells.values() if not cell.said]
        for act in (lambda of: of.name(unsure, "Lymphocyte"), *(lambda of, n=n: of.open(n) for n in review.cells)):
            if entries := act(review):
                review = review.after(entries)
                kept.keep(review, entries)
        entries = review.sign(why="few cells, for this record")
        kept.keep(review.after(entries), entries)


def messages(version: int) -> dict[str, bytes]:
    """One of each kind and state, by the names of their files without the commit."""
    with tempfile.TemporaryDirectory() as folder, MosquittoBroker() as broker:
        config = Path(folder) / "device.yaml"
        config.write_text(_CONFIGURATION.format(state=Path(folder) / "state", port=broker.port, version=version))
        ear = Ear(broker.port)
        with _running(config):
            _counted(config, 0)
            _until(lambda: ear.find("status", slide=...))
            found = {"status-counting": ear.find("status", slide=...)}
            properties = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]
            properties.ResponseTopic, properties.CorrelationData = _TOPICS.cmd_answer, b"1"
            ear.client.publish(_TOPICS.cmd("status"), b'{"schema": "leukoscope.command/1", "by": "ear"}', 1, properties=properties)
            _until(lambda: ear.find("cmd/answer"))
            _until(lambda: ear.find("event") and ear.find("health"))
            _until(lambda: _asked(config, "finish", "--anyway"))
            _until(lambda: ear.find("summary"))
        found |= {"status-stopped": ear.find("status", offline_reason="stopped"), "summary-review": ear.find("summary", revision=0)}
        _sign(config)
        with _running(config, signal.SIGKILL):
            _until(lambda: ear.find("review"))
            found["summary-signed"] = ear.find("summary", revision=1)
            _counted(config, 1)
            _until(lambda: _asked(config, "abort", "--reason", "poor film"))
            _until(lambda: ear.find("summary", state="aborted"))
        _until(lambda: ear.find("status", offline_reason="lost"))
        summary = json.loads(found["summary-review"] or b"{}")
        for receipt in receipts("frozen", "ear", [UUID(summary["message_id"])], datetime.now(timezone.utc)):
            found["receipt-kept"] = receipt.to_bytes()
        found |= {
            "status-last-will": ear.find("status", offline_reason="lost"),
            "summary-aborted": ear.find("summary", state="aborted"),
        }
        found |= {"review-signed": ear.find("review"), "event-first-blast": ear.find("event"), "health-counting": ear.find("health")}
        found |= {"command-status": ear.find("cmd/status"), "answer-status": ear.find("cmd/answer")}
        ear.client.disconnect()
        ear.client.loop_stop()
    return {name: payload for name, payload in found.items() if payload is not None}


def main(target: Path) -> None:
    """Write them; files that are there already stay."""
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=True).stdout.strip()
    for folder, version in ((target / FORM, 1), (target / "2.0", 2)):
        folder.mkdir(parents=True, exist_ok=True)
        for name, payload in messages(version).items():
            if version == 1 or name.startswith("summary"):
                (folder / f"{commit}-{name}.json").write_bytes(payload)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
