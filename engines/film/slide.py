"""The film as a stage sees it: an endless-looking plane of tiles, painted when first looked at, and the truth of every field.

A rendering for development and demonstration; nothing that is measured on it is evidence of clinical performance.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from engines.film.cells import Leukocyte, Sprite
from engines.film.cut_outs import CutOuts, Looks, looks_of, paint_cut_out
from engines.film.debris import debris_in, paint_debris
from engines.film.leukocytes import paint
from engines.film.morphology import case_of
from engines.film.optics import CLEAR, Image, Microscope, capture
from engines.film.plane import Loose, Plane
from engines.film.redcells import paint_platelet, turned
from engines.film.stain import stain_of
from engines.film.texture import Array, Rect, plane_noise

TILE_PX = 512
CACHE_BYTES = 72 * 2**20
"""Most bytes of painted tiles and sprites that a film keeps."""


@dataclass(frozen=True)
class FieldTruth:
    """Leukocytes and artefacts of a field or an area, N of them, by ascending id.

    Classes and attributes bear the film's own numbers (`morphology`); `labels.labels` gives them in a taxonomy's codes.

    `cell_ids` (N,) int64, unique over the film; `boxes_px` (N, 4) float32 x0, y0, x1, y1 clipped to the field (in um of the film
    where it comes from `Film.cells_in`); `classes` (N,) int64; `attributes` (N, 7) int64, -1 throughout for class None;
    `visible` (N,) float32, the share of the cell's box that lies inside.
    """

    cell_ids: npt.NDArray[np.int64]
    boxes_px: npt.NDArray[np.float32]
    classes: npt.NDArray[np.int64]
    attributes: npt.NDArray[np.int64]
    visible: npt.NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.cell_ids)


class Film:
    """A rendered Giemsa-stained blood film of a case, fully determined by its seed.

    `size_um` (width, height); beyond it lies empty glass. `batch` fixes the batch of stain (see `stain.BATCHES`), else it comes from
    the seed. `cut_outs`: cells of photographs that lie in place of half of the drawn ones.
    `red_cover`: share of the area that red cells would cover if none overlapped (.1 a thin film, .4 a good one, 1.2 a thick one); the
    case's own if None. ValueError names an unknown case. Not safe
    to share between threads. It is a drawing for development and demonstration, made from textbook descriptions; how well anything
    does on it says nothing about patients.
    """

    def __init__(
        self,
        seed: int = 7,
        case: str = "AML",
        size_um: tuple[float, float] = (4000.0, 3000.0),
        batch: str | None = None,
        cut_outs: CutOuts | None = None,
        red_cover: float | None = None,
    ) -> None:
        self.seed, self.case, self.size_um = int(seed), case, (float(size_um[0]), float(size_um[1]))
        self.stain = stain_of(self.seed, batch)
        self.plane = Plane(self.seed, self.size_um, case_of(case), self.stain, cut_outs, red_cover)
        self._tiles: OrderedDict[tuple[float, int, int], Image] = OrderedDict()
        self._sprites: OrderedDict[tuple[float, int], Sprite] = OrderedDict()
        self._looks: dict[int, Looks] = {}
        self._banks: dict[tuple[str, float, int], Array] = {}

    def view(
        self,
        centre_um: tuple[float, float],
        scope: Microscope,
        size_px: tuple[int, int] = (1920, 1080),
        defocus_um: float = 0.0,
        noise_seed: int | None = None,
    ) -> tuple[Image, FieldTruth]:
        """The camera's frame of the field around a point, and what is on it.

        `size_px` is (width, height); the frame is (height, width, 3) uint8 blue, green, red. The stage moves in steps of one
        pixel. `defocus_um` is the distance from best focus. `noise_seed` draws the sensor's noise and adds JPEG losses;
        None leaves both out.
        """
        p = scope.um_per_px
        width, height = size_px
        i0, j0 = round(centre_um[0] / p - width / 2), round(centre_um[1] / p - height / 2)
        image = capture(self.clear(i0, j0, size_px, p), scope, defocus_um, noise_seed)
        rect = (i0 * p, j0 * p, (i0 + width) * p, (j0 + height) * p)
        truth = _truth(self.plane.leukocytes(rect), rect)
        boxes = ((truth.boxes_px - np.array([rect[0], rect[1]] * 2)) / p).astype(np.float32)
        boxes = np.clip(boxes, 0, np.array([width, height] * 2, dtype=np.float32))
        return image, replace(truth, boxes_px=boxes)

    def cells_in(self, rect_um: Rect) -> FieldTruth:
        """Truth of an area (x0, y0, x1, y1 in um) without painting it; its boxes are in um of the film, clipped to the area."""
        return _truth(self.plane.leukocytes(rect_um), rect_um)

    @property
    def cached_bytes(self) -> int:
        """Bytes of painted tiles and sprites that are kept just now, at most `CACHE_BYTES`."""
        return sum(tile.nbytes for tile in self._tiles.values()) + sum(sprite.density.nbytes for sprite in self._sprites.values())

    def clear(self, i0: int, j0: int, size_px: tuple[int, int], um_per_px: float) -> Image:
        """Film before any optics: pixels (i0.., j0..) of the level with this pixel size, uint8, `optics.CLEAR` = nothing there."""
        width, height = size_px
        out = np.empty((height, width, 3), dtype=np.uint8)
        for tj in range(j0 // TILE_PX, (j0 + height - 1) // TILE_PX + 1):
            for ti in range(i0 // TILE_PX, (i0 + width - 1) // TILE_PX + 1):
                tile = self._tile(um_per_px, ti, tj)
                a0, b0 = max(ti * TILE_PX, i0), max(tj * TILE_PX, j0)
                a1, b1 = min((ti + 1) * TILE_PX, i0 + width), min((tj + 1) * TILE_PX, j0 + height)
                out[b0 - j0 : b1 - j0, a0 - i0 : a1 - i0] = tile[
                    b0 - tj * TILE_PX : b1 - tj * TILE_PX, a0 - ti * TILE_PX : a1 - ti * TILE_PX
                ]
        return out

    def _tile(self, p: float, ti: int, tj: int) -> Image:
        key = (p, ti, tj)
        if key in self._tiles:
            self._tiles.move_to_end(key)
            return self._tiles[key]
        self._tiles[key] = self._paint_tile(p, ti, tj)
        # The longest unused go beyond the limit; sprites first, tiles need them no more.
        while self.cached_bytes > CACHE_BYTES and (len(self._sprites) > 1 or len(self._tiles) > 1):
            unused = self._sprites if len(self._sprites) > 64 or len(self._tiles) < 2 else self._tiles
            unused.popitem(last=False)
        return self._tiles[key]

    def _paint_tile(self, p: float, ti: int, tj: int) -> Image:
        i0, j0 = ti * TILE_PX, tj * TILE_PX
        rect = (i0 * p, j0 * p, (i0 + TILE_PX) * p, (j0 + TILE_PX) * p)
        density = self._ground(p, i0, j0)
        most = np.zeros_like(density)
        total = np.zeros_like(density)
        for loose in self.plane.red_cells(rect):
            for picture, i, j, strength, tint in self._placed("red", loose, p):
                colour = (self.stain.red_cell * (1 - tint) + self.stain.polychrome * tint) * strength
                _add(density, picture, i - i0, j - j0, colour, (most, total))
        # where cells overlap light is lost again, but less than twice: they press each other flat
        density += most + self.stain.overlap * (total - most)
        for loose in self.plane.platelets(rect):
            for picture, i, j, strength, _ in self._placed("platelet", loose, p):
                _add(density, picture, i - i0, j - j0, strength)
        for thing in debris_in(self.seed, rect, self.size_um):
            picture, i, j = paint_debris(thing, self.stain, p)
            _add(density, picture, i - i0, j - j0, None)
        margin = 2.5
        for cell in self.plane.leukocytes((rect[0] - margin, rect[1] - margin, rect[2] + margin, rect[3] + margin)):
            sprite = self._sprite(cell, p)
            _add(density, sprite.density, sprite.i0 - i0, sprite.j0 - j0, None)
        return np.asarray(np.clip(np.rint(np.exp(-density) * CLEAR), 0, 255), dtype=np.uint8)

    def _placed(self, what: str, loose: Loose, p: float) -> Iterator[tuple[Array, int, int, np.float32, np.float32]]:
        """Each of a block's things: its picture, the level's pixel of its first one, strength and tint."""
        for (x, y), index, turn, *looks in zip(loose.centres_um, loose.index, loose.turn, loose.strength, loose.tint, strict=True):
            picture = turned(self._bank(what, p, int(index)), int(turn))
            n = picture.shape[0] // 2
            yield picture, round(float(x) / p - 0.5) - n, round(float(y) / p - 0.5) - n, *looks

    def _ground(self, p: float, i0: int, j0: int) -> Array:
        """Plasma and glass under everything: (TILE_PX, TILE_PX, 3) float32 density."""
        shape = (TILE_PX, TILE_PX)
        veil = np.ones(shape, dtype=np.float32)
        for k, (wave, size) in enumerate(((180.0, 0.6), (45.0, 0.5), (14.0, 0.3), (1.6, 0.25))):
            if wave > 3 * p:
                veil += np.float32(size) * plane_noise(self.seed + 11 + k, i0, j0, shape, um_per_px=p, wavelength_um=wave)
        return np.asarray(np.maximum(veil, 0.0)[..., None] * self.stain.plasma, dtype=np.float32)

    def _bank(self, what: str, p: float, index: int) -> Array:
        key = (what, p, index)
        if key not in self._banks:
            if len({k[1] for k in self._banks} | {p}) > 2:  # two levels at most: microscopes change seldom
                self._banks.clear()
            red = what == "red"
            self._banks[key] = self.plane.red.paint(index, self.stain, p) if red else paint_platelet(self.seed, index, self.stain, p)
        return self._banks[key]

    def _sprite(self, cell: Leukocyte, p: float) -> Sprite:
        key = (p, cell.cell_id)
        if key in self._sprites:
            self._sprites.move_to_end(key)
            return self._sprites[key]
        self._sprites[key] = paint(cell, self.stain, p) if cell.cut_out is None else self._cut_out(cell, p)
        if len(self._sprites) > 96:
            self._sprites.popitem(last=False)
        return self._sprites[key]

    def _cut_out(self, cell: Leukocyte, p: float) -> Sprite:
        if cell.code not in self._looks:
            self._looks[cell.code] = looks_of(self.seed, cell.code, self.stain)
        return paint_cut_out(cell, self._looks[cell.code], self.stain, p)


def _add(
    density: Array, picture: Array, i: int, j: int, colour: Array | np.float32 | None, layers: tuple[Array, Array] | None = None
) -> None:
    """Add a picture, (h, w) times a colour or (h, w, 3), to a tile at pixel (i, j), clipped to the tile.

    With `layers` (largest, sum) its dark part goes there instead and only its bright halo to `density`.
    """
    h, w = picture.shape[:2]
    a0, b0, a1, b1 = max(i, 0), max(j, 0), min(i + w, density.shape[1]), min(j + h, density.shape[0])
    if a0 >= a1 or b0 >= b1:
        return
    part = picture[b0 - j : b1 - j, a0 - i : a1 - i]
    if colour is not None:
        part = (part[..., None] if part.ndim == 2 else part) * colour
    if layers is None:
        density[b0:b1, a0:a1] += part
        return
    dark = np.maximum(part, 0)
    density[b0:b1, a0:a1] += part - dark
    most, total = layers
    np.maximum(most[b0:b1, a0:a1], dark, out=most[b0:b1, a0:a1])
    total[b0:b1, a0:a1] += dark


def _truth(cells: list[Leukocyte], rect: Rect) -> FieldTruth:
    """Truth with boxes in um clipped to an area."""
    full = np.array([c.box_um for c in cells], dtype=np.float64).reshape(-1, 4)
    x0, y0, x1, y1 = rect
    boxes = np.clip(full, [x0, y0, x0, y0], [x1, y1, x1, y1])
    whole = (full[:, 2] - full[:, 0]) * (full[:, 3] - full[:, 1])
    visible = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1]) / np.maximum(whole, 1e-9)
    keep = visible > 0.01
    return FieldTruth(
        np.array([c.cell_id for c in cells], dtype=np.int64)[keep],
        boxes[keep].astype(np.float32).reshape(-1, 4),
        np.array([c.code for c in cells], dtype=np.int64)[keep],
        np.array([c.attributes for c in cells], dtype=np.int64).reshape(-1, 7)[keep],
        visible[keep].astype(np.float32),
    )
