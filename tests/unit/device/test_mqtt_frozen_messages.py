"""Every message that any version sent is read, shown and given back as it was; what a version to come adds is ignored and named."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator, FormatChecker
from pydantic import ValidationError
from rich.console import Console

from device.mqtt.client import Incoming
from device.mqtt.commands import read_answer, read_request
from device.mqtt.device_status import DeviceStatus, read_status
from device.mqtt.events import read_event, read_review
from device.mqtt.health import read_health
from device.mqtt.payloads import PayloadError, SlideSummary, SlideSummary2, read_summary
from device.mqtt.receipt import read_receipt
from device.mqtt.schema import PUBLISHED
from device.mqtt.topics import ANY_DEVICE, Topics
from device.supervisor.inbox import Inbox

MESSAGES = Path(__file__).parents[2] / "messages"
FROZEN = sorted(MESSAGES.glob("*/*.json"))
READ = {
    "summary": read_summary,
    "status": read_status,
    "review": read_review,
    "event": read_event,
    "health": read_health,
    "receipt": read_receipt,
    "command": read_request,
    "answer": read_answer,
}


def kind(path: Path) -> str:
    return path.stem.split("-")[1]


def document(path: Path) -> dict[str, Any]:
    return dict(json.loads(path.read_bytes()))


def name_of(path: Path) -> str:
    """Of the message's schema: "summary-1"."""
    return str(document(path)["schema"]).removeprefix("leukoscope.").replace("/", "-")


def again(path: Path, data: bytes) -> dict[str, Any]:
    """What was read of it, as it would be sent; of version 2 in that version."""
    payload = READ[kind(path)](data).payload
    if name_of(path) == "summary-2":
        assert isinstance(payload, SlideSummary)
        payload = SlideSummary2.of(payload)
    return dict(json.loads(payload.to_bytes()))


def shown(path: Path) -> str:
    """What `leukoscope watch` prints of the message as it comes from the broker."""
    console = Console(width=160)
    topic = f"leukoscope/{document(path)['device_id']}/{kind(path)}"
    with console.capture() as captured:
        Inbox(Topics(ANY_DEVICE), console).take(Incoming(topic, path.read_bytes()))
    return " ".join(captured.get().split())


def test_there_is_a_message_of_each_kind_and_form() -> None:
    kinds = {(path.parent.name, kind(path)) for path in FROZEN}
    assert {
        ("1.0", "summary"),
        ("1.0", "status"),
        ("1.1", "summary"),
        ("1.2", "summary"),
        ("1.2", "status"),
        ("1.3", "summary"),
        ("1.3", "status"),
        *(("1.4", kind) for kind in READ),
        ("2.0", "summary"),
    } <= kinds
    assert {name_of(path) for path in FROZEN} == PUBLISHED.keys()
    newest = max((path for path in FROZEN if name_of(path) == "summary-1"), key=lambda path: path.parent.name)
    assert SlideSummary.later_fields() <= document(newest).keys(), "freeze a summary of the new form (tests/messages/README.md)"
    revisions = {document(path).get("revision") for path in FROZEN if kind(path) == "summary"}
    assert {0, 1} <= revisions, "of form 1.3 on there are signed slides"
    states = {document(path).get("offline_reason") for path in FROZEN if kind(path) == "status"}
    assert states == {None, "stopped", "lost"}
    assert {document(path)["state"] for path in FROZEN if name_of(path) == "summary-2"} == {"review", "signed", "aborted"}


@pytest.mark.parametrize("path", FROZEN, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_every_message_ever_sent_is_read_shown_and_given_back_as_it_was(path: Path, repository: Path) -> None:
    data = path.read_bytes()
    received = READ[kind(path)](data)
    assert received.ignored == ()
    given = again(path, data)
    assert given.items() >= document(path).items() if kind(path) == "command" else given == document(path)
    schema = json.loads((repository / f"docs/schema/{name_of(path)}.json").read_bytes())
    assert set(schema["required"]) <= document(path).keys() <= schema["properties"].keys()
    Draft202012Validator(schema, format_checker=FormatChecker()).validate(document(path))
    if isinstance(received.payload, SlideSummary):
        printed = shown(path)
        assert "not understood" not in printed
        assert f"{received.payload.white_cells} of {received.payload.target_cells} white cells" in printed
        assert f"source {received.payload.source.kind}" in printed
    elif isinstance(received.payload, DeviceStatus):
        assert received.payload.state.upper() in shown(path)


@pytest.mark.parametrize("path", FROZEN, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_a_field_of_a_version_to_come_is_ignored_and_named(path: Path) -> None:
    newer = json.dumps({**document(path), "haematocrit": {"percent": 41.5}}).encode()
    assert READ[kind(path)](newer).ignored == ("haematocrit",)
    assert again(path, newer) == again(path, path.read_bytes())


@pytest.mark.parametrize("path", FROZEN, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_a_newer_schema_number_is_refused(path: Path) -> None:
    newer = {**document(path), "schema": f"leukoscope.{kind(path)}/3"}
    with pytest.raises(PayloadError, match="schema: Input should be"):
        READ[kind(path)](json.dumps(newer).encode())


@pytest.mark.parametrize("path", [path for path in FROZEN if name_of(path) == "summary-2"], ids=lambda path: path.stem)
def test_version_2_requires_every_field_of_version_1(path: Path) -> None:
    whole = document(path)
    for name in SlideSummary.later_fields():
        with pytest.raises(PayloadError, match=f"{name} is required"):
            read_summary(json.dumps({key: value for key, value in whole.items() if key != name}).encode())
    assert read_summary(path.read_bytes()).payload.schema_id == "leukoscope.summary/1"


def test_what_is_sent_has_every_field_however_late_it_came() -> None:
    whole = json.loads((MESSAGES / "1.0" / "63eae79-summary-example.json").read_bytes())
    assert SlideSummary.later_fields()
    with pytest.raises(ValidationError, match="is required in what is sent"):
        SlideSummary.model_validate_json(json.dumps(whole))
