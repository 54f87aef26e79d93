"""Painting of the thirteen types of leukocyte as optical density, each label obeyed; artefacts are painted in `artefacts`."""

from __future__ import annotations

import numpy as np

from engines.film import morphology as m
from engines.film.artefacts import paint_artefact
from engines.film.cells import Leukocyte, Sprite
from engines.film.nucleus import Nucleus, chromatin, make_nucleus, nucleoli
from engines.film.stain import Stain
from engines.film.texture import Array, Grid, averaged, blur, finer_pixels, rng_of, smoothstep

EDGE_UM = 0.17
"""Half-width of the soft edge of cell and nucleus, about what an oil objective resolves."""

_ECCENTRIC = {
    m.MYELOCYTE: 0.9, m.METAMYELOCYTE: 0.7, m.PROMYELOCYTE: 0.7, m.ATYPICAL: 0.8, m.MONOBLAST: 0.7, m.PROMONOCYTE: 0.6,
    m.LYMPHOCYTE: 0.8, m.MYELOBLAST: 0.8, m.LYMPHOBLAST: 0.8, m.MONOCYTE: 0.5, m.EOSINOPHIL: 0.5, m.NEUTROPHIL: 0.5,
}  # fmt: skip


def paint(cell: Leukocyte, stain: Stain, um_per_px: float) -> Sprite:
    """Optical density of one cell on the pixels of a level."""
    finer = finer_pixels(um_per_px)
    grid = Grid.around(cell.centre_um, cell.reach_um + 1.6, um_per_px, finer)
    rng = rng_of(*cell.seed, 5)
    density = paint_artefact(cell, stain, grid, rng) if cell.code == m.NONE else _paint_cell(cell, stain, grid, rng)
    return Sprite(grid.i0, grid.j0, averaged(density, finer))


def nucleus_of(cell: Leukocyte) -> Nucleus:
    """The nucleus of a cell (not of an artefact), around the cell's centre."""
    area = cell.outline.area_um2 * cell.nuclear_share
    return make_nucleus(rng_of(*cell.seed, 6), cell.form, area, cell.outline, _ECCENTRIC.get(cell.code, 0.5))


def _paint_cell(cell: Leukocyte, stain: Stain, grid: Grid, rng: np.random.Generator) -> Array:
    attributes, code = cell.attributes, cell.code
    edge = max(EDGE_UM, 0.6 * grid.um_per_px)
    warp_x, warp_y = grid.noise(rng, 2.4) * 0.14, grid.noise(rng, 2.4) * 0.14
    body_d = cell.outline.distance(grid.x, grid.y)
    body = smoothstep(edge, -edge, body_d)
    nucleus = nucleus_of(cell)
    x, y = grid.x + warp_x, grid.y + warp_y
    nuclear_d = np.maximum(nucleus.distance(x, y), body_d + 0.30)
    mask = smoothstep(edge, -edge, nuclear_d)

    cytoplasm = _cytoplasm(cell, stain, grid, rng, body_d=body_d, nuclear_d=nuclear_d)
    density, over = _granules(cell, stain, grid, rng, cytoplasm=cytoplasm, nucleus=nucleus)
    vacuole = _vacuoles(cell, grid, rng, nucleus)
    density = density * (body * (1 - 0.93 * vacuole))[..., None]
    density += (0.10 * body * np.exp(-np.square((body_d + 0.1) / 0.25)))[..., None] * stain.cytoplasm_blue  # membrane

    t = chromatin(grid, rng, attributes[m.CHROMATIN], -nuclear_d, smudged=0.5 if code == m.BASOPHIL else 0.0)
    core, ring = nucleoli(
        grid, rng, nucleus, reach_um=cell.reach_um, prominent=attributes[m.NUCLEOLUS], large=code in (m.MONOBLAST, m.LYMPHOBLAST)
    )
    t = t * (1 - 0.25 * nucleus.crease(x, y)) + 0.30 * nucleus.crease(x + 0.35, y)
    t = t + 0.22 * ring * (1 - core)
    strength = np.float32(np.clip(1.0 + rng.normal(0, 0.09), 0.78, 1.2))
    nuclear = (stain.nucleus_light + (stain.nucleus_dark - stain.nucleus_light) * t[..., None]) * strength
    pale = 0.62 * stain.nucleus_light + 0.22 * stain.cytoplasm_blue
    nuclear = nuclear + core[..., None] * 0.85 * (pale - nuclear)
    if code in (m.MONOCYTE, m.PROMONOCYTE, m.LYMPHOBLAST, m.MONOBLAST):
        nuclear = nuclear * (1 - 0.6 * (vacuole * smoothstep(-0.9, 0.0, nuclear_d)))[..., None]
    density = density * (1 - 0.85 * mask)[..., None] + nuclear * mask[..., None] + over
    halo = np.exp(-np.square((body_d - 0.55) / 0.38))
    return np.asarray(density - np.float32(0.035 * stain.halo) * halo[..., None], dtype=np.float32)


def _cytoplasm(cell: Leukocyte, stain: Stain, grid: Grid, rng: np.random.Generator, *, body_d: Array, nuclear_d: Array) -> Array:
    """Cytoplasm without granules: blueness by the Basophilia label, deeper at the edge and paler beside the nucleus."""
    depth = rng.uniform(0.70, 1.05) if cell.attributes[m.BASOPHILIA] else rng.uniform(0.02, 0.22)
    deep = 0.25 if cell.code in (m.MYELOBLAST, m.LYMPHOBLAST, m.ATYPICAL, m.MONOBLAST) else 0.10
    grainy = rng.uniform(0.7, 1.3)
    uneven = 1 + 0.13 * grid.noise(rng, 2.2) + grainy * (0.13 * grid.noise(rng, 0.75) + 0.13 * grid.noise(rng, 0.36))
    profile = uneven * (1 + deep * np.exp(np.minimum(body_d, 0) / 0.9)) * (1 - 0.22 * np.exp(-np.square(nuclear_d / 0.9)))
    blue = np.clip(depth + 0.10 * grainy * (grid.noise(rng, 0.5) + grid.noise(rng, 1.6)), 0.0, 1.25)[..., None]
    base = stain.cytoplasm_pale * (1 - blue) + stain.cytoplasm_blue * blue
    if cell.code in (m.PROMYELOCYTE, m.MYELOCYTE, m.PROMONOCYTE):  # a pale Golgi zone beside the nucleus
        at = rng.random() * 2 * np.pi
        away = np.hypot(grid.x - 0.45 * cell.reach_um * np.cos(at), grid.y - 0.45 * cell.reach_um * np.sin(at))
        profile = profile * (1 - 0.35 * np.exp(-np.square(away / 2.6)))
    return np.asarray(profile[..., None] * base, dtype=np.float32)


def _places(
    cell: Leukocyte, nucleus: Nucleus, rng: np.random.Generator, tries: int, *, inside: float, outside: float
) -> tuple[Array, Array]:
    """Random points at least `inside` um within the body and `outside` um out of the nucleus."""
    reach = cell.reach_um
    x, y = (rng.uniform(-reach, reach, tries).astype(np.float32) for _ in range(2))
    keep = (cell.outline.distance(x, y) < -inside) & (nucleus.distance(x, y) > outside)
    return x[keep], y[keep]


def _granules(
    cell: Leukocyte, stain: Stain, grid: Grid, rng: np.random.Generator, *, cytoplasm: Array, nucleus: Nucleus
) -> tuple[Array, Array]:
    """Cytoplasm with the type's granules, and what of them lies over the nucleus: (height, width, 3) float32 each."""
    over = np.zeros_like(cytoplasm)
    per_um2 = cell.outline.area_um2 / 140.0
    code = cell.code
    if code in (m.NEUTROPHIL, m.METAMYELOCYTE, m.MYELOCYTE):
        x, y = _places(cell, nucleus, rng, int(900 * per_um2), inside=0.25, outside=0.0)
        weight = rng.gamma(2.0, 0.5, len(x)) * rng.uniform(0.35, 1.0)
        dust = grid.spots(x, y, rng.uniform(0.09, 0.17, len(x)), weight, 0.08)
        cytoplasm = cytoplasm + np.clip(dust, 0, 1.6)[..., None] * (stain.neutrophil_granule * 0.85)
        if code != m.NEUTROPHIL:  # azurophil granules of youth, over the nucleus too
            most = 420 if code == m.MYELOCYTE else 130
            x, y = _places(cell, nucleus, rng, int(rng.uniform(0.1, 1.0) * most * per_um2), inside=0.3, outside=-9.0)
            late = grid.spots(x, y, rng.uniform(0.13, 0.24, len(x)), rng.uniform(0.4, 1.0, len(x)), 0.08)
            over = over + np.clip(late, 0, 1)[..., None] * (stain.azurophil_granule * 0.50)
    elif code == m.EOSINOPHIL:
        x, y = _places(cell, nucleus, rng, int(900 * per_um2), inside=0.30, outside=-0.10)
        radius = rng.uniform(0.26, 0.44, len(x))
        body = grid.spots(x, y, radius, rng.uniform(0.55, 1.15, len(x)), 0.09)
        x, y = _places(cell, nucleus, rng, int(700 * per_um2), inside=0.30, outside=0.1)
        gaps = grid.spots(x, y, rng.uniform(0.12, 0.24, len(x)), 0.6, 0.10)
        amount = np.clip(body, 0, 1.15) * (1 - 0.45 * np.clip(gaps, 0, 0.9))
        cytoplasm = cytoplasm * 0.55 + amount[..., None] * stain.eosinophil_granule
    elif code == m.BASOPHIL:
        x, y = _places(cell, nucleus, rng, int(rng.uniform(220, 520) * per_um2), inside=0.05, outside=-9.0)
        grains = grid.spots(x, y, rng.uniform(0.24, 0.46, len(x)), rng.uniform(0.5, 1.0, len(x)), 0.09)
        x, y = _places(cell, nucleus, rng, int(300 * per_um2), inside=0.3, outside=-9.0)
        gaps = grid.spots(x, y, rng.uniform(0.10, 0.22, len(x)), 0.7, 0.08)
        amount = np.clip(grains, 0, 1) * (1 - 0.75 * np.clip(gaps, 0, 1))
        over = over + amount[..., None] * (stain.basophil_granule * 0.72)
    elif code == m.PROMYELOCYTE:
        x, y = _places(cell, nucleus, rng, int(rng.uniform(200, 620) * per_um2), inside=0.3, outside=-1.2)
        grains = grid.spots(x, y, rng.uniform(0.12, 0.25, len(x)), rng.uniform(0.35, 1.0, len(x)), 0.08)
        over = over + np.clip(grains, 0, 1.1)[..., None] * (stain.azurophil_granule * 0.72)
    elif code in (m.MONOCYTE, m.PROMONOCYTE, m.MONOBLAST, m.ATYPICAL):
        x, y = _places(cell, nucleus, rng, int((40 if code == m.ATYPICAL else 260) * per_um2), inside=0.3, outside=0.0)
        dust = grid.spots(x, y, rng.uniform(0.09, 0.17, len(x)), rng.uniform(0.3, 1.0, len(x)), 0.10)
        cytoplasm = cytoplasm + np.clip(dust, 0, 1)[..., None] * (stain.azurophil_granule * 0.42)
    rods = {m.PROMYELOCYTE: 0.30, m.MYELOBLAST: 0.10}.get(code, 0.0)
    if rng.random() < rods:
        over = over + _auer_rods(cell, grid, rng, nucleus, bundle=code == m.PROMYELOCYTE)[..., None] * stain.azurophil_granule
    return cytoplasm, over


def _auer_rods(cell: Leukocyte, grid: Grid, rng: np.random.Generator, nucleus: Nucleus, bundle: bool) -> Array:
    """Needles of fused azurophil granules in the cytoplasm, one or (in promyelocytes) a few: mask 0 to 1."""
    out = np.zeros_like(grid.x)
    x, y = _places(cell, nucleus, rng, 160, inside=1.2, outside=0.4)
    common = rng.random() * np.pi  # needles of a bundle lie side by side
    for k in range(min(len(x), int(rng.integers(2, 5)) if bundle else 1)):
        turn, half = common + rng.normal(0, 0.35), rng.uniform(0.9, 1.9)
        along = (grid.x - x[k]) * np.cos(turn) + (grid.y - y[k]) * np.sin(turn)
        across = (grid.y - y[k]) * np.cos(turn) - (grid.x - x[k]) * np.sin(turn)
        needle = np.exp(-np.square(across / 0.13)) * smoothstep(half + 0.2, half - 0.2, np.abs(along))
        out = np.maximum(out, np.asarray(needle, dtype=np.float32))
    inside = smoothstep(-0.1, -0.4, cell.outline.distance(grid.x, grid.y))
    return np.asarray(out * inside, dtype=np.float32)


def _vacuoles(cell: Leukocyte, grid: Grid, rng: np.random.Generator, nucleus: Nucleus) -> Array:
    """Mask 0 to 1 of clear round holes in the cytoplasm; zero where the label says absent."""
    out = np.zeros_like(grid.x)
    if not cell.attributes[m.VACUOLES]:
        return out
    scanty = cell.attributes[m.CYTOPLASM] == 0
    x, y = _places(cell, nucleus, rng, 700, inside=0.75, outside=-0.5 if scanty else 0.25)
    wanted = int(rng.integers(5, 16))
    radius = np.clip(rng.gamma(5.0, 0.11, len(x)), 0.28, 0.85 if scanty else 1.1)
    chosen: list[int] = []
    for k in range(len(x)):
        if len(chosen) == wanted:
            break
        if all(np.hypot(x[k] - x[q], y[k] - y[q]) > 0.75 * (radius[k] + radius[q]) for q in chosen):
            chosen.append(k)
    wobble = 1 + 0.10 * grid.noise(rng, 0.9)
    clear = rng.uniform(0.75, 1.0, len(x))
    for k in chosen:
        d = np.hypot(grid.x - x[k], grid.y - y[k]) * wobble
        out = np.maximum(out, smoothstep(float(radius[k]) + 0.16, float(radius[k]) - 0.26, d) * np.float32(clear[k]))
    return blur(out, 0.08 / grid.um_per_px) if grid.um_per_px < 0.2 else out
