"""The guard around a round: what nobody foresaw is named and counted, and the rest goes on."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from device import rounds
from device.display.base import NullDisplay, PartState, ScreenView
from device.rounds import FOR_GOOD, RoundGuard
from device.service.control import CommandRequest
from device.settings.config import SlideSection
from device.slide.commands import Command, Wish
from device.slide.model import SlideState
from device.store import Store
from engines.detections import Image
from engines.runtime.base import Inference
from tests.support.picture_line import OneNeutrophil, Pictures, pipeline_of
from tests.unit.device.test_journal import HandClock


class Raising(OneNeutrophil):
    """An engine that raises what it should not on some calls; on all from `since` on."""

    def __init__(self, on: frozenset[int] = frozenset(), since: int = 1_000_000) -> None:
        super().__init__()
        self._on, self._since, self.asked = on, since, 0

    def infer(self, image: Image) -> Inference:
        self.asked += 1
        if self.asked - 1 in self._on or self.asked > self._since:
            raise RuntimeError("driver exploded")
        return super().infer(image)


def guard(clock: HandClock, stored: bool = True) -> tuple[RoundGuard, list[str], list[tuple[str, str, bytes]]]:
    said, aside = list[str](), list[tuple[str, str, bytes]]()
    made = RoundGuard(clock, lambda words, values: said.append(words.format(**values)), lambda *kept: aside.append(kept), stored=stored)
    return made, said, aside


def fail(words: str) -> int:
    raise ValueError(words)


def test_a_picture_that_raises_is_put_aside_once_and_the_slide_goes_on(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with Store.open(tmp_path / "record.sqlite") as store:
        engine = Raising(on=frozenset({3, 4, 5}))  # the second picture, each time that it is shown
        pipeline = pipeline_of(tmp_path, Pictures([1, 1, 1, 2, 2, 2, 3, 3, 3]), engine, store=store)
        while not pipeline.stopped:
            pipeline.round()
        slide = pipeline.slide
        assert slide is not None and slide.state is SlideState.REVIEW, "it was finished, not aborted"
        assert [field.source for field in slide.fields] == ["1.png", "3.png"]
        assert [picture.name for picture in slide.skipped] == ["2.png"]
        (row,) = store.quarantine(with_content=True)
        assert (row.kind, row.name) == ("picture", "2.png")
        assert "RuntimeError: driver exploded" in row.why and "sha256" in row.why and "320 x 180 px" in row.why
        assert row.content.startswith(b"\x89PNG")
        assert [message.kind for message in store.pending()].count("summary") == 1
    assert caplog.text.count("Traceback") == 1, "once for each kind"
    assert "Skipped, cannot be read: 2.png" in caplog.text


def test_keys_screen_and_record_are_served_while_every_frame_raises(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    asked = [CommandRequest(Wish(Command.START, sure=True)), CommandRequest(Wish(Command.PAUSE))]

    class Watching(NullDisplay):
        shown = 0

        def show(self, view: ScreenView) -> None:
            self.shown += 1

    display = Watching()
    with Store.open(tmp_path / "record.sqlite") as store:
        rules = SlideSection(ask_specimen=False, finish_at_end=False)
        engine = Raising(since=0)
        pipeline = pipeline_of(tmp_path, Pictures([1] * 200), engine, display, store, rules=rules)
        pipeline._requests = lambda: [asked.pop(0)] if asked else []
        for _ in range(FOR_GOOD + 3):
            pipeline.round()
        assert pipeline.slide is not None and pipeline.slide.state is SlideState.PAUSED
        assert display.shown >= FOR_GOOD
        assert engine.asked <= FOR_GOOD + 2, "then it pauses, and takes no picture meanwhile"
        assert (pipeline.lamps[1].level, pipeline.lamps[1].text) == ("fail", "fault in the program")
        assert any("driver exploded" in text for text, _ in pipeline._lines())
    assert caplog.text.count("Traceback") == 1


def test_a_screen_that_raises_every_time_is_tried_with_pauses_and_the_count_goes_on(tmp_path: Path) -> None:
    class Broken(NullDisplay):
        tried = 0

        def show(self, view: ScreenView) -> None:
            self.tried += 1
            raise ZeroDivisionError

    display = Broken()
    with Store.open(tmp_path / "record.sqlite") as store:
        pipeline = pipeline_of(tmp_path, Pictures([n for n in range(20) for _ in range(3)]), OneNeutrophil(), display, store)
        while not pipeline.stopped:
            pipeline.round()
        assert pipeline.slide is not None and len(pipeline.slide.fields) == 20
    assert display.tried < 30


def test_a_command_that_raises_is_answered_and_the_next_one_is_taken() -> None:
    made, _, _ = guard(HandClock())
    ok, words = made.asked(lambda: (fail("no such thing"), "")[1] and (True, ""))
    assert not ok and words == "a fault in the program: ValueError: no such thing; see the log"
    for _ in range(2 * FOR_GOOD):
        made.asked(lambda: (fail("again"), "")[1] and (True, ""))
    assert made.asked(lambda: (True, "done")) == (True, "done")


def test_pauses_grow_and_end_with_the_first_success(caplog: pytest.LogCaptureFixture) -> None:
    clock = HandClock()
    made, _, _ = guard(clock)
    for _ in range(FOR_GOOD):
        assert made.run(rounds.RECORD, lambda: fail("x 17"), -1) == -1
    lamps = [PartState("Camera", "ok", ""), PartState("Record", "ok", "saved")]
    assert [lamp.level for lamp in made.lamps(lamps)] == ["ok", "fail"]
    waited = 0
    while waited < 40 and made.pauses(rounds.RECORD):
        clock.s += 0.1
        waited += 1
    assert 0 < waited < 5
    assert made.run(rounds.RECORD, lambda: fail("x 18"), -1) == -1 and made.pauses(rounds.RECORD)
    clock.s += 5.1
    with caplog.at_level(logging.WARNING):
        assert made.run(rounds.RECORD, lambda: 5, -1) == 5
    assert "works again after 21 faults" in caplog.text
    assert [lamp.level for lamp in made.lamps(lamps)] == ["ok", "ok"] and not made.failing(rounds.RECORD)


def test_a_stage_never_hides_that_the_process_shall_end() -> None:
    made, _, _ = guard(HandClock())
    with pytest.raises(KeyboardInterrupt):
        made.run(rounds.PICTURE, lambda: (_ for _ in ()).throw(KeyboardInterrupt), None)
