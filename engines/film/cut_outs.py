"""Cells cut out of photographs, on black ground, laid on rendered film in place of drawn ones: at its scale, in its stain and blur.

Labels come from the folder that they are read from; whose pictures they are must be said with the result (`about`).
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from engines.data.aspect import read_undone
from engines.data.layout import find_subsets
from engines.data.leukemiaattri import read_split
from engines.errors import DataError
from engines.film import morphology as m
from engines.film.cells import CutOut, LaidCutOut, Leukocyte, Sprite, build
from engines.film.leukocytes import EDGE_UM, paint
from engines.film.outline import ANGLES, STEPS, Outline
from engines.film.stain import Stain
from engines.film.texture import Array, Grid, averaged, finer_pixels, rng_of, smoothstep
from engines.taxonomy import UNKNOWN, Taxonomy

SHARE = 0.5
"""Of a film's white cells that are cut-outs. The rest stays drawn, so that each type is also seen as a drawing."""

_BLACK = 18
"""A pixel whose channels are all at most this is ground; JPEG leaves some light in it."""
_FRINGE_PX = 2
"""Width of the dark edge that JPEG and resampling leave on the cell's side of the cut; it is painted over from inside."""
_LEAST_PX = 24


@dataclass(frozen=True)
class CutOuts:
    """The cut-outs of one split. um_per_px: of their pictures, taken from the typical size of their types."""

    cells: tuple[CutOut, ...]
    um_per_px: float

    def instead_of(self, cell: Leukocyte) -> Leukocyte:
        """A cut-out at the place of a drawn white cell, half of the time; else, and for an artefact, that cell."""
        rng = rng_of(*cell.seed, 7)
        if cell.code == m.NONE or rng.random() >= SHARE:
            return cell
        chosen = self.cells[int(rng.integers(len(self.cells)))]
        laid = LaidCutOut(chosen, self.um_per_px, float(rng.random() * 2 * np.pi), bool(rng.random() < 0.5))
        attributes = (UNKNOWN,) * len(m.ATTRIBUTES)
        return replace(cell, code=chosen.code, attributes=attributes, outline=outline_of(laid), form="cut-out", cut_out=laid)


def outline_of(laid: LaidCutOut) -> Outline:
    """The cut's outline around the middle of its area, in um of the film."""
    edge = _cut(laid.source).edge_px * np.float32(laid.um_per_px)
    x, y = edge[:, 0] * (-1 if laid.mirrored else 1), edge[:, 1]
    c, s = np.float32(np.cos(laid.turn)), np.float32(np.sin(laid.turn))
    x, y = c * x - s * y, s * x + c * y
    angle = np.arctan2(y, x) % (2 * np.pi)
    radii = np.zeros(STEPS, np.float32)
    np.maximum.at(radii, (angle * (STEPS / (2 * np.pi))).astype(np.int64) % STEPS, np.hypot(x, y).astype(np.float32))
    known = np.flatnonzero(radii)
    return Outline(np.interp(ANGLES, ANGLES[known], radii[known], period=2 * np.pi).astype(np.float32))


def _in_source(laid: LaidCutOut, x: Array, y: Array) -> tuple[Array, Array]:
    """Places of the film, in um from the cell's centre, as px of the cut."""
    c, s = np.float32(np.cos(laid.turn)), np.float32(np.sin(laid.turn))
    u, v = (c * x + s * y) / np.float32(laid.um_per_px), (c * y - s * x) / np.float32(laid.um_per_px)
    cx, cy = _cut(laid.source).centre_px
    return (-u if laid.mirrored else u) + np.float32(cx), v + np.float32(cy)


@dataclass(frozen=True, eq=False)
class _Cut:
    """A cell out of its picture. density: (h, w, 3) float32, carried on beyond the edge; distance_px: to the edge, negative inside.

    mean: (3,) of the density within; depth: mean and standard deviation of its mean over the channels; slope: (3,), how each channel
    follows it, for one deviation. edge_px: (n, 2) of the outline from centre_px, the middle of its area.
    """

    density: Array
    distance_px: Array
    mean: Array
    depth: tuple[float, float]
    slope: Array
    edge_px: Array
    centre_px: tuple[float, float]
    area_px: float


@lru_cache(maxsize=256)
def _cut(source: CutOut) -> _Cut:
    x0, y0, x1, y1 = source.box
    image = cv2.copyMakeBorder(read_undone(Path(source.path), source.pixel_aspect)[y0:y1, x0:x1], 6, 6, 6, 6, cv2.BORDER_CONSTANT)
    mask = _mask(np.asarray(image))
    if mask is None:
        raise DataError(f"{source.path}: no cell on black ground in its box; cut-outs have ground of value 0")
    inside = cv2.erode(mask, np.ones((3, 3), np.uint8), iterations=_FRINGE_PX)
    _, nearest = cv2.distanceTransformWithLabels(1 - inside, cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL)
    values = np.zeros((int(nearest.max()) + 1, 3), np.float32)
    values[nearest[inside > 0]] = image[inside > 0]
    density: Array = np.asarray(-np.log((values[nearest] + 1) / 256), np.float32)
    within = density[inside > 0]
    outside, from_edge = (cv2.distanceTransform(side, cv2.DIST_L2, 5) for side in (1 - mask, mask))
    distance: Array = np.asarray(outside - from_edge, np.float32)
    edge = max(cv2.findContours(mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)[0], key=len)[:, 0].astype(np.float32)
    ys, xs = np.nonzero(mask)
    centre = float(xs.mean()), float(ys.mean())
    fine = np.concatenate([edge + (np.roll(edge, -1, 0) - edge) * np.float32(k / 4) for k in range(4)])
    mean, grey = within.mean(0), within.mean(1)
    depth = float(grey.mean()), max(float(grey.std()), 0.02)
    slope = ((within - mean) * ((grey - depth[0]) / depth[1])[:, None]).mean(0)
    return _Cut(density, distance, mean, depth, slope, fine - np.asarray(centre, np.float32), centre, float(len(xs)))


def _mask(image: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8] | None:
    """1 where the cell is: the largest thing brighter than the ground, holes filled, without thin tails that belong to neighbours."""
    seen = (image.max(2) > _BLACK).astype(np.uint8)
    side = max(3, int(0.16 * np.sqrt(max(int(seen.sum()), 1))) | 1)
    opened = cv2.morphologyEx(seen, cv2.MORPH_OPEN, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (side, side)))
    outlines = cv2.findContours(opened, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)[0]
    if not outlines:
        return None
    mask = np.zeros_like(seen)
    cv2.drawContours(mask, [max(outlines, key=cv2.contourArea)], -1, 1, cv2.FILLED)
    height, width = mask.shape
    # A picture without a black ground would be one great cell of four straight sides.
    return mask if _LEAST_PX**2 <= mask.sum() < 0.93 * (height - 12) * (width - 12) else None


def read_cut_outs(
    folder: Path, split: str, taxonomy: Taxonomy, progress: Callable[[int, int], None] = lambda done, total: None
) -> CutOuts:
    """The labelled cut-outs of one split of a folder in the published layout, squeezed ones undone.

    Raises DataError for a type that is not drawn, for a picture without black ground and for a split without cells.
    """
    images = read_split(folder, split, taxonomy)
    cells: list[CutOut] = []
    scales: list[float] = []
    for done, image in enumerate(images, 1):
        for box, code in zip(image.boxes_px, image.classes, strict=True):
            name = taxonomy.classes[int(code)]
            if name not in m.TYPES or m.TYPES.index(name) == m.NONE:
                raise DataError(f"{image.path}: a cut-out of type {name!r}, which rendered film does not draw as a cell")
            low, high = np.floor(box[:2]).astype(int), np.ceil(box[2:]).astype(int)
            low = np.maximum(low, 0)
            box_px = (int(low[0]), int(low[1]), int(high[0]), int(high[1]))
            cell = CutOut(str(image.path.absolute()), m.TYPES.index(name), box_px, image.pixel_aspect)
            scales.append(m.KINDS[cell.code].typical_um / (2 * np.sqrt(_cut(cell).area_px / np.pi)))
            cells.append(cell)
        progress(done, len(images))
    if not cells:
        raise DataError(f"{folder}: the split {split} has no labelled cut-out")
    return CutOuts(tuple(cells), float(np.median(scales)))


@dataclass(frozen=True, eq=False)
class Looks:
    """Mean and standard deviation of a type's density in a film's stain, (3,) float32 each: blue, green, red."""

    mean: Array
    std: Array


def looks_of(film_seed: int, code: int, stain: Stain) -> Looks:
    """How a type looks on a film: of six drawn cells."""
    found = []
    for k in range(6):
        rng = rng_of(film_seed, 8, code, k)
        cell = build((film_seed, -(100 * code + k) - 1), code, m.draw_attributes(rng, code), (0.0, 0.0))
        sprite = paint(cell, stain, 0.2)
        height, width = sprite.density.shape[:2]
        x, y = np.meshgrid((np.arange(width) + sprite.i0 + 0.5) * 0.2, (np.arange(height) + sprite.j0 + 0.5) * 0.2)
        found.append(sprite.density[cell.outline.distance(x.astype(np.float32), y.astype(np.float32)) < -0.4])
    every = np.concatenate(found)
    return Looks(every.mean(0), every.std(0))


def paint_cut_out(cell: Leukocyte, looks: Looks, stain: Stain, um_per_px: float) -> Sprite:
    """Optical density of a cut-out on the pixels of a level: its own texture, in the colours that its type has on this film."""
    laid = cell.cut_out
    if laid is None:
        raise ValueError(f"cell {cell.cell_id} is drawn, not cut out")
    cut, rng = _cut(laid.source), rng_of(*cell.seed, 9)
    finer = finer_pixels(um_per_px)
    grid = Grid.around(cell.centre_um, cell.reach_um + 1.6, um_per_px, finer)
    u, v = _in_source(laid, grid.x, grid.y)
    density = cut.density
    if grid.um_per_px > laid.um_per_px:  # made smaller: what no longer fits into a pixel is averaged first
        density = np.asarray(cv2.GaussianBlur(density, (0, 0), 0.5 * grid.um_per_px / laid.um_per_px), np.float32)
    texture = cv2.remap(density, u, v, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
    far = float(cut.distance_px.max())
    away = cv2.remap(cut.distance_px, u, v, cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT, borderValue=far) * np.float32(
        laid.um_per_px
    )
    # Its depth runs along the colours of its type on this film; of its own hues less than half is left.
    depth = np.clip((texture.mean(2) - cut.depth[0]) / cut.depth[1], -2.5, 2.5)
    hue = texture - cut.mean - depth[..., None] * cut.slope
    # A cell of its own: a little deeper or paler, a little off in hue, as the drawn ones are.
    own = np.exp(rng.normal(0, 0.08) + rng.normal(0, 0.04, 3)).astype(np.float32)
    coloured = np.maximum(looks.mean * own + 0.8 * depth[..., None] * looks.std + 0.4 * hue, 0.05)
    edge = max(1.6 * EDGE_UM, 0.8 * grid.um_per_px)
    body = smoothstep(edge, -edge, away + 0.5 * edge)
    halo = np.exp(-np.square((away - 0.55) / 0.38))
    painted = coloured * body[..., None] - np.float32(0.035 * stain.halo) * halo[..., None]
    return Sprite(grid.i0, grid.j0, averaged(np.asarray(painted, np.float32), finer))


def about(folder: Path, split: str, cut_outs: CutOuts, licence: str | None) -> dict[str, Any]:
    """What a JSON must say of the cut-outs that are on its pictures. licence: in place of what their folder states."""
    counts = Counter(m.TYPES[cell.code] for cell in cut_outs.cells)
    return {
        "folder": folder.resolve().name,
        "split": split,
        "cells": dict(counts),
        "um_per_px_assumed": round(cut_outs.um_per_px, 4),
        "share_of_white_cells": SHARE,
        "licence": licence or stated_licence(folder) or "not stated by the folder that they are from",
        "changed": "cut along their edge, turned, mirrored, scaled, recoloured to the film's stain",
    }


def stated_licence(folder: Path) -> str | None:
    """Licence and source as the JSON files of a folder state them in `info` and `licenses`; None where they state none."""
    found: list[str] = []
    for split in (split for subset in find_subsets(folder) for split in subset.splits):
        stated = json.loads(split.json.read_bytes()) if split.json else None
        if not isinstance(stated, dict):
            continue
        info, licences = stated.get("info"), stated.get("licenses")
        if isinstance(info, dict):
            found += [str(info[key]) for key in ("licence", "license", "source", "contributor", "url") if info.get(key)]
        if isinstance(licences, list):
            found += [str(one.get("name") or one.get("url")) for one in licences if isinstance(one, dict)]
    return "; ".join(dict.fromkeys(found)) or None
