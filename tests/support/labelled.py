"""Small data sets in the published layout for tests, written by hand and not by the code under test."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

KEYS = ("cell_size", "nuclear_chromatio", "nuclear_shape", "nucleolus", "cytoplasm", "cytoplasmic_basophilia", "cytoplasmic_vacuoles")
CLASSES = (
    "None", "Myeloblast", "Lymphoblast", "Neutrophil", "Atypical lymphocyte", "Promonocyte", "Monoblast", "Lymphocyte", "Myelocyte",
    "Abnormal promyelocyte", "Monocyte", "Metamyelocyte", "Eosinophil", "Basophil",
)  # fmt: skip
SIZE_WH = (64, 48)


@dataclass(frozen=True)
class Cell:
    """One label: class code, box in px, attribute codes as JSON has them (4 not applicable, -1 unknown)."""

    code: int
    box: tuple[float, float, float, float]
    values: tuple[int, ...] = (1, 0, 1, 0, 1, 0, 0)

    def txt(self, columns: int = 12, wh: tuple[int, int] = SIZE_WH) -> str:
        x, y, w, h = self.box
        shares = ((x + w / 2) / wh[0], (y + h / 2) / wh[1], w / wh[0], h / wh[1])
        values = [2] * 7 if all(v == 4 for v in self.values) else list(self.values)
        return " ".join([str(self.code), *(f"{v:.6f}" for v in shares), *map(str, values[12 - columns : 7] if columns > 5 else [])])

    def annotation(self, number: int, image: int) -> dict[str, Any]:
        named = {"category_id": self.code, "category_name": CLASSES[self.code]}
        box = {"bbox": list(self.box), "area": round(self.box[2] * self.box[3], 2), "iscrowd": 0}
        return {"id": number, "image_id": image, **named, **box, **dict(zip(KEYS, self.values, strict=True))}


ARTEFACT = Cell(0, (40, 30, 10, 8), (4,) * 7)
BLAST = Cell(1, (4, 4, 20, 18), (2, 0, 1, 1, 0, 1, 0))
NEUTROPHIL = Cell(3, (30, 10, 15, 16))

Fields = Mapping[str, Sequence[Cell] | None]
"""Cells by picture name; None: a picture without label."""


def picture(path: Path, seed: int = 0, wh: tuple[int, int] = SIZE_WH) -> None:
    """A picture of noise, another for each name and seed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng([seed, *path.name.encode()])
    assert cv2.imwrite(str(path), rng.integers(0, 255, (wh[1], wh[0], 3), np.uint8))


def coco(fields: Fields) -> dict[str, Any]:
    """The JSON of some fields."""
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for name, cells in fields.items():
        if cells is None:
            continue
        images.append({"id": len(images) + 1, "file_name": name, "width": SIZE_WH[0], "height": SIZE_WH[1]})
        annotations += [cell.annotation(len(annotations) + n, len(images)) for n, cell in enumerate(cells, start=1)]
    return {"images": images, "annotations": annotations, "categories": [{"id": n, "name": c} for n, c in enumerate(CLASSES)]}


def write_json(root: Path, split: str, data: Mapping[str, Any]) -> Path:
    """A label file with one image or annotation a line; line 1 is the brace, 2 opens the images."""
    lines = ["{"]
    for key in ("images", "annotations", "categories"):
        values = data.get(key, [])
        lines += [f'"{key}": [', *(json.dumps(v) + ("," if n < len(values) - 1 else "") for n, v in enumerate(values))]
        lines.append("]" if key == "categories" else "],")
    file = root / "json_labels" / f"{split}.json"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("\n".join([*lines, "}"]), encoding="utf-8")
    return file


def write_txt(root: Path, split: str, fields: Fields, columns: int = 12) -> Path:
    folder = root / "txt_labels" / "AttriDet" / split
    folder.mkdir(parents=True, exist_ok=True)
    for name, cells in fields.items():
        if cells is not None:
            (folder / f"{Path(name).stem}.txt").write_text("".join(cell.txt(columns) + "\n" for cell in cells), encoding="utf-8")
    return folder


def write_subset(root: Path, splits: Mapping[str, Fields], *, json_labels: bool = True, txt: int = 12) -> Path:
    """A whole subset: pictures, JSON, TXT of `txt` columns (0: none)."""
    for split, fields in splits.items():
        for name in fields:
            picture(root / "Images" / split / name)
        if json_labels:
            write_json(root, split, coco(fields))
        if txt:
            write_txt(root, split, fields, txt)
    return root


def line_of(file: Path, words: str) -> int:
    """The first line of a file that holds `words`."""
    return next(n for n, line in enumerate(file.read_text(encoding="utf-8").splitlines(), start=1) if words in line)
