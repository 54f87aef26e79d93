"""Plain words for what a configuration key takes and for how a value was misread; finding faults lives in `config_file`."""

from __future__ import annotations

import difflib
import re
from typing import Any, get_args

from pydantic import BaseModel

from device.settings.config import CameraSection, Config
from engines.yaml_lines import Place

CAMERAS: dict[str, type[BaseModel]] = {
    get_args(model.model_fields["kind"].annotation)[0]: model for model in get_args(get_args(CameraSection)[0])
}
"""Model of the camera section by its `kind`."""


_CREDENTIALS = re.compile(r"(?<=://)[^/@\s]+(?=@)")


def without_credentials(address: str) -> str:
    """`rtsp://user:secret@host/…` as `rtsp://***@host/…`, for screens, logs and records; other text as it is."""
    return _CREDENTIALS.sub("***", address)


def section_models() -> dict[str, tuple[type[BaseModel], ...]]:
    """The models that a section of the file may have, by the section's key."""
    kinds = {name: info.annotation for name, info in Config.model_fields.items()}
    sections = {name: (kind,) for name, kind in kinds.items() if isinstance(kind, type) and issubclass(kind, BaseModel)}
    return {"camera": tuple(CAMERAS.values()), **sections}


def expected(model: type[BaseModel], key: str) -> str:
    """What `key` takes, in plain words: "a whole number from 1 to 65535"."""
    if key == "kind" and model in CAMERAS.values():
        return f"one of {', '.join(CAMERAS)}"
    if key not in model.model_fields:
        return "a value"
    schema = _schema(model, key)
    if "description" in schema:
        return str(schema["description"])
    if "enum" in schema:
        return f"one of {', '.join(map(str, schema['enum']))}"
    by_type = {
        "boolean": "true or false",
        "integer": f"a whole number{_range(schema)}",
        "number": f"a number{_range(schema)}",
        "string": "a path" if schema.get("format") == "path" else f"text{_length(schema)}",
    }
    return by_type.get(schema.get("type", ""), "a section of keys")


def shown(value: object, place: Place | None = None, *, secret: bool = False) -> str:
    """The value as the person wrote it, shortened; a secret is never repeated."""
    if isinstance(value, dict):
        return "a section of keys"
    if isinstance(value, list):
        return "a list"
    if secret:
        return "a value of another kind"
    if value is None or value == "":
        return "nothing"
    raw = place.raw if place is not None and place.raw is not None else str(value)
    raw = without_credentials(raw.replace("\n", " "))
    raw = raw if len(raw) <= 60 else raw[:57] + "…"
    return f"'{raw}'" if isinstance(value, str) else raw


def misread(model: type[BaseModel], key: str, value: object, place: Place | None) -> str:
    """The text to append to a fault, from "; " on, where a near value or YAML's own reading explains the mistake; else ""."""
    if key not in model.model_fields or place is None or place.raw is None:
        return ""
    if value is None:
        return "" if model.model_fields[key].is_required() else "; or remove the line for the default"
    schema = _schema(model, key)
    kind, choices = schema.get("type"), schema.get("enum", [])
    if key == "kind" and model in CAMERAS.values():
        choices = list(CAMERAS)
    if isinstance(value, str):
        if choices or kind == "boolean":
            return _nearest(value, [str(choice) for choice in choices] or ["true", "false"])
        return _number_hint(value, place) if kind in ("integer", "number") else ""
    if kind == "string" and isinstance(value, bool | int | float):
        read_as = str(value).lower() if isinstance(value, bool) else "a number"
        return f"; YAML reads {place.raw} as {read_as}: put text in quotes, '{place.raw}'"
    return f"; write {value:.0f}" if kind == "integer" and not choices and isinstance(value, float) and value.is_integer() else ""


def _nearest(value: str, choices: list[str]) -> str:
    if value in choices:  # the right digits, in quotes
        return "; write it without quotes"
    folded = {choice.lower(): choice for choice in choices}
    near = difflib.get_close_matches(value.lower(), list(folded), n=1, cutoff=0.5)
    return f"; did you mean '{folded[near[0]]}'?" if near else ""


def _number_hint(value: str, place: Place) -> str:
    if re.fullmatch(r"[-+]?[1-9]?\d*,\d+", value):
        return f"; a decimal point, not a comma: {value.replace(',', '.')}"
    if match := re.fullmatch(r"([-+]?\d+(?:\.\d+)?)\s*(\D+)", value):
        return f"; write the number alone: {match[1]}"
    if re.fullmatch(r"[-+]?\d+(\.\d*)?[eE][-+]?\d+", value):
        return f"; write it out: {float(value):g}"
    if place.plain and re.fullmatch(r"[-+]?0\d+", value):
        return f"; a number does not begin with 0: {int(value)}"
    if re.fullmatch(r"[-+]?\d+(\.\d+)?", value):
        return "; write it without quotes"
    return ""


def _schema(model: type[BaseModel], key: str) -> dict[str, Any]:
    """The key's JSON Schema without its "or null"; pydantic gathers type, limits and words in it."""
    schema: dict[str, Any] = model.model_json_schema()["properties"][key]
    kinds = [kind for kind in schema.get("anyOf", ()) if kind != {"type": "null"}]
    return kinds[0] | schema if len(kinds) == 1 else schema


def _range(schema: dict[str, Any]) -> str:
    if "minimum" in schema and "maximum" in schema:
        return f" from {schema['minimum']:g} to {schema['maximum']:.15g}"
    words = {"exclusiveMinimum": "above", "minimum": "at least", "exclusiveMaximum": "below", "maximum": "at most"}
    limits = ", ".join(f"{word} {schema[limit]:.15g}" for limit, word in words.items() if limit in schema)
    return f" {limits}" if limits else ""


def _length(schema: dict[str, Any]) -> str:
    low, high = schema.get("minLength"), schema.get("maxLength")
    if low is not None and low == high:
        return f" of {low} characters"
    return f" of at most {high} characters" if high is not None else ""
