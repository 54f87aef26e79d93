"""Draws the page of `first_boot` in a window over the whole screen, or into a picture. Needs Qt alone, so it is there at once."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path

from PySide6.QtCore import QBuffer, QByteArray, QIODeviceBase, QRectF, QSocketNotifier, Qt, QTimer
from PySide6.QtGui import (
    QCloseEvent,
    QColor,
    QFont,
    QFontDatabase,
    QFontMetricsF,
    QGuiApplication,
    QImage,
    QImageWriter,
    QPainter,
    QPaintEvent,
    QRasterWindow,
)

from device.box.first_boot import Page, Row
from device.language import RIGHT_TO_LEFT
from engines.files import write_result

_FONTS = Path(__file__).resolve().parents[1] / "display" / "fonts"
_FAMILY = "Leukoscope"
_LOOK_MS = 500
"""How often the steps are read again; the page is painted anew only where it has changed."""
_GROUND, _CARD, _TEXT, _SOFT, _DIM = (QColor(f"#{rgb}") for rgb in ("0A0E13", "1B2430", "F3F6F9", "BAC4D0", "8591A0"))
_LEVELS = {level: QColor(f"#{rgb}") for level, rgb in (("ok", "4CC38A"), ("busy", "5BB8F5"), ("warn", "F7BC45"), ("fail", "FF7466"))}
_MARKS = {"ok": "✓", "fail": "✗", "busy": "▸", "dim": "·", "warn": "!"}


def show(page: Callable[[], Page]) -> int:
    """Show what `page` gives, until the process is ended. The exit code."""
    os.environ["QT_ENABLE_HIGHDPI_SCALING"] = "0"
    app = QGuiApplication(["leukoscope"])
    _fonts()
    window = _Window(page)
    heard, wakes = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    signal.set_wakeup_fd(wakes)  # Python's handlers run only when Qt gives it a turn
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: app.exit(0))
    notifier = QSocketNotifier(heard, QSocketNotifier.Type.Read)
    notifier.activated.connect(lambda *_: os.read(heard, 64))
    window.showFullScreen()
    return app.exec()


def draw(page: Page, size_px: tuple[int, int], out: Path) -> None:
    """Draw it into a PNG. Raises DataError where that cannot be written."""
    os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")
    app = QGuiApplication.instance() or QGuiApplication(["leukoscope"])
    _fonts()
    image = QImage(*size_px, QImage.Format.Format_RGB32)
    painter = QPainter(image)
    _paint(painter, page, *size_px)
    painter.end()
    encoded = QBuffer()
    encoded.open(QIODeviceBase.OpenModeFlag.WriteOnly)
    QImageWriter(encoded, QByteArray(b"png")).write(image)
    write_result(out, bytes(encoded.data().data()))
    del app


def _fonts() -> None:
    for name in ("Regular", "Bold"):
        QFontDatabase.addApplicationFont(str(_FONTS / f"Leukoscope-{name}.ttf"))


class _Window(QRasterWindow):
    """The page, read again twice a second."""

    def __init__(self, page: Callable[[], Page]) -> None:
        super().__init__()
        self._read, self._page = page, page()
        self.setTitle("Leukoscope")
        self.setCursor(Qt.CursorShape.BlankCursor)
        self._timer = QTimer(self)
        self._timer.timeout.connect(self._look)
        self._timer.start(_LOOK_MS)

    def _look(self) -> None:
        if (now := self._read()) != self._page:
            self._page = now
            self.update()

    def paintEvent(self, event: QPaintEvent) -> None:  # noqa: N802  (Qt's name)
        painter = QPainter(self)
        _paint(painter, self._page, self.width(), self.height())
        painter.end()

    def closeEvent(self, event: QCloseEvent) -> None:  # noqa: N802  (Qt's name)
        event.ignore()  # it is the bottom of this screen; whoever started it ends it


def _paint(painter: QPainter, page: Page, width: int, height: int) -> None:
    """Lengths are shares of the height, so that it reads the same on every screen."""
    unit = min(height, width * 9 / 16) / 100
    left, inner = 6 * unit, width - 12 * unit
    side = Qt.AlignmentFlag.AlignRight if page.language in RIGHT_TO_LEFT else Qt.AlignmentFlag.AlignLeft
    painter.setRenderHint(QPainter.RenderHint.Antialiasing)
    painter.fillRect(0, 0, width, height, _GROUND)
    painter.fillRect(QRectF(0, 0, width, 1.2 * unit), _colour(page.level))
    _write(painter, "Leukoscope", QRectF(left, 5 * unit, inner, 5 * unit), 3.4 * unit, _SOFT, side)
    _write(painter, page.headline, QRectF(left, 11 * unit, inner, 19 * unit), 6.6 * unit, _TEXT, side, bold=True)
    top, foot = 32 * unit, height - 9 * unit
    pitch = min(15 * unit, (foot - top) / max(1, len(page.rows)))
    for number, row in enumerate(page.rows):
        _row(painter, row, QRectF(left, top + number * pitch, inner, pitch - 1.5 * unit), unit, side)
    _write(painter, page.foot, QRectF(left, height - 7 * unit, inner, 4 * unit), 2.6 * unit, _DIM, side)


def _row(painter: QPainter, row: Row, place: QRectF, unit: float, side: Qt.AlignmentFlag) -> None:
    """Its mark, name and state, and beside them the sentence; the share that is done fills a line at its foot."""
    colour, mirrored = _colour(row.level), side == Qt.AlignmentFlag.AlignRight
    painter.setPen(Qt.PenStyle.NoPen)
    painter.setBrush(_CARD)
    painter.drawRoundedRect(place, unit, unit)
    if row.share is not None:
        bar = QRectF(place.left(), place.bottom() - 0.8 * unit, place.width() * row.share, 0.8 * unit)
        if mirrored:
            bar.moveRight(place.right())
        painter.fillRect(bar, colour)
    text = place.adjusted(2 * unit, 0.9 * unit, -2 * unit, -1.2 * unit)
    columns = [
        (0.05, _MARKS[row.level], colour, True),
        (0.2, row.name, _TEXT, True),
        (0.12, row.state, colour, False),
        (0.63, row.words, _SOFT, False),
    ]
    at = 0.0
    for share, words, ink, bold in columns:
        x = text.left() + (1 - at - share if mirrored else at) * text.width()
        size = (2.6 if words is row.words else 3.6) * unit
        _write(
            painter, words, QRectF(x, text.top(), share * text.width() - unit, text.height()), size, ink, side, bold=bold, middle=True
        )
        at += share


def _write(
    painter: QPainter,
    words: str,
    place: QRectF,
    size: float,
    colour: QColor,
    side: Qt.AlignmentFlag,
    *,
    bold: bool = False,
    middle: bool = False,
) -> None:
    """Wrapped into its place; in smaller letters where it would not fit, down to half, and then it ends with dots."""
    arabic = any("\u0600" <= letter <= "\u06ff" for letter in words)  # a sentence of the system's stands in English beside Urdu
    painter.setLayoutDirection(Qt.LayoutDirection.RightToLeft if arabic else Qt.LayoutDirection.LeftToRight)
    flags = (
        Qt.TextFlag.TextWordWrap
        | side
        | Qt.AlignmentFlag.AlignAbsolute
        | (Qt.AlignmentFlag.AlignVCenter if middle else Qt.AlignmentFlag.AlignTop)
    )
    font, shrunk = QFont(_FAMILY), size
    font.setBold(bold)
    while True:
        font.setPixelSize(max(6, round(shrunk)))
        needed = QFontMetricsF(font).boundingRect(place, int(flags), words)
        if (needed.height() <= place.height() and needed.width() <= place.width()) or shrunk <= size / 2:
            break
        shrunk *= 0.93
    if needed.height() > place.height():
        lines = max(1, int(place.height() / QFontMetricsF(font).lineSpacing()))
        words = QFontMetricsF(font).elidedText(words, Qt.TextElideMode.ElideRight, place.width() * lines * 0.9)
    painter.setFont(font)
    painter.setPen(colour)
    painter.drawText(place, int(flags), words)


def _colour(level: str) -> QColor:
    return _LEVELS.get(level, _DIM)
