"""Contact sheets of rendered film, to be looked at: fields by stain and microscope, and single cells by type.

    python tests/support/film_sheet.py --sheet OUT.png [--cells OUT.png] [--beside FOLDER ...]

`--beside` sets pictures of a folder under the rendered ones for comparison; such a sheet is for the eye and not for publication
where the pictures' licence forbids it.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from engines.errors import DataError
from engines.film import morphology as m
from engines.film.cells import Leukocyte, build, make_leukocyte
from engines.film.leukocytes import paint
from engines.film.optics import CLEAR, Image, Microscope, capture
from engines.film.slide import Film
from engines.film.stain import BATCHES, stain_of
from engines.film.texture import rng_of
from engines.pictures import read_image

FIELDS: tuple[tuple[int, str, str, Microscope, float], ...] = (
    (11, "AML", "steel", Microscope("L", "C2", 100, 3), 0.0),
    (12, "CML", "teal", Microscope("L", "C2", 100, 4), 0.2),
    (13, "normal", "warm", Microscope("H", "C2", 100, 1), 0.0),
    (14, "APML", "grey", Microscope("L", "C1", 100, 2), 0.0),
    (15, "ALL", "steel", Microscope("L", "C2", 40, 5), 0.0),
    (16, "CLL", "violet", Microscope("L", "C1", 40, 6), 0.4),
    (17, "CML", "rose", Microscope("H", "C1", 40, 7), 0.0),
    (18, "AML", "grey", Microscope("H", "C2", 10, 8), 0.0),
)
"""Seed, case, batch of stain, instrument and defocus (um) of each field of the sheet."""

_SIDE = 400


def contact_sheet(beside: Sequence[Path] = ()) -> Image:
    """Eight rendered fields of different stains, microscopes and objectives, (800, 1600, 3); rows of real ones below if asked."""
    tiles: list[Image] = []
    for seed, case, batch, scope, defocus in FIELDS:
        film = Film(seed, case, (2400.0, 1800.0), batch)
        centre = _populated(film, scope)
        size = (_SIDE * 8 // 5, _SIDE * 8 // 5)
        image, _ = film.view(centre, scope, size, defocus, noise_seed=seed)
        image = np.asarray(cv2.resize(image, (_SIDE, _SIDE), interpolation=cv2.INTER_AREA), dtype=np.uint8)
        tiles.append(_labelled(image, f"{case} {batch} {scope.domain} {scope.camera} {scope.objective}x"))
    rows = [np.hstack(tiles[k : k + 4]) for k in range(0, len(tiles), 4)]
    for folder in beside:
        rows.append(np.hstack([_square(path) for path in _pictures(folder, 4)]))
    return np.asarray(np.vstack(rows), dtype=np.uint8)


def cell_sheet(batch: str = "warm", *, each: int = 8, um_per_px: float = 0.1, side_px: int = 220) -> Image:
    """A row for each type and one for artefacts, `each` cells a row, labels written under each in the attributes' order."""
    scope = Microscope("H", "C2", 100)
    rows = []
    for code in [*range(1, len(m.TYPES)), m.NONE]:
        row = [_cell_tile(code, 100 + k, batch, scope, (um_per_px, side_px)) for k in range(each)]
        _labelled(row[0], m.TYPES[code])
        rows.append(np.hstack(row))
    return np.asarray(np.vstack(rows), dtype=np.uint8)


def _cell_tile(code: int, seed: int, batch: str, scope: Microscope, scale: tuple[float, int]) -> Image:
    um_per_px, side = scale
    middle = (side * um_per_px / 2, side * um_per_px / 2)
    cell: Leukocyte
    if code == m.NONE:
        cell = make_leukocyte(seed, 1, middle, m.Case({m.NONE: 1.0}, 1.0, (0.0, 0.0)))
    else:
        cell = build((seed, code), code, m.draw_attributes(rng_of(seed, code), code), middle)
    stain = stain_of(seed, batch)
    sprite = paint(cell, stain, um_per_px)
    density = np.zeros((side, side, 3), dtype=np.float32) + stain.plasma.astype(np.float32)
    h, w = sprite.density.shape[:2]
    a0, b0, a1, b1 = max(sprite.i0, 0), max(sprite.j0, 0), min(sprite.i0 + w, side), min(sprite.j0 + h, side)
    density[b0:b1, a0:a1] += sprite.density[b0 - sprite.j0 : b1 - sprite.j0, a0 - sprite.i0 : a1 - sprite.i0]
    clear = np.asarray(np.clip(np.exp(-density) * CLEAR, 0, 255), dtype=np.uint8)
    image = capture(clear, scope, 0.0, noise_seed=seed)
    words = cell.form if code == m.NONE else "".join(str(v) for v in cell.attributes)
    cv2.putText(image, words, (4, side - 6), cv2.FONT_HERSHEY_SIMPLEX, 0.4, (60, 60, 60), 1, cv2.LINE_AA)
    return image


def _populated(film: Film, scope: Microscope) -> tuple[float, float]:
    """Middle of the field, of a few tried, that shows the most leukocytes, as a technician would look for one."""
    half = 0.4 * _SIDE * 8 / 5 * scope.um_per_px
    rng = rng_of(film.seed, 601)
    tried = [tuple(float(rng.uniform(0.2, 0.8)) * s for s in film.size_um) for _ in range(12)]
    best = max(tried, key=lambda c: len(film.cells_in((c[0] - half, c[1] - half, c[0] + half, c[1] + half))))
    return best[0], best[1]


def _labelled(image: Image, words: str) -> Image:
    """The words on a pale bar along the upper edge; the picture is changed in place."""
    image[:20] = (0.35 * image[:20] + 0.65 * 255).astype(np.uint8)
    cv2.putText(image, words, (6, 15), cv2.FONT_HERSHEY_SIMPLEX, 0.45, (30, 30, 30), 1, cv2.LINE_AA)
    return image


def _pictures(folder: Path, count: int) -> list[Path]:
    """`count` pictures spread evenly over a folder and the folders in it; DataError where there are fewer."""
    found = sorted(p for p in folder.rglob("*") if p.suffix.lower() in (".png", ".jpg", ".jpeg"))
    if len(found) < count:
        raise DataError(f"{folder}: {len(found)} pictures, {count} needed; name a folder with more")
    return [found[round(k * (len(found) - 1) / max(count - 1, 1))] for k in range(count)]


def _square(path: Path) -> npt.NDArray[np.uint8]:
    image = read_image(path)
    side = min(image.shape[:2])
    y, x = (image.shape[0] - side) // 2, (image.shape[1] - side) // 2
    return np.asarray(cv2.resize(image[y : y + side, x : x + side], (_SIDE, _SIDE), interpolation=cv2.INTER_AREA), dtype=np.uint8)


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the sheets that were asked for; exit code 2 for a folder or file that will not do."""
    parser = argparse.ArgumentParser(prog="film_sheet.py", description="Contact sheets of rendered blood film.")
    parser.add_argument("--sheet", type=Path, help="PNG of rendered fields")
    parser.add_argument("--cells", type=Path, help="PNG of single cells, a row for each type")
    parser.add_argument("--batch", default="warm", choices=BATCHES, help="batch of stain for --cells")
    parser.add_argument("--each", type=int, default=8, help="cells a row for --cells")
    parser.add_argument("--beside", type=Path, action="append", default=[], help="folder of real pictures to set under --sheet")
    chosen = parser.parse_args(arguments)
    if chosen.sheet is None and chosen.cells is None:
        parser.error("nothing to do: name --sheet or --cells")
    try:
        if chosen.sheet is not None:
            _write(chosen.sheet, contact_sheet(chosen.beside))
        if chosen.cells is not None:
            _write(chosen.cells, cell_sheet(chosen.batch, each=chosen.each))
    except DataError as error:
        sys.stderr.write(f"{error}\n")
        return error.exit_code
    return 0


def _write(path: Path, image: Image) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        written = cv2.imwrite(str(path), image)
    except cv2.error:  # an ending that OpenCV has no writer for
        written = False
    if not written:
        raise DataError(f"{path}: cannot be written; check the folder and the ending (.png)")


if __name__ == "__main__":
    sys.exit(main())
