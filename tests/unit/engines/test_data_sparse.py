"""Pictures labelled in part: what was not looked at is neither cell nor background, from the label file to the region to ignore."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from labelled import CLASSES, Cell, coco, write_json, write_subset, write_txt

from engines.data.check import check
from engines.data.export import Format, export
from engines.data.faults import Kind
from engines.data.labelled_regions import outside
from engines.data.leukemiaattri import read_split
from engines.errors import DataError

FIELDS = {
    "1_1_1000_ALL.png": [Cell(1, (4, 4, 20, 18)), Cell(3, (6, 22, 15, 16))],
    "1_2_1000_ALL.png": [Cell(3, (40, 10, 15, 16))],
    "2_1_1000_AML.png": [],
}
WHOLE = 64 * 48


def said(root: Path, *regions: object) -> Path:
    """The fields with `labelled_region` of the first pictures."""
    write_subset(root, {"train": FIELDS}, txt=0)
    data = coco(FIELDS)
    for image, region in zip(data["images"], regions, strict=False):
        image["labelled_region"] = region
    write_json(root, "train", data)
    return root


@pytest.mark.parametrize("seed", range(20))
def test_the_ground_outside_is_all_but_the_regions_and_never_twice(seed: int) -> None:
    rng = np.random.default_rng(seed)
    drawn = rng.integers(-5, 40, (rng.integers(0, 4), 4)) + np.array([0, 0, 6, 6])
    regions = [(float(x), float(y), float(max(w, 1)), float(max(h, 1))) for x, y, w, h in drawn]
    looked_at = np.zeros((30, 40), bool)
    for x, y, w, h in regions:
        looked_at[int(max(y, 0)) : int(max(y + h, 0)), int(max(x, 0)) : int(max(x + w, 0))] = True
    times = np.zeros((30, 40), int)
    for x1, y1, x2, y2 in outside(regions, (30, 40)).astype(int):
        times[y1:y2, x1:x2] += 1
    np.testing.assert_array_equal(times, ~looked_at)


def test_what_was_not_labelled_is_ignored_and_written_again(tmp_path: Path) -> None:
    data = read_split(said(tmp_path / "set", [0, 0, 32, 48], [[32, 0, 32, 24], [0, 0, 8, 8]]), "train")
    assert data[0].ignored_px.tolist() == data[0].unlabelled_px.tolist() == [[32, 0, 64, 48]]
    assert [len(p.classes) for p in data] == [2, 1, 0] and not len(data[2].ignored_px)
    left = float(np.prod(data[1].unlabelled_px[:, 2:] - data[1].unlabelled_px[:, :2], 1).sum())
    assert left == WHOLE - 32 * 24 - 64
    assert (data.regions, data.in_part[0]) == (0, 2)
    assert data.summary == "3 pictures; 2 labelled in part (39 % of their ground), the rest is ignored"
    told = check(tmp_path / "set")
    assert (told.findings, told.total.in_part) == ((), 2)
    assert export(tmp_path / "set", Format.JSON, tmp_path / "json").lost == ()
    again = read_split(tmp_path / "json", "train")
    assert [p.unlabelled_px.tolist() for p in again] == [p.unlabelled_px.tolist() for p in data] and again.regions == 0
    (lost, *_) = export(tmp_path / "set", Format.TXT12, tmp_path / "txt").lost
    assert lost == "what part of 2 pictures was labelled: the rest of them will count as background"


def test_of_a_picture_listed_twice_both_parts_count(tmp_path: Path) -> None:
    def parts(*regions: list[int] | None) -> list[list[float]]:
        root = write_subset(tmp_path / str(regions), {"train": FIELDS}, txt=0)
        data = coco(FIELDS)
        data["images"].append({**data["images"][0], "id": 9})
        for image, region in zip((data["images"][0], data["images"][-1]), regions, strict=True):
            image.update({} if region is None else {"labelled_region": region})
        write_json(root, "train", data)
        return read_split(root, "train")[0].unlabelled_px.tolist()

    assert parts([0, 0, 30, 48], [30, 0, 4, 48]) == [[34, 0, 64, 48]]
    assert parts([0, 0, 30, 48], None) == parts(None, [0, 0, 30, 48]) == []


@pytest.mark.parametrize("region", [[0, 0, 5], [[0, 0, 0, 5]], "all", [[0, 0, float("inf"), 5]], 3], ids=str)
def test_a_region_that_is_none_stops(tmp_path: Path, region: object) -> None:
    with pytest.raises(DataError, match=r"train\.json:3:1: 1_1_1000_ALL\.png: labelled_region: "):
        read_split(said(tmp_path, region), "train")


@pytest.mark.parametrize("order", ["x1 x2 y1 y2", "x1 y1 x2 y2"])
@pytest.mark.parametrize("unit", ["px", "shares"])
def test_sixteen_columns_bear_the_patch(tmp_path: Path, order: str, unit: str) -> None:
    root = write_subset(tmp_path, {"train": FIELDS}, json_labels=False)
    (root / "classes.txt").write_text("\n".join(CLASSES))
    corners = dict(zip(("x1", "y1", "x2", "y2"), (0, 4, 48, 40), strict=True))
    scale = {"x": 64, "y": 48} if unit == "shares" else {"x": 1, "y": 1}
    patch = [f"{corners[name] / scale[name[0]]:.6f}" for name in order.split()]
    for file in write_txt(root, "train", FIELDS).glob("*.txt"):
        lines = [line.split() for line in file.read_text().splitlines()]
        file.write_text("".join(" ".join([*one[:5], *patch, *one[5:]]) + "\n" for one in lines))
    data = read_split(root, "train")
    assert [len(p.classes) for p in data] == [2, 1, 0] and data[0].attributes[0].tolist() == [1, 0, 1, 0, 1, 0, 0]
    np.testing.assert_allclose(data[0].unlabelled_px, [[0, 0, 64, 4], [48, 4, 64, 40], [0, 40, 64, 48]], atol=1e-3)
    np.testing.assert_allclose(data[2].unlabelled_px, [[0, 0, 64, 48]])
    (words,) = [fault.message for fault in data.passed if fault.kind is Kind.PATCHES]
    assert f"{order} in {unit}" in words and words.endswith("of 1 pictures without a line nothing counts as labelled")


def test_columns_that_are_no_patch_stop(tmp_path: Path) -> None:
    root = write_subset(tmp_path, {"train": FIELDS}, json_labels=False)
    for file in write_txt(root, "train", FIELDS).glob("*.txt"):
        lines = [line.split() for line in file.read_text().splitlines()]
        file.write_text("".join(" ".join([*one[:5], ".9", ".1", ".2", ".1", *one[5:]]) + "\n" for one in lines))
    with pytest.raises(DataError, match=r"1_1_1000_ALL\.txt:1: columns 6 to 9 are no patch"):
        read_split(root, "train")


def test_check_writes_how_many_are_labelled_in_part(tmp_path: Path) -> None:
    plain = check(said(tmp_path, [0, 0, 32, 48])).to_dict()
    assert json.loads(json.dumps(plain))["total"]["labelled_in_part"] == 1
