"""Plain words for what a configuration key takes and for how a value was misread; finding faults lives in `config_file`."""

from __future__ import annotations

import difflib
import re
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

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
    sections = {name: info.annotation for name, info in Config.model_fields.items()}
    models: dict[str, tuple[type[BaseModel], ...]] = {"camera": tuple(CAMERAS.values())}
    models |= {name: (kind,) for name, kind in sections.items() if isinstance(kind, type) and issubclass(kind, BaseModel)}
    return models


def expected(model: type[BaseModel], key: str) -> str:
    """What `key` takes, in plain words: "a whole number from 1 to 65535"."""
    if key == "kind" and model in CAMERAS.values():
        return f"one of {', '.join(CAMERAS)}"
    field = model.model_fields.get(key)
    if field is None:
        return "a value"
    kind, limits, words = _unwrapped(field)
    if get_origin(kind) is Literal:
        words = words or f"one of {', '.join(str(choice) for choice in get_args(kind))}"
    by_type = {
        bool: "true or false",
        int: f"a whole number{_range(limits)}",
        float: f"a number{_range(limits)}",
        Path: "a path",
        str: f"text{_length(limits)}",
    }
    return words or by_type.get(kind, "a section of keys")


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
    field = model.model_fields.get(key)
    if field is None or place is None or place.raw is None:
        return ""
    if value is None:
        return "" if field.is_required() else "; or remove the line for the default"
    kind, _, _ = _unwrapped(field)
    choices: list[object] = list(get_args(kind)) if get_origin(kind) is Literal else []
    if key == "kind" and model in CAMERAS.values():
        choices = list(CAMERAS)
    if isinstance(value, str):
        if choices or kind is bool:
            return _nearest(value, [str(choice) for choice in choices] or ["true", "false"])
        return _number_hint(value, place) if kind in (int, float) else ""
    text_wanted = kind in (str, Path) or (bool(choices) and all(isinstance(choice, str) for choice in choices))
    if text_wanted and isinstance(value, bool | int | float):
        read_as = str(value).lower() if isinstance(value, bool) else "a number"
        return f"; YAML reads {place.raw} as {read_as}: put text in quotes, '{place.raw}'"
    return f"; write {value:.0f}" if kind is int and isinstance(value, float) and value.is_integer() else ""


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


def _unwrapped(field: FieldInfo) -> tuple[Any, dict[str, Any], str]:
    """The field's type without Optional and Annotated, its limits by name, and its own words if it has any."""
    kind: Any = field.annotation
    metadata, words = [*field.metadata], field.description or ""
    while get_origin(kind) in (Annotated, Union, UnionType):
        if get_origin(kind) is Annotated:
            for extra in kind.__metadata__:
                metadata += extra.metadata if isinstance(extra, FieldInfo) else [extra]
                words = words or (getattr(extra, "description", None) or "")
            kind = get_args(kind)[0]
            continue
        members = [member for member in get_args(kind) if member is not NoneType]
        if len(members) != 1:
            break
        kind = members[0]
    names = ("ge", "gt", "le", "lt", "min_length", "max_length")
    limits = {name: getattr(item, name) for item in metadata for name in names if getattr(item, name, None) is not None}
    return kind, limits, words


def _range(limits: dict[str, Any]) -> str:
    low = f"above {limits['gt']:g}" if "gt" in limits else f"at least {limits['ge']:g}" if "ge" in limits else ""
    high = f"below {limits['lt']:g}" if "lt" in limits else f"at most {limits['le']:.15g}" if "le" in limits else ""
    if low.startswith("at least") and high.startswith("at most"):
        return f" from {limits['ge']:g} to {limits['le']:.15g}"
    both = ", ".join(part for part in (low, high) if part)
    return f" {both}" if both else ""


def _length(limits: dict[str, Any]) -> str:
    low, high = limits.get("min_length"), limits.get("max_length")
    if low is not None and low == high:
        return f" of {low} characters"
    return f" of at most {high} characters" if high is not None else ""
