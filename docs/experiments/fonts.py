"""Builds the screen's two font files from Noto Sans and Noto Naskh Arabic (Debian's fonts-noto-core), SIL Open Font License 1.1.

`pip install fonttools`, then `python docs/experiments/fonts.py [FOLDER OF NOTO]`: writes device/display/fonts/Leukoscope*.ttf. One file
holds Latin and Arabic letters, so that one call of the layout library shapes and orders a line of both. Latin keeps neither kerning
nor ligatures: the screen puts its letters together one by one.
"""

from __future__ import annotations

import sys
from pathlib import Path

from fontTools import merge, subset
from fontTools.ttLib import TTFont

LATIN = [
    *range(0x20, 0x7F),
    *range(0xA0, 0x180),
    *range(0x2010, 0x2028),
    0x2030,
    0x2032,
    0x2033,
    0x2039,
    0x203A,
    0x2044,
    0x20AC,
    0x2122,
]
LATIN += [0x3BC, 0x218, 0x219, 0x21A, 0x21B, 0x2212, 0x2248, 0x2260, 0x2264, 0x2265]
ARABIC = [*range(0x600, 0x700), 0x200C, 0x200D, 0x200E, 0x200F]
FONTS = Path(__file__).parents[2] / "device/display/fonts"


def cut(path: Path, letters: list[int], features: list[str]) -> TTFont:
    """The font at `path` with these letters and layout features alone."""
    options = subset.Options()
    options.layout_features, options.hinting, options.glyph_names, options.notdef_outline = features, False, False, True
    font = TTFont(path)
    subsetter = subset.Subsetter(options)
    subsetter.populate(unicodes=letters)
    subsetter.subset(font)
    return font


def build(noto: Path, weight: str) -> Path:
    """Write one weight."""
    parts = [cut(noto / f"NotoSans-{weight}.ttf", LATIN, []), cut(noto / f"NotoNaskhArabic-{weight}.ttf", ARABIC, ["*"])]
    for tag in ("GDEF", "GSUB", "GPOS"):
        if tag in parts[0]:
            del parts[0][tag]
    paths = [FONTS / f"part-{number}.ttf" for number in range(len(parts))]
    for part, path in zip(parts, paths, strict=True):
        part.save(path)
    font = merge.Merger().merge([str(path) for path in paths])
    for path in paths:
        path.unlink()
    names = {1: "Leukoscope", 2: weight, 3: f"Leukoscope {weight}", 4: f"Leukoscope {weight}", 6: f"Leukoscope-{weight}"}
    names[10] = "Letters of Noto Sans and Noto Naskh Arabic, put together for the screen of Leukoscope"
    font["name"].names = [record for record in font["name"].names if record.nameID in (0, 7, 13, 14)]
    for number, words in names.items():
        font["name"].setName(words, number, 3, 1, 0x409)
    out = FONTS / f"Leukoscope-{weight}.ttf"
    font.save(out)
    return out


if __name__ == "__main__":
    for weight in ("Regular", "Bold"):
        written = build(Path(sys.argv[1] if sys.argv[1:] else "/usr/share/fonts/truetype/noto"), weight)
        sys.stdout.write(f"{written}: {written.stat().st_size} bytes\n")
