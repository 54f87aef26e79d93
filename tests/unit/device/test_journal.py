"""The journal: writes in order, none dropped, a full disk waited out and told."""

from __future__ import annotations

from datetime import datetime, timezone
from pathlib import Path

from device.errors import StoreError
from device.store.journal import Journal


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
