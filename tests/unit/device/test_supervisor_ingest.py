"""Messages into the supervisor's tables: each once, of the right device, newest revision shown, gaps noticed, bad ones put aside."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, func, select, text, update
from sqlalchemy.exc import IntegrityError
from ward import MESSAGES, NOW, example, new_database, stored, summary, ward

from device.supervisor import queries
from device.supervisor.alarms import note_silent
from device.supervisor.database import migrate, open_database, reading, writing
from device.supervisor.rows import Filters
from device.supervisor.tables import Device, Note, Rejected, Slide, Summary

TOPIC = "leukoscope/clinic-7/summary"


@pytest.fixture
def database(tmp_path: Path) -> Engine:
    return new_database(tmp_path / "supervisor.sqlite")


def count(engine: Engine, table: type[Any]) -> int:
    with reading(engine) as session:
        return session.scalar(select(func.count()).select_from(table)) or 0


def why(engine: Engine) -> str:
    with reading(engine) as session:
        return queries.rejected(session)[0].why


RECEIVED = ("summary", "review", "event", "status", "health")
FORMS = sorted(path.name for path in MESSAGES.iterdir() if path.is_dir())


@pytest.mark.parametrize("form", FORMS)
def test_every_message_ever_sent_is_stored_once(database: Engine, form: str) -> None:
    paths = [path for path in sorted((MESSAGES / form).glob("*.json")) if path.stem.split("-")[1] in RECEIVED]
    for path in paths * 2:
        taken = stored(
            database, f"leukoscope/{json.loads(path.read_bytes())['device_id']}/{path.stem.split('-')[1]}", path.read_bytes()
        )
        assert not taken.why
        assert bool(taken.message_id) == (taken.kind in ("summary", "review", "event")), "receipts for what must not be lost"
    kinds = [path.stem.split("-")[1] for path in paths]
    assert count(database, Summary) == kinds.count("summary")
    assert count(database, Note) == kinds.count("review") + kinds.count("event")
    with reading(database) as session:
        for row in queries.slides(session, Filters()).rows:
            whole = queries.slide(session, row.device_id, row.slide_id)
            assert whole is not None
            assert whole.summary.white_cells == row.white_cells


def test_reviews_events_and_health_are_told_of_slide_and_device(database: Engine) -> None:
    stored(database, TOPIC, {**example(), "device_id": "clinic-7"})
    slide_id = example()["slide_id"]
    for kind in ("event", "review", "health"):
        document = {**example(kind), "device_id": "clinic-7"}
        stored(database, f"leukoscope/clinic-7/{kind}", document | ({} if kind == "health" else {"slide_id": slide_id}))
    with reading(database) as session:
        whole = queries.slide(session, "clinic-7", slide_id)
        assert whole is not None
        assert {row.kind for row in whole.history} >= {"summary", "event", "review"}
        assert example("event")["text"] in {row.words for row in whole.history}
        assert {row.kind for row in queries.device_history(session, "clinic-7")} >= {"event", "review"}
        assert [point.outbox for point in queries.health(session, "clinic-7", NOW - timedelta(hours=1))] == [example("health")["spool"]]


def test_the_highest_revision_is_shown_in_whatever_order_they_come(database: Engine) -> None:
    review = {**example()["review"], "signed_at": "2025-06-03T10:00:00Z"}
    for revision, state in ((2, "reviewed"), (0, "unreviewed"), (1, "reviewed")):
        document = summary("clinic-7", "s1", sequence=revision + 1, revision=revision, review_state=state)
        stored(database, TOPIC, document | ({"review": review} if revision else {}))
    with reading(database) as session:
        whole = queries.slide(session, "clinic-7", "s1")
        assert whole is not None
        assert (whole.row.revision, whole.row.review_state) == (2, "reviewed")
        assert [row.revision for row in whole.revisions] == [0, 1, 2]
        first = queries.slide(session, "clinic-7", "s1", revision=0)
        assert first is not None
        assert (first.row.revision, first.newest) == (0, False)
        assert queries.slide(session, "clinic-7", "s1", revision=9) is None


def test_a_missing_number_is_a_gap_until_it_comes(database: Engine) -> None:
    for number in (1, 2, 6):
        stored(database, TOPIC, summary("clinic-7", f"s{number}", sequence=number))
    with reading(database) as session:
        assert [(gap.first, gap.last) for gap in queries.open_gaps(session)] == [(3, 5)]
    stored(database, TOPIC, summary("clinic-7", "s4", sequence=4))
    with reading(database) as session:
        assert sorted((gap.first, gap.last) for gap in queries.open_gaps(session)) == [(3, 3), (5, 5)]
        assert queries.devices(session)[0].gaps == 2
    for number in (3, 5):
        stored(database, TOPIC, summary("clinic-7", f"s{number}", sequence=number))
    with reading(database) as session:
        assert queries.open_gaps(session) == []


def test_a_device_new_here_lacks_nothing_of_before_and_a_new_record_of_a_known_one_begins_at_1(database: Engine) -> None:
    stored(database, TOPIC, summary("clinic-7", "s40", sequence=40))
    stored(database, TOPIC, summary("clinic-7", "s38", sequence=38))
    with reading(database) as session:
        assert queries.open_gaps(session) == []
    stored(database, TOPIC, summary("clinic-7", "t3", sequence=3, stream="another record"))
    with reading(database) as session:
        assert [(gap.stream, gap.first, gap.last) for gap in queries.open_gaps(session)] == [("another record", 1, 2)]


def changed(**changes: Any) -> bytes:
    return json.dumps({**summary("clinic-7", "s1"), **changes}).encode()


HOSTILE = {
    "empty": b"",
    "no JSON": b"\x00\xff\xfe{",
    "HTML": b"<script>alert(1)</script>",
    "a list": b"[]",
    "deep": b"[" * 100_000,
    "deep objects": b'{"a":' * 50_000,
    "huge": b'{"a": "' + b"x" * (5 << 20) + b'"}',
    "another device": changed(device_id="clinic-8"),
    "unknown schema": changed(schema="leukoscope.summary/9"),
    "NaN": json.dumps({**summary("clinic-7", "s"), "duration_s": float("nan")}).encode(),
    "negative": changed(white_cells=-1),
    "does not add up": changed(white_cells=1),
    "text for a number": changed(white_cells="190"),
    "beyond 64 bit": changed(sequence=10**40),
    "a number of 400 digits": changed(target_cells=10**400),
    "control characters": changed(slide_id="a\x1b[2Jb"),
    "newline": changed(slide_id="a\nb"),
    "NUL": changed(slide_id="a\x00b"),
    "lone surrogate": changed(slide_id="\ud800"),
    "path upwards": changed(slide_id="../../etc/passwd"),
    "dots": changed(slide_id=".."),
    "long id": changed(slide_id="s" * 5000),
    "blank id": changed(slide_id="  "),
    "long stream": changed(stream="s" * 5000),
    "time without zone": changed(finished_at="2025-06-03T09:17:43"),
    "time out of range": changed(finished_at="9999-12-31T23:59:59-23:59"),
}


@pytest.mark.parametrize("payload", HOSTILE.values(), ids=HOSTILE)
def test_what_is_no_good_is_put_aside_with_why_and_the_next_one_goes_on(database: Engine, payload: bytes) -> None:
    taken = stored(database, TOPIC, payload)
    assert taken.why
    assert not taken.message_id, "no receipt for what was not taken"
    assert (count(database, Summary), count(database, Rejected)) == (0, 1)
    assert why(database).isprintable()
    assert stored(database, TOPIC, summary("clinic-7", "s2")).new


@pytest.mark.parametrize(
    "topic", ["leukoscope/a b/summary", "other/clinic-7/summary", "leukoscope/clinic-7/summary/x", "leukoscope/\x1b[2J/status"]
)
def test_a_topic_that_is_no_devices_is_put_aside(database: Engine, topic: str) -> None:
    assert stored(database, topic, summary("clinic-7", "s1")).why
    with reading(database) as session:
        assert queries.rejected(session)[0].topic.isprintable()


def test_one_device_cannot_push_out_anothers_message_by_its_id(database: Engine) -> None:
    first = summary("clinic-7", "s1")
    assert stored(database, "leukoscope/clinic-8/summary", {**summary("clinic-8", "s1"), "message_id": first["message_id"]}).new
    assert stored(database, TOPIC, first).new
    other = stored(database, TOPIC, {**summary("clinic-7", "s9"), "message_id": first["message_id"]})
    assert "other contents" in other.why
    assert count(database, Slide) == 2


def test_a_device_is_silent_by_its_own_last_word_not_by_what_the_broker_kept(database: Engine) -> None:
    status = {**example("status"), "device_id": "clinic-7"}
    stored(database, "leukoscope/clinic-7/status", status, NOW)
    stored(database, "leukoscope/clinic-7/status", status, NOW + timedelta(minutes=5), retained=True)

    def fell_silent(after: timedelta) -> list[str]:
        with writing(database) as session:
            return note_silent(session, NOW + after)

    assert fell_silent(timedelta(minutes=2)) == []
    assert fell_silent(timedelta(minutes=5)) == ["clinic-7"]
    assert fell_silent(timedelta(minutes=6)) == [], "told once"
    with reading(database) as session:
        row = queries.devices(session)[0]
        assert (row.silent, row.silent_since) == (True, NOW)
    stored(database, "leukoscope/clinic-7/status", status, NOW + timedelta(minutes=7))
    with reading(database) as session:
        assert not queries.devices(session)[0].silent
        history = queries.device_history(session, "clinic-7")
    assert [entry.kind for entry in history] == ["heard", "silent", "online"], "what stays the same is written once"


def test_a_status_that_another_version_kept_does_not_shut_out_the_next_one(database: Engine) -> None:
    status = {**example("status"), "device_id": "clinic-7"}
    stored(database, "leukoscope/clinic-7/status", status)
    with writing(database) as session:
        session.execute(update(Device).values(status=b'{"schema":"leukoscope.status/9"}'))
    with reading(database) as session:
        assert queries.devices(session)[0].status is None
    assert not stored(database, "leukoscope/clinic-7/status", status).why
    with reading(database) as session:
        kept = queries.devices(session)[0].status
        assert kept is not None and kept.device_id == "clinic-7"


def test_filters_find_what_they_say(database: Engine) -> None:
    ward(database, 40)
    with reading(database) as session:
        total = queries.slides(session, Filters()).total
        assert total == 40

        def found(**asked: str) -> int:
            return queries.slides(session, Filters(**asked)).total

        assert found(blasts="yes") + found(blasts="no") == total
        assert found(review="reviewed") + found(review="unreviewed") == total
        assert 0 < found(simulated="no") < total
        assert found(device="clinic-2") == 10
        assert found(q="clinic-2 20261") <= 10
        assert found(q="%") == found(q="_") == 0, "signs of LIKE are letters like others"
        assert found(since="2026-11-29", until="2026-11-29") == found(since="2026-11-29") - found(since="2026-11-30")
        assert found(since="no day") == total
        assert queries.slides(session, Filters(), page=99).page == 1
        assert [row.blasts > 0 for row in queries.waiting(session)][:3] == [True] * 3


def test_the_audit_log_is_only_added_to(database: Engine) -> None:
    with writing(database) as session:
        session.execute(
            text("INSERT INTO audit (at, who, action, object, address, detail) VALUES ('2026-11-30', 'x', 'y', '', '', '')")
        )
    for statement in ("UPDATE audit SET who = 'z'", "DELETE FROM audit"):
        with pytest.raises(IntegrityError, match="only added to"), writing(database) as session:
            session.execute(text(statement))


def test_migrating_twice_changes_nothing_and_tables_are_those_of_the_models(tmp_path: Path) -> None:
    from alembic.autogenerate import compare_metadata
    from alembic.migration import MigrationContext

    from device.supervisor.tables import Base

    engine = new_database(tmp_path / "new.sqlite")
    migrate(engine)
    with engine.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection, opts={"compare_type": True}), Base.metadata) == []
    assert open_database("postgresql://somebody@localhost/leukoscope").dialect.driver == "pg8000"
