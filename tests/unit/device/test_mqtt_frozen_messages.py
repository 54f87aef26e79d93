"""Every message that any version sent is read, shown and given back as it was; what a version to come adds is ignored and named."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError
from rich.console import Console

from device.mqtt.client import Incoming
from device.mqtt.device_status import read_status
from device.mqtt.payloads import PayloadError, SlideSummary, read_summary
from device.mqtt.topics import ANY_DEVICE, Topics
from device.supervisor.watch import _Inbox

MESSAGES = Path(__file__).parents[2] / "messages"
FROZEN = sorted(MESSAGES.glob("*/*.json"))


def kind(path: Path) -> str:
    return path.stem.split("-")[1]


def document(path: Path) -> dict[str, Any]:
    return dict(json.loads(path.read_bytes()))


def shown(path: Path) -> str:
    """What `leukoscope watch` prints of the message as it comes from the broker."""
    console = Console(width=160)
    topic = f"leukoscope/{document(path)['device_id']}/{kind(path)}"
    with console.capture() as captured:
        _Inbox(Topics(ANY_DEVICE), console).take(Incoming(topic, path.read_bytes()))
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
    } <= kinds
    newest = max((path for path in FROZEN if kind(path) == "summary"), key=lambda path: path.parent.name)
    assert SlideSummary.later_fields() <= document(newest).keys(), "freeze a summary of the new form (tests/messages/README.md)"
    revisions = {document(path).get("revision") for path in FROZEN if kind(path) == "summary"}
    assert {0, 1} <= revisions, "of form 1.3 on there are signed slides"
    states = {document(path).get("offline_reason") for path in FROZEN if kind(path) == "status"}
    assert states == {None, "stopped", "lost"}


@pytest.mark.parametrize("path", FROZEN, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_every_message_ever_sent_is_read_shown_and_given_back_as_it_was(path: Path, repository: Path) -> None:
    data = path.read_bytes()
    received = read_summary(data) if kind(path) == "summary" else read_status(data)
    assert received.ignored == ()
    again = json.loads(received.payload.to_bytes())
    assert again == document(path)
    schema = json.loads((repository / f"docs/schema/{kind(path)}-1.json").read_bytes())
    assert set(schema["required"]) <= document(path).keys() <= schema["properties"].keys()
    printed = shown(path)
    assert "not understood" not in printed
    if isinstance(received.payload, SlideSummary):
        assert f"{received.payload.white_cells} of {received.payload.target_cells} white cells" in printed
        assert f"source {received.payload.source.kind}" in printed
    else:
        assert received.payload.state.upper() in printed


@pytest.mark.parametrize("path", FROZEN, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_a_field_of_a_version_to_come_is_ignored_and_named(path: Path) -> None:
    newer = {**document(path), "haematocrit": {"percent": 41.5}}
    read = read_summary if kind(path) == "summary" else read_status
    received = read(json.dumps(newer).encode())
    assert received.ignored == ("haematocrit",)
    assert json.loads(received.payload.to_bytes()) == document(path)


@pytest.mark.parametrize("path", FROZEN, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_a_newer_schema_number_is_refused(path: Path) -> None:
    newer = {**document(path), "schema": f"leukoscope.{kind(path)}/2"}
    with pytest.raises(PayloadError, match="schema: Input should be"):
        (read_summary if kind(path) == "summary" else read_status)(json.dumps(newer).encode())


def test_what_is_sent_has_every_field_however_late_it_came() -> None:
    whole = json.loads((MESSAGES / "1.0" / "63eae79-summary-example.json").read_bytes())
    assert SlideSummary.later_fields()
    with pytest.raises(ValidationError, match="is required in what is sent"):
        SlideSummary.model_validate_json(json.dumps(whole))
