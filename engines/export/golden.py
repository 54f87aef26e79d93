"""A golden picture whose cells lie far from any tie, so that only what is wrong changes its answer, and not the last bits of a number.

Nine clear cells of rendered film on one picture: each field is looked at by the engine itself, the cells that it is surest of (of a
cell, of its type, of every attribute) are cut out with the film around them, and those that lose by their new neighbours are exchanged.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from engines.detections import Image
from engines.errors import BundleError
from engines.film import Film, Microscope, require_drawable
from engines.runtime.engine import NetworkEngine
from engines.runtime.margins import Margins, margins_of

FIELDS = 24
"""Rendered fields that are searched unless another number is given; a second each."""
ENOUGH = 0.15
"""A margin at which no further cell is tried: three times what bfloat16 may be off."""
_SIDE = 3
"""Cells in a row of the picture, and rows."""
_EXCHANGES = 60
_CASES = ("mixed", "AML", "ALL", "APML", "CLL", "CML")


def clear_picture(
    engine: NetworkEngine, seed: int = 0, fields: int = FIELDS, progress: Callable[[int, int], None] | None = None
) -> Image:
    """A picture of the input's size with nine cells, of as many types as are found, whose least margin is as large as was found.

    engine: open. The same engine and seed give the same picture. Raises DataError for a taxonomy that cannot be drawn, BundleError for
    an engine that finds too few cells on rendered film.
    """
    require_drawable(engine.info.taxonomy)
    cells: dict[int, list[tuple[float, Image]]] = {}
    side_px = min(engine.info.input_hw) // _SIDE
    for number in range(fields):
        for margin, kind, tile in _cells_of(engine, _field(seed, number, engine.info.input_hw), side_px):
            cells.setdefault(kind, []).append((margin, tile))
        if progress is not None:
            progress(number + 1, fields)
    for some in cells.values():
        some.sort(key=lambda cell: -cell[0])
    if sum(len(some) for some in cells.values()) < _SIDE**2:
        raise BundleError(
            f"{engine.info.label}: too few cells are found on rendered film for a golden picture. Name a picture with --golden FILE."
        )
    return _exchanged(engine, cells, side_px)


def _field(seed: int, number: int, hw: tuple[int, int]) -> Image:
    film = Film(9_000_000 + 1000 * seed + number, _CASES[number % len(_CASES)], (1200.0, 900.0))
    scope = Microscope("H", f"C{1 + number % 2}", 100, unit=1 + number, width_px=1150)
    image, _ = film.view((400.0 + 7 * (number % 5), 300.0 + 11 * (number % 7)), scope, (2 * hw[1], 2 * hw[0]), 0.0, noise_seed=number)
    return image


def _cells_of(engine: NetworkEngine, field: Image, side_px: int) -> list[tuple[float, int, Image]]:
    """Margin, type and tile of each cell of a field that lies whole in its tile, with no other beside it."""
    height, width = field.shape[:2]
    found = []
    for y in range(0, height - engine.info.input_hw[0] + 1, engine.info.input_hw[0]):
        for x in range(0, width - engine.info.input_hw[1] + 1, engine.info.input_hw[1]):
            part = np.ascontiguousarray(field[y : y + engine.info.input_hw[0], x : x + engine.info.input_hw[1]])
            seen = margins_of(engine, part)
            centres = (seen.boxes_px[:, :2] + seen.boxes_px[:, 2:]) / 2
            for i in np.flatnonzero(seen.classes >= 0):
                corner = np.round(centres[i] - side_px / 2).astype(int)
                inside = (np.abs(centres - centres[i]) < 0.6 * side_px).all(1).sum() == 1
                size = (seen.boxes_px[i, 2:] - seen.boxes_px[i, :2]).max()
                fits = (corner >= 0).all() and (corner + side_px <= (part.shape[1], part.shape[0])).all()
                if inside and fits and size < 0.9 * side_px:
                    tile = part[corner[1] : corner[1] + side_px, corner[0] : corner[0] + side_px]
                    found.append((float(seen.each[i]), int(seen.classes[i]), tile.copy()))
    return found


def _exchanged(engine: NetworkEngine, cells: dict[int, list[tuple[float, Image]]], side_px: int) -> Image:
    """The sheet of cells, the weakest exchanged for the next of its type, or of the surest type, as long as that may help."""
    kinds = sorted(cells, key=lambda kind: -cells[kind][0][0])
    chosen: list[tuple[int, Image]] = []
    while len(chosen) < _SIDE**2:  # the surest of each type, then the second of each
        for kind in kinds:
            if cells[kind] and len(chosen) < _SIDE**2:
                chosen.append((kind, cells[kind].pop(0)[1]))
    best, best_margin = _sheet(engine, chosen, side_px), -1.0
    for _ in range(_EXCHANGES):
        sheet = _sheet(engine, chosen, side_px)
        seen = margins_of(engine, sheet)
        if seen.least > best_margin and _each_is_told(seen, side_px):
            best, best_margin = sheet, seen.least
        weakest = _weakest(seen, side_px)
        kind = chosen[weakest][0]
        if not cells[kind]:
            kind = max((k for k in kinds if cells[k]), key=lambda k: cells[k][0][0], default=-1)
        if best_margin >= ENOUGH or kind < 0:
            break
        chosen[weakest] = (kind, cells[kind].pop(0)[1])
    return best


def _sheet(engine: NetworkEngine, chosen: list[tuple[int, Image]], side_px: int) -> Image:
    """Tiles side by side, from the upper left; the border that is left over repeats the last ones' edge."""
    rows = [np.hstack([tile for _, tile in chosen[k : k + _SIDE]]) for k in range(0, _SIDE**2, _SIDE)]
    whole = np.vstack(rows)
    height, width = engine.info.input_hw
    sheet: Image = np.pad(whole, ((0, height - whole.shape[0]), (0, width - whole.shape[1]), (0, 0)), mode="edge")
    return np.ascontiguousarray(sheet)


def _tile_of(seen: Margins, side_px: int) -> np.ndarray:
    centres = (seen.boxes_px[:, :2] + seen.boxes_px[:, 2:]) / 2
    at = np.clip(centres // side_px, 0, _SIDE - 1).astype(int)
    return np.asarray(at[:, 1] * _SIDE + at[:, 0])


def _each_is_told(seen: Margins, side_px: int) -> bool:
    return len(set(_tile_of(seen, side_px)[seen.classes >= 0].tolist())) == _SIDE**2


def _weakest(seen: Margins, side_px: int) -> int:
    """The tile of least margin; one without a cell has none."""
    tiles, least = _tile_of(seen, side_px), np.full(_SIDE**2, -1.0)
    for tile in range(_SIDE**2):
        here = tiles == tile
        if (seen.classes[here] >= 0).any():
            least[tile] = seen.each[here].min()
    return int(least.argmin())
