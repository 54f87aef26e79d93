"""The screen's colours, and for each cell type and told group of a taxonomy its colour, marker and code; `marks` and `field` draw them.

A test holds that what shares a marker stays apart under simulated protanopia, deuteranopia and tritanopia.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from itertools import chain, count

from device.language import N_
from engines.taxonomy import Taxonomy

Colour = tuple[int, int, int]
"""Blue, green, red; 0 to 255, as OpenCV orders them."""


def bgr(rgb_hex: str) -> Colour:
    """Colour from six hexadecimal digits RRGGBB."""
    value = int(rgb_hex, 16)
    return value & 255, value >> 8 & 255, value >> 16


GROUND = bgr("0A0E13")  # around the picture
PANEL = bgr("10161D")  # panel and footer
CARD = bgr("1B2430")  # plates, empty bars, key caps
LINE = bgr("2E3947")  # rules between sections
TEXT = bgr("F3F6F9")
SOFT = bgr("BAC4D0")
DIM = bgr("8591A0")  # zero rows, captions
HALO = bgr("0A0E13")  # beside every line on the picture, so that it shows on pale plasma and on dark nuclei

OK = bgr("4CC38A")
BUSY = bgr("5BB8F5")
WARN = bgr("F7BC45")
FAIL = bgr("FF7466")
LEVELS: dict[str, Colour] = {"ok": OK, "busy": BUSY, "warn": WARN, "fail": FAIL}


@dataclass(frozen=True)
class TypeStyle:
    """How one type looks everywhere: colour, marker ("diamond", "disc", "square", "triangle", "cross") and a code of 2 to 4 letters.

    open: of a group told without its type: hollow marker, and a box with gaps.
    """

    name: str
    colour: Colour
    marker: str
    code: str
    blast: bool
    artefact: bool
    open: bool = False


UNIDENTIFIED = TypeStyle(N_("unidentified"), TEXT, "question", "", blast=False, artefact=False)
"""Of a cell too uncertain to be named."""
NOT_LOOKED_AT = TypeStyle(N_("not named yet"), TEXT, "", "", blast=False, artefact=False)
"""Of a box on a field that is not counted, where a second look will name it: corners only, no label."""
_SPARE = ("36DAFF", "EF8B24", "C4B1E5", "A4CC88", "F75032", "847AFF", "FED939", "DA6293")
_SPARE_MARKERS = ("disc", "square", "triangle")


@lru_cache(maxsize=8)
def type_styles(taxonomy: Taxonomy) -> tuple[TypeStyle, ...]:
    """One style for each class of `taxonomy`, in its order; what its file does not say is a spare colour, marker or code."""
    styles: list[TypeStyle] = []
    codes = {one.code for one in taxonomy.types}
    looks = {(one.colour, one.marker) for one in taxonomy.types}
    for index, one in enumerate(taxonomy.types):
        blast = taxonomy.is_blast(index)
        spare = [(c, m) for m in (("diamond",) if blast else _SPARE_MARKERS) for c in _SPARE if one.marker in ("", m)]
        colour, marker = next((look for look in spare if look not in looks), (_SPARE[index % len(_SPARE)], "disc"))
        colour, marker, code = one.colour or colour, one.marker or marker, one.code or _new_code(one.name, codes)
        looks.add((colour, marker))
        codes.add(code)
        styles.append(TypeStyle(one.name, bgr(colour), marker, code, blast, taxonomy.is_artefact(index)))
    return tuple(styles)


@lru_cache(maxsize=8)
def group_styles(taxonomy: Taxonomy) -> dict[str, TypeStyle]:
    """The style of each told group of `taxonomy`, by its key."""
    return {
        one.key: TypeStyle(one.short, bgr(one.colour), f"open {one.marker}", one.code, one.key == "blasts", artefact=False, open=True)
        for one in taxonomy.told_groups
    }


@lru_cache(maxsize=8)
def person_styles(taxonomy: Taxonomy) -> dict[str, TypeStyle]:
    """The style of each of the person's classes of `taxonomy`, by its key; spare looks and a code where its file says none."""
    styles = {}
    codes = {style.code for style in type_styles(taxonomy) if not style.artefact} | {one.code for one in taxonomy.person_classes}
    for index, one in enumerate(taxonomy.person_classes):
        colour, marker, code = one.colour or _SPARE[index % len(_SPARE)], one.marker or "cross", one.code or _new_code(one.name, codes)
        codes.add(code)
        styles[one.key] = TypeStyle(one.name, bgr(colour), marker, code, blast=False, artefact=one.key == "artefact")
    return styles


def _new_code(name: str, taken: set[str]) -> str:
    """Three letters of the name, or two and a number where those are taken."""
    letters = "".join(c for c in name.upper() if c.isalnum()) or "T"
    codes = chain([letters[:3]], (f"{letters[:2]}{number}" for number in count(2)))
    return next(code for code in codes if code not in taken)


def mix(colour: Colour, ground: Colour, share: float) -> Colour:
    """`share` of `colour` over `ground`."""
    b, g, r = (round(g + (c - g) * share) for c, g in zip(colour, ground, strict=True))
    return b, g, r


def luminance(colour: Colour) -> float:
    """Relative luminance, 0 to 1 (WCAG 2.2)."""
    blue, green, red = (_linear(c / 255) for c in colour)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast_ratio(a: Colour, b: Colour) -> float:
    """Contrast of two colours, 1 to 21 (WCAG 2.2); text needs 4.5."""
    high, low = sorted((luminance(a), luminance(b)), reverse=True)
    return (high + 0.05) / (low + 0.05)


def ink_on(ground: Colour) -> Colour:
    """The light or the dark text colour, whichever reads better on `ground`."""
    return TEXT if contrast_ratio(TEXT, ground) >= contrast_ratio(GROUND, ground) else GROUND


def _linear(channel: float) -> float:
    return channel / 12.92 if channel <= 0.04045 else float(((channel + 0.055) / 1.055) ** 2.4)
