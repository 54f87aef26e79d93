"""The service page: keys become request files, what root answers is shown, and nothing of it while a slide is open."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import datetime
from pathlib import Path

import numpy as np
import pytest

from device.box import progress
from device.box.boot import telling
from device.box.restart import RESTARTS, SLIDE_OPEN, restart
from device.box.sticks import Stick
from device.desk.desk import Desk
from device.desk.service_page import KEY
from device.desk.service_room import NOT_TAKEN, NOT_WRITTEN, Places, ServiceRoom, offers
from device.display.inputs import Input, Kind, key
from device.display.overlay import draw_on
from device.display.pages import AskPage, CountPage, ServicePage
from device.display.sheet import Sheet
from device.language import LANGUAGES, speaking
from device.settings.config import Config, DeviceSection, ReplayCamera, SlideSection
from device.slide.model import Slide, SlideState
from tests.support.gallery import ENGINE, WHEN, views

STICK = Stick("/dev/sdb1", "vfat", "WARD 3", "1234-ABCD", 8_000_000_000)
BUNDLE = "leukoscope-2026.12.2-amd64.raucb"
OPEN = Slide("S-20260302-0930-7f3a", WHEN, SlideState.PAUSED)


class Hand:
    """A clock that a test sets."""

    def __init__(self) -> None:
        self.s = 100.0

    def monotonic_s(self) -> float:
        return self.s

    def now(self) -> datetime:
        return WHEN

    def sleep(self, seconds: float) -> None:
        self.s += seconds


class Box:
    """A flashed box with a stick, and the desk at it."""

    def __init__(self, folder: Path, flashed: bool = True, units: bool = True) -> None:
        self.boot, self.run, self.units = folder / "boot", folder / "run", folder / "units"
        for each in (self.boot, self.run, self.units):
            each.mkdir()
        release = "IMAGE_ID=leukoscope\nIMAGE_VERSION=2026.12.1\n" if flashed else 'NAME="Debian"\n'
        (folder / "release").write_text(release)
        (folder / "cmdline").write_text("quiet rauc.slot=A" if flashed else "quiet")
        for name in ("update", "support-bundle", "restart") if units else ():
            (self.units / f"leukoscope-{name}.path").touch()
        self.places = Places(self.boot, self.run / "requests", folder / "release", folder / "cmdline", (self.units,))
        self.clock = Hand()
        self.desk = Desk(self.clock.monotonic_s, SlideSection(ask_specimen=False), stays=True)
        config = Config(camera=ReplayCamera(kind="replay", source="x"), device=DeviceSection(id="ward-3", state_dir=folder))
        self.desk.service = ServiceRoom(config, ENGINE, self.clock, self.places)
        self.desk.rest()

    def plug(self, *bundles: str, stick: Stick = STICK, fault: str = "") -> None:
        found = {"stick": vars(stick), "bundles": bundles, "setup": False, "fault": fault}
        (self.boot / "stick.json").write_text(json.dumps({"sticks": [found], "at": ""}))

    def press(self, *words: str, slide: Slide | None = None) -> ServicePage | AskPage:
        for word in words:
            assert self.desk.take([key(word)], slide) == [], "nothing is asked of the count"
        self.clock.s += 1
        page = self.desk.page
        assert isinstance(page, ServicePage | AskPage)
        return page

    def request(self, name: str) -> dict[str, str] | None:
        path = self.run / "requests" / f"{name}.json"
        return json.loads(path.read_text()) if path.exists() else None

    def answer(self, name: str, state: str, words: str, percent: int | None = None) -> None:
        """As root's unit does."""
        (self.run / "requests" / f"{name}.json").unlink(missing_ok=True)
        assert progress.tell(name, state, words, percent, self.boot)
        self.clock.s += 1


def keys_of(page: object) -> list[str]:
    assert isinstance(page, ServicePage | AskPage)
    return [choice.key for choice in page.choices]


def row(page: object, name: str) -> tuple[str, str]:
    assert isinstance(page, ServicePage)
    return next((each.words, each.level) for each in page.rows if each.name == name)


@pytest.fixture
def box(tmp_path: Path) -> Box:
    made = Box(tmp_path)
    made.plug(BUNDLE)
    return made


def test_three_keys_ask_for_an_update_and_its_progress_and_end_are_shown(box: Box) -> None:
    page = box.press(KEY)
    assert keys_of(page) == ["I", "B", "Q"] and row(page, "Device") == ("ward-3", "")
    assert "2026.12.1" in row(page, "Version")[0] and "slot A" in row(page, "Version")[0]
    assert row(page, "Engine")[0].startswith("attridet-n 1.0.0") and row(page, "Stick") == (f"WARD 3: {BUNDLE}", "")
    assert box.press("I").title == f"Install {BUNDLE}?" and box.request("update") is None
    page = box.press("Y")
    assert box.request("update") == {"bundle": BUNDLE, "stick": "1234-ABCD"}
    assert row(page, "Update") == ("asked for, waits", "busy") and "I" not in keys_of(page)
    box.answer("update", progress.RUNNING, "Writing slot B.", 40)
    assert row(box.desk.page, "Update") == ("40 %   Writing slot B.", "busy") and "R" not in keys_of(box.desk.page)
    box.answer("update", progress.DONE, "2026.12.2 is in slot B.")
    assert "R" in keys_of(box.desk.page)
    box.press("I", "Y")
    box.answer("update", progress.FAILED, "Version 2026.12.2 is installed already.")
    assert "R" in keys_of(box.desk.page), "what was installed before is there all the same"
    box.press("R")
    assert box.request("restart") == {}


def test_a_refusal_is_shown_and_it_may_be_asked_again(box: Box) -> None:
    box.press(KEY, "I", "Y")
    box.answer("update", progress.FAILED, "The bundle is not signed by a key that this box knows.")
    assert row(box.desk.page, "Update") == ("The bundle is not signed by a key that this box knows.", "fail")
    assert keys_of(box.desk.page) == ["I", "B", "Q"]
    page = box.press("I", "Y")
    assert row(page, "Update") == ("asked for, waits", "busy"), "the answer to the request before is none to this one"
    box.clock.s += 40
    assert row(box.desk.page, "Update") == (NOT_TAKEN, "fail")


def test_a_support_bundle_goes_to_a_stick_that_can_be_written(box: Box) -> None:
    box.press(KEY, "B")
    assert box.request("support-bundle") == {"stick": "1234-ABCD"}
    box.answer("support-bundle", progress.DONE, "leukoscope-support.tar.gz is on the stick.")
    assert row(box.desk.page, "Support bundle")[1] == "ok"
    box.plug(stick=replace(STICK, read_only=True))
    box.clock.s += 1
    assert keys_of(box.desk.page) == ["Q"]


def test_nothing_is_asked_for_while_a_slide_is_open(box: Box) -> None:
    assert box.desk.take([key("S")], None) != [] and isinstance(box.desk.page, CountPage)
    assert box.desk.take([key(KEY), key("I"), key("B")], OPEN) == [] and isinstance(box.desk.page, CountPage)
    box.desk.rest()
    box.press(KEY, "I")
    box.desk.take([key("Y")], OPEN)  # meanwhile somebody has opened one from afar
    assert isinstance(box.desk.page, CountPage) and not (box.run / "requests").exists()


def test_of_several_bundles_one_is_picked_and_a_pulled_stick_is_noticed(box: Box) -> None:
    box.plug(BUNDLE, "older.raucb")
    (box.boot / "update-offer.json").write_text('{"url": "https://updates.example/x.raucb", "version": "2026.12.3"}')
    page = box.press(KEY, "I")
    assert keys_of(page) == ["1", "2", "3", "ESCAPE"]
    assert box.press("3").title == "Install 2026.12.3?"
    box.press("Y")
    assert box.request("update") == {"url": "https://updates.example/x.raucb"}
    box.answer("update", progress.FAILED, "No network.")
    box.press("I", "1")
    (box.boot / "stick.json").unlink()
    box.clock.s += 1
    page = box.press("Y")
    assert isinstance(page, ServicePage) and page.words.startswith("The stick was pulled") and box.request("update") is None


def test_another_machine_says_so_and_offers_nothing_it_cannot_do(tmp_path: Path) -> None:
    box = Box(tmp_path, flashed=False, units=False)
    box.plug(BUNDLE)
    page = box.press(KEY)
    assert isinstance(page, ServicePage) and page.words.startswith("This machine was not flashed") and keys_of(page) == ["Q"]
    assert "no slots" in row(page, "Version")[0]
    box.press("I", "Y", "R", "B")
    assert not (tmp_path / "run" / "requests").exists()
    assert box.press("Q").title == "Ready"


def test_a_request_that_cannot_be_written_is_told(box: Box) -> None:
    box.run.rmdir()
    page = box.press(KEY, "I", "Y")
    assert isinstance(page, ServicePage) and page.words == NOT_WRITTEN


@pytest.mark.parametrize("said", ["", "[]", '{"url": 3}', '{"url": "file:///etc/shadow"}', '{"url": "https://[x"}', "x" * 20_000])
def test_an_offer_of_another_kind_is_none(tmp_path: Path, said: str) -> None:
    (tmp_path / "update-offer.json").write_text(said)
    assert offers((), tmp_path) == ()


@pytest.mark.parametrize("size", [(1920, 1080), (1024, 600)])
@pytest.mark.parametrize("language", LANGUAGES)
def test_it_is_drawn_in_all_languages_and_a_press_on_a_button_is_its_key(box: Box, language: str, size: tuple[int, int]) -> None:
    with speaking(language):
        page = box.press(KEY)
        sheet = Sheet(np.zeros((size[1], size[0], 3), np.uint8))
        targets = draw_on(sheet, replace(next(iter(views().values())), page=page))
        assert [word for _, word in targets.places] == keys_of(page) and sheet.pixels.any(axis=2).mean() > 0.9
        place = targets.places[0][0]
        word, at = targets.at(place.x0 + 3, place.y0 + 3)
        box.desk.take([Input(Kind.PRESS, word, at=at)], None)
    assert isinstance(box.desk.page, AskPage)


def test_root_restarts_a_box_only_where_no_slide_is_open(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = tmp_path / "requests"
    asked.mkdir()
    request, done = asked / "restart.json", []
    slide: list[object] = [{"slide_id": "S-1"}]
    monkeypatch.setattr("device.box.restart.ask_status", lambda path: {"slide": slide[0]})
    assert not restart(tmp_path, request, tmp_path, lambda: done.append(1))[0]
    request.write_text("{}")
    assert restart(tmp_path, request, tmp_path, lambda: done.append(1)) == (False, SLIDE_OPEN) and not request.exists()
    slide[0] = None
    request.write_text("{}")
    assert restart(tmp_path, request, tmp_path, lambda: done.append(1)) == (True, RESTARTS) and done == [1]
    monkeypatch.undo()
    request.write_text("{}")
    with telling(tmp_path):  # a daemon that runs and does not answer
        assert not restart(tmp_path / "none.sock", request, tmp_path, lambda: done.append(1))[0] and done == [1]
    assert (step := progress.read_step("restart", tmp_path)) is not None and step.state == progress.FAILED
    request.write_text("{}")
    assert restart(tmp_path / "none.sock", request, tmp_path, lambda: done.append(1)) == (True, RESTARTS) and done == [1, 1]
