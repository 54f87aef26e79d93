"""What a person gets wrong: one clear line that names the thing and the next step, the right exit code, and nothing lost."""

from __future__ import annotations

import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import pytest

from device.mqtt.payloads import SlideSummary
from device.store import Store
from engines.bundle import resolve
from engines.film import Film, Microscope

pytestmark = pytest.mark.integration

QUIET = "display: {kind: none}\nlog_level: error\n"


@dataclass(frozen=True)
class Ended:
    code: int
    lines: list[str]


def run_daemon(folder: Path, camera: str, more: str = "broker: {enabled: false}\n") -> Ended:
    file = folder / "device.yaml"
    engine = "" if "engine:" in more else "engine: {runtime: onnx, precision: float32}\n"  # nothing is measured first
    file.write_text(f"camera: {camera}\ndevice: {{id: bad-input, state_dir: {folder / 'state'}}}\n{QUIET}{engine}{more}")
    return run_cli("run", "--config", str(file))


def run_cli(*arguments: str) -> Ended:
    done = subprocess.run(
        [sys.executable, "-m", "device", *arguments], capture_output=True, text=True, timeout=60, check=False, stdin=subprocess.DEVNULL
    )
    return Ended(done.returncode, [line for line in done.stderr.splitlines() if line.strip()])


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two readable pictures of rendered film, one cut short, one that is no picture at all."""
    folder = tmp_path_factory.mktemp("pictures")
    film, scope = Film(seed=3, case="AML", size_um=(400.0, 300.0)), Microscope(domain="H", camera="C2", objective=100)
    for number, place in enumerate([(120.0, 100.0), (250.0, 180.0)]):
        image, _ = film.view(place, scope, size_px=(640, 480), noise_seed=number)
        cv2.imwrite(str(folder / f"field_{number}.png"), image)
    whole = cv2.imencode(".jpg", np.full((200, 200, 3), 120, np.uint8))[1].tobytes()
    (folder / "field_2.jpg").write_bytes(whole[: len(whole) // 2])
    (folder / "field_3.png").write_text("this is text")
    return folder


@pytest.mark.parametrize(
    ("camera", "names"),
    [
        ("{kind: replay, source: nowhere}", ("nowhere", "set camera.source")),
        ("{kind: replay, source: empty}", ("empty holds no pictures",)),
        ("{kind: v4l2, device: /dev/v4l/by-id/usb-none-video-index0}", ("no camera /dev/v4l/by-id/usb-none-video-index0",)),
        ("{kind: simulator, case: ALM}", ("device.yaml:1: camera.case", "AML", "got 'ALM'")),
    ],
)
def test_a_camera_that_is_not_there(tmp_path: Path, camera: str, names: tuple[str, ...]) -> None:
    (tmp_path / "empty").mkdir()
    ended = run_daemon(tmp_path, camera)
    assert ended.code == 2
    assert len(ended.lines) == 1, ended.lines
    assert all(name in ended.lines[0] for name in names), ended.lines


def test_unreadable_pictures_are_skipped_named_and_counted(tmp_path: Path, pictures: Path) -> None:
    more = "slide: {auto_start: true}\nbroker: {host: 127.0.0.1, port: 9, protocol: 3.1.1}\n"
    ended = run_daemon(tmp_path, f"{{kind: replay, source: {pictures}}}", more.replace("3.1.1", "'3.1.1'"))
    # The broker is not there either: the run ends well, the summary waits.
    assert ended.code == 0, ended.lines
    with Store.read(tmp_path / "state" / "record.sqlite") as store:
        (stored,) = store.slides(5)
        waiting = store.pending(5)
    assert len(stored.slide.fields) == 2
    summary = SlideSummary.model_validate_json(waiting[0].payload)
    assert summary.skipped_pictures == 2
    assert summary.source.name == pictures.name, "no path may leave the device"


def test_an_engine_that_is_missing_or_altered(tmp_path: Path, pictures: Path) -> None:
    camera = f"{{kind: replay, source: {pictures}}}"
    missing = run_daemon(tmp_path, camera, f"engine: {{bundle: {tmp_path / 'none'}}}\n")
    assert missing.code == 2 and len(missing.lines) == 1
    assert "no such engine folder" in missing.lines[0] and str(tmp_path / "none") in missing.lines[0]

    altered = tmp_path / "altered"
    shutil.copytree(resolve("zoo:attridet-n"), altered)
    with (altered / "detector.onnx").open("ab") as file:
        file.write(b"x")
    ended = run_daemon(tmp_path, camera, f"engine: {{bundle: {altered}}}\n")
    assert ended.code == 2 and len(ended.lines) == 1
    assert "detector.onnx" in ended.lines[0] and "altered or incomplete" in ended.lines[0]


def test_a_configuration_that_cannot_be_used_names_every_line(tmp_path: Path) -> None:
    file = tmp_path / "device.yaml"
    file.write_text("camera:\n  kind: replay\n  sorce: x\nslide:\n  target_cells: many\nbrokr: {}\n")
    ended = run_cli("check-config", str(file))
    assert ended.code == 2
    text = "\n".join(ended.lines)
    assert f"{file}:3: camera.sorce: unknown key; did you mean 'source'" in text
    assert f"{file}:5: slide.target_cells:" in text
    assert f"{file}:6: brokr: unknown key; did you mean 'broker'" in text

    still = tmp_path / "still.yaml"
    still.write_text("camera: {kind: replay, source: x, hold_frames: 1}\n")
    ended = run_cli("check-config", str(still))
    assert ended.code == 2 and "no still picture would be counted" in "\n".join(ended.lines)

    assert run_cli("check-config", str(tmp_path / "none.yaml")).code == 2


def test_a_demo_does_not_clear_a_folder_that_is_not_its_own(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("mine")
    ended = run_cli("demo", "--report", str(tmp_path))
    assert ended.code == 2 and len(ended.lines) == 1 and "holds no former demo" in ended.lines[0]
    assert (tmp_path / "thesis.txt").read_text() == "mine"
