"""The real daemon with an engine that hangs, fails or lies, a screen, and the socket of a service manager of our own."""

from __future__ import annotations

import os
import signal
import socket
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from device.app import Outcome, run
from device.display.base import NullDisplay, ScreenView
from device.line import Openers
from device.pipeline import Pipeline
from device.rounds import Round
from device.settings.broker import BrokerSection
from device.settings.config import Config, DeviceSection, DisplaySection, EngineSection, ReplayCamera, SlideSection
from device.slide.commands import Command, Wish
from engines.detections import Detections, Image
from engines.errors import DeviceLostError, InferenceError
from engines.runtime.base import Inference
from engines.runtime.guarded import GuardedEngine, Limits
from tests.support.picture_line import OneNeutrophil, picture

pytestmark = pytest.mark.integration

Act = Callable[[int, Inference], Inference]
"""Given how many frames the engine has seen, and the right answer: another, an exception, or a long sleep."""


class Screen(NullDisplay):
    """Keeps the engine's lamp of each view."""

    def __init__(self) -> None:
        super().__init__()
        self.lamps: list[tuple[str, str]] = []

    def show(self, view: ScreenView) -> None:
        lamp = view.parts[1]
        if not self.lamps or self.lamps[-1] != (lamp.level, lamp.text):
            self.lamps.append((lamp.level, lamp.text))


class Misbehaving(OneNeutrophil):
    """OneNeutrophil that does what `act` says; `seen` counts over all openings."""

    def __init__(self, act: Act, seen: list[int]) -> None:
        super().__init__()
        self._act, self._seen = act, seen

    def infer(self, image: Image) -> Inference:
        self._seen[0] += 1
        return self._act(self._seen[0], super().infer(image))


@dataclass
class Ran:
    outcome: Outcome
    screen: Screen
    fed_s: list[float]
    rounds: int
    opened: int
    stopped_in_s: float
    scores: list[tuple[float]] = field(default_factory=list)

    @property
    def shown(self) -> str:
        return "\n".join(f"{level}: {text}" for level, text in self.screen.lamps)


@contextmanager
def service_manager(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[float]]:
    """NOTIFY_SOCKET of our own with a watchdog of 4 s; when it was fed."""
    fed: list[float] = []
    path = folder / "notify"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel:
        channel.bind(str(path))
        channel.settimeout(0.1)
        monkeypatch.setenv("NOTIFY_SOCKET", str(path))
        monkeypatch.setenv("WATCHDOG_USEC", "400000")
        over = threading.Event()

        def listen() -> None:
            while not over.is_set():
                try:
                    if b"WATCHDOG=1" in channel.recv(4096):
                        fed.append(time.monotonic())
                except TimeoutError:
                    continue

        thread = threading.Thread(target=listen)
        thread.start()
        try:
            yield fed
        finally:
            over.set()
            thread.join()


Until = Callable[[Round, Pipeline, Screen], bool]


def ran(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    act: Act,
    until: Until,
    deadline_s: float = 0.5,
    engine_of: type[Misbehaving] = Misbehaving,
    auto_start: bool = True,
) -> Ran:
    """A run that gets SIGTERM when `until` holds, or from within `act` by `os.kill`."""
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    for seed in range(4):
        cv2.imwrite(str(pictures / f"{seed}.png"), picture(seed))
    config = Config(
        camera=ReplayCamera(kind="replay", source=str(pictures), fps=40, loop=True),
        device=DeviceSection(id="engine", state_dir=tmp_path / "state"),
        engine=EngineSection(deadline_s=deadline_s),
        slide=SlideSection(auto_start=auto_start, ask_specimen=False),
        display=DisplaySection(kind="none"),
        broker=BrokerSection(enabled=False),
    )
    screen, seen, opened, rounds = Screen(), [0], [0], [0]
    killed = [0.0]

    def engine() -> Misbehaving:
        opened[0] += 1
        return engine_of(act, seen)

    def kill() -> None:
        if not killed[0]:
            killed[0] = time.monotonic()
            os.kill(os.getpid(), signal.SIGTERM)

    def each_round(done: Round, pipeline: Pipeline) -> None:
        rounds[0] += 1
        if until(done, pipeline, screen) or time.monotonic() - began > 40:
            kill()

    began = time.monotonic()
    with service_manager(tmp_path, monkeypatch) as fed:
        openers = replace(Openers.of(config), engine=engine, display=lambda: screen)
        outcome = run(config, openers, each_round=each_round)
        stopped_in_s = time.monotonic() - killed[0]
    with sqlite3.connect(config.record_path) as db:
        scores = db.execute("SELECT score FROM cells").fetchall()
    return Ran(outcome, screen, fed, rounds[0], opened[0], stopped_in_s, scores)


def test_a_hang_is_told_the_engine_opened_anew_and_the_count_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    end = threading.Event()

    def act(n: int, right: Inference) -> Inference:
        if n == 8:
            end.wait(30)
        return right

    try:
        done = ran(tmp_path, monkeypatch, act, lambda done, line, _: line.slide is not None and len(line.slide.fields) >= 4, 1.6)
    finally:
        end.set()
    assert done.opened == 2 and done.outcome.reason == "stopped by SIGTERM" and done.outcome.saved
    assert done.outcome.slide is not None and len(done.outcome.slide.fields) >= 4
    assert "fail: no answer for 1 s" in done.shown, "the screen is drawn while the engine is waited for"
    assert "fail: failing, 1 frames not read" in done.shown or "ok:" in done.shown
    assert done.stopped_in_s < 2


def test_sigterm_is_obeyed_while_the_engine_hangs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    end, sent = threading.Event(), [0.0]

    def act(n: int, right: Inference) -> Inference:
        if n == 5:
            sent[0] = time.monotonic()
            os.kill(os.getpid(), signal.SIGTERM)
            end.wait(30)
        return right

    try:
        done = ran(tmp_path, monkeypatch, act, lambda *_: False, deadline_s=20)
        assert time.monotonic() - sent[0] < 3  # 2 s and what a busy machine adds
    finally:
        end.set()
    assert done.outcome.reason == "stopped by SIGTERM" and done.outcome.saved


def test_one_that_always_hangs_is_left_to_the_service_manager(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    end, idle = threading.Event(), list[float]()

    def act(n: int, right: Inference) -> Inference:
        if n >= 5:
            end.wait(30)
        return right

    def until(done: Round, line: Pipeline, screen: Screen) -> bool:
        if done.frame is not None and done.observation is None:
            idle.append(time.monotonic())
        return len(idle) > 2 and idle[-1] - idle[0] > 4

    try:
        done = ran(tmp_path, monkeypatch, act, until, deadline_s=0.2)
    finally:
        end.set()
    assert 2 <= done.opened <= 4, "no more threads are left behind than three"
    assert done.screen.lamps[-1][0] == "fail"
    assert idle[-1] - max(done.fed_s) > 0.4, "the watchdog was not fed to the end"
    assert any(s > idle[0] for s in done.fed_s), "but it was while there was hope"


def test_now_and_then_a_failure_goes_on_and_is_no_reason_to_open_it_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def act(n: int, right: Inference) -> Inference:
        if n % 4 == 3:
            raise InferenceError(f"odd {n}")
        if n % 4 == 1:
            raise RuntimeError("driver exploded")
        return right

    done = ran(tmp_path, monkeypatch, act, lambda done, line, _: line.engine_status.frames >= 60)
    assert done.opened == 1 and done.outcome.saved
    assert "frames not read" in done.shown and "ok:" in done.shown
    assert len(done.fed_s) > 3
    failed = [record.getMessage() for record in caplog.records if record.getMessage().startswith("the engine failed")]
    assert len(failed) == 2, "each kind of fault is logged once while it lasts"


def test_one_that_is_slow_but_steady_is_fed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Six seconds a frame with the usual deadline of 20 s, twenty times as fast."""

    def act(n: int, right: Inference) -> Inference:
        time.sleep(0.3)
        return right

    done = ran(tmp_path, monkeypatch, act, lambda done, line, _: line.engine_status.frames >= 10, deadline_s=1.0)
    assert done.opened == 1 and len(done.fed_s) >= 8 and "fail" not in done.shown


def _infinite(n: int, right: Inference) -> Inference:
    found = right.detections
    boxes_px = np.concatenate([found.boxes_px, found.boxes_px + 100])
    twice = [np.concatenate([part, part]) for part in (found.scores, found.classes, found.attributes)]
    twice[0][1] = np.inf if n >= 3 else 0.9
    return replace(right, detections=Detections(boxes_px, *twice))


def test_an_infinite_score_is_never_stored_and_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    done = ran(tmp_path, monkeypatch, _infinite, lambda done, line, _: line.slide is not None and len(line.slide.fields) >= 4)
    assert done.scores and all(score is not None and 0 <= score <= 1 for (score,) in done.scores)
    assert "warn: " in done.shown and "without meaning" in done.shown
    slide = done.outcome.slide
    assert slide is not None and sum(f.non_finite for f in slide.fields) > 0
    with sqlite3.connect(tmp_path / "state" / "record.sqlite") as db:
        assert db.execute("SELECT sum(non_finite) FROM fields").fetchone()[0] == sum(f.non_finite for f in slide.fields)


@pytest.mark.parametrize("part", ["boxes_px", "scores", "classes"])
def test_an_answer_without_any_meaning_is_a_failure_and_no_empty_field(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, part: str
) -> None:
    def act(n: int, right: Inference) -> Inference:
        found = right.detections
        nothing = found.classes + 99 if part == "classes" else getattr(found, part) * np.float32(np.nan)
        return replace(right, detections=replace(found, **{part: nothing}))

    done = ran(tmp_path, monkeypatch, act, lambda done, line, _: line.engine_status.failures >= 6)
    assert done.outcome.slide is None or not done.outcome.slide.fields
    assert done.screen.lamps[-1][0] == "fail" and not done.scores


def test_the_golden_picture_is_asked_again_while_nothing_is_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every ten minutes in the appliance; here without a pause."""
    asked: list[str | None] = []

    class Checked(Misbehaving):
        def golden_fault(self) -> str | None:
            fault = "a score differs by 0.400" if len(asked) == 3 else None
            asked.append(fault)
            return fault

    often = lambda opener, config: GuardedEngine(opener, replace(Limits.of(2.0), golden_every=0.05))  # noqa: E731
    monkeypatch.setattr("device.line.guarded_engine", often)
    counted: list[int] = []

    def until(done: Round, line: Pipeline, screen: Screen) -> bool:
        if len(asked) >= 8 and line.slide is None:
            line.obey(Wish(Command.START))
        if line.slide is not None:
            counted.append(len(asked))
        return line.slide is not None and len(line.slide.fields) >= 4

    done = ran(tmp_path, monkeypatch, lambda n, right: right, until, engine_of=Checked, auto_start=False)
    assert done.opened == 2 and "fail: failing, " in done.shown, done.shown
    assert counted[-1] - counted[0] <= 1, "while frames are counted it is not asked"


def test_a_gpu_that_is_lost_ends_the_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def act(n: int, right: Inference) -> Inference:
        if n == 5:
            raise DeviceLostError("the GPU answers nothing any more")
        return right

    with pytest.raises(DeviceLostError):
        ran(tmp_path, monkeypatch, act, lambda *_: False)
