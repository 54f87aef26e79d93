"""Faults that only pixels show, and unlikely boxes, to plant into a clean data set, see `planted`."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from labelled import BLAST, NEUTROPHIL, Cell, coco, line_of, write_json
from numpy.typing import NDArray
from planted import TRAIN, Where, boxed, only_json, plants

from engines.data.faults import Kind

PLACES = ((80, 60), (300, 100), (420, 310), (150, 250))
NUCLEI = [Cell(1, (x - 22, y - 22, 44, 44)) for x, y in PLACES]


def field(path: Path, seed: int) -> NDArray[np.uint8]:
    """A drawn field of film: grey-blue red cells, four violet nuclei at `PLACES`; written, and returned as BGR."""
    image = np.full((400, 600, 3), (200, 215, 210), np.uint8)
    draw = np.random.default_rng(seed)
    for _ in range(60):
        cv2.circle(image, (int(draw.integers(600)), int(draw.integers(400))), 14, (140, 110, 90), -1, cv2.LINE_AA)
    for x, y in PLACES:
        cv2.circle(image, (x, y), 17, (120, 35, 80), -1, cv2.LINE_AA)
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), image)
    return image


def of_drawn(data: dict[str, Any], name: str = "") -> dict[str, Any]:
    """Labels of drawn fields, or of the one of that name: their size is set."""
    for image in data["images"]:
        if name in ("", image["file_name"]):
            image.update(width=600, height=400)
    return data


def fields(root: Path, count: int = 10) -> tuple[Path, NDArray[np.uint8]]:
    """A split "test" of as many drawn fields of a ninth patient, labelled by JSON; the last one's file and picture."""
    names = [f"9_{n}_1000_CLL.png" for n in range(1, count + 1)]
    last = np.zeros((1, 1, 3), np.uint8)
    for seed, name in enumerate(names):
        last = field(root / "Images/test" / name, seed)
    write_json(root, "test", of_drawn(coco(dict.fromkeys(names, NUCLEI))))
    return root / "Images/test" / names[-1], last


@plants(Kind.IMAGE_BLANK)
def a_field_of_nothing_but_noise(root: Path) -> Where:
    file = root / "Images/train/1_2_1000_ALL.png"
    assert cv2.imwrite(str(file), np.random.default_rng(0).normal(200, 4, (48, 64, 3)).clip(0, 255).astype(np.uint8))
    return file, 0


@plants(Kind.IMAGE_BLANK)
def a_picture_of_which_half_came_over(root: Path) -> Where:
    file, image = fields(root)
    image[220:] = 128
    assert cv2.imwrite(str(file), image)
    return file, 0


@plants(Kind.IMAGE_GREY)
def a_grey_picture(root: Path) -> Where:
    file, image = fields(root)
    assert cv2.imwrite(str(file), cv2.cvtColor(cv2.cvtColor(image, cv2.COLOR_BGR2GRAY), cv2.COLOR_GRAY2BGR))
    return file, 0


@plants(Kind.IMAGE_SWAPPED)
def red_and_blue_exchanged(root: Path) -> Where:
    file, image = fields(root)
    assert cv2.imwrite(str(file), np.ascontiguousarray(image[..., ::-1]))
    return file, 0


@plants(Kind.IMAGE_BLURRED)
def a_picture_out_of_focus(root: Path) -> Where:
    file, image = fields(root)
    assert cv2.imwrite(str(file), cv2.GaussianBlur(image, (0, 0), 4))
    return file, 0


@plants(Kind.FIELD_BOTH_SIDES)
def a_strongly_blurred_copy_on_the_other_side(root: Path) -> Where:
    image = field(root / "Images/train/2_1_1000_AML.png", 1)
    file = root / "Images/val/3_1_1000_CML.png"
    assert cv2.imwrite(str(file), cv2.GaussianBlur(image, (0, 0), 8))
    shutil.rmtree(root / "txt_labels")
    write_json(root, "train", of_drawn(coco(TRAIN), "2_1_1000_AML.png"))
    write_json(root, "val", of_drawn(coco({file.name: NUCLEI})))
    return file, 0


def _on_drawn(root: Path, cells: list[Cell]) -> Where:
    """The cells on a drawn field of train, by JSON alone."""

    name = "2_1_1000_AML.png"
    field(root / "Images/train" / name, 1)
    file = only_json(root, lambda d: d.update(of_drawn(coco(TRAIN | {name: cells}), name)))
    return file, line_of(file, "2_1_1000_AML")


@plants(Kind.BOXES_MISPLACED)
def boxes_moved_by_less_than_their_side(root: Path) -> Where:
    return _on_drawn(root, [replace(cell, box=(cell.box[0] + 30, cell.box[1] - 25, *cell.box[2:])) for cell in NUCLEI])


@plants(Kind.BOXES_MISPLACED)
def boxes_of_a_turned_picture(root: Path) -> Where:
    return _on_drawn(root, [replace(cell, box=(556 - cell.box[0], 356 - cell.box[1], 44, 44)) for cell in NUCLEI])


@plants(Kind.BOXES_MISPLACED)
def boxes_of_another_picture(root: Path) -> Where:
    return _on_drawn(root, [Cell(1, (x, y, 44, 44)) for x, y in ((200, 10), (520, 30), (30, 340))])


@plants(Kind.BOX_FIELD)
def a_box_of_the_whole_field(root: Path) -> Where:
    return boxed(root, [1, 0, 62, 48])


@plants(Kind.BOX_SMALL)
def a_box_of_three_pixels(root: Path) -> Where:
    return boxed(root, [5, 10, 3, 9])


@plants(Kind.BOX_LONG)
def a_box_seven_times_as_long_as_wide(root: Path) -> Where:
    return boxed(root, [5, 10, 35, 5])


@plants(Kind.CELL_NOT_APPLICABLE)
def a_blast_without_attributes(root: Path) -> Where:
    bare = replace(BLAST, values=(4,) * 7)
    file = only_json(root, lambda d: d.update(coco(TRAIN | {"1_2_1000_ALL.png": [NEUTROPHIL, bare]})))
    return file, line_of(file, '"Myeloblast", "bbox": [4, 4, 20, 18], "area": 360, "iscrowd": 0, "cell_size": 4')


@plants(Kind.EMPTY_FOLDER)
def a_subset_that_is_an_empty_folder(root: Path) -> Where:
    folder = root.parent / "L_10X_C1"
    folder.mkdir()
    return folder, 0


@plants(Kind.INCOMPLETE)
def a_part_of_the_download_that_was_left_out(root: Path) -> Where:
    file = only_json(root, lambda d: d.update(coco(TRAIN | {f"1_{n}_1000_ALL.png": [BLAST] for n in range(10, 16)})))
    assert file.is_file()
    return root, 0
