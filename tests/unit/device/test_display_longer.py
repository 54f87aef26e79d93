"""Words that are 40 per cent longer than the English ones still fit: nothing that matters is cut, no text lies on another."""

from __future__ import annotations

import gettext
import itertools
import re
from collections.abc import Iterator
from typing import Any

import pytest
import screens
from drawing import forget

from device import language
from device.display import text
from device.display.base import ScreenView
from device.display.layout import Rect
from device.display.overlay import draw
from engines.detections import Image

LONGER = 1.4
_MAY_BE_CUT = ("usb-", "S-2026", "attridet", "open-cells", "zzcat", "/dev/", "· ")
"""Names from elsewhere; and phrases of the one cell, of which there are as many as there is room for."""
_ON_SMALL_SCREENS = ("field counted", "film alone", "No specimen number", "Blast, kind", "Other, kind", "not reached", "paused: not")
_ON_SMALL_SCREENS += ("not counted: out", "turn the fine", "no picture", "Abnormal", "Atypical", "counting: hold", "counts once")
_ON_SMALL_SCREENS += ("undo field", "from afar", "resume", "review a slide", "count on")
"""What may end in "…" below 1920 x 1080 when it is 40 per cent longer: a code, a lamp, a key's letter or a mark stands beside each. The
translations themselves are held to more: nothing of them is cut on any screen."""


class Longer(gettext.NullTranslations):
    """English with 40 per cent more letters, in words of usual length, everything to be filled in kept."""

    def gettext(self, message: str) -> str:
        plain = re.sub(r"\{[^}]*\}", "", message)
        more = round(len(plain.strip()) * (LONGER - 1))
        if not more or not plain.strip():
            return message
        stretched = "".join("áéíóú"[i % 5] if i % 6 != 5 else " " for i in range(more)).strip()
        body, end = (message[:-1], message[-1]) if message[-1] in ".:?" else (message, "")
        head, tail = body[: len(body) - len(body.lstrip())], body[len(body.rstrip()) :]
        return f"{head}{body.strip()}{'' if more < 4 else ' '}{stretched}{tail}{end}"

    def ngettext(self, msgid1: str, msgid2: str, n: int) -> str:
        return self.gettext(msgid1 if n == 1 else msgid2)


@pytest.fixture
def longer(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(language, "_catalogue", lambda code: Longer() if code == "longer" else gettext.NullTranslations())
    with language.speaking("longer"):
        yield
    forget()


def texts_of(view: ScreenView, size: tuple[int, int], monkeypatch: pytest.MonkeyPatch) -> tuple[list[str], list[tuple[str, str]]]:
    """Texts that are cut, and pairs of texts that lie on each other, on the parts of one screen."""
    forget()
    put, wrap = text.put, text.wrap
    lying: dict[int, list[tuple[Rect, str]]] = {}
    kept: list[Image] = []
    cut: list[str] = []

    def watched_put(canvas: Image, words: str, xy: tuple[int, int], size_px: int, *args: Any, **more: Any) -> Rect:
        at = put(canvas, words, xy, size_px, *args, **more)
        most = more.get("max_px")
        if words and most is not None and text.fit(words, size_px, most, more.get("bold", False)) != words:
            cut.append(words)
        if at.x1 > at.x0:
            middle = (at.y0 + at.y1) // 2  # the height of small letters: lines may touch each other's ascenders
            core = Rect(at.x0 + 2, middle - size_px // 4, at.x1 - 2, middle + size_px // 4)
            kept.append(canvas)
            lying.setdefault(id(canvas if canvas.base is None else canvas.base), []).append((core, words))
        return at

    def watched_wrap(words: str, size_px: int, max_px: int, max_lines: int, bold: bool = False) -> tuple[str, ...]:
        lines = wrap(words, size_px, max_px, max_lines, bold)
        if lines and lines[-1].endswith("…") and not words.endswith("…"):
            cut.append(words)
        return lines

    with monkeypatch.context() as patch:
        patch.setattr(text, "put", watched_put)
        patch.setattr(text, "wrap", watched_wrap)
        canvas = draw(view, size)
    assert canvas.shape == (size[1], size[0], 3)
    over = []
    for texts in lying.values():
        for (a, first), (b, second) in itertools.combinations(texts, 2):
            if a.x0 < b.x1 and b.x0 < a.x1 and a.y0 < b.y1 and b.y0 < a.y1:
                over.append((first, second))
    return cut, over


def is_vital(words: str, view: ScreenView) -> bool:
    return not (words.startswith(_MAY_BE_CUT) or any(words in sentence or sentence in words for sentence in view.description))


@pytest.mark.parametrize("size", screens.SIZES)
def test_longer_words_are_neither_cut_nor_on_each_other(size: tuple[int, int], longer: None, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, view in screens.states().items():
        cut, over = texts_of(view, size, monkeypatch)
        small = _ON_SMALL_SCREENS if size[0] < 1920 else ()
        assert [words for words in cut if is_vital(words, view) and not words.startswith(small)] == [], name
        assert over == [], name


@pytest.mark.parametrize("size", screens.SIZES)
@pytest.mark.parametrize("code", language.LANGUAGES)
def test_no_language_is_cut_or_lies_on_itself(code: str, size: tuple[int, int], monkeypatch: pytest.MonkeyPatch) -> None:
    with language.speaking(code):
        for name, view in screens.states().items():
            cut, over = texts_of(view, size, monkeypatch)
            assert [words for words in cut if is_vital(words, view)] == [], name
            assert over == [], name


def test_the_longer_words_are_as_long_as_is_said() -> None:
    said = "Blasts and blast equivalents make up {share} of all"
    stretched = Longer().gettext(said)
    assert "{share}" in stretched
    assert 1.35 <= len(stretched) / len(said) <= 1.5
