"""Which pictures an epoch shows: all, or shares of folders in turn, and no patient out of proportion.

A function of seed and epoch alone, so that a resumed run draws the same.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from engines.data.augment import Sample
from engines.data.leukemiaattri import LabelledImage
from engines.data.look_alikes import field_units, thumbnail
from engines.detections import Int64


@dataclass(frozen=True)
class Part:
    """Pictures of one folder, at positions `first` to `first + count` of all samples, of which an epoch shows `shown`.

    units: for each picture its patient (or the field that it is a copy of), where patients are balanced: the pictures of a patient
    with n of them then count sqrt(n) together, not n.
    """

    first: int
    count: int
    shown: int
    units: tuple[str, ...] | None = None

    def groups(self) -> tuple[list[Int64], NDArray[np.float64]]:
        """Positions that are gone through in turn, and how many of each an epoch shows on average."""
        units = self.units or ("",) * self.count
        found: dict[str, list[int]] = defaultdict(list)
        for position, unit in enumerate(units, self.first):
            found[unit].append(position)
        groups = [np.asarray(positions, np.int64) for positions in found.values()]
        weights = np.sqrt([len(group) for group in groups])
        return groups, self.shown * weights / weights.sum()

    def drawn(self, seed: int, epoch: int) -> Int64:
        """Positions (shown,) of one epoch; each group begins anew, in another order, only when it has been shown whole."""
        if self.units is None and self.shown == self.count:
            return np.arange(self.first, self.first + self.count)
        groups, expected = self.groups()
        bounds = np.concatenate([[0.0], np.cumsum(expected)])
        bounds[-1] = self.shown
        # A shift of the bounds drawn for each epoch gives each group its share on average, and the epoch always the same length.
        shifts = np.random.default_rng([seed, self.first, 3]).random(epoch + 1)
        counts = np.diff(np.floor(bounds + shifts[:, None]), axis=1).astype(np.int64)
        before, now = counts[:-1].sum(0), counts[-1]
        return np.concatenate([_in_turn(*row, seed) for row in zip(groups, before, now, strict=True)])


def _in_turn(group: Int64, start: int, count: int, seed: int) -> Int64:
    """`count` of a group from place `start` of an endless row, in which all of them stand once before any stands again."""
    n, taken = len(group), []
    place, end = int(start), int(start + count)
    while place < end:
        order = group if n == 1 else np.random.default_rng([seed, int(group[0]), place // n, 4]).permutation(group)
        some = order[place % n : place % n + end - place]
        taken.append(some)
        place += len(some)
    return np.concatenate([np.zeros(0, np.int64), *taken])


@dataclass(frozen=True)
class EpochDraw:
    """The parts that an epoch shows, one after another, all of it `repeats` times. Positions are those of the samples laid out."""

    parts: tuple[Part, ...]
    repeats: int = 1

    def __len__(self) -> int:
        return self.repeats * sum(part.shown for part in self.parts)

    def drawn(self, seed: int, epoch: int) -> Int64:
        """Positions of the samples of one epoch, not shuffled."""
        return np.tile(np.concatenate([part.drawn(seed, epoch) for part in self.parts]), self.repeats)

    def expected(self) -> NDArray[np.float64]:
        """How often an epoch shows each sample, on average."""
        times = np.zeros(sum(part.count for part in self.parts))
        for part in self.parts:
            for group, shown in zip(*part.groups(), strict=True):
                times[group] += shown / len(group)
        return self.repeats * times

    def at_least(self, count: int) -> EpochDraw:
        """The same, as often as it takes to show `count`."""
        return replace(self, repeats=-(-count // len(self)))

    def largest(self, part: Part) -> tuple[int, float]:
        """Pictures of the patient of whom a part has most, and of how many of them an epoch shows."""
        groups, shown = part.groups()
        most = int(np.argmax([len(group) for group in groups]))
        return len(groups[most]), float(shown[most])


def lay_out(
    read: Sequence[Sequence[Sample]], times: Sequence[float], images: Sequence[Sequence[LabelledImage]] | None = None
) -> tuple[list[Sample], EpochDraw]:
    """The samples of several folders in one list, and how an epoch draws from it.

    times: how often an epoch shows each folder's pictures: 2 twice, .25 a quarter of them, another one each epoch until all were shown.
    images: where they came from, if patients are to be balanced within each folder; by the rules of `attridet data split`.
    """
    samples: list[Sample] = []
    parts = []
    for number, (some, often) in enumerate(zip(read, times, strict=True)):
        whole = int(often) if often == int(often) else 1
        units = None
        if images is not None:
            units = tuple(field_units([image.path for image in images[number]], thumbnails=[thumbnail(s.image) for s in some])) * whole
        parts.append(Part(len(samples), whole * len(some), max(round(often * len(some)), 1), units))
        samples += list(some) * whole
    return samples, EpochDraw(tuple(parts))
