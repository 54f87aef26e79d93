"""What is labelled in one picture, in a line, for the tests of detector families."""

from __future__ import annotations

import torch

from engines.families.base import Truth


def truth_of(boxes: list[list[float]], classes: list[int], ignored: list[list[float]] | None = None) -> Truth:
    """Boxes and regions to ignore in px, x1 y1 x2 y2; attributes unknown."""
    corners, regions = (torch.tensor(rows, dtype=torch.float32).view(-1, 4) for rows in (boxes, ignored or []))
    return Truth(corners, torch.tensor(classes, dtype=torch.int64), torch.full((len(classes), 7), -1), regions)
