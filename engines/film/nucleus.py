"""Forms of nuclei (round, indented, folded, band, lobed) and the texture of their chromatin; no cytoplasm and no colours' names."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from engines.film.outline import Outline, blob, notched
from engines.film.texture import Array, Grid, smoothstep


@dataclass(frozen=True)
class Lobe:
    """Ellipse of semi-axes `a`, `b` um around (x, y), turned by `angle`."""

    x: float
    y: float
    a: float
    b: float
    angle: float

    def distance(self, x: Array, y: Array) -> Array:
        c, s = np.float32(np.cos(self.angle)), np.float32(np.sin(self.angle))
        dx, dy = x - np.float32(self.x), y - np.float32(self.y)
        u, v = (dx * c + dy * s) / np.float32(self.a), (dy * c - dx * s) / np.float32(self.b)
        return np.asarray((np.sqrt(u * u + v * v) - 1) * np.float32(min(self.a, self.b)), dtype=np.float32)


@dataclass(frozen=True)
class Strand:
    """Thread of half-width `half` um from one point to another: the filament between two lobes."""

    x0: float
    y0: float
    x1: float
    y1: float
    half: float

    def distance(self, x: Array, y: Array) -> Array:
        dx, dy = np.float32(self.x1 - self.x0), np.float32(self.y1 - self.y0)
        px, py = x - np.float32(self.x0), y - np.float32(self.y0)
        t = np.clip((px * dx + py * dy) / (dx * dx + dy * dy + np.float32(1e-6)), 0, 1)
        return np.asarray(np.hypot(px - t * dx, py - t * dy) - np.float32(self.half), dtype=np.float32)


@dataclass(frozen=True)
class Nucleus:
    """A nucleus around (x, y) um from the cell's centre: either one outline or lobes joined by strands, and its creases."""

    x: float
    y: float
    scale: float
    outline: Outline | None = None
    parts: tuple[Lobe | Strand, ...] = ()
    creases: tuple[Strand, ...] = ()

    def distance(self, x: Array, y: Array) -> Array:
        """About the signed distance in um to the nucleus's edge, negative inside; x, y from the cell's centre."""
        s = np.float32(self.scale)
        u, v = (x - np.float32(self.x)) / s, (y - np.float32(self.y)) / s
        if self.outline is not None:
            return np.asarray(self.outline.distance(u, v) * s, dtype=np.float32)
        total = np.zeros_like(u)
        for part in self.parts:
            total += np.exp(np.clip(part.distance(u, v) * np.float32(-5.0), -60, 60))
        return np.asarray(np.log(np.maximum(total, 1e-26)) * np.float32(-0.2) * s, dtype=np.float32)

    def crease(self, x: Array, y: Array) -> Array:
        """Strength 0 to 1 of folds of the nuclear membrane."""
        s = np.float32(self.scale)
        out = np.zeros_like(x)
        for strand in self.creases:
            d = strand.distance((x - np.float32(self.x)) / s, (y - np.float32(self.y)) / s) * s
            out = np.maximum(out, np.exp(-np.square(np.maximum(d, 0) / np.float32(0.32))))
        return out


def make_nucleus(rng: np.random.Generator, form: str, area_um2: float, body: Outline, eccentric: float) -> Nucleus:
    """A nucleus of this form and area inside a cell body; `eccentric` 0 to 1 is how far it leans to one side.

    Forms: round, irregular, cleft, flattened, kidney, folded, band, lobed, bilobed; ValueError names an unknown one.
    """
    if form in ("band", "lobed", "bilobed"):
        unit = Nucleus(0.0, 0.0, 1.0, parts=_chain(rng, form))
    else:
        outline, creases = _single(rng, form)
        unit = Nucleus(0.0, 0.0, 1.0, outline, creases=creases)
    axis = np.arange(-3.0, 3.0, 0.06, dtype=np.float32)
    gx, gy = np.meshgrid(axis, axis)
    inside = unit.distance(gx, gy) < 0
    area = float(inside.sum()) * 0.06**2
    scale = float(np.sqrt(area_um2 / area))
    x_mid, y_mid = float(gx[inside].mean()), float(gy[inside].mean())
    reach = float(np.hypot(gx[inside] - x_mid, gy[inside] - y_mid).max()) * scale
    towards = rng.random() * 2 * np.pi
    room = max(0.0, float(np.median(body.radii_um)) - reach - 0.35)
    if room == 0.0:  # long forms: what sticks out is clipped by the body
        room = 0.15
    shift = eccentric * room * (0.6 + 0.4 * rng.random())
    x, y = shift * np.cos(towards) - x_mid * scale, shift * np.sin(towards) - y_mid * scale
    return replace(unit, x=float(x), y=float(y), scale=scale)


def _single(rng: np.random.Generator, form: str) -> tuple[Outline, tuple[Strand, ...]]:
    """Outline of mean radius about 1 of a nucleus of one piece, and its creases."""
    turn = rng.random() * 2 * np.pi
    creases: list[Strand] = []
    if form == "round":
        out = blob(rng, 1.0, 0.022, 1.0 + abs(rng.normal(0, 0.08)), fine=0.003)
    elif form == "irregular":
        out = blob(rng, 1.0, 0.085, 1.0 + 0.35 * rng.random(), orders=(2, 8), decay=0.75)
        out = notched(out, turn, 0.28 + 0.16 * rng.random(), 0.26 + 0.18 * rng.random())
        out = notched(out, turn + rng.uniform(1.6, 4.6), 0.12 + 0.14 * rng.random(), 0.22 + 0.2 * rng.random())
    elif form == "cleft":
        out = blob(rng, 1.0, 0.035, 1.0 + 0.2 * rng.random())
        out = notched(out, turn, 0.32 + 0.18 * rng.random(), 0.17 + 0.14 * rng.random())
        creases = _creases(rng, 1, turn)
        if rng.random() < 0.4:
            out = notched(out, turn + rng.uniform(1.5, 4.5), 0.15 + 0.2 * rng.random(), 0.10 + 0.10 * rng.random())
    elif form == "flattened":
        out = notched(blob(rng, 1.0, 0.03, 1.1 + 0.25 * rng.random()), turn, 0.40 + 0.14 * rng.random(), 0.45 + 0.15 * rng.random())
    elif form == "kidney":
        out = notched(blob(rng, 1.0, 0.035, 1.05 + 0.25 * rng.random()), turn, 0.42 + 0.25 * rng.random(), 0.38 + 0.25 * rng.random())
    elif form == "folded":
        out = blob(rng, 1.0, 0.06, 1.0 + 0.3 * rng.random(), orders=(2, 8), decay=0.8)
        out = notched(out, turn, 0.25 + 0.25 * rng.random(), 0.25 + 0.25 * rng.random())
        out = notched(out, turn + rng.uniform(1.8, 4.4), 0.12 + 0.2 * rng.random(), 0.2 + 0.3 * rng.random())
        creases = _creases(rng, int(rng.integers(1, 4)), turn)
    else:
        raise ValueError(f"no form of nucleus {form!r}")
    return out, tuple(creases)


def _creases(rng: np.random.Generator, count: int, turn: float) -> list[Strand]:
    """Folds that run inwards from the outline, the first from the notch."""
    out = []
    for k in range(count):
        at = turn + (0 if k == 0 else rng.uniform(0.8, 5.4))
        r0, r1 = 0.75, rng.uniform(-0.15, 0.3)
        bend = at + rng.normal(0, 0.35)
        out.append(Strand(r0 * np.cos(at), r0 * np.sin(at), r1 * np.cos(bend), r1 * np.sin(bend), 0.0))
    return out


def _chain(rng: np.random.Generator, form: str) -> tuple[Lobe | Strand, ...]:
    """Lobes along an arc, in units of about a lobe's length, with their filaments."""
    turn = rng.random() * 2 * np.pi
    parts: list[Lobe | Strand] = []
    if form == "band":
        span = rng.uniform(2.8, 5.0)
        radius = rng.uniform(0.85, 1.15)
        n = 13
        pinch = rng.random(2) * 2 * np.pi
        for k, t in enumerate(np.linspace(-span / 2, span / 2, n)):
            thick = 0.34 + 0.07 * np.sin(k * 0.9 + pinch[0]) + 0.05 * np.sin(k * 1.9 + pinch[1]) + 0.06 * abs(2 * k / (n - 1) - 1)
            r = radius * (1 + 0.06 * np.sin(k * 0.7 + pinch[1]))
            parts.append(Lobe(r * np.cos(turn + t), r * np.sin(turn + t), thick, thick * 0.95, turn + t))
        return tuple(parts)
    if form == "bilobed":
        count, radius = 2, rng.uniform(0.78, 0.95)
        places = np.array([turn, turn + rng.uniform(2.2, 3.3)])
    else:
        count = int(rng.choice([2, 3, 4, 5], p=[0.12, 0.45, 0.33, 0.10]))
        radius = {2: 0.85, 3: 1.02, 4: 1.18, 5: 1.28}[count] * rng.uniform(0.92, 1.08)
        places = turn + np.cumsum(np.r_[0, rng.uniform(1.0, 1.45, count - 1) * (1.45 if count <= 3 else 1.1)])
    last: tuple[float, float] | None = None
    for t in places:
        r = radius * rng.uniform(0.75, 1.15)
        x, y = r * np.cos(t), r * np.sin(t)
        a = rng.uniform(0.52, 0.72) * (1.15 if form == "bilobed" else 0.92)
        parts.append(Lobe(x, y, a, a * rng.uniform(0.58, 0.88), t + np.pi / 2 + rng.normal(0, 0.5)))
        if rng.random() < 0.7:  # a knob, so that a lobe is no ellipse
            q = rng.random() * 2 * np.pi
            parts.append(Lobe(x + 0.38 * a * np.cos(q), y + 0.38 * a * np.sin(q), 0.58 * a, 0.5 * a, q))
        if last is not None:
            parts.append(Strand(last[0], last[1], x, y, rng.uniform(0.07, 0.22)))
        last = (x, y)
    return tuple(parts)


def chromatin(grid: Grid, rng: np.random.Generator, coarse: int, depth: Array, smudged: float = 0.0) -> Array:
    """Density of chromatin, 0 (pale) to about 1 (dark): (height, width) float32.

    `coarse` is the Nuclear Chromatin label: 0 draws a fine, even, lacy net, 1 clumps with pale channels between them.
    `depth` is the distance inside the nucleus's edge in um; `smudged` 0 to 1 takes the contrast away.
    """
    waves = (2.4, 0.70, 0.62, 0.40, 0.24) if coarse else (2.6, 0.60, 0.50, 0.34, 0.24)
    large, one, other, fine, dust = (grid.noise(rng, wave) for wave in waves)
    middle = 0.75 * (one + other)
    rim = np.exp(-np.square((depth - 0.14) / 0.20))
    if coarse:  # dark clumps, thin pale channels
        pale = smoothstep(-0.15, 1.55, 0.85 * middle + 0.65 * fine + 0.45 * dust + 0.22 * large)
        out = 0.98 - 0.90 * pale + 0.05 * large + 0.06 * dust + 0.18 * rim
    else:  # an even, fine net
        pale = smoothstep(-0.6, 1.3, middle + 0.75 * fine + 0.15 * large)
        out = 0.60 - 0.46 * pale + 0.06 * large + 0.05 * dust + 0.30 * rim
    flat = 0.75 if coarse else 0.40
    out = out + smudged * (flat - out)
    return np.asarray(np.clip(out, -0.25, 1.2), dtype=np.float32)


def nucleoli(
    grid: Grid, rng: np.random.Generator, nucleus: Nucleus, *, reach_um: float, prominent: int, large: bool
) -> tuple[Array, Array]:
    """Masks 0 to 1 of nucleoli and of the chromatin that rings them: (height, width) float32 each, zero where inconspicuous."""
    core, ring = np.zeros_like(grid.x), np.zeros_like(grid.x)
    if not prominent:
        return core, ring
    count = int(rng.integers(1, 3 if large else 4))
    x, y = (rng.uniform(-reach_um, reach_um, 240).astype(np.float32) for _ in range(2))
    radius = rng.uniform(0.85, 1.25, 240) if large else rng.uniform(0.6, 0.95, 240)
    inside = nucleus.distance(x, y)
    chosen: list[int] = []
    for margin in (1.5, 0.9, 0.4):
        for at in np.flatnonzero(inside < -margin):
            k = int(at)
            if len(chosen) < count and all(np.hypot(x[k] - x[q], y[k] - y[q]) > radius[k] + radius[q] + 0.5 for q in chosen):
                chosen.append(k)
        if chosen:
            break
    wobble = 1 + 0.22 * grid.noise(rng, 1.1)
    for k in chosen:
        d = np.hypot(grid.x - x[k], grid.y - y[k]) * wobble
        core = np.maximum(core, smoothstep(float(radius[k]) + 0.28, float(radius[k]) - 0.40, d))
        ring = np.maximum(ring, np.exp(-np.square((d - float(radius[k]) - 0.22) / 0.25)))
    return core, ring
