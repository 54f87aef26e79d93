"""Four rendered pictures, and how well a detector of any family finds their cells: what each family must be able to learn."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import cv2
import numpy as np

from engines.decode import AP_THRESHOLDS, candidates
from engines.evaluation.average_precision import Judged
from engines.evaluation.detection import yolo_ap
from engines.film import Film, Microscope, labels
from engines.taxonomy import LEUKEMIA_ATTRI

if TYPE_CHECKING:
    import torch

    from engines.families.base import Network, Truth

SIDE_PX, SHRUNK = 128, 3
PLACES_UM = ((1040.0, 1000.0), (1170.0, 1000.0), (1300.0, 1000.0), (1430.0, 1000.0))


@functools.cache
def four_pictures() -> tuple[torch.Tensor, list[Truth]]:
    """Images (4, 3, 128, 128) RGB 0 to 1 with one to five cells each, and what is on them."""
    import torch

    from engines.families.base import Truth

    film, scope = Film(seed=7, case="AML"), Microscope("H", "C2", 40)
    images, truth = [], []
    for place in PLACES_UM:
        image, field = film.view(place, scope, (SHRUNK * SIDE_PX, SHRUNK * SIDE_PX))
        classes, attributes = labels(field, LEUKEMIA_ATTRI)
        kept = field.visible > 0.4
        small = cv2.cvtColor(cv2.resize(image, (SIDE_PX, SIDE_PX), interpolation=cv2.INTER_AREA), cv2.COLOR_BGR2RGB)
        images.append(torch.from_numpy(small).permute(2, 0, 1).float() / 255)
        arrays = field.boxes_px[kept] / SHRUNK, classes[kept], attributes[kept], np.zeros((0, 4), np.float32)
        truth.append(Truth(*(torch.from_numpy(array) for array in arrays)))
    return torch.stack(images), truth


def ap50(network: Network, images: torch.Tensor, truth: Sequence[Truth], by_type: bool = True) -> float:
    """Mean AP50 by YOLOv5's rule of what the network finds in these pictures, of whatever type without `by_type`; 0 to .995."""
    import torch

    network.eval()
    with torch.no_grad():
        rows = network.look(images)[0]
    thresholds, judged = replace(AP_THRESHOLDS, iou=max(network.iou, AP_THRESHOLDS.iou)), []
    for row, one in zip(rows, truth, strict=True):
        found = candidates(row.numpy(), thresholds)
        boxes, classes = one.boxes_px.numpy(), one.classes.numpy()
        if by_type:
            judged.append(Judged(found.boxes_px, found.scores, found.classes, boxes, classes))
        else:
            judged.append(Judged(found.boxes_px, found.scores, np.zeros_like(found.classes), boxes, np.zeros_like(classes)))
    return yolo_ap(judged).map50


def learn_by_heart(network: Network, images: torch.Tensor, truth: Sequence[Truth], most: int, rate: float = 1e-3) -> tuple[float, int]:
    """AP50 once it is above .9, or after `most` steps, and how many they were; all pictures in every step of AdamW.

    On one core: several would wait for each other where the machine is busy.
    """
    import torch

    threads, reached = torch.get_num_threads(), 0.0
    torch.set_num_threads(1)
    try:
        optimiser = torch.optim.AdamW(network.parameters(), lr=rate, weight_decay=1e-4)
        for step in range(1, most + 1):
            optimiser.param_groups[0]["lr"] = rate * min(1, step / 10)
            network.train()
            optimiser.zero_grad()
            torch.stack(list(network.losses(images, truth).values())).sum().backward()
            torch.nn.utils.clip_grad_norm_(network.parameters(), 10.0)
            optimiser.step()
            if step % 20 == 0 and (reached := ap50(network, images, truth)) > 0.9:
                return reached, step
        return reached, most
    finally:
        torch.set_num_threads(threads)
