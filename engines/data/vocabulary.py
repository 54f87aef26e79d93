"""Class names, attribute keys and values as label files spell them, to and from the codes of a taxonomy.

Codes as in the data sets: JSON 4 = not applicable; TXT 2 in all attributes = not applicable (class None); -1 = the source does not say.
Published files mix these, so both readers take all of them.
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from engines.taxonomy import UNKNOWN, Attribute, Taxonomy, TxtLayout
from engines.taxonomy.model import plain

NOT_APPLICABLE = -2
"""An attribute that has no meaning for this object (class None). Training sees UNKNOWN for both; files keep them apart."""

JSON_NOT_APPLICABLE = 4
TXT_NOT_APPLICABLE = 2

_NOT_STATED_WORDS = {"": UNKNOWN, "unknown": UNKNOWN, "na": NOT_APPLICABLE, "notapplicable": NOT_APPLICABLE, "none": NOT_APPLICABLE}


@lru_cache(maxsize=8)
def _class_words(taxonomy: Taxonomy) -> Mapping[str, int]:
    words = {plain(name): code for code, name in enumerate(taxonomy.classes)}
    for code, one in enumerate(taxonomy.types):
        for word in filter(None, map(plain, (one.plural, *one.spellings))):
            words.setdefault(word, code)
    return words


def class_code(name: object, taxonomy: Taxonomy) -> int | None:
    """Label code of a class name in any case, with spaces, hyphens or underscores, in the plural; None if there is no such class."""
    if not isinstance(name, str):
        return None
    word = plain(name)
    words = _class_words(taxonomy)
    return words.get(word, words.get(word.removesuffix("s")))


def nearest_class(name: object, taxonomy: Taxonomy) -> str:
    """A question to end a message with ("; did you mean 'Myeloblast'?"), empty where no class is near."""
    words = _class_words(taxonomy)
    near = difflib.get_close_matches(plain(str(name)), words, n=1, cutoff=0.75)
    return f"; did you mean '{taxonomy.classes[words[near[0]]]}'?" if near else ""


@lru_cache(maxsize=8)
def _json_keys(taxonomy: Taxonomy) -> tuple[tuple[str, ...], ...]:
    return tuple(tuple(map(plain, (*a.json, a.key, a.name))) for a in taxonomy.attributes)


def json_values(annotation: Mapping[str, Any], taxonomy: Taxonomy) -> tuple[list[object], set[str]]:
    """The raw value of each attribute in the taxonomy's order (None where absent), and the keys that were read."""
    spelled = {plain(key): key for key in annotation}
    values: list[object] = []
    read: set[str] = set()
    for names in _json_keys(taxonomy):
        keys = [spelled[name] for name in names if name in spelled]
        read.update(keys)
        values.append(next((annotation[key] for key in keys if annotation[key] is not None), None))
    return values, read


@dataclass
class Codes:
    """Attribute codes of one label: 0 to n-1, UNKNOWN or NOT_APPLICABLE; what could not be read; what is odd but was read."""

    codes: list[int] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    odd: list[str] = field(default_factory=list)


def attribute_codes(values: Sequence[object], taxonomy: Taxonomy, *, lone_two_is_odd: bool, layout: TxtLayout | None = None) -> Codes:
    """Codes, in the taxonomy's order, of raw values in the order of the TXT `layout`, or of the taxonomy where there is none.

    None is a value that is not stated. A 2 in every place, or in as many as a layout has, means not applicable; a 2 alone, in an
    attribute of two values, likewise, and it is odd in JSON, whose own code is 4. What does not apply in any column of a TXT line does
    not apply in those that it lacks either.
    """
    found = Codes()
    keys = [a.key for a in taxonomy.attributes] if layout is None else layout.keys
    given = {key: value for key, value in zip(keys, values, strict=True) if value is not None}
    stated = {a.key: _number(given[a.key], a) for a in taxonomy.attributes if a.key in given}
    everywhere = layout is not None or len(stated) == len(keys) or any(0 < len(o.keys) <= len(stated) for o in taxonomy.txt_layouts)
    room_for_two = everywhere and any(len(a.values) == 2 for a in taxonomy.attributes if a.key in stated)
    if room_for_two and all(n == TXT_NOT_APPLICABLE for n in stated.values()):
        found.codes = [NOT_APPLICABLE] * len(taxonomy.attributes)
        return found
    nowhere = layout is not None and stated and all(n in (JSON_NOT_APPLICABLE, NOT_APPLICABLE) for n in stated.values())
    for attribute in taxonomy.attributes:
        if attribute.key not in stated:
            found.codes.append(NOT_APPLICABLE if nowhere else UNKNOWN)
            continue
        number, raw, count = stated[attribute.key], given[attribute.key], len(attribute.values)
        if number is not None and (number in (UNKNOWN, NOT_APPLICABLE) or 0 <= number < count):
            found.codes.append(number)
        elif number == JSON_NOT_APPLICABLE or (number == TXT_NOT_APPLICABLE and count == 2):
            found.codes.append(NOT_APPLICABLE)
            if number == TXT_NOT_APPLICABLE and lone_two_is_odd:
                found.odd.append(f"{attribute.name} is 2; JSON has 0, 1, {JSON_NOT_APPLICABLE} and -1")
        else:
            found.codes.append(UNKNOWN)
            words = ", ".join(f"{code} {word}" for code, word in enumerate(attribute.values))
            found.wrong.append(f"{attribute.name} is {raw!r}; allowed: {words}, 2 or 4 for not applicable, -1 for unknown")
    return found


def _number(value: object, attribute: Attribute) -> int | None:
    """A raw value as a code: numbers, numbers in quotes, the taxonomy's words; None for anything else."""
    if isinstance(value, str):
        word = plain(value)
        words = {**_NOT_STATED_WORDS, **{plain(v): code for code, v in enumerate(attribute.values)}}
        if word in words:
            return words[word]
        try:
            value = float(value)
        except ValueError:
            return None
    if value is None:
        return UNKNOWN
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value) or value != int(value):
        return None
    return int(value) if value != NOT_APPLICABLE else None  # that code is ours, no file has it


def json_code(code: int) -> int:
    """What JSON says for a code: 4 for not applicable."""
    return JSON_NOT_APPLICABLE if code == NOT_APPLICABLE else code


def txt_codes(codes: Sequence[int]) -> list[int]:
    """What a TXT line says for codes, so that `attribute_codes` gives the same again: 2 in all places for not applicable.

    Where only some are not applicable they are written 4, so that a large cell (2) is never taken for one of the published 2s.
    """
    if all(code == NOT_APPLICABLE for code in codes):
        return [TXT_NOT_APPLICABLE] * len(codes)
    return [json_code(code) for code in codes]
