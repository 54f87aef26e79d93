"""Payloads, the published schemas and the way from a slide to its summary."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from pathlib import Path
from uuid import UUID

import numpy as np
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from device.mqtt.device_status import DeviceStatus, read_status
from device.mqtt.message import Line, one_line
from device.mqtt.payloads import PayloadError, SlideSummary, SourceProvenance, read_summary
from device.mqtt.schema import published_schemas
from device.mqtt.summary import build_summary, morphology
from device.settings.broker import BrokerSection
from device.settings.config import CameraBase
from device.slide.doubt import FOREIGN, UNKNOWN_SENSITIVITY
from device.slide.model import Cell, Field, ReviewState, Slide, SlideState
from engines.naming import NamingInfo
from engines.runtime.base import EngineInfo
from engines.taxonomy import LEUKEMIA_ATTRI as TAXONOMY
from tests.support.provenance import REPLAY, SIMULATOR, V4L2, provenance

START = datetime(2025, 6, 3, 9, 14, 2, tzinfo=timezone.utc)
MESSAGE = UUID("6f0b1c7e-3c9f-4a59-9a54-1f3c2f3f7f10")
ENGINE = EngineInfo("attridet-n", "1.0.0", "ab" * 32, "onnxruntime CPU", "fp32", (640, 640), TAXONOMY, 0.25)


def words(**chosen: str) -> np.ndarray:
    """An attribute vector whose most probable values are `chosen` (key to word); the others are unknown."""
    vector = np.full(TAXONOMY.n_logits, np.nan, np.float32)
    for attribute, group in zip(TAXONOMY.attributes, TAXONOMY.groups, strict=True):
        if attribute.key in chosen:
            vector[group] = [0.9 if value == chosen[attribute.key] else 0.1 for value in attribute.values]
    return vector


def cell(name: str, score: float = 0.8, **chosen: str) -> Cell:
    return Cell(TAXONOMY.classes.index(name), score, score >= 0.4, (0.0, 0.0, 9.0, 9.0), words(**chosen))


def slide(*cells: Cell, state: SlideState = SlideState.REVIEW, reason: str = "") -> Slide:
    halves = (cells[::2], cells[1::2])
    fields = tuple(Field(i + 1, START, "field.png", (1920, 1080), 0.8, half) for i, half in enumerate(halves))
    return Slide("s-1", START, state, START + timedelta(seconds=90), reason, fields, fields_undone=1)


def summary(of: Slide, **changed: object) -> SlideSummary:
    made = provenance(ENGINE, source=SourceProvenance.of(SIMULATOR, "simulator"), device_id="clinic-7", boot_id="boot")
    return build_summary(of, made, message_id=MESSAGE, target_cells=200, **changed)  # type: ignore[arg-type]


MIXED = slide(
    cell("Myeloblast", cell_size="large"),
    cell("Myeloblast", cell_size="large"),
    cell("Myeloblast", cell_size="small"),
    cell("Lymphocyte", cell_size="small", cytoplasm="scanty"),
    cell("Lymphocyte", cell_size="large"),
    cell("Neutrophil", score=0.3),
    cell("None"),
)


def test_counts_of_the_slide_become_counts_of_the_summary() -> None:
    sent = summary(MIXED)
    counts = {row.name: (row.count, row.percent) for row in sent.differential if row.count}
    assert counts == {"Myeloblast": (3, 50.0), "Lymphocyte": (2, 33.33)}
    assert (sent.white_cells, sent.artefacts, sent.fields_counted, sent.fields_undone) == (6, 1, 2, 1)
    assert (sent.unidentified.count, sent.unidentified.percent) == (1, 16.67)
    assert (sent.blasts.count, sent.blasts.percent, sent.blasts.preliminary) == (3, 50.0, True)
    assert len(sent.differential) == len(TAXONOMY.classes) - 1  # all types of the taxonomy, also those not seen; not the artefact
    assert sent.review_state == "unreviewed"
    assert sent.notice == "For review, not a diagnosis."
    assert sent.source.simulated


def test_morphology_gives_shares_and_no_majority_on_a_tie() -> None:
    blast, lymphocyte = morphology(MIXED, TAXONOMY)
    assert (blast.name, blast.cells) == ("Myeloblast", 3)
    size = blast.attributes[0]
    assert (size.key, size.known, size.majority) == ("cell_size", 3, "large")
    assert [(s.value, s.count, s.percent) for s in size.shares] == [("small", 1, 33.33), ("medium", 0, 0.0), ("large", 2, 66.67)]
    assert lymphocyte.attributes[0].majority is None  # one small, one large
    cytoplasm = lymphocyte.attributes[4]
    assert (cytoplasm.key, cytoplasm.known, cytoplasm.majority) == ("cytoplasm", 1, "scanty")
    assert lymphocyte.attributes[1].known == 0
    assert all(share.percent == 0.0 for share in lymphocyte.attributes[1].shares)


def test_an_empty_slide_has_a_summary_too() -> None:
    sent = summary(slide(state=SlideState.ABORTED, reason="power\nbutton\x1b[2J"))
    assert (sent.white_cells, sent.blasts.percent, sent.morphology) == (0, 0.0, ())
    assert sent.abort_reason == "power button?[2J"


def test_an_aborted_slide_always_gives_a_reason() -> None:
    assert summary(slide(state=SlideState.ABORTED)).abort_reason == "no reason given"
    assert summary(replace(MIXED, abort_reason="left over")).abort_reason == ""


def test_an_open_slide_has_no_summary() -> None:
    with pytest.raises(ValueError, match="s-1 is counting"):
        summary(replace(MIXED, state=SlideState.COUNTING))
    with pytest.raises(ValueError, match="finished or an aborted"):
        summary(replace(MIXED, finished_at=None))


def test_a_reviewed_slide_says_so() -> None:
    assert summary(replace(MIXED, review_state=ReviewState.REVIEWED, revision=1)).review_state == "reviewed"
    with pytest.raises(ValueError, match="revision from 1 on"):
        summary(replace(MIXED, review_state=ReviewState.REVIEWED))


def test_what_is_wrong_is_said_without_the_specimens_number() -> None:
    whole = summary(MIXED).model_dump(by_alias=True) | {"specimen": "H26-0471", "white_cells": 7}
    with pytest.raises(ValidationError, match="white_cells is 7") as caught:
        SlideSummary(**whole)
    assert "H26-0471" not in str(caught.value)


def test_senders_may_not_add_fields() -> None:
    with pytest.raises(ValidationError, match="patient"):
        SlideSummary(**summary(MIXED).model_dump(by_alias=True), patient="x")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"white_cells": 7}, "white_cells is 7, but differential and unidentified add up to 6"),
        ({"blasts": {"count": 1, "percent": 16.67}}, "blasts.count is 1"),
        ({"abort_reason": "why"}, "abort_reason belongs to an aborted slide"),
        ({"schema": "leukoscope.summary/2", "state": "signed"}, "a slide is signed if it was reviewed"),
        ({"schema": "leukoscope.summary/3"}, "schema: Input should be 'leukoscope.summary/1'"),
        ({"message_id": "seven"}, "message_id"),
        ({"started_at": "2025-06-03T09:14:02"}, "started_at"),
        ({"white_cells": "6"}, "white_cells"),
        ({"slide_id": "a\u001b[2Jb"}, "slide_id"),
    ],
)
def test_what_is_wrong_is_named(change: dict[str, object], said: str) -> None:
    document = {**json.loads(summary(MIXED).to_bytes()), **change, "unknown": 1}
    with pytest.raises(PayloadError) as caught:
        read_summary(json.dumps(document).encode())
    assert said in str(caught.value)


@pytest.mark.parametrize("data", [b"", b"\xff\xfe", b"[]", b"7", b"null", b"{}", b'{"white_cells": NaN}', b"[" * 100_000])
def test_what_is_no_summary_is_refused(data: bytes) -> None:
    with pytest.raises(PayloadError):
        read_summary(data)


VALID = json.loads(summary(MIXED).to_bytes())


@settings(max_examples=60)
@given(st.sampled_from(sorted(VALID)), st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.sampled_from([[], {}]))
def test_a_field_gone_wrong_raises_nothing_but_a_payload_error(field: str, value: object) -> None:
    try:
        received = read_summary(json.dumps({**VALID, field: value}).encode())
    except PayloadError as error:
        assert "\n" not in str(error)
    else:
        again = json.loads(received.payload.to_bytes()).get(field)  # a later field that is null is one that is missing
        assert again == value or str(again).startswith("19")  # pydantic takes a number in a string for seconds since 1970


def test_receivers_ignore_what_they_do_not_know_and_name_it() -> None:
    sent = summary(MIXED)
    document = json.loads(sent.to_bytes())
    document["haemoglobin"] = {"g_per_l": 131}
    document["differential"][1]["lineage"] = "lymphoid"
    document["model"]["card"] = "x"
    received = read_summary(json.dumps(document).encode())
    assert received.payload == sent
    assert sorted(received.ignored) == ["differential.1.lineage", "haemoglobin", "model.card"]


def test_round_trip() -> None:
    sent = summary(MIXED)
    received = read_summary(sent.to_bytes())
    assert received.payload == sent
    assert received.ignored == ()
    assert json.loads(sent.to_bytes())["schema"] == "leukoscope.summary/1"


def test_what_must_not_leave_the_device_does_not() -> None:
    def name(camera: CameraBase, text: str) -> str:
        return SourceProvenance.of(camera, text).name

    assert name(REPLAY, "/home/clinic/Jane Doe/film 3/") == "film 3"
    assert name(REPLAY, "rtsp://admin:secret@10.0.0.7:554/stream?token=abc") == "rtsp://10.0.0.7:554/stream"
    assert name(V4L2, "/dev/v4l/by-id/usb-ZZCAT-index0") == "/dev/v4l/by-id/usb-ZZCAT-index0"
    assert not SourceProvenance.of(V4L2, "x").simulated


@settings(max_examples=60)
@given(st.text())
def test_one_line_is_always_accepted(text: str) -> None:
    line = one_line(text)
    assert TypeAdapter(Line).validate_python(line) == line
    assert one_line(line) == line


def test_one_line_takes_what_is_no_unicode() -> None:
    assert one_line("film \udcff.png") == "film ?.png"


# ---- status


def status(repository: Path) -> DeviceStatus:
    return read_status((repository / "docs/schema/status-1.example.json").read_bytes()).payload


def test_last_will_and_farewell(repository: Path) -> None:
    online = status(repository)
    will, farewell = online.last_will(START), online.stopped(START)
    assert (will.state, will.offline_reason, will.since, will.slide) == ("offline", "lost", None, None)
    assert (farewell.state, farewell.offline_reason, farewell.since) == ("offline", "stopped", START)
    for each in (will, farewell):
        assert read_status(each.to_bytes()).payload == each


def test_only_running_numbers_are_nothing_new(repository: Path) -> None:
    one = status(repository)
    later = one.model_copy(update={"sent_at": START + timedelta(hours=1), "uptime_s": 5000.0, "outbox_pending": 3, "since": None})
    assert later.says_the_same_as(one)
    assert not later.says_the_same_as(None)
    worse = one.camera.model_copy(update={"level": "fail"})
    assert not later.model_copy(update={"camera": worse}).says_the_same_as(one)


# ---- what is published


def test_schemas_are_open_to_new_fields() -> None:
    text = published_schemas()["summary-1.json"]
    assert "additionalProperties" not in text
    schema = json.loads(text)
    assert {"schema", "message_id", "notice", "review_state", "skipped_pictures"} <= set(schema["required"])
    assert schema["properties"]["schema"]["const"] == "leukoscope.summary/1"


def test_published_examples_are_valid(repository: Path) -> None:
    example = read_summary((repository / "docs/schema/summary-1.example.json").read_bytes())
    assert example.ignored == ()
    assert example.payload.white_cells == 190
    assert status(repository).device_id == example.payload.device_id


def test_the_guide_tells_what_is(repository: Path) -> None:
    guide = (repository / "docs/mqtt.md").read_text(encoding="utf-8")
    blocks = [block.split("```")[0] for block in guide.split("```json\n")[1:]]
    (shown,) = (one for one in map(json.loads, blocks) if one["schema"] == "leukoscope.summary/1")
    assert list(shown) == list(VALID)  # every field of a summary, in its order
    broker = (repository / "docs/broker.md").read_text(encoding="utf-8")
    device = yaml.safe_load(broker.split("```yaml\n")[1].split("```")[0])
    assert BrokerSection.model_validate(device["broker"]).tls


LAYER = NamingInfo("open", "1", "cd" * 32, site=True, said="Of 100 blasts on such films it told 88.")


def named(name: str, group: str, identified: bool = False) -> Cell:
    return replace(
        cell(name, cell_size="large"), identified=identified, group=group, probability=0.8, blast_probability=0.9, distance=0.4
    )


def summary_named(of: Slide) -> SlideSummary:
    engine = replace(ENGINE, naming=LAYER)
    made = provenance(engine, source=SourceProvenance.of(SIMULATOR, "simulator"), device_id="clinic-7", boot_id="boot")
    return build_summary(of, made, message_id=MESSAGE, target_cells=200)


def test_groups_are_rows_and_their_blasts_are_blasts() -> None:
    cells = [named("Myeloblast", "blasts", True), named("Monoblast", "blasts"), named("Neutrophil", "others"), named("Neutrophil", "")]
    sent = summary_named(slide(*cells, state=SlideState.ABORTED, reason="stopped"))
    assert [(row.group, row.count, row.blast) for row in sent.differential if row.count] == [
        ("", 1, True),
        ("blasts", 1, True),
        ("others", 1, False),
    ]
    assert (sent.white_cells, sent.unidentified.count, sent.blasts.count, sent.blasts.uncertain_kind) == (4, 1, 2, 1)
    assert (sent.blasts.low_percent, sent.blasts.high_percent) == (6.76, 93.24)  # 2 of 4, Clopper and Pearson
    assert [kind.name for kind in sent.morphology] == [
        "Myeloblast",
        "Blast or equivalent, kind uncertain",
        "Other white cell, kind uncertain",
    ]
    assert sent.film == "undecided" and sent.fields_first_look == 0
    assert sent.model.naming is not None
    assert sent.model.naming.model_dump() == {"name": "open", "version": "1", "digest": "cd" * 32, "site": True}


def test_of_a_foreign_film_only_groups_are_sent() -> None:
    sent = summary_named(replace(slide(*[named("Neutrophil", "others", True)] * 10), foreign=True))
    assert sent.film == "foreign" and FOREIGN in sent.description
    assert {row.name for row in sent.differential if row.count} == {"Other white cell, kind uncertain"}
    assert (sent.blasts.count, sent.blasts.high_percent) == (0, 25.89)  # 1 - .05 ** (1 / 10)
    assert sent.blasts.sensitivity == UNKNOWN_SENSITIVITY  # what the layer's card says holds for known films
    known = summary_named(replace(slide(*[named("Neutrophil", "others", True)] * 10), foreign=False))
    assert known.film == "known" and known.blasts.sensitivity == LAYER.said


def test_without_a_naming_layer_there_are_no_rows_of_groups() -> None:
    sent = summary(MIXED)
    assert len(sent.differential) == len(TAXONOMY.classes) - 1
    assert sent.model.naming is not None and sent.model.naming.name == ""
