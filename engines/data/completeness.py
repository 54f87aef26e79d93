"""Whether a download of LeukemiaAttri is whole: subsets, pictures and cells against the paper's table. Other data sets pass unasked."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

from engines.data.census import Census
from engines.data.faults import Fault, Kind, Place
from engines.data.layout import Subset

PICTURES = 2416
"""Pictures of each of the twelve subsets."""

_NAME = re.compile(r"[HL]_(?:100X|40X|10X)_C[12]")
_CELLS = {"L_100X": 4862 + 1120}
_MOST_CELLS = 7857 + 2560

_WORTH_TELLING = 0.1
"""Of the pictures: a folder of fewer is a sample and no download."""

_MANY_MISSING, _FEWEST_MISSING = 0.05, 5
"""Share and number of labelled pictures without their file: a part of the download was not unpacked."""


def completeness_findings(
    root: Path, subsets: Sequence[Subset], censuses: Sequence[Census], faults: Sequence[Fault]
) -> Iterable[Fault]:
    """Folders of the published names that are empty, subsets that lack pictures. faults: of the labels, for those without picture."""
    known = {subset.root.resolve() for subset in subsets}
    for folder in sorted(path for depth in ("*", "*/*", "*/*/*") for path in root.glob(depth) if _NAME.fullmatch(path.name)):
        if folder.is_dir() and folder.resolve() not in known:
            state = "holds no pictures" if any(folder.iterdir()) else "empty folder"
            yield Fault(Kind.EMPTY_FOLDER, Place(folder), f"{folder.name}: {state} (L_10X_C1 was published so; fetch others again)")
    for subset in subsets:
        parts = [census for census in censuses if census.label.startswith(f"{subset.name}/")]
        pictures, cells = sum(part.images for part in parts), sum(part.cells for part in parts)
        missing = max(_missing(subset, faults).values(), default=0)
        name = subset.root.resolve().name
        words = []
        if _NAME.fullmatch(name) and _WORTH_TELLING * PICTURES <= pictures < PICTURES:
            published = next((n for start, n in _CELLS.items() if name.startswith(start)), _MOST_CELLS)
            words.append(f"{pictures:,} of {PICTURES:,} pictures and {cells:,} of {published:,} cells of the paper's table")
        if missing >= _FEWEST_MISSING and missing >= _MANY_MISSING * (labelled := missing + sum(part.labelled for part in parts)):
            share = f"{100 * missing / labelled:.0f} % of the labels have no picture"
            words.append(f"{share} (was one of the download's zip parts left out?)")
        if words:
            yield Fault(Kind.INCOMPLETE, Place(subset.root), f"{name}: {'; '.join(words)}")


def _missing(subset: Subset, faults: Sequence[Fault]) -> Counter[str]:
    """Labelled pictures without file, by the suffix of the label files."""
    own = {file for split in subset.splits for file in (split.json, split.txt) if file is not None}
    return Counter(
        fault.place.file.suffix
        for fault in faults
        if fault.kind is Kind.IMAGE_MISSING and (fault.place.file in own or fault.place.file.parent in own)
    )
