"""The screen of a boot: what it says of each step, of a program that is gone, and of the box; and what the daemon tells for it."""

from __future__ import annotations

import subprocess
import sys
from datetime import datetime, timezone
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import pytest

from device import language
from device.box.boot import ENDED, Boot, alive, telling
from device.box.first_boot import About, about, page_of
from device.box.progress import DONE, FAILED, RUNNING, WAITING, Step, read_step, tell
from device.errors import ConfigError
from tests.support.box_commands import leukoscope

NOW = datetime(2026, 12, 1, 8, 30, tzinfo=timezone.utc)
BOX = About("0.3.0", "A", "clinic-7", "en", time_trusted=True)


def headline(*steps: Step, daemon: bool | None = True) -> tuple[str, str]:
    page = page_of(steps, daemon, BOX, NOW)
    return page.headline, page.level


def test_every_step_of_a_boot_has_its_row_before_anything_was_told() -> None:
    page = page_of((), None, BOX, NOW)
    assert [(row.name, row.state, row.level) for row in page.rows] == [
        (name, "waits", "dim") for name in ("Set-up", "Engine", "Camera", "Ready")
    ]
    assert (page.headline, page.level) == ("Leukoscope starts", "busy")
    assert page.foot == "clinic-7   ·   version 0.3.0   ·   slot A   ·   2026-12-01 08:30"


def test_the_share_of_the_engine_is_told_in_big_words_and_as_a_bar() -> None:
    building = Step("engine", RUNNING, "Compiling.", 43)
    assert headline(building) == ("The engine is being built for this box, 43 %", "busy")
    row = page_of((building,), None, BOX, NOW).rows[1]
    assert (row.state, row.share, row.words) == ("43 %", 0.43, "Compiling.")
    assert page_of((Step("engine", DONE, "Built.", 100),), None, BOX, NOW).rows[1].share is None


@pytest.mark.parametrize(
    ("step", "says", "level"),
    [
        (Step("provision", FAILED, "leukoscope-setup.yaml:7: zone"), "The set-up failed. This box counts, without a network.", "warn"),
        (Step("camera", FAILED, "/dev/video0 is gone"), "No picture from the camera.", "fail"),
        (Step("engine", FAILED, "no memory"), "The engine could not be built for this graphics processor.", "warn"),
        (Step("ready", FAILED, "device.yaml:3: x"), "The program has stopped. It is started again by itself.", "fail"),
    ],
)
def test_a_failure_stands_above_what_went_well_with_its_own_sentence(step: Step, says: str, level: str) -> None:
    others = tuple(Step(name, DONE, "well") for name in ("provision", "engine", "camera", "ready") if name != step.step)
    page = page_of((*others, step), True, BOX, NOW)
    assert (page.headline, page.level) == (says, level)
    assert [row.words for row in page.rows if row.level == "fail"] == [step.words]


def test_a_program_that_is_gone_without_a_word_is_not_called_ready() -> None:
    ready = Step("ready", DONE, "Ready.")
    assert headline(ready, daemon=True) == ("Ready. The picture opens.", "ok")
    page = page_of((ready,), False, BOX, NOW)
    assert (page.headline, page.level) == ("The program has stopped. It is started again by itself.", "fail")
    assert page.rows[3].level == "fail" and "without a word" in page.rows[3].words
    assert headline(Step("ready", WAITING, ENDED), daemon=False) == ("The program was ended.", "dim")


def test_an_update_has_a_row_below_those_of_the_boot() -> None:
    page = page_of((Step("update", RUNNING, "Written into slot B.", 60),), True, BOX, NOW)
    assert page.rows[4].name == "Update" and page.rows[4].share == 0.6


def test_an_untrusted_clock_says_so_in_every_language() -> None:
    try:
        feet = set()
        for code in language.LANGUAGES:
            language.use(code)
            feet.add(page_of((), None, About("1", "B", "x", code), NOW).foot)
    finally:
        language.use("en")
    assert len(feet) == 4 and "2026-12-01 08:30 (clock not set)" in next(
        foot for foot in feet if "version 1" in foot and "slot" in foot
    )


def test_which_box_it_is_comes_from_image_boot_loader_and_configuration(tmp_path: Path) -> None:
    (tmp_path / "release").write_text('NAME="Debian"\nIMAGE_ID=leukoscope\nIMAGE_VERSION="2026.12.1"\nbroken line\n')
    (tmp_path / "cmdline").write_text("BOOT_IMAGE=/vmlinuz root=/dev/sda2 rauc.slot=B quiet")
    (tmp_path / "device.yaml").write_text("device: {id: clinic-7}\ndisplay: {language: sw}\n")
    found = about("0.3.0", tmp_path / "device.yaml", tmp_path / "release", tmp_path / "cmdline", time_trusted=True)
    assert found == About("2026.12.1 (0.3.0)", "B", "clinic-7", "sw", time_trusted=True, flashed=True)
    nowhere = about("0.3.0", tmp_path / "none", tmp_path / "none", tmp_path / "none")
    assert nowhere == About("0.3.0", "", "", "en", time_trusted=False)


@pytest.mark.parametrize("text", ["device: [", "- a\n- b\n", "device: clinic\ndisplay: 7\n", "display: {language: [fr]}\n", "\x00"])
def test_a_configuration_that_cannot_be_read_leaves_a_screen(tmp_path: Path, text: str) -> None:
    (tmp_path / "device.yaml").write_text(text)
    assert about("1", tmp_path / "device.yaml").language == "en"


def test_an_error_that_ends_the_daemon_stands_until_frames_are_looked_at_again(tmp_path: Path) -> None:
    with pytest.raises(ConfigError), telling(tmp_path):
        assert alive(tmp_path) is True
        raise ConfigError("device.yaml:3: camera.fps: must be above 0")
    assert alive(tmp_path) is False
    with telling(tmp_path) as boot:
        step = read_step("ready", tmp_path)
        assert step is not None and (step.state, step.words) == (FAILED, "device.yaml:3: camera.fps: must be above 0")
        boot.look(done(observation=True), pipeline())
        assert told(tmp_path) == {"engine": DONE, "camera": DONE, "ready": DONE}
    step = read_step("ready", tmp_path)
    assert step is not None and (step.state, step.words) == (WAITING, ENDED)


def test_a_camera_that_goes_and_comes_is_told_both_times(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr("device.box.boot.time", SimpleNamespace(monotonic=lambda: now.__setitem__(0, now[0] + 2) or now[0]))
    boot = Boot(tmp_path)
    boot.look(done(frame=False), pipeline())
    assert told(tmp_path) == {"camera": WAITING}
    boot.look(done(frame=False), pipeline("/dev/video0 is gone"))
    assert told(tmp_path) == {"camera": FAILED}
    boot.look(done(observation=True), pipeline())
    assert told(tmp_path)["camera"] == DONE
    boot.look(done(frame=False), pipeline("/dev/video0 is gone"))
    assert told(tmp_path)["camera"] == FAILED and told(tmp_path)["ready"] == DONE
    boot.look(done(observation=True), pipeline())
    assert told(tmp_path)["camera"] == DONE


def test_what_the_unit_of_the_plans_told_of_the_engine_stands(tmp_path: Path) -> None:
    tell("engine", RUNNING, "Compiling.", 7, tmp_path)
    Boot(tmp_path).look(done(observation=True), pipeline())
    assert told(tmp_path)["engine"] == RUNNING


def test_a_program_that_was_killed_is_known_to_be_gone(tmp_path: Path) -> None:
    assert alive(tmp_path) is None
    code = "import sys, time; from pathlib import Path; from device.box.boot import telling\n"
    code += "with telling(Path(sys.argv[1])): print('up', flush=True); time.sleep(60)"
    with subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE, cwd=Path.cwd()) as child:
        assert child.stdout is not None and child.stdout.readline() == b"up\n"
        assert alive(tmp_path) is True and alive(tmp_path) is True
        child.kill()
        child.wait()
    assert alive(tmp_path) is False


def test_a_laboratorys_machine_is_told_nothing(tmp_path: Path) -> None:
    with telling(tmp_path / "absent") as boot:
        boot.look(done(observation=True), pipeline())
    assert not (tmp_path / "absent").exists() and alive(tmp_path / "absent") is None


def test_the_picture_is_drawn_from_what_was_told(tmp_path: Path) -> None:
    pytest.importorskip("PySide6")
    command = [sys.executable, "-m", "device", "box", "screen", "--folder", str(tmp_path), "--config", str(tmp_path / "none")]
    command += ["--width", "640", "--height", "360", "--picture"]
    for name, level in (("calm", DONE), ("alarm", FAILED)):
        tell("camera", level, "No camera is there. " * 20, folder=tmp_path)
        subprocess.run([*command, str(tmp_path / f"{name}.png")], check=True, timeout=60, cwd=Path.cwd())
    calm, alarm = (cv2.imread(str(tmp_path / f"{name}.png")) for name in ("calm", "alarm"))
    assert calm is not None and alarm is not None and calm.shape == alarm.shape == (360, 640, 3)
    assert tuple(alarm[2, 320]) == (0x66, 0x74, 0xFF) and tuple(calm[2, 320]) == (0xF5, 0xB8, 0x5B)
    assert (calm[60:100] > 200).any(), "the headline"
    refused = leukoscope("box", "screen", "--folder", tmp_path, "--picture", tmp_path / "no" / "x.png")
    assert refused.code == 2 and "x.png: cannot be written" in refused.text


def done(frame: bool = True, observation: bool = False) -> Any:
    return SimpleNamespace(frame=object() if frame else None, observation=object() if observation else None)


def pipeline(reason: str = "") -> Any:
    return SimpleNamespace(camera_is_retried=bool(reason), camera_reason=reason)


def told(folder: Path) -> dict[str, str]:
    return {path.stem: step.state for path in folder.glob("*.json") if (step := read_step(path.stem, folder)) is not None}
