"""The whole contract at a real mosquitto: the appliance counts, somebody asks it, and every message is what its schema says."""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import uuid4

import paho.mqtt.client as paho
import pytest
from jsonschema import Draft202012Validator
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from truth_engine import TruthEngine, TruthfulSimulator

from device.app import run
from device.clock import SystemClock
from device.demo.broker import MosquittoBroker
from device.display.base import NullDisplay
from device.line import Openers
from device.mqtt.asyncapi import CONTRACT
from device.mqtt.events import read_event
from device.mqtt.outbox import OutboxMessage
from device.mqtt.payloads import read_summary
from device.mqtt.topics import Topics
from device.pipeline import Pipeline
from device.rounds import Round
from device.settings.broker import BrokerSection
from device.settings.config import Config, DeviceSection, DisplaySection, SlideSection
from device.settings.config import SimulatorCamera as SimulatorSection
from device.slide.commands import Command, Wish
from device.store import Store

pytestmark = pytest.mark.integration
TOPICS = Topics("ward-1")


class Supervisor:
    """Hears everything, and asks by response topic and correlation data."""

    def __init__(self, port: int) -> None:
        self.heard: list[tuple[str, dict[str, Any], bytes]] = []
        self._client = paho.Client(CallbackAPIVersion.VERSION2, "asker", protocol=MQTTProtocolVersion.MQTTv5)
        self._client.on_message = self._take
        ready = threading.Event()
        self._client.on_subscribe = lambda *_: ready.set()
        self._client.connect("127.0.0.1", port)
        self._client.loop_start()
        self._client.subscribe([("leukoscope/#", 1), ("replies/#", 1)])  # type: ignore[list-item]
        assert ready.wait(20)

    def _take(self, _client: Any, _data: Any, message: paho.MQTTMessage) -> None:
        correlation = bytes(getattr(message.properties, "CorrelationData", b""))
        if message.topic == TOPICS.cmd_answer or "/cmd/" not in message.topic:  # not what is asked here
            self.heard.append((message.topic, json.loads(message.payload), correlation))

    def ask(self, name: str, payload: bytes, *, response: bool = True) -> str:
        """The correlation that the answer must bear."""
        properties, mark = Properties(PacketTypes.PUBLISH), uuid4().hex  # type: ignore[no-untyped-call]
        if response:
            properties.ResponseTopic, properties.CorrelationData = "replies/here", mark.encode()
        self._client.publish(TOPICS.of(f"cmd/{name}"), payload, 1, properties=properties)
        return mark

    def answer(self, mark: str) -> dict[str, Any] | None:
        return next((content for topic, content, correlation in self.heard if correlation == mark.encode()), None)

    def kinds(self, kind: str) -> list[dict[str, Any]]:
        return [content for topic, content, _ in self.heard if topic == TOPICS.of(kind)]

    def close(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()


class UnhurriedClock(SystemClock):
    def sleep(self, seconds: float) -> None:
        return None


def test_a_slide_with_requests_in_between(
    tmp_path: Path, mosquitto: tuple[str, ...], until: Callable[[Callable[[], object], str], None], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    finish = threading.Event()

    def each_round(done: Round, pipeline: Pipeline) -> None:
        if finish.is_set() and pipeline.slide is not None and pipeline.slide.is_open:
            assert pipeline.obey(Wish(Command.FINISH, sure=True))[0]
            pipeline.stop("done")

    with MosquittoBroker() as broker:
        config = Config(
            camera=SimulatorSection(kind="simulator", seed=11, case="AML", width_px=960, height_px=540, fields=20, loop=True),
            device=DeviceSection(id="ward-1", state_dir=tmp_path),
            slide=SlideSection(auto_start=True),
            display=DisplaySection(kind="none"),
            broker=BrokerSection(host="127.0.0.1", port=broker.port, send_crops=3, health_period_s=5),
        )
        camera = TruthfulSimulator(config.camera, clock := UnhurriedClock())  # type: ignore[arg-type]
        made = Openers(clock, lambda: camera, lambda: TruthEngine(camera), NullDisplay)
        supervisor = Supervisor(broker.port)
        appliance = threading.Thread(target=lambda: run(config, made, each_round=each_round, signals=False))
        appliance.start()
        try:
            until(lambda: supervisor.kinds("event"), "the first blast")
            assert not supervisor.kinds("summary"), "it is told while the slide is counted"
            until(lambda: supervisor.kinds("health"), "the first health report")
            until(lambda: any(one["slide"] and one["slide"]["blast_seen"] for one in supervisor.kinds("status")), "the slide's status")

            asked = {
                "status": supervisor.ask("status", b""),
                "health": supervisor.ask("health", b'{"request_id": "h"}'),
                "identify": supervisor.ask("identify", b'{"by": "ward 3"}'),
                "bad": supervisor.ask("resend", b'{"since": 7}'),
                "none": supervisor.ask("resend", b'{"slide_id": "nowhere"}'),
                "unknown": supervisor.ask("format", b""),
            }
            until(lambda: all(supervisor.answer(mark) for mark in asked.values()), "six answers")
            told = {name: supervisor.answer(mark) or {} for name, mark in asked.items()}
            assert told["status"]["ok"] and told["status"]["status"]["slide"]["blast_seen"] is True
            assert told["health"]["ok"] and told["health"]["request_id"] == "h" and told["health"]["health"]["disk_free_mb"] > 0
            assert not told["bad"]["ok"] and "since" in told["bad"]["text"]
            assert not told["none"]["ok"] and "no slide nowhere" in told["none"]["text"]
            assert not told["unknown"]["ok"]
            until(lambda: "A supervisor asks for this box (ward 3)." in caplog.text, "the line on the screen")
            supervisor.ask("status", b"{}", response=False)
            until(lambda: supervisor.kinds("cmd/answer"), "an answer for who has no response topic")

            finish.set()
            until(lambda: supervisor.kinds("summary"), "the summary")
        finally:
            finish.set()
            appliance.join(60)
            supervisor.close()
        assert not appliance.is_alive()

    (event,), (summary,) = supervisor.kinds("event"), supervisor.kinds("summary")
    assert event["slide_id"] == summary["slide_id"] and event["simulated"]
    assert summary["blasts"]["count"] > 0 and len(summary["crops"]) == min(3, summary["blasts"]["count"])
    for topic, content, _ in supervisor.heard:
        kind = content["schema"].removeprefix("leukoscope.").replace("/", "-")
        assert topic == "replies/here" or kind.startswith(topic.rpartition("/")[2])
        Draft202012Validator(json.loads((CONTRACT / f"{kind}.json").read_bytes())).validate(content)
    kinds = {topic.removeprefix("leukoscope/ward-1/") for topic, _, _ in supervisor.heard}
    assert {"status", "event", "health", "summary", "cmd/answer"} <= kinds


def test_events_go_before_a_backlog_and_pictures_give_way_to_the_brokers_limit(
    mosquitto: tuple[str, ...], repository: Path, outbox: Any, publisher_to: Any, until: Callable[[Callable[[], object], str], None]
) -> None:
    example = json.loads((repository / "docs/schema/summary-1.example.json").read_bytes())
    crop = {"cell_id": 1, "name": "Myeloblast", "equivalent": False, "certainty": 0.5, "jpeg": "A" * 4000}
    plain = read_summary(json.dumps(example).encode()).payload
    for n in range(30):
        outbox.put(plain.model_copy(update={"message_id": uuid4(), "slide_id": f"slide-{n}"}))
    large = read_summary(json.dumps(example | {"crops": [crop] * 5, "message_id": str(uuid4()), "slide_id": "large"}).encode()).payload
    outbox.put(large)
    event = read_event((repository / "docs/schema/event-1.example.json").read_bytes()).payload
    with Store.connect(outbox.path) as store:
        row = OutboxMessage(str(event.message_id), "leukoscope/clinic-7/event", event.to_bytes(), event.at, "event", event.slide_id)
        store.put_message(row)
    limit = len(plain.to_bytes()) + 10_000
    with MosquittoBroker(lines=("allow_anonymous true", *mosquitto, f"max_packet_size {limit}")) as broker:
        supervisor = Supervisor(broker.port)
        with publisher_to(BrokerSection(host="127.0.0.1", port=broker.port)):
            until(lambda: not outbox.pending_count(), "all of it")
        supervisor.close()
    sent = [content for topic, content, _ in supervisor.heard if topic.endswith(("/event", "/summary"))]
    assert sent[0]["schema"] == "leukoscope.event/1" and len(sent) == 32
    (fitted,) = (content for content in sent if content["slide_id"] == "large")
    assert (len(fitted["crops"]), fitted["crops_left_out"]) == (2, 3)
