"""Puts the appliance on NVIDIA's own root file system for a Jetson, and drives NVIDIA's own flash tool. Not tried on a board.

python -m systemd.image.jetson BSP --deb FILE --keyring FILE            looks, and prints the very commands
python -m systemd.image.jetson BSP --deb FILE --keyring FILE --go       runs them
"""

from __future__ import annotations

import os
import platform
import shlex
import shutil
import subprocess
import sys
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import cyclopts

from engines.runtime.tensorrt.board import release_in

OVERLAY = Path(__file__).resolve().parents[1] / "jetson" / "overlay"
LAYOUT = "tools/kernel_flash/leukoscope_nvme_rootfs_ab.xml"
DATA_ID = 17
"""Number of the data partition; NVIDIA's layouts of A/B root file systems end before it."""
RETRIES = 3


@dataclass(frozen=True)
class Release:
    """One Jetson Linux. distribution: the Ubuntu of its root file system, which the package must be for. chips: it serves."""

    jetpack: str
    distribution: str
    chips: tuple[str, ...]


RELEASES = {
    "36.4": Release("6.1 to 6.2.1", "jammy", ("t234",)),
    "36.5": Release("6.2.2", "jammy", ("t234",)),
    "38.2": Release("7.0", "noble", ("t264",)),
    "38.4": Release("7.1", "noble", ("t264",)),
    "39.2": Release("7.2", "noble", ("t234", "t264")),
}
"""By the first two numbers of /etc/nv_tegra_release; read in NVIDIA's notes."""


@dataclass(frozen=True)
class Board:
    """usb: product numbers that it shows at USB (maker 0955) while it waits to be flashed. cfg: of its boot flash."""

    chip: str
    usb: tuple[str, ...]
    cfg: str


_ORIN = "bootloader/generic/cfg/flash_t234_qspi.xml"
BOARDS = {
    "jetson-orin-nano-devkit": Board("t234", ("7323", "7423", "7523", "7623"), _ORIN),
    "jetson-orin-nano-devkit-super": Board("t234", ("7323", "7423", "7523", "7623"), _ORIN),
    "jetson-agx-orin-devkit": Board("t234", ("7023",), _ORIN),
    "jetson-agx-thor-devkit": Board("t264", ("7026",), "bootloader/generic/cfg/flash_t264_qspi.xml"),
}
"""By the name of NVIDIA's configuration; an Orin NX in the Nano's carrier is flashed as the Nano's."""


@dataclass(frozen=True)
class Finding:
    """good: that is as it must be. words: what was found, and the next step where it is not good."""

    good: bool
    words: str


@dataclass(frozen=True)
class Plan:
    """What is put where. bsp: NVIDIA's Linux_for_Tegra. data_mib: size of the partition that updates leave alone."""

    bsp: Path
    board: str
    deb: Path
    keyring: Path
    data_mib: int = 16 << 10

    @property
    def root(self) -> Path:
        """The root file system that will be flashed."""
        return self.bsp / "rootfs"

    @property
    def theirs(self) -> Path:
        """NVIDIA's layout of an NVMe disk with two root file systems."""
        return self.bsp / "tools/kernel_flash" / f"flash_l4t_{BOARDS[self.board].chip}_nvme_rootfs_ab.xml"

    def commands(self) -> list[str]:
        """What is run, in this order, as root."""
        root, deb = shlex.quote(str(self.root)), shlex.quote(self.deb.name)
        board = BOARDS[self.board]
        return [
            f"cp -a {shlex.quote(str(OVERLAY))}/. {root}/",
            f"install -m 0644 {shlex.quote(str(self.keyring))} {root}/etc/rauc/keyring.pem",
            f"cp {shlex.quote(str(self.deb))} {root}/var/cache/apt/archives/",
            # In a mount namespace of its own: what is mounted goes with it, however it ends.
            f"unshare --mount sh -ec 'for each in proc sys dev; do mount --rbind /$each {root}/$each; done; "
            f'chroot {root} sh -ec "apt-get update && apt-get install -y rauc /var/cache/apt/archives/{deb}"\'',
            f"cd {shlex.quote(str(self.bsp))} && ROOTFS_AB=1 ROOTFS_RETRY_COUNT_MAX={RETRIES} ./tools/kernel_flash/l4t_initrd_flash.sh "
            f"--external-device nvme0n1p1 -c {LAYOUT} -p '-c {board.cfg}' --showlogs --network usb0 {self.board} internal",
        ]


class JetsonError(Exception):
    """The files of NVIDIA's package are not as they must be; the message names the file and the next step."""


def release_of(root: Path) -> str:
    """Jetson Linux's number such as "36.4.3", of an unpacked root file system; "" where there is none."""
    return release_in(root / "etc/nv_tegra_release")


def look(plan: Plan, usb: Path = Path("/sys/bus/usb/devices")) -> Iterator[Finding]:
    """What this computer, NVIDIA's package, ours and the board on the cable are like."""
    machine = platform.machine()
    yield Finding(
        machine == "x86_64", f"this computer is {machine}" + ("" if machine == "x86_64" else "; NVIDIA's tool needs an x86_64 one")
    )
    yield Finding(os.geteuid() == 0, "run as root" if os.geteuid() == 0 else "not root; run it with sudo")
    virtual = _virtual()
    yield Finding(
        not virtual,
        f"a virtual machine ({virtual}) loses the board's USB while it flashes; use a real one" if virtual else "no virtual machine",
    )
    emulated = Path("/proc/sys/fs/binfmt_misc/qemu-aarch64").exists()
    yield Finding(emulated, "programs for arm64 run here" + ("" if emulated else "? No: apt install qemu-user-static binfmt-support"))
    yield from _look_at_bsp(plan)
    yield from _look_at_deb(plan)
    keyring = plan.keyring.is_file()
    yield Finding(keyring, f"{plan.keyring}: who may sign updates" + ("" if keyring else ", is absent; `make keys` makes one"))
    yield _look_at_usb(plan.board, usb)


def _look_at_bsp(plan: Plan) -> Iterator[Finding]:
    tool = plan.bsp / "tools/kernel_flash/l4t_initrd_flash.sh"
    yield Finding(
        tool.is_file(), f"{tool}" + ("" if tool.is_file() else ": absent; unpack NVIDIA's Jetson Linux there (Linux_for_Tegra)")
    )
    number = release_of(plan.root)
    if not number:
        yield Finding(
            False, f"{plan.root}: no root file system with NVIDIA's files; unpack NVIDIA's sample into it, then ./apply_binaries.sh"
        )
    else:
        known = RELEASES.get(".".join(number.split(".")[:2]))
        chip = BOARDS[plan.board].chip
        if known is None:
            yield Finding(False, f"Jetson Linux {number} is not in our table ({', '.join(RELEASES)}); take one of these")
        elif chip not in known.chips:
            yield Finding(False, f"Jetson Linux {number} (JetPack {known.jetpack}) does not serve {plan.board} ({chip}); take another")
        else:
            yield Finding(True, f"Jetson Linux {number}, JetPack {known.jetpack}, {known.distribution}")
    for file in (plan.bsp / f"{plan.board}.conf", plan.theirs, plan.bsp / BOARDS[plan.board].cfg):
        yield Finding(
            file.is_file(), f"{file}" + ("" if file.is_file() else ": absent; this Jetson Linux does not flash that board so")
        )
    if plan.theirs.is_file():
        try:
            with_data(plan.theirs.read_text(encoding="utf-8"), plan.data_mib)
            yield Finding(True, f"{LAYOUT}: NVIDIA's, with {plan.data_mib} MiB of data behind")
        except JetsonError as error:
            yield Finding(False, f"{plan.theirs}: {error}")
    if plan.root.is_dir():
        used, free = _size(plan.root), shutil.disk_usage(plan.bsp).free
        # The tool keeps one image of each of the two root file systems, and a compressed copy.
        words = f"{free >> 30} GiB free beside a root file system of {used / (1 << 30):.1f} GiB"
        yield Finding(free > 3 * used, words + ("" if free > 3 * used else "; three times as much is needed"))


def _look_at_deb(plan: Plan) -> Iterator[Finding]:
    if not plan.deb.is_file():
        yield Finding(False, f"{plan.deb}: absent; `make deb` makes it")
        return
    told = _output("dpkg-deb", "-f", str(plan.deb), "Architecture")
    yield Finding(
        told == "arm64",
        f"{plan.deb.name}: for {told or 'nothing that dpkg-deb knows'}" + ("" if told == "arm64" else "; take the one for arm64"),
    )
    known = RELEASES.get(".".join(release_of(plan.root).split(".")[:2]))
    if known is not None:
        good = f"_{known.distribution}_" in plan.deb.name
        yield Finding(
            good,
            f"{plan.deb.name}: {'for' if good else 'not for'} {known.distribution}"
            + ("" if good else ", whose Python is another; take that one"),
        )


def _look_at_usb(board: str, usb: Path) -> Finding:
    waiting = []
    for maker in sorted(usb.glob("*/idVendor")):
        if maker.read_text().strip() == "0955":
            waiting.append(maker.with_name("idProduct").read_text().strip())
    wanted = BOARDS[board].usb
    if any(each in wanted for each in waiting):
        return Finding(True, f"a {board} waits on USB (0955:{next(each for each in waiting if each in wanted)})")
    other = f"0955:{', 0955:'.join(waiting)} is on USB, which is no {board} in recovery" if waiting else "no board in recovery on USB"
    return Finding(False, f"{other}; connect pins FC REC and GND (or hold the button), power it, and look by `lsusb -d 0955:`")


def with_data(layout: str, data_mib: int) -> str:
    """NVIDIA's layout of a disk with a partition "data" of that size behind the others. Raises JetsonError where it is another form."""
    root = ET.fromstring(layout)
    device = next((each for each in root.iter("device") if {"APP", "APP_b"} <= {part.get("name") for part in each}), None)
    if device is None:
        raise JetsonError("names no disk with APP and APP_b; it is not NVIDIA's layout of an A/B root file system")
    parts = list(device)
    if any(part.get("name") == "data" or part.get("id") == str(DATA_ID) for part in parts):
        raise JetsonError(f"has a partition data or number {DATA_ID} already; take NVIDIA's own file")
    last = next((at for at, part in enumerate(parts) if part.get("name") == "secondary_gpt"), None)
    if last is None:
        raise JetsonError("has no secondary_gpt; it is not NVIDIA's layout")
    part = ET.Element("partition", {"name": "data", "id": str(DATA_ID), "type": "data"})
    settings = {
        "allocation_policy": "sequential",
        "filesystem_type": "basic",
        "size": str(data_mib << 20),
        "file_system_attribute": "0",
        "allocation_attribute": "0x8",
        "align_boundary": "16384",
        "percent_reserved": "0",
        "description": "What an update leaves alone: record, settings, plans.",
    }
    for name, value in settings.items():
        ET.SubElement(part, name).text = f" {value} "
    device.insert(last, part)
    ET.indent(root, "    ")
    return '<?xml version="1.0"?>\n' + ET.tostring(root, encoding="unicode") + "\n"


def _size(folder: Path) -> int:
    return sum(os.lstat(Path(here, name)).st_blocks * 512 for here, _, names in os.walk(folder) for name in names)


def _virtual() -> str:
    kind = _output("systemd-detect-virt", "--vm")
    return "" if kind == "none" else kind


def _output(*command: str) -> str:
    try:
        return subprocess.run(command, capture_output=True, text=True, check=False, timeout=30).stdout.strip()
    except OSError:
        return ""


def main(
    bsp: Path, /, *, deb: Path, keyring: Path, board: str = "jetson-orin-nano-devkit", data_mib: int = 16 << 10, go: bool = False
) -> int:
    """Look whether a Jetson can be flashed from here, and print the commands that do it; --go runs them.

    Args:
        bsp: NVIDIA's Jetson Linux, unpacked (Linux_for_Tegra), with its root file system filled and ./apply_binaries.sh run.
        deb: The package for arm64 and that Jetson Linux's Ubuntu; `make deb` makes it.
        keyring: Certificates of those who may sign updates; `make keys` makes it.
        board: NVIDIA's name of the board.
        data_mib: Size of the partition for record, settings and plans.
        go: Do it, if everything is as it must be.
    """
    if board not in BOARDS:
        print(f"--board {board}: not in our table; take one of {', '.join(BOARDS)}", file=sys.stderr)  # noqa: T201
        return 2
    plan = Plan(bsp.absolute(), board, deb.absolute(), keyring.absolute(), data_mib)
    findings = list(look(plan))
    for each in findings:
        print(f"{'ok     ' if each.good else 'MISSING'} {each.words}")  # noqa: T201
    commands = plan.commands()
    print("\nAs root, in this order:", *commands, sep="\n  ")  # noqa: T201
    missing = sum(not each.good for each in findings)
    if missing:
        print(f"\nNothing was done: {missing} things are missing (above). Not tried on a board by us.")  # noqa: T201
        return 1
    if not go:
        print("\nA dry run: nothing was done; --go does it. Not tried on a board by us.")  # noqa: T201
        return 0
    (plan.bsp / LAYOUT).write_text(with_data(plan.theirs.read_text(encoding="utf-8"), data_mib), encoding="utf-8")
    for command in commands:
        print(f"\n+ {command}", flush=True)  # noqa: T201
        if subprocess.run(["bash", "-ec", command], check=False).returncode != 0:
            print(f"stopped: this command failed: {command}", file=sys.stderr)  # noqa: T201
            return 1
    return 0


if __name__ == "__main__":
    cyclopts.run(main)
