"""Whose film and who counts: what is taken for a specimen's id and for initials, and in which words the rest is refused.

An id names a tube in the laboratory's own books and never a person. Nothing here writes, logs or sends one.
"""

from __future__ import annotations

import re

from device.language import _
from device.settings.config import SlideSection

LONGEST_ID = 32
_INITIALS = re.compile(r"[^\W\d_]{2,4}")
_CODE_39 = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ-. $/+%"
_ISO_7064 = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ*"


def specimen_id(typed: str, rules: SlideSection) -> str:
    """The id as it is stored: what was typed or scanned, without spaces around it. ValueError, in one sentence, for what is none."""
    text = typed.strip()
    if not text:
        raise ValueError(_("Nothing was typed: scan the label, or type the number on it."))
    if re.search(r"[^\W\d_]\s+[^\W\d_]", text) or "," in text:
        raise ValueError(_("That looks like a name. Never type a name here: scan or type the specimen's number."))
    if len(text) > LONGEST_ID:
        raise ValueError(_("Too long for a specimen's number: at most {n} characters.").format(n=LONGEST_ID))
    if not any(sign.isdigit() for sign in text):
        raise ValueError(_("A specimen's number has digits; words and names are not taken."))
    if not re.fullmatch(rules.specimen_pattern, text):
        raise ValueError(_("That is no specimen number of this laboratory: scan the label again, or look at how it is written."))
    if not _CHECKS[rules.specimen_check](text.upper()):
        raise ValueError(_("The check character does not fit: a character was read or typed wrongly. Try again."))
    return text


def initials(typed: str) -> str:
    """The operator's initials in capitals. ValueError, in one sentence, for anything but 2 to 4 letters."""
    text = typed.strip()
    if not _INITIALS.fullmatch(text):
        raise ValueError(_("Initials are 2 to 4 letters."))
    return text.upper()


def _mod10(text: str) -> bool:
    """ISO/IEC 7812-1 (Luhn): from the right every second digit counts twice, its digits added; the sum ends in 0."""
    if not (text.isascii() and text.isdigit()):
        return False
    digits = [int(sign) for sign in reversed(text)]
    return sum(d if i % 2 == 0 else sum(divmod(2 * d, 10)) for i, d in enumerate(digits)) % 10 == 0


def _mod43(text: str) -> bool:
    """Code 39: the last character stands for the sum of the others' places, modulo 43."""
    if len(text) < 2 or any(sign not in _CODE_39 for sign in text):
        return False
    return sum(map(_CODE_39.index, text[:-1])) % 43 == _CODE_39.index(text[-1])


def _mod37(text: str) -> bool:
    """ISO/IEC 7064 mod 37-2, as ISBT 128 has it behind a donation number that is typed by hand."""
    if len(text) < 2 or any(sign not in _ISO_7064 for sign in text) or "*" in text[:-1]:
        return False
    rest = 0
    for sign in text[:-1]:
        rest = (rest + _ISO_7064.index(sign)) * 2 % 37
    return (rest + _ISO_7064.index(text[-1])) % 37 == 1


_CHECKS = {"none": lambda text: True, "mod10": _mod10, "mod43": _mod43, "mod37-2": _mod37}
"""Whether the last character of an id in capitals is the one that the others ask for."""
