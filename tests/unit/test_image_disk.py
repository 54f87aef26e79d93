"""The disk of a box: its layout, its boot loader's block, what is compared between two builds, and faults in one line."""

from __future__ import annotations

import itertools
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from systemd.image import bootstrap, compare, disk
from systemd.image.build import Wanted, build
from systemd.image.commands import MIB, ImageError, run
from systemd.image.root import OVERLAY

PATH = f"{os.environ['PATH']}:/usr/sbin:/sbin"


def test_no_partition_touches_another() -> None:
    parts = list(disk.layout().values())
    assert [part.name for part in parts] == ["grubenv", "ESP", "root-a", "root-b", "data"]
    for before, after in itertools.pairwise(parts):
        assert before.start + before.size <= after.start
        assert after.start % MIB == 0


def test_the_blocks_partition_has_it_where_the_box_looks_for_it(tmp_path: Path) -> None:
    if any(shutil.which(each, path=PATH) is None for each in ("mkfs.vfat", "mcopy")):
        pytest.skip("dosfstools and mtools are not installed")
    for name in ("one", "two"):
        disk.make_block({"ORDER": "A B", "A_OK": "1"}, tmp_path / name, tmp_path / "work", 1767225600)
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()
    block = (tmp_path / "one").read_bytes()[disk.ENV_OFFSET :][:1024]
    assert block == disk.environment_block({"ORDER": "A B", "A_OK": "1"})
    unit = OVERLAY / "usr/lib/systemd/system/leukoscope-grubenv.service"
    assert "--offset @ENV_OFFSET@ --sizelimit 1024 /dev/disk/by-partlabel/grubenv" in unit.read_text(encoding="utf-8")


def test_the_block_is_what_grubs_own_program_reads(tmp_path: Path) -> None:
    if shutil.which("grub-editenv") is None:
        pytest.skip("grub-common is not installed")
    block = tmp_path / "block"
    block.write_bytes(disk.environment_block({"ORDER": "A B", "A_OK": "1", "KERNEL_WORDS": "console=ttyS0 nomodeset"}))
    assert run("grub-editenv", block, "list").splitlines() == ["ORDER=A B", "A_OK=1", "KERNEL_WORDS=console=ttyS0 nomodeset"]
    run("grub-editenv", block, "set", "A_TRY=0")
    assert block.stat().st_size == 1024


def test_a_block_that_is_too_full_is_refused() -> None:
    with pytest.raises(ImageError, match="KERNEL_WORDS"):
        disk.environment_block({"KERNEL_WORDS": "x" * 1100})


@pytest.mark.skipif(shutil.which("sfdisk", path=PATH) is None, reason="fdisk is not installed")
def test_a_disk_holds_its_parts_where_the_table_says(tmp_path: Path) -> None:
    parts = disk.layout(64 * MIB, 64 * MIB)
    root = tmp_path / "root"
    root.write_bytes(b"hsqs" * 1000)
    for name in ("one.img", "two.img"):
        disk.make_disk(tmp_path / name, {"root-a": root}, parts)
    one = tmp_path / "one.img"
    assert one.read_bytes() == (tmp_path / "two.img").read_bytes()
    table = run("sfdisk", "--dump", one)
    for part in parts.values():
        assert f"start={part.start // 512:12d}, size={part.size // 512:12d}" in table
        assert f'name="{part.name}"' in table
    with one.open("rb") as file:
        file.seek(parts["root-a"].start)
        assert file.read(4000) == root.read_bytes()


def test_a_root_that_is_larger_than_its_slot_is_refused(tmp_path: Path) -> None:
    root = tmp_path / "root"
    with root.open("wb") as file:
        file.truncate(65 * MIB)
    with pytest.raises(ImageError, match=r"root: has 65 MiB, and root-a holds 64; .*--slot-mib"):
        disk.make_disk(tmp_path / "disk.img", {"root-a": root}, disk.layout(64 * MIB, 64 * MIB))


def test_packages_of_one_architecture() -> None:
    listed = "# words\nsystemd\nlinux-image-amd64 [amd64]\nlinux-image-arm64 [arm64]\n"
    assert bootstrap.packages("amd64", listed) == ["systemd", "linux-image-amd64"]
    assert bootstrap.packages("arm64", listed) == ["systemd", "linux-image-arm64"]
    with pytest.raises(ImageError, match="line 2"):
        bootstrap.packages("amd64", "systemd\nrauc amd64\n")
    shipped = bootstrap.PACKAGES.read_text(encoding="utf-8")
    names = bootstrap.packages("amd64", shipped)
    assert len(names) == len(set(names))
    assert not {"openssh-server", "sudo", "network-manager"} & set(names)


def test_a_build_that_cannot_begin_says_why_in_one_line(tmp_path: Path) -> None:
    deb = tmp_path / "a.deb"
    with pytest.raises(ImageError, match=r"a\.deb: no such package; `make deb`"):
        build(Wanted("amd64", deb, tmp_path, tmp_path), 0)
    deb.touch()
    for wanted, words in (
        (Wanted("riscv", deb, tmp_path, tmp_path), "none of amd64, arm64"),
        (Wanted("amd64", deb, tmp_path, tmp_path, compression="zstd"), "which the boot loader reads"),
        (Wanted("amd64", deb, tmp_path, tmp_path, keyring=tmp_path / "keyring.pem"), "keyring.pem: no such file"),
        (Wanted("amd64", deb, tmp_path, tmp_path, slot=1000), "whole MiB"),
    ):
        with pytest.raises(ImageError, match=words):
            build(wanted, 0)


def test_the_first_path_that_differs_is_named(tmp_path: Path) -> None:
    for name in ("a", "b"):
        folder = tmp_path / name / "etc"
        folder.mkdir(parents=True)
        (folder / "same").write_text("same")
        (folder / "version").write_text(name)
        (folder / "link").symlink_to(f"to-{name}")
    for path in (tmp_path / "a", tmp_path / "b"):
        for each in (path, *path.rglob("*")):
            os.utime(each, (0, 0), follow_symlinks=False)
    a, b = tmp_path / "a", tmp_path / "b"
    assert compare.first_difference(a, b) == "/etc/link: leads to to-a and to-b"
    for each in (a, b):
        (each / "etc/link").unlink()
        os.utime(each / "etc", (0, 0))
    assert compare.first_difference(a, b) == "/etc/version: content, from byte 0"
    (b / "etc/version").write_text("a")
    os.utime(b / "etc/version", (5, 5))
    assert compare.first_difference(a, b) == "/etc/version: time 0 and 5"
    os.utime(b / "etc/version", (0, 0))
    assert compare.first_difference(a, b) is None
    (b / "etc/version").chmod(0o600)
    assert str(compare.first_difference(a, b)).startswith("/etc/version: kind and mode")
    (b / "etc/version").unlink()
    os.utime(b / "etc", (0, 0))
    assert compare.first_difference(a, b) == "/etc/version: only in the first"


@pytest.mark.parametrize(
    ("before", "chosen", "tries"),
    [
        ("A B 1 0 1 0", "A", "1 0"),
        ("A B 1 2 1 0", "A", "3 0"),
        ("A B 1 3 1 0", "B", "3 1"),
        ("B A 1 0 0 0", "A", "1 0"),  # the first in order is not good
        ("B A 1 3 0 0", "A", "1 0"),  # all tries of the good one are spent: it gets them anew, not the one an update began to write
        ("B A 1 3 1 3", "B", "0 1"),  # both are good and spent: the first in order
        ("B A 0 0 0 0", "B", "0 1"),  # none is good: the first in order, rather than a box that stands still
    ],
)
def test_which_slot_the_boot_loader_takes(before: str, chosen: str, tries: str) -> None:
    """Its script's choosing part, run by a shell: but for how a variable is set the two languages agree there."""
    script = Path(disk.__file__).with_name("grub.cfg").read_text(encoding="utf-8")
    part = script[script.index("# A slot has three tries") : script.index("save_env ")]
    first, second, *state = before.split()
    given = f'ORDER="{first} {second}"; A_OK={state[0]}; A_TRY={state[1]}; B_OK={state[2]}; B_TRY={state[3]}\n'
    shell = given + re.sub(r"\bset (?=[\w$]+)", "", part) + 'echo "$chosen $A_TRY $B_TRY"\n'
    told = subprocess.run(["sh", "-eu", "-c", shell], capture_output=True, text=True, check=True).stdout.strip()
    assert told == f"{chosen} {tries}"


def test_the_boot_loaders_script_and_the_updater_speak_of_the_same_disk() -> None:
    script = Path(disk.__file__).with_name("grub.cfg").read_text(encoding="utf-8")
    parts = disk.layout()
    assert f"($disk,gpt{parts['grubenv'].number})/grubenv" in script
    assert f"set part={parts['root-a'].number}; set label=root-a" in script
    assert f"set part={parts['root-b'].number}; set label=root-b" in script
    system = (OVERLAY / "etc/rauc/system.conf").read_text(encoding="utf-8")
    for name in ("root-a", "root-b"):
        assert f"/dev/disk/by-partlabel/{name}\n" in system
    assert disk.DATA_TYPE.lower() in (OVERLAY / "usr/lib/repart.d/data.conf").read_text(encoding="utf-8")
    if shutil.which("grub-script-check"):
        subprocess.run(["grub-script-check", Path(disk.__file__).with_name("grub.cfg")], check=True)
