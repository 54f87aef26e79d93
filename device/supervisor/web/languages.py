"""Which language a reader is spoken to in: the account's, the cookie's, the browser's, then English."""

from __future__ import annotations

from device.language import LANGUAGES

COOKIE = "language"
_LONGEST = 1000


def choose(account: str = "", cookie: str = "", accept_language: str = "") -> str:
    """The code of a language that there is. Words of a browser's header that make no sense are passed over."""
    for asked in (account, cookie):
        if asked in LANGUAGES:
            return asked
    wanted = []
    for place, part in enumerate(accept_language[:_LONGEST].split(",")):
        tag, _semicolon, parameters = part.partition(";")
        code = tag.strip().lower().partition("-")[0]
        if code in LANGUAGES and (weight := _weight(parameters)) > 0:
            wanted.append((-weight, place, code))
    return min(wanted)[2] if wanted else "en"


def _weight(parameters: str) -> float:
    """The header's q, 1 where none is said."""
    name, _equals, value = parameters.strip().partition("=")
    if name.strip() != "q":
        return 1.0
    try:
        return float(value)
    except ValueError:
        return 0.0
