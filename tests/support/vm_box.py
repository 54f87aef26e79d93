"""A box in QEMU as provisioning leaves it, with the simulated camera, and what a broker outside hears of it."""

from __future__ import annotations

import json
import threading
import time
from pathlib import Path
from typing import Any

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion

from systemd.image.disk import DATA, make_data
from systemd.image.root import data_tree
from tests.support.vm import BROKER, WORDS, Machine

CONFIG = f"""
camera: {{kind: simulator, width_px: 640, height_px: 480, fps: 2.0, loop: true}}
device: {{id: box-in-qemu}}
engine: {{runtime: onnx, deadline_s: 300}}
microscope: {{profile: zzcat-5mp}}
slide: {{auto_start: true, ask_specimen: false, finish_at_end: false}}
display: {{kind: screen}}
broker: {{host: {BROKER[0]}, port: {BROKER[1]}}}
"""


NO_SCREEN = f"{WORDS} systemd.mask=leukoscope-kiosk.path systemd.mask=leukoscope-kiosk.service"
"""For campaigns of many starts, beside `display: {kind: none}`: an emulated processor spends half of a start on drawing."""
PROGRESS = "/run/leukoscope-boot"
"""Where the steps of a boot are told (`device.box.progress`)."""


class Heard:
    """What reached the broker outside, as topic and payload."""

    def __init__(self, port: int) -> None:
        self.messages: list[tuple[str, bytes]] = []
        self._came = threading.Condition()
        self._client = paho.Client(CallbackAPIVersion.VERSION2)
        self._client.on_message = self._on_message
        self._client.on_connect = lambda client, *_: client.subscribe("leukoscope/#", 1)
        self._client.connect("127.0.0.1", port)
        self._client.loop_start()

    def _on_message(self, _client: object, _data: object, message: paho.MQTTMessage) -> None:
        with self._came:
            self.messages.append((message.topic, message.payload))
            self._came.notify_all()

    def wait(self, topic: str, seconds: float) -> bytes:
        end = time.monotonic() + seconds
        with self._came:
            while not (found := [payload for name, payload in self.messages if name == topic]):
                assert self._came.wait(max(0.0, end - time.monotonic())), f"nothing on {topic}, only {[n for n, _ in self.messages]}"
        return found[0]

    def close(self) -> None:
        self._client.loop_stop()
        self._client.disconnect()


def provisioned(image: Path, room: Path, broker: int, config: str = CONFIG, words: str = WORDS) -> Machine:
    """The box, switched off, its settings on the data partition. words: for its kernel."""
    room.mkdir(parents=True, exist_ok=True)
    settings = room / "device.yaml"
    settings.write_text(config, encoding="utf-8")
    make_data(data_tree(room / "data", settings), room / "data.img", DATA, 1767225600)
    machine = Machine(image, room / "vm", broker=broker, words=words)
    machine.put("data", room / "data.img")
    return machine


def boots(box: Machine, slots: str, tries: str = "123", seconds: float = 900) -> str:
    """Which of these slots is booted after `start()` or a reset, in one of these tries, once a shell answers. Raises VmError."""
    slot, attempt = box.wait_for("slot ([AB]), try ([0-9])", 300).groups()
    assert slot in slots and attempt in tries, f"slot {slot}, try {attempt}; not one of {slots} in one of its tries {tries}"
    box.wait_shell(seconds)
    box.patience(["leukoscope.service"])
    return str(slot)


def comes_up(box: Machine, slots: str, tries: str = "123", seconds: float = 900) -> str:
    """The same, once frames are looked at."""
    slot = boots(box, slots, tries, seconds)
    box.until(f'grep -q \'"state": "done"\' {PROGRESS}/ready.json', seconds, pause=3)
    return slot


_RECORD = """
import json, sqlite3
db = sqlite3.connect("file:/var/lib/leukoscope/record.sqlite?mode=ro", uri=True, timeout=60)
wanted = "SELECT s.slide_id, s.state, count(f.field_index), max(f.field_index) FROM slides s"
rows = db.execute(wanted + " LEFT JOIN fields f USING (slide_id) GROUP BY 1")
sound, waiting = db.execute("PRAGMA integrity_check").fetchone()[0], db.execute("SELECT count(*) FROM outbox").fetchone()[0]
print(json.dumps({"sound": sound, "slides": rows.fetchall(), "waiting": waiting}))
"""


def record_of(box: Machine) -> dict[str, Any]:
    """What the record holds: sound ("ok"), slides as (id, state, fields, highest index), messages that wait."""
    box.until("test -f /var/lib/leukoscope/record.sqlite", 600)  # the shell answers before the data partition is there
    box.ask(f"cat > /run/record.py <<'EOF'\n{_RECORD}\nEOF")
    answer = box.ask("/opt/leukoscope/current/bin/python /run/record.py", 300)
    assert answer.code == 0, answer.text
    # The shell's line is a console too: a word of systemd's may stand behind the answer.
    found: dict[str, Any] = json.loads(next(line for line in answer.text.splitlines() if line.startswith('{"sound"')))
    return found
