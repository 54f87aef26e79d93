"""The disk is full, fails, may only be read, is locked; the record is damaged, deleted, moved."""

from __future__ import annotations

import contextlib
import shutil
import signal
import sqlite3
import subprocess
import time
from pathlib import Path

from device.slide.commands import Command, Wish
from device.store import Store, verifying
from tests.faults.bench import Bench, Trial
from tests.faults.cases import case
from tests.integration.test_surviving_damage import DAMAGE
from tests.support.flips import chosen, flip, values
from tests.support.picture_line import DESK, OneNeutrophil, Pictures, counted, pipeline_of
from tests.support.surviving_line import fill, small_disk

SUPPORT = Path(__file__).resolve().parents[1] / "support"


def lamp(bench: Bench, level: str) -> bool:
    return bench.box.record_lamp.startswith(level)


def shim(bench: Bench, source: str, flag: Path) -> None:
    """The daemon's disk fails as the file `flag` says."""
    library = bench.folder / "disk.so"
    subprocess.run(["gcc", "-shared", "-fPIC", "-o", str(library), str(SUPPORT / source), "-ldl"], check=True, capture_output=True)
    bench.environment |= {"LD_PRELOAD": str(library), "EIO_FLAG": str(flag)}


@case(
    "disk-full-at-write",
    60,
    3,
    "the n-th write to the record and all after it find no space",
    "What a full disk refuses waits in memory, is told as NOT SAVED, and is saved when there is room",
)
def disk_full_at_write(trial: Trial) -> None:
    flag = trial.folder / "flag"
    with Bench(trial) as bench:
        shim(bench, "enospc.c", flag)
        bench.start().counts(1)
        for number in range(trial.tries):
            flag.with_suffix(".new").write_text(str(number))
            flag.with_suffix(".new").replace(flag)
            if number % 5 == 4:
                bench.finish()
            trial.wait(lambda: lamp(bench, "fail"), "a red lamp of the record")
            time.sleep(trial.chance.uniform(0.0, 0.5))
            flag.unlink()
            freed_s = time.monotonic()
            trial.since(freed_s, lambda: lamp(bench, "ok"), "a record that saves again")
        bench.end()
        trial.hold(bench.sound(), "the record is damaged")
        trial.words = f"{bench.told()} fields; until all was saved"


@case(
    "disk-full",
    10,
    1,
    "a disk of 4 MB filled to the last byte, while counting and at the start",
    "A full disk is a state, at the start too; nothing counted is lost",
)
def disk_full(trial: Trial) -> None:
    with small_disk(trial.folder / "disk") as disk, Bench(trial, record=disk / "record.sqlite") as bench:
        bench.start().counts(1)
        for number in range(trial.tries):
            if number % 2:
                bench.box.end(signal.SIGKILL)
            ballast = fill(disk)
            if number % 2:
                bench.start()
            trial.wait(lambda: lamp(bench, "fail"), "a red lamp of the record")
            ballast.unlink()
            bench.goes_on(time.monotonic())
            trial.wait(lambda: lamp(bench, "ok"), "a record that saves again")
        bench.end()
        trial.hold(bench.sound(), "the record is damaged")


@case("disk-fails", 12, 3, "EIO on statvfs, fsync, write, for two seconds", "A failing disk is shown and tried again")
def disk_fails(trial: Trial) -> None:
    flag = trial.folder / "flag"
    with Bench(trial) as bench:
        shim(bench, "eio.c", flag)
        bench.start().counts(1)
        for number in range(trial.tries):
            flag.write_text("sfw"[number % 3])
            trial.wait(lambda: bench.box.ask("pause") and bench.box.ask("pause") and lamp(bench, "fail"), "a red lamp of the record")
            flag.unlink()
            trial.since(time.monotonic(), lambda: lamp(bench, "ok"), "a record that saves again")
        bench.end()
        trial.hold(bench.sound(), "the record is damaged")


@case(
    "disk-start",
    6,
    2,
    "at the start with a slide left open: record locked by another program; disk read-only",
    "What may pass at the start is a state; the slide is taken up when it has passed",
)
def disk_start(trial: Trial) -> None:
    with small_disk(trial.folder / "disk", "8m") as disk, Bench(trial, record=disk / "record.sqlite") as bench:
        bench.start().counts(1)
        for number in range(trial.tries):
            bench.box.end(signal.SIGKILL)
            if number % 2:
                subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
            else:
                other = sqlite3.connect(bench.box.record, isolation_level=None)
                other.execute("BEGIN EXCLUSIVE")
            bench.start()
            trial.wait(lambda: lamp(bench, "fail"), "a red lamp of the record")
            if number % 2:
                subprocess.run(["mount", "-o", "remount,rw", str(disk)], check=True)
            else:
                other.execute("ROLLBACK")
                other.close()
            bench.goes_on(time.monotonic())
            trial.wait(lambda: not lamp(bench, "fail"), "all saved")  # until then the screen says NOT SAVED, and a kill takes it along
        bench.end()
        bench.one_slide()


@case(
    "record-gone",
    9,
    3,
    "the record deleted, moved, replaced by an older one while counting",
    "A record that is deleted, moved or replaced is saved again from the open connection",
)
def record_gone(trial: Trial) -> None:
    with Bench(trial) as bench:
        bench.start().counts(2)
        record, older = bench.box.record, bench.folder / "older.sqlite"
        with contextlib.closing(sqlite3.connect(record)) as db:
            db.execute("VACUUM INTO ?", (str(older),))
        for number in range(trial.tries):
            aside = bench.quarantined()
            match number % 3:
                case 0:
                    record.unlink()
                case 1:
                    record.rename(bench.folder / f"moved-{number}.sqlite")
                case _:
                    shutil.copyfile(older, bench.folder / "copy.sqlite").replace(record)
            gone_s = time.monotonic()
            trial.since(gone_s, lambda: bench.quarantined() > aside, "a record that was saved again")  # noqa: B023
            time.sleep(1.1)  # they are named by the second
            bench.counts(1)
        bench.end()
        trial.hold(bench.sound(), "the record is damaged")


def stored_cells(record: Path) -> int:
    """In the record, of the slide that is open."""
    with contextlib.closing(sqlite3.connect(record)) as db:
        query = "SELECT count(*) FROM cells JOIN slides USING (slide_id) WHERE state = 'counting'"
        return int(db.execute(query).fetchone()[0])


@case(
    "damaged-rows",
    len(DAMAGE),
    3,
    "a row of the slide left open damaged, every kind of the specification",
    "Damage in the open slide keeps no daemon from starting: the slide is named and others are counted",
)
def damaged_rows(trial: Trial) -> None:
    with Bench(trial, name="base") as base:
        base.start().counts(1)
        base.finish()
        base.counts(2)
        trial.wait(lambda: stored_cells(base.box.record) > 0, "cells of the open slide in the record")
        base.box.end(signal.SIGKILL)
        files = {path.name: path.read_bytes() for path in base.box.state.glob("record.sqlite*")}
    for number, what in enumerate(list(DAMAGE)[: trial.tries]):
        with Bench(trial, name=f"box-{number}") as bench:
            bench.box.state.mkdir(exist_ok=True)
            for name, content in files.items():
                (bench.box.state / name).write_bytes(content)
            with contextlib.closing(sqlite3.connect(bench.box.record)) as db, db:
                db.execute(DAMAGE[what])
            began_s = time.monotonic()
            bench.box.start(bench.environment)
            bench.goes_on(began_s)
            trial.hold(bench.box.ended is None, f"{what}: the daemon ended with {bench.box.ended}")
            code = bench.box.end()
            trial.hold(
                code == 0 and (what in ("keyframes", "schema_version") or not bench.sound() or bench.quarantined() > 0),
                f"{what}: code {code}, or nobody knows of it",
            )
    trial.tries = min(trial.tries, len(DAMAGE))
    trial.words = "from the start to the first field"


@case("flips", 60, 10, "one bit of the record flipped", "A flipped bit that changes a value is found, and the next slide is counted")
def flips(trial: Trial) -> None:
    record = trial.folder / "record.sqlite"
    with Store.open(record) as store:
        for _ in range(3):
            counted(trial.folder, store, [1, 1, 1, 2, 2, 2], finish=True)
    with contextlib.closing(sqlite3.connect(record)) as db:
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    good, before = record.read_bytes(), values(record)
    for path in trial.folder.glob("record.sqlite-*"):
        path.unlink()
    changed = silent = 0
    for number, bit in enumerate(chosen(record, trial.tries, trial.chance.randrange(1000))):
        folder = trial.folder / str(number)
        folder.mkdir()
        bad = folder / "record.sqlite"
        bad.write_bytes(good)
        flip(bad, bit)
        after = values(bad)
        if after != before:
            changed += 1
            with contextlib.suppress(Exception):  # told in another way
                silent += verifying.verify(bad).sound
        began_s = time.monotonic()
        try:
            with Store.open(bad) as store:
                pipeline = pipeline_of(folder, Pictures([5, 5, 5, 6, 6, 6]), OneNeutrophil(), store=store, rules=DESK)
                pipeline.obey(Wish(Command.START, sure=True))
                for _ in range(6):
                    pipeline.round()
                trial.hold(pipeline.slide is not None and len(pipeline.slide.fields) == 2, "a record in which no slide can be counted")
                trial.hold(pipeline.close(), "a slide that is not saved")
            trial.back_s.append(time.monotonic() - began_s)
        except Exception as error:
            trial.hold(False, f"{type(error).__name__} with one bit flipped: {str(error)[:80]}")
    trial.lost = silent
    trial.words = f"{changed} changed a value, {changed - silent} of them found"
