"""The published JSON Schemas, generated from the models: `python -m device.mqtt.schema docs/schema` writes them anew."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from device.mqtt.device_status import DeviceStatus
from device.mqtt.message import Payload
from device.mqtt.payloads import SlideSummary
from device.mqtt.receipt import Receipt

_BASE = "https://json-schema.org/draft/2020-12/schema"
_PUBLISHED: dict[str, type[Payload]] = {"summary-1.json": SlideSummary, "status-1.json": DeviceStatus, "receipt-1.json": Receipt}


def published_schemas() -> dict[str, str]:
    """File name to the schema's text, as a receiver needs it: valid for every form of the message, older and newer."""
    out = {}
    for name, model in _PUBLISHED.items():
        schema = {"$schema": _BASE, **_open(model.model_json_schema(by_alias=True, mode="validation"))}
        out[name] = json.dumps(schema, indent=2, ensure_ascii=False) + "\n"
    return out


def _open(node: Any) -> Any:
    """`node` as receivers need it: fields that they do not know are allowed, those that every form of the message has are required."""
    if isinstance(node, dict):
        node = {key: _open(value) for key, value in node.items() if not (key == "additionalProperties" and value is False)}
        if isinstance(fields := node.get("properties"), dict):
            node["required"] = [name for name, field in fields.items() if "x-since" not in field]
        return node
    return [_open(item) for item in node] if isinstance(node, list) else node


def main(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in published_schemas().items():
        (folder / name).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "docs/schema"))
