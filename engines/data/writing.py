"""Writing the published layout: folders that appear whole or not at all, pictures linked or copied, labels in any format."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Sequence
from enum import Enum
from pathlib import Path

from engines.data.labels import Picture
from engines.data.pictures import image_size_hw
from engines.data.txt import txt_line
from engines.errors import DataError
from engines.taxonomy import Taxonomy, TxtLayout


class Bring(str, Enum):
    """How pictures come into a new folder. LINK: hard links, which take no room; a copy where the disk is another."""

    LINK = "link"
    COPY = "copy"
    NONE = "none"


def bring(source: Path, target: Path, how: Bring) -> bool:
    """Put a picture at `target`; True if it is a hard link. DataError if it cannot be done."""
    target.parent.mkdir(parents=True, exist_ok=True)
    if target.exists():
        raise DataError(f"{target.name} comes twice, the second time from {source}; rename one of the two pictures")
    if how is Bring.LINK:
        try:
            os.link(source.resolve(), target)
        except OSError:
            pass  # another disk, or one without links: copied below
        else:
            return True
    try:
        shutil.copy2(source, target)
    except OSError as error:
        raise DataError(f"{source}: cannot be copied to {target.parent}: {error.strerror}") from error
    return False


def bring_all(jobs: Sequence[tuple[Path, Path]], how: Bring, progress: Callable[[int, int], None] | None) -> int:
    """`bring` for pairs of source and target; returns how many are hard links. `progress` gets (pictures done, in all)."""
    linked = 0
    for done, (source, target) in enumerate(jobs, start=1):
        linked += how is not Bring.NONE and bring(source, target, how)
        if progress is not None:
            progress(done, len(jobs))
    return linked


def write_txt(root: Path, split: str, pictures: Sequence[Picture], taxonomy: Taxonomy, layout: TxtLayout | None = None) -> Path:
    """`txt_labels/AttriDet/{split}/<stem>.txt` of each labelled picture, empty where it has no cells; returns the folder.

    layout: the widest of the taxonomy where none is given.
    Raises DataError for two pictures of one stem, and where the labels' size is not the picture's: shares of it would move the boxes.
    """
    folder = root / "txt_labels" / "AttriDet" / split
    folder.mkdir(parents=True, exist_ok=True)
    for picture in pictures:
        if picture.labels is None:
            continue
        file = folder / f"{picture.path.stem}.txt"
        if file.exists():
            words = f"another picture of this split is called {picture.path.stem} too; TXT cannot tell them apart"
            raise DataError(f"{picture.path}: {words}")
        real = image_size_hw(picture.path)
        if real != picture.size_hw:
            said, is_ = (f"{wide} x {high}" for high, wide in (picture.size_hw, real))
            words = f"{picture.path} is said to be {said} px in {picture.labels.place} and is {is_}"
            raise DataError(f"{words}; mend the label file first (attridet data check names every such picture)")
        lines = [txt_line(cell, picture.size_hw, layout or taxonomy.widest_layout, taxonomy) + "\n" for cell in picture.cells]
        file.write_text("".join(lines), encoding="utf-8")
    return folder
