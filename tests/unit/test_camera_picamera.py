"""picamera2 that cannot be imported, said with its cause; the camera itself is tested in tests/hardware."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from device.camera.picamera import Picamera2Camera
from device.clock import SystemClock
from device.errors import CameraError
from device.settings.config import Picamera2Camera as Picamera2Section


@pytest.mark.parametrize(
    "raised",
    [
        # Both as numpy and Cython word it: a library compiled for numpy 1.24 under numpy 2.
        "ValueError('numpy.dtype size changed, may indicate binary incompatibility. Expected 96 from C header, got 88 from PyObject')",
        "ImportError('numpy.core.multiarray failed to import')",
    ],
)
def test_libraries_made_for_another_numpy_are_named_as_the_cause(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, raised: str) -> None:
    (tmp_path / "picamera2.py").write_text(f"raise {raised}\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "picamera2", raising=False)
    with (
        pytest.raises(CameraError, match=r"another numpy than .*'numpy<2'"),
        Picamera2Camera(Picamera2Section(kind="picamera2", camera=0), SystemClock()),
    ):
        pass


def test_a_missing_picamera2_is_another_cause(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "picamera2.py").write_text("raise ImportError('No module named libcamera')\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "picamera2", raising=False)
    with (
        pytest.raises(CameraError, match="python3-picamera2") as caught,
        Picamera2Camera(Picamera2Section(kind="picamera2", camera=0), SystemClock()),
    ):
        pass
    assert "numpy" not in str(caught.value)
