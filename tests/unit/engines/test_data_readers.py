"""Readers of the published layout: every variant of folders, columns, codes and spellings gives the same labels."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from labelled import ARTEFACT, BLAST, KEYS, NEUTROPHIL, Cell, coco, line_of, picture, write_json, write_subset, write_txt

from engines.data.class_lists import ClassNumbers
from engines.data.faults import Fault
from engines.data.labels import CellLabel
from engines.data.layout import film_name, find_subsets, patient_of
from engines.data.leukemiaattri import LabelledImage, has_labels, image_size_hw, read_split, read_unlabelled
from engines.data.txt import outlines, read_cells, txt_line, txt_rows
from engines.data.vocabulary import NOT_APPLICABLE, attribute_codes, class_code, txt_codes
from engines.errors import DataError
from engines.taxonomy import LEUKEMIA_ATTRI, UNKNOWN, Attribute, Taxonomy, TxtLayout

FIELDS = {"1_1_1000_ALL.png": [BLAST, ARTEFACT], "1_2_1000_ALL.png": [NEUTROPHIL], "2_1_1000_AML.png": []}


def same(a: LabelledImage, b: LabelledImage, boxes_px: float = 1e-4) -> None:
    assert a.path.name == b.path.name
    assert a.size_hw == b.size_hw
    np.testing.assert_allclose(a.boxes_px, b.boxes_px, atol=boxes_px)
    np.testing.assert_array_equal(a.classes, b.classes)
    np.testing.assert_array_equal(a.attributes, b.attributes)


@pytest.fixture
def published(tmp_path: Path) -> list[LabelledImage]:
    return read_split(write_subset(tmp_path / "published", {"train": FIELDS}), "train")


def test_the_labels_are_what_was_written(published: list[LabelledImage]) -> None:
    first, second, empty = published
    assert [p.path.name for p in published] == sorted(FIELDS)
    np.testing.assert_array_equal(first.boxes_px, [[4, 4, 24, 22], [40, 30, 50, 38]])
    np.testing.assert_array_equal(first.classes, [1, 0])
    np.testing.assert_array_equal(first.attributes, [[2, 0, 1, 1, 0, 1, 0], [-1] * 7])
    np.testing.assert_array_equal(second.attributes, [[1, 0, 1, 0, 1, 0, 0]])
    assert empty.boxes_px.shape == (0, 4) and empty.attributes.shape == (0, 7) and empty.size_hw == (48, 64)


@pytest.mark.parametrize(
    "moves",
    [
        {"Images": "images"},
        {"Images": "IMAGES", "json_labels": "JSON_Labels"},
        {"json_labels/train.json": "json_labels/WBC_detection/train.json"},
        {"json_labels/train.json": "WBC_Detection/train.json"},
        {"json_labels/train.json": "Annotations/instances_train.json"},
        {"Images/train": "Images/Train"},
    ],
    ids=str,
)
def test_folders_spelled_otherwise(published: list[LabelledImage], tmp_path: Path, moves: dict[str, str]) -> None:
    root = write_subset(tmp_path / "other", {"train": FIELDS}, txt=0)
    for old, new in moves.items():
        (root / new).parent.mkdir(exist_ok=True, parents=True)
        (root / old).rename(root / new)
    split = "Train" if "Images/train" in moves else "train"
    assert has_labels(root, split)
    for a, b in zip(published, read_split(root, split), strict=True):
        same(a, b)


@pytest.mark.parametrize("folder", ["txt_labels/AttriDet", "txt_labels", "labels", "txt_labels/YOLOv5", "TXT_labels/attridet"])
@pytest.mark.parametrize("columns", [5, 11, 12])
def test_txt_of_any_columns_in_any_folder(published: list[LabelledImage], tmp_path: Path, folder: str, columns: int) -> None:
    root = write_subset(tmp_path / "other", {"test": FIELDS}, json_labels=False, txt=columns)
    if folder != "txt_labels/AttriDet":
        (root / "txt_labels/AttriDet").rename(root / "moved")
        (root / "txt_labels").rmdir()
        (root / folder).parent.mkdir(exist_ok=True)
        (root / "moved").rename(root / folder)
    for a, b in zip(published, read_split(root, "test"), strict=True):
        hidden = a.attributes.copy()
        hidden[:, : 12 - columns] = UNKNOWN
        same(LabelledImage(a.path, a.size_hw, a.boxes_px, a.classes, hidden), b, boxes_px=1e-3)


def test_attridets_labels_are_read_before_those_of_other_networks(tmp_path: Path) -> None:
    root = write_subset(tmp_path, {"train": FIELDS}, json_labels=False)
    write_txt(root / "x", "train", {name: [NEUTROPHIL] for name in FIELDS}, 5)
    (root / "x/txt_labels/AttriDet").rename(root / "txt_labels/AAA")
    assert [len(p.classes) for p in read_split(root, "train")] == [2, 1, 0]


def respelled(cell: dict[str, Any]) -> dict[str, Any]:
    """An annotation with the spellings and types seen or feared."""
    out = {k: v for k, v in cell.items() if k not in KEYS and k != "category_name"}
    words = dict(zip(KEYS, (["small", "medium", "Large"], *[None] * 6), strict=True))
    for key in KEYS:
        value, said = cell[key], words[key]
        name = {"nuclear_chromatio": "Nuclear Chromatin", "nucleolus": "nucleus"}.get(key, key.upper())
        out[name] = said[value] if said and 0 <= value < 3 else str(value)
    return out | {"category_name": cell["category_name"].upper().replace(" ", "_") + "S"}


def test_names_in_other_spellings(published: list[LabelledImage], tmp_path: Path) -> None:
    root = write_subset(tmp_path / "other", {"train": FIELDS}, txt=0)
    data = coco(FIELDS)
    data["annotations"] = [respelled(a) for a in data["annotations"]]
    data["images"] = [i | {"file_name": f"images\\train\\{i['file_name']}"} for i in data["images"]]
    data["images"][2]["file_name"] = "2_1_1000_AML.PNG"
    (root / "json_labels/train.json").write_bytes(b"\xef\xbb\xbf" + json.dumps(data).encode())
    for a, b in zip(published, read_split(root, "train"), strict=True):
        same(a, b)


def test_the_category_is_taken_where_an_annotation_bears_no_name(published: list[LabelledImage], tmp_path: Path) -> None:
    root = write_subset(tmp_path / "other", {"train": FIELDS}, txt=0)
    data = coco(FIELDS)
    for annotation in data["annotations"]:
        annotation["category_id"] += 100
        del annotation["category_name"]
    data["categories"] = [{"id": c["id"] + 100, "name": c["name"].lower()} for c in data["categories"]]
    write_json(root, "train", data)
    for a, b in zip(published, read_split(root, "train"), strict=True):
        same(a, b)


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("atypical lymphocyte", 4),
        ("Atypical_Lymphocytes", 4),
        ("ABNORMAL-PROMYELOCYTE", 9),
        ("none", 0),
        ("Artifact", 0),
        ("artefacts", 0),
        (" Meta myelocyte ", 11),
        ("Basophils", 13),
        ("Erythroblast", None),
        ("", None),
        (3, None),
    ],
)
def test_class_names(name: object, code: int | None) -> None:
    assert class_code(name, LEUKEMIA_ATTRI) == code


NA = NOT_APPLICABLE


@pytest.mark.parametrize(
    ("values", "codes"),
    [
        ([2] * 7, [NA] * 7),  # the published code of TXT
        ([2] * 6, [NA] * 7),  # the same of 11 columns
        ([4] * 7, [NA] * 7),  # the published code of JSON
        ([2, 0, 1, 0, 1, 0, 1], [2, 0, 1, 0, 1, 0, 1]),  # a large cell
        ([0, 1, 0, 1, 0, 1], [UNKNOWN, 0, 1, 0, 1, 0, 1]),  # 11 columns leave out Cell Size
        ([2, 2, 1, 0, 1, 0, 1], [2, NA, 1, 0, 1, 0, 1]),
        ([4, 0, 1, 0, 1, 0, 1], [NA, 0, 1, 0, 1, 0, 1]),
        ([-1] * 7, [UNKNOWN] * 7),
        ([None, "0", 1.0, "prominent", "n/a", "", "unknown"], [UNKNOWN, 0, 1, 1, NA, UNKNOWN, UNKNOWN]),
        ([], [UNKNOWN] * 7),
    ],
)
def test_attribute_codes(values: list[object], codes: list[int]) -> None:
    layout = LEUKEMIA_ATTRI.layout(5 + len(values))
    found = attribute_codes(values, LEUKEMIA_ATTRI, lone_two_is_odd=False, layout=layout)
    assert found.codes == codes
    assert found.wrong == [] and found.odd == []


@pytest.mark.parametrize("value", [3, 5, -2, -3, 0.5, float("nan"), "big", True, [1], "1e9", float("inf")])
def test_values_that_mean_nothing(value: object) -> None:
    for position in range(7):
        values: list[object] = [0] * 7
        values[position] = value
        found = attribute_codes(values, LEUKEMIA_ATTRI, lone_two_is_odd=False)
        assert len(found.wrong) == 1 and LEUKEMIA_ATTRI.attributes[position].name in found.wrong[0]


def test_attributes_of_three_values_have_no_room_for_a_code_of_two() -> None:
    taxonomy = Taxonomy(("None", "Cell"), (Attribute("a", "A", ("x", "y", "z")), Attribute("b", "B", ("x", "y", "z"))))
    assert attribute_codes([2, 2], taxonomy, lone_two_is_odd=True).codes == [2, 2]


def test_a_json_of_twos_means_not_applicable_also_with_an_attribute_more() -> None:
    more = replace(LEUKEMIA_ATTRI, attributes=(*LEUKEMIA_ATTRI.attributes, Attribute("auer_rods", "Auer Rods", ("absent", "present"))))
    assert attribute_codes([2] * 7 + [None], more, lone_two_is_odd=True).codes == [NA] * 8
    lone = attribute_codes([None, 2, *[None] * 6], more, lone_two_is_odd=True)
    assert lone.codes == [UNKNOWN, NA, *[UNKNOWN] * 6] and len(lone.odd) == 1
    assert attribute_codes([2, 0, *[None] * 6], more, lone_two_is_odd=True).codes == [2, 0, *[UNKNOWN] * 6]


def test_an_attribute_more_shifts_no_column(tmp_path: Path) -> None:
    more = replace(LEUKEMIA_ATTRI, attributes=(*LEUKEMIA_ATTRI.attributes, Attribute("auer_rods", "Auer Rods", ("absent", "present"))))
    first = replace(more, attributes=more.attributes[::-1])
    lines = "1 .5 .5 .1 .1 1 0 1 1 0 1 0\n1 .5 .5 .1 .1 0 1 1 0 1 0\n1 .5 .5 .1 .1\n0 .5 .5 .1 .1 2 2 2 2 2 2 2\n"
    file = tmp_path / "a.txt"
    file.write_text(lines)
    published = [(1, 0, 1, 1, 0, 1, 0), (UNKNOWN, 0, 1, 1, 0, 1, 0), (UNKNOWN,) * 7, (NA,) * 7]
    rods = (UNKNOWN, UNKNOWN, UNKNOWN, NA)
    faults: list[Fault] = []

    def cells_of(taxonomy: Taxonomy) -> tuple[CellLabel, ...]:
        rows = txt_rows(file, faults.append)
        return read_cells(rows, (100, 100), ClassNumbers(taxonomy), outlines(rows, taxonomy), faults.append)

    for taxonomy in (more, first):
        cells = cells_of(taxonomy)
        by_key = [dict(zip((a.key for a in taxonomy.attributes), cell.attributes, strict=True)) for cell in cells]
        assert [tuple(codes[a.key] for a in LEUKEMIA_ATTRI.attributes) for codes in by_key] == published
        assert tuple(codes["auer_rods"] for codes in by_key) == rods
        written = [txt_line(cell, (100, 100), taxonomy.widest_layout, taxonomy).split() for cell in cells]
        assert [tuple(map(int, words[5:])) for words in written] == [*published[:3], (2,) * 7]
    assert faults == []
    file.write_text("1 .5 .5 .1 .1 1 0 1 1 0 1 0 1\n")
    assert cells_of(more) == ()
    assert [str(fault) for fault in faults] == [f"{file}:1: 13 columns; expected 5, 11 or 12"]
    own = replace(more, txt_layouts=(*more.txt_layouts, TxtLayout("own-13", (*more.txt_layouts[-1].keys, "auer_rods"))))
    assert cells_of(own)[0].attributes == (1, 0, 1, 1, 0, 1, 0, 1)


@given(st.tuples(st.sampled_from([0, 1, 2, UNKNOWN, NA]), *[st.sampled_from([0, 1, UNKNOWN, NA])] * 6))
def test_codes_survive_txt(codes: tuple[int, ...]) -> None:
    assert attribute_codes(txt_codes(codes), LEUKEMIA_ATTRI, lone_two_is_odd=False).codes == list(codes)


def test_a_root_of_several_subsets_is_read_whole(tmp_path: Path) -> None:
    for name, split in (("H_100X_C1", "train"), ("L_40X_C2", "train"), ("L_10X_C2", "test")):
        write_subset(tmp_path / "LeukemiaAttri_Dataset" / name, {split: FIELDS})
    (tmp_path / "LeukemiaAttri_Dataset" / "notes").mkdir()
    found = read_split(tmp_path, "train")
    assert [p.path.parents[2].name for p in found] == ["H_100X_C1"] * 3 + ["L_40X_C2"] * 3
    assert [s.name for s in find_subsets(tmp_path)] == [f"LeukemiaAttri_Dataset/{n}" for n in ("H_100X_C1", "L_10X_C2", "L_40X_C2")]
    assert has_labels(tmp_path, "test")
    with pytest.raises(DataError, match="no Images/val; splits there: test, train"):
        read_split(tmp_path, "val")


@pytest.mark.parametrize(
    ("name", "parts"),
    [
        ("27_13_13_400_CML.jpg", ("27", "13", 40, "CML")),
        ("4_29_1000_ALL.png", ("4", "29", 100, "ALL")),
        ("12_3_7_100_AML.tif", ("12", "3", 10, "AML")),
        ("BA_139733.jpg", None),
        ("BloodImage_00000.jpg", None),
        ("4_29_300_ALL.png", None),
    ],
)
def test_what_a_file_name_says(name: str, parts: tuple[str, str, int, str] | None) -> None:
    found = film_name(name)
    assert (found and (found.patient, found.field, found.objective, found.diagnosis)) == parts
    assert patient_of(name) == (parts[0] if parts else None)


def test_an_impossible_label_is_refused_with_its_line(tmp_path: Path) -> None:
    root = write_subset(tmp_path, {"train": FIELDS}, json_labels=False)
    file = root / "txt_labels/AttriDet/train/1_1_1000_ALL.txt"
    file.write_text(f"{BLAST.txt()}\n\n14 0.5 0.5 0.1 0.1\n")
    with pytest.raises(DataError, match=r"1_1_1000_ALL\.txt:3: class 14; there are 0 to 13"):
        read_split(root, "train")
    write_json(root, "train", coco(FIELDS))
    data = coco(FIELDS)
    data["annotations"][1]["category_name"] = "Myeloblats"
    file = write_json(root, "train", data)
    with pytest.raises(DataError, match=rf"train\.json:{line_of(file, 'Myeloblats')}:1: .*did you mean 'Myeloblast'"):
        read_split(root, "train")


def test_what_is_left_out_is_counted_with_its_place(tmp_path: Path) -> None:
    slips = [BLAST, Cell(1, (5, 5, 0, 9)), Cell(2, (40, 5, 1, 1)), BLAST, NEUTROPHIL, Cell(10, NEUTROPHIL.box)]
    fields = {**FIELDS, "1_1_1000_ALL.png": slips, "4_1_1000_CLL.png": None}
    root = write_subset(tmp_path, {"train": fields}, txt=0)
    (root / "Images/train/1_2_1000_ALL.png").unlink()
    data = read_split(root, "train")
    assert [p.path.name for p in data] == ["1_1_1000_ALL.png", "2_1_1000_AML.png"]
    assert [len(p.classes) for p in data] == [1, 0] and data[0].ignored_px.tolist() == [[30, 10, 45, 26]] * 2
    assert data.summary == (
        "2 of 3 pictures; left out: 1 labelled picture that is missing, 1 box without area, 1 box too small for a cell, "
        "1 label that stands there twice, 1 box of two classes, 1 picture without label; 2 regions to ignore"
    )
    told = data.to_dict()
    assert (told["pictures"], told["used"]) == (3, 2) and told["left_out"]["image-unlabelled"]["count"] == 1
    assert "4_1_1000_CLL.png: no label file mentions it" in told["left_out"]["image-unlabelled"]["first"][0]


def test_a_split_that_is_sound_leaves_nothing_out(tmp_path: Path) -> None:
    data = read_split(write_subset(tmp_path, {"train": FIELDS}), "train")
    assert (data.summary, data.left_out, data.passed) == ("3 pictures", (), ())


def test_a_split_without_labels_is_pictures_alone(tmp_path: Path) -> None:
    root = write_subset(tmp_path, {"train": FIELDS})
    for folder in ("json_labels", "txt_labels"):
        shutil.rmtree(root / folder)
    assert [len(p.classes) for p in read_split(root, "train")] == [0, 0, 0] == [len(p.classes) for p in read_unlabelled(root, "train")]


def test_what_makes_figures_wrong_stops_with_its_first_places(tmp_path: Path) -> None:
    fields = {f"{n}_1_1000_ALL.png": [BLAST] for n in range(1, 6)}
    root = write_subset(tmp_path, {"train": fields}, txt=0)
    data = coco(fields)
    data["images"] = [image | {"width": 128, "height": 96} for image in data["images"]]
    write_json(root, "train", data)
    with pytest.raises(DataError) as caught:
        read_split(root, "train")
    words = str(caught.value)
    assert words.count("is said to be 128 x 96 px; the picture is 64 x 48") == 3
    assert words.endswith(f"; 2 more (attridet data check {root} names each)")


def test_pictures_of_other_kinds_are_said_once_and_read_as_the_appliance_reads_them(tmp_path: Path) -> None:
    root = write_subset(tmp_path, {"train": FIELDS})
    plain = [image.read() for image in read_split(root, "train")]
    assert read_split(root, "train").files == ""
    for image in read_split(root, "train"):
        cv2.imwrite(str(image.path), image.read().astype(np.uint16) * 16)
    (root / "Images/train/IMG_1.HEIC").write_bytes(b"heic")
    found = read_split(root, "train")
    assert found.summary == (
        f"{len(plain)} pictures; train: {len(plain)} pictures of 12 bits; 1 HEIC picture is not read: convert to JPEG or PNG"
    )
    assert all(np.array_equal(image.read(), before) for image, before in zip(found, plain, strict=True))


def test_a_picture_that_is_none_and_two_pictures_of_one_label_file_stop(tmp_path: Path) -> None:
    root = write_subset(tmp_path, {"train": FIELDS}, json_labels=False)
    file = root / "Images/train/1_1_1000_ALL.png"
    sound = file.read_bytes()
    file.write_bytes(b"")
    with pytest.raises(DataError, match=r"1_1_1000_ALL\.png: the file is empty"):
        read_split(root, "train")
    file.write_bytes(sound)
    picture(root / "Images/train/1_1_1000_ALL.bmp")
    with pytest.raises(DataError, match=r"1_1_1000_ALL\.bmp and 1_1_1000_ALL\.png share 1_1_1000_ALL\.txt; rename one of them"):
        read_split(root, "train")


def test_no_folder_no_picture(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="nowhere: no such folder"):
        read_split(tmp_path / "nowhere", "train")
    with pytest.raises(DataError, match="no data set"):
        read_split(tmp_path, "train")
    (tmp_path / "Images/train").mkdir(parents=True)
    with pytest.raises(DataError, match="holds no picture"):
        read_split(tmp_path, "train")


def test_the_size_of_a_picture_that_exif_turns(tmp_path: Path) -> None:
    from PIL import Image

    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (30, 20)).save(tmp_path / "turned.jpg", exif=exif)
    picture(tmp_path / "plain.png")
    assert image_size_hw(tmp_path / "turned.jpg") == (30, 20)
    assert image_size_hw(tmp_path / "plain.png") == (48, 64)
    (tmp_path / "text.png").write_text("no picture")
    with pytest.raises(DataError, match=r"text\.png: cannot be decoded"):
        image_size_hw(tmp_path / "text.png")


@given(st.lists(st.tuples(st.integers(0, 13), st.floats(0, 40), st.floats(0, 30), st.floats(2.1, 20), st.floats(2.1, 18)), max_size=4))
def test_boxes_of_txt_and_json_agree(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[int, float, float, float, float]]
) -> None:
    fields = {"1_1_1000_ALL.png": [Cell(code, (x, y, w, h)) for code, x, y, w, h in rows]}
    root = tmp_path_factory.mktemp("agree")
    by_json = read_split(write_subset(root / "a", {"val": fields}, txt=0), "val")
    by_txt = read_split(write_subset(root / "b", {"val": fields}, json_labels=False), "val")
    same(by_json[0], by_txt[0], boxes_px=1e-3)
