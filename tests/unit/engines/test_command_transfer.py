"""`attridet transfer` from folders to folders on rendered film: labels that come back, refusals with reasons, mistakes of the user."""

from __future__ import annotations

import csv
import json
import re
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import pytest
from commands import attridet

from engines.data.leukemiaattri import read_split
from engines.decode import box_iou
from engines.detections import Image
from engines.film import FieldTruth, Film, Microscope
from engines.taxonomy import LEUKEMIA_ATTRI

KEYS = ["cell_size", "nuclear_chromatio", *(a.key for a in LEUKEMIA_ATTRI.attributes[2:])]
FIRST, SECOND = (311.0, 258.0), (150.0, 350.0)


@dataclass(frozen=True, eq=False)
class View:
    """A rendered field and its truth, the boxes x1 y1 x2 y2."""

    image: Image
    truth: FieldTruth


@pytest.fixture(scope="module")
def views() -> dict[str, View]:
    film = Film(seed=7, case="AML", size_um=(600.0, 500.0))
    high, low = Microscope("H", "C2", 100, width_px=960), Microscope("L", "C2", 40, width_px=960)
    lowest = Microscope("L", "C2", 10, width_px=960)
    return {
        "100": View(*film.view(FIRST, high, (640, 480), noise_seed=1)),
        "40": View(*film.view((FIRST[0] + 8, FIRST[1] - 6), low, (480, 360), noise_seed=2)),
        "10": View(*film.view((FIRST[0] - 20, FIRST[1] + 10), lowest, (320, 240), noise_seed=3)),
        "100 other": View(*film.view(SECOND, high, (640, 480), noise_seed=1)),
        "40 other": View(*film.view(SECOND, low, (480, 360), noise_seed=2)),
    }


def write_side(root: Path, split: str, pictures: dict[str, tuple[Image, np.ndarray, np.ndarray, np.ndarray]]) -> None:
    """A data set in the published layout: name to picture, boxes, classes, attributes."""
    (root / "Images" / split).mkdir(parents=True)
    (root / "json_labels").mkdir(exist_ok=True)
    images, annotations = [], []
    for n, (name, (image, boxes, classes, attributes)) in enumerate(pictures.items(), start=1):
        cv2.imwrite(str(root / "Images" / split / name), image)
        images.append({"id": n, "file_name": name, "width": image.shape[1], "height": image.shape[0]})
        for (x1, y1, x2, y2), code, values in zip(boxes.tolist(), classes.tolist(), attributes.tolist(), strict=True):
            name_of = LEUKEMIA_ATTRI.classes[code]
            entry = {"id": len(annotations) + 1, "image_id": n, "category_id": code, "category_name": name_of}
            entry |= {"bbox": [x1, y1, x2 - x1, y2 - y1], "area": 1.0, "iscrowd": 0}
            annotations.append(entry | dict(zip(KEYS, [4 if v < 0 else v for v in values], strict=True)))
    categories = [{"id": i, "name": name} for i, name in enumerate(LEUKEMIA_ATTRI.classes)]
    content = {"images": images, "annotations": annotations, "categories": categories}
    (root / f"json_labels/{split}.json").write_text(json.dumps(content))


def labelled(view: View, shift: tuple[float, float] = (0, 0)) -> tuple[Image, np.ndarray, np.ndarray, np.ndarray]:
    boxes = np.clip(view.truth.boxes_px + np.array([*shift, *shift]), 0, [640, 480, 640, 480])
    return view.image, boxes.astype(np.float64), view.truth.classes, view.truth.attributes


def crop(view: View, x: int, y: int, w: int, h: int, code: int | None = None) -> tuple[Image, np.ndarray, np.ndarray, np.ndarray]:
    """Part of a view with the cells that are whole in it, all of one class if `code` is given."""
    boxes = view.truth.boxes_px.astype(np.float64) - np.array([x, y, x, y])
    inside = (boxes[:, :2] >= 0).all(axis=1) & (boxes[:, 2] <= w) & (boxes[:, 3] <= h)
    classes = view.truth.classes if code is None else np.full_like(view.truth.classes, code)
    return view.image[y : y + h, x : x + w], boxes[inside], classes[inside], view.truth.attributes[inside]


@pytest.fixture(scope="module")
def sides(views: dict[str, View], tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Five fields of patient 7: one that goes well, seen by two sources; another place; labels moved; turned; without partner."""
    root = tmp_path_factory.mktemp("transfer")
    write_side(
        root / "H_100X",
        "val",
        {
            "7_1_1000_AML.png": labelled(views["100"]),
            "7_1_2_1000_AML.png": crop(views["100"], 230, 60, 400, 400, code=3),
            "7_2_1000_AML.png": labelled(views["100"]),
            "7_3_1000_AML.png": labelled(views["100 other"], (-130, 90)),
            "7_4_1000_AML.png": labelled(views["100 other"]),
            "7_5_1000_AML.png": labelled(views["100 other"]),
        },
    )
    low = root / "L_40X"
    low.mkdir()
    other = views["40 other"].image
    for name, image in (
        ("7_1_9_400_AML.png", views["40"].image),
        ("7_2_9_400_AML.png", other),
        ("7_3_9_400_AML.png", other),
        ("7_4_9_400_AML.png", cv2.rotate(other, cv2.ROTATE_180)),
        ("unnamed.png", other),
    ):
        cv2.imwrite(str(low / name), image)
    return root / "H_100X", low


def invoke(*arguments: object) -> str:
    """The command's words, run to exit code 0."""
    called = attridet("transfer", *arguments)
    assert called.code == 0, called
    return called.out


@pytest.fixture(scope="module")
def done(sides: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    out = tmp_path_factory.mktemp("out") / "carried"
    return out, invoke("--from", sides[0], "--to", sides[1], "--out", out)


def status(out: Path) -> dict[tuple[str, str], dict[str, str]]:
    with (out / "status.csv").open(newline="", encoding="utf-8") as file:
        return {(row["source"], row["target"]): row for row in csv.DictReader(file)}


def test_each_pair_is_accepted_or_refused_for_its_own_reason(done: tuple[Path, str]) -> None:
    out, words = done
    rows = {source.split("_1000")[0]: row for (source, _), row in status(out).items()}
    assert {name: row["status"] for name, row in rows.items()} == {
        "7_1": "accepted",
        "7_1_2": "accepted",
        "7_2": "refused",
        "7_3": "refused",
        "7_4": "refused",
    }
    assert rows["7_2"]["reason"].startswith("no common field found")
    assert "the source's own labels are not sound" in rows["7_3"]["reason"]
    assert "turned by 180" in rows["7_4"]["reason"] or "turned by -180" in rows["7_4"]["reason"]
    assert float(rows["7_1"]["scale"]) == pytest.approx(0.4, rel=0.02)
    assert "2 of 5 pairs accepted, 3 refused, 2 pictures without a partner" in words
    with (out / "manual.csv").open(newline="", encoding="utf-8") as file:
        manual = {row["source"]: row["reason"] for row in csv.DictReader(file)}
    assert manual["7_5_1000_AML.png"] == "no target of field 5 of patient 7"
    assert "does not begin with a patient" in manual["unnamed.png"]
    assert len(manual) == 5


def test_the_labels_come_back_where_the_cells_are(done: tuple[Path, str], views: dict[str, View]) -> None:
    """Read by the house's own reader; only the accepted picture is there, in the split of its source."""
    read = read_split(done[0], "val")
    assert [p.path.name for p in read] == ["7_1_9_400_AML.png"]
    here = read[0]
    truth, source = views["40"].truth, views["100"].truth
    rows = [list(truth.cell_ids).index(cell) for cell in source.cell_ids]
    iou = box_iou(here.boxes_px, truth.boxes_px[rows])
    whole = source.visible > 0.99
    assert iou.max(axis=0)[whole].mean() >= 0.95
    for n in np.flatnonzero(whole):
        carried = int(iou[:, n].argmax())
        assert here.attributes[carried].tolist() == source.attributes[n].tolist()
    txt = (done[0] / "txt_labels/AttriDet/val/7_1_9_400_AML.txt").read_text().splitlines()
    assert len(txt) == len(here.boxes_px)
    assert all(len(line.split()) == 12 for line in txt)


def test_every_label_says_where_it_comes_from(done: tuple[Path, str]) -> None:
    data = json.loads((done[0] / "json_labels/val.json").read_text())
    maps = {entry["id"]: entry for entry in data["transfer"]["registrations"]}
    assert data["transfer"]["limits"]["min_inliers"] == 20
    assert len(maps) == 2
    assert all(np.array(entry["homography"]).shape == (3, 3) for entry in maps.values())
    for label in data["annotations"]:
        assert 0.5 < label["confidence"] <= 1
        made = label["provenance"]
        assert maps[made["registration"]]["source"] == made["source"]
        assert len(made["source_bbox"]) == 4
        assert made["position_error_px"] < 2
        assert label["area"] > 10  # of the box here, not what the source said
    twice = [label for label in data["annotations"] if "also_in" in label["provenance"]]
    assert len(twice) >= 2  # whole cells that both sources show
    for label in twice:
        assert {entry["source"] for entry in label["provenance"]["also_in"]} == {"7_1_2_1000_AML.png"}
        assert "sources disagree on the type" in label["flags"]  # the second source calls every cell a neutrophil
    picture = data["images"][0]
    area = sum(_area(region) for region in picture["ignore_regions"])
    assert area == pytest.approx(480 * 360 - 640 * 480 * 0.16, rel=0.03)


def _area(flat: list[float]) -> float:
    return float(cv2.contourArea(np.array(flat, np.float32).reshape(-1, 2)))


def test_the_page_shows_all_pairs(done: tuple[Path, str]) -> None:
    report = done[0] / "report"
    page = (report / "index.html").read_text(encoding="utf-8")
    pictures = sorted(p.name for p in report.glob("*.png"))
    assert len([p for p in pictures if p.endswith("-target.png")]) == 5
    for name in pictures:
        assert f'src="{name}"' in page
        assert cv2.imread(str(report / name)) is not None
    for words in ("7_5_1000_AML.png", "no target of field 5", "turned by", "Neutrophil", "sources disagree on the type"):
        assert words in page
    # no map, no overlay and no matches
    assert len([p for p in pictures if p.endswith("-laid.png")]) == 4


def test_asked_for_a_turn_and_grey_paint(sides: tuple[Path, Path], views: dict[str, View], tmp_path: Path) -> None:
    pairs = tmp_path / "pairs.csv"
    pairs.write_text("source,target\n7_4_1000_AML,7_4_9_400_AML.png\n")
    common = ("--from", sides[0], "--to", sides[1], "--pairs", pairs, "--any-rotation", "--grey-out", "--pictures", 0)
    words = invoke(*common, "--out", tmp_path / "out")
    assert "1 of 1 pairs accepted" in words
    read = read_split(tmp_path / "out", "val")[0]
    truth = views["40 other"].truth
    turned = np.array([480, 360, 480, 360]) - truth.boxes_px[:, [2, 3, 0, 1]]
    assert box_iou(read.boxes_px, turned).max(axis=1).mean() > 0.85  # cells cut by the source's edge come shorter
    image, original = read.read(), cv2.rotate(views["40 other"].image, cv2.ROTATE_180)
    grey = (image == 114).all(axis=2)
    assert grey.mean() == pytest.approx(1 - 640 * 480 * 0.16 / (480 * 360), abs=0.02)
    np.testing.assert_array_equal(image[~grey], original[~grey])
    assert not list((tmp_path / "out/report").glob("*.png"))


def test_a_pair_too_far_apart_goes_by_way_of_another(views: dict[str, View], tmp_path: Path) -> None:
    """A small piece at 100x has too little in common with 10x; through 40x it gets there."""
    write_side(tmp_path / "H", "train", {"7_1_1000_AML.png": crop(views["100"], 0, 0, 400, 320)})
    for folder, name, key in (("M", "7_1_9_400_AML.png", "40"), ("L", "7_1_9_100_AML.png", "10")):
        (tmp_path / folder).mkdir()
        cv2.imwrite(str(tmp_path / folder / name), views[key].image)
    common = ("--from", tmp_path / "H", "--to", tmp_path / "L", "--scale", 0.1)
    assert "0 of 1 pairs accepted" in invoke(*common, "--out", tmp_path / "direct")
    assert not (tmp_path / "direct/json_labels").exists()
    words = invoke(*common, "--via", tmp_path / "M", "--out", tmp_path / "chain")
    assert "1 of 1 pairs accepted" in words
    row = next(iter(status(tmp_path / "chain").values()))
    assert row["via"] == "7_1_9_400_AML.png"
    read = read_split(tmp_path / "chain", "train")[0]
    assert len(read.boxes_px) >= 1
    assert box_iou(read.boxes_px, views["10"].truth.boxes_px).max(axis=1).mean() > 0.8  # 10 px: half a pixel is a tenth
    assert "refused" in invoke(*common, "--via", tmp_path / "L", "--out", tmp_path / "none")  # nothing between


def test_labels_that_the_target_has_are_compared_and_checked(views: dict[str, View], tmp_path: Path) -> None:
    write_side(tmp_path / "H", "train", {"7_1_1000_AML.png": labelled(views["100"])})
    here = views["40"].truth
    write_side(tmp_path / "L", "train", {"7_1_9_400_AML.png": (views["40"].image, here.boxes_px, here.classes, here.attributes)})
    words = invoke("--from", tmp_path / "H", "--to", tmp_path / "L", "--out", tmp_path / "same")
    # Three cells are whole in the source; one is cut by its edge.
    assert re.search(r"against the target's 14 labels: 3 agree, mean IoU (1.00|0.9)", words), words
    moved = np.clip(here.boxes_px + np.array([55, -45, 55, -45]), 0, [480, 360, 480, 360])
    keep = ((moved[:, 2:] - moved[:, :2]) > 10).all(axis=1)
    write_side(
        tmp_path / "wrong", "train", {"7_1_9_400_AML.png": (views["40"].image, moved[keep], here.classes[keep], here.attributes[keep])}
    )
    words = invoke("--from", tmp_path / "H", "--to", tmp_path / "wrong", "--out", tmp_path / "moved")
    assert "labels that the target has already:" in words
    assert "the labels are misplaced" in words
    assert "0 agree" in words


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a,b\n1,2\n", "pairs.csv:1: the first line must name the columns source,target"),
        ("source,target\n7_1_1000_AML,nothing.png\n", "pairs.csv:2: there is no picture nothing.png in the folder of --to"),
        ("target,source\n7_1_9_400_AML\n", "pairs.csv:2: a pair needs a source and a target"),
        ("source,target\n", "pairs.csv: names no pair"),
    ],
)
def test_a_wrong_list_of_pairs_is_the_users_mistake(sides: tuple[Path, Path], tmp_path: Path, text: str, words: str) -> None:
    (tmp_path / "pairs.csv").write_text(text)
    refused(words, "--from", sides[0], "--to", sides[1], "--pairs", tmp_path / "pairs.csv", "--out", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_other_mistakes_name_their_folder(sides: tuple[Path, Path], tmp_path: Path) -> None:
    out = ("--out", tmp_path / "out")
    refused("nowhere: no such folder", "--from", tmp_path / "nowhere", "--to", sides[1], *out)
    refused("splits there: val", "--from", sides[0], "--to", sides[1], "--from-split", "test", *out)
    refused("exists already", "--from", sides[0], "--to", sides[1], "--out", sides[1])
    refused("exclude each other", "--from", sides[0], "--to", sides[1], "--every-pair", "--pairs", tmp_path / "x.csv", *out)
    other = tmp_path / "other"
    other.mkdir()
    cv2.imwrite(str(other / "9_9_400_ALL.png"), np.zeros((50, 60, 3), np.uint8))
    refused("no field is in both folders", "--from", sides[0], "--to", other, *out)
    (other / "9_9_400_ALL.png").write_bytes(b"no picture")
    refused("cannot be decoded", "--from", sides[0], "--to", other, *out)
    assert not (tmp_path / "out").exists()
    assert not list(tmp_path.glob(".out*"))


def refused(words: str, *arguments: object) -> None:
    """The command fails for a reason that the user can mend (exit code 2 by `engines.cli.main`)."""
    called = attridet("transfer", *arguments)
    assert called.code == 2 and called.err.startswith("attridet: "), called
    assert words in called.err
