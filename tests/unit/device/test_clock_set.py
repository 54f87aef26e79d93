"""The wall clock is set while a slide is open, or kept by nobody: its time is not trusted, its duration is known."""

from __future__ import annotations

import logging
import subprocess
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest

from device import clock as clocks
from device.clock import TimeService, time_trusted
from device.mqtt.payloads import read_summary
from device.pipeline import Pipeline
from device.slide.commands import Command, Wish
from device.slide.model import SlideState
from device.slide.stopwatch import Stopwatch
from device.store import Store
from tests.support import picture_line
from tests.support.picture_line import DESK, OneNeutrophil, Pictures, pipeline_of

NOON = datetime(2026, 11, 30, 12, tzinfo=timezone.utc)


class SetClock:
    """Moved by hand: time goes by, or the wall clock is set."""

    def __init__(self, now: datetime = NOON) -> None:
        self.s, self.wall = 1000.0, now

    def monotonic_s(self) -> float:
        return self.s

    def now(self) -> datetime:
        return self.wall

    def sleep(self, seconds: float) -> None:
        self.goes_by(seconds)

    def goes_by(self, seconds: float) -> None:
        self.s += seconds
        self.wall += timedelta(seconds=seconds)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> SetClock:
    made = SetClock()
    monkeypatch.setattr(picture_line, "CLOCK", made)
    monkeypatch.setattr(TimeService, "keeps", True)
    return made


def begun(folder: Path, store: Store) -> Pipeline:
    pipeline = pipeline_of(folder, Pictures([1] * 3 + [2] * 3 + [3] * 3), OneNeutrophil(), store=store, rules=DESK)
    assert pipeline.obey(Wish(Command.START, sure=True))[0]
    return pipeline


def rounds(pipeline: Pipeline, clock: SetClock, times: int) -> None:
    for _ in range(times):
        clock.goes_by(1.0)
        pipeline.round()


@pytest.mark.parametrize("days", [-365, -1, 1, 365])
def test_a_clock_that_is_set_by_days_is_noticed_and_the_slide_ends_after_it_began(
    days: int, tmp_path: Path, clock: SetClock, caplog: pytest.LogCaptureFixture
) -> None:
    with Store.open(tmp_path / "record.sqlite") as store:
        pipeline = begun(tmp_path, store)
        rounds(pipeline, clock, 3)
        assert store.slides(1)[0].provenance.time_trusted
        clock.wall += timedelta(days=days)
        rounds(pipeline, clock, 6)
        assert any("dates of this slide are not to be trusted" in text for text, _ in pipeline._lines())
        assert not store.slides(1)[0].provenance.time_trusted, "known before the end"
        assert pipeline.obey(Wish(Command.FINISH, sure=True))[0]
        (row,) = store.slides(1)
        slide = row.slide
        assert slide.state is SlideState.REVIEW and slide.finished_at is not None and slide.started_at == NOON
        assert slide.duration_s == pytest.approx(9.0)
        assert slide.finished_at - slide.started_at == timedelta(seconds=9)
        (check,) = store.checks("clock")
        assert check.slide_id == slide.slide_id and ("back" if days < 0 else "forward") in check.result["why"]
        (message,) = (row for row in store.pending() if row.kind == "summary")
        summary = read_summary(message.payload).payload
        assert not summary.time_trusted and summary.duration_s == pytest.approx(9.0)
        assert store.check_slide(slide.slide_id).faults == ()
    assert caplog.text.count("its dates are not to be trusted") == 1


def test_a_clock_that_is_slewed_by_a_time_service_is_believed(tmp_path: Path, clock: SetClock) -> None:
    with Store.open(tmp_path / "record.sqlite") as store:
        pipeline = begun(tmp_path, store)
        for _ in range(9):
            clock.wall += timedelta(seconds=0.4)
            rounds(pipeline, clock, 1)
        assert pipeline.obey(Wish(Command.FINISH, sure=True))[0]
        (row,) = store.slides(1)
        assert row.provenance.time_trusted and row.slide.finished_at == clock.wall and not store.checks("clock")


def test_the_time_of_a_slide_that_is_taken_up_is_added_and_a_clock_that_woke_up_in_the_past_is_noticed(
    tmp_path: Path, clock: SetClock
) -> None:
    with Store.open(tmp_path / "record.sqlite") as store:
        pipeline = begun(tmp_path, store)
        rounds(pipeline, clock, 3)
        pipeline.close()
    clock.s, clock.wall = 5.0, datetime(2000, 1, 1, tzinfo=timezone.utc)  # no battery behind the clock
    with Store.open(tmp_path / "record.sqlite") as store:
        after = pipeline_of(tmp_path, Pictures([7] * 6), OneNeutrophil(), store=store, rules=DESK)
        assert after.slide is not None and "before what was counted" in after.slide.clock_fault
        assert after.obey(Wish(Command.PAUSE))[0]
        rounds(after, clock, 4)
        assert after.obey(Wish(Command.FINISH, sure=True))[0]
        (row,) = store.slides(1)
        assert row.slide.duration_s == pytest.approx(7.0) and not row.provenance.time_trusted
        assert row.slide.finished_at == NOON + timedelta(seconds=7)


def test_a_slide_that_was_not_trusted_stays_so_after_a_restart(tmp_path: Path, clock: SetClock) -> None:
    with Store.open(tmp_path / "record.sqlite") as store:
        pipeline = begun(tmp_path, store)
        clock.wall += timedelta(hours=2)
        rounds(pipeline, clock, 3)
        pipeline.close()
    with Store.open(tmp_path / "record.sqlite") as store:
        after = pipeline_of(tmp_path, Pictures([]), OneNeutrophil(), store=store, rules=DESK)
        assert after.obey(Wish(Command.FINISH, sure=True))[0]
        (message,) = (row for row in store.pending() if row.kind == "summary")
        assert not read_summary(message.payload).payload.time_trusted
        assert len(store.checks("clock")) == 1


def test_a_stopwatch_tells_small_and_great_jumps_in_words(caplog: pytest.LogCaptureFixture) -> None:
    clock = SetClock()
    watch = Stopwatch(clock)
    from device.slide.model import Slide

    told = {}
    for seconds in (-30, 7200, -40 * 86_400):
        clock.wall = NOON + timedelta(seconds=clock.s - 1000)
        slide = Slide("s", clock.now())
        watch.begin()
        clock.goes_by(10)
        clock.wall += timedelta(seconds=seconds)
        with caplog.at_level(logging.WARNING):
            told[seconds] = watch.timed(slide).clock_fault
        assert watch.timed(replace(slide, clock_fault="x")).clock_fault == "x"
    assert told == {
        -30: "the clock was set back by 30 s while it was open",
        7200: "the clock was set forward by 2.0 h while it was open",
        -40 * 86_400: "the clock was set back by 40 days while it was open",
    }


@pytest.mark.parametrize(
    ("kernel", "file", "timedated", "kept"),
    [
        (True, False, "no", True),
        (False, True, "yes", False),
        (None, True, "no", True),
        (None, False, "yes\n", True),
        (None, False, "", False),
    ],
)
def test_a_clock_that_no_time_service_keeps_is_not_believed(
    kernel: bool | None, file: bool, timedated: str, kept: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The kernel has the last word; where it may not be asked, systemd has."""
    monkeypatch.setattr(clocks, "_kernel_says", lambda: kernel)
    monkeypatch.setattr(clocks, "_SYNCHRONISED", tmp_path if file else tmp_path / "none")
    run: Callable[..., object] = lambda *_, **__: subprocess.CompletedProcess([], 0, timedated, "")  # noqa: E731
    monkeypatch.setattr(clocks.subprocess, "run", run)
    monkeypatch.setattr(clocks, "service", TimeService())
    assert time_trusted(NOON) is kept
    assert not time_trusted(datetime(2001, 1, 1, tzinfo=timezone.utc))


def test_nobody_waits_for_a_time_service_that_is_asked_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clocks, "_kernel_says", lambda: None)
    monkeypatch.setattr(clocks, "_SYNCHRONISED", tmp_path / "none")
    monkeypatch.setattr(clocks, "_timedated_says", lambda: False)
    service, asked, answered = TimeService(), threading.Event(), threading.Event()
    assert not service.keeps

    def slowly() -> bool:
        asked.set()
        return answered.wait(60)

    monkeypatch.setattr(clocks, "_timedated_says", slowly)
    assert not service.keeps and not asked.is_set(), "it was asked just now"
    monkeypatch.setattr(clocks, "_ASKED_FOR_S", 0.0)
    assert not service.keeps, "the answer before, while the new one is waited for"
    assert asked.wait(60)
    monkeypatch.setattr(clocks, "_ASKED_FOR_S", 60.0)
    answered.set()
    end_s = time.monotonic() + 60
    while not service.keeps:
        assert time.monotonic() < end_s
        time.sleep(0.01)


def test_the_kernel_can_be_asked_here() -> None:
    assert clocks._kernel_says() in (True, False, None)
