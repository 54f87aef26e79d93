"""`check-config` refuses what `run` refuses, in the same words, with exit code 2; it notes what may pass; it leaves nothing behind."""

from __future__ import annotations

import errno
import os
import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from device.cli import call
from device.service import checking
from device.settings.config_file import load_config
from engines.bundle import resolve

Checked = Callable[..., tuple[int, str]]


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    folder = tmp_path / "pictures"
    folder.mkdir()
    cv2.imwrite(str(folder / "1.png"), np.full((120, 160, 3), 200, np.uint8))
    return folder


@pytest.fixture
def checked(tmp_path: Path, pictures: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Checked:
    """Exit code and all that was said of a configuration; the network itself is opened only where `network` is."""

    def run(network: bool = False, **sections: str) -> tuple[int, str]:
        given = {
            "camera": f"{{kind: replay, source: {pictures}}}",
            "device": f"{{id: x, state_dir: {tmp_path}/state}}",
            "display": "{kind: none}",
            **sections,
        }
        file = tmp_path / "device.yaml"
        text = "".join(f"{key}: {value}\n" for key, value in given.items())
        file.write_text(text, encoding="utf-8", errors="surrogatepass")
        if not network:
            monkeypatch.setattr(checking, "_KEYS", {k: v for k, v in checking._KEYS.items() if k is not checking._engine})
        code = call(["check-config", str(file)])
        said = capsys.readouterr()
        assert "Traceback" not in said.err
        return code, said.err + said.out

    return run


def test_a_good_configuration_is_good_and_leaves_nothing_behind(tmp_path: Path, checked: Checked) -> None:
    before = set(tmp_path.iterdir())
    code, said = checked(True, display=f"{{kind: file, directory: {tmp_path}/a/b}}", frames=f"{{directory: {tmp_path}/f}}")
    assert (code, said.splitlines()[-1]) == (0, f"{tmp_path}/device.yaml: good")
    assert set(tmp_path.iterdir()) - before == {tmp_path / "device.yaml"}


LONG = "x" * 70_000


@pytest.mark.parametrize(
    ("sections", "words"),
    [
        ({"broker": f"{{topic_root: {LONG}}}"}, "broker.topic_root: too long"),
        ({"broker": '{topic_root: "bad/a\\nb"}'}, "broker.topic_root: holds a line break"),
        ({"broker": '{topic_root: "bad/\\x1b[2J"}'}, "broker.topic_root: holds the control character U+001B"),
        ({"broker": '{topic_root: "bad/a\\ud800"}'}, "broker.topic_root: holds half a character"),
        ({"broker": '{topic_root: "bad/\\uffff"}'}, "broker.topic_root: holds the control character U+FFFF"),
        ({"broker": f"{{topic_root: {'a/' * 300}a}}"}, "broker.topic_root: too long"),
        ({"broker": f"{{username: {LONG}}}"}, "broker.username: too long"),
        ({"broker": '{username: "a\\nb"}'}, "broker.username: holds a line break"),
        ({"broker": '{username: "a\\ud800"}'}, "broker.username: expected text"),
        ({"broker": '{username: a, password_file: "a\\0b"}'}, "broker.password_file: holds a NUL"),
        ({"broker": f"{{host: {'a' * 300}}}"}, "broker.host: no host has a name so long"),
        ({"broker": "{username: a, password_file: nowhere}"}, "broker: cannot read the broker's password file"),
        ({"broker": "{username: a, password_file: /etc}"}, "Is a directory"),
        ({"broker": "{tls: true, ca_file: nowhere}"}, "broker: cannot use broker.ca_file"),
        ({"device": '{state_dir: "a\\0b"}'}, "device.state_dir: holds a NUL"),
        ({"camera": '{kind: replay, source: "a\\0b"}'}, "camera.source: holds a NUL"),
        ({"camera": '{kind: v4l2, device: "/dev/a\\0b"}'}, "camera.device: holds a NUL"),
        ({"camera": "{kind: replay, source: nowhere}"}, "camera: there is no folder or file"),
        ({"camera": "{kind: replay, source: /dev/zero}"}, "camera: "),
        ({"camera": '{kind: replay, source: "file:///etc/passwd"}'}, "camera: there is no folder or file"),
        ({"camera": "{kind: v4l2, device: /etc}"}, "camera: /etc does not answer as a camera"),
        ({"engine": "{score_threshold: 0.0}"}, "engine.score_threshold: expected a number above 0, below 1, got 0.0"),
        ({"engine": "{score_threshold: 1.0}"}, "engine.score_threshold: expected a number above 0, below 1, got 1.0"),
        ({"microscope": "{profile: nowhere}"}, "microscope.profile: no calibration profile 'nowhere'; shipped ones:"),
        ({"microscope": "{profile: ../../etc/passwd}"}, "microscope.profile: "),
        ({"device": "{state_dir: /etc/passwd}"}, "control.sock: cannot be opened"),
        ({"device": "{state_dir: /proc/x}"}, "/proc/x/control.sock: cannot be opened (No such file or directory)"),
        ({"device": f"{{state_dir: {'e' * 300}}}"}, "control.sock: cannot be opened (File name too long)"),
        ({"record": "{path: /tmp}"}, "record.path: record /tmp: is not a file"),
        ({"record": "{path: foreign.sqlite}"}, "is another program's database"),
        ({"display": "{kind: file, directory: /proc/nothere}"}, "display.directory: /proc/nothere: the screen cannot be kept here"),
        ({"display": "{kind: file, directory: /etc/passwd}"}, "display.directory: /etc/passwd: the screen cannot be kept here"),
        ({"frames": "{directory: /proc/x}"}, "frames.directory: /proc/x: frames cannot be recorded here"),
    ],
)
def test_what_run_cannot_use_is_refused_with_its_line(tmp_path: Path, checked: Checked, sections: dict[str, str], words: str) -> None:
    with sqlite3.connect(tmp_path / "foreign.sqlite") as db:
        db.execute("CREATE TABLE a (b)")
    code, said = checked(**sections)
    assert code == 2 and words in said, said[:2000]
    assert f"{tmp_path}/device.yaml:" in said


@pytest.mark.parametrize(
    ("engine", "words"),
    [
        ("{bundle: nowhere}", "no such engine folder"),
        ('{bundle: "zoo:../../../etc"}', "no such bundle"),
        ('{bundle: "zoo:attridet-z"}', "Did you mean zoo:attridet-n?"),
        ("{bundle: altered}", "altered or incomplete"),
        ("{runtime: tensorrt}", "no NVIDIA driver"),
        ("{layer: nowhere.npz}", "nowhere.npz"),
    ],
)
def test_the_engine_is_opened_and_its_hashes_checked(tmp_path: Path, checked: Checked, engine: str, words: str) -> None:
    if "altered" in engine:
        shutil.copytree(resolve("zoo:attridet-n"), tmp_path / "altered")
        with (tmp_path / "altered" / "detector.onnx").open("ab") as file:
            file.write(b"x")
    code, said = checked(True, engine=engine)
    assert code == 2 and words in said, said


def test_every_fault_is_named_at_once(checked: Checked) -> None:
    code, said = checked(microscope="{profile: nowhere}", display="{kind: file, directory: /proc/x}", device="{state_dir: /proc/y}")
    assert code == 2
    assert all(key in said for key in ("microscope.profile: ", "display.directory: ", "device.state_dir: "))


@pytest.mark.parametrize(
    ("sections", "words"),
    [
        ({"camera": "{kind: v4l2, device: /dev/v4l/by-id/none}"}, "there is no camera /dev/v4l/by-id/none now"),
        ({"camera": '{kind: replay, source: "rtsp://user:secret@127.0.0.1:1/x"}'}, "a stream is not tried here"),
        ({"broker": "{host: broker.example}"}, "results travel to broker.example in clear"),
        ({"broker": "{host: broker.example, tls: true, username: a, password_file: open.password}"}, "chmod 600"),
        ({"broker": "{username: a, password_credential: broker-password}"}, "systemd gave this process no credential"),
        ({"record": "{path: diary.sqlite}"}, "note: "),
    ],
)
def test_what_may_pass_or_is_careless_is_a_note(
    tmp_path: Path, checked: Checked, sections: dict[str, str], words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CREDENTIALS_DIRECTORY", raising=False)
    (tmp_path / "diary.sqlite").write_text("this is my holiday diary\n" * 50)
    (tmp_path / "open.password").write_text("x")
    (tmp_path / "open.password").chmod(0o644)
    code, said = checked(**sections)
    assert code == 0 and words in said and "note: " in said, said
    assert "secret" not in said


def test_a_disk_that_is_full_is_no_fault_of_the_configuration_and_a_folder_of_another_user_is(
    tmp_path: Path, checked: Checked, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_args: Any, **_named: Any) -> Any:
        raise OSError(number, os.strerror(number))

    for number, wanted in ((errno.ENOSPC, 0), (errno.EROFS, 0), (errno.EACCES, 2)):
        monkeypatch.setattr(checking, "TemporaryFile", full)
        code, said = checked(frames=f"{{directory: {tmp_path}/frames}}")
        assert code == wanted and os.strerror(number) in said
        assert not (tmp_path / "frames").exists()


def test_the_cases_of_the_reliability_set(repository: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = repository.parent / "shared/cases/reliability/configs"
    if not folder.is_dir():
        pytest.skip("needs ../shared/cases beside the repository")
    for file in sorted(folder.glob("*.yaml")):
        assert call(["check-config", str(file)]) == 2, file
        assert str(file) in capsys.readouterr().err


def test_a_check_reads_the_file_as_run_does(tmp_path: Path, pictures: Path) -> None:
    file = tmp_path / "device.yaml"
    file.write_text(f"camera: {{kind: replay, source: {pictures}}}\ndevice: {{state_dir: /proc/x}}\n")
    told = [each for each in checking.check(load_config(file)) if each.fault]
    assert [each.key for each in told] == [("device", "state_dir")]
    assert told[0].words.startswith("/proc/x/control.sock")


@pytest.mark.parametrize(
    "section",
    [
        'broker: {topic_root: "bad/a\\nb"}',
        'broker: {topic_root: "bad/a\\ud800"}',
        f"broker: {{topic_root: {LONG}}}",
        f"broker: {{topic_root: {'r' * 257}}}",
        f"broker: {{username: {LONG}}}",
        'broker: {username: a, password_file: "a\\0b"}',
        "engine: {score_threshold: 0.0}",
        "engine: {score_threshold: 1.0}",
        'frames: {directory: "a\\0b"}',
        "engine: {bundle: nowhere}",
    ],
)
def test_run_refuses_in_the_same_words(tmp_path: Path, pictures: Path, capsys: pytest.CaptureFixture[str], section: str) -> None:
    file = tmp_path / "device.yaml"
    text = (
        f"camera: {{kind: replay, source: {pictures}}}\ndevice: {{state_dir: {tmp_path}/state}}\ndisplay: {{kind: none}}\n{section}\n"
    )
    file.write_text(text)
    said = []
    for command in (["run", "--config", str(file)], ["check-config", str(file)]):
        assert call(command) == 2
        said.append(capsys.readouterr().err.strip())
    assert said[0].removeprefix("leukoscope: ") in said[1]
    assert "\n" not in said[0] and "Traceback" not in said[0]


def test_the_longest_root_is_one_that_topics_can_be_made_of() -> None:
    from device.mqtt.topics import Topics, root_fault
    from device.settings.broker import BrokerSection

    root = BrokerSection(topic_root="/".join(["r" * 15] * 16)).topic_root
    assert root_fault(root) == "" and len(Topics("d" * 64, root).cmd_answer.encode()) < 65_535
