"""What RAUC tells of the slots, and which version is newer."""

from __future__ import annotations

import itertools
import shutil
import subprocess
from pathlib import Path

import pytest

from device.box.slots import SlotError, read_slots, running_version, slots_of, version_newer

VERSIONS = (
    *("1.6.0", "1.6.0~dev3", "1.6.0~dev10", "1.6.0~dev3+g12", "1.6.0~", "1.10", "1.9", "1.6"),
    *("1.6.0+1", "1.6.0-1", "1.6.0-1~dev", "1.6.0a", "1.6.0.1", "0.0.0", "1:0.1"),
)


def told(booted: str = "A", other_version: str | None = "1.5.0", other_good: str = "good") -> dict[str, object]:
    """As RAUC 1.8 says it."""

    def slot(number: int, name: str) -> dict[str, object]:
        here = name == booted
        bundle = {"compatible": None} if here or other_version is None else {"compatible": "x", "version": other_version}
        return {
            f"rootfs.{number}": {
                "class": "rootfs",
                "device": f"/dev/disk/by-partlabel/root-{name.lower()}",
                "type": "raw",
                "bootname": name,
                "state": "booted" if here else "inactive",
                "parent": None,
                "mountpoint": None,
                "boot_status": "good" if here else other_good,
                "slot_status": {"bundle": bundle},
            }
        }

    return {"compatible": "leukoscope-amd64", "booted": booted, "boot_primary": "rootfs.0", "slots": [slot(1, "B"), slot(0, "A")]}


def test_the_booted_slot_is_the_one_that_says_so_and_its_version_is_its_roots() -> None:
    slots = slots_of(told("B", "1.4.0", "bad"), "1.6.0")
    assert slots.booted and (slots.booted.boot_name, slots.booted.version, slots.booted.good) == ("B", "1.6.0", True)
    assert slots.other and (slots.other.name, slots.other.version, slots.other.good) == ("rootfs.0", "1.4.0", False)
    assert slots_of(told("A", None), "1.6.0").other.version == ""  # type: ignore[union-attr]
    assert slots_of(told("nfs"), "1.6.0").booted is None


@pytest.mark.skipif(shutil.which("dpkg") is None, reason="needs dpkg to compare with")
def test_versions_are_ordered_as_dpkg_orders_them() -> None:
    pairs = list(itertools.permutations(VERSIONS, 2))
    script = "\n".join(f"dpkg --compare-versions '{one}' gt '{than}' && echo y || echo n" for one, than in pairs[::2])
    said = subprocess.run(["sh", "-c", script], capture_output=True, text=True, check=True).stdout.split()
    assert [version_newer(*pair) for pair in pairs[::2]] == [word == "y" for word in said]
    assert not any(version_newer(one, one) for one in VERSIONS)


def test_a_machine_without_rauc_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(SlotError, match="only a flashed box is updated"):
        read_slots()
    release = tmp_path / "os-release"
    assert running_version(release) == ""
    release.write_text('ID=debian\nIMAGE_VERSION="1.6.0~dev1"\n')
    assert running_version(release) == "1.6.0~dev1"
