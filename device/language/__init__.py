"""The language of what people read on screen and page: message catalogues by gettext, numbers and dates by locale.

`_("words")` gives the words in the language that `use` was told, and is called where they are shown, never when a module is loaded;
`N_` only marks words that are translated later. The catalogues are made by Babel (see CONTRIBUTING.md).
"""

from __future__ import annotations

import gettext
from pathlib import Path

_LOCALE = Path(__file__).with_name("locale")
_catalogue: gettext.NullTranslations = gettext.NullTranslations()


def use(code: str) -> None:
    """Speak this language ("en", "fr", "ur", "sw") from now on. What a catalogue lacks stands in English."""
    global _catalogue  # noqa: PLW0603  (a process speaks one language)
    _catalogue = gettext.translation("leukoscope", _LOCALE, [code], fallback=True)


def _(words: str) -> str:
    """`words` in the language in use."""
    return _catalogue.gettext(words)


def ngettext(one: str, many: str, count: int) -> str:
    """The form that the language has for `count` things; the number is put in by the caller: `ngettext("{n} cell", "{n} cells", n)`."""
    return _catalogue.ngettext(one, many, count)


def N_(words: str) -> str:  # noqa: N802  (gettext's usual name)
    """Marks `words` for the catalogue and gives them back as they are."""
    return words
