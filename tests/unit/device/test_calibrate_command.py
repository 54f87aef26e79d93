"""`leukoscope calibrate`: from pictures and from a camera to the frames that the appliance looks at."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from calibration.optics.correction import Correction
from device.camera.base import CameraState, CameraStatus, Frame
from device.camera.corrected import CorrectedSource
from device.cli import call
from device.clock import SystemClock
from device.service import calibrate
from device.settings.config import Config, DeviceSection, ReplayCamera
from engines.detections import Image
from engines.film import Film, Microscope

CLOCK = SystemClock()
CAST = np.array([0.75, 0.9, 1.0])


def blank(seed: int) -> Image:
    y, x = np.mgrid[0:360, 0:640]
    light = 215 * (1 - 0.2 * ((x - 300) ** 2 + (y - 180) ** 2) / 400**2)[..., None] * CAST
    return np.clip(np.random.default_rng(seed).normal(light, 2), 0, 255).astype(np.uint8)


def grid(period: float) -> Image:
    y, x = np.mgrid[0:360, 0:640]
    away = np.minimum(*(np.abs((c / period + 0.3) % 1 - 0.5) * period for c in (x, y)))
    return np.repeat((200 - 120 / (1 + np.exp((away - 3) / 0.8)))[..., None], 3, axis=2).astype(np.uint8)


def filmed(folder: Path) -> Config:
    """A configuration whose camera shows the blank field."""
    camera = ReplayCamera(kind="replay", source=str(folder / "blank"), loop=True)
    return Config(camera=camera, device=DeviceSection(state_dir=folder))


@pytest.fixture
def config(tmp_path: Path) -> Path:
    for folder in ("blank", "grid", "film"):
        (tmp_path / folder).mkdir()
    for n in range(6):
        cv2.imwrite(str(tmp_path / f"blank/{n}.png"), blank(n))
    cv2.imwrite(str(tmp_path / "grid/1.png"), grid(10 / 0.225))  # 0.075 um a px at 1920
    film = Film(11, "normal", (800, 800), red_cover=0.25).view(
        (400, 400), Microscope("L", "C2", 100, width_px=640), (640, 360), noise_seed=1
    )[0]
    cv2.imwrite(str(tmp_path / "film/1.png"), film)
    path = tmp_path / "device.yaml"
    path.write_text(f"camera: {{kind: replay, source: {tmp_path}/blank}}\ndevice: {{state_dir: {tmp_path}/state}}\n")
    return path


def test_measured_used_shown_and_taken_back(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    here, option = config.parent, ["--config", str(config)]

    def said(*words: str, code: int = 0) -> str:
        assert call(["calibrate", *words, *option]) == code
        out = capsys.readouterr()
        return out.out + out.err

    assert "nothing to take back" in said("back", code=2)
    assert "blue x 1.33" in said("blank", str(here / "blank"))
    assert "fits" in said("scale", str(here / "grid"), "--step-um", "10", "--film", str(here / "film/1.png"))
    shown = said("show")
    assert "zzcat-5mp 1-m2 100x\n" in shown
    assert "0.2250 um a px of 640" in shown
    assert "right objective" in said("scale", str(here / "grid"), "--step-um", "100", code=2)
    assert "not blank" in said("blank", str(here / "film"), code=2) or "at least 4" in said("blank", str(here / "film"), code=2)
    assert "zzcat-5mp 1-m2" in said("show")  # a refused measurement changes nothing
    assert "version 1 is in use" in said("back")
    assert "base profile is in use" in said("use", "base")
    assert "(nominal)" in said("show")


def test_a_camera_is_read_where_no_pictures_are_named(config: Path) -> None:
    loaded = Config(
        camera=ReplayCamera(kind="replay", source=str(config.parent / "blank"), loop=True),
        device=DeviceSection(state_dir=config.parent),
    )
    assert "from 12 frames" in calibrate.blank(loaded)


def test_a_person_is_led_through_both(config: Path) -> None:
    loaded = Config(
        camera=ReplayCamera(kind="replay", source=str(config.parent / "blank"), loop=True),
        device=DeviceSection(state_dir=config.parent),
    )
    asked: list[str] = []
    told: list[str] = []

    def ask(words: str) -> str:
        asked.append(words)
        return "s" if "Lines" in words else ""

    calibrate.guide(loaded, 10.0, ask, told.append)
    assert len(asked) == 6
    assert any("white balance and flat-field at 100x from 12 frames" in words for words in told)
    assert any("left out" in words for words in told)


class OneFrame:
    """A source of one picture."""

    status = CameraStatus(CameraState.STREAMING, "one")

    def __init__(self, image: Image) -> None:
        self.frame: Frame | None = Frame(image, 3, CLOCK.monotonic_s(), CLOCK.now(), "one")

    def newest(self, timeout_s: float) -> Frame | None:
        return self.frame


def test_frames_are_corrected_before_anybody_sees_them(config: Path) -> None:
    loaded = Config(camera=ReplayCamera(kind="replay", source="p"), device=DeviceSection(state_dir=config.parent / "state"))
    assert calibrate.versions_of(loaded).correction(100) is None
    calibrate.blank(loaded, [config.parent / "blank"])
    correction = calibrate.versions_of(loaded).correction(100)
    assert isinstance(correction, Correction)
    source = OneFrame(blank(77))
    corrected = CorrectedSource(source, correction)
    assert corrected.status is source.status
    frame = corrected.newest(0.1)
    assert frame is not None
    assert source.frame is not None
    assert (frame.sequence, frame.source, frame.size_px) == (3, "one", (640, 360))
    assert np.ptp(frame.image.reshape(-1, 3).mean(axis=0)) < 1.5
    assert np.ptp(source.frame.image.reshape(-1, 3).mean(axis=0)) > 40  # its own pixels are as they were
    source.frame = None
    assert corrected.newest(0.1) is None
