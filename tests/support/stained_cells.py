"""Fields of drawn cells of four kinds in the published layout, some pictures a patient, stained and lit otherwise in each folder."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from labelled import Cell, coco, write_json

from engines.detections import Image

KINDS = (1, 3, 7, 0)
"""Myeloblast, neutrophil, lymphocyte, artefact: code of each drawn kind."""
SIDE = 44
_KNOWN = (2, 0, 1, 1, 0, 1, 0)


def draw_cell(image: Image, kind: int, x: int, y: int, rng: np.random.Generator) -> None:
    """One cell around x, y: a large open nucleus; three dark lobes in pink; a small dark nucleus in blue; a brown smudge."""
    r = int(rng.integers(17, 20))
    if kind == 1:
        cv2.circle(image, (x, y), r, (150, 70, 130), -1)
        cv2.circle(image, (x + 4, y - 4), 4, (190, 120, 170), -1)
    elif kind == 3:
        cv2.circle(image, (x, y), r, (190, 170, 235), -1)
        for turn in range(3):
            angle = 2.1 * turn + rng.uniform(0, 1)
            cv2.circle(image, (x + int(8 * np.cos(angle)), y + int(8 * np.sin(angle))), 6, (110, 30, 80), -1)
    elif kind == 7:
        cv2.circle(image, (x, y), r, (225, 190, 160), -1)
        cv2.circle(image, (x, y), 9, (100, 20, 60), -1)
    else:
        cv2.ellipse(image, (x, y), (r, 8), float(rng.integers(180)), 0, 360, (40, 90, 130), -1)


def write_stained(
    root: Path,
    patients: tuple[str, ...],
    pictures: int = 3,
    kinds: tuple[int, ...] = KINDS,
    tint: tuple[float, float, float] = (1, 1, 1),
) -> Path:
    """`pictures` fields of each patient with six cells each, the kinds in turn. tint: gains of blue, green and red."""
    fields: dict[str, list[Cell]] = {}
    rng = np.random.default_rng(sum(map(ord, root.name)))
    number = 0
    for patient in patients:
        for field in range(pictures):
            image = np.full((200, 280, 3), (232, 226, 236), np.uint8)
            cells = []
            for place in range(6):
                kind = kinds[number % len(kinds)]
                number += 1
                x, y = 48 + 90 * (place % 3) + int(rng.integers(-8, 9)), 52 + 94 * (place // 3) + int(rng.integers(-8, 9))
                draw_cell(image, kind, x, y, rng)
                box = (float(x - SIDE // 2), float(y - SIDE // 2), float(SIDE), float(SIDE))
                cells.append(Cell(kind, box, _KNOWN if kind else (4,) * 7))
            stained = image * np.array(tint) + rng.normal(0, 5, image.shape)
            name = f"{patient}_{field + 1}_1_400_AML.png"
            fields[name] = cells
            path = root / "Images/train" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            assert cv2.imwrite(str(path), stained.clip(0, 255).astype(np.uint8))
    labels = coco(fields)
    for each in labels["images"]:
        each.update(width=280, height=200)
    write_json(root, "train", labels)
    return root
