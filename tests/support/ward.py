"""A ward's database: filled with real messages (tests/messages, docs/schema), varied in number, device, date, blasts and review."""

from __future__ import annotations

import json
import random
import uuid
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

from sqlalchemy import Engine

from device.mqtt.client import Incoming
from device.mqtt.payloads import read_summary
from device.mqtt.topics import ANY_DEVICE, Topics
from device.supervisor.alarms import note_silent
from device.supervisor.database import migrate, open_database, writing
from device.supervisor.ingest import Taken, take

REPOSITORY = Path(__file__).parents[2]
MESSAGES = REPOSITORY / "tests/messages"
NOW = datetime(2026, 11, 30, 12, 0, tzinfo=timezone.utc)
TOPICS = Topics(ANY_DEVICE)


def new_database(path: Path) -> Engine:
    """An empty database of the newest version in a SQLite file."""
    engine = open_database(f"sqlite:///{path}")
    migrate(engine)
    return engine


def stored(engine: Engine, topic: str, payload: bytes | dict[str, Any], at: datetime = NOW, retained: bool = False) -> Taken:
    """One message as the receiver takes it."""
    data = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
    with writing(engine) as session:
        return take(session, TOPICS, Incoming(topic, data, retained), at)


def example(kind: str = "summary") -> dict[str, Any]:
    """The published example of the newest form."""
    return dict(json.loads((REPOSITORY / f"docs/schema/{kind}-1.example.json").read_bytes()))


def frozen(kind: str) -> list[dict[str, Any]]:
    """Every message of a kind that any version sent."""
    return [json.loads(path.read_bytes()) for path in sorted(MESSAGES.glob(f"*/*-{kind}-*.json"))]


def summary(device: str, slide: str, *, sequence: int = 0, stream: str = "", **changes: Any) -> dict[str, Any]:
    """The example as another slide of another device."""
    values = {**example(), "message_id": str(uuid.uuid4()), "device_id": device, "slide_id": slide, "sequence": sequence}
    values["stream"] = stream or f"stream-of-{device}"
    return {**values, **changes}


def without_blasts(document: dict[str, Any]) -> dict[str, Any]:
    """The same with its blasts told as the first type that is none."""
    rows = [dict(row) for row in document["differential"]]
    moved = sum(row["count"] for row in rows if row["blast"])
    for row in rows:
        row.update({"count": 0, "percent": 0.0} if row["blast"] else {})
    other = next(row for row in rows if not row["blast"])
    other["count"] += moved
    other["percent"] = round(100 * other["count"] / document["white_cells"], 2)
    blasts = {**document["blasts"], "count": 0, "percent": 0.0, "low_percent": 0.0, "high_percent": 1.77}
    blasts.update({key: 0 for key in ("uncertain_kind", "equivalents") if key in blasts})
    return {**document, "differential": rows, "blasts": blasts}


def ward(engine: Engine, slides: int = 40, devices: int = 4, seed: int = 7, now: datetime = NOW) -> None:
    """Fill an empty database: devices in each state, slides over ten days, some reviewed, some without blasts, a gap, a bad message."""
    chance = random.Random(seed)
    names = [f"clinic-{number + 1}" for number in range(devices)]
    with writing(engine) as session:
        for topic, document, at in (*_statuses(names, now), *_summaries(names, slides, chance, now)):
            take(session, TOPICS, Incoming(topic, json.dumps(document).encode()), at)
        note_silent(session, now)
        take(session, TOPICS, Incoming(f"leukoscope/{names[0]}/summary", b"<script>alert(1)</script>"), now)
        take(session, TOPICS, Incoming("leukoscope/<b>x</b>/summary", b"{}"), now)


def _statuses(names: list[str], now: datetime) -> Iterator[tuple[str, dict[str, Any], datetime]]:
    states = [("online", None), ("offline", "lost"), ("offline", "stopped"), ("online", None)]
    for number, name in enumerate(names):
        state, reason = states[number % 4]
        at = now - timedelta(minutes=20 if number % 4 == 3 else 1)  # every fourth is silent
        camera = (
            {"level": "fail", "text": "picture stands still: unplug <the> camera"} if number % 4 == 3 else example("status")["camera"]
        )
        document = {**example("status"), "device_id": name, "camera": camera, "simulated": number % 2 == 1}
        yield f"leukoscope/{name}/status", document, at
        if state == "offline":
            since = None if reason == "lost" else at.isoformat()
            gone = {**document, "state": state, "offline_reason": reason, "since": since, "slide": None}
            yield f"leukoscope/{name}/status", gone, at + timedelta(seconds=30)


def _summaries(names: list[str], slides: int, chance: random.Random, now: datetime) -> Iterator[tuple[str, dict[str, Any], datetime]]:
    shapes = [document for document in frozen("summary") if document["white_cells"]] + [example()]
    sequences = dict.fromkeys(names, 0)
    for number in range(slides):
        name, age = names[number % len(names)], timedelta(hours=240 * (slides - number) / slides)
        ended = now - age
        shape = dict(chance.choice(shapes))
        if chance.random() < 0.4:
            shape = without_blasts(shape)
        document = {
            **shape,
            "message_id": str(uuid.UUID(int=chance.getrandbits(128), version=4)),
            "device_id": name,
            "slide_id": f"{ended:%Y%m%d-%H%M%S}-{number}",
            "started_at": (ended - timedelta(minutes=4)).isoformat(),
            "finished_at": ended.isoformat(),
        }
        if "sequence" in document:
            sequences[name] += 2 if sequences[name] == 1 else 1  # of each device one is missing
            document |= {"stream": f"stream-of-{name}", "sequence": sequences[name]}
        assert read_summary(json.dumps(document).encode())
        yield f"leukoscope/{name}/summary", document, ended + timedelta(seconds=2)
