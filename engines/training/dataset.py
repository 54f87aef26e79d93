"""Pictures in memory, and the augmented training sample of a given epoch and number: a pure function of seed, epoch and number."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import count

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from engines.data import augment
from engines.data.augment import Sample
from engines.data.leukemiaattri import LabelledImage
from engines.data.stain_shake import shake_cells, shake_stain
from engines.detections import Int64
from engines.families.base import Batch
from engines.families.hyper import Hyper
from engines.training.draws import EpochDraw

_TILES = (1, 2, 3, 4)
_TILE_WEIGHTS = (0.25, 0.35, 0.25, 0.15)


def load(images: Sequence[LabelledImage], longest_px: int, advance: Callable[[], None] = lambda: None) -> list[Sample]:
    """Read pictures into memory, shrunk where their longer side exceeds `longest_px`; label columns: class, then attributes."""
    samples = []
    for image in images:
        labels = np.concatenate([image.classes[:, None], image.attributes], axis=1)
        sample = Sample(image.read(), image.boxes_px, labels, image.ignored_px)
        if max(sample.image.shape[:2]) > longest_px:
            sample = augment.resize_longer_side(sample, longest_px, augment=False)
        samples.append(sample)
        advance()
    return samples


def load_sets(sets: Sequence[Sequence[LabelledImage]], longest_px: int, progress: Callable[[int, int], None]) -> list[list[Sample]]:
    """`load` for several sets of pictures; progress is called with how many pictures of all sets are read, and how many there are."""
    total, numbers = sum(map(len, sets)), count(1)
    return [load(images, longest_px, lambda: progress(next(numbers), total)) for images in sets]


Item = tuple[Tensor, Tensor, Tensor, Tensor]
"""One picture's part of each field of a `Batch`."""


class TrainingSet(Dataset[Item]):
    """Mosaics of `size` px. `set_epoch` before each epoch; item i of epoch e never depends on what was drawn before.

    draw: which of the samples an epoch shows; all of them without it.
    """

    def __init__(self, samples: Sequence[Sample], size: int, hyper: Hyper, seed: int, draw: EpochDraw | None = None) -> None:
        if not samples:
            raise ValueError("no training pictures")
        self.samples, self.size, self.hyper, self.seed, self.draw = list(samples), size, hyper, seed, draw
        self.set_epoch(0)
        self.order = self.shown

    def set_epoch(self, epoch: int) -> None:
        """Shuffle for `epoch`."""
        self.epoch = epoch
        self.shown: Int64 = np.arange(len(self.samples)) if self.draw is None else self.draw.drawn(self.seed, epoch)
        """Positions of the samples of this epoch, not shuffled."""
        self.order = self.shown[np.random.default_rng([self.seed, epoch]).permutation(len(self.shown))]

    def __len__(self) -> int:
        return len(self.shown)

    def _others(self, rng: np.random.Generator, count: int) -> list[int]:
        """Positions of samples drawn from this epoch's."""
        return [int(self.shown[i]) for i in rng.integers(len(self.shown), size=count)]

    def __getitem__(self, position: int) -> Item:
        rng = np.random.default_rng([self.seed, self.epoch, position, 1])
        sample = self._composed(rng, int(self.order[position]))
        hyper = self.hyper
        if hyper.mixup and rng.random() < hyper.mixup:
            sample = augment.mixup(rng, sample, self._composed(rng, *self._others(rng, 1)))
        if hyper.blur and rng.random() < hyper.blur:
            blurred = cv2.GaussianBlur(sample.image, (0, 0), float(rng.uniform(0.4, 1.6)))
            sample = replace(sample, image=blurred)  # type: ignore[arg-type]  # cv2 stub
        sample = replace(sample, image=augment.jitter_hsv(rng, sample.image, hyper.hsv_h, hyper.hsv_s, hyper.hsv_v))
        if hyper.stain:
            sample = replace(sample, image=shake_stain(rng, sample.image, hyper.stain))
        if hyper.stain_cells:
            sample = shake_cells(rng, sample, hyper.stain_cells)
        if rng.random() < hyper.flipud:
            sample = augment.flip(sample, horizontal=False)
        if rng.random() < hyper.fliplr:
            sample = augment.flip(sample, horizontal=True)
        return self._tensors(sample)

    def _sample(self, rng: np.random.Generator, index: int) -> Sample:
        """One picture as it was read; squeezed, if the draw falls so."""
        sample = self.samples[index]
        if self.hyper.squeeze and rng.random() < self.hyper.squeeze:
            return augment.squeeze(sample, float(rng.uniform(0.8, 1.0)))
        return sample

    def _piece(self, rng: np.random.Generator, index: int) -> Sample:
        """One picture as it enters a mosaic: a field larger than the tile is cut at its own scale, a smaller one resized."""
        sample, hyper = self._sample(rng, index), self.hyper
        if hyper.crop and rng.random() < hyper.crop:
            many = max(sample.image.shape[:2]) >= 1.5 * self.size
            sample = augment.cut_square(rng, sample, self.size) if many else augment.random_window(rng, sample)
        else:
            sample = augment.resize_longer_side(sample, self.size)
        if hyper.quarter_turns:
            sample = augment.quarter_turn(sample, int(rng.integers(4)))
        return sample

    def _composed(self, rng: np.random.Generator, index: int) -> Sample:
        hyper, out = self.hyper, (self.size, self.size)
        if rng.random() < hyper.patchwork:
            return self._patchwork(rng, index)
        if rng.random() < hyper.mosaic:
            four = [self._piece(rng, i) for i in (index, *self._others(rng, 3))]
            four = [four[i] for i in rng.permutation(4)]
            sample = augment.mosaic(rng, four, self.size)
        else:
            sample = augment.resize_longer_side(self._piece(rng, index), self.size)
        matrix, scale = augment.jitter_matrix(
            rng, sample.image.shape[:2], out, hyper.degrees, hyper.translate, hyper.scale, hyper.shear, hyper.perspective
        )
        return augment.warp(sample, matrix, scale, out)

    def _patchwork(self, rng: np.random.Generator, index: int) -> Sample:
        """n x n tiles with cells of one size class; the fewer the tiles, the larger the cells."""
        n = int(rng.choice(_TILES, p=_TILE_WEIGHTS))
        edges = []
        for _ in range(2):
            inner = (np.arange(1, n) + rng.uniform(-0.2, 0.2, n - 1)) * self.size / n
            edges.append([0, *(int(v) for v in inner), self.size])
        low, high = np.log(self.hyper.cell_px)
        chosen = [index, *self._others(rng, n * n - 1)]
        chosen = [chosen[i] for i in rng.permutation(n * n)]
        pieces = []
        for r in range(n):
            line = []
            for c in range(n):
                width, height = edges[0][c + 1] - edges[0][c], edges[1][r + 1] - edges[1][r]
                sample = self._sample(rng, chosen[r * n + c])
                if self.hyper.quarter_turns:
                    sample = augment.quarter_turn(sample, int(rng.integers(4)))
                cell_px = min(float(np.exp(rng.uniform(low, high))), 0.8 * min(width, height))
                piece = augment.tile(rng, sample, width, height, cell_px)
                image = augment.jitter_hsv(rng, piece.image, self.hyper.hsv_h, self.hyper.hsv_s / 2, self.hyper.hsv_v / 2)
                if self.hyper.stain:
                    image = shake_stain(rng, image, self.hyper.stain)
                line.append(replace(piece, image=image))
            pieces.append(line)
        return augment.patchwork(pieces, edges[0], edges[1])

    def _tensors(self, sample: Sample) -> Item:
        n = len(sample.boxes)
        targets = np.zeros((n, 6), np.float32)
        targets[:, 1] = sample.labels[:, 0]
        targets[:, 2:4] = (sample.boxes[:, :2] + sample.boxes[:, 2:]) / 2 / self.size
        targets[:, 4:6] = (sample.boxes[:, 2:] - sample.boxes[:, :2]) / self.size
        pixels = np.ascontiguousarray(sample.image[:, :, ::-1].transpose(2, 0, 1))
        ignored = np.pad(sample.ignored / np.float32(self.size), ((0, 0), (1, 0)))
        attributes = sample.labels[:, 1:].astype(np.int64)
        return torch.from_numpy(pixels), torch.from_numpy(targets), torch.from_numpy(attributes), torch.from_numpy(ignored)


def collate(items: Sequence[Item]) -> Batch:
    """Stack samples into a batch; targets and regions bear the number of their picture."""
    images, targets, attributes, ignored = zip(*items, strict=True)
    return Batch(torch.stack(images), _numbered(targets), torch.cat(attributes), _numbered(ignored))


def _numbered(rows: Sequence[Tensor]) -> Tensor:
    """All rows in one, the first column the number of their picture."""
    return torch.cat([torch.cat([torch.full((len(r), 1), float(n)), r[:, 1:]], dim=1) for n, r in enumerate(rows)])
