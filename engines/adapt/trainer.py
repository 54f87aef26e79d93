"""The step of adaptation: labelled source pictures as ever, and beside them what the network believes of unlabelled target ones.

The loop, its schedule, checkpoints and resume are those of `engines.training.loop`; mixing is in `confmix` and `daca`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from engines.adapt import confmix, daca
from engines.adapt.pseudo import Found, delta, divide, pseudo_labels, targets
from engines.adapt.recolour import recolour
from engines.data.augment import Sample
from engines.decode import Thresholds
from engines.detections import Image
from engines.errors import EnginesError
from engines.families import parallel
from engines.families.attridet.attridet import AttriDet, AttriDetLearner
from engines.families.base import Batch
from engines.taxonomy import LEUKEMIA_ATTRI, Taxonomy
from engines.training.dataset import Item, TrainingSet, collate
from engines.training.draws import EpochDraw, Part
from engines.training.loop import Run, Trainer
from engines.training.sync_norm import repeated

Method = Literal["source-only", "confmix", "daca"]
METHODS: tuple[Method, ...] = ("source-only", "confmix", "daca")


LEAST_TAUGHT = 0.1
"""Share of the steps in which the target must teach, else the run is no adaptation."""


class NotTaughtError(EnginesError):
    """A run is over in which the target hardly taught. Lower the confidence, or start from a network that finds cells there."""

    exit_code = 1


@dataclass(frozen=True)
class Adaptation:
    """How target pictures are used; the defaults are what held on blood film (docs/experiments.md), `published` what the papers say.

    teacher: who makes the pseudo-labels: the network's average in evaluation mode ("ema"), or the network as it is in this step, in
        training mode ("student", as published): its normalisation then follows how many cells a field happens to hold.
    source_boxes: what a mixed picture says of its source part: the labels ("truth"), or pseudo-labels, as published.
    confidence: score from which a box becomes a pseudo-label; None: the published .25 for ConfMix, .1 for DACA. At these, red cells
        become pseudo-labels before long, and the network believes itself.
    unsure: a quadrant with a box that scores more than this, but too little for a pseudo-label, is not learnt from, since the cell
        there would be learnt as background; None: it is, as published.
    weight: of the target's loss. recolour: share of source pictures that take on, more or less, the colours of the target picture
        beside them; published: none. target_crop: share of target pictures cut to a window at their own scale, where the network will
        see them at that scale; the others are shrunk to the training side, as published.
    """

    method: Method = "confmix"
    teacher: Literal["student", "ema"] = "ema"
    source_boxes: Literal["pseudo", "truth"] = "truth"
    confidence: float | None = 0.7
    weight: float = 1.0
    recolour: float = 0.7
    target_crop: float = 0.0
    unsure: float | None = None

    @classmethod
    def published(cls, method: Method) -> Adaptation:
        """As the papers have it (in the corrected version of the mixing)."""
        return cls(method, "student", "pseudo", None, 1.0, 0.0)


@dataclass(frozen=True)
class PairedBatch(Batch):
    """A source batch, and as many target pictures (B, 3, H, W) uint8 RGB whose labels, if there are any, nobody looks at."""

    target: Tensor


@dataclass(frozen=True, eq=False)
class Made:
    """Pictures made of the target's, (B', 3, H, W) uint8, and their targets and regions to ignore, as the loss takes them."""

    images: Tensor
    targets: Tensor
    ignored: Tensor | None
    sure: float
    boxes: int

    @property
    def gamma(self) -> float:
        """Weight of the loss: the share of boxes that are sure (`sure` of `boxes`)."""
        return self.sure / max(self.boxes, 1)


def shared(own: Made | None) -> tuple[Made | None, bool]:
    """What this process learns from of what all processes made, and whether each learns from all of it; None where nobody made any.

    Normalisation is over all processes, so that each must have a picture. Where one has none, all take all, and each counts for its
    share. The weight is that of all pictures.
    """
    counts = parallel.gathered([0 if own is None else len(own.images), 0 if own is None else own.boxes])
    if not any(n for n, _ in counts):
        return None, False
    if len(counts) == 1:
        return own, False
    if all(n for n, _ in counts):
        assert own is not None
        sure = sum(parallel.everyone(own.sure))
        return replace(own, sure=sure, boxes=sum(boxes for _, boxes in counts)), False
    some = [made for made in parallel.everyone(own) if made is not None]
    firsts = np.cumsum([0, *(len(made.images) for made in some)])
    return (
        Made(
            torch.cat([made.images for made in some]),
            torch.cat([_numbered(made.targets, int(first)) for made, first in zip(some, firsts, strict=False)]),
            None
            if some[0].ignored is None
            else torch.cat([_numbered(made.ignored, int(first)) for made, first in zip(some, firsts, strict=False)]),
            sum(made.sure for made in some),
            sum(made.boxes for made in some),
        ),
        True,
    )


def _numbered(rows: Tensor | None, first: int) -> Tensor:
    """Rows whose first column is a picture's number, counted from another."""
    assert rows is not None
    return torch.cat([rows[:, :1] + first, rows[:, 1:]], 1)


class PairedSet(Dataset[tuple[Item, Item]]):
    """Item i: sample i of the source and of the target, a pure function of seed, epoch and i. The target must not be the shorter."""

    def __init__(self, source: TrainingSet, target: TrainingSet, recoloured: float = 0.0) -> None:
        self.source, self.target, self.recoloured = source, target, recoloured

    def set_epoch(self, epoch: int) -> None:
        """Shuffle both."""
        self.source.set_epoch(epoch)
        self.target.set_epoch(epoch)

    def __len__(self) -> int:
        return len(self.source)

    def __getitem__(self, position: int) -> tuple[Item, Item]:
        source, target = self.source[position], self.target[position]
        rng = np.random.default_rng([self.source.seed, self.source.epoch, position, 2])
        if rng.random() < self.recoloured:
            picture, model = (row[0].permute(1, 2, 0).numpy() for row in (source, target))
            changed = recolour(np.ascontiguousarray(picture), np.ascontiguousarray(model), float(rng.uniform(0.3, 1)))
            source = (torch.from_numpy(changed.transpose(2, 0, 1).copy()), *source[1:])
        return source, target


def collate_pairs(items: Sequence[tuple[Item, Item]]) -> PairedBatch:
    """Stack source and target samples."""
    source = collate([s for s, _ in items])
    return PairedBatch(**vars(source), target=torch.stack([t[0] for _, t in items]))


class AdaptTrainer(Trainer):
    """A `Trainer` whose batches also bring target pictures. `source-only` trains the same steps without looking at them.

    samples: labelled pictures of the source. targets: pictures of the target; their boxes are not used. draw, target_draw: which of
    them an epoch shows; all without. The network has variances.
    """

    def __init__(
        self,
        run: Run,
        adaptation: Adaptation,
        samples: Sequence[Sample],
        unlabelled: Sequence[Sample],
        taxonomy: Taxonomy = LEUKEMIA_ATTRI,
        draw: EpochDraw | None = None,
        target_draw: EpochDraw | None = None,
    ) -> None:
        super().__init__(replace(run, variances=True), samples, taxonomy, draw)
        self.adaptation = adaptation
        self.target_pictures = len(unlabelled)
        if adaptation.method == "source-only" and not adaptation.recolour:
            return
        blank = [Sample(s.image, s.boxes[:0], s.labels[:0]) for s in unlabelled]
        target_draw = (target_draw or EpochDraw((Part(0, len(blank), len(blank)),))).at_least(len(self.data))
        # Tiles of a patchwork are cut round labelled cells; whole fields are what the target has.
        hyper = replace(run.hyper, patchwork=0.0, crop=adaptation.target_crop)
        self.data: Any = PairedSet(self.data, TrainingSet(blank, run.imgsz, hyper, run.seed + 1, target_draw), adaptation.recolour)
        self.collate = collate_pairs

    def _settings(self) -> dict[str, Any]:
        return {**super()._settings(), "adaptation": asdict(self.adaptation)}

    def conclude(self) -> None:
        """Raises NotTaughtError where the target hardly taught."""
        rows = [row for row in self.history if "target_steps" in row]
        steps, taught = len(rows) * self.batches, round(sum(row["target_steps"] for row in rows))
        if taught < LEAST_TAUGHT * steps:
            found = int(sum(row["pseudo_labels"] for row in rows))
            what = f"no box of {self.target_pictures} target pictures" if not found else f"only {found} boxes of the target pictures"
            alone = "from the source alone" if not taught else f"from the target in {taught} of {steps} steps only"
            raise NotTaughtError(
                f"{what} passed {self.confidence:g}: this run learnt {alone}. Lower --confidence, or start from a network that "
                f"finds cells on the target (attridet evaluate shows it); {self.run.folder}/last.pt is kept"
            )

    @property
    def taught_by_epoch(self) -> str:
        """How many target pictures gave how many pseudo-labels, epoch by epoch, in words; empty for a run without any target."""
        rows = [row for row in self.history if "target_pictures" in row]
        if not rows:
            return ""
        shown = self.batches * self.run.batch
        each = (
            f"epoch {row['epoch']:.0f}: {row['pseudo_labels']:.0f} of {row['target_pictures']:.0f}, in {row['target_steps']:.0f} steps"
            for row in rows
        )
        return f"pseudo-labels, and of how many of {shown} target pictures shown in {self.batches} steps: {'; '.join(each)}"

    @property
    def confidence(self) -> float:
        """Score from which a box becomes a pseudo-label."""
        return self._published.confidence if self.adaptation.confidence is None else self.adaptation.confidence

    @property
    def _attridet(self) -> AttriDetLearner:
        """Boxes that are mixed and believed are those of an AttriDet with variances."""
        assert isinstance(self.learner, AttriDetLearner)
        return self.learner

    @property
    def _published(self) -> Thresholds:
        return confmix.THRESHOLDS if self.adaptation.method == "confmix" else daca.THRESHOLDS

    def joint_loss(self, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """The source's joint loss, and weight x the loss of what was made of the target (part `target`)."""
        total, parts = super().joint_loss(batch)
        if not isinstance(batch, PairedBatch) or self.adaptation.method == "source-only":
            return total, parts
        count = self.processes.count
        believed = self._believed(batch.target)
        own = self._mixed(batch, believed) if self.adaptation.method == "confmix" else self._composed(batch, believed)
        made, alike = shared(own)
        # Sums over processes follow: what is one number of the step is divided among them.
        taught = {
            "pseudo_labels": torch.tensor(float(sum(len(sure) for sure, _ in believed))),
            "target_steps": torch.tensor(float(made is not None) / count),
            "target_pictures": torch.tensor(float(sum(len(sure) > 0 for sure, _ in believed))),
        }
        if made is None:
            return total, {**parts, "target": torch.zeros(()), "gamma": torch.zeros(()), **taught}
        learner = self._attridet
        with repeated(count if alike else 1):
            levels, _ = learner.forward(learner.attridet, made.images)
        loss, _ = learner.detection_loss(levels, made.targets.to(self.device), made.ignored)
        # The loss is a sum over pictures: where some gave nothing to learn from, the others do not count for more.
        part = made.gamma * self.adaptation.weight * loss / (count if alike else 1)
        told = {"target": part.detach() / (len(batch.images) * count), "gamma": torch.tensor(made.gamma / count)}
        return total + part, {**parts, **told, **taught}

    def _believed(self, images: Tensor) -> list[tuple[Found, Found]]:
        """For each picture of a batch the teacher's pseudo-labels, and the boxes of which it is unsure (see `Adaptation.unsure`)."""
        adaptation = self.adaptation
        lowest = min(self.confidence, adaptation.unsure or self.confidence)
        model = self.model if adaptation.teacher == "student" else self.ema.model
        assert isinstance(model, AttriDet)
        with torch.no_grad():
            levels, _ = self._attridet.forward(model, images)
        trust = delta(self.iteration / max(self.total_iterations, 1))
        size = images.shape[3], images.shape[2]
        found = pseudo_labels(model, levels, replace(self._published, confidence=lowest), trust)
        return [divide(Found(f.boxes.clip(0, (*size, *size)), f.classes, f.scores), self.confidence) for f in found]

    def _mixed(self, batch: PairedBatch, target: Sequence[tuple[Found, Found]]) -> Made | None:
        """ConfMix's pictures; None where the teacher found nothing in any target picture."""
        hw = (batch.images.shape[2], batch.images.shape[3])
        pseudo = self.adaptation.source_boxes == "pseudo"
        source = [sure for sure, _ in self._believed(batch.images)] if pseudo else truths(batch)
        images: list[Tensor] = []
        found, ignored, sure, boxes = [], [], 0.0, 0
        for number, (one, unsure) in enumerate(target):
            quadrant = confmix.surest(one, hw, unsure)
            if quadrant is None:
                continue
            mixed, gamma = confmix.mix(source[number], one, quadrant, hw)
            image = batch.images[number].clone()
            where = (slice(None), *quadrant.slices(hw))
            image[where] = batch.target[number][where]
            regions = batch.ignored[batch.ignored[:, 0] == number, 1:].numpy()
            ignored.append(np.pad(confmix.left_regions(regions, quadrant, hw), ((0, 0), (1, 0)), constant_values=len(images)))
            images.append(image)
            found.append(mixed)
            sure, boxes = sure + gamma * len(mixed), boxes + len(mixed)
        if not images:
            return None
        return Made(torch.stack(images), targets(found, hw), torch.from_numpy(np.concatenate(ignored)), sure, boxes)

    def _composed(self, batch: PairedBatch, target: Sequence[tuple[Found, Found]]) -> Made | None:
        """DACA's pictures, without a part of the source; None where the teacher found nothing in any target picture."""
        hw = (batch.images.shape[2], batch.images.shape[3])
        rng = np.random.default_rng([self.run.seed, 7, self.iteration, *([self.processes.rank] if self.processes.rank else [])])
        images, boxes = [], []
        for number, (one, unsure) in enumerate(target):
            corner = daca.surest(one, hw, unsure)
            if corner is None:
                continue
            local = daca.cut(one, corner, hw)
            tile: Image = np.ascontiguousarray(batch.target[number].permute(1, 2, 0).numpy()[corner.slices(hw)])
            colour = batch.images[number].float().mean((1, 2)).round().byte().numpy()
            ground = np.broadcast_to(colour, (*hw, 3)).copy()
            image, found = daca.compose([daca.augmented(rng, tile, local) for _ in daca.CORNERS], ground)
            if len(found):
                images.append(torch.from_numpy(image.transpose(2, 0, 1).copy()))
                boxes.append(found)
        return Made(torch.stack(images), targets(boxes, hw), None, 1.0, 1) if images else None


def truths(batch: Batch) -> list[Found]:
    """The labels of a batch in the form of pseudo-labels, with score 1."""
    rois, classes = batch.rois().double().numpy(), batch.targets[:, 1].long().numpy()
    made = []
    for number in range(len(batch.images)):
        own = rois[:, 0] == number
        made.append(Found(rois[own, 1:], classes[own], np.ones(int(own.sum()), np.float32)))
    return made
