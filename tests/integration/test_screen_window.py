"""The real window on a virtual X server: what it shows, the keys it gives back, and what happens when either side goes away."""

from __future__ import annotations

import ctypes
import ctypes.util
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import cv2
import gallery
import numpy as np
import pytest

from device.desk.desk import Desk
from device.display.overlay import draw
from device.display.pages import AskPage, Choice
from device.display.screen import Screen
from device.errors import DisplayError
from device.settings.config import DisplaySection, SlideSection
from device.slide.commands import Command, Wish
from device.slide.model import Slide
from tests.support.x_server import on_screen, x_server

pytestmark = [
    pytest.mark.integration,
    pytest.mark.skipif(shutil.which("Xvfb") is None, reason="needs Xvfb, a virtual X server (Debian: apt install xvfb)"),
    pytest.mark.skipif(shutil.which("xdotool") is None, reason="needs xdotool to press keys (Debian: apt install xdotool)"),
]
pytest.importorskip("PySide6", reason="needs PySide6: pip install leukoscope[screen]")

VIEW = gallery.view(*gallery.crowd(4, cell_px=200))
PATIENCE_S = 60.0
"""Far more than is needed: a busy machine is no fault of the window."""


@pytest.fixture
def display(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """DISPLAY of a virtual 1280 x 720 screen."""
    for name in ("WAYLAND_DISPLAY", "QT_QPA_PLATFORM"):
        monkeypatch.delenv(name, raising=False)
    with x_server(1280, 720, tmp_path) as (number, _):
        monkeypatch.setenv("DISPLAY", number)
        yield number


def until(what: Callable[[], bool]) -> None:
    """Wait until `what` holds."""
    end = time.monotonic() + PATIENCE_S
    while not what():
        assert time.monotonic() < end, "did not happen"
        time.sleep(0.02)


def press(*keys: str) -> None:
    subprocess.run(["xdotool", "key", *keys], check=True)


class ClientMessage(ctypes.Structure):
    """XClientMessageEvent of Xlib, padded to the size of an XEvent."""

    _fields_ = (
        ("type", ctypes.c_int),
        ("serial", ctypes.c_ulong),
        ("send_event", ctypes.c_int),
        ("display", ctypes.c_void_p),
        ("window", ctypes.c_ulong),
        ("message_type", ctypes.c_ulong),
        ("format", ctypes.c_int),
        ("data", ctypes.c_long * 24),
    )


def ask_to_close(window: int) -> None:
    """Send WM_DELETE_WINDOW, as a window manager does when a person closes a window."""
    name = ctypes.util.find_library("X11")
    if name is None:
        pytest.skip("needs libX11 to send the message of a window manager")
    x11 = ctypes.CDLL(name)
    x11.XOpenDisplay.restype = ctypes.c_void_p
    x11.XInternAtom.restype = ctypes.c_ulong
    connection = ctypes.c_void_p(x11.XOpenDisplay(None))
    message = ClientMessage(type=33, window=window, format=32)
    message.message_type = x11.XInternAtom(connection, b"WM_PROTOCOLS", 0)
    message.data[0] = x11.XInternAtom(connection, b"WM_DELETE_WINDOW", 0)
    assert x11.XSendEvent(connection, ctypes.c_ulong(window), 0, ctypes.c_long(0), ctypes.byref(message))
    x11.XCloseDisplay(connection)


class Line:
    """Stands for the pipeline: shows again and again, gathers commands."""

    def __init__(self, screen: Screen) -> None:
        self.screen = screen
        self.view = VIEW
        self.asked: list[Command] = []
        self.wishes: list[Wish] = []
        self.slide: Slide | None = None
        self.desk = Desk(time.monotonic, SlideSection(ask_specimen=False))

    def turn(self) -> bool:
        self.screen.show(self.view)
        wishes = self.desk.take(self.screen.inputs(), self.slide)
        self.wishes += wishes
        self.asked += [wish.command for wish in wishes]
        return True


def test_the_window_fills_the_screen_and_shows_what_was_drawn(display: str, tmp_path: Path) -> None:
    expected = draw(VIEW, (1280, 720))
    with Screen(DisplaySection()) as screen:
        assert screen.platform == "xcb"
        assert screen.size_px == (1280, 720)
        line = Line(screen)
        until(lambda: line.turn() and bool((on_screen(tmp_path) == expected).all()))
        line.view = replace(VIEW, message="Another message", message_level="warn")
        expected = draw(line.view, (1280, 720))
        until(lambda: line.turn() and bool((on_screen(tmp_path) == expected).all()))
    # Closed: the bare screen and, in its middle, the pointer, which the window hid.
    until(lambda: 0 < int(on_screen(tmp_path).any(axis=2).sum()) < 20 * 20)


def test_keys_become_commands(display: str) -> None:
    with Screen(DisplaySection()) as screen:
        line = Line(screen)
        line.turn()
        press("s", "f", "u", "p", "x", "1", "ctrl+s", "shift+p")
        wanted = [Command.START, Command.FINISH, Command.UNDO, Command.PAUSE, Command.PAUSE]
        until(lambda: line.turn() and line.asked == wanted)


def test_quit_is_asked_again(display: str) -> None:
    with Screen(DisplaySection()) as screen:
        line = Line(screen)
        line.turn()
        press("q")
        until(lambda: line.turn() and line.desk.notice(None) == "Press Q again to quit")
        assert line.asked == []
        press("Escape")
        until(lambda: line.turn() and line.asked == [Command.QUIT])


def test_under_the_unit_quitting_leads_to_the_start_page_and_its_keys_on(display: str, tmp_path: Path) -> None:
    with Screen(DisplaySection()) as screen:
        line = Line(screen)
        line.desk = Desk(time.monotonic, SlideSection(ask_specimen=False), stays=True)
        line.turn()
        press("q", "q")
        until(lambda: line.turn() and line.asked == [Command.QUIT])
        line.desk.rest()
        line.view = replace(VIEW, slide=None, page=line.desk.page)
        expected = draw(line.view, (1280, 720))
        until(lambda: line.turn() and bool((on_screen(tmp_path) == expected).all()))
        press("q", "Escape", "s")
        until(lambda: line.turn() and line.asked == [Command.QUIT, Command.START])
        assert line.desk.page == VIEW.page


def test_a_press_of_the_mouse_on_a_button_is_its_key(display: str) -> None:
    with Screen(DisplaySection()) as screen:
        line = Line(screen)
        line.view = replace(VIEW, page=AskPage("Finish?", choices=(Choice("F", "Finish"), Choice("P", "Go on"))))
        line.turn()
        button = next(at for at, word in reversed(screen._targets.places) if word == "F")
        at = str((button.x0 + button.x1) // 2), str((button.y0 + button.y1) // 2)
        subprocess.run(["xdotool", "mousemove", *at, "click", "1"], check=True)
        until(lambda: line.turn() and line.asked == [Command.FINISH])


@pytest.mark.parametrize("delay_ms", [0, 1, 8, 60])
def test_a_scanner_types_a_number_into_the_question_and_loses_no_character(display: str, delay_ms: int) -> None:
    number = "H26-1100047711"  # the same digit twice and more in a row
    with Screen(DisplaySection()) as screen:
        line = Line(screen)
        line.desk = Desk(time.monotonic)
        line.turn()
        press("s")
        until(lambda: line.turn() and isinstance(line.desk.page, AskPage))
        line.view = replace(VIEW, page=line.desk.page)
        scan = ["xdotool", "type", "--args", "1", "--delay", str(delay_ms)]
        subprocess.run([*scan, number, "key", "Return"], check=True)
        until(lambda: line.turn() and isinstance(line.desk.page, AskPage) and line.desk.page.title == "Who counts?")
        subprocess.run([*scan, "qs", "key", "Return"], check=True)
        until(lambda: line.turn() and bool(line.wishes))
        assert line.wishes == [Wish(Command.START, number, "QS")]
        line.view = replace(VIEW, message="Started")
        press("f")
        until(lambda: line.turn() and line.asked == [Command.START, Command.FINISH])


def test_a_finger_answers_a_question_by_its_buttons(display: str) -> None:
    slide = VIEW.slide
    assert slide is not None
    with Screen(DisplaySection()) as screen:
        line = Line(screen)
        line.slide = replace(slide, target_cells=200)

        def touch(word: str) -> None:
            line.view = replace(VIEW, page=line.desk.page)
            until(lambda: (line.turn() and line.view.page == VIEW.page) or any(w == word for _, w in screen._targets.places))
            place = next(at for at, w in reversed(screen._targets.places) if w == word)
            at = str((place.x0 + place.x1) // 2), str((place.y0 + place.y1) // 2)
            subprocess.run(["xdotool", "mousemove", *at, "click", "1"], check=True)

        line.turn()
        touch("A")  # a key of the footer
        until(lambda: line.turn() and isinstance(line.desk.page, AskPage))
        touch("1")
        until(lambda: line.turn() and isinstance(line.desk.page, AskPage) and line.desk.page.title == "Abort it for good?")
        touch("ESCAPE")
        until(lambda: line.turn() and not isinstance(line.desk.page, AskPage))
        assert line.wishes == []


def test_a_key_that_is_held_down_is_one_wish(display: str) -> None:
    with Screen(DisplaySection()) as screen:
        line = Line(screen)
        line.turn()
        subprocess.run(["xdotool", "keydown", "u"], check=True)
        held_until = time.monotonic() + 1.5  # the server repeats a key after 0.66 s, 25 times a second
        until(lambda: line.turn() and time.monotonic() > held_until)
        subprocess.run(["xdotool", "keyup", "u"], check=True)
        press("f")
        until(lambda: line.turn() and Command.FINISH in line.asked)
        assert line.asked == [Command.UNDO, Command.FINISH]


def test_f11_leaves_the_whole_screen_and_takes_it_again(display: str, tmp_path: Path) -> None:
    with Screen(DisplaySection()) as screen:
        line = Line(screen)
        line.turn()
        press("F11")
        until(lambda: line.turn() and screen.size_px == (1152, 648))
        small = draw(VIEW, (1152, 648))

        def other_pixels() -> int:
            return int((on_screen(tmp_path)[36 : 36 + 648, 64 : 64 + 1152] != small).any(axis=2).sum())

        until(lambda: line.turn() and 0 < other_pixels() < 20 * 20)  # a plain window shows the pointer
        assert not on_screen(tmp_path)[:36].any()
        press("F11")
        until(lambda: line.turn() and screen.size_px == (1280, 720))
        assert line.asked == []


def test_a_plain_window_has_the_configured_size(display: str) -> None:
    with Screen(DisplaySection(fullscreen=False, width_px=960, height_px=540)) as screen:
        assert screen.size_px == (960, 540)


def test_a_picture_smaller_than_the_window_is_enlarged(display: str, tmp_path: Path) -> None:
    expected = cv2.resize(draw(VIEW, (640, 360)), (1280, 720), interpolation=cv2.INTER_LINEAR).astype(int)
    with Screen(DisplaySection(native=False, width_px=640, height_px=360)) as screen:
        line = Line(screen)
        until(lambda: line.turn() and bool(np.abs(on_screen(tmp_path) - expected).mean() < 4))


def test_a_window_larger_than_the_configured_size_is_drawn_in_its_own_pixels(display: str, tmp_path: Path) -> None:
    expected = draw(VIEW, (1280, 720)).astype(int)
    with Screen(DisplaySection(width_px=640, height_px=360)) as screen:
        line = Line(screen)
        until(lambda: line.turn() and bool((on_screen(tmp_path) == expected).all()))


def test_closing_the_window_asks_to_quit(display: str) -> None:
    with Screen(DisplaySection()) as screen:
        line = Line(screen)
        line.turn()
        found = subprocess.run(["xdotool", "search", "--name", "^Leukoscope$"], capture_output=True, text=True, check=True)
        ask_to_close(int(found.stdout.split()[0]))
        until(lambda: line.turn() and line.asked == [Command.QUIT])
        line.turn()  # the window stays until the daemon has closed the slide


def test_signals_to_the_whole_group_leave_the_window_to_the_daemon(display: str) -> None:
    with Screen(DisplaySection()) as screen:
        assert screen._child is not None
        for number in (signal.SIGINT, signal.SIGTERM):
            screen._child.send_signal(number)
        line = Line(screen)
        line.turn()
        press("s")
        until(lambda: line.turn() and line.asked == [Command.START])


def test_the_window_ends_with_the_daemon(display: str) -> None:
    screen = Screen(DisplaySection())
    with screen:
        child = screen._child
        assert child is not None
    assert child.returncode == 0


def test_a_server_that_dies_is_a_display_error_and_the_screen_can_be_opened_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("WAYLAND_DISPLAY", "QT_QPA_PLATFORM"):
        monkeypatch.delenv(name, raising=False)
    screen = Screen(DisplaySection())
    with x_server(640, 480, tmp_path) as (number, server):
        monkeypatch.setenv("DISPLAY", number)
        with screen:
            screen.show(VIEW)
            server.kill()
            server.wait()
            with pytest.raises(DisplayError, match=r"the window went away: .*--display none") as gone:
                until(lambda: Line(screen).turn() and False)
            assert "\n" not in str(gone.value)
            with pytest.raises(DisplayError):
                screen.show(VIEW)
            assert list(screen.inputs()) == []
    with x_server(640, 480, tmp_path) as (number, _):
        monkeypatch.setenv("DISPLAY", number)
        with screen:
            assert screen.size_px == (640, 480)
            Line(screen).turn()


def test_a_dead_display_is_one_line_and_kills_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("WAYLAND_DISPLAY", "QT_QPA_PLATFORM"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("DISPLAY", ":4711")
    said = r"the window cannot be opened: .*:4711.*--display file:DIR"
    with pytest.raises(DisplayError, match=said) as refused, Screen(DisplaySection()):
        pass
    assert "\n" not in str(refused.value)
    assert refused.value.exit_code == 2


def test_showing_returns_quickly_and_never_queues(display: str) -> None:
    """With the window's process stopped, pictures are left out and `show` does not wait for it."""
    with Screen(DisplaySection()) as screen:
        line = Line(screen)
        until(lambda: line.turn() and len(screen._free) == 1)
        assert screen._child is not None
        screen._child.send_signal(signal.SIGSTOP)
        try:
            used = time.thread_time()
            for _ in range(200):
                line.turn()
                time.sleep(0.002)
            used = time.thread_time() - used
        finally:
            screen._child.send_signal(signal.SIGCONT)
        assert screen._free == []
        assert used < 1.0  # of processor time for 200 views: two were drawn
        until(lambda: line.turn() and len(screen._free) == 1)
