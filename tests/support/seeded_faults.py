"""Forty-one faults in one subset of the miniature, each in a picture of its own: what a download, an export or a hand does to labels.

Each seed changes the subset and says in which picture, by its stem, and by which kinds of `data check` it must be found there.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from engines.data.faults import Kind
from tests.support.labelled import KEYS
from tests.support.miniature import build

SIZE_PX, FIELDS = 320, 11


@dataclass
class Faulty:
    """The subset that is being spoilt, and train and test of its JSON."""

    root: Path
    train: dict[str, Any]
    test: dict[str, Any]

    def cells(self, image: dict[str, Any]) -> list[dict[str, Any]]:
        return [cell for cell in self.train["annotations"] if cell["image_id"] == image["id"]]

    def cell(self, image: dict[str, Any]) -> dict[str, Any]:
        """The first white cell of a picture."""
        return next(cell for cell in self.cells(image) if cell["category_id"] != 0)

    def picture(self, image: dict[str, Any]) -> Path:
        return self.root / "Images/train" / str(image["file_name"])

    def txt(self, image: dict[str, Any]) -> Path:
        return self.root / "txt_labels/AttriDet/train" / f"{stem(image)}.txt"

    def pixels(self, image: dict[str, Any]) -> np.ndarray[Any, Any]:
        return np.asarray(cv2.imread(str(self.picture(image))))

    def put(self, split: str, name: str, pixels: np.ndarray[Any, Any], number: int) -> str:
        """A further picture, listed without cells; its stem."""
        assert cv2.imwrite(str(self.root / f"Images/{split}/{name}"), pixels)
        of = self.train if split == "train" else self.test
        of["images"].append({"id": number, "file_name": name, "width": SIZE_PX, "height": SIZE_PX})
        (self.root / f"txt_labels/AttriDet/{split}/{Path(name).stem}.txt").write_text("")
        return Path(name).stem


@dataclass(frozen=True)
class Seed:
    """name: what was done; kinds: one of them finds it; with_txt: it is nothing without the TXT labels; cells: so many it needs."""

    name: str
    kinds: tuple[Kind, ...]
    plant: Callable[[Faulty, dict[str, Any]], str | None] = field(compare=False)
    with_txt: bool = False
    cells: int = 2


SEEDS: list[Seed] = []


def seed(
    name: str, *kinds: Kind, with_txt: bool = False, cells: int = 2
) -> Callable[[Callable[[Faulty, dict[str, Any]], str | None]], None]:
    """The function below plants this fault into the picture that it is given, or says the stem of another."""

    def kept(plant: Callable[[Faulty, dict[str, Any]], str | None]) -> None:
        SEEDS.append(Seed(name, kinds, plant, with_txt, cells))

    return kept


def plant_all(out: Path) -> tuple[Path, dict[str, str]]:
    """The spoilt subset's folder, and by the name of each seed the stem where it must be found."""
    made = build(out / "clean", fields=FIELDS, few=0, size_px=SIZE_PX)
    root = out / "faulty" / "H_100X_C2"
    shutil.copytree(made.subset("H_100X_C2"), root)
    shutil.rmtree(root / "txt_labels/YOLOv5")
    train, test = (json.loads((root / f"json_labels/{split}.json").read_text()) for split in ("train", "test"))
    faulty, where = Faulty(root, train, test), {}
    free = [(sum(cell["category_id"] != 0 for cell in faulty.cells(image)), image) for image in train["images"]]
    for each in sorted(SEEDS, key=lambda one: -one.cells):
        at = next(number for number, (cells, _) in enumerate(free) if cells >= each.cells)
        _, image = free.pop(at)
        before = stem(image)
        where[each.name] = each.plant(faulty, image) or before
    for split, labels in (("train", train), ("test", test)):
        (root / f"json_labels/{split}.json").write_text(json.dumps(labels))
    return root, where


def stem(image: dict[str, Any]) -> str:
    return Path(str(image["file_name"])).stem


def change_row(path: Path, column: int, to: Callable[[str], str]) -> None:
    """Change one value of a TXT file's first line."""
    first, *rest = path.read_text().splitlines()
    values = first.split()
    values[column] = to(values[column])
    path.write_text("\n".join([" ".join(values), *rest]) + "\n")


# ---- pictures


@seed("missing picture", Kind.IMAGE_MISSING)
def _(f: Faulty, i: dict[str, Any]) -> None:
    f.picture(i).unlink()


@seed("half a picture", Kind.IMAGE_CORRUPT)
def _(f: Faulty, i: dict[str, Any]) -> None:
    content = f.picture(i).read_bytes()
    f.picture(i).write_bytes(content[: len(content) // 2])


@seed("picture of no byte", Kind.IMAGE_CORRUPT)
def _(f: Faulty, i: dict[str, Any]) -> None:
    f.picture(i).write_bytes(b"")


@seed("another size than stated", Kind.IMAGE_SIZE)
def _(f: Faulty, i: dict[str, Any]) -> None:
    cv2.imwrite(str(f.picture(i)), f.pixels(i)[: SIZE_PX - 20])


@seed("grey picture", Kind.IMAGE_GREY)
def _(f: Faulty, i: dict[str, Any]) -> None:
    cv2.imwrite(str(f.picture(i)), cv2.cvtColor(f.pixels(i), cv2.COLOR_BGR2GRAY))


@seed("blank picture with labels", Kind.IMAGE_BLANK)
def _(f: Faulty, i: dict[str, Any]) -> None:
    cv2.imwrite(str(f.picture(i)), np.full_like(f.pixels(i), 200))


@seed("red and blue swapped", Kind.IMAGE_SWAPPED)
def _(f: Faulty, i: dict[str, Any]) -> None:
    cv2.imwrite(str(f.picture(i)), np.ascontiguousarray(f.pixels(i)[:, :, ::-1]))


@seed("picture in no label file", Kind.IMAGE_UNLABELLED)
def _(f: Faulty, i: dict[str, Any]) -> str:
    cv2.imwrite(str(f.root / "Images/train/4_94_1000_CML.png"), cv2.GaussianBlur(f.pixels(i), (0, 0), 2.5)[::-1])
    return "4_94_1000_CML"


@seed("suffix in other letters", Kind.NAME_SPELLED)
def _(f: Faulty, i: dict[str, Any]) -> None:
    i["file_name"] = str(i["file_name"]).replace(".png", ".PNG")


# ---- copies and patients


@seed("copy in test under another patient", Kind.IMAGE_TWICE, Kind.COPY_BOTH_SIDES)
def _(f: Faulty, i: dict[str, Any]) -> str:
    return f.put("test", "14_99_1000_ALL.png", f.pixels(i), 777)


@seed("copy saved anew as JPEG in test", Kind.COPY_BOTH_SIDES)
def _(f: Faulty, i: dict[str, Any]) -> str:
    return f.put("test", "28_98_1000_CML.jpg", f.pixels(i), 778)


@seed("patient on both sides", Kind.PATIENT_BOTH_SIDES)
def _(f: Faulty, i: dict[str, Any]) -> str:
    return f.put("test", f"{stem(i).split('_')[0]}_97_1000_AML.jpg", cv2.GaussianBlur(f.pixels(i), (0, 0), 2), 779).split("_")[0]


@seed("patient of two diagnoses", Kind.PATIENT_DIAGNOSES)
def _(f: Faulty, i: dict[str, Any]) -> str:
    patient, _, _, diagnosis = stem(i).split("_")
    other = "CLL" if diagnosis != "CLL" else "AML"
    f.put("train", f"{patient}_96_1000_{other}.png", cv2.GaussianBlur(f.pixels(i), (0, 0), 3)[::-1], 780)
    return patient


# ---- JSON


@seed("box out of the picture", Kind.BOX_OUTSIDE, Kind.BOX_AWAY)
def _(f: Faulty, i: dict[str, Any]) -> None:
    f.cell(i)["bbox"] = [SIZE_PX - 40, 10, 80, 50]


@seed("box without width", Kind.BOX_EMPTY)
def _(f: Faulty, i: dict[str, Any]) -> None:
    f.cell(i)["bbox"][2] = 0


@seed("box of negative width", Kind.BOX_IMPOSSIBLE)
def _(f: Faulty, i: dict[str, Any]) -> None:
    f.cell(i)["bbox"][2] *= -1


@seed("corners in place of width and height", Kind.BOX_OUTSIDE, Kind.BOX_AWAY, Kind.BOX_FIELD, Kind.BOX_CONVENTION)
def _(f: Faulty, i: dict[str, Any]) -> None:
    cell = max(f.cells(i), key=lambda one: one["bbox"][0] + one["bbox"][1])
    x, y, w, h = cell["bbox"]
    cell["bbox"] = [x, y, x + w, y + h]


@seed("annotation that stands there twice", Kind.BOX_TWICE, Kind.ROW_TWICE)
def _(f: Faulty, i: dict[str, Any]) -> None:
    f.train["annotations"].append({**f.cell(i), "id": 90000})


@seed("one box of two classes", Kind.BOX_TWO_CLASSES)
def _(f: Faulty, i: dict[str, Any]) -> None:
    cell = f.cell(i)
    other = 1 + cell["category_id"] % 13
    name = f.train["categories"][other]["name"]
    f.train["annotations"].append({**cell, "id": 90001, "category_id": other, "category_name": name})


@seed("class of no name", Kind.UNKNOWN_CLASS)
def _(f: Faulty, i: dict[str, Any]) -> None:
    f.cell(i)["category_name"] = "blast"


@seed("misspelt class", Kind.UNKNOWN_CLASS)
def _(f: Faulty, i: dict[str, Any]) -> None:
    f.cell(i)["category_name"] = "lymphoblasst"


@seed("id and name disagree", Kind.CLASS_DISAGREES)
def _(f: Faulty, i: dict[str, Any]) -> None:
    f.cell(i)["category_id"] = 1 + f.cell(i)["category_id"] % 13


@seed("attribute of value 3", Kind.UNKNOWN_VALUE)
def _(f: Faulty, i: dict[str, Any]) -> None:
    f.cell(i)["nuclear_shape"] = 3


@seed("a lone 2", Kind.ODD_VALUE)
def _(f: Faulty, i: dict[str, Any]) -> None:
    f.cell(i)["nuclear_shape"] = 2


@seed("a real cell to which nothing applies", Kind.CELL_NOT_APPLICABLE)
def _(f: Faulty, i: dict[str, Any]) -> None:
    f.cell(i).update(dict.fromkeys(KEYS, 4))


@seed("attributes on None", Kind.ARTEFACT_ATTRIBUTES)
def _(f: Faulty, i: dict[str, Any]) -> None:
    f.cell(i).update(category_id=0, category_name="none")


@seed("annotation of no picture", Kind.ORPHAN)
def _(f: Faulty, i: dict[str, Any]) -> str:
    f.train["annotations"].append({"id": 99999, "image_id": 5555, "category_id": 1, "bbox": [1, 1, 30, 30], "area": 900, "iscrowd": 0})
    return "99999"


@seed("picture id given twice", Kind.IMAGE_ID_TWICE)
def _(f: Faulty, i: dict[str, Any]) -> str:
    patient, _, _, diagnosis = stem(i).split("_")
    return f.put("train", f"{patient}_95_1000_{diagnosis}.png", cv2.GaussianBlur(f.pixels(i), (0, 0), 4), i["id"])


@seed("annotation id given twice", Kind.ANNOTATION_ID_TWICE)
def _(f: Faulty, i: dict[str, Any]) -> None:
    f.train["annotations"].append({**f.cell(i), "bbox": [5, 5, 40, 40]})


@seed("box of a whole field", Kind.BOX_FIELD)
def _(f: Faulty, i: dict[str, Any]) -> None:
    f.cell(i)["bbox"] = [0, 0, SIZE_PX, SIZE_PX]


@seed("box of 1.5 px", Kind.BOX_TINY, Kind.BOX_SMALL)
def _(f: Faulty, i: dict[str, Any]) -> None:
    f.cell(i)["bbox"][2:] = [1.5, 1.5]


@seed("all boxes of a picture shifted", Kind.BOXES_MISPLACED, cells=4)
def _(f: Faulty, i: dict[str, Any]) -> None:
    rows = []
    for cell in f.cells(i):
        x, y, w, h = cell["bbox"]
        x, y = min(max(x + 45, 0), SIZE_PX - w), min(max(y - 40, 0), SIZE_PX - h)
        cell["bbox"] = [x, y, w, h]
        values = [2] * 7 if cell["category_id"] == 0 else [cell[key] for key in KEYS]
        shares = (f"{v / SIZE_PX:.6f}" for v in (x + w / 2, y + h / 2, w, h))
        rows.append(" ".join([str(cell["category_id"]), *shares, *map(str, values)]))
    f.txt(i).write_text("\n".join(rows) + "\n")


# ---- TXT


@seed("13 columns", Kind.MALFORMED_ROW, with_txt=True)
def _(f: Faulty, i: dict[str, Any]) -> None:
    change_row(f.txt(i), -1, lambda value: f"{value} 1")


@seed("centre at 1.4", Kind.BOX_AWAY, Kind.BOX_OUTSIDE, Kind.BOX_IMPOSSIBLE, Kind.BOX_CONVENTION, Kind.MALFORMED_ROW, with_txt=True)
def _(f: Faulty, i: dict[str, Any]) -> None:
    change_row(f.txt(i), 1, lambda value: "1.4")


@seed("class 17", Kind.UNKNOWN_CLASS, with_txt=True)
def _(f: Faulty, i: dict[str, Any]) -> None:
    change_row(f.txt(i), 0, lambda value: "17")


@seed("class x", Kind.MALFORMED_ROW, Kind.UNKNOWN_CLASS, with_txt=True)
def _(f: Faulty, i: dict[str, Any]) -> None:
    change_row(f.txt(i), 0, lambda value: "x")


@seed("a cell missing in the TXT", Kind.SOURCES_DISAGREE, with_txt=True)
def _(f: Faulty, i: dict[str, Any]) -> None:
    f.txt(i).write_text("\n".join(f.txt(i).read_text().splitlines()[1:]) + "\n")


@seed("a box of the TXT shifted by 13 px", Kind.SOURCES_DISAGREE, with_txt=True)
def _(f: Faulty, i: dict[str, Any]) -> None:
    change_row(f.txt(i), 1, lambda value: f"{float(value) + (0.04 if float(value) < 0.5 else -0.04):.6f}")


@seed("an attribute of the TXT differs", Kind.SOURCES_DISAGREE, with_txt=True)
def _(f: Faulty, i: dict[str, Any]) -> None:
    change_row(f.txt(i), 6, lambda value: "1" if value == "0" else "0")


@seed("no TXT beside the JSON", Kind.SOURCES_DISAGREE, with_txt=True)
def _(f: Faulty, i: dict[str, Any]) -> None:
    f.txt(i).unlink()


@seed("TXT that is not UTF-8", Kind.MALFORMED_ROW, with_txt=True)
def _(f: Faulty, i: dict[str, Any]) -> None:
    f.txt(i).write_bytes(f.txt(i).read_bytes() + b"\xff\xfe\n")
