"""The language of what people read on screen and page: message catalogues by gettext, numbers by locale.

`_("words")` gives the words in the language that `use` was told, and is called where they are shown, never when a module is loaded;
`N_` only marks words that are translated later. What goes to other machines (MQTT, FHIR, CSV, the log) stays English: `speaking("en")`.
The catalogues are made by Babel: `make messages`; see docs/languages.md.
"""

from __future__ import annotations

import gettext
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing_extensions import Self

LANGUAGES = {"en": "English", "fr": "français", "ur": "اردو", "sw": "Kiswahili"}
"""What the screen speaks, each in its own name."""
RIGHT_TO_LEFT = frozenset({"ur"})
_LOCALE = Path(__file__).with_name("locale")
_COMMA = frozenset({"fr"})

_code = "en"
_meanwhile: ContextVar[str] = ContextVar("language spoken meanwhile", default="")


@lru_cache(maxsize=8)
def _catalogue(code: str) -> gettext.NullTranslations:
    return gettext.translation("leukoscope", _LOCALE, [code], fallback=True)


def use(code: str) -> None:
    """Speak this language ("en", "fr", "ur", "sw") from now on. What a catalogue lacks stands in English."""
    global _code  # noqa: PLW0603  (a process speaks one language)
    _code = code


def in_use() -> str:
    """The code of the language that is spoken."""
    return _meanwhile.get() or _code


@contextmanager
def speaking(code: str) -> Iterator[None]:
    """Speak another language meanwhile, in this thread alone: a summary is written in English beside a screen in Urdu."""
    token = _meanwhile.set(code)
    try:
        yield
    finally:
        _meanwhile.reset(token)


def _(words: str) -> str:
    """`words` in the language in use."""
    return _catalogue(in_use()).gettext(words) if words else ""


def ngettext(one: str, many: str, count: int) -> str:
    """The form that the language has for `count` things; the number is put in by the caller: `ngettext("{n} cell", "{n} cells", n)`."""
    return _catalogue(in_use()).ngettext(one, many, count)


def N_(words: str) -> str:  # noqa: N802  (gettext's usual name)
    """Marks `words` for the catalogue and gives them back as they are."""
    return words


class Sentence(str):
    """An English sentence that remembers what it was made of, so that who reads it later can say it in the language in use.

        Sentence(N_("Version {version} is installed; restart the box to use it."), version="1.2")

    It is that string wherever a string is wanted; what is joined to another or cut is English alone.
    """

    template: str
    values: dict[str, str]

    def __new__(cls, template: str, **values: object) -> Self:
        """template: marked by `N_`, with the names of the values in braces."""
        shown = {name: str(value) for name, value in values.items()}
        made = super().__new__(cls, template.format(**shown))
        made.template, made.values = template, shown
        return made


def words_of(error: Exception) -> str:
    """What an error says, as the `Sentence` that it was raised with where it was one."""
    return error.args[0] if error.args and isinstance(error.args[0], Sentence) else str(error)


def say(template: str, values: Mapping[str, str]) -> str:
    """A `Sentence` in the language in use; in a line of Arabic letters its values are read from left to right."""
    apart = in_use() in RIGHT_TO_LEFT
    return _(template).format(**{name: f"\u2066{value}\u2069" if apart else value for name, value in values.items()})


def number(value: float, digits: int = 0) -> str:
    """`value` with so many digits behind the decimal sign of the language in use; always in 0 to 9, as laboratories print them."""
    words = f"{value:.{digits}f}"
    return words.replace(".", ",") if in_use() in _COMMA else words
