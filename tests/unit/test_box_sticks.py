"""Which sticks there are by lsblk's own words, what is found on one, and a real file system mounted where the machine lets a test."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from device.box.sticks import Found, Stick, StickError, found_in, look, mounted, read_found, sticks, tell_found


def _device(name: str, **more: Any) -> dict[str, Any]:
    told = {"name": f"/dev/{name}", "type": "part", "rm": False, "hotplug": False, "tran": None, "fstype": None, "label": None}
    return told | {"uuid": None, "size": 1000, "ro": False, "mountpoints": [None]} | more


def _listed(*disks: dict[str, Any]) -> list[Stick]:
    return sticks(lambda: {"blockdevices": list(disks)})


def test_what_is_removable_with_a_known_file_system_is_a_stick() -> None:
    part = _device("sda1", fstype="vfat", label="UPDATE", uuid="12-AB", rm=True)
    usb = _device("sda", type="disk", rm=True, hotplug=True, tran="usb", children=[part])
    whole = _device("sdb", type="disk", hotplug=True, fstype="exfat", ro=True)
    inner = _device("nvme0n1", type="disk", tran="nvme", children=[_device("nvme0n1p3", fstype="ext4")])
    sealed = _device("sdc", type="disk", rm=True, children=[_device("sdc1", fstype="crypto_LUKS"), _device("sdc2", fstype="btrfs")])
    assert _listed(usb, whole, inner, sealed) == [
        Stick("/dev/sda1", "vfat", "UPDATE", "12-AB", 1000),
        Stick("/dev/sdb", "exfat", size_bytes=1000, read_only=True),
    ]


@pytest.mark.parametrize("point", ["/", "/efi", "/data"])
def test_the_disk_that_the_box_runs_from_is_none(point: str) -> None:
    parts = [_device("sda1", fstype="vfat"), _device("sda2", fstype="ext4", mountpoints=[None, point])]
    assert _listed(_device("sda", type="disk", rm=True, tran="usb", children=parts)) == []


def test_only_files_of_the_uppermost_folder_are_found_and_no_links(tmp_path: Path) -> None:
    (tmp_path / "b.raucb").touch()
    (tmp_path / "A.RAUCB").touch()
    (tmp_path / "PATIENT-0815.pdf").touch()
    (tmp_path / "link.raucb").symlink_to("/etc/passwd")
    (tmp_path / "._b.raucb").touch()  # a Mac leaves these
    (tmp_path / "leukoscope-setup.yaml").mkdir()
    stick = Stick("/dev/sda1", "vfat")
    assert found_in(stick, tmp_path) == Found(stick, ("A.RAUCB", "b.raucb"))
    (tmp_path / "leukoscope-setup.yaml").rmdir()
    (tmp_path / "leukoscope-setup.yaml").touch()
    assert found_in(stick, tmp_path).setup


def test_what_was_told_is_read_again_and_a_broken_file_is_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first, later = Stick("/dev/sda1", "vfat", "A"), Stick("/dev/sdb1", "vfat", "B")
    rounds = iter([[first], [first, later], [first, later]])
    monkeypatch.setattr("device.box.sticks.sticks", lambda: next(rounds))
    monkeypatch.setattr("device.box.sticks.look", lambda stick: Found(stick, ("x.raucb",), stick is first, "pulled"))
    told = tell_found(tmp_path)
    assert [each.stick for each in told] == [first, later], "one that came meanwhile is not missed"
    assert read_found(tmp_path) == told
    for broken in ("", "[]", '{"sticks": [{}]}', '{"sticks": 5}'):
        (tmp_path / "stick.json").write_text(broken)
        assert read_found(tmp_path) == ()
    assert read_found(tmp_path / "absent") == ()


def test_a_stick_that_cannot_be_mounted_is_told_with_the_next_step(tmp_path: Path) -> None:
    if os.geteuid():
        pytest.skip("only root mounts")
    gone = Stick("/dev/leukoscope-no-such", "vfat", "GONE")
    assert "'GONE' (/dev/leukoscope-no-such): mount failed" in look(gone).fault
    with (
        pytest.raises(StickError, match="write-protected; push its switch"),
        mounted(Stick("/dev/x", "vfat", read_only=True), write=True),
    ):
        pass


@pytest.fixture(params=["vfat", "ext4"])
def loop(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Stick]:
    image = tmp_path / "stick.img"
    with image.open("wb") as file:
        file.truncate(4 << 20)
    try:
        subprocess.run(
            (f"mkfs.{request.param}", "-n" if request.param == "vfat" else "-L", "TRIAL", str(image)), check=True, capture_output=True
        )
        done = subprocess.run(("losetup", "--find", "--show", str(image)), check=True, capture_output=True, text=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("this machine gives no loop device")
    device = done.stdout.strip()
    try:
        stick = Stick(device, request.param, "TRIAL")
        try:
            with mounted(stick):
                pass
        except StickError as error:
            pytest.skip(f"nothing can be mounted here: {error}")
        yield stick
    finally:
        subprocess.run(("losetup", "--detach", device), check=False)


def test_a_real_file_system_is_read_written_and_let_go(loop: Stick) -> None:
    with mounted(loop) as folder:
        flags = os.statvfs(folder).f_flag
        assert flags & os.ST_RDONLY and flags & os.ST_NOSUID and flags & os.ST_NODEV and flags & os.ST_NOEXEC
        with pytest.raises(OSError, match="Read-only"):
            (folder / "x").touch()
    with mounted(loop, write=True) as folder:
        (folder / "leukoscope-setup.yaml").write_text("device:\n")
    assert not folder.exists(), "nothing is left mounted"
    assert look(loop) == Found(loop, (), True)
    with pytest.raises(ZeroDivisionError), mounted(loop):
        raise ZeroDivisionError
    assert loop.device not in Path("/proc/mounts").read_text()
