"""The doctor names what is missing for which part; a fault only where the configuration needs it."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

import pytest

from device.service.doctor_parts import PACKAGES, Package, package_finding
from device.settings.config import Config, DeviceSection, EngineSection, SimulatorCamera


def config(tmp_path: Path, runtime: str = "onnx") -> Config:
    return Config(
        camera=SimulatorCamera(kind="simulator"),
        device=DeviceSection(id="doctor", state_dir=tmp_path),
        engine=EngineSection.model_validate({"runtime": runtime}),
    )


def without(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, name, None)


def test_what_is_not_needed_here_is_told_and_no_fault(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    without("picamera2", monkeypatch)
    found = package_finding(config(tmp_path))
    assert found.level == "ok" and found.next_step == ""
    assert "picamera2: not here; only needed for camera kind picamera2" in found.seen


def test_what_every_box_needs_is_a_fault(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    without("cv2", monkeypatch)
    found = package_finding(config(tmp_path))
    assert found.level == "fail"
    assert "opencv-python-headless: not here; needed for pictures and cameras" in found.seen
    assert found.next_step == "opencv-python-headless: install leukoscope again"


def test_the_runtime_that_is_configured_makes_its_package_needed(tmp_path: Path) -> None:
    absent = (Package("tensorrt", "no_such_tensorrt", "engine runtime tensorrt", PACKAGES[-1].needed, "apt install it", loads=False),)
    assert package_finding(config(tmp_path), absent).level == "ok"
    found = package_finding(config(tmp_path, "tensorrt"), absent)
    assert found.level == "fail" and found.next_step == "tensorrt: apt install it"


def test_a_package_built_for_another_numpy_does_not_load(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As the system's simplejpeg beside numpy 2 on Raspberry Pi OS 12: a ValueError, not an ImportError."""
    (tmp_path / "built_for_numpy_1.py").write_text("raise ValueError('numpy.dtype size changed')\n")
    monkeypatch.syspath_prepend(tmp_path)
    found = package_finding(config(tmp_path), (Package("it", "built_for_numpy_1", "a camera", lambda _: True, "apt install it"),))
    assert found.level == "fail" and "it: does not load (numpy.dtype size changed); needed for a camera" in found.seen


def test_one_way_to_cuda_is_enough_and_the_one_that_is_taken_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def found(names: list[str]) -> tuple[str, str]:
        for name in names:
            (tmp_path / f"{name}.py").write_text("")
        ways = (Package("cuda-b", "cuda_b", "tensorrt", PACKAGES[-1].needed, "pip install cuda-b", loads=False, instead="pycuda_b"),)
        finding = package_finding(config(tmp_path, "tensorrt"), ways)
        return finding.level, finding.seen

    monkeypatch.syspath_prepend(tmp_path)
    assert found([]) == ("fail", "cuda-b: not here; needed for tensorrt")
    importlib.invalidate_caches()
    assert found(["cuda_b"]) == ("ok", "CUDA by cuda-b")
    importlib.invalidate_caches()
    assert found(["pycuda_b"]) == ("ok", "CUDA by pycuda_b")
