"""The camera of a box is pulled and plugged in again: the kernel's virtual one, taken from its driver as a cable takes a real one."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from device.demo.broker import MosquittoBroker
from tests.support.vm_box import BROKER, provisioned

RESULTS = Path(__file__).parents[2] / "runs" / "vm"
CONFIG = f"""
camera: {{kind: v4l2, device: auto, width_px: 640, height_px: 360}}
device: {{id: box-in-qemu}}
engine: {{runtime: onnx, deadline_s: 300}}
microscope: {{profile: zzcat-5mp}}
slide: {{auto_start: true, ask_specimen: false, finish_at_end: false}}
display: {{kind: screen}}
broker: {{host: {BROKER[0]}, port: {BROKER[1]}}}
"""
# Its picture is a test card, so a field may or may not be counted: what is asked is whether frames are looked at.
VIVID = "modprobe vivid n_devs=1 node_types=0x1 num_inputs=1 input_types=0x0"
DRIVER = "/sys/bus/platform/drivers/vivid"


def test_a_camera_that_is_pulled_comes_back(image: Path, broker: MosquittoBroker, tmp_path: Path, result: Callable[..., None]) -> None:
    RESULTS.mkdir(parents=True, exist_ok=True)
    noticed, back = list[float](), list[float]()
    with provisioned(image, tmp_path / "box", broker.port, CONFIG) as box:
        box.start()
        box.wait_for("slot A, try 1", 300)
        box.wait_shell(900)
        box.patience(["leukoscope.service"])
        box.until("test -S /var/lib/leukoscope/control.sock", 900, pause=3)
        # Switched on without a camera: a state on the screen, not an end.
        box.until(_camera("fail"), 300, pause=5)
        box.screendump(RESULTS / "camera-absent.png")
        assert box.ask(VIVID, 300).code == 0
        box.until(_camera("ok"), 300, pause=5)
        for _ in range(3):
            began = time.monotonic()
            assert box.ask(f"echo vivid.0 > {DRIVER}/unbind").code == 0
            box.until(_camera("fail"), 300, pause=2)
            noticed.append(time.monotonic() - began)
            box.screendump(RESULTS / "camera-pulled.png")
            began = time.monotonic()
            assert box.ask(f"echo vivid.0 > {DRIVER}/bind").code == 0
            box.until(_camera("ok"), 300, pause=2)
            back.append(time.monotonic() - began)
            result(noticed_s=[round(each) for each in noticed], back_s=[round(each) for each in back])
        assert box.ask("systemctl show -p NRestarts --value leukoscope.service").text == "0"


def _camera(level: str) -> str:
    """Whether the daemon tells the camera at this level."""
    return f'leukoscope status | tr -d \' \\n\' | grep -q \'"camera":{{"level":"{level}"\''
