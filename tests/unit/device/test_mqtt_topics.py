"""Topic names and the receipt: what may stand in them, and how they are read back."""

from __future__ import annotations

import json
from datetime import datetime, timezone
from uuid import uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from device.mqtt.message import PayloadError
from device.mqtt.receipt import MAX_IDS, Receipt, read_receipt, receipts
from device.mqtt.topics import COMMANDS, FROM_DEVICE, Topics
from device.settings.config import Config

NOW = datetime(2026, 11, 30, 9, 0, tzinfo=timezone.utc)


def test_topics() -> None:
    topics = Topics("clinic-7")
    assert (topics.summary, topics.status) == ("leukoscope/clinic-7/summary", "leukoscope/clinic-7/status")
    assert (topics.review, topics.event) == ("leukoscope/clinic-7/review", "leukoscope/clinic-7/event")
    assert (topics.health, topics.receipt) == ("leukoscope/clinic-7/health", "leukoscope/clinic-7/receipt")
    assert topics.cmd("resend") == "leukoscope/clinic-7/cmd/resend"
    assert (topics.cmd_any, topics.cmd_answer) == ("leukoscope/clinic-7/cmd/+", "leukoscope/clinic-7/cmd/answer")
    everybody = Topics("+", "ward/lab")
    assert everybody.summary == "ward/lab/+/summary"
    for kind in (*FROM_DEVICE, "receipt", *(f"cmd/{name}" for name in COMMANDS)):
        topic = f"ward/lab/box_2/{kind}"
        assert (everybody.device_of(topic), everybody.kind_of(topic)) == ("box_2", kind)
    for other in _OTHERS:
        assert (everybody.device_of(other), everybody.kind_of(other)) == ("", "")


_OTHERS = ("ward/lab/box_2/other", "lab/box_2/status", "ward/lab/a/b/status", "ward/lab/+/status", "status", "", "ward/lab//status",
           "ward/lab/a/cmd", "ward/lab/a/cmd/", "ward/lab/a/cmd/+", "ward/lab/a/cmd/x/y", "ward/lab/a/b/cmd/resend",
           "ward/lab/a/status\n")  # fmt: skip


@given(st.text())
def test_no_topic_raises(topic: str) -> None:
    assert Topics("+").device_of(topic) == "" or topic.startswith("leukoscope/")


@pytest.mark.parametrize("kind", ["other", "cmd", "cmd/+", "#", ""])
def test_a_kind_that_nobody_knows_is_refused(kind: str) -> None:
    with pytest.raises(ValueError, match="no topic"):
        Topics("a").of(kind)
    with pytest.raises(ValueError, match="no command"):
        Topics("a").cmd(kind)


@pytest.mark.parametrize("device", ["", "a/b", "#", "a+", "Jane Doe", "x" * 65, "-a", "ä", "a\n"])
def test_a_device_id_that_cannot_be_a_topic_is_refused(device: str) -> None:
    with pytest.raises(ValueError, match="device id"):
        Topics(device)
    with pytest.raises(ValidationError):
        Config.model_validate({"camera": {"kind": "simulator"}, "device": {"id": device}})


@pytest.mark.parametrize("root", ["", "/a", "a/", "a/#", "+", "$SYS", "a\nb", "a\0", "\udcff", "x" * 257, "é" * 129, "a/" * 16 + "a"])
def test_a_root_that_cannot_be_a_topic_is_refused(root: str) -> None:
    with pytest.raises(ValueError, match="topic root") as caught:
        Topics("a", root)
    assert len(str(caught.value)) < 600


def test_the_longest_topic_is_short_enough_for_every_broker() -> None:
    longest = Topics("d" * 64, "é" * 128).cmd("identify")
    assert len(longest.encode()) < 400


def test_a_receipt_comes_back_as_it_was() -> None:
    ids = [uuid4() for _ in range(3)]
    (sent,) = receipts("clinic-7", "boss.ward-1", ids, NOW)
    document = json.loads(sent.to_bytes())
    assert list(document) == ["schema", "device_id", "receiver", "message_ids", "received_at"]
    assert document["schema"] == "leukoscope.receipt/1" and document["message_ids"] == [str(each) for each in ids]
    received = read_receipt(sent.to_bytes())
    assert received.payload == sent and received.payload.message_ids == tuple(ids)


def test_many_ids_are_several_receipts_and_none_is_none() -> None:
    ids = [uuid4() for _ in range(MAX_IDS + 1)]
    parts = receipts("clinic-7", "boss", ids, NOW)
    assert [len(part.message_ids) for part in parts] == [MAX_IDS, 1]
    assert [each for part in parts for each in part.message_ids] == ids
    assert receipts("clinic-7", "boss", [], NOW) == []


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"receiver": "-boss"}, "receiver"),
        ({"receiver": "b" * 65}, "receiver"),
        ({"receiver": "boss\n"}, "receiver"),
        ({"message_ids": []}, "message_ids"),
        ({"message_ids": ["seven"]}, "message_ids.0"),
        ({"message_ids": [str(uuid4())] * (MAX_IDS + 1)}, "message_ids"),
        ({"received_at": "2026-11-30T09:00:00"}, "received_at"),
        ({"schema": "leukoscope.receipt/2"}, "schema"),
        ({"device_id": "a/b"}, "device_id"),
    ],
)
def test_what_is_wrong_in_a_receipt_is_named(change: dict[str, object], said: str) -> None:
    good = Receipt(device_id="clinic-7", receiver="boss", message_ids=(uuid4(),), received_at=NOW)
    with pytest.raises(PayloadError, match=said):
        read_receipt(json.dumps({**json.loads(good.to_bytes()), **change}).encode())
