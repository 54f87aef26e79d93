"""Flashing: which disks are refused, what is written, and that a bad disk is found by reading back. Files stand for disks, openly."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from systemd.image.disks import Disk, FlashError, disk_of, find_disk, refusal
from systemd.image.flash import check, flash, main

MIB = 1 << 20


@pytest.fixture
def image(tmp_path: Path) -> Path:
    """9 MiB and a bit that begin like a disk with a GPT."""
    path = tmp_path / "leukoscope.img"
    path.write_bytes(bytes(512) + b"EFI PART" + os.urandom(9 * MIB + 1234))
    return path


@pytest.fixture
def disk(tmp_path: Path) -> Path:
    """16 MiB with something on it."""
    path = tmp_path / "disk"
    path.write_bytes(b"\x55" * (16 * MIB))
    return path


def told(**changes: Any) -> dict[str, Any]:
    """What lsblk tells of a good stick, with changes."""
    good = {
        "name": "sdb", "path": "/dev/sdb", "type": "disk", "size": 32 * 10**9, "model": "Ultra Fit ", "serial": "4C53",
        "tran": "usb", "ro": False, "rm": False, "mountpoints": [None], "pkname": None,
    }  # fmt: skip
    return good | changes


def part(**changes: Any) -> dict[str, Any]:
    return told(name="sdb1", path="/dev/sdb1", type="part", pkname="sdb") | changes


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"mountpoints": ["/media/stick"]}, "/dev/sdb: in use (/dev/sdb is mounted at /media/stick); unmount it, or name another disk"),
        ({"children": [part(mountpoints=["/"])]}, "/dev/sdb1 is mounted at /"),
        ({"children": [part(mountpoints=["[SWAP]"])]}, "/dev/sdb1 is swap"),
        ({"children": [part(mountpoints=[None], children=[part(type="crypt", name="home")])]}, "/dev/sdb1 holds crypt home"),
        ({"ro": True}, "write-protected"),
        ({"size": 512 * 10**9}, "has 512.0 GB, more than the 256.0 GB that a box's disk has at most"),
        ({"size": 2 * 10**9}, "has 2.0 GB, and the image needs 3.0 GB"),
    ],
    ids=["mounted", "system", "swap", "encrypted", "protected", "large", "small"],
)
def test_a_disk_that_must_not_be_written_is_refused(changes: dict[str, Any], words: str) -> None:
    assert words in str(refusal(disk_of(told(**changes), Path("/dev/sdb")), 3 * 10**9))


def test_a_good_stick_is_shown_with_model_and_serial() -> None:
    found = disk_of(told(), Path("/dev/sdb"))
    assert refusal(found, 3 * 10**9) is None
    assert found.words == "/dev/sdb: Ultra Fit, serial 4C53, 32.0 GB, usb, removable"


@pytest.mark.parametrize("kind", ["part", "rom", "lvm", "crypt"])
def test_only_a_whole_disk_is_taken(kind: str) -> None:
    with pytest.raises(FlashError, match=rf"is a {kind}, and the image is for a whole disk; its disk is /dev/sdb"):
        disk_of(told(type=kind, pkname="sdb"), Path("/dev/sdb1"))


def test_the_disk_that_this_machine_runs_from_is_refused() -> None:
    """By the real lsblk, where / lies on a disk that it knows."""
    source = subprocess.run(["findmnt", "-no", "SOURCE", "/"], capture_output=True, text=True, check=False).stdout.strip()
    if not source.startswith("/dev/"):
        pytest.skip("/ lies on no disk here")
    parent = subprocess.run(["lsblk", "-ndo", "PKNAME", source], capture_output=True, text=True, check=True).stdout.strip()
    with pytest.raises(FlashError) as raised:
        whole = find_disk(Path("/dev", parent) if parent else Path(source))
        raise FlashError(refusal(whole, 0) or "taken")
    assert "in use" in str(raised.value)


def test_what_is_no_disk_or_no_image_is_named(image: Path, disk: Path, tmp_path: Path) -> None:
    for wrong, words in (
        (tmp_path / "absent", "No such file or directory; `lsblk"),
        (tmp_path, "is no disk"),
        (Path("/dev/null"), "is no disk"),
    ):
        with pytest.raises(FlashError, match=words):
            check(image, wrong)
    with pytest.raises(FlashError, match="has no partition table"):
        check(disk, image)
    with pytest.raises(FlashError, match="is the image itself"):
        check(image, image)
    with pytest.raises(FlashError, match="`make image` makes one"):
        check(tmp_path / "absent.img", disk)


def test_the_image_is_on_the_disk_and_the_rest_is_left(image: Path, disk: Path) -> None:
    steps = []
    done = flash(image, disk, lambda what, at, total: steps.append((what, at, total)))
    content = image.read_bytes()
    assert disk.read_bytes() == content + b"\x55" * (16 * MIB - len(content))
    assert done.sha256 == hashlib.sha256(content).hexdigest()
    assert {what for what, *_ in steps} == {"writing (MiB)", "reading back (MiB)"}
    assert steps[-1][1:] == (9, 9)


def test_a_cut_leaves_a_disk_that_boots_nothing(image: Path, disk: Path) -> None:
    class CutError(Exception):
        pass

    def cut(what: str, done: int, total: int) -> None:
        if done:
            raise CutError

    disk.write_bytes(image.read_bytes() + bytes(MIB))  # a disk that booted before
    with pytest.raises(CutError):
        flash(image, disk, cut)
    assert disk.read_bytes()[:MIB] == bytes(MIB)


def test_a_disk_that_gives_back_other_bytes_is_found(image: Path, disk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A stick that says it is larger than it is wraps round: here the write to one block goes astray."""
    real = os.pwrite

    def astray(fd: int, block: Any, at: int) -> int:
        return real(fd, block, 0 if at == 8 * MIB else at)

    monkeypatch.setattr(os, "pwrite", astray)
    with pytest.raises(FlashError, match="gives back other bytes than were written") as raised:
        flash(image, disk)
    assert raised.value.exit_code == 1


def test_an_image_that_is_not_what_its_sum_says_is_told(image: Path, disk: Path) -> None:
    image.with_name("leukoscope.img.sha256").write_text(f"{hashlib.sha256(image.read_bytes()).hexdigest()}  leukoscope.img\n")
    flash(image, disk)
    image.with_name("leukoscope.img.sha256").write_text(f"{'0' * 64}  leukoscope.img\n")
    with pytest.raises(FlashError, match=r"is not what leukoscope.img.sha256 says"):
        flash(image, disk)


def test_nothing_is_written_without_a_persons_word(image: Path, disk: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = disk.read_bytes()
    assert main(image, disk, dry_run=True) == 0
    assert main(image, disk, yes=Path("/dev/other")) == 2
    said = capsys.readouterr()
    assert f"{disk}: a file of 16.8" not in said.err
    assert "nothing was written; type the disk's name" in said.err
    assert disk.read_bytes() == before
    assert main(image, disk, yes=disk) == 0
    assert "written and read back, sha256" in capsys.readouterr().out


def test_the_command_ends_with_two_for_a_wrong_disk(image: Path, repository: Path) -> None:
    run = subprocess.run(
        [sys.executable, "-m", "systemd.image.flash", str(image), "/dev/null"],
        capture_output=True,
        text=True,
        cwd=repository,
        check=False,
    )
    assert run.returncode == 2
    assert run.stderr == "/dev/null: is no disk; name a whole one, such as /dev/sdb\n"


def test_a_loop_device_is_written_like_a_disk(image: Path, tmp_path: Path) -> None:
    backing = tmp_path / "backing"
    with backing.open("wb") as file:
        file.truncate(16 * MIB)
    try:
        made = subprocess.run(["losetup", "-f", "--show", backing], capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("no loop device can be made here (needs root)")
    try:
        done = flash(image, Path(made))
        assert isinstance(done.disk, Disk)
        assert not done.disk.is_file
        content = image.read_bytes()
        assert Path(made).read_bytes()[: len(content)] == content
    finally:
        subprocess.run(["losetup", "-d", made], check=True)
