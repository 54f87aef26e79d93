"""What a simulated device says: the published examples with counts, names and times of its own. Every message says `simulated`."""

from __future__ import annotations

import json
import random
import uuid
from datetime import datetime, timedelta, timezone
from importlib.resources import files
from typing import Any, Final

from device.mqtt.device_status import DeviceStatus, SlideProgress, read_status
from device.mqtt.health import HealthReport, read_health
from device.mqtt.outbox import OutboxMessage
from device.mqtt.payloads import SlideSummary
from device.mqtt.topics import Topics
from device.slide.tally import percent

_EXAMPLES: Final = files("device.mqtt").joinpath("contract")
_TARGET: Final = 200


def _example(name: str) -> bytes:
    return _EXAMPLES.joinpath(f"{name}-1.example.json").read_bytes()


class Voice:
    """One device's messages. Its summaries are numbered in a stream of its own, from 1."""

    def __init__(self, device_id: str, root: str, rand: random.Random) -> None:
        self.topics = Topics(device_id, root)
        self._rand, self._number = rand, 0
        self._stream = uuid.UUID(int=rand.getrandbits(128), version=4).hex
        self._summary: dict[str, Any] = json.loads(_example("summary"))
        own = {"device_id": device_id, "simulated": True, "boot_id": str(uuid.UUID(int=rand.getrandbits(128), version=4))}
        self._status = read_status(_example("status")).payload.model_copy(update=own)
        self._health = read_health(_example("health")).payload.model_copy(update=own)
        self._cells = 0

    def summary(self) -> OutboxMessage:
        """A slide that just ended, with counts of its own; it is checked as any that is sent."""
        self._number += 1
        now, rand = datetime.now(timezone.utc), self._rand
        message_id = uuid.UUID(int=rand.getrandbits(128), version=4)
        rows = [{**row, "count": rand.randint(0, 40)} for row in self._summary["differential"]]
        unidentified = rand.randint(0, 25)
        white = sum(row["count"] for row in rows) + unidentified
        blasts = sum(row["count"] for row in rows if row["blast"])
        for row in rows:
            row["percent"] = round(percent(row["count"], white), 2)
        slide_id = f"{now:%Y%m%d-%H%M%S}-{self._number}"
        said = {
            "message_id": str(message_id),
            "device_id": self.topics.device_id,
            "slide_id": slide_id,
            "started_at": (now - timedelta(minutes=10)).isoformat(),
            "finished_at": now.isoformat(),
            "boot_id": self._status.boot_id,
            "white_cells": white,
            "differential": rows,
            "unidentified": {"count": unidentified, "percent": round(percent(unidentified, white), 2)},
            "blasts": {**self._summary["blasts"], "count": blasts, "percent": round(percent(blasts, white), 2)},
            "stream": self._stream,
            "sequence": self._number,
            "source": {"kind": "simulator", "name": "fleet-sim", "simulated": True},
            "model": {**self._summary["model"], "name": "fleet-sim", "version": "0"},  # no network saw any of it
            "description": ["Made-up counts of a simulated device; no film was looked at."],
        }
        payload = SlideSummary.model_validate_json(json.dumps({**self._summary, **said})).to_bytes()
        return OutboxMessage(str(message_id), self.topics.summary, payload, now, "summary", slide_id, self._number)

    def status(self) -> DeviceStatus:
        """As a device that is counting a slide: one more field with each call."""
        self._cells = (self._cells + self._rand.randint(1, 12)) % _TARGET
        slide = SlideProgress(
            slide_id=f"slide-{self._number + 1}",
            state="counting",
            fields=1 + self._cells // 8,
            white_cells=self._cells,
            target_cells=_TARGET,
            blast_seen=False,
        )
        return self._status.model_copy(update={"slide": slide})

    def health(self) -> bytes:
        """A report of now."""
        now = {"sent_at": datetime.now(timezone.utc), "temperature_c": round(self._rand.uniform(45, 70), 1)}
        report: HealthReport = self._health.model_copy(update=now)
        return report.to_bytes()
