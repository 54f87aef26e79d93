"""The published JSON Schemas, generated from the models; `python -m device.mqtt.asyncapi` writes them anew."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

from device.mqtt.commands import CommandAnswer, CommandRequest
from device.mqtt.device_status import DeviceStatus
from device.mqtt.events import ReviewEvent, SlideEvent
from device.mqtt.health import HealthReport
from device.mqtt.message import Payload
from device.mqtt.payloads import SlideSummary, SlideSummary2
from device.mqtt.receipt import Receipt

_BASE = "https://json-schema.org/draft/2020-12/schema"
PUBLISHED: Final[Mapping[str, type[Payload]]] = {
    "summary-1": SlideSummary,
    "summary-2": SlideSummary2,
    "status-1": DeviceStatus,
    "review-1": ReviewEvent,
    "event-1": SlideEvent,
    "health-1": HealthReport,
    "receipt-1": Receipt,
    "command-1": CommandRequest,
    "answer-1": CommandAnswer,
}
"""Every kind of message by the name of its files."""


def published_schemas() -> dict[str, str]:
    """File name to the schema's text, as a receiver needs it: valid for every form of the message, older and newer."""
    return {f"{name}.json": as_text(schema_of(model)) for name, model in PUBLISHED.items()}


def schema_of(model: type[Payload]) -> dict[str, Any]:
    """One message's schema."""
    schema = model.model_json_schema(by_alias=True, mode="validation")
    may_lack = set() if model is not CommandRequest else set(schema["properties"])  # people write requests by hand
    return {"$schema": _BASE, **_open(schema, model.schema_number, frozenset(may_lack))}


def as_text(document: Mapping[str, Any]) -> str:
    """JSON as it is kept."""
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"


def _open(node: Any, number: int, may_lack: frozenset[str] = frozenset()) -> Any:
    """`node` as receivers need it: fields that they do not know are allowed, those of every form of schema `number` are required."""
    if isinstance(node, dict):
        node = {key: _open(value, number) for key, value in node.items() if not (key == "additionalProperties" and value is False)}
        if isinstance(fields := node.get("properties"), dict):
            for field in fields.values():
                if int(field.get("x-since", f"{number}").partition(".")[0]) < number:
                    del field["x-since"]
            node["required"] = [name for name, field in fields.items() if "x-since" not in field and name not in may_lack]
        return node
    return [_open(item, number) for item in node] if isinstance(node, list) else node
