"""One gate before any number: labels in whatever form they come give the right values, or a refusal that says what they look like."""

from __future__ import annotations

import json
import shutil
import unicodedata
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from faster_coco_eval.core import mask as coco_mask
from labelled import CLASSES, SIZE_WH, Cell, coco, picture, write_json, write_subset, write_txt

from engines.data.check import check
from engines.data.export import Format, export
from engines.data.faults import Kind, Level
from engines.data.leukemiaattri import SplitData, read_split
from engines.data.masks import segmentation_box
from engines.data.splits import plan
from engines.errors import DataError

W, H = SIZE_WH
FIELDS = {
    "1_1_1000_ALL.png": [Cell(1, (0, 5, 20, 18)), Cell(2, (30, 0, 15, 12)), Cell(3, (44, 30, 20, 18))],
    "1_2_1000_ALL.png": [Cell(10, (25, 20, 14, 16)), Cell(12, (0, 34, 12, 14))],
    "2_1_1000_AML.png": [Cell(4, (10, 10, 21, 13)), Cell(0, (50, 6, 14, 9), (4,) * 7)],
}
Numbers = Sequence[float]


def found(data: SplitData) -> list[list[tuple[int, ...]]]:
    """Class and box in px of each label."""
    return [[(int(c), *(round(float(v)) for v in box)) for c, box in zip(p.classes, p.boxes_px, strict=True)] for p in data]


WANTED = [[(c.code, *(round(v) for v in (*c.box[:2], c.box[0] + c.box[2], c.box[1] + c.box[3]))) for c in f] for f in FIELDS.values()]


def rows(root: Path, row: Callable[[Cell], str], split: str = "val") -> Path:
    """A data set with TXT labels of one's own making; returns the folder of labels."""
    folder = write_txt(write_subset(root, {split: dict.fromkeys(FIELDS)}, json_labels=False, txt=0), split, FIELDS)
    for name, cells in FIELDS.items():
        (folder / f"{Path(name).stem}.txt").write_text("\n".join(map(row, cells)))
    return folder


def corners(box: Numbers) -> Numbers:
    x, y, w, h = box
    return (x, y, x + w, y + h)


def centre(box: Numbers) -> Numbers:
    x, y, w, h = box
    return (x + w / 2, y + h / 2, w, h)


def left_top(box: Numbers) -> Numbers:
    return box


def shares(box: Numbers, of: float = 1.0) -> Numbers:
    return tuple(of * v / side for v, side in zip(box, (W, H, W, H), strict=True))


CENTRE, CORNERS, LEFT_TOP = "centre x, centre y, width, height", "x1 y1 x2 y2 (corners)", "left, top, width, height"
ORDERS = ((CENTRE, centre), (CORNERS, corners), (LEFT_TOP, left_top))


@pytest.mark.parametrize(("words", "order"), ORDERS, ids=["centre", "corners", "left-top"])
@pytest.mark.parametrize(("unit", "of"), [("px", 0), ("shares", 1), ("per cent", 100), ("thousandths", 1000)])
def test_boxes_of_txt_in_another_convention_are_refused_by_its_name(
    tmp_path: Path, words: str, order: Callable[[Numbers], Numbers], unit: str, of: float
) -> None:
    rows(tmp_path, lambda c: " ".join(map(str, (c.code, *(shares(order(c.box), of) if of else order(c.box))))))
    if (words, unit) == (CENTRE, "shares"):
        assert found(read_split(tmp_path, "val")) == WANTED
        return
    with pytest.raises(DataError, match=f"they look like {words.replace('(', '.').replace(')', '.')} in {unit}"):
        read_split(tmp_path, "val")
    (fault,) = check(tmp_path).faults
    assert fault.kind is Kind.BOX_CONVENTION


@pytest.mark.parametrize(("words", "order"), ORDERS, ids=["centre", "corners", "left-top"])
@pytest.mark.parametrize("unit", ["px", "shares"])
def test_boxes_of_json_in_another_convention_are_refused_everywhere(
    tmp_path: Path, words: str, order: Callable[[Numbers], Numbers], unit: str
) -> None:
    root = write_subset(tmp_path / "set", {"val": FIELDS}, txt=0)
    data = coco(FIELDS)
    for one in data["annotations"]:
        one["bbox"] = list(shares(order(one["bbox"])) if unit == "shares" else order(one["bbox"]))
    write_json(root, "val", data)
    if (words, unit) == (LEFT_TOP, "px"):
        assert found(read_split(root, "val")) == WANTED
        return
    for attempt in (
        lambda: read_split(root, "val"),
        lambda: export(root, Format.TXT5, tmp_path / "out"),
        lambda: plan(root, {"train": 0.5, "val": 0.5}, 0, ("val",)),
    ):
        with pytest.raises(DataError, match=f"they look like {words.replace('(', '.').replace(')', '.')} in {unit}"):
            attempt()


ORDER = sorted(CLASSES)
LISTS: dict[str, tuple[str, str]] = {
    "data.yaml, a list": ("data.yaml", json.dumps({"nc": 14, "names": ORDER})),
    "data.yaml, a mapping": ("txt_labels/data.yaml", "names:\n" + "".join(f"  {n}: {name}\n" for n, name in enumerate(ORDER))),
    "classes.txt": ("txt_labels/AttriDet/val/classes.txt", "\n".join(f"{name.upper().replace(' ', '_')}s" for name in ORDER) + "\n"),
    "obj.names": ("obj.names", "\ufeff" + "\r\n".join(ORDER)),
    "notes.json": ("txt_labels/notes.json", json.dumps({"categories": [{"id": n, "name": name} for n, name in enumerate(ORDER)]})),
}


@pytest.mark.parametrize(("file", "text"), LISTS.values(), ids=LISTS)
def test_class_lists_say_what_the_numbers_mean(tmp_path: Path, file: str, text: str) -> None:
    rows(tmp_path, lambda c: " ".join(map(str, (ORDER.index(CLASSES[c.code]), *shares(centre(c.box))))))
    (tmp_path / file).write_text(text, encoding="utf-8")
    assert found(read_split(tmp_path, "val")) == WANTED
    told = check(tmp_path)
    assert told.findings == ()
    numbers = told.to_dict()["class_lists"][f"{tmp_path.name}/val"]["numbers"]
    assert numbers[ORDER.index("Eosinophil")]["class"] == "Eosinophil" and len(numbers) == 14
    export(
        tmp_path,
        Format.JSON,
        tmp_path.parent / f"{tmp_path.name}-json",
    )
    assert found(read_split(tmp_path.parent / f"{tmp_path.name}-json", "val")) == WANTED


def test_a_name_that_is_no_class_is_refused_where_a_label_uses_it(tmp_path: Path) -> None:
    rows(tmp_path, lambda c: " ".join(map(str, (c.code, *shares(centre(c.box))))))
    names = [*CLASSES, "WBC clump"]
    (tmp_path / "classes.txt").write_text("\n".join(names))
    assert found(read_split(tmp_path, "val")) == WANTED
    names[1] = "Myelobla"
    (tmp_path / "classes.txt").write_text("\n".join(names))
    with pytest.raises(DataError, match=r"1_1_1000_ALL.txt:1: class 1 is 'Myelobla' in .*classes.txt, .*did you mean 'Myeloblast'"):
        read_split(tmp_path, "val")


def test_lists_that_disagree_are_refused_with_both_names_and_none_is_a_note(tmp_path: Path) -> None:
    rows(tmp_path, lambda c: " ".join(map(str, (c.code, *shares(centre(c.box))))))
    (note,) = read_split(tmp_path, "val").passed
    assert note.kind is Kind.CLASS_ORDER and "the order assumed is 0 None, 1 Myeloblast, 2 Lymphoblast" in note.message
    (tmp_path / "classes.txt").write_text("\n".join(CLASSES))
    (tmp_path / "data.yaml").write_text("names: [None, Lymphoblast]")
    with pytest.raises(DataError, match=r"data.yaml: names class 1 'Lymphoblast', .*classes.txt 'Myeloblast'"):
        read_split(tmp_path, "val")


def outline(cell: Cell, number: int) -> str:
    """A box as a polygon of `number` corners, the first ones again at the end."""
    x0, y0, x1, y1 = shares(corners(cell.box))
    points = [(x0, y0), (x1, y0), (x1, y1), (x0, y1)] * 2
    return " ".join(f"{v:g}" for v in (cell.code, *(v for point in points[:number] for v in point)))


@pytest.mark.parametrize("number", [3, 4, 5, 6])
def test_outlines_give_the_box_around_them_also_along_the_edge(tmp_path: Path, number: int) -> None:
    rows(tmp_path, lambda c: outline(c, number))
    data = read_split(tmp_path, "val")
    assert found(data) == WANTED
    assert any(
        f.kind is Kind.OUTLINES and f"7 of 7 labels are outlines (polygons of {number} corners)" in f.message for f in data.passed
    )


def test_a_wrong_attribute_makes_no_outline_of_a_box(tmp_path: Path) -> None:
    folder = rows(tmp_path, lambda c: c.txt(11))
    (folder / "1_1_1000_ALL.txt").write_text(Cell(1, (4, 4, 20, 18)).txt(11)[:-1] + "0.5")
    with pytest.raises(DataError, match=r"Cytoplasmic Vacuoles is 0\.5"):
        read_split(tmp_path, "val")


def move(root: Path, moves: dict[str, str]) -> Path:
    for here, there in moves.items():
        (root / there).parent.mkdir(parents=True, exist_ok=True)
        (root / here).rename(root / there)
    return root


def set_of(root: Path, *, txt: bool) -> Path:
    root = write_subset(root, {"val": FIELDS}, json_labels=not txt, txt=12 if txt else 0)
    if txt:
        (root / "data.yaml").write_text(json.dumps({"names": CLASSES}))
    return root


LAYOUTS: dict[str, tuple[bool, dict[str, str]]] = {
    "Roboflow's YOLO": (True, {"Images/val": "valid/images", "txt_labels/AttriDet/val": "valid/labels"}),
    "Roboflow's COCO": (False, {"Images/val": "valid", "json_labels/val.json": "valid/_annotations.coco.json"}),
    "Ultralytics'": (True, {"Images/val": "images/val", "txt_labels/AttriDet/val": "labels/val"}),
    "validation": (True, {"Images/val": "images/validation", "txt_labels/AttriDet/val": "labels/validation"}),
    "JSON in capitals": (False, {"json_labels/val.json": "json_labels/VAL.JSON"}),
}


@pytest.mark.parametrize(("txt", "moves"), LAYOUTS.values(), ids=LAYOUTS)
def test_folders_of_other_programs(tmp_path: Path, txt: bool, moves: dict[str, str]) -> None:
    root = move(set_of(tmp_path, txt=txt), moves)
    for split in ("val", "valid"):
        assert found(read_split(root, split)) == WANTED
    assert check(root).findings == () and check(root).total.cells == 7


def test_labels_in_capitals_and_what_a_mac_leaves(tmp_path: Path) -> None:
    root = set_of(tmp_path / "set", txt=True)
    for file in (root / "txt_labels/AttriDet/val").iterdir():
        file.rename(file.with_suffix(".TXT"))
    for name in ("Images/val/._1_1_1000_ALL.png", "txt_labels/AttriDet/val/._1_1_1000_ALL.txt", "Images/val/.DS_Store"):
        (root / name).write_bytes(b"\0\5\x16\7")
    shutil.copytree(root, tmp_path / "__MACOSX/set")
    assert found(read_split(tmp_path, "val")) == WANTED and check(tmp_path).findings == ()


def test_a_folder_without_splits_is_checked_and_divided(tmp_path: Path) -> None:
    root = move(set_of(tmp_path / "set", txt=True), {"Images/val": "pictures", "txt_labels/AttriDet/val": "labels"})
    shutil.rmtree(root / "Images")
    (root / "pictures").rename(root / "images")
    assert check(root).total.cells == 7 and check(root).faults == ()
    with pytest.raises(DataError, match="is not divided into splits; attridet data split"):
        read_split(root, "val")
    assert sum(len(p) for p in plan(root, {"train": 0.5, "val": 0.5}, 0).sides.values()) == 3


NAMES: dict[str, Callable[[str], str]] = {
    "accents composed otherwise": lambda name: unicodedata.normalize("NFC", name),
    "percent escapes": lambda name: name.replace("_", "%5F"),
    "Label Studio's hash": lambda name: f"upload/7/a1b2c3d4-{name}",
}


@pytest.mark.parametrize("written", NAMES.values(), ids=NAMES)
def test_names_as_exporters_write_them(tmp_path: Path, written: Callable[[str], str]) -> None:
    fields = {unicodedata.normalize("NFD", f"Müller_{name}"): cells for name, cells in FIELDS.items()}
    root = write_subset(tmp_path, {"val": fields}, txt=0)
    data = coco(fields)
    for image in data["images"]:
        image["file_name"] = written(image["file_name"])
    write_json(root, "val", data)
    read = read_split(root, "val")
    assert found(read) == WANTED and {f.kind for f in read.passed} == {Kind.NAME_SPELLED} and len(read.passed) == 3


def changed(root: Path, change: Callable[[dict[str, Any]], None]) -> SplitData:
    root = write_subset(root, {"val": FIELDS}, txt=0)
    data = coco(FIELDS)
    change(data)
    write_json(root, "val", data)
    return read_split(root, "val")


def mask(x: int, y: int, w: int, h: int) -> dict[str, Any]:
    """A mask as pycocotools compresses it."""
    pixels = np.zeros((H, W), np.uint8, order="F")
    pixels[y : y + h, x : x + w] = 1
    encoded = coco_mask.encode(pixels)
    return {"size": [H, W], "counts": encoded["counts"].decode() if isinstance(encoded["counts"], bytes) else encoded["counts"]}


CROWD = {"image_id": 1, "category_id": 7, "iscrowd": 1}
REGIONS = [
    {**CROWD, "id": 90, "category_name": "Lymphocyte", "bbox": [2, 24, 30, 20]},
    {**CROWD, "id": 91, "category_name": "a clump", "segmentation": [[2, 24, 32, 24, 32, 44]]},
    {**CROWD, "id": 92, "segmentation": mask(2, 24, 30, 20)},
    {**CROWD, "id": 93, "segmentation": {"size": [H, W], "counts": [2 * H + 24, *[20, H - 20] * 29, 20, (W - 31) * H - 44]}},
]


def test_crowds_are_regions_to_ignore_whatever_their_form(tmp_path: Path) -> None:
    data = changed(tmp_path / "set", lambda d: d["annotations"].extend(REGIONS))
    assert found(data) == WANTED and data.regions == 4 and data.summary == "3 pictures; 4 regions to ignore"
    assert data[0].ignored_px.tolist() == [[2, 24, 32, 44]] * 4 and not len(data[1].ignored_px)
    told = check(tmp_path / "set")
    assert (told.findings, told.total.cells, told.total.ignored) == ((), 7, 4)
    assert export(tmp_path / "set", Format.JSON, tmp_path / "json").lost == ()
    again = read_split(tmp_path / "json", "val")
    assert found(again) == WANTED and again[0].ignored_px.tolist() == data[0].ignored_px.tolist()
    (lost, *_) = export(tmp_path / "set", Format.TXT12, tmp_path / "txt").lost
    assert lost.startswith("4 regions to ignore") and found(read_split(tmp_path / "txt", "val")) == WANTED


def test_regions_that_transfer_marked_are_ignored(tmp_path: Path) -> None:
    data = changed(tmp_path, lambda d: d["images"][1].update(ignore_regions=[[0, 0, 20, 0, 20, 10, 0, 10], [50, 40, 64, 40, 64, 48]]))
    assert data[1].ignored_px.tolist() == [[0, 0, 20, 10], [50, 40, 64, 48]] and found(data) == WANTED


def test_a_mask_in_pieces_has_one_box() -> None:
    runs = {"size": [10, 10], "counts": [12, 3, 20, 2, 5, 1, 57]}
    assert segmentation_box(runs) == (1, 2, 4, 5) and segmentation_box({"size": [10, 10], "counts": [100]}) is None


def test_two_label_files_joined_are_read_each_with_its_own_ids(tmp_path: Path) -> None:
    def join(data: dict[str, Any]) -> None:
        data["images"][2]["id"] = 1
        data["images"].insert(1, data["images"][0])
        for number, one in enumerate(data["annotations"][5:], start=1):
            one.update(id=number, image_id=1)
        for one in data["annotations"]:
            one["category_name"] = one["category_name"].lower()
            one["category_id"] = one["category_id"] or 14
        data["categories"] = [{"id": n or 14, "name": name.lower()} for n, name in enumerate(CLASSES)]

    data = changed(tmp_path, join)
    assert found(data) == WANTED and {f.kind for f in data.passed} == {Kind.FILES_JOINED, Kind.IMAGE_REPEATED}


def test_ids_that_are_no_numbers_and_numbers_in_quotes(tmp_path: Path) -> None:
    def spell(data: dict[str, Any]) -> None:
        for image in data["images"]:
            image.update(id=f"9f696ac9-b386-{image['id']}", height=f"{image['height']}.0")
        for one in data["annotations"]:
            one.update(id=f"x{one['id']}", image_id=f"9f696ac9-b386-{one['image_id']}")

    assert found(changed(tmp_path, spell)) == WANTED
    with pytest.raises(DataError, match=r"val.json:3:1: an image is not as it should be: height is '48.5'; a whole number is needed"):
        changed(tmp_path, lambda d: d["images"][0].update(height="48.5"))


ODD: list[tuple[str, str, Any]] = [
    ("images", "id", [1]),
    ("images", "id", {"a": 1}),
    ("images", "file_name", None),
    ("images", "ignore_regions", [3]),
    ("images", "ignore_regions", [{"counts": [1], "size": ["a", 2]}]),
    ("annotations", "bbox", {"a": 1}),
    ("annotations", "image_id", [[1]]),
    ("categories", "id", float("inf")),
]


@pytest.mark.parametrize(("part", "key", "value"), ODD, ids=[f"{part}-{key}-{value}" for part, key, value in ODD])
def test_what_no_program_should_write_is_refused_with_its_line(tmp_path: Path, part: str, key: str, value: Any) -> None:
    with pytest.raises(DataError, match=r"val\.json:\d+:1: "):
        changed(tmp_path, lambda d: d[part][0].update({key: value}))


@pytest.mark.parametrize(
    "segmentation", ["zz", {"counts": "zz"}, {"counts": [5, 3, 1], "size": [0, 0]}, [[float("nan")] * 6], [[1, "x"]]]
)
def test_what_is_no_segmentation(segmentation: Any) -> None:
    with pytest.raises(ValueError, match=r"outline|could not convert"):
        segmentation_box(segmentation)


def test_numbers_of_another_order_are_one_diagnosis(tmp_path: Path) -> None:
    root = write_subset(tmp_path, {"val": FIELDS}, txt=0)
    moved = {name: [Cell((c.code + 3) % 14, c.box, c.values) for c in cells] for name, cells in FIELDS.items()}
    write_txt(root, "val", moved)
    (fault,) = check(root).faults
    assert fault.kind is Kind.CLASS_NUMBERS
    assert "TXT 4 = JSON Myeloblast in 1 of 1, TXT 5 = JSON Lymphoblast in 1 of 1, TXT 6 = JSON Neutrophil in 1 of 1" in fault.message


def test_one_number_of_another_class_is_one_line_with_its_count_and_a_slip_of_the_hand_is_its_own(tmp_path: Path) -> None:
    cells = [Cell(3, (x, y, 8, 8)) for x in (2, 14, 26) for y in (4, 20, 34)]
    root = write_subset(tmp_path, {"val": {"1_1_1000_ALL.png": [*cells, Cell(1, (40, 4, 9, 9))]}}, txt=0)
    moved = [Cell(11, cell.box) for cell in cells]
    write_txt(root, "val", {"1_1_1000_ALL.png": [*moved, Cell(1, (40, 4, 9, 9))]})
    (fault,) = check(root).faults
    assert (
        fault.kind is Kind.CLASS_NUMBERS and "by the JSON's names: TXT 11 = JSON Neutrophil in 9 of 9; write them anew" in fault.message
    )
    write_txt(root, "val", {"1_1_1000_ALL.png": [*cells[:-2], *moved[-2:], Cell(1, (40, 4, 9, 9))]})
    assert [fault.kind for fault in check(root).faults] == [Kind.SOURCES_DISAGREE] * 2


def test_a_check_that_saw_no_label_is_not_clean(tmp_path: Path) -> None:
    picture(tmp_path / "a/1_1_1000_ALL.png")
    (tmp_path / "a/1_1_1000_ALL.xml").write_text("<annotation/>")
    (fault,) = check(tmp_path).faults
    assert fault.kind is Kind.NO_LABELS and f"{tmp_path / 'a'} holds 1 .xml files that belong to no layout" in fault.message


def test_the_table_in_the_documentation_says_what_commands_do() -> None:
    table = (Path(__file__).parents[3] / "docs/data.md").read_text().partition("## One gate")[2].partition("## Commands")[0]
    said: dict[str, str] = {}
    for line in table.splitlines():
        if line.startswith("| `") and line.count(" | ") == 3:
            slugs, _, verdict, commands = line.strip("| ").split(" | ")
            assert verdict.startswith("note") or "fault" in verdict
            said |= {slug.strip("` "): "note" if verdict.startswith("note") else commands for slug in slugs.split(",")}
    for kind in Kind:
        words = {Level.REFUSED: "stop", Level.LEFT_OUT: "count", Level.FAULT: "", Level.NOTE: "note"}[kind.level]
        assert words in said.pop(kind.slug), kind.slug
    assert not said
