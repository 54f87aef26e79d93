"""Pseudo-labels for what of a picture nobody labelled: the averaged network fills it, each type by a threshold of its own.

The thresholds match the distribution of types that the labels have (after LabelMatch, Chen et al., CVPR 2022): ground that nobody
labelled should hold as many cells of each type, to its area, as ground that was. Of each type so many of the surest boxes are taken,
times `SURE`, none below `FLOOR`. So each type has a threshold of its own, and a rare one is not drowned by a common one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from engines.data.augment import Sample
from engines.data.labelled_regions import centred_in
from engines.data.leukemiaattri import LabelledImage
from engines.detections import Float32, Float64, Int64
from engines.errors import DataError
from engines.families.base import Network
from engines.taxonomy import UNKNOWN
from engines.training.judge import judge_samples

FLOOR = 0.25
"""No box of a lower score becomes a pseudo-label; what a technician would not be shown is not even looked at."""
SURE = 0.8
"""Share of the cells to be expected that are taken; the others stay in ground that is ignored."""
BEGIN = 0.25
"""Share of the run after which the average knows enough to teach."""
EVERY = 4
"""Epochs for which pseudo-labels are kept before they are made anew."""

Rows = NDArray[np.float64]
"""Pseudo-labels (n, 6): number of the picture, x1, y1, x2, y2 in its px, class."""
NO_ROWS: Rows = np.zeros((0, 6))


@dataclass(frozen=True, eq=False)
class Filling:
    """What fills the ground that nobody labelled.

    samples: the pictures as labelled. unlabelled: of each (M, 4), x1 y1 x2 y2 as shares of the picture. imgsz, scale_up: how the
    network looks at them, as of `FolderJudge`.
    """

    samples: Sequence[Sample]
    unlabelled: Sequence[Float32]
    imgsz: int
    scale_up: bool

    @classmethod
    def of(
        cls,
        samples: Sequence[Sample],
        read: Sequence[Sequence[Sample]],
        images: Sequence[Sequence[LabelledImage]],
        imgsz: int,
        scale_up: bool,
    ) -> Filling:
        """For `samples` as laid out of what was `read` of the `images` of each folder. Raises DataError without such ground."""
        ground: dict[int, Float32] = {}
        for some, folder in zip(read, images, strict=True):
            for sample, image in zip(some, folder, strict=True):
                height, width = image.size_hw
                ground[id(sample)] = (image.unlabelled_px / np.array([width, height] * 2)).astype(np.float32)
        if not any(map(len, ground.values())):
            raise DataError("--pseudo: every picture of train is labelled whole; leave it out, or state labelled_region (docs/data.md)")
        return cls(samples, [ground[id(sample)] for sample in samples], imgsz, scale_up)

    def due(self, epoch: int, epochs: int) -> bool:
        """Whether pseudo-labels are made before `epoch`, counted from 0."""
        first = max(1, round(BEGIN * epochs))
        return epoch >= first and (epoch - first) % EVERY == 0

    def find(self, network: Network) -> Rows:
        """The pseudo-labels that a network in evaluation mode, the averaged one, gives now."""
        concerned = [n for n, ground in enumerate(self.unlabelled) if len(ground)]
        rows, scores = [NO_ROWS], [np.zeros(0, np.float32)]
        looked = judge_samples(network, [self.samples[n] for n in concerned], self.imgsz, self.scale_up)
        for number, seen in zip(concerned, looked, strict=True):
            shown = seen.shown
            new = (shown.scores > FLOOR) & centred_in(shown.boxes_px, self._ground_px(number))
            new[seen.partner[seen.partner >= 0]] = False  # a labelled cell that reaches over the edge
            some = shown.select(new)
            rows.append(np.column_stack([np.full(len(some), number), some.boxes_px, some.classes]))
            scores.append(some.scores)
        found, sure = np.concatenate(rows), np.concatenate(scores)
        kinds = found[:, 5].astype(np.int64)
        taken: Rows = found[sure >= thresholds(sure, kinds, self.expected(len(network.taxonomy.classes)))[kinds]]
        return taken

    def filled(self, rows: Rows) -> list[Sample]:
        """The samples with pseudo-labels beside their labels, attributes unknown.

        Regions stay regions to ignore: a box in one teaches what it is, and nothing beside it is taught to be background.
        """
        made = list(self.samples)
        for number in np.unique(rows[:, 0]).astype(int):
            own, sample = rows[rows[:, 0] == number], self.samples[number]
            labels = np.full((len(own), sample.labels.shape[1]), UNKNOWN, np.int64)
            labels[:, 0] = own[:, 5]
            boxes = np.concatenate([sample.boxes, own[:, 1:5].astype(np.float32)])
            made[number] = replace(sample, boxes=boxes, labels=np.concatenate([sample.labels, labels]))
        return made

    def expected(self, classes: int) -> Float64:
        """Cells of each type, (classes,), that ground as large as what nobody labelled holds where it was labelled."""
        left = whole = 0.0
        counts = np.zeros(classes)
        for sample, ground in zip(self.samples, self.unlabelled, strict=True):
            if len(ground):
                area = float(sample.image.shape[0] * sample.image.shape[1])
                left += float(np.prod(ground[:, 2:] - ground[:, :2], axis=1).sum()) * area
                whole += area
                counts += np.bincount(sample.labels[:, 0], minlength=classes)
        return counts * (left / max(whole - left, 1.0))

    def _ground_px(self, number: int) -> Float32:
        height, width = self.samples[number].image.shape[:2]
        return self.unlabelled[number] * np.array([width, height] * 2, np.float32)


def thresholds(scores: Float32, classes: Int64, expected: Float64) -> Float64:
    """The least score of a pseudo-label of each type, (classes,): of the surest, `SURE` times as many as are expected; inf: none.

    scores, classes: of all boxes found, (N,).
    """
    least = np.full(len(expected), np.inf)
    for kind, wanted in enumerate(np.floor(SURE * expected + 0.5).astype(int)):
        own = np.sort(scores[classes == kind])[::-1]
        if wanted and len(own):
            least[kind] = own[min(wanted, len(own)) - 1]
    return least
