"""The screen's colours, and for each cell type its colour, marker and code; how they are drawn lives in `marks` and `field`.

The colours of the types start from Okabe and Ito's set (jfly.uni-koeln.de/color) and were then moved by search until types that
share a marker stay apart under simulated protanopia, deuteranopia and tritanopia; a test holds that. Marker = family of cells.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

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

UNIDENTIFIED = bgr("F3F6F9")
ARTEFACT = bgr("A3ACB7")


@dataclass(frozen=True)
class TypeStyle:
    """How one type looks everywhere: colour, marker ("diamond", "disc", "square", "triangle", "cross") and a code of 2 to 4 letters."""

    name: str
    colour: Colour
    marker: str
    code: str
    blast: bool
    artefact: bool


_KNOWN: dict[str, tuple[str, str, str]] = {
    "Myeloblast": ("F75032", "diamond", "MYB"),
    "Lymphoblast": ("1FA2FA", "diamond", "LYB"),
    "Monoblast": ("FED939", "diamond", "MOB"),
    "Promonocyte": ("7FF3EA", "diamond", "PMO"),
    "Abnormal promyelocyte": ("DA6293", "diamond", "APM"),
    "Neutrophil": ("F6F6EE", "disc", "NEU"),
    "Eosinophil": ("EF8B24", "disc", "EOS"),
    "Basophil": ("847AFF", "disc", "BAS"),
    "Myelocyte": ("36DAFF", "disc", "MYC"),
    "Metamyelocyte": ("A4CC88", "disc", "MMC"),
    "Lymphocyte": ("C4B1E5", "square", "LYM"),
    "Atypical lymphocyte": ("74A33B", "square", "ATL"),
    "Monocyte": ("CC8DE7", "triangle", "MON"),
}
_SPARE = ("36DAFF", "EF8B24", "C4B1E5", "A4CC88", "F75032", "847AFF", "FED939", "DA6293")
_SPARE_MARKERS = ("disc", "square", "triangle")


@lru_cache(maxsize=8)
def type_styles(taxonomy: Taxonomy) -> tuple[TypeStyle, ...]:
    """One style for each class of `taxonomy`, in its order; types that are not known here get spare colours and codes of their own."""
    styles: list[TypeStyle] = []
    codes: set[str] = set()
    spare = 0
    for index, name in enumerate(taxonomy.classes):
        blast, artefact = taxonomy.is_blast(index), taxonomy.is_artefact(index)
        if artefact:
            colour, marker, code = ARTEFACT, "cross", "ART"
        elif name in _KNOWN:
            rgb_hex, marker, code = _KNOWN[name]
            colour = bgr(rgb_hex)
        else:
            colour = bgr(_SPARE[spare % len(_SPARE)])
            marker = "diamond" if blast else _SPARE_MARKERS[spare // len(_SPARE) % len(_SPARE_MARKERS)]
            code = _new_code(name, codes)
            spare += 1
        codes.add(code)
        styles.append(TypeStyle(name, colour, marker, code, blast, artefact))
    return tuple(styles)


def _new_code(name: str, taken: set[str]) -> str:
    """Three letters of the name, or two and a number where those are taken."""
    letters = "".join(c for c in name.upper() if c.isalnum()) or "T"
    code = letters[:3]
    number = 2
    while code in taken:
        code = f"{letters[:2]}{number}"
        number += 1
    return code


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
