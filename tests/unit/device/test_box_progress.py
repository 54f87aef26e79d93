"""How far a boot is: written whole or not at all, read in the order of a boot, and read past whatever else lies there."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest

from device.box.progress import BOOT, DONE, FAILED, RUNNING, STATES, STEPS, WAITING, Step, read, read_step, tell
from device.language import N_, Sentence, speaking
from tests.support.box_commands import leukoscope


def test_steps_come_back_as_told_and_in_the_order_of_a_boot(tmp_path: Path) -> None:
    assert tell("update", RUNNING, "The update is being written.", 12, tmp_path)
    assert tell("ready", WAITING, "Waiting for the camera.", folder=tmp_path)
    assert tell("engine", RUNNING, "The engine is being built\nfor this GPU.", 40.9, tmp_path)
    assert tell("provision", DONE, "Set up as lab-7.", 100, tmp_path)
    found = read(tmp_path)
    assert [step.step for step in found] == ["provision", "engine", "ready", "update"]
    assert found[1].words == "The engine is being built for this GPU." and found[1].percent == 40 and found[1].state == RUNNING
    assert found[2].percent is None
    assert found[0].at is not None and abs(datetime.now(timezone.utc) - found[0].at) < timedelta(minutes=1)
    assert (tmp_path / "engine.json").stat().st_mode & 0o777 == 0o644  # the kiosk is another user
    assert sorted(path.name for path in tmp_path.iterdir()) == ["engine.json", "provision.json", "ready.json", "update.json"]


INSTALLED = Sentence(N_("Version {version} is installed; restart the box to use it."), version="2.1~rc1")


@pytest.mark.parametrize(
    ("language", "spoken"),
    [
        ("en", "Version 2.1~rc1 is installed; restart the box to use it."),
        ("fr", "La version 2.1~rc1 est installée ; redémarrez l’appareil pour l’utiliser."),  # noqa: RUF001
        ("ur", "ورژن \u20662.1~rc1\u2069 نصب ہو گیا؛ استعمال کے لیے آلہ دوبارہ شروع کریں۔"),  # noqa: RUF001
    ],
)
def test_a_sentence_with_values_is_spoken_in_the_language_of_the_screen(tmp_path: Path, language: str, spoken: str) -> None:
    """Root tells it in English; the kiosk and the service page read it in another process, in their own language."""
    assert tell("update", DONE, INSTALLED, folder=tmp_path)
    step = read_step("update", tmp_path)
    assert step is not None and step.words == INSTALLED == "Version 2.1~rc1 is installed; restart the box to use it."
    with speaking(language):
        assert step.spoken == spoken


@pytest.mark.parametrize("made_of", [{"values": {}}, {"values": 7}, {"values": {"version": 2}}, {"template": "{x.y}"}, {"template": 3}])
def test_what_a_sentence_was_made_of_is_left_aside_where_it_does_not_fit(tmp_path: Path, made_of: dict[str, object]) -> None:
    tell("update", DONE, INSTALLED, folder=tmp_path)
    file = tmp_path / "update.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | made_of))
    step = read_step("update", tmp_path)
    assert step is not None
    with speaking("fr"):
        assert step.spoken == INSTALLED


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b'{"step": "engine", "state": "running", "wor',
        b"[1, 2]",
        b"null",
        b'{"state": "running"}',
        b'{"state": "asleep", "words": "x"}',
        b'{"state": ["running"], "words": "x"}',
        b'{"state": "running", "words": 7}',
        b"\xff\xfe\x00",
        b"[" * 15_000,
        b'{"state": "running", "words": "' + b"x" * 20_000 + b'"}',
    ],
)
def test_a_broken_file_hides_no_other_step(tmp_path: Path, content: bytes) -> None:
    tell("camera", FAILED, "No camera is there.", folder=tmp_path)
    (tmp_path / "engine.json").write_bytes(content)
    (tmp_path / "ready.json").mkdir()
    (tmp_path / "stick.json").write_text('{"bundles": []}')
    assert [step.step for step in read(tmp_path)] == ["camera"]


@pytest.mark.parametrize(
    ("percent", "shown"), [(101, None), (-1, None), (True, None), ("5", None), (5.7, 5), (float("nan"), None), (0, 0)]
)
def test_what_another_program_wrote_is_taken_with_care(tmp_path: Path, percent: object, shown: int | None) -> None:
    said = {"step": "engine", "state": "running", "percent": percent, "words": "a\x1b[2Jb\n" + "c" * 900, "at": "2026-12-01T01:02:03Z"}
    (tmp_path / "engine.json").write_text(json.dumps(said))
    step = read_step("engine", tmp_path)
    assert step is not None and step.percent == shown and step.at == datetime(2026, 12, 1, 1, 2, 3, tzinfo=timezone.utc)
    assert step.words.startswith("a [2Jb cccc") and len(step.words) == 600
    (tmp_path / "engine.json").write_text(json.dumps({**said, "at": "yesterday"}))
    step = read_step("engine", tmp_path)
    assert step is not None and step.at is None


def test_nothing_is_told_where_there_is_no_box_and_no_disk_stops_what_is_told_of(tmp_path: Path) -> None:
    assert not tell("engine", DONE, "built", folder=tmp_path / "absent") and not (tmp_path / "absent").exists()
    assert read(tmp_path / "absent") == ()
    (tmp_path / "engine.json").mkdir()  # a rename onto it is refused, also to root
    assert not tell("engine", DONE, "built", folder=tmp_path)
    for step, state in (("engines", DONE), ("engine", "finished")):
        with pytest.raises(ValueError, match=r"known are provision, engine.*waiting, running"):
            tell(step, state, "x", folder=tmp_path)
    assert set(BOOT) < set(STEPS) and len(STATES) == 4


def test_a_reader_never_sees_half_a_file(tmp_path: Path) -> None:
    tell("engine", RUNNING, "0", 0, tmp_path)
    stop, seen = threading.Event(), list[Step | None]()

    def look() -> None:
        while not stop.is_set():
            seen.append(read_step("engine", tmp_path))

    reader = threading.Thread(target=look)
    reader.start()
    for number in range(200):
        tell("engine", RUNNING, f"{number} " + "x" * (number % 7) * 60, number / 2, tmp_path)
    stop.set()
    reader.join()
    assert seen and None not in seen


def test_it_needs_nothing_heavy() -> None:
    """The first screen of a boot waits for it."""
    code = "import device.box.progress, sys; print(*(name for name in ('numpy', 'cv2', 'pydantic') if name in sys.modules))"
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=Path.cwd())
    assert said.stdout.strip() == ""


def test_the_command_prints_the_steps_and_fails_with_one_that_failed(tmp_path: Path) -> None:
    assert leukoscope("box", "progress", "--folder", tmp_path) == (0, f"{tmp_path}: nothing was told of a boot.")
    tell("provision", DONE, "Set up.", folder=tmp_path)
    tell("engine", RUNNING, "Being built.", 7, tmp_path)
    assert leukoscope("box", "progress", "--folder", tmp_path) == (0, "provision done: Set up. engine running 7 %: Being built.")
    tell("camera", FAILED, "No camera.", folder=tmp_path)
    assert leukoscope("box", "progress", "--folder", tmp_path).code == 1
