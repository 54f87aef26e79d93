"""Faults to plant into a clean data set: each a function that plants one and says in which file and line it must be found."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from labelled import ARTEFACT, BLAST, CLASSES, NEUTROPHIL, Cell, coco, line_of, picture, write_json, write_subset, write_txt

from engines.data.faults import Kind

TRAIN = {"1_1_1000_ALL.png": [BLAST, ARTEFACT], "1_2_1000_ALL.png": [NEUTROPHIL], "2_1_1000_AML.png": []}
VAL = {"3_1_1000_CML.png": [NEUTROPHIL, BLAST]}

Where = tuple[Path, int]
"""File and line (0: the whole file) where the fault must be found."""


def only_json(root: Path, change: Callable[[dict[str, Any]], None]) -> Path:
    """The train labels changed, and no TXT that would disagree."""
    shutil.rmtree(root / "txt_labels")
    write_txt(root, "val", VAL)
    data = coco(TRAIN)
    change(data)
    return write_json(root, "train", data)


def annotation(data: dict[str, Any], number: int, **changes: Any) -> None:
    data["annotations"][number - 1].update(changes)


def boxed(root: Path, box: list[float]) -> Where:
    """The first annotation of train with another box: x, y, width, height in px."""
    file = only_json(root, lambda d: annotation(d, 1, bbox=box))
    return file, line_of(file, str(box))


def only_txt(root: Path, lines: list[str]) -> Path:
    """1_1_1000_ALL of train with other lines, and no JSON that would disagree."""
    shutil.rmtree(root / "json_labels")
    write_json(root, "val", coco(VAL))
    class_list(root)
    file = root / "txt_labels/AttriDet/train/1_1_1000_ALL.txt"
    file.write_text("\n".join(lines), encoding="utf-8")
    return file


def class_list(root: Path) -> Path:
    """The list of class names that belongs to the labels."""
    file = root / "txt_labels/classes.txt"
    file.write_text("\n".join(CLASSES), encoding="utf-8")
    return file


Plant = Callable[[Path], Where]
PLANTS: list[tuple[Kind, Plant]] = []


def plants(kind: Kind) -> Callable[[Plant], Plant]:
    def add(plant: Plant) -> Plant:
        PLANTS.append((kind, plant))
        return plant

    return add


@plants(Kind.MALFORMED_JSON)
def a_comma_too_few(root: Path) -> Where:
    file = root / "json_labels/train.json"
    text = file.read_text().replace('"iscrowd": 0, ', '"iscrowd": 0 ', 1)
    file.write_text(text)
    return file, line_of(file, '"iscrowd": 0 "')


@plants(Kind.MALFORMED_JSON)
def a_file_that_ends_early(root: Path) -> Where:
    file = root / "json_labels/train.json"
    lines = file.read_text().splitlines()
    keep = line_of(file, '"id": 2, "image_id"')
    file.write_text("\n".join(lines[:keep])[:-1])
    return file, keep


@plants(Kind.MALFORMED_JSON)
def something_after_the_end(root: Path) -> Where:
    file = root / "json_labels/train.json"
    file.write_text(file.read_text() + "\n{}")
    return file, len(file.read_text().splitlines())


@plants(Kind.MALFORMED_JSON)
def latin_one(root: Path) -> Where:
    file = root / "json_labels/train.json"
    file.write_bytes(file.read_bytes().replace(b"{", b'{"info": "caf\xe9", ', 1))
    return file, 0


@plants(Kind.NOT_COCO)
def no_annotations(root: Path) -> Where:
    file = root / "json_labels/train.json"
    file.write_text(json.dumps({"images": [], "boxes": []}))
    return file, 0


@plants(Kind.NOT_COCO)
def an_annotation_without_box(root: Path) -> Where:
    file = only_json(root, lambda d: d["annotations"].append({"id": 99, "image_id": 1, "category_id": 1}))
    return file, line_of(file, '"id": 99')


@plants(Kind.MALFORMED_ROW)
def ten_columns(root: Path) -> Where:
    return only_txt(root, [BLAST.txt(), BLAST.txt().rsplit(" ", 2)[0]]), 2


@plants(Kind.MALFORMED_ROW)
def words_for_numbers(root: Path) -> Where:
    return only_txt(root, ["Myeloblast 0.5 0.5 0.1 0.1"]), 1


@plants(Kind.UNKNOWN_CLASS)
def a_class_that_is_none(root: Path) -> Where:
    file = only_json(root, lambda d: annotation(d, 2, category_name="Erythroblast"))
    return file, line_of(file, "Erythroblast")


@plants(Kind.UNKNOWN_CLASS)
def a_class_number_that_is_none(root: Path) -> Where:
    return only_txt(root, ["", "14 0.5 0.5 0.1 0.1"]), 2


@plants(Kind.UNKNOWN_CLASS)
def half_a_class(root: Path) -> Where:
    return only_txt(root, ["1.5 0.5 0.5 0.1 0.1"]), 1


@plants(Kind.UNKNOWN_VALUE)
def a_value_that_is_none(root: Path) -> Where:
    file = only_json(root, lambda d: annotation(d, 1, nuclear_shape=3))
    return file, line_of(file, '"nuclear_shape": 3')


@plants(Kind.UNKNOWN_VALUE)
def a_value_that_is_none_in_txt(root: Path) -> Where:
    return only_txt(root, [BLAST.txt(), "1 0.7 0.5 0.1 0.1 1 0 7 0 0 0 0"]), 2


@plants(Kind.ODD_VALUE)
def the_code_of_txt_in_json(root: Path) -> Where:
    file = only_json(root, lambda d: annotation(d, 1, nuclear_shape=2))
    return file, line_of(file, '"nuclear_shape": 2')


@plants(Kind.CLASS_DISAGREES)
def name_and_id_of_two_classes(root: Path) -> Where:
    file = only_json(root, lambda d: annotation(d, 1, category_id=7))
    return file, line_of(file, '"category_id": 7')


@plants(Kind.BOX_IMPOSSIBLE)
def a_negative_side(root: Path) -> Where:
    file = only_json(root, lambda d: annotation(d, 1, bbox=[10, 10, -5, 5]))
    return file, line_of(file, "-5")


@plants(Kind.BOX_IMPOSSIBLE)
def a_side_that_is_no_number(root: Path) -> Where:
    return only_txt(root, ["1 0.5 0.5 nan 0.1"]), 1


@plants(Kind.ORPHAN)
def an_annotation_of_no_image(root: Path) -> Where:
    file = only_json(root, lambda d: annotation(d, 3, image_id=77))
    return file, line_of(file, '"image_id": 77')


@plants(Kind.IMAGE_ID_TWICE)
def two_images_of_one_id(root: Path) -> Where:
    file = only_json(root, lambda d: d["images"].append(d["images"][0] | {"file_name": "2_1_1000_AML.png", "id": 2}))
    return file, line_of(file, '"id": 2, "file_name": "2_1')


@plants(Kind.IMAGE_LISTED_TWICE)
def one_image_of_two_ids(root: Path) -> Where:
    file = only_json(root, lambda d: d["images"].append(d["images"][0] | {"id": 9}))
    return file, line_of(file, '"id": 9, "file_name"')


@plants(Kind.ANNOTATION_ID_TWICE)
def two_annotations_of_one_id(root: Path) -> Where:
    file = only_json(root, lambda d: annotation(d, 2, id=1))
    return file, line_of(file, '"id": 1, "image_id": 1, "category_id": 0')


@plants(Kind.IMAGE_MISSING)
def a_picture_that_is_gone(root: Path) -> Where:
    shutil.rmtree(root / "txt_labels/AttriDet/train")
    (root / "Images/train/1_2_1000_ALL.png").unlink()
    file = root / "json_labels/train.json"
    return file, line_of(file, '"file_name": "1_2')


@plants(Kind.IMAGE_MISSING)
def a_label_file_of_no_picture(root: Path) -> Where:
    file = root / "txt_labels/AttriDet/train/8_1_1000_AML.txt"
    file.write_text(BLAST.txt())
    return file, 0


@plants(Kind.IMAGE_MISSING)
def labels_of_a_split_without_folder(root: Path) -> Where:
    return write_json(root, "test", coco({"9_1_1000_ALL.png": [BLAST]})), 0


@plants(Kind.IMAGE_CORRUPT)
def a_picture_that_ends_early(root: Path) -> Where:
    file = root / "Images/train/1_2_1000_ALL.png"
    file.write_bytes(file.read_bytes()[:-1500])
    return file, 0


@plants(Kind.IMAGE_CORRUPT)
def an_empty_picture(root: Path) -> Where:
    file = root / "Images/val/3_1_1000_CML.png"
    file.write_bytes(b"")
    return file, 0


@plants(Kind.IMAGE_CORRUPT)
def an_empty_picture_with_txt_alone(root: Path) -> Where:
    (root / "json_labels/val.json").unlink()
    class_list(root)
    return an_empty_picture(root)


@plants(Kind.IMAGE_CORRUPT)
def a_jpeg_that_cv2_would_read(root: Path) -> Where:
    for folder in ("json_labels", "txt_labels"):
        shutil.rmtree(root / folder)
    write_json(root, "train", coco({**TRAIN, "5_1_1000_ALL.jpg": []}))
    write_json(root, "val", coco(VAL))
    file = root / "Images/train/5_1_1000_ALL.jpg"
    picture(file)
    file.write_bytes(file.read_bytes()[:-700])
    return file, 0


@plants(Kind.IMAGE_SIZE)
def another_size_than_the_pictures(root: Path) -> Where:
    file = only_json(root, lambda d: d["images"][1].update(width=640))
    return file, line_of(file, '"width": 640')


@plants(Kind.IMAGE_UNLABELLED)
def a_picture_that_no_label_names(root: Path) -> Where:
    file = root / "Images/train/4_1_1000_CLL.png"
    picture(file)
    return file, 0


@plants(Kind.IMAGE_TWICE)
def a_copy_on_the_other_side(root: Path) -> Where:
    shutil.copy(root / "Images/train/2_1_1000_AML.png", root / "Images/val/3_1_1000_CML.png")
    return root / "Images/val/3_1_1000_CML.png", 0


@plants(Kind.STEM_TWICE)
def two_pictures_of_one_stem(root: Path) -> Where:
    (root / "json_labels/train.json").unlink()
    class_list(root)
    picture(root / "Images/train/1_2_1000_ALL.bmp", seed=5)
    return root / "Images/train/1_2_1000_ALL.png", 0


@plants(Kind.BOX_OUTSIDE)
def a_box_over_the_edge(root: Path) -> Where:
    return boxed(root, [50, 10, 16, 10])


@plants(Kind.BOX_OUTSIDE)
def a_box_over_the_edge_in_txt(root: Path) -> Where:
    return only_txt(root, [BLAST.txt(), "1 0.98 0.5 0.1 0.1"]), 2


@plants(Kind.BOX_OVERHANGS)
def a_box_over_the_edge_by_rounding(root: Path) -> Where:
    return boxed(root, [-0.3, 10, 16, 10])


@plants(Kind.BOX_EMPTY)
def a_box_without_width(root: Path) -> Where:
    return boxed(root, [5, 10, 0, 10])


@plants(Kind.BOX_TINY)
def a_box_of_one_pixel(root: Path) -> Where:
    return boxed(root, [5, 10, 1, 1])


@plants(Kind.BOX_AWAY)
def a_box_mostly_outside(root: Path) -> Where:
    return boxed(root, [60, 10, 16, 10])


@plants(Kind.BOX_TWO_CLASSES)
def one_box_of_two_classes(root: Path) -> Where:
    fields = TRAIN | {"1_1_1000_ALL.png": [BLAST, ARTEFACT, Cell(8, (4.2, 4, 20, 18), BLAST.values)]}
    file = only_json(root, lambda d: d.update(coco(fields)))
    return file, line_of(file, '"Myelocyte", "bbox"')


@plants(Kind.ROW_TWICE)
def one_line_twice(root: Path) -> Where:
    return only_txt(root, [BLAST.txt(), ARTEFACT.txt(), BLAST.txt()]), 3


@plants(Kind.BOX_TWICE)
def one_box_with_other_attributes(root: Path) -> Where:
    return only_txt(root, [BLAST.txt(), ARTEFACT.txt(), Cell(1, BLAST.box, (1, 0, 1, 1, 0, 1, 0)).txt()]), 3


@plants(Kind.BOX_TWICE)
def one_box_drawn_twice(root: Path) -> Where:
    return only_txt(root, [BLAST.txt(), Cell(1, (4, 4, 20.6, 18.4), BLAST.values).txt()]), 2


@plants(Kind.ARTEFACT_ATTRIBUTES)
def an_artefact_with_attributes(root: Path) -> Where:
    file = only_json(root, lambda d: annotation(d, 2, cytoplasm=1))
    return file, line_of(file, '"id": 2, "image_id"')


@plants(Kind.SOURCES_DISAGREE)
def another_class_in_txt(root: Path) -> Where:
    write_txt(root, "train", TRAIN | {"1_2_1000_ALL.png": [Cell(10, NEUTROPHIL.box, NEUTROPHIL.values)]})
    file = root / "json_labels/train.json"
    return file, line_of(file, "Neutrophil")


@plants(Kind.SOURCES_DISAGREE)
def another_attribute_in_txt(root: Path) -> Where:
    write_txt(root, "train", TRAIN | {"1_2_1000_ALL.png": [Cell(3, NEUTROPHIL.box, (1, 1, 1, 0, 1, 0, 0))]})
    file = root / "json_labels/train.json"
    return file, line_of(file, "Neutrophil")


@plants(Kind.SOURCES_DISAGREE)
def an_attribute_that_only_json_states(root: Path) -> Where:
    write_txt(root, "train", TRAIN | {"1_2_1000_ALL.png": [Cell(3, NEUTROPHIL.box, (-1, 0, 1, 0, 1, 0, 0))]})
    file = root / "json_labels/train.json"
    return file, line_of(file, "Neutrophil")


@plants(Kind.SOURCES_DISAGREE)
def a_cell_too_many_in_txt(root: Path) -> Where:
    folder = write_txt(root, "train", TRAIN | {"1_2_1000_ALL.png": [NEUTROPHIL, BLAST]})
    return folder / "1_2_1000_ALL.txt", 2


@plants(Kind.SOURCES_DISAGREE)
def a_cell_too_few_in_txt(root: Path) -> Where:
    write_txt(root, "train", TRAIN | {"1_2_1000_ALL.png": []})
    file = root / "json_labels/train.json"
    return file, line_of(file, "Neutrophil")


@plants(Kind.PATIENT_BOTH_SIDES)
def a_patient_on_both_sides(root: Path) -> Where:
    write_subset(root, {"val": VAL | {"1_9_1000_ALL.png": [BLAST]}})
    return root / "Images/val/1_9_1000_ALL.png", 0


@plants(Kind.PATIENT_BOTH_SIDES)
def a_patient_on_the_other_side_of_another_subset(root: Path) -> Where:
    write_subset(root.parent / "L_40X_C2", {"test": {"2_7_3_400_AML.png": [BLAST]}})
    return root / "Images/train/2_1_1000_AML.png", 0


@plants(Kind.LABELS_PACKED)
def labels_in_an_archive(root: Path) -> Where:
    shutil.rmtree(root / "json_labels")
    shutil.rmtree(root / "txt_labels")
    (root / "labels.zip").write_bytes(b"PK")
    return root / "labels.zip", 0


@plants(Kind.SPLIT_UNLABELLED)
def a_split_without_labels(root: Path) -> Where:
    picture(root / "Images/test/7_1_1000_ALL.png")
    return root / "Images/test", 0


@plants(Kind.NAME_SPELLED)
def another_suffix_than_the_pictures(root: Path) -> Where:
    file = only_json(root, lambda d: d["images"][0].update(file_name="1_1_1000_ALL.tif"))
    return file, line_of(file, ".tif")


@plants(Kind.PATIENT_UNKNOWN)
def a_name_without_patient(root: Path) -> Where:
    write_subset(root, {"test": {"BloodImage_00001.png": [BLAST]}})
    return root / "Images/test", 0


@plants(Kind.PATIENT_DIAGNOSES)
def one_patient_of_two_diagnoses(root: Path) -> Where:
    write_subset(root, {"train": {**TRAIN, "2_2_1000_APML.png": []}})
    return root / "Images/train/2_1_1000_AML.png", 0


@plants(Kind.NO_LAYOUT)
def a_flat_folder_beside(root: Path) -> Where:
    picture(root.parent / "more/9_1_1000_ALL.png")
    return root.parent / "more", 0
