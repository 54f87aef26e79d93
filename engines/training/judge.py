"""Judges the network while it is trained: AP by YOLOv5 v7.0's rule and the attributes' F1 on labelled pictures, straight from torch.

What a finished bundle is judged by is `engines.evaluation`; the measures are the same.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby

import numpy as np
import torch

from engines.data.augment import Sample
from engines.decode import AP_THRESHOLDS, Candidates, Thresholds, candidates
from engines.detections import Float32, Int64
from engines.evaluation.attributes import mean_scores, pair_with_truth, score_attributes
from engines.evaluation.average_precision import Judged
from engines.evaluation.detection import yolo_ap
from engines.families.base import MULTIPLE, Network
from engines.preprocess import Letterbox, letterbox, letterbox_geometry, to_planes

WORKING_POINT = Thresholds()
"""What a technician would be shown."""
_BATCH = {"cpu": 4, "cuda": 32}
"""Pictures that go through the network together."""


@dataclass(frozen=True, eq=False)
class JudgedSample:
    """What the network says of one picture, in px of the picture, beside its labels.

    judged: detections for AP. shown: detections at `WORKING_POINT`. partner (M,): which of them found the labelled cell, -1 none.
    attributes: (M, logits) float32 probabilities, NaN where the cell was not found.
    """

    judged: Judged
    shown: Candidates
    partner: Int64
    attributes: Float32


@dataclass(frozen=True, eq=False)
class FolderJudge:
    """Scores on named sets of pictures; fitness is the mean over the sets of .1 mAP50 + .9 mAP50-95 (spec 1.7).

    imgsz: px of a picture's longer side in the network's input; smaller pictures are enlarged to it if `scale_up`.
    """

    sets: Mapping[str, Sequence[Sample]]
    imgsz: int
    scale_up: bool = False

    def __call__(self, model: Network, epoch: int) -> dict[str, float]:
        """Scores of the averaged network: NAME_map50, NAME_map, NAME_attr_f1 for each set, and fitness."""
        scores: dict[str, float] = {}
        fitness = []
        for name, samples in self.sets.items():
            seen = judge_samples(model, samples, self.imgsz, self.scale_up)
            ap = yolo_ap([one.judged for one in seen])
            labels = np.concatenate([sample.labels[:, 1:] for sample in samples])
            told = np.concatenate([one.attributes for one in seen])
            attributes = mean_scores(score_attributes(labels, told, model.taxonomy))
            scores |= {f"{name}_map50": ap.map50, f"{name}_map": ap.map5095, f"{name}_attr_f1": attributes["f1"]}
            fitness.append(0.1 * ap.map50 + 0.9 * ap.map5095)
        return {**scores, "fitness": float(np.mean(fitness))}


def judge_samples(model: Network, samples: Sequence[Sample], imgsz: int, scale_up: bool) -> list[JudgedSample]:
    """What `model`, in evaluation mode, says of each picture; those of one shape go through it together, without a square border."""
    seen: dict[int, JudgedSample] = {}
    batch = _BATCH[next(model.parameters()).device.type]
    for numbers, geometries in _alike([sample.image.shape[:2] for sample in samples], imgsz, scale_up, batch):
        seen.update(zip(numbers, _judge_batch(model, [samples[n] for n in numbers], geometries), strict=True))
    return [seen[number] for number in range(len(samples))]


def _alike(sizes_hw: Sequence[tuple[int, int]], imgsz: int, scale_up: bool, batch: int) -> Iterator[tuple[list[int], list[Letterbox]]]:
    """Batches of pictures that lie alike in the input: each on the smallest canvas of whole strides that holds it.

    Only pictures with the same canvas share a batch, so that what is said of one depends neither on the others nor on the batch.
    """
    lying = [_on_canvas(letterbox_geometry(hw, (imgsz, imgsz), scale_up)) for hw in sizes_hw]
    order = sorted(range(len(lying)), key=lambda n: lying[n].out_hw)
    for _, group in groupby(order, key=lambda n: lying[n].out_hw):
        numbers = list(group)
        for start in range(0, len(numbers), batch):
            some = numbers[start : start + batch]
            yield some, [lying[n] for n in some]


def _on_canvas(geometry: Letterbox) -> Letterbox:
    height, width = (-(-side // MULTIPLE) * MULTIPLE for side in geometry.resized_hw)
    missing_h, missing_w = height - geometry.resized_hw[0], width - geometry.resized_hw[1]
    pad_xy = (missing_w / 2, missing_h / 2)
    return replace(geometry, out_hw=(height, width), pad_xy=pad_xy, left=missing_w // 2, top=missing_h // 2)


def judged_at(model: Network) -> tuple[Thresholds, Thresholds]:
    """Thresholds for AP and for what a technician would see, with the family's own suppression."""
    return replace(AP_THRESHOLDS, iou=max(AP_THRESHOLDS.iou, model.iou)), replace(WORKING_POINT, iou=model.iou)


@torch.no_grad()
def _judge_batch(model: Network, samples: Sequence[Sample], geometries: Sequence[Letterbox]) -> list[JudgedSample]:
    own = next(model.parameters())
    device, exact = own.device, own.dtype
    pixels = np.stack([to_planes(letterbox(sample.image, geometry)) for sample, geometry in zip(samples, geometries, strict=True)])
    rows_of, maps = model.look(torch.from_numpy(pixels).to(device, exact, memory_format=torch.channels_last))
    every_at, shown_at = judged_at(model)
    seen, regions = [], []
    for number, (rows, sample, geometry) in enumerate(zip(rows_of.cpu().numpy(), samples, geometries, strict=True)):
        every, shown = candidates(rows, every_at), candidates(rows, shown_at)
        truth = sample.boxes, sample.labels[:, 0], sample.ignored
        judged = Judged(geometry.to_frame(every.boxes_px), every.scores, every.classes, *truth)
        framed = Candidates(geometry.to_frame(shown.boxes_px), shown.scores, shown.classes)
        partner = pair_with_truth(framed.boxes_px, sample.boxes)
        told = np.full((len(partner), model.taxonomy.n_logits), np.nan, np.float32)
        seen.append(JudgedSample(judged, framed, partner, told))
        boxes = shown.boxes_px[partner[partner >= 0]]
        regions.append(np.concatenate([np.full((len(boxes), 1), number, np.float32), boxes], 1))
    rois = torch.from_numpy(np.concatenate(regions)).to(device, exact)
    if len(rois):
        told = model.describe(maps, rois).cpu().numpy()
        for one, part in zip(seen, np.split(told, np.cumsum([len(r) for r in regions])[:-1]), strict=True):
            one.attributes[one.partner >= 0] = part
    return seen
