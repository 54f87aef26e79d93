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
    if source == RENDERED:
        film, scope = Film(seed=_SEED, case=_CASE), Microscope("L", "C2", 100)
        places = [(300 + n % _COLUMNS * _STEP_UM[0], 300 + n // _COLUMNS * _STEP_UM[1]) for n in range(count)]
        pictures = (film.view(place, scope, noise_seed=number)[0] for number, place in enumerate(places))
    else:
        folder = Path(source)
        paths = sorted(p for p in folder.rglob("*") if p.suffix.lower() in PICTURE_SUFFIXES) if folder.is_dir() else []
        if not paths:
            raise DataError(f"{folder}: holds no picture. Name a folder of pictures, or `{RENDERED}`.")
        count = min(count, len(paths))
        pictures = (read_image(paths[i * len(paths) // count]) for i in range(count))
    images: list[Image] = []
    for image in pictures:
        images.append(image)
        if progress is not None:
            progress(len(images), count)
    return images
