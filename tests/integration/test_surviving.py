"""Start like running: a disk that is full, locked, read-only, failing or not there is a state, and a stop loses nothing."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import sqlite3
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from device.store import Store
from tests.support.surviving_line import Box, fill, small_disk, until

pytestmark = pytest.mark.integration


@pytest.fixture
def boxes() -> Iterator[list[Box]]:
    """Boxes whose processes end with the test, however it ends."""
    made: list[Box] = []
    yield made
    for box in made:
        if box.process is not None and box.process.poll() is None:
            box.process.kill()
            box.process.wait()


def left_open(box: Box) -> tuple[str, int]:
    """Count, and pull the plug; the slide's id and its fields in the record."""
    box.start().up()
    until(lambda: box.fields >= 3, "three fields")
    box.end(signal.SIGKILL)
    with Store.read(box.record) as store:
        (left,) = store.unfinished()
    return left.slide.slide_id, len(left.slide.fields)


def goes_on(box: Box, slide_id: str, fields: int) -> None:
    """The slide is there again, and grows."""
    until(lambda: box.fields > fields or box.ended is not None, "the slide that was open")
    assert box.ended is None, box.said
    status = box.status()
    assert status is not None and status["slide"]["slide_id"] == slide_id


def test_a_full_disk_at_the_start_is_a_state_and_the_slide_that_was_open_is_there_again(tmp_path: Path, boxes: list[Box]) -> None:
    with small_disk(tmp_path / "disk") as disk:
        box = Box(tmp_path, disk / "record.sqlite")
        boxes.append(box)
        slide_id, fields = left_open(box)
        ballast = fill(disk)
        box.start().up()
        until(lambda: box.record_lamp.startswith("fail"), "a red lamp")
        assert box.ended is None and "the disk is full" in box.said
        ballast.unlink()
        goes_on(box, slide_id, fields)
        assert box.end() == 0
        assert box.said.count("Traceback") == 0


def test_a_record_that_another_program_writes_at_the_start_is_waited_for(tmp_path: Path, boxes: list[Box]) -> None:
    box = Box(tmp_path)
    boxes.append(box)
    slide_id, fields = left_open(box)
    backup = sqlite3.connect(box.record, isolation_level=None)
    backup.execute("BEGIN EXCLUSIVE")
    box.start().up()
    until(lambda: box.record_lamp.startswith("fail"), "a red lamp")
    backup.execute("ROLLBACK")
    backup.close()
    goes_on(box, slide_id, fields)
    assert box.end() == 0


def test_a_read_only_disk_and_one_that_is_mounted_later(tmp_path: Path, boxes: list[Box]) -> None:
    with small_disk(tmp_path / "disk", options=",ro") as disk:
        box = Box(tmp_path, disk / "leukoscope" / "record.sqlite", slide="ask_specimen: false")
        boxes.append(box)
        box.start().up()
        until(lambda: box.record_lamp.startswith("fail does not answer, trying again: "), "a red lamp")
        refused = box.ask("start", sure=True)
        assert refused is not None and not refused["ok"] and "no slide can be counted yet" in refused["text"]
        assert "Read-only file system" in refused["text"] and "\n" not in refused["text"]
        for command in ("finish", "undo", "pause"):
            answer = box.ask(command)
            assert answer is not None and not answer["ok"] and "no slide is open" in answer["text"]
        with small_disk(disk):  # the stick is plugged in
            until(lambda: box.record_lamp.strip() == "ok", "an open record")
            started = box.ask("start", sure=True)
            assert started is not None and started["ok"]
            until(lambda: box.fields >= 1, "a field")
            assert box.end() == 0
    assert box.said.count("ERROR device.store.late") == 1, "told once"
    assert box.said.count("is open now") == 1


@pytest.fixture
def shim(tmp_path: Path) -> dict[str, str]:
    """Environment of a process whose disk fails as the letters in the file `flag` say: s statvfs, f fsync, w write."""
    source = Path(__file__).resolve().parents[1] / "support" / "eio.c"
    if shutil.which("gcc") is None:
        pytest.skip("needs gcc to make a failing disk")
    library = tmp_path / "eio.so"
    subprocess.run(["gcc", "-shared", "-fPIC", "-o", str(library), str(source), "-ldl"], check=True, capture_output=True)
    return {"LD_PRELOAD": str(library), "EIO_FLAG": str(tmp_path / "flag")}


def test_a_failing_disk_is_a_state_while_running_and_at_the_start(tmp_path: Path, boxes: list[Box], shim: dict[str, str]) -> None:
    box, flag = Box(tmp_path), tmp_path / "flag"
    boxes.append(box)
    box.start(shim).up()
    until(lambda: box.fields >= 2, "fields")
    for letters in ("s", "f", "w"):
        flag.write_text(letters)
        until(lambda: box.ask("pause") and box.record_lamp.startswith("fail"), f"a red lamp for {letters}")
        flag.unlink()
        until(lambda: box.record_lamp.strip() == "ok", f"the disk back from {letters}")
    until(lambda: box.fields >= 10, "the count goes on")
    counted = box.fields
    box.end(signal.SIGKILL)
    flag.write_text("sfw")
    box.start(shim).up()
    until(lambda: box.record_lamp.startswith("fail"), "a red lamp at the start")
    flag.unlink()
    until(lambda: box.fields >= counted, "the slide")
    assert box.end() == 0
    with Store.read(box.record) as store:
        (slide,) = store.unfinished()
        assert len(slide.slide.fields) >= counted
    assert "Traceback" not in box.said


def test_what_a_full_disk_refuses_at_the_end_is_there_at_the_next_start(tmp_path: Path, boxes: list[Box]) -> None:
    with small_disk(tmp_path / "disk") as disk:
        box = Box(tmp_path, disk / "record.sqlite", slide="ask_specimen: false, specimen_pattern: '.+'")
        boxes.append(box)
        box.start().up()
        assert box.ask("start", sure=True)
        until(lambda: box.fields >= 2, "fields")
        ballast = fill(disk)
        until(lambda: "NOT SAVED: 6" in box.record_lamp or "NOT SAVED: 7" in box.record_lamp, "unsaved fields")
        box.ask("pause")
        counted = box.fields
        assert box.end() == 1, "not everything is in the record"
        (kept,) = box.state.glob("leukoscope-unsaved-*.jsonl")
        assert kept.stat().st_mode & 0o777 == 0o600
        assert "the next start makes them" in box.said
        with Store.read(box.record) as store:
            (left,) = store.unfinished()
            assert len(left.slide.fields) < counted
        ballast.unlink()
        box.start().up()
        until(lambda: box.fields == counted, "all that was counted")
        assert not kept.exists()
        assert box.end() == 0
        with Store.read(box.record) as store:
            (whole,) = store.unfinished()
            assert [field.index for field in whole.slide.fields] == list(range(1, counted + 1))
            assert all(field.cells for field in whole.slide.fields)
            assert store.check_slide(whole.slide.slide_id).faults == ()


def test_under_systemd_quitting_ends_nothing_and_a_record_that_is_waited_for_feeds_the_watchdog(
    tmp_path: Path, boxes: list[Box]
) -> None:
    told = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    told.bind(str(tmp_path / "notify"))
    told.settimeout(60)
    with small_disk(tmp_path / "disk", options=",ro") as disk, told:
        box = Box(tmp_path, disk / "record.sqlite")
        boxes.append(box)
        box.start({"NOTIFY_SOCKET": str(tmp_path / "notify"), "WATCHDOG_USEC": "4000000"}).up()
        said = [told.recv(4096).decode()]
        while sum("WATCHDOG=1" in each for each in said) < 3:
            said.append(told.recv(4096).decode())
        assert said[0].startswith("READY=1") and box.record_lamp.startswith("fail")
        subprocess.run(["mount", "-o", "remount,rw", str(disk)], check=True)
        until(lambda: box.fields >= 1, "a field")
        quitted = box.ask("quit")
        assert quitted == {"ok": True, "text": "The box stays on."}
        until(lambda: (box.status() or {})["slide"]["state"] == "paused", "a paused slide")
        assert box.ended is None
        goes_on_again = box.ask("pause")
        assert goes_on_again is not None and "goes on" in goes_on_again["text"]
        assert box.end() == 0


@pytest.mark.parametrize("name", ["SIGHUP", "SIGQUIT", "SIGINT", "SIGTERM", "SIGPWR"])
def test_a_signal_that_ends_leaves_the_slide_paused_and_the_exit_code_0(name: str, tmp_path: Path, boxes: list[Box]) -> None:
    box = Box(tmp_path)
    boxes.append(box)
    box.start().up()
    until(lambda: box.fields >= 1, "a field")
    assert box.end(getattr(signal, name)) == 0
    assert f"ended: stopped by {name}" in box.said
    with Store.read(box.record) as store:
        (left,) = store.unfinished()
    assert left.slide.state.value == "paused"
    assert not (box.state / "control.sock").exists()


def test_other_signals_stop_nothing_and_usr1_shows_where_the_threads_are(tmp_path: Path, boxes: list[Box]) -> None:
    box = Box(tmp_path)
    boxes.append(box)
    box.start().up()
    until(lambda: box.fields >= 1, "a field")
    assert box.process is not None
    for number in (signal.SIGUSR1, signal.SIGUSR2, signal.SIGALRM, signal.SIGVTALRM, signal.SIGPROF, signal.SIGRTMIN + 3):
        box.process.send_signal(number)
    until(lambda: "Current thread" in box.said, "where the threads are")
    paused = box.ask("pause")
    assert paused is not None and paused["ok"] and box.ended is None
    assert box.end() == 0


def test_what_a_person_must_mend_is_one_line_and_exit_code_2(tmp_path: Path, boxes: list[Box]) -> None:
    box = Box(tmp_path)
    boxes.append(box)
    box.state.mkdir()
    with sqlite3.connect(box.record) as foreign:
        foreign.execute("CREATE TABLE theirs (x)")
    foreign.close()
    assert box.start().process is not None and box.end(0) == 2
    assert "is another program's database" in box.said and "Traceback" not in box.said
    box.record.unlink()
    box.start().up()
    with sqlite3.connect(box.record) as db:
        db.execute("INSERT INTO schema_version VALUES (99, 'later')")
    db.close()
    second = box.command("run")
    assert second.returncode == 2 and "another leukoscope" in second.stderr
    assert box.end() == 0
    newer = box.command("run")
    assert newer.returncode == 2 and "was written by a newer version" in newer.stderr


def test_a_picture_whose_name_is_no_utf8_is_counted_and_kept(tmp_path: Path, boxes: list[Box]) -> None:
    box = Box(tmp_path, extra="")
    boxes.append(box)
    for path in box.pictures.glob("*.png"):
        path.rename(path.with_name(os.fsdecode(b"pr\xe4parat_\x1b[31m" + path.name.encode())))
    box.start().up()
    until(lambda: box.fields >= 3, "fields")
    assert box.end() == 0
    with Store.read(box.record) as store:
        (left,) = store.unfinished()
    assert left.slide.fields[0].source == "pr\\xe4parat_\\x1b[31m00.png"
    assert "Traceback" not in box.said and "\x1b" not in box.said


def test_a_state_folder_that_may_only_be_read_is_a_state_and_all_opens_when_it_may_be_written(tmp_path: Path, boxes: list[Box]) -> None:
    with small_disk(tmp_path / "state"):
        remount = ["mount", "-o", "remount,ro", str(tmp_path / "state")]
        subprocess.run(remount, check=True)
        frames = f"frames: {{directory: {tmp_path / 'state' / 'frames'}, min_free_mb: 0}}\n"
        box = Box(tmp_path, slide="ask_specimen: false", extra=frames)
        boxes.append(box)
        box.start()
        until(lambda: "find nobody until it can be opened" in box.said or box.ended is not None, "what it says of the socket")
        until(lambda: "frames are not recorded" in box.said or box.ended is not None, "the frames' folder")
        assert box.ended is None, box.said
        subprocess.run([each.replace("remount,ro", "remount,rw") for each in remount], check=True)
        box.up()
        until(lambda: (box.ask("start", sure=True) or {}).get("ok"), "a slide")
        until(lambda: box.fields >= 1, "a field")
        assert box.end() == 0
        assert list((tmp_path / "state" / "frames").glob("*.png"))
    assert "Traceback" not in box.said
