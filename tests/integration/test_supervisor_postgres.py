"""The supervisor on a real PostgreSQL says what it says on SQLite: tables, every message ever sent, hostile ones, lists, accounts."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from postgres import cluster
from sqlalchemy import Engine, select, text
from sqlalchemy.exc import DBAPIError
from ward import MESSAGES, NOW, new_database, stored, summary, ward

from device.supervisor import accounts, queries
from device.supervisor.database import migrate, open_database, reading, writing
from device.supervisor.rows import Filters
from device.supervisor.tables import Base, Device

pytestmark = pytest.mark.integration
KINDS = ("summary", "review", "event", "status", "health")


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Engine, Engine]]:
    """The same ward on SQLite and on PostgreSQL."""
    with cluster() as running:
        both = new_database(tmp_path_factory.mktemp("both") / "supervisor.sqlite"), open_database(running.url)
        migrate(both[1])
        migrate(both[1])
        for engine in both:
            ward(engine, 40)
            for path in sorted(MESSAGES.glob("1.*/*.json")):
                kind = path.stem.split("-")[1]
                if kind in KINDS:
                    taken = stored(engine, f"leukoscope/{json.loads(path.read_bytes())['device_id']}/{kind}", path.read_bytes())
                    assert not taken.why, path
        yield both
        for engine in both:
            engine.dispose()


def test_its_tables_are_those_of_the_models(filled: tuple[Engine, Engine]) -> None:
    with filled[1].connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection, opts={"compare_type": True}), Base.metadata) == []


@pytest.mark.parametrize(
    "asked",
    [{}, {"blasts": "yes"}, {"blasts": "no"}, {"review": "reviewed"}, {"review": "corrected"}, {"doubt": "yes"}, {"simulated": "no"},
     {"q": "CLINIC-2"}, {"q": "100%"}, {"q": "_"}, {"since": "2026-11-28", "until": "2026-11-29"}, {"device": "clinic-1"}],
    ids=str,
)  # fmt: skip
def test_lists_are_the_same(filled: tuple[Engine, Engine], asked: dict[str, str]) -> None:
    answers = []
    for engine in filled:
        with reading(engine) as session:
            answers.append(queries.slides(session, Filters(**asked), per_page=200))
    assert answers[0] == answers[1]


def test_devices_slides_and_all_else_are_the_same(filled: tuple[Engine, Engine]) -> None:
    def told(engine: Engine) -> list[Any]:
        with reading(engine) as session:
            rows = queries.slides(session, Filters(), per_page=200).rows
            devices = queries.devices(session)
            assert tuple(queries.every_slide(session, Filters())) == rows
            assert queries.device_names(session) == [row.device_id for row in devices]
            assert [queries.device(session, row.device_id) for row in devices] == devices
            kept = select(Device.device_id, Device.state, Device.since, Device.offline_reason, Device.simulated)
            return [
                devices,
                [tuple(row) for row in session.execute(kept.order_by(Device.device_id))],
                queries.waiting(session),
                queries.overdue(session, NOW, timedelta(hours=24)),
                queries.open_gaps(session),
                queries.counts(session, NOW),
                queries.rejected(session),
                [queries.slide(session, row.device_id, row.slide_id) for row in rows],
                [queries.device_history(session, row.device_id) for row in devices],
                [queries.health(session, row.device_id, NOW - timedelta(days=1)) for row in devices],
            ]

    here, there = (told(engine) for engine in filled)
    assert here == there


def test_hostile_messages_break_no_transaction(filled: tuple[Engine, Engine]) -> None:
    engine = filled[1]
    for changes in (
        {"sequence": 10**40},
        {"slide_id": "a\x00b"},
        {"slide_id": "s" * 5000},
        {"stream": "s" * 5000},
        {"white_cells": -1},
    ):
        assert stored(engine, "leukoscope/clinic-1/summary", {**summary("clinic-1", "h"), **changes}).why
    assert stored(engine, "leukoscope/clinic-1/summary", b'{"a":' * 50_000).why
    assert stored(engine, "leukoscope/clinic-1/summary", summary("clinic-1", "after them", sequence=500)).new


def test_the_audit_log_is_only_added_to(filled: tuple[Engine, Engine]) -> None:
    engine, now = filled[1], datetime.now(timezone.utc)
    with writing(engine) as session:
        accounts.audit(session, now, "somebody", "looked")
    for statement in ("UPDATE audit SET who = 'z'", "DELETE FROM audit", "TRUNCATE audit"):
        with pytest.raises(DBAPIError, match="only added to"), writing(engine) as session:
            session.execute(text(statement))


def test_accounts_and_sessions(filled: tuple[Engine, Engine], tmp_path: Path) -> None:
    engine, now, password = filled[1], datetime.now(timezone.utc), "correct horse battery"
    with writing(engine) as session:
        accounts.add_user(session, "anna", "admin", password, now)
    with pytest.raises(accounts.AccountError, match="already"), writing(engine) as session:
        accounts.add_user(session, "Anna", "viewer", password, now)
    who = accounts.verify(engine, "anna", password, "10.0.0.1", now)
    assert who is not None
    with writing(engine) as session:
        token = accounts.begin_session(session, who, "10.0.0.1", now)
    with reading(engine) as session:
        assert accounts.who_is(session, token, now) == (who, now)
        assert accounts.who_is(session, token, now + accounts.ABSOLUTE) is None
    for _ in range(3):
        assert accounts.verify(engine, "anna", "wrong", "10.0.0.1", now) is None
    with pytest.raises(accounts.TooManyError):
        accounts.verify(engine, "anna", password, "10.0.0.2", now)
