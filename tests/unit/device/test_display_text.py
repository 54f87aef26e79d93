"""Text on the screen: what the font has, fitting, wrapping, and sprites that lie where they say."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image as PillowImage
from PIL import ImageDraw

from device.display import text
from device.display.palette import PANEL, TEXT

WORDS = st.text(st.characters(min_codepoint=32, max_codepoint=0x24F), max_size=60)


def test_the_font_has_every_letter_that_is_said_to_be_drawn() -> None:
    for bold in (False, True):
        font = text._font(40, bold)
        missing = bytes(font.getmask("\u0e01"))
        for letter in sorted(text._DRAWN - text._JOINERS - {" "}):
            assert bytes(font.getmask(letter)) != missing, f"{ord(letter):04x}"


@pytest.mark.parametrize(
    ("given_text", "drawn"),
    [
        ("Köln, São Paulo, leucémie", "Köln, São Paulo, leucémie"),
        ("1920 × 1080 → 5 μm", "1920 × 1080 > 5 µm"),  # noqa: RUF001  (the letters under test)
        ("فیلڈ 12", "فیلڈ 12"),
        ("a\tb\nc", "a b c"),
        ("UNREVIEWED — ok", "UNREVIEWED — ok"),
        ("Ḥārūn ≥ 3", "Hārūn >= 3"),
        ("ሰላም", "ሰላም"),  # not in the font: boxes, not silence
    ],
)
def test_letters_beyond_the_font(given_text: str, drawn: str) -> None:
    assert text.drawable(given_text) == drawn


@given(WORDS, st.integers(8, 60), st.integers(0, 500))
def test_fitted_text_fits(words: str, size: int, room: int) -> None:
    fitted = text.fit(words, size, room)
    assert fitted in (words, "") or fitted.endswith("…")
    assert not fitted or text.width(fitted, size) <= room


@given(WORDS, st.integers(10, 40), st.integers(60, 500), st.integers(1, 5))
def test_wrapped_text_fits_and_says_what_it_leaves_out(words: str, size: int, room: int, at_most: int) -> None:
    lines = text.wrap(words, size, room, at_most)
    assert len(lines) <= at_most
    assert all(text.width(line, size) <= room for line in lines)
    if not (lines and lines[-1].endswith("…")):
        assert "".join("".join(lines).split()) == "".join(words.split())


def test_a_word_longer_than_a_line_is_broken() -> None:
    lines = text.wrap("S-" + "0123456789" * 8, 20, 200, 9)
    assert len(lines) > 2
    assert "".join(lines) == "S-" + "0123456789" * 8


def test_a_sprite_is_the_text_on_its_ground() -> None:
    sprite = text.sprite("Myeloblast", 28, TEXT, PANEL, bold=True)
    assert sprite.shape == (text.line_height(28), text.width("Myeloblast", 28, bold=True), 3)
    assert (sprite[0] == PANEL).all()
    assert (sprite == TEXT).all(axis=2).any()
    assert not sprite.flags.writeable
    assert text.sprite("Myeloblast", 28, TEXT, PANEL, bold=True) is sprite


def test_bold_is_heavier() -> None:
    plain, bold = (text.sprite("Blast", 28, (255, 255, 255), (0, 0, 0), bold=b).sum(dtype=np.int64) for b in (False, True))
    assert 1.1 < bold / plain < 1.8


def test_dashes_are_lines() -> None:
    dash = text.sprite("—", 40, (255, 255, 255), (0, 0, 0))
    rows = (dash[..., 0] > 128).any(axis=1)
    assert 2 <= rows.sum() <= 5
    assert (dash[..., 0] > 128).any(axis=0).sum() > 25


@pytest.mark.parametrize("align", ["left", "centre", "right"])
def test_put_says_where_the_text_lies(align: str) -> None:
    canvas = np.zeros((80, 300, 3), np.uint8)
    canvas[:] = PANEL
    at = text.put(canvas, "124", (150, 20), 30, TEXT, PANEL, align=align)
    painted = np.argwhere((canvas != PANEL).any(axis=2))
    assert painted[:, 1].min() >= at.x0
    assert painted[:, 1].max() < at.x1
    assert painted[:, 0].min() >= at.y0
    assert painted[:, 0].max() < at.y1
    assert {"left": at.x0, "centre": (at.x0 + at.x1) // 2, "right": at.x1}[align] == pytest.approx(150, abs=1)


def test_text_over_anything_equals_text_on_a_plain_ground() -> None:
    plain, over = np.zeros((60, 200, 3), np.uint8), np.zeros((60, 200, 3), np.uint8)
    plain[:], over[:] = PANEL, PANEL
    text.put(plain, "Monocyte", (5, 5), 26, TEXT, PANEL)
    text.put(over, "Monocyte", (5, 5), 26, TEXT, None)
    assert (plain == over).all()


@pytest.mark.parametrize("xy", [(5, 5), (-20, 5), (150, 5), (5, -9), (5, 45)])
def test_what_lies_under_a_text_shows_through(xy: tuple[int, int]) -> None:
    ground = np.random.default_rng(3).integers(0, 256, (60, 200, 3), np.uint8)
    canvas = ground.copy()
    text.put(canvas, "Monocyte", xy, 26, TEXT, None, bold=True)
    share = np.zeros((300, 400), int)
    alpha = text.sprite("Monocyte", 26, (255, 255, 255), (0, 0, 0), bold=True)[..., 0]
    share[100 + xy[1] : 100 + xy[1] + alpha.shape[0], 100 + xy[0] : 100 + xy[0] + alpha.shape[1]] = alpha
    seen = share[100:160, 100:300, None]
    assert (canvas == (ground * (255 - seen) + np.array(TEXT) * seen + 127) // 255).all()


@pytest.mark.parametrize("xy", [(-40, -10), (180, 50), (500, 500)])
def test_what_lies_outside_is_cut_off(xy: tuple[int, int]) -> None:
    canvas = np.zeros((60, 200, 3), np.uint8)
    text.put(canvas, "Neutrophil", xy, 30, TEXT, PANEL)
    text.put(canvas, "Neutrophil", xy, 30, TEXT, None)


@given(WORDS, st.integers(6, 60))
def test_letters_put_together_are_the_line_as_the_library_draws_it(words: str, size: int) -> None:
    line = "".join(c for c in text.drawable(words) if c not in text._ARABIC)
    font, long = text._font(size), text.width(line, size)
    assert long == math.ceil(font.getlength(line)) + 2
    whole = PillowImage.new("L", (long, text.line_height(size)), 0)
    ImageDraw.Draw(whole).text((1, text.base_line(size)), line, fill=255, font=font, anchor="ls")
    np.testing.assert_array_equal(text._composed(line, size, long), np.asarray(whole))


URDU = "فیلڈ 12 گنا گیا: 6 خلیے"


@pytest.mark.skipif(not text.can_shape(), reason="Pillow's Raqm finds no libfribidi")
def test_urdu_is_joined_and_runs_from_right_to_left() -> None:
    joined = text.width("خلیے", 40)
    apart = sum(text.width(letter, 40) - 2 for letter in "خلیے")
    assert joined < 0.9 * apart  # letters within a word are narrower than alone
    line = text._alpha(URDU, 40, False)
    first, last = text._alpha("فیلڈ", 40, False), text._alpha("خلیے", 40, False)
    np.testing.assert_allclose(
        line[:, -first.shape[1] + 2 :].sum(), first.sum(dtype=np.int64), rtol=0.05
    )  # the first word at the right
    np.testing.assert_allclose(line[:, : last.shape[1] - 2].sum(), last.sum(dtype=np.int64), rtol=0.05)
    assert line[:, :2].sum() + 1 > 0


@pytest.mark.parametrize("size", [14, 22, 31, 66])
@pytest.mark.parametrize("bold", [False, True])
def test_no_letter_is_cut_above_or_below_its_line(size: int, bold: bool) -> None:
    for words in ("ÉÅgjpqçŞ|", "ٹڈڑںےہھگچپژجحخعغقىيؤآإ۔،؟"):  # noqa: RUF001  (the letters under test)
        tall = PillowImage.new("L", (40 * size, 3 * size), 0)
        shaped = bool(text._ARABIC & set(words))
        ImageDraw.Draw(tall).text(
            (size, size + text.base_line(size)), words, fill=255, font=text._font(size, bold, shaped), anchor="ls"
        )
        rows = np.flatnonzero((np.asarray(tall) > 60).any(axis=1))
        assert rows[0] >= size - 1, words
        assert rows[-1] < size + text.line_height(size) + 1, words


def test_capitals_are_as_high_as_is_said() -> None:
    rows = np.flatnonzero((text._alpha("H", 100, False) > 128).any(axis=1))
    assert (rows[-1] - rows[0] + 1) / 100 == pytest.approx(text.CAP_HEIGHT, abs=0.02)


def test_what_is_drawn_in_the_mirror_reads_once_it_is_turned_over() -> None:
    canvas = np.zeros((60, 200, 3), np.uint8)
    canvas[:] = PANEL
    with text.mirrored():
        at = text.put(canvas, "Monocyte", (20, 5), 26, TEXT, PANEL)
    turned = canvas[:, ::-1]
    sprite = text.sprite("Monocyte", 26, TEXT, PANEL)
    assert np.array_equal(turned[at.y0 : at.y1, 200 - at.x1 : 200 - at.x0], sprite)
