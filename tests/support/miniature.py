"""A miniature of LeukemiaAttri as it is published: rendered film in all twelve subsets and every spelling of their folders.

    python -m tests.support.miniature OUT

writes OUT/LeukemiaAttri_Dataset and OUT/maps.json. No data from outside is needed; the same arguments give the same labels and maps.
What it shares with the download: splits train and test, never val; `Images` or `images`; JSON in `json_labels`, `WBC_detection`,
`WBC_Detection`, `json_labels/WBC_detection`, `Annotations`, or with the TXT in `labels.zip`; TXT of 12, 11 and 5 columns; ids 0..13 and
1..14; names in lower case; one subset in a folder of its microscope; L_10X_C1 empty; 40x and 10x as large as 100x but less sharp; the
same fields in all subsets; patient 6 in train of the H subsets and in test of the L subsets. Figures of it are about a drawing.
"""

from __future__ import annotations

import json
import shutil
import sys
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from engines.film import Film, Microscope, labels
from engines.film.optics import capture
from engines.film.slide import TILE_PX
from engines.film.texture import rng_of
from engines.taxonomy import LEUKEMIA_ATTRI
from tests.support.labelled import KEYS

TRAIN, TEST = ("1", "2", "3", "4"), ("5",)
MOVED = "6"
"""The patient that is train in one microscope's subsets and test in the other's."""
CASES: Mapping[str, str] = {"1": "AML", "2": "ALL", "3": "APML", "4": "CML", "5": "AML", "6": "CLL"}
"""What each patient's film shows."""
PUBLISHED = (
    "H_100X_C1", "H_100X_C2", "H_10X_C1", "H_10X_C2", "H_40X_C1", "H_40X_C2",
    "L_100X_C1", "L_100X_C2", "L_10X_C1", "L_10X_C2", "L_40X_C1", "L_40X_C2",
)  # fmt: skip
"""Names of the twelve subsets; `Miniature.subset` finds their folders."""

_UM_PER_PX, _MARGIN_PX = 0.25, 48
_WIDTH = {"C1": 0.068, "C2": 0.075}


@dataclass(frozen=True)
class _Style:
    """How one subset is published: its folder and spellings. whole: with all fields of a patient, not a few."""

    folder: str
    images: str = "Images"
    json: str | None = "json_labels"
    txt: Mapping[str, int] | None = None
    packed: bool = False
    first_id: int = 0
    class_name: bool = True
    lower: bool = True
    suffix: str = ".png"
    whole: bool = False


_STYLES = (
    _Style("H_100X_C2", txt={"txt_labels/AttriDet": 12, "txt_labels/YOLOv5": 5}, whole=True),
    _Style("H_100X_C1", "images", "json_labels/WBC_detection", {"txt_labels/AttriDet": 12}),
    _Style("L_100X/L_100X_C2", "images", txt={"txt_labels/AttriDet": 12}, packed=True, whole=True),
    _Style("L_100X/L_100X_C1", json="WBC_detection", class_name=False),
    _Style("H_40X_C2", json=None, txt={"txt_labels/AttriDet": 11}),
    _Style("H_40X_C1", "images", "Annotations", first_id=1),
    _Style("L_40X_C2", json=None, txt={"labels": 5}, suffix=".jpg"),
    _Style("L_40X_C1", "images", "WBC_Detection", lower=False),
    _Style("H_10X_C2"),
    _Style("H_10X_C1"),
    _Style("L_10X_C2"),
)


@dataclass(frozen=True)
class _Field:
    """One field of a film before any optics, `_MARGIN_PX` wider than a picture on each side, and all cells on it.

    boxes: (N, 4) x1 y1 x2 y2 in px of the picture of the microscope H; codes (N,); attributes (N, 7), 4 where they do not apply.
    """

    patient: str
    number: int
    clear: NDArray[np.uint8]
    boxes: NDArray[np.float64]
    codes: NDArray[np.int64]
    attributes: NDArray[np.int64]


@dataclass(frozen=True)
class Miniature:
    """What was written.

    root: the download's folder. maps: by "SUBSET/stem" the 2 x 3 matrix from px of H_100X_C2 to px of that picture.
    """

    root: Path
    maps: Mapping[str, NDArray[np.float64]]

    def subset(self, name: str) -> Path:
        """The folder of a subset such as "L_100X_C2", wherever it lies."""
        return next(path for path in (self.root / name, self.root / name[: name.rindex("_")] / name) if path.is_dir())

    def unpack(self, name: str = "L_100X_C2") -> Path:
        """Unpack a subset's labels.zip where it lies; returns the subset's folder."""
        folder = self.subset(name)
        with zipfile.ZipFile(folder / "labels.zip") as archive:
            archive.extractall(folder)
        return folder


def build(out: Path, *, fields: int = 4, few: int = 2, size_px: int = 320, seed: int = 3) -> Miniature:
    """Write the miniature below `out`, in place of an earlier one.

    fields: pictures of a patient in H_100X_C2 and L_100X_C2; few: in the other subsets. size_px: side of the square pictures.
    """
    root = out / "LeukemiaAttri_Dataset"
    shutil.rmtree(root, ignore_errors=True)
    rendered = [field for patient in CASES for field in _fields(patient, max(fields, few), size_px, seed)]
    maps: dict[str, NDArray[np.float64]] = {}
    for style in sorted(_STYLES, key=lambda style: (style.folder[0], style.folder[-1])):  # by instrument: its noise is drawn once
        some = [field for field in rendered if field.number <= (fields if style.whole else few)]
        maps.update(_write_subset(root / style.folder, style, some, size_px, seed))
    (root / "L_10X_C1").mkdir(parents=True)
    (out / "maps.json").write_text(
        json.dumps({name: matrix.tolist() for name, matrix in sorted(maps.items())}, indent=0), encoding="utf-8"
    )
    return Miniature(root, maps)


def _fields(patient: str, count: int, size_px: int, seed: int) -> list[_Field]:
    """Fields of one patient's film that do not overlap, each with at least two cells on it."""
    film = Film(seed * 100 + int(patient), CASES[patient], (2048.0, 1536.0))
    rng, p, side = rng_of(seed, 601, int(patient)), _UM_PER_PX, size_px + 2 * _MARGIN_PX
    assert side <= TILE_PX, "a field must lie in one tile of the film, which are what takes long to paint"
    tiles = [(i, j) for i in range(int(film.size_um[0] / p / TILE_PX)) for j in range(int(film.size_um[1] / p / TILE_PX))]
    out: list[_Field] = []
    for tile in rng.permutation(tiles):
        i0, j0 = (int(n) * TILE_PX for n in tile)
        truth = film.cells_in((i0 * p, j0 * p, (i0 + side) * p, (j0 + side) * p))
        whole = truth.visible > 0.99
        boxes = truth.boxes_px.astype(np.float64) / p - np.array([i0, j0] * 2) - _MARGIN_PX
        inside = whole & (boxes[:, :2] > 0).all(1) & (boxes[:, 2:] < size_px).all(1)
        if inside.sum() < 2:
            continue
        codes, attributes = labels(truth, LEUKEMIA_ATTRI)
        attributes[codes == 0] = 4
        out.append(_Field(patient, len(out) + 1, film.clear(i0, j0, (side, side), p), boxes, codes, attributes))
        if len(out) == count:
            return out
    raise ValueError(f"patient {patient}: the film has {len(out)} fields with cells, not {count}")


def _split_of(patient: str, microscope: str) -> str:
    if patient == MOVED:
        return "train" if microscope == "H" else "test"
    return "train" if patient in TRAIN else "test"


def _map_of(folder: str, field: _Field, size_px: int, seed: int) -> NDArray[np.float64]:
    """Where a picture shows what H_100X_C2 shows: turned by up to 3 degrees, 5 % larger or smaller, moved by up to 12 px."""
    if folder.endswith("C2") and folder.startswith("H"):
        return np.array([[1.0, 0, 0], [0, 1, 0]])
    rng = rng_of(seed, 602, int(field.patient), field.number, *folder.encode())
    turn, scale = np.deg2rad(rng.uniform(-3, 3)), rng.uniform(0.95, 1.05)
    matrix = np.array([[np.cos(turn), -np.sin(turn), 0], [np.sin(turn), np.cos(turn), 0]]) * scale
    middle = np.array([size_px / 2, size_px / 2])
    matrix[:, 2] = middle - matrix[:, :2] @ middle + rng.uniform(-12, 12, 2)
    return matrix


def _boxes(field: _Field, matrix: NDArray[np.float64], size_px: int) -> list[tuple[int, list[float]]]:
    """Number and x, y, width, height in px of each cell of which the picture shows at least half."""
    found = []
    for number, (x1, y1, x2, y2) in enumerate(field.boxes):
        corners = np.array([[x1, y1], [x2, y1], [x1, y2], [x2, y2]]) @ matrix[:, :2].T + matrix[:, 2]
        low, high = corners.min(0), corners.max(0)
        left, right = np.clip(low, 0, size_px), np.clip(high, 0, size_px)
        if np.prod(right - left) >= 0.5 * np.prod(high - low):
            found.append((number, [round(float(v), 2) for v in (*left, *(right - left))]))
    return found


def _picture(field: _Field, scope: Microscope, matrix: NDArray[np.float64], size_px: int, noise: int) -> NDArray[np.uint8]:
    """The film moved under the lens, then taken: what the map does not show of the field's margin stays what it is."""
    shift = np.array([[1.0, 0, _MARGIN_PX], [0, 1, _MARGIN_PX]])
    inner = np.vstack([matrix, [0, 0, 1]]) @ np.vstack([[1, 0, -_MARGIN_PX], [0, 1, -_MARGIN_PX], [0, 0, 1]])
    whole = np.vstack([shift, [0, 0, 1]]) @ inner
    side = size_px + 2 * _MARGIN_PX
    moved = cv2.warpAffine(field.clear, whole[:2], (side, side), flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT)
    return capture(moved[_MARGIN_PX:-_MARGIN_PX, _MARGIN_PX:-_MARGIN_PX].copy(), scope, noise_seed=noise)


def _write_subset(root: Path, style: _Style, fields: list[_Field], size_px: int, seed: int) -> dict[str, NDArray[np.float64]]:
    microscope, magnification, camera = (name := Path(style.folder).name).split("_")
    objective = int(magnification[:-1])
    # The published subsets differ in sharpness, not in scale: the camera is set so that all have the same um a px.
    scope = Microscope(microscope, camera, objective, width_px=round(1920 * _WIDTH[camera] * 100 / objective / _UM_PER_PX))
    maps: dict[str, NDArray[np.float64]] = {}
    for split in ("train", "test"):
        pictures = root / style.images / split
        pictures.mkdir(parents=True)
        some = [field for field in fields if _split_of(field.patient, microscope) == split]
        coco: dict[str, Any] = {"images": [], "annotations": [], "categories": _categories(style)}
        for image, field in enumerate(some):
            number = "1000" if objective == 100 else f"{field.number}_{objective}0"
            stem = f"{field.patient}_{field.number}_{number}_{CASES[field.patient]}"
            matrix = maps[f"{name}/{stem}"] = _map_of(name, field, size_px, seed)
            noise = int(rng_of(seed, 603, int(field.patient), field.number, *name.encode()).integers(2**31))
            assert cv2.imwrite(str(pictures / f"{stem}{style.suffix}"), _picture(field, scope, matrix, size_px, noise))
            coco["images"].append({"id": image, "file_name": f"{stem}{style.suffix}", "width": size_px, "height": size_px})
            cells = _boxes(field, matrix, size_px)
            coco["annotations"] += [
                _annotation(style, field, k, box, image, len(coco["annotations"]) + n) for n, (k, box) in enumerate(cells)
            ]
            for where, columns in (style.txt or {}).items():
                file = root / where / split / f"{stem}.txt"
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_text("".join(_line(field, k, box, size_px, columns) for k, box in cells), encoding="utf-8")
        if style.json is not None:
            (root / style.json).mkdir(parents=True, exist_ok=True)
            (root / style.json / f"{split}.json").write_text(json.dumps(coco), encoding="utf-8")
    if style.packed:
        _pack(root)
    return maps


def _categories(style: _Style) -> list[dict[str, Any]]:
    return [{"id": _id(style, code), "name": _name(style, code), "supercategory": "WBC"} for code in range(len(LEUKEMIA_ATTRI.classes))]


def _name(style: _Style, code: int) -> str:
    name = LEUKEMIA_ATTRI.classes[code]
    return name.lower() if style.lower else name


def _id(style: _Style, code: int) -> int:
    """Ids 0..13, or 1..14 with None last."""
    return len(LEUKEMIA_ATTRI.classes) if style.first_id and code == 0 else code


def _annotation(style: _Style, field: _Field, number: int, box: list[float], image: int, own: int) -> dict[str, Any]:
    code = int(field.codes[number])
    named = {"category_name": _name(style, code)} if style.class_name else {}
    values = dict(zip(KEYS, map(int, field.attributes[number]), strict=True))
    area = round(box[2] * box[3], 2)
    return {"id": own, "image_id": image, "category_id": _id(style, code), "bbox": box, "area": area, "iscrowd": 0, **named, **values}


def _line(field: _Field, number: int, box: list[float], size_px: int, columns: int) -> str:
    """A TXT line of 12 columns, of 11 without Cell Size, or of 5 without attributes; 2 in all where none applies."""
    x, y, w, h = box
    code, values = int(field.codes[number]), list(map(int, field.attributes[number]))
    values = [2] * len(KEYS) if code == 0 else values
    shares = (f"{v / size_px:.6f}" for v in (x + w / 2, y + h / 2, w, h))
    return " ".join([str(code), *shares, *map(str, values[12 - columns :] if columns > 5 else [])]) + "\n"


def _pack(root: Path) -> None:
    """Put all labels of a subset into labels.zip, and take them away."""
    files = sorted(file for file in root.rglob("*") if file.suffix in (".json", ".txt"))
    with zipfile.ZipFile(root / "labels.zip", "w") as archive:
        for file in files:
            archive.write(file, file.relative_to(root))
    for folder in {root / file.relative_to(root).parts[0] for file in files}:
        shutil.rmtree(folder)


if __name__ == "__main__":
    build(Path(sys.argv[1]))
