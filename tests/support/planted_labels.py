"""Labels of other programs and conventions to plant into a clean data set, see `planted`."""

from __future__ import annotations

import shutil
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

from labelled import ARTEFACT, BLAST, CLASSES, NEUTROPHIL, Cell, coco, line_of, picture, write_json, write_subset, write_txt
from planted import TRAIN, VAL, Where, annotation, only_json, only_txt, plants

from engines.data.faults import Kind


@plants(Kind.UNKNOWN_CLASS)
def a_class_of_the_list_that_is_none(root: Path) -> Where:
    file = only_txt(root, [BLAST.txt(), ARTEFACT.txt()])
    (root / "txt_labels/classes.txt").unlink()
    (file.parent / "Classes.txt").write_text("\n".join(["None", "Blast of some kind", *CLASSES[2:]]))
    return file, 1


@plants(Kind.LABEL_OUTSIDE_REGION)
def a_label_outside_the_part_that_was_labelled(root: Path) -> Where:
    file = only_json(root, lambda d: d["images"][0].update(labelled_region=[[0, 0, 30, 24]]))
    return file, line_of(file, '"id": 2, "image_id": 1')


@plants(Kind.PATCHES)
def labels_of_patches(root: Path) -> Where:
    (root / "json_labels/train.json").unlink()
    folder = root / "txt_labels/AttriDet/train"
    (root / "classes.txt").write_text("\n".join(CLASSES))
    for file in folder.glob("*.txt"):
        words = [line.split() for line in file.read_text().splitlines()]
        file.write_text("".join(" ".join([*line[:5], "0", "1", "0", "1", *line[5:]]) + "\n" for line in words))
    return folder, 0


@plants(Kind.CLASS_LIST)
def two_lists_of_class_names_that_disagree(root: Path) -> Where:
    only_txt(root, [BLAST.txt()])
    file = root / "txt_labels/data.yaml"
    file.write_text("names: {0: None, 1: Neutrophil}")
    return file, 0


@plants(Kind.CLASS_LIST)
def a_list_of_class_names_that_cannot_be_read(root: Path) -> Where:
    only_txt(root, [BLAST.txt()])
    file = root / "data.yaml"
    file.write_text("names: [None, 'Myeloblast")
    return file, 0


@plants(Kind.CLASS_NUMBERS)
def artefacts_with_another_number(root: Path) -> Where:
    bare = [Cell(7, (x, 4, 9, 9), (4,) * 7) for x in (4, 20, 40)]
    return only_txt(root, [*(cell.txt() for cell in bare), Cell(0, (4, 30, 9, 9)).txt()]), 1


@plants(Kind.CLASS_NUMBERS)
def other_numbers_in_txt_than_names_in_json(root: Path) -> Where:
    number = {0: 5, 1: 9, 3: 7}
    for split, fields in (("train", TRAIN), ("val", VAL)):
        write_json(root, split, coco(fields))
    moved = {name: [replace(cell, code=number[cell.code]) for cell in cells] for name, cells in TRAIN.items()}
    return write_txt(root, "train", moved) / "1_1_1000_ALL.txt", 1


@plants(Kind.BOX_CONVENTION)
def boxes_of_txt_in_px(root: Path) -> Where:
    cells = (BLAST, ARTEFACT, NEUTROPHIL)
    lines = [f"{cell.code} {x + w / 2} {y + h / 2} {w} {h}" for cell in cells for x, y, w, h in [cell.box]]
    file = only_txt(root, lines)
    (file.parent / "1_2_1000_ALL.txt").write_text("")
    return file, 1


@plants(Kind.BOX_CONVENTION)
def corners_in_json(root: Path) -> Where:
    def corners(data: dict[str, Any]) -> None:
        for one in data["annotations"]:
            x, y, w, h = one["bbox"]
            one["bbox"] = [x, y, x + w, y + h]

    file = only_json(root, corners)
    return file, line_of(file, '"id": 2, "image_id"')


@plants(Kind.NAME_TWICE)
def one_name_in_two_folders(root: Path) -> Where:
    def folders(data: dict[str, Any]) -> None:
        data["images"][0]["file_name"] = "slide0/1_1_1000_ALL.png"
        data["images"][1]["file_name"] = "slide1/1_1_1000_ALL.png"
        data["annotations"].pop()

    file = only_json(root, folders)
    (root / "Images/train/1_2_1000_ALL.png").unlink()
    return file, line_of(file, "slide1")


@plants(Kind.LABELS_IN_ARCHIVE)
def labels_in_an_archive_that_is_read(root: Path) -> Where:
    with zipfile.ZipFile(root / "labels.zip", "w") as archive:
        for folder in ("json_labels", "txt_labels"):
            for file in sorted((root / folder).rglob("*.*")):
                archive.write(file, file.relative_to(root))
            shutil.rmtree(root / folder)
    return root / "labels.zip", 0


@plants(Kind.NO_LABELS)
def labels_of_another_program(root: Path) -> Where:
    for folder in ("json_labels", "txt_labels"):
        shutil.rmtree(root / folder)
    (root / "1_1_1000_ALL.xml").write_text("<annotation/>")
    return root.parent, 0


@plants(Kind.CLASS_ORDER)
def no_list_of_class_names(root: Path) -> Where:
    shutil.rmtree(root / "json_labels")
    write_json(root, "val", coco(VAL))
    return root / "txt_labels/AttriDet/train", 0


@plants(Kind.OUTLINES)
def outlines_in_txt(root: Path) -> Where:
    return only_txt(root, ["1 0.1 0.1 0.4 0.1 0.4 0.5 0.1 0.5"]), 1


@plants(Kind.OUTLINES)
def an_outline_without_box_in_json(root: Path) -> Where:
    file = only_json(root, lambda d: annotation(d, 1, bbox=[], segmentation=[[4, 4, 24, 4, 24, 22, 4, 22]]))
    return file, line_of(file, "segmentation")


@plants(Kind.FILES_JOINED)
def two_label_files_in_one(root: Path) -> Where:
    def join(data: dict[str, Any]) -> None:
        data["images"][2]["id"] = 1
        data["annotations"].append(NEUTROPHIL.annotation(1, 1))

    file = only_json(root, join)
    return file, line_of(file, "2_1_1000_AML")


@plants(Kind.IMAGE_REPEATED)
def an_image_listed_once_a_box(root: Path) -> Where:
    file = only_json(root, lambda d: d["images"].insert(1, d["images"][0]))
    return file, line_of(file, '"id": 1, "file_name"') + 1


@plants(Kind.COPY_BOTH_SIDES)
def a_copy_that_an_exporter_renamed(root: Path) -> Where:
    write_subset(root, {"train": {**TRAIN, "field_7.png": []}, "val": {**VAL, "field_7_png.rf.0f3ae152aa.png": []}})
    return root / "Images/val/field_7_png.rf.0f3ae152aa.png", 0


@plants(Kind.SISTERS_DISAGREE)
def a_class_that_a_sister_subset_calls_another(root: Path) -> Where:
    """The same four fields under two cameras; the second was written with another number for neutrophils."""
    for name, code in (("L_100X_C1", 3), ("L_100X_C2", 7)):
        cells = [Cell(code, (x, 10, 12, 12)) for x in (4, 40)]
        fields = {f"21_{number}_1000_ALL.png": cells for number in range(1, 5)}
        write_subset(root.parent / name, {"train": fields}, txt=0)
        for field in fields:
            picture(root.parent / name / "Images/train" / field, seed=code)
    return root.parent / "L_100X_C2/json_labels/train.json", 0
