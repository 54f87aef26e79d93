"""Sticks: which devices are some, and a real file system mounted for a moment (a loop device stands for the stick; needs root)."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from device.box import stick_content
from device.box.sticks import Stick, StickError, found_in, mounted


def disk(**changes: Any) -> dict[str, Any]:
    part = {
        "path": "/dev/sdb1",
        "type": "part",
        "fstype": "vfat",
        "label": "FIELD",
        "size": 8,
        "rm": True,
        "ro": False,
        "mountpoints": [None],
    }
    return {
        "path": "/dev/sdb",
        "type": "disk",
        "fstype": None,
        "rm": True,
        "tran": "usb",
        "children": [part | changes.pop("part", {})],
    } | changes


def test_a_stick_is_one() -> None:
    (found,) = found_in([disk()])
    assert (found.device, found.name, found.file_system) == (Path("/dev/sdb1"), "FIELD", "vfat")


@pytest.mark.parametrize(
    "told",
    [
        disk(rm=False, tran="nvme"),
        disk(part={"mountpoints": ["/"]}),
        disk(part={"partlabel": "data"}),
        disk(part={"fstype": "crypto_LUKS"}),
        disk(part={"fstype": None}),
    ],
    ids=["built in", "the system's", "of our image", "encrypted", "unknown"],
)
def test_what_is_none_is_left_alone(told: dict[str, Any]) -> None:
    assert list(found_in([told])) == []


@pytest.fixture
def stick(tmp_path: Path) -> Iterator[Stick]:
    image = tmp_path / "stick.img"
    with image.open("wb") as file:
        file.truncate(8 << 20)
    try:
        subprocess.run(["mke2fs", "-q", "-t", "ext4", image], check=True, capture_output=True)
        device = subprocess.run(["losetup", "-f", "--show", image], check=True, capture_output=True, text=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("no loop device can be made here (needs root)")
    yield Stick(Path(device), "ext4", "FIELD")
    subprocess.run(["losetup", "-d", device], check=True)


def test_it_is_mounted_read_only_and_for_a_moment(stick: Stick, tmp_path: Path) -> None:
    with mounted(stick, folder=tmp_path / "mounts") as folder, pytest.raises(OSError, match="Read-only"):
        (folder / "x").write_text("x")
    assert not folder.exists()
    with mounted(stick, write=True, folder=tmp_path / "mounts") as folder:
        (folder / "update.raucb").write_text("x")
        assert "noexec" in subprocess.run(["findmnt", "-no", "OPTIONS", folder], capture_output=True, text=True, check=True).stdout
    with mounted(stick, folder=tmp_path / "mounts") as folder:
        assert (folder / "update.raucb").read_text() == "x"


def test_what_lies_on_it_is_told_to_the_screen(stick: Stick, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stick_content, "sticks", lambda: [stick, Stick(Path("/dev/absent"), "ext4", "GONE")])
    with mounted(stick, write=True, folder=tmp_path / "mounts") as folder:
        (folder / "leukoscope-setup.yaml").write_text("x")
        (folder / "leukoscope-2.raucb").write_text("x")
        (folder / "._leukoscope-2.raucb").write_text("x")
    found = stick_content.look()
    assert found[0].words == "leukoscope-setup.yaml, leukoscope-2.raucb"
    assert "GONE: mount says" in found[1].words
    stick_content.remember(found, tmp_path)
    told = json.loads((tmp_path / "stick.json").read_text())["sticks"]
    assert (told[0]["setup"], told[0]["bundles"], told[0]["name"]) == (True, ["leukoscope-2.raucb"], "FIELD")


def test_a_stick_that_is_write_protected_says_so(tmp_path: Path) -> None:
    protected = Stick(Path("/dev/sdb1"), "vfat", "FIELD", read_only=True)
    with pytest.raises(StickError, match="FIELD: is write-protected"), mounted(protected, write=True, folder=tmp_path):
        pass
