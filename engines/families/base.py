"""What every detector family gives, so that training, judging, evaluation and bundles need not know which it is.

A family is one folder here: network, losses, decode, and its graphs where it can be exported. What a picture holds is said in *rows*,
the form that `engines.decode`, every engine and every bundle read.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from typing_extensions import Self

from engines.data.augment import Sample
from engines.detections import Int64
from engines.errors import DataError
from engines.families import parallel
from engines.families.hyper import FILM, Hyper
from engines.taxonomy import Taxonomy

MULTIPLE = 32
"""Sides of an input are multiples of this many px, whatever the family."""


@dataclass(frozen=True, eq=False)
class Truth:
    """What is labelled in one picture of a batch, on the network's device.

    boxes_px: (n, 4) float32 x1 y1 x2 y2 in px of the input. classes: (n,) int64. attributes: (n, A) int64, -1 unknown. ignored:
    (m, 4) float32, regions in which nothing unlabelled is background.
    """

    boxes_px: Tensor
    classes: Tensor
    attributes: Tensor
    ignored: Tensor


@dataclass(frozen=True, eq=False)
class Batch:
    """What one step learns from.

    images: (B, 3, H, W) uint8 RGB. targets: (n, 6) float32, picture, class, cx, cy, w, h in 0..1. attributes: (n, A) int64, -1 unknown.
    ignored: (m, 5) float32, picture, x1, y1, x2, y2 in 0..1 of regions to ignore.
    """

    images: Tensor
    targets: Tensor
    attributes: Tensor
    ignored: Tensor

    def pin_memory(self) -> Batch:
        """The batch with its pictures where a GPU can fetch them by itself; the loader asks for it."""
        return replace(self, images=self.images.pin_memory())

    def rois(self) -> Tensor:
        """(n, 5) float32: picture, x1, y1, x2, y2 in px of the network's input."""
        height, width = self.images.shape[2:]
        scale = torch.tensor([width, height], dtype=torch.float32)
        centre, half = self.targets[:, 2:4] * scale, self.targets[:, 4:6] * scale / 2
        return torch.cat([self.targets[:, :1], centre - half, centre + half], dim=1)

    def truth(self, device: torch.device) -> list[Truth]:
        """The labels picture by picture."""
        height, width = self.images.shape[2:]
        rois, classes = self.rois(), self.targets[:, 1].long()
        ignored_px = self.ignored[:, 1:] * torch.tensor([width, height] * 2, dtype=torch.float32)
        found = []
        for number in range(len(self.images)):
            mine, regions = rois[:, 0] == number, self.ignored[:, 0] == number
            rows = (rois[mine, 1:], classes[mine], self.attributes[mine], ignored_px[regions])
            found.append(Truth(*(row.to(device) for row in rows)))
        return found


@dataclass(frozen=True, eq=False)
class Course:
    """How a network is taught: what the losses of a family may depend on.

    imgsz: longer side of the training pictures, px. class_weights: (classes,), what a labelled cell of each type counts; None: all the
    same. noise: draws that depend on the epoch alone. halved: a context in which convolutions may run in half precision.
    """

    hyper: Hyper = FILM
    imgsz: int = 320
    class_weights: Tensor | None = None
    noise: torch.Generator = field(default_factory=torch.Generator)
    halved: Callable[[], AbstractContextManager[Any]] = nullcontext


class Learner:
    """Turns a batch into the loss that a step descends, for one network in training; this one serves any family."""

    def __init__(self, network: Network, course: Course) -> None:
        self.network, self.course = network, course

    def __call__(self, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """The total (scalar, with gradient), and its parts without. Under torchrun this process's share: all processes' add up."""
        device = next(self.network.parameters()).device
        images = batch.images.to(device, non_blocking=True).float() / 255
        parts = self.network.losses(images, batch.truth(device))
        (share,) = parallel.shares([len(images)])
        total = torch.stack(list(parts.values())).sum() * share
        return total, {name: value.detach() * share for name, value in parts.items()}


class Network(nn.Module):
    """A detector of some family: `family(name)(size, taxonomy)`. In evaluation mode it looks, in training mode it also has losses."""

    family: ClassVar[str]
    sizes: ClassVar[tuple[str, ...]]
    iou: ClassVar[float] = 0.45
    """Overlap above which the lesser of two shown boxes is suppressed; AP is measured with .6 at least. 1: nothing is suppressed."""
    describes: ClassVar[bool] = False
    """Whether it tells attributes."""
    weighs_classes: ClassVar[bool] = False
    """Whether its losses heed `Course.class_weights`."""
    learning_rate: ClassVar[float | None] = None
    """In place of the hyper-parameter set's, where a family needs another."""
    backbone_rate: ClassVar[float | None] = None
    """Of `Hyper`, where its published training holds a trained backbone back; from random weights it learns like the rest."""
    clip_norm: ClassVar[float | None] = None
    """Of `Hyper`, where its published training shortens gradients more than the sets do."""
    needs_start: ClassVar[bool] = False
    """Whether it cannot be begun without `--initial`, which brings a part of it."""
    size: str
    taxonomy: Taxonomy

    @property
    def untold(self) -> tuple[int, ...]:
        """Places of attribute probabilities that it never tells and gives as NaN."""
        return ()

    @property
    def concept_columns(self) -> tuple[int, ...]:
        """Attributes of which alone its types are made, by their places in the taxonomy; none where types are seen directly."""
        return ()

    def types_given(self, attributes: Int64) -> Int64:
        """Types (K,) of cells whose attributes (K, A) a person states, -1 unknown. Of a network with `concept_columns`."""
        raise NotImplementedError(f"{self.family} does not make types of attributes")

    def losses(self, images: Tensor, truth: Sequence[Truth]) -> dict[str, Tensor]:
        """Parts of the loss of a batch, weighed: their sum is descended. Means over the batch, each with its gradient.

        images: (B, 3, H, W) float32 RGB in 0..1; H and W are multiples of 32. Pictures without a cell are allowed. Nothing in a region
        to ignore is taught to be background. A family whose `learner` is its own need not have it.
        """
        raise NotImplementedError(f"{self.family} is taught by its own learner")

    def look(self, images: Tensor) -> tuple[Tensor, Any]:
        """Rows (B, N, 5 + classes), and whatever `describe` needs of these pictures.

        A row: centre x, centre y, width, height in px of the input, objectness, probability of each class; its score for a class is
        the product of both. In evaluation mode. images: as for `losses`.
        """
        raise NotImplementedError

    def describe(self, maps: Any, rois: Tensor) -> Tensor:
        """Attribute probabilities (K, n_logits) of K boxes; each attribute's sum to 1. NaN where the family tells none.

        maps: from `look`. rois: (K, 5), index of the picture, x1, y1, x2, y2 in px of the input.
        """
        return rois.new_full((len(rois), self.taxonomy.n_logits), float("nan"))

    def learner(self, course: Course) -> Learner:
        """What teaches it. Asked for anew when weights were put in its place."""
        return Learner(self, course)

    def fit_anchors(self, samples: Sequence[Sample], course: Course, seed: int) -> Any:
        """Fit what is to be fitted to the labels before a training; says what was chosen, None where there is nothing."""
        return None

    def fuse(self) -> Self:
        """The same network made quicker for evaluation, in place."""
        return self

    def take(self, other: Network) -> tuple[list[str], list[str]]:
        """Start from the weights of `other`: names of what begins anew, and of what of `other` is left behind.

        Raises DataError where nothing fits.
        """
        if other.family != self.family:
            raise DataError(f"is of the family {other.family}, not {self.family}; name its --family, or other weights")
        if other.size != self.size:
            raise DataError(f"is of another size ({other.size}) than {self.size}; name its --size")
        given, left = other.state_dict(), []
        for name, value in self.state_dict().items():
            if name in given and given[name].shape == value.shape:
                value.copy_(given[name])
            else:
                left.append(name)
        return left, []

    @classmethod
    def begun(cls, size: str, taxonomy: Taxonomy, **options: Any) -> Self:
        """A network with random weights. options: what only some families know (`detach`, `variances`); others ignore it."""
        return cls(size, taxonomy)

    @classmethod
    def restored(cls, size: str, taxonomy: Taxonomy, state: Mapping[str, Tensor]) -> Self:
        """The network of a state dict, in evaluation mode. Raises RuntimeError or KeyError where it is of another one."""
        network = cls(size, taxonomy)
        network.load_state_dict(state)
        return network.eval()
