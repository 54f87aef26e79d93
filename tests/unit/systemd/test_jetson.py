"""The dry run for a Jetson: what is missing is named, the layout of the disk gets its data partition, RAUC is answered by nvbootctrl.

No board and none of NVIDIA's files are here: a folder of the same shape stands for its package, a script with its words for nvbootctrl.
"""

from __future__ import annotations

import subprocess
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from systemd.image import jetson
from systemd.image.jetson import BOARDS, OVERLAY, JetsonError, Plan, look, release_of, with_data

BOARD = "jetson-orin-nano-devkit"
LAYOUT = """<?xml version="1.0"?>
<!-- Nvidia Tegra Partition Layout -->
<partition_layout version="01.00.0000">
    <device type="external" instance="0" sector_size="512" num_sectors="NUM_SECTORS">
        <partition name="master_boot_record" type="protective_master_boot_record"><size> 512 </size></partition>
        <partition name="primary_gpt" type="primary_gpt"><size> 19968 </size></partition>
        <partition name="APP" id="1" type="data"><size> APPSIZE </size><filename> APPFILE </filename></partition>
        <partition name="APP_b" id="2" type="data"><size> APPSIZE </size><filename> APPFILE_b </filename></partition>
        <partition name="UDA" id="15" type="data"><size> 419430400 </size></partition>
        <partition name="secondary_gpt" type="secondary_gpt"><size> 0xFFFFFFFFFFFFFFFF </size></partition>
    </device>
</partition_layout>
"""


@pytest.fixture
def plan(tmp_path: Path) -> Plan:
    """A folder like NVIDIA's package of Jetson Linux 36.4.3, and files named like ours."""
    bsp = tmp_path / "Linux_for_Tegra"
    files = {
        "tools/kernel_flash/l4t_initrd_flash.sh": "#!/bin/bash\n",
        "tools/kernel_flash/flash_l4t_t234_nvme_rootfs_ab.xml": LAYOUT,
        "bootloader/generic/cfg/flash_t234_qspi.xml": "<x/>",
        f"{BOARD}.conf": "",
        "rootfs/etc/nv_tegra_release": "# R36 (release), REVISION: 4.3, GCID: 38968081, BOARD: generic, EABI: aarch64\n",
    }
    for name, text in files.items():
        (bsp / name).parent.mkdir(parents=True, exist_ok=True)
        (bsp / name).write_text(text)
    (tmp_path / "keyring.pem").write_text("")
    return Plan(bsp, BOARD, _deb(tmp_path, "leukoscope_1.0_jammy_arm64.deb", "arm64"), tmp_path / "keyring.pem", 1024)


def _deb(folder: Path, name: str, architecture: str) -> Path:
    """A real, empty package."""
    tree = folder / name.removesuffix(".deb")
    (tree / "DEBIAN").mkdir(parents=True)
    control = f"Package: leukoscope\nVersion: 1.0\nArchitecture: {architecture}\nMaintainer: x <x@example.org>\nDescription: empty\n"
    (tree / "DEBIAN/control").write_text(control)
    subprocess.run(["dpkg-deb", "--build", "--root-owner-group", tree, folder / name], check=True, capture_output=True)
    return folder / name


def usb(folder: Path, *products: str) -> Path:
    """Like /sys/bus/usb/devices, with boards of NVIDIA's."""
    root = folder / "usb"
    for number, product in enumerate(products):
        (root / f"1-{number}").mkdir(parents=True)
        (root / f"1-{number}/idVendor").write_text("0955\n")
        (root / f"1-{number}/idProduct").write_text(f"{product}\n")
    root.mkdir(exist_ok=True)
    return root


def missing(plan: Plan, usb_devices: Path) -> str:
    """What is not as it must be, but for what this computer is."""
    here = ("this computer is", "not root", "virtual machine", "programs for arm64")
    return "\n".join(
        each.words
        for each in look(plan, usb_devices)
        if not each.good and not each.words.startswith(here) and here[2] not in each.words
    )


def test_nothing_is_missing_where_all_is_there(plan: Plan, tmp_path: Path) -> None:
    assert missing(plan, usb(tmp_path, "7523")) == ""
    assert release_of(plan.root) == "36.4.3"


def test_what_is_missing_is_named_with_the_next_step(plan: Plan, tmp_path: Path) -> None:
    none = usb(tmp_path)
    assert "no board in recovery on USB; connect pins FC REC and GND" in missing(plan, none)
    assert "0955:7023 is on USB, which is no jetson-orin-nano-devkit in recovery" in missing(plan, usb(tmp_path / "other", "7023"))
    (plan.root / "etc/nv_tegra_release").write_text("# R35 (release), REVISION: 6.0\n")
    assert "Jetson Linux 35.6.0 is not in our table (36.4, 36.5, 38.2, 38.4, 39.2)" in missing(plan, none)
    (plan.root / "etc/nv_tegra_release").write_text("# R38 (release), REVISION: 4.0\n")
    assert "Jetson Linux 38.4.0 (JetPack 7.1) does not serve jetson-orin-nano-devkit (t234)" in missing(plan, none)
    assert "leukoscope_1.0_jammy_arm64.deb: not for noble, whose Python is another" in missing(plan, none)
    (plan.root / "etc/nv_tegra_release").unlink()
    assert "no root file system with NVIDIA's files; unpack NVIDIA's sample into it, then ./apply_binaries.sh" in missing(plan, none)
    plan.theirs.unlink()
    assert "flash_l4t_t234_nvme_rootfs_ab.xml: absent" in missing(plan, none)
    plan.keyring.unlink()
    assert "`make keys` makes one" in missing(plan, none)
    plan.deb.unlink()
    assert "`make deb` makes it" in missing(plan, none)


def test_a_package_for_another_machine_is_refused(plan: Plan, tmp_path: Path) -> None:
    other = Plan(plan.bsp, BOARD, _deb(tmp_path, "leukoscope_1.0_jammy_amd64.deb", "amd64"), plan.keyring)
    assert "leukoscope_1.0_jammy_amd64.deb: for amd64; take the one for arm64" in missing(other, usb(tmp_path, "7523"))


def test_the_layout_gets_a_data_partition_before_the_second_table(plan: Plan) -> None:
    device = next(ET.fromstring(with_data(LAYOUT, 1024)).iter("device"))
    assert [part.get("name") for part in device][-3:] == ["UDA", "data", "secondary_gpt"]
    data = device[-2]
    assert (data.get("id"), data.findtext("size"), data.findtext("allocation_attribute")) == ("17", f" {1 << 30} ", " 0x8 ")
    with pytest.raises(JetsonError, match="has a partition data or number 17 already"):
        with_data(with_data(LAYOUT, 1024), 1024)
    with pytest.raises(JetsonError, match="no disk with APP and APP_b"):
        with_data(LAYOUT.replace("APP_b", "other"), 1024)


def test_the_very_command_is_printed_and_nothing_is_touched(plan: Plan, capsys: pytest.CaptureFixture[str]) -> None:
    before = sorted(plan.bsp.rglob("*"))
    assert jetson.main(plan.bsp, deb=plan.deb, keyring=plan.keyring, board=BOARD) == 1  # no board is on USB here
    said = capsys.readouterr().out
    assert (
        f"cd {plan.bsp} && ROOTFS_AB=1 ROOTFS_RETRY_COUNT_MAX=3 ./tools/kernel_flash/l4t_initrd_flash.sh --external-device nvme0n1p1 "
        "-c tools/kernel_flash/leukoscope_nvme_rootfs_ab.xml -p '-c bootloader/generic/cfg/flash_t234_qspi.xml' "
        f"--showlogs --network usb0 {BOARD} internal" in said
    )
    assert "Nothing was done" in said
    assert "Not tried on a board" in said
    assert sorted(plan.bsp.rglob("*")) == before


def test_a_board_that_nobody_knows_is_refused(plan: Plan, capsys: pytest.CaptureFixture[str]) -> None:
    assert jetson.main(plan.bsp, deb=plan.deb, keyring=plan.keyring, board="jetson-nano") == 2
    assert capsys.readouterr().err == f"--board jetson-nano: not in our table; take one of {', '.join(BOARDS)}\n"


NVBOOTCTRL = r"""#!/bin/sh
# Speaks as NVIDIA's nvbootctrl does, of a board that runs from slot A.
cd "$(dirname "$0")"
[ "$1" = -t ] && shift 2
echo "$*" >> asked
case "$1" in
  get-current-slot) echo 0 ;;
  dump-slots-info)
    printf 'Current rootfs slot: A\nActive rootfs slot: %s\nnum_slots: 2\n' "$(cat active)"
    printf 'slot: 0,  retry_count: 3,  status: normal\nslot: 1,  retry_count: 0,  status: %s\n' "$(cat status)" ;;
  set-active-boot-slot) [ "$2" = 0 ] && echo A > active || echo B > active ;;
  set-slot-as-unbootable) echo unbootable > status ;;
  mark-boot-successful) exit 1 ;;
  verify) ;;
  *) exit 1 ;;
esac
"""


class Slots:
    """The backend beside a stand-in for nvbootctrl."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        program = folder / "nvbootctrl"
        program.write_text(NVBOOTCTRL)
        program.chmod(0o755)
        (folder / "active").write_text("A")
        (folder / "status").write_text("normal")

    def __call__(self, *words: str) -> subprocess.CompletedProcess[str]:
        environment = {"PATH": f"{self.folder}:/usr/bin:/bin", "EFIVARS": str(self.folder)}
        backend = OVERLAY / "usr/lib/rauc/nvbootctrl-backend"
        return subprocess.run([backend, *words], capture_output=True, text=True, env=environment, check=False)


@pytest.fixture
def slots(tmp_path: Path) -> Slots:
    return Slots(tmp_path)


def test_rauc_is_answered_in_its_own_words(slots: Slots) -> None:
    assert [slots(*words).stdout for words in (("get-current",), ("get-primary",), ("get-state", "B"))] == ["A\n", "A\n", "good\n"]
    assert slots("set-state", "B", "bad").returncode == 0
    assert slots("get-state", "B").stdout == "bad\n"
    assert slots("set-primary", "B").returncode == 0
    assert slots("get-primary").stdout == "B\n"


def test_a_slot_that_was_given_up_is_made_bootable_before_it_is_chosen(slots: Slots) -> None:
    (slots.folder / "status").write_text("unbootable")
    assert slots("set-primary", "B").returncode == 0
    variable = slots.folder / "RootfsStatusSlotB-781e084c-a330-417c-b678-38e696380cb9"
    assert variable.read_bytes() == b"\x07\x00\x00\x00\x00\x00\x00\x00"


def test_the_running_slot_is_marked_successful(slots: Slots) -> None:
    assert slots("set-state", "A", "good").returncode == 0
    assert (slots.folder / "asked").read_text().splitlines()[-2:] == ["mark-boot-successful", "verify"]


def test_a_board_without_two_root_file_systems_is_named(slots: Slots) -> None:
    (slots.folder / "nvbootctrl").write_text("#!/bin/sh\nexit 69\n")
    run = slots("get-primary")
    assert run.returncode == 1
    assert "was the board flashed with ROOTFS_AB=1?" in run.stderr


@pytest.mark.parametrize("words", [(), ("get-state",), ("get-state", "C"), ("set-state", "A", "fine"), ("erase", "A")])
def test_what_rauc_never_asks_is_refused(slots: Slots, words: tuple[str, ...]) -> None:
    run = slots(*words)
    assert run.returncode == 2
    assert "usage:" in run.stderr
