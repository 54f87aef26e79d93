"""One start of the image as it is shipped, in QEMU: it counts by itself, marks its slot good, shows a picture, and a summary leaves it.

Its data partition is as provisioning leaves it: settings, with the simulated camera. Deadlines are of an emulated processor.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image

from device.demo.broker import BrokerError, MosquittoBroker
from tests.support.vm import Machine, missing
from tests.support.vm_box import Heard, provisioned

pytestmark = [pytest.mark.box, pytest.mark.timeout(1500)]


@pytest.fixture(scope="module")
def broker() -> Iterator[MosquittoBroker]:
    try:
        with MosquittoBroker() as running:
            yield running
    except BrokerError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="module")
def box(image: Path, broker: MosquittoBroker, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    """The box, switched on, its shell answering."""
    if absent := missing():
        pytest.skip(f"not here: {', '.join(absent)} (make box-packages)")
    with provisioned(image, tmp_path_factory.mktemp("box"), broker.port) as machine:
        machine.start()
        machine.wait_for("slot A, try 1", 180)
        machine.wait_shell(600)
        machine.patience(["leukoscope.service"])
        yield machine


def test_it_comes_up_counts_and_a_summary_leaves_it(box: Machine, broker: MosquittoBroker, tmp_path: Path) -> None:
    heard = Heard(broker.port)
    try:
        began = time.monotonic()
        # Each question costs an emulated processor seconds that the daemon would count in.
        box.until("test -S /var/lib/leukoscope/control.sock", 900, pause=5)
        box.until("leukoscope status | grep -q '\"fields\": [1-9]'", 900, pause=20)
        assert "ro," in box.ask("findmnt -no OPTIONS /").text + ","
        assert box.ask("touch /usr/written").code != 0
        assert box.ask("findmnt -no SOURCE /etc/leukoscope").text.endswith("[/etc/leukoscope]")

        # Good: the daemon is up, so the tries are taken back, and RAUC says so.
        box.until("grub-editenv /run/grubenv list | grep -qx A_TRY=0", 300)
        status = json.loads(box.ask("rauc status --output-format=json").text)
        assert (status["compatible"], status["booted"], status["boot_primary"]) == ("leukoscope-amd64", "A", "rootfs.0")
        machine_id = box.ask("cat /etc/machine-id").text
        box.until(f"grub-editenv /run/grubenv list | grep -qx MACHINE_ID={machine_id}", 120)

        box.until("leukoscope slide finish --anyway", 600, pause=5)  # "busy, ask again", while an emulated processor looks at a frame
        summary = json.loads(heard.wait("leukoscope/box-in-qemu/summary", 300))
        assert summary["review_state"] == "unreviewed"
        assert time.monotonic() - began < 1200
    finally:
        heard.close()


def test_its_data_reaches_to_the_end_of_the_disk_and_nothing_listens(box: Machine) -> None:
    box.until("test $(findmnt -bno SIZE /data) -gt 2500000000", 300)
    listening = box.ask("ss -Hltn").text
    assert listening == ""
    assert box.ask("systemctl --failed --plain --no-legend").text == ""


def test_the_screen_shows_a_picture(box: Machine, tmp_path: Path) -> None:
    box.until("test -S /run/leukoscope-kiosk/wayland-0", 300)
    picture = box.screendump(tmp_path / "screen.png")
    with Image.open(picture) as screen:
        colours = screen.convert("RGB").resize((160, 90)).getcolors(160 * 90)
    assert colours is not None
    assert len(colours) > 50, f"{picture} has {len(colours)} colours: nothing is drawn"
