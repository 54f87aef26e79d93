"""The pictures that a benchmark runs on: rendered film of a camera's size, or a folder of one's own."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from engines.detections import Image
from engines.errors import DataError
from engines.film import Film, Microscope
from engines.pictures import PICTURE_SUFFIXES, read_image

RENDERED = "rendered"
_SEED, _CASE = 7, "AML"
_STEP_UM = (190.0, 110.0)  # about a field at 100x
_COLUMNS = 12


def words(source: str) -> str:
    """What the frames are, for a page."""
    return f"rendered film, case {_CASE}, seed {_SEED}, 100x" if source == RENDERED else f"pictures of {Path(source).resolve().name}"


def frames_of(source: str, count: int, progress: Callable[[int, int], None] | None = None) -> list[Image]:
    """`count` BGR pictures held in memory: fields of a rendered film (1920 x 1080), or evenly taken from the folder `source`.

    Fewer where the folder has fewer. Raises DataError naming the folder, or the picture that cannot be read.
    """
    images: list[Image] = []
    if source == RENDERED:
        film, scope = Film(seed=_SEED, case=_CASE), Microscope("L", "C2", 100)
        for number in range(count):
            row, column = divmod(number, _COLUMNS)
            image, _ = film.view((300 + column * _STEP_UM[0], 300 + row * _STEP_UM[1]), scope, noise_seed=number)
            images.append(image)
            if progress is not None:
                progress(number + 1, count)
        return images
    folder = Path(source)
    paths = sorted(p for p in folder.rglob("*") if p.suffix.lower() in PICTURE_SUFFIXES) if folder.is_dir() else []
    if not paths:
        raise DataError(f"{folder}: holds no picture. Name a folder of pictures, or `{RENDERED}`.")
    chosen = [paths[i * len(paths) // min(count, len(paths))] for i in range(min(count, len(paths)))]
    for number, path in enumerate(chosen, 1):
        images.append(read_image(path))
        if progress is not None:
            progress(number, len(chosen))
    return images
