"""Which key says which class in the review: by rule, so that the same taxonomy gives the same keys on every device and every day.

Blasts and equivalents have the digits from 1 on, in the taxonomy's order, and 0 if their kind is uncertain: the same row for all that
must not be missed. Everything else has a letter that is no command of the review, given out in four rounds, in the taxonomy's order,
classes before groups: the first letter of the name; the first letters of its other words; the name's remaining letters in their order;
what is left of the alphabet, then of the digits. X says that it is no cell and N that it stays without a class.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from string import ascii_uppercase

COMMANDS = "ABCGIKNQUVX"
"""Letters that mean something else on the pages of the review."""


def class_keys(blasts: Sequence[str], uncertain_blast: str, others: Iterable[str], groups: Iterable[str] = ()) -> dict[str, str]:
    """Name to key. blasts, others: names of classes in the taxonomy's order; uncertain_blast: name of the group of blasts.

    What finds no key is left out: it can be pressed on the legend only.
    """
    keys = dict(zip(blasts, "123456789", strict=False))
    keys[uncertain_blast] = "0"
    free = [letter for letter in ascii_uppercase if letter not in COMMANDS]
    spare = free + [digit for digit in "987654321" if digit not in keys.values()]
    rest = [*blasts[9:], *others]
    for names in (rest, list(groups)):
        for wanted in (_first, _of_words, _any, lambda _: spare):
            for name in names:
                if name not in keys:
                    key = next((one for one in wanted(name) if one in spare), "")
                    if key:
                        keys[name] = key
                        spare.remove(key)
    return keys


def _letters(word: str) -> str:
    return "".join(letter for letter in word.upper() if letter in ascii_uppercase)


def _first(name: str) -> Sequence[str]:
    return _letters(name)[:1]


def _of_words(name: str) -> Sequence[str]:
    return "".join(_letters(word)[:1] for word in name.split())


def _any(name: str) -> Sequence[str]:
    return _letters(name)
