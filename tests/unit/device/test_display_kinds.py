"""PNG files, no display, and the choice of a display by configuration and command line."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import cv2
import gallery
import numpy as np
import pytest

from device.display import file, screen
from device.display.base import NullDisplay
from device.display.factory import open_display, parse_display
from device.display.file import FileDisplay
from device.display.overlay import draw
from device.display.screen import Screen
from device.errors import ConfigError, DisplayError
from device.settings.config import DisplaySection

SMALL = (640, 360)
VIEW = gallery.view(gallery.film(320, 180))


class Clock:
    """Time that a test moves by hand."""

    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


def names(folder: Path) -> list[str]:
    return sorted(p.name for p in folder.iterdir() if p.name != ".screen-first")


def finish(display: FileDisplay) -> None:
    """Wait until the writer has written what it was given."""
    display._collect(wait=True)


def test_one_picture_a_period_and_the_last_view_at_the_end(tmp_path: Path) -> None:
    clock = Clock()
    folder = tmp_path / "a" / "b"
    with FileDisplay(folder, 1.0, SMALL, clock) as display:
        for step in range(25):  # 2.4 s
            clock.now_s = 100 + step / 10
            display.show(replace(VIEW, message=f"view {step}"))
            finish(display)
    assert names(folder) == ["latest.png", *(f"screen-{i:06d}.png" for i in (1, 2, 3, 4))]
    for name, step in (("screen-000001.png", 0), ("screen-000002.png", 10), ("screen-000003.png", 20), ("screen-000004.png", 24)):
        assert (cv2.imread(str(folder / name)) == draw(replace(VIEW, message=f"view {step}"), SMALL)).all()
    assert (folder / "latest.png").read_bytes() == (folder / "screen-000004.png").read_bytes()


def test_nothing_is_written_twice_at_the_end(tmp_path: Path) -> None:
    with FileDisplay(tmp_path, 1.0, SMALL, Clock()) as display:
        display.show(VIEW)
    assert names(tmp_path) == ["latest.png", "screen-000001.png"]


def test_a_folder_with_pictures_is_gone_on_with(tmp_path: Path) -> None:
    (tmp_path / "screen-000041.png").write_bytes(b"earlier")
    (tmp_path / "screen-x.png").touch()
    with FileDisplay(tmp_path, 1.0, SMALL) as display:
        display.show(VIEW)
    assert (tmp_path / "screen-000041.png").read_bytes() == b"earlier"
    assert (tmp_path / "screen-000042.png").exists()


def test_the_newest_stay_and_nothing_of_others_goes(tmp_path: Path) -> None:
    (tmp_path / "screen-000041.png").write_bytes(b"earlier")
    for _ in range(2):  # two runs
        clock = Clock()
        with FileDisplay(tmp_path, 1.0, SMALL, clock, keep=3) as display:
            for _ in range(4):
                display.show(VIEW)
                finish(display)
                clock.now_s += 1
    assert names(tmp_path) == ["latest.png", *(f"screen-{i:06d}.png" for i in (41, 47, 48, 49))]


def test_with_little_room_none_is_written(tmp_path: Path) -> None:
    clock = Clock()
    with FileDisplay(tmp_path, 1.0, SMALL, clock, min_free_mb=10**12) as display:
        for _ in range(2):
            display.show(VIEW)
            with pytest.raises(DisplayError, match=r"less than 10+ MB are free \(record\.min_free_mb\), no pictures"):
                finish(display)
            clock.now_s += 1
        with pytest.raises(DisplayError, match="make room"):
            display.__enter__()
    assert names(tmp_path) == []


def test_without_hard_links_the_latest_is_a_copy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: object) -> None:
        raise PermissionError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(file.os, "link", refused)
    with FileDisplay(tmp_path, 1.0, SMALL) as display:
        display.show(VIEW)
    assert names(tmp_path) == ["latest.png", "screen-000001.png"]
    assert (tmp_path / "latest.png").read_bytes() == (tmp_path / "screen-000001.png").read_bytes()


def test_a_full_disk_is_a_display_error_and_then_it_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock()
    with FileDisplay(tmp_path, 1.0, SMALL, clock) as display:
        with monkeypatch.context() as full:

            def refused(self: Path, data: bytes) -> int:
                raise OSError(errno.ENOSPC, "No space left on device")

            full.setattr(Path, "write_bytes", refused)
            display.show(VIEW)
            with pytest.raises(DisplayError, match=r"screen-000001\.png: the disk is full; free space"):
                finish(display)
        assert names(tmp_path) == []
        clock.now_s += 1
        display.show(VIEW)
        finish(display)
        assert names(tmp_path) == ["latest.png", "screen-000002.png"]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full, the device that is always full")
def test_the_real_error_of_a_full_device(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / ".screen-unfinished").symlink_to("/dev/full")
    with FileDisplay(tmp_path, 1.0, SMALL) as display:
        display.show(VIEW)
        with pytest.raises(DisplayError, match="the disk is full"):
            finish(display)


def test_a_folder_that_cannot_be_is_refused_when_it_is_opened(tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("a file")
    with pytest.raises(DisplayError, match=r"taken.*choose another folder with `--display file:DIR`"), FileDisplay(tmp_path / "taken"):
        pass


def test_showing_without_opening_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DisplayError, match="not open"):
        FileDisplay(tmp_path).show(VIEW)


def test_files_have_no_keys(tmp_path: Path) -> None:
    with FileDisplay(tmp_path, 1.0, SMALL) as display:
        assert display.inputs() == ()


def test_no_display_shows_nothing_and_asks_for_nothing() -> None:
    with NullDisplay() as display:
        display.show(VIEW)
        assert display.inputs() == ()


def test_the_configuration_names_the_display(tmp_path: Path) -> None:
    assert isinstance(open_display(DisplaySection(kind="none")), NullDisplay)
    assert isinstance(open_display(DisplaySection(kind="screen")), Screen)
    assert isinstance(open_display(DisplaySection(kind="file", directory=tmp_path)), FileDisplay)


def test_the_command_line_takes_precedence(tmp_path: Path) -> None:
    section = DisplaySection(kind="screen", period_s=2.5, width_px=1280, height_px=720)
    assert parse_display("none", section).kind == "none"
    assert parse_display("screen", DisplaySection(kind="none")).kind == "screen"
    kept = parse_display(f"file:{tmp_path}", section)
    assert (kept.kind, kept.directory, kept.period_s, kept.width_px) == ("file", tmp_path, 2.5, 1280)
    assert parse_display("file:~/screens", section).directory == Path.home() / "screens"
    assert parse_display("file:with:colon", section).directory == Path("with:colon")


@pytest.mark.parametrize(
    ("words", "advice"),
    [
        ("scren", "did you mean screen?"),
        ("None ", "did you mean none?"),
        ("files:out", "did you mean file:DIR?"),
        ("file", "the folder is missing"),
        ("file:", "the folder is missing"),
        ("file: ", "the folder is missing"),
        ("screen:0", "expected none, screen or file:DIR"),
        ("", "expected none, screen or file:DIR"),
        ("window", "expected none, screen or file:DIR"),
    ],
)
def test_a_display_that_is_none_is_refused_with_advice(words: str, advice: str) -> None:
    with pytest.raises(ConfigError) as refused:
        parse_display(words, DisplaySection())
    assert advice in str(refused.value)
    assert repr(words) in str(refused.value)
    assert refused.value.exit_code == 2


def test_without_a_display_server_there_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("DISPLAY", "WAYLAND_DISPLAY", "QT_QPA_PLATFORM"):
        monkeypatch.delenv(name, raising=False)
    said = r"neither DISPLAY nor WAYLAND_DISPLAY is set.*--display file:DIR"
    with pytest.raises(DisplayError, match=said) as refused, Screen(DisplaySection()):
        pass
    assert "\n" not in str(refused.value)


def test_without_pyside_the_way_to_install_it_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(screen.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(DisplayError, match=r"pip install leukoscope\[screen\].*--display none"), Screen(DisplaySection()):
        pass


def test_naming_a_display_imports_no_window_library() -> None:
    code = "import sys, device.display.factory, device.display.overlay; print([m for m in sys.modules if m.startswith('PySide6')])"
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert said.stdout.strip() == "[]"


def test_pictures_have_the_windows_own_pixels_whatever_size_is_configured() -> None:
    window = Screen(DisplaySection(width_px=1280, height_px=720))
    for size in ((3840, 2160), (1024, 600), (1024, 768), (7680, 4320)):
        window.size_px = size
        assert window._canvas_size() == size
    window.size_px = (15360, 8640)
    assert window._canvas_size() == (7680, 4320)


def test_pictures_are_made_no_larger_than_configured_unless_native() -> None:
    window = Screen(DisplaySection(native=False, width_px=1280, height_px=720))
    for size, canvas in (((3840, 2160), (1280, 720)), ((1024, 768), (960, 720)), ((800, 600), (800, 600)), ((1, 1), (320, 180))):
        window.size_px = size
        assert window._canvas_size() == canvas
        assert np.prod(window._canvas_size()) <= 1280 * 720


def test_the_windows_process_outlives_a_library_that_loses_references() -> None:
    """PySide6 6.12.0 frees None and the truth values after some thousand calls on Python before 3.12: pyproject.toml excludes it."""
    pytest.importorskip("PySide6", reason="needs PySide6: pip install leukoscope[screen]")
    code = "from device.display.window import QGuiApplication\napp = QGuiApplication([])\nfor _ in range(50_000): app.processEvents()\n"
    environment = {**os.environ, "QT_QPA_PLATFORM": "offscreen"}
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, env=environment)
    assert said.returncode == 0, said.stderr
