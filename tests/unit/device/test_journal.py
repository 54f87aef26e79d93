"""The journal: writes in order, none dropped, a full disk waited out and told."""

from __future__ import annotations

import logging
from datetime import datetime, timezone
from pathlib import Path

import pytest

from device.errors import StoreError
from device.store.faults import UnwritableError
from device.store.journal import Journal, Write


class HandClock:
    """Moved by hand."""

    def __init__(self) -> None:
        self.s = 100.0

    def monotonic_s(self) -> float:
        return self.s

    def now(self) -> datetime:
        return datetime(2026, 3, 2, tzinfo=timezone.utc)

    def sleep(self, seconds: float) -> None:
        self.s += seconds


class Disk:
    """A disk that can be full."""

    def __init__(self) -> None:
        self.written: list[str] = []
        self.full = False
        self.tried = 0

    def write(self, what: str) -> None:
        self.tried += 1
        if self.full:
            raise StoreError("record.sqlite: the disk is full; make room")
        self.written.append(what)


def journal(disk: Disk, clock: HandClock, free_mb: float = 5000) -> Journal:
    return Journal(Path("record.sqlite"), clock, lambda _: free_mb, 200)


def test_writes_go_through_at_once_and_in_order() -> None:
    disk, clock = Disk(), HandClock()
    made = journal(disk, clock)
    for what in "abc":
        made.add(what, lambda what=what: disk.write(what))  # type: ignore[misc]  # bound by the default
    assert disk.written == ["a", "b", "c"]
    assert (made.status.waiting, made.status.reason) == (0, "")


def test_what_a_full_disk_refuses_waits_in_order_and_is_written_when_there_is_room() -> None:
    disk, clock = Disk(), HandClock()
    made = journal(disk, clock)
    made.add("a", lambda: disk.write("a"))
    disk.full = True
    made.add("b", lambda: disk.write("b"))
    made.add("c", lambda: disk.write("c"))
    assert made.status.waiting == 2 and "make room" in made.status.reason
    tried = disk.tried
    made.tick()
    assert disk.tried == tried, "a full disk is not hammered"
    clock.s += 2.5
    made.tick()
    assert disk.tried == tried + 1 and made.status.waiting == 2
    assert not made.flush()
    disk.full = False
    clock.s += 2.5
    made.add("d", lambda: disk.write("d"))
    assert disk.written == ["a", "b", "c", "d"]
    assert made.flush() and made.status.reason == ""


def test_little_space_is_told_before_it_is_gone() -> None:
    status = journal(Disk(), HandClock(), free_mb=120).status
    assert status.waiting == 0 and "120 MB free" in status.reason


@pytest.mark.parametrize(
    "fault", [UnicodeEncodeError("utf-8", "\udce4", 0, 1, "surrogates not allowed"), ValueError("x"), UnwritableError("no")]
)
def test_a_write_that_can_never_be_made_is_put_aside_and_those_behind_it_go_on(
    fault: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    disk, clock, aside = Disk(), HandClock(), list[tuple[str, str]]()
    made = journal(disk, clock)
    made.aside = lambda write, why: aside.append((write.what, why))
    tried = 0

    def poison() -> None:
        nonlocal tried
        tried += 1
        raise fault

    made.add("a", lambda: disk.write("a"))
    made.add("field 2", poison)
    made.add("c", lambda: disk.write("c"))
    assert made.status.fails and made.status.waiting == 2 and "field 2 cannot be written" in made.status.reason
    for _ in range(3):
        clock.s += 2.1
        made.tick()
    assert (disk.written, tried) == (["a", "c"], 3)
    assert [what for what, _ in aside] == ["field 2"] and str(fault) in aside[0][1]
    assert (made.status.waiting, made.status.lost) == (0, 1)
    assert "LOST: field 2" in caplog.text and caplog.text.count("Traceback") <= 1
    assert made.settle(0.0)


def test_a_write_that_cannot_even_be_put_aside_keeps_nobody() -> None:
    disk, clock = Disk(), HandClock()
    made = journal(disk, clock)
    made.aside = lambda write, why: 1 // 0
    made.add("a", lambda: 1 // 0)
    made.add("b", lambda: disk.write("b"))
    assert made.settle(2.0) and disk.written == ["b"] and made.status.lost == 1


def test_what_follows_a_write_may_fail_and_the_write_is_made_once() -> None:
    disk, clock = Disk(), HandClock()
    made = journal(disk, clock)
    made.add("a", lambda: disk.write("a"), lambda: 1 // 0)
    assert disk.written == ["a"] and made.flush() and made.status.lost == 0


def test_a_disk_that_does_not_answer_is_a_state_told_once_at_each_end(
    caplog: pytest.LogCaptureFixture,
) -> None:
    clock, asked = HandClock(), [0]

    def free(path: Path) -> float:
        asked[0] += 1
        if 2 <= asked[0] <= 5:
            raise StoreError(f"its disk cannot be asked: Input/output error {asked[0]}")
        return 5000

    made = Journal(Path("record.sqlite"), clock, free, 200)
    states = []
    for _ in range(7):
        clock.s += 2.1
        states.append(made.status.fails)
    assert states == [False, True, True, True, True, False, False]
    assert [record.levelno for record in caplog.records] == [logging.ERROR, logging.WARNING]


def test_an_outage_is_logged_once_although_the_numbers_in_its_words_change(caplog: pytest.LogCaptureFixture) -> None:
    clock, free = HandClock(), iter(range(100))
    made, full = journal(Disk(), clock), [True]

    def write() -> None:
        if full[0]:
            raise StoreError(f"the disk is full ({next(free)} MB free)")

    made.add("a", write)
    for _ in range(5):
        clock.s += 2.1
        made.tick()
    full[0] = False
    clock.s += 2.1
    made.tick()
    assert [record.levelno for record in caplog.records] == [logging.ERROR, logging.WARNING]
    assert "nothing was lost" in caplog.text


def test_the_last_tries_go_on_for_as_long_as_they_may() -> None:
    disk, clock = Disk(), HandClock()
    made = journal(disk, clock)
    disk.full = True
    made.add("a", lambda: disk.write("a"))
    assert not made.settle(5.0) and 5.0 <= clock.s - 100 <= 6.0
    assert [write.what for write in made.waiting] == ["a"] and isinstance(made.waiting[0], Write)
    disk.full = False
    assert made.settle(0.0)
