"""Judges the network while it is trained: AP by YOLOv5's rule and the attributes' F1 on labelled pictures, straight from torch.

What a finished bundle is judged by is `engines.evaluation.folder`; the measures are the same.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from engines.data.augment import Sample
from engines.decode import Thresholds, candidates
from engines.detections import Float32
from engines.evaluation.attributes import mean_scores, pair_with_truth, score_attributes
from engines.evaluation.detection import Judged, yolo_ap
from engines.network import AttriDet
from engines.preprocess import prepare

FOR_AP = Thresholds(confidence=0.001, iou=0.6, max_detections=300, agnostic=False, multi_label=True)
"""What validation asks of suppression (spec 1.9)."""
_CONFIDENT = 0.25


@dataclass(frozen=True, eq=False)
class FolderJudge:
    """Scores on named sets of pictures; fitness is the mean over the sets of .1 mAP50 + .9 mAP50-95 (spec 1.7)."""

    sets: Mapping[str, Sequence[Sample]]
    imgsz: int

    def __call__(self, model: AttriDet, epoch: int) -> dict[str, float]:
        """Scores of the averaged network: NAME_map50, NAME_map, NAME_attr_f1 for each set, and fitness."""
        scores: dict[str, float] = {}
        fitness = []
        for name, samples in self.sets.items():
            judged, labels, told = [], [], []
            for sample in samples:
                one, probabilities = self._look(model, sample)
                judged.append(one)
                labels.append(sample.labels[:, 1:])
                told.append(probabilities)
            ap = yolo_ap(judged)
            attributes = mean_scores(score_attributes(np.concatenate(labels), np.concatenate(told), model.taxonomy))
            scores |= {f"{name}_map50": ap.map50, f"{name}_map": ap.map5095, f"{name}_attr_f1": attributes["f1"]}
            fitness.append(0.1 * ap.map50 + 0.9 * ap.map5095)
        return {**scores, "fitness": float(np.mean(fitness))}

    @torch.no_grad()
    def _look(self, model: AttriDet, sample: Sample) -> tuple[Judged, Float32]:
        """One picture's candidates beside its truth, and the attributes of the labelled cells that were found (NaN: not found)."""
        pixels, letterbox = prepare(sample.image, (self.imgsz, self.imgsz), False)
        device = next(model.parameters()).device
        levels, taps = model.forward_train(torch.from_numpy(pixels).to(device))
        found = candidates(model.decode(levels)[0].cpu().numpy(), FOR_AP)
        boxes = letterbox.to_frame(found.boxes_px)
        sure = np.flatnonzero(found.scores > _CONFIDENT)
        partner = pair_with_truth(boxes[sure], sample.boxes)
        told = np.full((len(sample.boxes), model.taxonomy.n_logits), np.nan, np.float32)
        hit = np.flatnonzero(partner >= 0)
        if len(hit):
            regions = torch.from_numpy(found.boxes_px[sure][partner[hit]]).to(device)
            rois = torch.cat([torch.zeros(len(hit), 1, device=device), regions], dim=1)
            told[hit] = model.attribute_probabilities(model.attribute_logits(taps, rois)).cpu().numpy()
        return Judged(boxes, found.scores, found.classes, sample.boxes, sample.labels[:, 0]), told
