"""What the technician reads is in the screen's language; log, command line and other machines get the same in English."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from device import language, messages
from device.app import _rounds
from device.mqtt.publisher import BrokerStatus
from device.pipeline import Pipeline
from device.settings.config import Config, DeviceSection, ReplayCamera, SlideSection
from device.slide.commands import Command, Wish
from device.status import CurrentStatus
from device.store import Store
from tests.support.picture_line import CLOCK, OneNeutrophil, Pictures, pipeline_of
from tests.support.provenance import provenance

SPECIMEN, OPERATOR = "H26-104311", "QZ"
BEGIN = Wish(Command.START, specimen=SPECIMEN, operator=OPERATOR)
WISHES = [
    Wish(Command.UNDO), Wish(Command.REOPEN), Wish(Command.FINISH), Wish(Command.START, specimen="Jane Doe", operator=OPERATOR), BEGIN,
    *[None] * 3, Wish(Command.GO_ON), Wish(Command.PAUSE), Wish(Command.PAUSE), *[None] * 4, BEGIN, Wish(Command.ANSWER),
    Wish(Command.UNDO), Wish(Command.FINISH), Wish(Command.ABORT), Wish(Command.ABORT, reason=f"clots in {SPECIMEN}"),
    Wish(Command.FINISH, sure=True), Wish(Command.PAUSE), Wish(Command.REOPEN), Wish(Command.UNDO), Wish(Command.UNDO),
    Wish(Command.FINISH, sure=True), Wish(Command.ABORT, reason="clots"), Wish(Command.QUIT),
]  # fmt: skip
"""What is asked in turn; None: the next picture."""


@pytest.fixture(autouse=True)
def english_again() -> Iterator[None]:
    yield
    language.use("en")


def at_the_desk(folder: Path, store: Store | None = None, failing: int = 3) -> Pipeline:
    engine = OneNeutrophil(failing=frozenset({failing}))
    rules = SlideSection(finish_at_end=False)
    return pipeline_of(folder, Pictures([1, 1, 1, 2, 2, 2, 2]), engine, store=store, rules=rules)


def asked(code: str, folder: Path, caplog: pytest.LogCaptureFixture) -> tuple[list[str], list[str], list[str]]:
    """Everything in turn, with the screen in a language: what was logged, answered and shown, without the slides' ids."""
    language.use(code)
    caplog.clear()
    answered, shown = [], []
    with caplog.at_level(logging.INFO, "device"):
        pipeline = at_the_desk(folder)
        for wish in WISHES:
            if wish is None:
                pipeline.round()
            else:
                answered.append(pipeline.obey(wish)[1])
            shown.append(pipeline.view().message)
        pipeline.close()
    mask = re.compile(r"\d{8}-\d{6}-[0-9a-f]{6}")
    logged = [mask.sub("ID", record.getMessage()) for record in caplog.records]
    return logged, [mask.sub("ID", one) for one in answered], [mask.sub("ID", one) for one in shown]


@pytest.mark.parametrize("code", ["fr", "ur", "sw"])
def test_log_and_answers_are_english_and_the_screen_is_not(code: str, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    logged, answered, shown = asked("en", tmp_path / "en", caplog)
    there = asked(code, tmp_path / code, caplog)
    assert there[:2] == (logged, answered)
    for words in (
        "Slide ID started.",
        "Field 1 counted: 1 cell.",
        "Slide paused.",
        "Cannot undo: no slide is open; start a slide first.",
        "Nothing was counted on this slide, so there is nothing to review; abort it with A.",
        "The engine failed on a frame: out of memory, said the runtime",
        "Slide ID aborted: nothing had been counted.",
    ):
        assert words in logged, words
    # What is not in the screen's language is asked on the command line alone: --specimen, --anyway, --reason.
    same = [one for one, other in zip(shown, there[2], strict=True) if one and one == other]
    assert all("That looks like a name" in one or "--" in one for one in same), same


@pytest.mark.parametrize("code", ["en", "fr"])
def test_nothing_of_a_patient_or_of_who_counted_is_logged(code: str, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    logged, answered, _ = asked(code, tmp_path, caplog)
    assert len(logged) > 20
    for word in (SPECIMEN, OPERATOR, "Jane", "Doe"):
        assert not [one for one in (*logged, *answered) if word in one]


def test_a_slide_that_is_taken_up_again_is_logged_in_english(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with Store.open(tmp_path / "record.sqlite") as store:
        before = at_the_desk(tmp_path, store)
        before.obey(BEGIN)
        before.round()
    language.use("fr")
    with Store.open(tmp_path / "record.sqlite") as store:
        pipeline = at_the_desk(tmp_path, store)
        shown = pipeline.view().message
    assert pipeline.slide is not None
    said = f"Slide {pipeline.slide.slide_id} was open when the power went. P goes on, F finishes, A aborts."
    assert said in [record.getMessage() for record in caplog.records]
    assert pipeline.slide.slide_id in shown and "P goes on" not in shown


def test_what_is_said_again_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    language.use("fr")
    said = messages.Messages(lambda: 0.0)
    with caplog.at_level(logging.INFO, "device"):
        for _ in range(3):
            assert said.say(messages.told("Field {n} taken back.", n=3)) == "Field 3 taken back."
    assert [record.getMessage() for record in caplog.records] == ["Field 3 taken back."]
    assert next(said.fresh())[0] not in ("", "Field 3 taken back.")


def test_the_status_that_leaves_the_device_is_english(tmp_path: Path) -> None:
    sent, words = list[Any](), list[str]()
    notifier: Any = SimpleNamespace(status=words.append, watchdog=lambda: None)
    publisher: Any = SimpleNamespace(set_device_status=sent.append, set_health=lambda payload: None, status=BrokerStatus("disabled"))
    language.use("fr")
    pipeline = at_the_desk(tmp_path, failing=0)
    config = Config(camera=ReplayCamera(kind="replay", source="x"), device=DeviceSection(id="unit", state_dir=tmp_path))
    status = CurrentStatus(config, provenance(pipeline.engine_info), CLOCK)
    _rounds(pipeline, notifier, status, publisher, lambda done, line: line.stop("seen"))
    assert sent[0].engine.text == "failing, 1 frames not read"
    assert words == ["camera ok, engine fail, broker ok, record ok; no slide"]
    assert pipeline.lamps[3].text == "enregistré"
