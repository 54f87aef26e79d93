"""The AsyncAPI 3 document of what a device sends and hears, made from the models and the topics; and every file of the contract.

`python -m device.mqtt.asyncapi` writes the generated files anew into docs/schema and, with the examples, into device/mqtt/contract,
which the package carries and `leukoscope contract` hands out.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import yaml

from device.mqtt.schema import PUBLISHED, published_schemas, schema_of
from device.mqtt.topics import COMMANDS, Topics
from device.settings.config import DEVICE_ID

FORM: Final = "1.4"
"""Of the messages (docs/mqtt.md, "Forms"); the version of the document."""
ASYNCAPI: Final = "asyncapi.yaml"
EXAMPLE: Final = ".example.json"
_HERE: Final = Path(__file__).parent
CONTRACT: Final = _HERE / "contract"
_DOCS: Final = _HERE.parents[1] / "docs" / "schema"
_MQTT: Final = "0.2.0"  # of the binding
_LEAST_OF_ALL: Final = 12_000
"""Bytes up to which an example stands in the document; the whole ones lie beside it as files."""


@dataclass(frozen=True)
class Channel:
    """One kind of topic. schemas: of its messages, by file name; sends: by the device, else to it."""

    key: str
    kind: str
    title: str
    schemas: tuple[str, ...]
    sends: bool
    qos: int
    retain: bool
    about: str


CHANNELS: Final = (
    Channel(
        "summary",
        "summary",
        "A slide's summary",
        ("summary-1", "summary-2"),
        True,
        1,
        False,
        "One for each closed slide on which a white cell was counted, and one more for each signature. Version 2 where the "
        "device is configured to send it. Keep by device_id, slide_id and the highest revision; drop doubles by message_id; a gap in "
        "`sequence` of one `stream` is a summary that is missing: ask for it with cmd/resend.",
    ),
    Channel(
        "review",
        "review",
        "What a person did to a slide",
        ("review-1",),
        True,
        1,
        False,
        "Signed, signed a second time, or opened again for a correction, as it happens.",
    ),
    Channel(
        "event",
        "event",
        "What must be heard at once",
        ("event-1",),
        True,
        1,
        False,
        "The first cell of a slide told as a blast or equivalent, while the slide is still counted: the device's word, unreviewed.",
    ),
    Channel(
        "status",
        "status",
        "Whether the device is there",
        ("status-1",),
        True,
        0,
        True,
        "Retained, and the last will: `offline` with reason `lost` comes from the broker. Online, once a minute at least.",
    ),
    Channel("health", "health", "How the box does", ("health-1",), True, 0, False, "Every broker.health_period_s, the newest only."),
    Channel(
        "receipt",
        "receipt",
        "A receiver's receipt",
        ("receipt-1",),
        False,
        1,
        False,
        "Sent by a receiver once messages are durably its own; a device that names receivers keeps each summary and review until then.",
    ),
    *(
        Channel(
            f"cmd{name.capitalize()}",
            f"cmd/{name}",
            f"Request: {name}",
            ("command-1",),
            False,
            1,
            False,
            f"{about} Answered to the request's MQTT 5 response topic with its correlation data, else on cmd/answer.",
        )
        for name, about in {
            "resend": "Put the summaries of a slide, or all since a moment, into the outbox again, with the ids and bytes they had.",
            "status": "The status, now.",
            "health": "The newest health report.",
            "identify": "Show on the box's screen for 60 s that somebody looks for it.",
            "update": "Offer an update on the box's screen; only a person there installs it.",
        }.items()
    ),
    Channel(
        "answer", "cmd/answer", "Answers", ("answer-1",), True, 1, False, "For requests that named no response topic (MQTT 3.1.1)."
    ),
)


def asyncapi(examples: Mapping[str, bytes]) -> dict[str, Any]:
    """The document. examples: content of the example files by the names of their schemas."""
    assert {channel.kind for channel in CHANNELS if channel.kind.startswith("cmd/")} == {
        f"cmd/{name}" for name in (*COMMANDS, "answer")
    }
    schemas: dict[str, Any] = {}
    messages = {name: _message(name, schemas, examples) for name in PUBLISHED}
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "Leukoscope device",
            "version": FORM,
            "description": "What a Leukoscope appliance beside a microscope sends over MQTT, and what it listens to. Counts are for "
            "review, not a diagnosis: a blast is preliminary until a person has confirmed it. All meaning is in the payload; MQTT 5 "
            "adds the content type, and response topics for requests. Receivers ignore fields that they do not know. The first part of "
            "the topics is the device's broker.topic_root.",
            "license": {"name": "Apache-2.0", "url": "https://www.apache.org/licenses/LICENSE-2.0"},
        },
        "defaultContentType": "application/json",
        "servers": {
            "broker": {
                "host": "broker.example:8883",
                "protocol": "secure-mqtt",
                "protocolVersion": "5",
                "description": "The ward's broker; MQTT 5, or 3.1.1 with receipts as the only proof of delivery.",
            }
        },
        "channels": {channel.key: _channel(channel) for channel in CHANNELS},
        "operations": dict(_operation(channel) for channel in CHANNELS),
        "components": {
            "parameters": {"device": {"description": f"`device.id` of the device: {DEVICE_ID}. No topic names a slide or a patient."}},
            "messages": messages,
            "schemas": schemas,
        },
    }


def _channel(channel: Channel) -> dict[str, Any]:
    return {
        "address": Topics("DEVICE").of(channel.kind).replace("DEVICE", "{device}"),
        "title": channel.title,
        "description": channel.about,
        "parameters": {"device": {"$ref": "#/components/parameters/device"}},
        "messages": {name: {"$ref": f"#/components/messages/{name}"} for name in channel.schemas},
    }


def _operation(channel: Channel) -> tuple[str, dict[str, Any]]:
    operation: dict[str, Any] = {
        "action": "send" if channel.sends else "receive",
        "channel": {"$ref": f"#/channels/{channel.key}"},
        "summary": channel.title,
        "messages": [{"$ref": f"#/channels/{channel.key}/messages/{name}"} for name in channel.schemas],
        "bindings": {"mqtt": {"qos": channel.qos, "retain": channel.retain, "bindingVersion": _MQTT}},
    }
    if channel.kind.startswith("cmd/") and not channel.sends:
        operation["reply"] = {
            "channel": {"$ref": "#/channels/answer"},
            "messages": [{"$ref": "#/channels/answer/messages/answer-1"}],
        }
    return f"{'send' if channel.sends else 'receive'}{channel.key[0].upper()}{channel.key[1:]}", operation


def _message(name: str, schemas: dict[str, Any], examples: Mapping[str, bytes]) -> dict[str, Any]:
    model = PUBLISHED[name]
    schema = schema_of(model)
    schema.pop("$schema")
    number = "" if model.schema_number == 1 else str(model.schema_number)  # the parts of another version are other schemas
    parts = schema.pop("$defs", {})
    renamed = {f"#/$defs/{part}": f"#/components/schemas/{part}{number}" for part in parts}
    for part, body in parts.items():
        here = schemas.setdefault(f"{part}{number}", _with_refs(body, renamed))
        assert here == _with_refs(body, renamed), f"two schemas are called {part}"
    schemas.setdefault(model.__name__, _with_refs(schema, renamed))
    message: dict[str, Any] = {
        "name": name,
        "title": str(schema["properties"]["schema"]["const"]),
        "summary": " ".join(str(schema.get("description", "")).split()),
        "contentType": "application/json",
        "payload": {"$ref": f"#/components/schemas/{model.__name__}"},
        "bindings": {"mqtt": {"payloadFormatIndicator": 1, "contentType": "application/json", "bindingVersion": _MQTT}},
    }
    if name == "command-1":
        message["bindings"]["mqtt"]["responseTopic"] = {"type": "string", "description": "Where the answer shall go."}
        message["bindings"]["mqtt"]["correlationData"] = {"type": "string", "description": "Comes back with the answer."}
    if len(example := examples[name]) <= _LEAST_OF_ALL:
        message["examples"] = [{"name": name, "payload": json.loads(example)}]
    return message


def _with_refs(node: Any, renamed: Mapping[str, str]) -> Any:
    if isinstance(node, dict):
        return {key: renamed[value] if key == "$ref" else _with_refs(value, renamed) for key, value in node.items()}
    return [_with_refs(item, renamed) for item in node] if isinstance(node, list) else node


class _Plain(yaml.SafeDumper):
    """YAML without anchors, which readers of AsyncAPI stumble over."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def generated(examples: Mapping[str, bytes]) -> dict[str, str]:
    """Text of every generated file of the contract by its name: the schemas and the AsyncAPI document."""
    head = "# Generated from the models: python -m device.mqtt.asyncapi. docs/mqtt.md says the same for people.\n"
    document = yaml.dump(asyncapi(examples), Dumper=_Plain, sort_keys=False, allow_unicode=True, width=120)
    return {**published_schemas(), ASYNCAPI: head + document}


def examples_in(folder: Path) -> dict[str, bytes]:
    """The examples by the names of their schemas. OSError where one is missing."""
    return {name: (folder / f"{name}{EXAMPLE}").read_bytes() for name in PUBLISHED}


def main(docs: Path = _DOCS, contract: Path = CONTRACT) -> None:
    """Examples are kept in `docs`; all else is written."""
    examples = examples_in(docs)
    contract.mkdir(parents=True, exist_ok=True)
    for name, content in examples.items():
        (contract / f"{name}{EXAMPLE}").write_bytes(content)
    for name, text in generated(examples).items():
        for folder in (docs, contract):
            (folder / name).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
