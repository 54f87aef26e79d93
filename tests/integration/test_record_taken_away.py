"""`leukoscope run` whose record is deleted, moved and replaced while it counts; a backup made meanwhile."""

from __future__ import annotations

import shutil
import signal
from pathlib import Path

import pytest

from device.store import Store, verifying
from tests.integration.test_run_process import ask, configuration, daemon, fields_counted, until

pytestmark = pytest.mark.integration


def test_nothing_is_lost_when_somebody_takes_the_record_away(tmp_path: Path) -> None:
    config, record = configuration(tmp_path, 960, 540), tmp_path / "state" / "record.sqlite"
    with daemon(config) as process:
        until(lambda: fields_counted(record) >= 2, "two counted fields")
        made = ask(config, "backup", str(tmp_path / "backup"))
        assert made.returncode == 0, made.stderr
        shutil.copyfile(tmp_path / "backup" / "record.sqlite", tmp_path / "older.sqlite")
        takes_away = (
            record.unlink,
            lambda: record.rename(tmp_path / "moved.sqlite"),
            lambda: (tmp_path / "older.sqlite").replace(record),
        )
        for number, take_away in enumerate(takes_away, 1):
            before = fields_counted(record)
            take_away()
            until(lambda: len(put_aside(record)) == number, lambda: f"saved again {number} times: {put_aside(record)}")  # noqa: B023
            until(lambda: fields_counted(record) > before, "counted on")  # noqa: B023
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0
    assert verifying.verify(record).sound
    with Store.read(record) as store:
        (stored,) = store.slides()
        assert [field.index for field in stored.slide.fields] == list(range(1, len(stored.slide.fields) + 1))
    assert len(list(record.parent.glob("record.sqlite.replaced-*"))) == 1
    back = ask(config, "restore", str(tmp_path / "backup"))
    assert back.returncode == 0, back.stderr
    assert ask(config, "verify").returncode == 0


def put_aside(record: Path) -> list[str]:
    if not record.exists():
        return []
    with Store.read(record) as store:
        return [f"{row.name}: {row.why}" for row in store.quarantine()]
