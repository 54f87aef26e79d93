"""An update in the box: asked for by keys, installed by RAUC from a stick, cut off at any moment; a bad version is left again."""

from __future__ import annotations

import json
import os
import random
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from device.demo.broker import MosquittoBroker
from systemd.image.disk import layout
from tests.support.vm import Machine, run
from tests.support.vm_box import CONFIG, NO_SCREEN, PROGRESS, boots, comes_up, provisioned, record_of
from tests.support.vm_update import Signed, newer, stick

RESULTS = Path(__file__).parents[2] / "runs" / "vm"
CUTS = int(os.environ.get("LEUKOSCOPE_CUTS", "20"))
SEED = 16
# A picture in ten seconds: else an emulated processor looks at frames all the time, and nothing else gets on.
BY_HAND = CONFIG.replace("auto_start: true", "auto_start: false").replace("fps: 2.0", "fps: 0.1")
UNSEEN = BY_HAND.replace("kind: screen", "kind: none")
_KEPT = "cat /etc/leukoscope/device.yaml /etc/machine-id | sha256sum; leukoscope slides list"
_REQUEST = "/run/leukoscope/requests/update.json"


@dataclass(frozen=True)
class Installed:
    """A box, switched off, with a finished slide, running from A, the update in B. Snapshot "ready": before it was asked for."""

    folder: Path
    percents: tuple[int, ...]
    took_s: float
    kept: str
    version: str
    stick: tuple[str, ...]


@pytest.fixture(scope="module")
def installed(signed: Signed, broker: MosquittoBroker, tmp_path_factory: pytest.TempPathFactory) -> Installed:
    folder = tmp_path_factory.mktemp("installed")
    version, bundle = newer(signed, 1, folder)
    with provisioned(signed.image, folder / "box", broker.port, UNSEEN, NO_SCREEN) as box:
        drive, device = stick(bundle, folder / "stick.img")
        box.extra = [*drive, "-device", device]
        box.start()
        comes_up(box, "A", "1")
        marked_good(box, "A")
        box.until("leukoscope slide start", 300, pause=3)
        box.until("leukoscope status | grep -q '\"fields\": [1-9]'", 900, pause=10)
        box.until("leukoscope slide finish --anyway", 600, pause=5)
        kept = box.ask(_KEPT, 300).text
        box.save("ready")
        began = time.monotonic()
        request(box, bundle.name)
        percents = followed(box)
        took_s = time.monotonic() - began
        assert slots(box) == {"A": "good", "B": "good", "booted": "A"}
        assert written(box.disk, "root-a") == 0
        switched_off(box)
        return Installed(folder / "box" / "vm", tuple(percents), took_s, kept, version, tuple(box.extra))


def again(of: Installed, room: Path, broker: MosquittoBroker, signed: Signed) -> Machine:
    """The box once more, on a copy of its disk's layer, so that each trial begins at the same bytes."""
    box = Machine(signed.image, room, broker=broker.port)
    shutil.copyfile(of.folder / "disk.qcow2", box.disk)
    shutil.copyfile(of.folder / "vars.qcow2", room / "vars.qcow2")
    return box


def request(box: Machine, bundle: str) -> None:
    """What the daemon writes when a person has pressed Y."""
    box.until(f"grep -qF '{bundle}' {PROGRESS}/stick.json", 300)
    found = json.loads(box.ask(f"cat {PROGRESS}/stick.json", 300).text)["sticks"]
    asked = json.dumps({"bundle": bundle, "stick": found[0]["stick"]["uuid"]})
    assert box.ask(f"echo '{asked}' > {_REQUEST}.new && mv {_REQUEST}.new {_REQUEST}").code == 0


def followed(box: Machine, seconds: float = 1800) -> list[int]:
    """Until the update is in its slot: the percents that the screen was told meanwhile."""
    seen: list[int] = []
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        told = box.ask(f"cat {PROGRESS}/update.json 2>/dev/null", 300).text
        step = json.loads(told[told.index("{") : told.rindex("}") + 1]) if "{" in told else {"state": "none"}
        if step.get("percent") is not None and step["percent"] not in seen:
            seen.append(step["percent"])
        if step["state"] in ("done", "failed"):
            assert step["state"] == "done", step["words"]
            return seen
        time.sleep(1)
    raise AssertionError(f"the update has not ended in {seconds:.0f} s: {box.ask('journalctl -u leukoscope-update -n 30', 300).text}")


def marked_good(box: Machine, slot: str) -> None:
    box.until(f"grub-editenv /run/grubenv list | grep -qx {slot}_TRY=0", 900, pause=5)


def switched_off(box: Machine) -> None:
    """In order, so that what lies in the guest's memory is on its disk."""
    box.ask("systemctl poweroff --no-block")
    box.wait_off(600)


def slots(box: Machine) -> dict[str, str]:
    """How RAUC judges each slot, by its name in the boot loader, and which is booted."""
    told = box.ask("rauc status --detailed --output-format=json", 300).text
    status = json.loads(next(line for line in told.splitlines() if line.startswith("{")))
    judged = {slot["bootname"]: slot["boot_status"] for each in status["slots"] for slot in each.values()}
    return judged | {"booted": status["booted"]}


def written(disk: Path, part: str) -> int:
    """How many bytes of a partition a layer of a disk holds, which are those that the box wrote."""
    where, total = layout()[part], 0
    for each in json.loads(run("qemu-img", "map", "-U", "--output=json", str(disk))):
        if each["depth"] == 0:
            total += max(0, min(each["start"] + each["length"], where.start + where.size) - max(each["start"], where.start))
    return total


def test_an_update_asked_for_by_keys_is_told_on_the_screen_and_booted_by_a_key(
    signed: Signed, installed: Installed, broker: MosquittoBroker, tmp_path: Path, result: Callable[..., None]
) -> None:
    RESULTS.mkdir(parents=True, exist_ok=True)
    with provisioned(signed.image, tmp_path / "box", broker.port, BY_HAND) as box:
        box.extra = list(installed.stick)
        box.start()
        comes_up(box, "A", "1")
        box.until("test -S /run/leukoscope-kiosk/wayland-0", 600)
        box.until(f"grep -q raucb {PROGRESS}/stick.json", 300)
        time.sleep(20)
        for key in ("q", "t", "i"):
            box.key(key)
            time.sleep(15)  # an emulated processor draws a page in some seconds
        box.screendump(RESULTS / "update-asked.png")
        box.key("y")
        percents = followed(box)
        time.sleep(15)
        box.screendump(RESULTS / "update-installed.png")
        box.key("r")
        comes_up(box, "B", "1")
        assert installed.version in box.ask("cat /etc/os-release", 300).text
        box.screendump(RESULTS / "updated.png")
    result(percents=percents)


def test_a_new_version_is_judged_good_and_what_is_the_clinics_is_kept(
    installed: Installed, signed: Signed, broker: MosquittoBroker, tmp_path: Path, result: Callable[..., None]
) -> None:
    assert len(installed.percents) > 2 and list(installed.percents) == sorted(installed.percents)
    with again(installed, tmp_path / "vm", broker, signed) as box:
        box.start()
        comes_up(box, "B", "1")
        assert installed.version in box.ask("cat /etc/os-release", 300).text
        marked_good(box, "B")
        assert slots(box) == {"A": "good", "B": "good", "booted": "B"}
        assert box.ask(_KEPT, 300).text == installed.kept
        assert record_of(box)["sound"] == "ok"
    result(version=installed.version, percents=installed.percents, installed_s=round(installed.took_s))


def test_cuts_during_an_install(
    installed: Installed, signed: Signed, broker: MosquittoBroker, tmp_path: Path, result: Callable[..., None]
) -> None:
    """Whenever the plug is pulled, the box boots the slot that it ran from, whose bytes nobody has touched.

    Every fifth time it is waited for until it looks at frames. The moments are drawn over the bytes written, seen from outside.
    """
    draw, booted, cut_at = random.Random(SEED), list[str](), list[int]()
    whole = written(installed.folder / "disk.qcow2", "root-b")
    name = f"leukoscope-amd64-{installed.version}.raucb"
    for cut in range(CUTS):
        with again(installed, tmp_path / f"vm-{cut}", broker, signed) as box:
            box.extra = list(installed.stick)
            box.start()
            box.load("ready")
            box.wait_shell(300)
            before = written(box.disk, "root-b")
            request(box, name)
            wanted = before + draw.uniform(0.0, 1.0) * whole
            end = time.monotonic() + 900
            while written(box.disk, "root-b") < wanted and time.monotonic() < end:
                time.sleep(0.2)
            box.kill()
            assert written(box.disk, "root-a") == 0
            cut_at.append(round(100 * (written(box.disk, "root-b") - before) / whole))
            box.extra = []
            box.start()
            slot = comes_up(box, "AB") if cut % 5 == 4 else boots(box, "AB")
            # The new version only where its install was whole; never one that is half written.
            assert slot == "A" or slots(box)["B"] == "good"
            found = record_of(box)
            assert found["sound"] == "ok" and [slide[1] for slide in found["slides"]] == ["review"]
            booted.append(slot)
            result(cuts=cut + 1, booted=booted, percent_written=cut_at, seed=SEED)
        shutil.rmtree(tmp_path / f"vm-{cut}")
    assert sum(0 < percent < 100 for percent in cut_at) >= CUTS // 2, "the cuts did not fall into the writing"


def test_cuts_during_the_first_boot(
    installed: Installed, signed: Signed, broker: MosquittoBroker, tmp_path: Path, result: Callable[..., None]
) -> None:
    """A cut before the new version was judged costs a try, not the version: it is booted again, looks at frames and is marked good."""
    draw, tries = random.Random(SEED + 1), list[str]()
    for cut in range(CUTS):
        with again(installed, tmp_path / f"vm-{cut}", broker, signed) as box:
            box.start()
            box.wait_for("slot B, try 1", 300)
            time.sleep(draw.uniform(0.0, 90.0))
            box.kill()
            box.start()
            comes_up(box, "B")
            tries.append(box.said().rsplit("try ", 1)[1][0])
            marked_good(box, "B")
            assert record_of(box)["sound"] == "ok"
            result(cuts=cut + 1, second_boot_was_try=tries, seed=SEED + 1)
        shutil.rmtree(tmp_path / f"vm-{cut}")


def _no_init(tree: Path) -> None:
    (tree / "usr/lib/systemd/systemd").unlink()


def _no_engine(tree: Path) -> None:
    """The program comes up and cannot open its engine. Its judgement is given less patience than a board's: three are waited for."""
    (zoo,) = tree.glob("opt/leukoscope/*/lib/python3.*/site-packages/engines/zoo")
    shutil.rmtree(zoo)
    (good,) = tree.glob("opt/leukoscope/*/lib/python3.*/site-packages/device/box/good.py")
    text = good.read_text(encoding="utf-8")
    assert "DEADLINE_S = 900.0" in text
    good.write_text(text.replace("DEADLINE_S = 900.0", "DEADLINE_S = 60.0"), encoding="utf-8")


@pytest.mark.parametrize("broken", [_no_init, _no_engine], ids=["no-init", "no-engine"])
def test_a_bad_version_is_left_within_three_boots(
    broken: Callable[[Path], None],
    signed: Signed,
    installed: Installed,
    broker: MosquittoBroker,
    tmp_path: Path,
    result: Callable[..., None],
) -> None:
    """From A, which is good, to B with the bad one on another stick, and back to A by itself."""
    version, bundle = newer(signed, 2, tmp_path, broken)
    drive, _ = stick(bundle, tmp_path / "bad.img", "u1")
    with again(installed, tmp_path / "vm", broker, signed) as box:
        box.extra = [*installed.stick, *drive]
        box.start()
        box.load("ready")
        box.wait_shell(300)
        box.monitor("device_del", id="stick")
        time.sleep(5)
        box.monitor("device_add", driver="usb-storage", id="bad", drive="u1", removable=True)
        before = box.ask(_KEPT, 300).text
        request(box, bundle.name)
        followed(box)
        # Off and on: after a snapshot was loaded QEMU's firmware stands still at a reset.
        assert box.ask("sync", 300).code == 0
        box.kill()
        began = time.monotonic()
        box.start()
        for attempt in "123":
            box.wait_for(f"slot B, try {attempt}", 1800)
        assert comes_up(box, "A", "1", 1800) == "A"
        back_s = time.monotonic() - began
        stand = slots(box)
        assert stand["booted"] == "A" and stand["A"] == "good"
        assert version not in box.ask("cat /etc/os-release", 300).text
        assert box.ask(_KEPT, 300).text == before
    result(boots=3, back_s=round(back_s))
