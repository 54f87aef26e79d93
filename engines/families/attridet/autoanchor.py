"""How well a set of anchors fits the labels, and a better set where it fits badly (YOLOv5's rule; numpy only)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from engines.data.augment import Sample

Float64 = NDArray[np.float64]

BPR_ENOUGH = 0.98
"""Best possible recall above which the anchors are kept."""


class AnchorFit(NamedTuple):
    """bpr: share of boxes that any anchor matches. aat: matching anchors a box. fitness: mean best ratio, 0 where none matches."""

    bpr: float
    aat: float
    fitness: float


class AnchorChoice(NamedTuple):
    """Anchors to train with, (levels, 3, 2) in px, and why: the fit of those given and of those chosen, over so many boxes."""

    anchors_px: Float64
    given: AnchorFit
    chosen: AnchorFit
    boxes: int

    @property
    def adopted(self) -> bool:
        """Whether the anchors are others than those given."""
        return self.chosen is not self.given

    def __str__(self) -> str:
        reach = f"of {self.boxes} cells {self.chosen.bpr:.1%} are within reach of one"
        if self.adopted:
            return f"fitted to the labels: {reach}, {self.given.bpr:.1%} before"
        return f"kept: {reach}" if self.given.bpr > BPR_ENOUGH else f"kept, as nothing better was found: {reach}"


def choose_anchors(samples: Sequence[Sample], anchors_px: Float64, imgsz: int, seed: int, anchor_t: float = 4.0) -> AnchorChoice:
    """Anchors for these pictures when their longer side becomes `imgsz` px, each jittered by U(0.9, 1.1) (spec 1.4); seeded.

    Raises ValueError if no picture has a box.
    """
    rng = np.random.default_rng([seed, 2])
    sides = [np.broadcast_to(np.array(sample.image.shape[1::-1], np.float64), (len(sample.boxes), 2)) for sample in samples]
    image_wh = np.concatenate(sides) if sides else np.zeros((0, 2))
    if not len(image_wh):
        raise ValueError("no labelled box: there is nothing to fit anchors to")
    wh = np.concatenate([sample.boxes[:, 2:] - sample.boxes[:, :2] for sample in samples]) / image_wh
    # One factor for each picture, as its cells are scaled together.
    factors = np.repeat(rng.uniform(0.9, 1.1, len(samples)), [len(sample.boxes) for sample in samples])
    sizes = label_sizes_px(wh, image_wh, imgsz) * factors[:, None]
    given = anchor_fit(sizes[(sizes >= 2.0).any(1)], anchors_px, anchor_t)
    anchors, chosen = fit_anchors(sizes, anchors_px, rng, anchor_t=anchor_t)
    return AnchorChoice(anchors, given, given if anchors is anchors_px else chosen, len(sizes))


def label_sizes_px(wh: Float64, image_wh: Float64, imgsz: int) -> Float64:
    """Sizes (n, 2) in px that boxes have in training: wh (n, 2) normalised, image_wh (n, 2) px of each box's image, whose longer side
    becomes `imgsz`.
    """
    return np.asarray(wh * (imgsz * image_wh / image_wh.max(1, keepdims=True)), dtype=np.float64)


def anchor_fit(wh_px: Float64, anchors_px: Float64, anchor_t: float = 4.0) -> AnchorFit:
    """Fit of anchors (..., 2) to box sizes (n, 2), both px: a match is x > 1 / anchor_t.

    x is the worse side's ratio, min over sides of min(r, 1/r) with r = wh / anchor. Raises ValueError if there is no box.
    """
    if len(wh_px) == 0:
        raise ValueError("no labelled box: there is nothing to fit anchors to")
    r = wh_px[:, None] / anchors_px.reshape(-1, 2)
    x = np.minimum(r, 1 / r).min(2)
    best = x.max(1)
    hit = best > 1 / anchor_t
    return AnchorFit(float(hit.mean()), float((x > 1 / anchor_t).sum(1).mean()), float((best * hit).mean()))


def fit_anchors(
    wh_px: Float64, anchors_px: Float64, rng: np.random.Generator, *, anchor_t: float = 4.0, generations: int = 1000
) -> tuple[Float64, AnchorFit]:
    """Anchors to train with, shape of `anchors_px` (levels, 3, 2), and their fit: the given ones if they reach `BPR_ENOUGH` or nothing
    better is found, else k-means over the sizes refined by mutation, in rising area.

    wh_px: (n, 2) sizes in px; boxes with both sides under 2 px are left out. Raises ValueError if no box is left.
    """
    sizes = wh_px[(wh_px >= 2.0).any(1)]
    given = anchor_fit(sizes, anchors_px, anchor_t)
    count = anchors_px.size // 2
    if given.bpr > BPR_ENOUGH or len(np.unique(sizes, axis=0)) < count:
        return anchors_px, given
    spread = np.maximum(sizes.std(0), 1e-9)
    found = _evolve(sizes, _k_means(sizes / spread, count, rng) * spread, rng, anchor_t, generations)
    found = found[np.argsort(found.prod(1))].reshape(anchors_px.shape)
    fit = anchor_fit(sizes, found, anchor_t)
    return (found, fit) if fit.bpr > given.bpr else (anchors_px, given)


def _k_means(points: Float64, k: int, rng: np.random.Generator, restarts: int = 30) -> Float64:
    """The best of `restarts` runs of Lloyd's algorithm, (k, 2); a centre that loses all its points stays where it was."""
    best, least = points[:k], np.inf
    for _ in range(restarts):
        centres = points[rng.choice(len(points), k, replace=False)]
        before = np.inf
        while True:
            distance = np.linalg.norm(points[:, None] - centres[None], axis=2)
            owner, mean = distance.argmin(1), float(distance.min(1).mean())
            if before - mean <= 1e-5:
                break
            before = mean
            held = np.bincount(owner, minlength=k)
            sums = np.stack([np.bincount(owner, points[:, i], minlength=k) for i in (0, 1)], 1)
            centres = np.where(held[:, None] > 0, sums / np.maximum(held, 1)[:, None], centres)
        if mean < least:
            best, least = centres, mean
    return best


def _evolve(wh: Float64, anchors: Float64, rng: np.random.Generator, anchor_t: float, generations: int) -> Float64:
    """Keep a mutation whenever fitness rises: nine genes in ten, sigma 0.1 times one common factor, factors 0.3 to 3, at least 2 px."""
    anchors = np.maximum(anchors, 2.0)
    fitness = anchor_fit(wh, anchors, anchor_t).fitness
    for _ in range(generations):
        genes = rng.random(anchors.shape) < 0.9
        factor = np.clip(1 + genes * rng.random() * rng.standard_normal(anchors.shape) * 0.1, 0.3, 3.0)
        child = np.maximum(anchors * factor, 2.0)
        grown = anchor_fit(wh, child, anchor_t).fitness
        if grown > fitness:
            anchors, fitness = child, grown
    return anchors
