"""The image as a file: the same in two builds, and what is in it and what is not."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from systemd.image import compare, disk
from systemd.image.commands import MIB

pytestmark = [pytest.mark.box, pytest.mark.timeout(1200)]


@pytest.fixture(scope="module")
def root(built: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The root's settings and units, unpacked."""
    to = tmp_path_factory.mktemp("root") / "tree"
    wanted = ("etc", "usr/lib/systemd", "usr/lib/os-release", "usr/share/leukoscope", "usr/sbin", "usr/bin")
    command = ["unsquashfs", "-quiet", "-no-progress", "-dest", str(to), str(built("first") / "root.squashfs"), *wanted]
    subprocess.run(command, check=True, capture_output=True)
    return to


def test_two_builds_of_one_commit_are_the_same_bytes(built: Callable[[str], Path]) -> None:
    first, second = built("first"), built("second")
    assert list(compare.differences(first, second)) == []
    assert len(compare.EXCEPTIONS) <= 3
    (one,), (two,) = (list(each.glob("*.img.sha256")) for each in (first, second))
    assert one.read_text() == two.read_text()


def test_a_slot_leaves_room_for_a_version_half_as_large_again(built: Callable[[str], Path]) -> None:
    size = (built("first") / "root.squashfs").stat().st_size
    assert size * 1.5 < disk.SLOT, f"{size // MIB} MiB in slots of {disk.SLOT // MIB}: make slots larger before boxes are flashed"


def test_nobody_can_log_in_and_nothing_waits_for_a_connection(root: Path) -> None:
    shadow = (root / "etc/shadow").read_text()
    assert all(line.split(":")[1][:1] in {"!", "*"} for line in shadow.splitlines())
    for name in ("sbin/sshd", "sbin/dropbear", "bin/sudo", "sbin/inetd"):
        assert not (root / "usr" / name).exists()
    wanted = list((root / "etc/systemd/system").rglob("*.socket"))
    assert wanted == []
    assert "DNSStubListener=no" in (root / "etc/systemd/resolved.conf.d/no-listening.conf").read_text()


def test_a_version_says_which_it_is_and_has_no_identity_of_its_own(root: Path, built: Callable[[str], Path]) -> None:
    release = dict(line.split("=", 1) for line in (root / "usr/lib/os-release").read_text().splitlines() if "=" in line)
    assert release["IMAGE_ID"] == "leukoscope"
    (image,) = built("first").glob("leukoscope-*.img")
    assert image.name == f"leukoscope-{release['IMAGE_VERSION']}-amd64.img"
    assert (root / "etc/machine-id").read_text() == ""
    assert "compatible=leukoscope-amd64" in (root / "etc/rauc/system.conf").read_text()


def test_owners_of_what_is_kept_have_the_same_numbers_in_every_version(root: Path) -> None:
    users = {line.split(":")[0]: line.split(":")[2] for line in (root / "etc/passwd").read_text().splitlines()}
    assert (users["leukoscope"], users["kiosk"]) == ("880", "881")
