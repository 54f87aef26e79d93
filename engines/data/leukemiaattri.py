"""Readers of the LeukemiaAttri layout as published: COCO JSON or TXT labels, seven attributes, their odd spellings and codes.

Nothing is augmented or resized here. Layout: `Images/{split}/…`, `json_labels/{split}.json` (or under `WBC_detection/`),
`txt_labels/AttriDet/{split}/<stem>.txt`.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from engines.detections import Float32, Image, Int64
from engines.errors import DataError
from engines.spec import LEUKEMIA_ATTRI, UNKNOWN, Taxonomy

IMAGE_SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff"})

JSON_ATTRIBUTE_KEYS = {
    "cell_size": ("cell_size",),
    "nuclear_chromatin": ("nuclear_chromatio", "nuclear_chromatin"),  # spelled so in the published files
    "nuclear_shape": ("nuclear_shape",),
    "nucleolus": ("nucleolus", "nucleus"),
    "cytoplasm": ("cytoplasm",),
    "cytoplasmic_basophilia": ("cytoplasmic_basophilia",),
    "cytoplasmic_vacuoles": ("cytoplasmic_vacuoles",),
}
"""Attribute key of the taxonomy to the names it bears in JSON files, first found wins."""

_JSON_NOT_APPLICABLE = 4
_TXT_NOT_APPLICABLE = 2


@dataclass(frozen=True, eq=False)
class LabelledImage:
    """One picture and its truth.

    size_hw: height and width in px. boxes_px: (N, 4) float32, x1 y1 x2 y2. classes: (N,) int64.
    attributes: (N, A) int64, one column for each attribute of the taxonomy, -1 where unknown or not applicable.
    """

    path: Path
    size_hw: tuple[int, int]
    boxes_px: Float32
    classes: Int64
    attributes: Int64

    def read(self) -> Image:
        """The picture as BGR; DataError if it cannot be decoded."""
        image = cv2.imread(str(self.path), cv2.IMREAD_COLOR)
        if image is None:
            raise DataError(f"{self.path}: cannot be decoded as an image; replace or remove it")
        return image  # type: ignore[return-value]  # cv2's stub names a wider array type


def read_split(root: Path, split: str, taxonomy: Taxonomy = LEUKEMIA_ATTRI) -> list[LabelledImage]:
    """Every picture of one split with its labels, sorted by name; unlabelled pictures come with no boxes.

    Raises DataError naming the folder, file and line if the split does not exist or a label is impossible.
    """
    folder = _image_folder(root, split)
    paths = sorted(p for p in folder.iterdir() if p.suffix.lower() in IMAGE_SUFFIXES)
    if not paths:
        raise DataError(f"{folder}: holds no picture; supported: {', '.join(sorted(IMAGE_SUFFIXES))}")
    labels = _json_file(root, split)
    if labels is not None:
        return _from_json(labels, paths, taxonomy)
    text_folder = root / "txt_labels" / "AttriDet" / split
    if text_folder.is_dir():
        return [_from_txt(path, text_folder / f"{path.stem}.txt", taxonomy) for path in paths]
    return [_labelled(path, image_size_hw(path), [], [], [], taxonomy) for path in paths]


def has_labels(root: Path, split: str) -> bool:
    """Whether the split bears any label file at all."""
    return _json_file(root, split) is not None or (root / "txt_labels" / "AttriDet" / split).is_dir()


def image_size_hw(path: Path) -> tuple[int, int]:
    """Height and width of a picture on disk, in px; DataError if it cannot be decoded."""
    image = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    if image is None:
        raise DataError(f"{path}: cannot be decoded as an image; replace or remove it")
    return int(image.shape[0]), int(image.shape[1])


def _image_folder(root: Path, split: str) -> Path:
    if not root.is_dir():
        raise DataError(f"{root}: no such folder; name a folder that holds Images/{split}")
    for name in ("Images", "images"):
        if (root / name / split).is_dir():
            return root / name / split
    present = sorted(p.name for parent in ("Images", "images") for p in (root / parent).glob("*") if p.is_dir())
    hint = f"splits there: {', '.join(present)}" if present else "the layout is Images/<split>/<picture>"
    raise DataError(f"{root}: no Images/{split}; {hint}")


def _json_file(root: Path, split: str) -> Path | None:
    for candidate in (root / "json_labels" / f"{split}.json", root / "json_labels" / "WBC_detection" / f"{split}.json"):
        if candidate.is_file():
            return candidate
    return None


def _from_json(file: Path, paths: list[Path], taxonomy: Taxonomy) -> list[LabelledImage]:
    try:
        data = json.loads(file.read_text(encoding="utf-8"))
        sizes = {int(i["id"]): (str(i["file_name"]), (int(i["height"]), int(i["width"]))) for i in data["images"]}
        names = {int(c["id"]): str(c["name"]) for c in data["categories"]}
        grouped: dict[int, list[dict[str, Any]]] = defaultdict(list)
        for annotation in data["annotations"]:
            grouped[int(annotation["image_id"])].append(annotation)
    except json.JSONDecodeError as error:
        raise DataError(f"{file}:{error.lineno}: not JSON: {error.msg}") from error
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(f"{file}: not a COCO detection file: {error!r}") from error
    class_of = {name.casefold(): index for index, name in enumerate(taxonomy.classes)}
    by_name = {name: (key, size) for key, (name, size) in sizes.items()}
    found = []
    for path in paths:
        if path.name not in by_name:
            found.append(_labelled(path, image_size_hw(path), [], [], [], taxonomy))
            continue
        key, size = by_name[path.name]
        boxes, classes, attributes = [], [], []
        for annotation in grouped.get(key, ()):
            where = f"{file}: annotation {annotation.get('id', '?')}"
            name = str(annotation.get("category_name") or names.get(int(annotation["category_id"]), "?"))
            if name.casefold() not in class_of:
                raise DataError(f"{where}: unknown class '{name}'")
            x, y, w, h = (float(v) for v in annotation["bbox"])
            boxes.append((x, y, x + w, y + h))
            classes.append(class_of[name.casefold()])
            attributes.append(_json_attributes(annotation, taxonomy, where))
        found.append(_labelled(path, size, boxes, classes, attributes, taxonomy))
    return found


def _json_attributes(annotation: dict[str, Any], taxonomy: Taxonomy, where: str) -> list[int]:
    row = []
    for attribute in taxonomy.attributes:
        keys = JSON_ATTRIBUTE_KEYS.get(attribute.key, (attribute.key,))
        value = next((annotation[k] for k in keys if annotation.get(k) is not None), UNKNOWN)
        code = int(value)
        if code == _JSON_NOT_APPLICABLE:
            code = UNKNOWN
        if not (code == UNKNOWN or 0 <= code < len(attribute.values)):
            raise DataError(f"{where}: {attribute.name} is {value}; allowed: 0 to {len(attribute.values) - 1}, 4 or -1")
        row.append(code)
    return row


def _from_txt(path: Path, file: Path, taxonomy: Taxonomy) -> LabelledImage:
    height, width = image_size_hw(path)
    boxes, classes, attributes = [], [], []
    lines = file.read_text(encoding="utf-8").splitlines() if file.is_file() else []
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        where = f"{file}:{number}"
        try:
            values = [float(v) for v in line.split()]
        except ValueError as error:
            raise DataError(f"{where}: not numbers: '{line.strip()}'") from error
        if len(values) not in (5, 11, 12):
            raise DataError(f"{where}: {len(values)} columns; expected 5, 11 or 12")
        index = int(values[0])
        if not 0 <= index < len(taxonomy.classes):
            raise DataError(f"{where}: class {index}; there are {len(taxonomy.classes)}")
        cx, cy, w, h = values[1:5]
        boxes.append(((cx - w / 2) * width, (cy - h / 2) * height, (cx + w / 2) * width, (cy + h / 2) * height))
        classes.append(index)
        attributes.append(_txt_attributes(values[5:], taxonomy, where))
    return _labelled(path, (height, width), boxes, classes, attributes, taxonomy)


def _txt_attributes(values: list[float], taxonomy: Taxonomy, where: str) -> list[int]:
    count = len(taxonomy.attributes)
    # 11 columns leave out the first attribute (spec 2.1); all columns 2 means not applicable.
    codes = [UNKNOWN] * (count - len(values)) + [int(v) for v in values]
    if values and all(v == _TXT_NOT_APPLICABLE for v in values):
        return [UNKNOWN] * count
    for position, (attribute, code) in enumerate(zip(taxonomy.attributes, codes, strict=True)):
        if code == _TXT_NOT_APPLICABLE and len(attribute.values) == 2:
            codes[position] = UNKNOWN
        elif not (code == UNKNOWN or 0 <= code < len(attribute.values)):
            raise DataError(f"{where}: {attribute.name} is {code}; allowed: 0 to {len(attribute.values) - 1}, or 2 for unknown")
    return codes


def _labelled(
    path: Path,
    size_hw: tuple[int, int],
    boxes: Iterable[tuple[float, float, float, float]],
    classes: Iterable[int],
    attributes: Iterable[list[int]],
    taxonomy: Taxonomy,
) -> LabelledImage:
    return LabelledImage(
        path,
        size_hw,
        np.asarray(list(boxes), np.float32).reshape(-1, 4),
        np.asarray(list(classes), np.int64),
        np.asarray(list(attributes), np.int64).reshape(-1, len(taxonomy.attributes)),
    )
