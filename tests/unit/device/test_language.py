"""The catalogues of messages: whole, in step with the code, with the same places to fill in; what goes to machines stays English."""

from __future__ import annotations

import ast
import gettext
import re
import string
import threading
from io import BytesIO

import gallery
import numpy as np
import pytest
from drawing import VIEWS

from device import language
from device.display import text
from device.display.factory import open_display
from device.errors import ConfigError
from device.language import messages
from device.settings.config import DisplaySection
from device.slide.description import describe
from device.slide.picture_state import count_of
from engines.taxonomy import LEUKEMIA_ATTRI

CODES = messages.TRANSLATED


@pytest.fixture(scope="module")
def words() -> set[str]:
    return {messages._key(message) for message in messages.template() if message.id}


@pytest.mark.parametrize("code", CODES)
def test_every_catalogue_holds_the_words_of_the_code_and_all_are_translated(code: str, words: set[str]) -> None:
    catalogue = messages.catalogue_of(code)
    held = {messages._key(message) for message in catalogue if message.id}
    assert held == words, "run `make messages` and translate what it lists"
    assert messages.missing(catalogue) == []


@pytest.mark.parametrize("code", CODES)
def test_what_is_read_at_run_time_is_compiled_from_the_catalogue(code: str) -> None:
    path = messages.po_path(code)
    with path.with_suffix(".mo").open("rb") as file:
        shipped = gettext.GNUTranslations(file)
    fresh = gettext.GNUTranslations(BytesIO(messages.compiled(messages.catalogue_of(code))))
    assert vars(shipped)["_catalog"] == vars(fresh)["_catalog"], "run `make messages`"


def places(words: str) -> list[str]:
    return sorted(f"{name}:{form}" for _, name, form, _ in string.Formatter().parse(words) if name is not None)


@pytest.mark.parametrize("code", CODES)
def test_translations_have_the_same_places_to_fill_in(code: str) -> None:
    for message in messages.catalogue_of(code):
        ids = message.id if isinstance(message.id, (tuple, list)) else (message.id,)
        for given in messages._forms(message) if message.id else ():
            assert places(given) in [places(one) for one in ids], given
            begins = given.removeprefix(" ") if given.startswith((" :", " ;")) else given  # French sets a blank before colons
            assert begins.startswith(" ") == ids[0].startswith(" "), repr(given)
            assert given.endswith(" ") == ids[0].endswith(" "), repr(given)


def test_no_catalogue_bears_the_words_of_another() -> None:
    """Words that are the same in two of them are the field's own, or have no letters; Urdu is written in its own."""
    by_code = {code: {messages._key(m): messages._forms(m) for m in messages.catalogue_of(code) if m.id} for code in CODES}
    for key, forms in by_code["ur"].items():
        if len(re.findall(r"[a-z]{2,}", re.sub(r"\{[^}]*\}", "", key))) > 1 and " " in key:
            assert all(any("\u0600" <= c <= "\u06ff" for c in form) for form in forms), key
    shared = [key for key, forms in by_code["fr"].items() if forms == by_code["sw"][key] and forms[0] != key and " " in forms[0]]
    assert shared == []


@pytest.mark.parametrize(
    ("code", "forms"),
    [
        ("en", {0: "0 fields", 1: "1 field", 2: "2 fields", 21: "21 fields"}),
        ("fr", {0: "0 champ", 1: "1 champ", 2: "2 champs", 21: "21 champs"}),
        ("sw", {0: "maeneo 0", 1: "eneo 1", 2: "maeneo 2", 21: "maeneo 21"}),
    ],
)
def test_plurals_are_those_of_the_language(code: str, forms: dict[int, str]) -> None:
    with language.speaking(code):
        assert {n: count_of(n, "field") for n in forms} == forms


def test_one_white_cell_is_no_white_cells() -> None:
    assert [count_of(n, "white cell") for n in (0, 1, 2)] == ["0 white cells", "1 white cell", "2 white cells"]


@pytest.mark.parametrize("code", CODES)
def test_all_letters_of_a_catalogue_are_in_the_font(code: str) -> None:
    for message in messages.catalogue_of(code):
        for given in messages._forms(message) if message.id else ():
            lacking = set(text.drawable(given)) - text._DRAWN
            assert not lacking, (given, lacking)


@pytest.mark.parametrize("code", CODES)
def test_the_film_in_words_is_in_the_language_of_the_screen_and_a_summary_in_english(code: str) -> None:
    view = VIEWS["named"]
    assert view.slide is not None and view.differential is not None
    english = describe(view.slide, view.differential, LEUKEMIA_ATTRI, gallery.NAMING)
    with language.speaking(code):
        said = describe(view.slide, view.differential, LEUKEMIA_ATTRI, gallery.NAMING)
        with language.speaking("en"):
            assert describe(view.slide, view.differential, LEUKEMIA_ATTRI, gallery.NAMING) == english
    assert len(said) == len(english)
    assert not set(said) & set(english)
    assert not any("{" in sentence for sentence in said)


def test_another_language_meanwhile_is_that_of_this_thread_alone() -> None:
    heard: list[str] = []
    with language.speaking("fr"):
        other = threading.Thread(target=lambda: heard.append(language.in_use()))
        other.start()
        other.join()
        assert language.in_use() == "fr"
    assert heard == ["en"]
    assert language.in_use() == "en"


def test_the_display_speaks_the_configured_language() -> None:
    try:
        open_display(DisplaySection(kind="none", language="sw"))
        assert language.in_use() == "sw"
    finally:
        open_display(DisplaySection(kind="none"))
    assert language.in_use() == "en"


def test_a_language_that_cannot_be_written_here_is_refused_with_the_next_step(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(text, "can_shape", lambda: False)
    with pytest.raises(ConfigError, match=r"display\.language.*apt install libfribidi0"):
        open_display(DisplaySection(kind="none", language="ur"))
    assert language.in_use() == "en"


def test_no_words_hide_within_an_f_string() -> None:
    """Before Python 3.12 an f-string is one token, in which the catalogue's reader finds nothing: such words would stay English."""
    hidden = []
    for path in (messages.ROOT / "device").rglob("*.py"):
        for outer in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            for node in ast.walk(outer) if isinstance(outer, ast.JoinedStr) else ():
                marks = isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in ("_", "N_", "ngettext")
                if marks and isinstance(node.args[0], ast.Constant):
                    hidden.append(f"{path.name}:{node.lineno} {node.args[0].value}")
    assert hidden == []


def test_the_id_of_a_slide_is_read_from_its_beginning_beside_arabic_letters() -> None:
    if not text.can_shape():
        pytest.skip("needs Pillow's Raqm with libfribidi")

    def first_columns(line: str) -> np.ndarray:
        alpha = text._alpha(line, 24, False)
        begin = int(np.flatnonzero(alpha.any(axis=0))[0])
        return alpha[:, begin : begin + 8]

    word = "سلائیڈ"
    alone, from_its_end = first_columns("20261123-181512-4f9a2c"), first_columns("4f9a2c-181512-20261123")
    assert not np.array_equal(alone, from_its_end)
    for line in (f"{word} 20261123-181512-4f9a2c", f"{word} {word} 20261123-181512-4f9a2c"):  # read from the right: it stands leftmost
        assert (
            np.abs(first_columns(line).astype(int) - alone).mean() < np.abs(first_columns(line).astype(int) - from_its_end).mean() / 4
        )
