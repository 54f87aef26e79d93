"""The window itself: a small process of its own that shows finished pictures and tells which keys were pressed. Nothing is drawn here.

It is a process of its own because Qt ends the process that it runs in when there is no display server or when the server dies, and
the count must go on then. Run by `screen.Screen` as `python -m device.display.window`; what the two say to each other:

    from Screen, on standard input     draw SLOT WIDTH HEIGHT     show the picture that lies in this slot of the shared memory
                                       (end of file)              close the window
    to Screen, on standard output      open PLATFORM WIDTH HEIGHT | size WIDTH HEIGHT     the window's size in pixels
                                       free SLOT                  the slot is shown no more and may be painted anew
                                       key NAME xTEXT SHIFT       a key went down: its name, what it types in hexadecimal, 0 or 1
                                       press X Y SHIFT | release X Y     the mouse's left button or a finger, in pixels of the window
                                       closed                     the person closed the window; it stays until the input ends
"""

from __future__ import annotations

import mmap
import os
import signal
import sys
from collections.abc import Sequence

from PySide6.QtCore import QEvent, QRect, QSize, QSocketNotifier, Qt
from PySide6.QtGui import (
    QColor,
    QExposeEvent,
    QGuiApplication,
    QImage,
    QKeyEvent,
    QMouseEvent,
    QPainter,
    QPaintEvent,
    QRasterWindow,
    QResizeEvent,
)

_NAMED = {
    **{Qt.Key[f"Key_{letter}"]: letter for letter in "ABCDEFGHIJKLMNOPQRSTUVWXYZ"},
    **{Qt.Key[f"Key_{digit}"]: str(digit) for digit in range(10)},
    **{Qt.Key[f"Key_{name}"]: name.upper() for name in ("Escape", "Return", "Left", "Right", "Up", "Down", "Backspace", "Delete")},
    **{Qt.Key[f"Key_{name}"]: name.upper() for name in ("Space", "Tab", "Home", "End", "PageUp", "PageDown", "Insert")},
    **{Qt.Key[f"Key_F{number}"]: f"F{number}" for number in range(1, 11)},
    Qt.Key.Key_Enter: "RETURN",
    Qt.Key.Key_Backtab: "TAB",
}
_ROWS = {24: "QWERTYUIOP", 38: "ASDFGHJKL", 52: "ZXCVBNM"}
_PLACES = {first + at: letter for first, letters in _ROWS.items() for at, letter in enumerate(letters)}
"""The same letters by their place on the keyboard (X11 key codes), for layouts without Latin letters."""
_LATIN = 0x7F
_REPEAT_MS = 1
"""X11 repeats a held key as a release and a press at the same time; Qt knows it for a repeat only if both are there at once."""
_HELD_MS = 100
"""No key repeats before it was down for so long; a barcode scanner's next press of the same key comes sooner, and is one of its own."""
_OTHER_MODIFIERS = Qt.KeyboardModifier.ControlModifier | Qt.KeyboardModifier.AltModifier | Qt.KeyboardModifier.MetaModifier
_GROUND = QColor(10, 14, 19)


def tell(*words: object) -> None:
    """Say one line to the screen's process; when that has gone there is nobody to tell, and the end of the input will follow."""
    try:
        os.write(1, (" ".join(str(w) for w in words) + "\n").encode())
    except BrokenPipeError:
        QGuiApplication.exit(0)


class Window(QRasterWindow):
    """One window that shows the newest picture, scaled where its size differs."""

    def __init__(self, memory: mmap.mmap, slot_bytes: int, full_screen: bool, size: QSize) -> None:
        super().__init__()
        self._memory = memoryview(memory)
        self._slot_bytes = slot_bytes
        self._normal = size
        self._image: QImage | None = None
        self._slot = -1
        self._told_open = False
        self._released = (0, 0)
        self._pressed = (0, 0)  # key and time of the last press that was no repeat
        self.setTitle("Leukoscope")
        self.resize(size)
        self._set_full(full_screen)

    def draw(self, slot: int, width: int, height: int) -> None:
        """Show the picture in `slot` from now on."""
        old, start = self._slot, slot * self._slot_bytes
        pixels = self._memory[start : start + width * height * 3]
        self._image = QImage(pixels, width, height, width * 3, QImage.Format.Format_BGR888)
        self._slot = slot
        if old >= 0:
            tell("free", old)
        self.update()

    def paintEvent(self, event: QPaintEvent) -> None:  # noqa: N802  (Qt's name)
        painter = QPainter(self)
        place = QRect(0, 0, self.width(), self.height())
        if self._image is None:
            painter.fillRect(place, _GROUND)
        else:
            if self._image.size() != self._pixels():
                painter.setRenderHint(QPainter.RenderHint.SmoothPixmapTransform)
            painter.drawImage(place, self._image)
        painter.end()

    def exposeEvent(self, event: QExposeEvent) -> None:  # noqa: N802  (Qt's name)
        super().exposeEvent(event)
        if self.isExposed() and not self._told_open:
            self._told_open = True
            self.requestActivate()  # without a window manager nobody else gives the window the keyboard
            tell("open", QGuiApplication.platformName(), *self._pixels().toTuple())

    def resizeEvent(self, event: QResizeEvent) -> None:  # noqa: N802  (Qt's name)
        super().resizeEvent(event)
        if self._told_open:
            tell("size", *self._pixels().toTuple())

    def keyPressEvent(self, event: QKeyEvent) -> None:  # noqa: N802  (Qt's name)
        key = event.key()
        at_once = key == self._released[0] and event.timestamp() - self._released[1] <= _REPEAT_MS
        down_long = key == self._pressed[0] and event.timestamp() - self._pressed[1] >= _HELD_MS
        if (event.isAutoRepeat() or at_once) and down_long:
            return  # a key that is held down is one wish
        self._pressed = (key, event.timestamp())
        if event.modifiers() & _OTHER_MODIFIERS:
            return
        if key == Qt.Key.Key_F11:
            self._set_full(self.visibility() != QRasterWindow.Visibility.FullScreen)
            return
        name = _NAMED.get(Qt.Key(key), "") if key in _NAMED else ""
        if not name and key > _LATIN:
            name = _PLACES.get(event.nativeScanCode(), "")
        typed = event.text() if event.text().isprintable() else ""
        if name or typed:
            shift = int(bool(event.modifiers() & Qt.KeyboardModifier.ShiftModifier))
            tell("key", name or "CHARACTER", f"x{typed.encode().hex()}", shift)

    def mousePressEvent(self, event: QMouseEvent) -> None:  # noqa: N802  (Qt's name; a touch without a mouse comes as one too)
        if event.button() == Qt.MouseButton.LeftButton:
            tell("press", *self._point(event), int(bool(event.modifiers() & Qt.KeyboardModifier.ShiftModifier)))

    def mouseReleaseEvent(self, event: QMouseEvent) -> None:  # noqa: N802  (Qt's name)
        if event.button() == Qt.MouseButton.LeftButton:
            tell("release", *self._point(event))

    def _point(self, event: QMouseEvent) -> tuple[float, float]:
        place, ratio = event.position(), self.devicePixelRatio()
        return round(place.x() * ratio, 1), round(place.y() * ratio, 1)

    def keyReleaseEvent(self, event: QKeyEvent) -> None:  # noqa: N802  (Qt's name)
        self._released = (event.key(), event.timestamp())

    def event(self, event: QEvent) -> bool:
        if event.type() == QEvent.Type.Close:
            event.ignore()  # the slide is closed first; the end of the input then closes the window
            tell("closed")
            return True
        return super().event(event)

    def _set_full(self, full: bool) -> None:
        """Fill the screen or not. The size is set by hand as well: without a window manager nobody obeys the wish alone."""
        whole = self.screen().geometry()
        if full:
            self.setCursor(Qt.CursorShape.BlankCursor)
            self.setGeometry(whole)
            self.showFullScreen()
        else:
            self.unsetCursor()
            self.showNormal()
            size = self._normal.boundedTo(whole.size() * 0.9)
            self.setGeometry(QRect(whole.center() - QRect(whole.topLeft(), size).center() + whole.topLeft(), size))

    def _pixels(self) -> QSize:
        return self.size() * self.devicePixelRatio()


def main(arguments: Sequence[str]) -> int:
    """Show the window until the input ends. Arguments: descriptor of the memory, bytes of a slot, full-screen 0 or 1, width, height."""
    descriptor, slot_bytes, full, width, height = (int(a) for a in arguments)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the daemon decides when to end, and says so by closing the input
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    app = QGuiApplication(["leukoscope"])
    app.setQuitOnLastWindowClosed(False)
    memory = mmap.mmap(descriptor, 0, prot=mmap.PROT_READ, flags=mmap.MAP_SHARED)
    window = Window(memory, slot_bytes, bool(full), QSize(width, height))
    os.set_blocking(0, False)
    rest = b""

    def hear() -> None:
        nonlocal rest
        while True:
            try:
                some = os.read(0, 4096)
            except BlockingIOError:
                return
            if not some:
                app.exit(0)  # quit() would ask the window, which refuses to close
                return
            *lines, rest = (rest + some).split(b"\n")
            for line in lines:
                word, *numbers = line.split()
                if word == b"draw":
                    slot, picture_width, picture_height = (int(n) for n in numbers)
                    window.draw(slot, picture_width, picture_height)

    notifier = QSocketNotifier(0, QSocketNotifier.Type.Read)
    notifier.activated.connect(hear)
    return app.exec()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
