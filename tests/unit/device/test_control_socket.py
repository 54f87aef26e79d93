"""The control socket between a person at the command line and the pipeline: answers, refusals, silence, and what a crash leaves."""

from __future__ import annotations

import json
import os
import socket
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from device.service.control import CommandRequest, ControlError, ControlServer, ask_status, send
from device.slide.commands import Command, Wish


def no_status() -> dict[str, Any]:
    return {}


@contextmanager
def pipeline(server: ControlServer, act: Callable[[CommandRequest], None]) -> Iterator[list[Command]]:
    """A thread that does with requests what the pipeline does; gives the commands seen."""
    seen: list[Command] = []
    stop = threading.Event()

    def work() -> None:
        while not stop.is_set():
            for request in server.requests():
                seen.append(request.wish.command)
                act(request)
            time.sleep(0.005)

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield seen
    finally:
        stop.set()
        thread.join()


def test_the_pipelines_answer_reaches_the_person(tmp_path: Path) -> None:
    path = tmp_path / "state" / "control.sock"

    def act(request: CommandRequest) -> None:
        if request.wish.command is Command.START:
            request.answer("slide 20260131-01 is open")
        else:
            request.answer("no slide is open", ok=False)

    with ControlServer(path, no_status) as server, pipeline(server, act) as seen:
        assert send(path, Wish(Command.START)) == "slide 20260131-01 is open"
        with pytest.raises(ControlError, match=r"^no slide is open$"):
            send(path, Wish(Command.FINISH))
        assert seen == [Command.START, Command.FINISH]
    assert not path.exists()


def test_status_is_answered_while_a_command_waits(tmp_path: Path) -> None:
    path = tmp_path / "control.sock"

    def ask() -> None:
        with pytest.raises(ControlError, match="the daemon is stopping"):
            send(path, Wish(Command.UNDO), timeout_s=30)

    with ControlServer(path, lambda: {"cells": 12, "folder": tmp_path}, answer_s=20.0) as server:
        waiting = threading.Thread(target=ask)
        waiting.start()
        while not server._waiting:
            time.sleep(0.005)
        begun = time.monotonic()
        assert ask_status(path) == {"cells": 12, "folder": str(tmp_path)}
        assert time.monotonic() - begun < 10.0
    waiting.join()


def test_what_nobody_took_is_withdrawn_and_never_acted_on(tmp_path: Path) -> None:
    path = tmp_path / "control.sock"
    with ControlServer(path, no_status, answer_s=0.1) as server:
        with pytest.raises(ControlError, match="nothing was changed; ask again"):
            send(path, Wish(Command.UNDO))
        assert server.requests() == []


def test_what_was_taken_but_not_answered_is_said_to_be_open(tmp_path: Path) -> None:
    path = tmp_path / "control.sock"
    with (
        ControlServer(path, no_status, answer_s=1.0) as server,
        pipeline(server, lambda request: None) as seen,
        pytest.raises(ControlError, match="look at the screen before you ask again"),
    ):
        send(path, Wish(Command.UNDO))
    assert seen == [Command.UNDO]


def test_closing_answers_those_who_wait(tmp_path: Path) -> None:
    path = tmp_path / "control.sock"
    told: list[str] = []

    def ask() -> None:
        try:
            told.append(send(path, Wish(Command.START), timeout_s=30))
        except ControlError as error:
            told.append(str(error))

    with ControlServer(path, no_status, answer_s=20.0) as server:
        asking = threading.Thread(target=ask)
        asking.start()
        while not server._waiting:
            time.sleep(0.005)
        begun = time.monotonic()
    asking.join()
    assert told == ["the daemon is stopping; nothing was changed"]
    assert time.monotonic() - begun < 10.0


def test_only_the_first_answer_counts() -> None:
    request = CommandRequest(Wish(Command.PAUSE))
    request.answer("paused")
    request.answer("not paused", ok=False)
    assert request.wait(0) == (True, "paused")


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (
            b'{"command": "dance"}\n',
            "unknown command 'dance'; known: start, finish, undo, pause, go-on, abort, reopen, answer, identify, quit, status",
        ),
        (b'{"command": []}\n', "unknown command"),
        (b"[]\n", "unknown command None"),
        (b"start\n", "one line of JSON is expected"),
        (b"\xff\xfe\n", "one line of JSON is expected"),
    ],
)
def test_what_is_not_understood_is_answered(tmp_path: Path, line: bytes, words: str) -> None:
    path = tmp_path / "control.sock"
    with ControlServer(path, no_status), socket.socket(socket.AF_UNIX) as peer:
        peer.connect(str(path))
        peer.sendall(line)
        reply = json.loads(peer.makefile().readline())
    assert not reply["ok"]
    assert words in reply["text"]


@pytest.mark.parametrize("sent", [b"", b'{"command"', b"x" * 100_000])
def test_a_peer_that_breaks_off_harms_nobody(tmp_path: Path, sent: bytes) -> None:
    path = tmp_path / "control.sock"
    with ControlServer(path, lambda: {"alive": True}, answer_s=1.0):
        with socket.socket(socket.AF_UNIX) as peer:
            peer.connect(str(path))
            try:
                peer.sendall(sent)
            except BrokenPipeError:
                assert len(sent) > 65536  # the server need not read it all
        assert ask_status(path) == {"alive": True}


def test_a_status_that_fails_is_told_and_logged(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    def broken() -> dict[str, Any]:
        raise ZeroDivisionError("no frames yet")

    path = tmp_path / "control.sock"
    with (
        ControlServer(path, broken),
        pytest.raises(ControlError, match=r"could not answer \(ZeroDivisionError: no frames yet\); see its log"),
    ):
        ask_status(path)
    assert "a request failed" in caplog.text


def test_no_daemon_is_one_clear_line(tmp_path: Path) -> None:
    with pytest.raises(ControlError, match=r"no leukoscope is running at .*; start it with") as caught:
        send(tmp_path / "control.sock", Wish(Command.START))
    assert "\n" not in str(caught.value)
    assert caught.value.exit_code == 2


def test_a_daemon_that_never_answers(tmp_path: Path) -> None:
    path = tmp_path / "control.sock"
    with socket.socket(socket.AF_UNIX) as silent:
        silent.bind(str(path))
        silent.listen()
        with pytest.raises(ControlError, match="does not answer"):
            send(path, Wish(Command.START), timeout_s=0.1)


KILLED = """
import os, sys
from pathlib import Path
from device.service.control import ControlServer
with ControlServer(Path(sys.argv[1]), dict):
    print("open", flush=True)
    os.kill(os.getpid(), 9)
"""


def test_the_socket_of_a_killed_daemon_is_in_nobodys_way(tmp_path: Path) -> None:
    path = tmp_path / "control.sock"
    killed = subprocess.run([sys.executable, "-c", KILLED, str(path)], check=False, stdout=subprocess.PIPE)
    assert killed.returncode == -9
    assert path.is_socket()
    with pytest.raises(ControlError, match="no leukoscope is running"):
        send(path, Wish(Command.START))
    with ControlServer(path, lambda: {"new": True}):
        assert ask_status(path) == {"new": True}


def test_a_second_daemon_is_refused_and_does_not_disturb_the_first(tmp_path: Path) -> None:
    path = tmp_path / "control.sock"
    with ControlServer(path, lambda: {"first": True}):
        with pytest.raises(ControlError, match="another leukoscope is running with this state folder"):
            ControlServer(path, no_status).__enter__()
        assert ask_status(path) == {"first": True}


def test_another_file_in_the_way_is_not_deleted(tmp_path: Path) -> None:
    path = tmp_path / "control.sock"
    path.write_text("somebody's notes")
    with pytest.raises(ControlError, match="in the way of the control socket"):
        ControlServer(path, no_status).__enter__()
    assert path.read_text() == "somebody's notes"
    path.unlink()
    with ControlServer(path, no_status):  # and the failed attempt holds nothing
        assert ask_status(path) == {}


def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ControlError, match="cannot be opened"):
        ControlServer(tmp_path / "file" / "control.sock", no_status).__enter__()


def test_owner_and_group_may_ask_and_nobody_else(tmp_path: Path) -> None:
    path = tmp_path / "control.sock"
    before = os.umask(0o077)
    try:
        with ControlServer(path, no_status):
            assert stat.S_IMODE(path.stat().st_mode) == 0o660
    finally:
        os.umask(before)


def test_a_path_longer_than_the_kernel_takes(tmp_path: Path) -> None:
    path = tmp_path / ("a" * 60) / ("b" * 60) / "control.sock"
    with ControlServer(path, lambda: {"long": True}):
        assert path.is_socket()
        assert ask_status(path) == {"long": True}
    assert not path.exists()
