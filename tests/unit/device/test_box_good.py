"""The judgement of a version that was booted."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from device.box import good
from device.box.good import Look, judge, look, outbox_fault, remember, was_good
from device.box.progress import DONE, tell
from device.box.slots import slots_of
from device.errors import LeukoscopeError
from tests.unit.device.test_box_slots import told

WELL = {
    "camera": {"level": "ok"},
    "engine": {"level": "ok"},
    "record": {"level": "ok"},
    "unsaved": 0,
    "outbox_pending": 0,
}


class Clock:
    """Time that passes only while somebody sleeps."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


def verdict(
    looking: Callable[[float], Look], known: bool = False, other: str | None = "1.5.0", other_good: str = "good"
) -> good.Verdict:
    clock, said = Clock(), list[str]()
    slots = slots_of(told("B", other, other_good), "1.6.0")
    found = judge("1.6.0", slots, lambda: looking(clock.now), known=known, clock=clock, sleep=clock.sleep, say=said.append)
    assert len(said) <= 4, "the journal is not filled"
    return found


def test_a_new_version_is_good_after_pictures_went_through_it_on_end() -> None:
    times: list[float] = []

    def looking(now: float) -> Look:
        times.append(now)
        return Look(pictures=now >= 60 and not 70 <= now < 80)

    assert verdict(looking).good
    assert 110 <= times[-1] <= 115, "30 s on end, counted anew after a break"
    times.clear()

    def busy(now: float) -> Look:
        times.append(now)
        return Look("busy") if now == 15 else Look(pictures=True)

    assert verdict(busy).good and times[-1] == 30, "one look without an answer is no break"


def test_a_bad_version_is_left_only_for_one_that_was_good() -> None:
    def dead(now: float) -> Look:
        return Look("the program does not answer")

    left = verdict(dead)
    assert (left.good, left.restart) == (False, True) and "1.5.0 is booted again" in left.words
    for stays in (verdict(dead, other=None), verdict(dead, other_good="bad"), verdict(dead, known=True)):
        assert (stays.good, stays.restart) == (False, False)


def test_a_box_without_a_camera_never_restarts_itself_and_a_version_that_was_good_stays_good() -> None:
    new = verdict(lambda now: Look())
    assert (new.good, new.restart) == (False, False) and "plug the camera in" in new.words
    assert verdict(lambda now: Look(), known=True).good


@pytest.mark.parametrize(
    ("changed", "fault"),
    [
        ({"engine": {"level": "fail", "text": "golden picture"}}, "the engine is not ready (golden picture)"),
        ({"engine": {"level": "busy", "text": "opening"}}, "the engine is not ready (opening)"),
        ({"record": {"level": "fail", "text": "disk"}}, "the record is not ready (disk)"),
        ({"unsaved": 2}, "the record does not write what it is given"),
        ({"outbox_pending": None}, "the record does not write what it is given"),
    ],
)
def test_what_of_the_status_is_a_fault_of_the_version(tmp_path: Path, changed: dict[str, object], fault: str) -> None:
    assert look(lambda: {**WELL, **changed}, lambda: "", tmp_path).fault == fault


def test_pictures_need_the_first_one_looked_at_and_a_camera(tmp_path: Path) -> None:
    assert look(lambda: WELL, lambda: "", tmp_path) == Look()
    tell("ready", DONE, "Ready.", folder=tmp_path)
    assert look(lambda: WELL, lambda: "", tmp_path) == Look(pictures=True)
    assert look(lambda: {**WELL, "camera": {"level": "fail"}}, lambda: "", tmp_path) == Look()
    assert look(lambda: WELL, lambda: "no outbox", tmp_path).fault == "no outbox"

    def dead() -> dict[str, object]:
        raise LeukoscopeError("nobody there")

    assert look(dead, lambda: "", tmp_path).fault == "the program does not answer (nobody there)"


def test_the_outbox_works_and_nothing_is_left_of_the_trial(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert outbox_fault(tmp_path) == "" and list(tmp_path.iterdir()) == []
    assert "no message can be handed to an outbox" in outbox_fault(tmp_path / "absent")
    monkeypatch.setattr(good, "put", lambda db, message: message)
    assert outbox_fault(tmp_path) == "a message that was put into an outbox is not in it"


def test_versions_that_were_good_are_remembered(tmp_path: Path) -> None:
    path = tmp_path / "good.json"
    assert not was_good("1.6.0", path)
    for version in ("1.6.0", *map(str, range(7))):
        remember(version, path)
    assert was_good("1.6.0", path) and was_good("6", path)
    remember("8", path)
    assert not was_good("1.6.0", path)
    path.write_text("[")
    assert not was_good("8", path)
    remember("8", tmp_path / "absent" / "good.json")
