"""Exports: what goes round comes back the same, what cannot is named, and a folder appears whole or not at all."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from labelled import ARTEFACT, BLAST, CLASSES, KEYS, NEUTROPHIL, SIZE_WH, Cell, coco, picture, write_json, write_subset

from engines.data.export import Format, export
from engines.data.leukemiaattri import read_split
from engines.data.writing import Bring
from engines.errors import DataError
from engines.files import atomic_folder

FIELDS = {"1_1_1000_ALL.png": [BLAST, ARTEFACT], "1_2_1000_ALL.png": [NEUTROPHIL], "2_1_1000_AML.png": []}

value = st.sampled_from([0, 1, 4, -1])
sides = st.tuples(st.floats(-0.5, SIZE_WH[0] - 21), st.floats(-0.5, SIZE_WH[1] - 21), st.floats(2.01, 20), st.floats(2.01, 20))
cells = st.builds(Cell, st.integers(0, 13), sides, st.tuples(st.sampled_from([0, 1, 2, 4, -1]), *[value] * 6))


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two pictures whose labels each example writes anew."""
    root = tmp_path_factory.mktemp("round") / "set"
    for name in ("1_1_1000_ALL.png", "1_2_1000_ALL.png"):
        picture(root / "Images/train" / name)
    return root


def annotations(root: Path) -> list[dict[str, Any]]:
    data = json.loads((root / "json_labels/train.json").read_text())
    names = {image["id"]: image["file_name"] for image in data["images"]}
    return [a | {"image": names[a["image_id"]]} for a in data["annotations"]]


@settings(max_examples=25)
@given(st.lists(cells, max_size=6, unique_by=lambda c: c.code), st.lists(cells, max_size=3, unique_by=lambda c: c.code))
def test_json_to_txt12_and_back_loses_nothing(
    bare: Path, tmp_path_factory: pytest.TempPathFactory, first: list[Cell], second: list[Cell]
) -> None:
    write_json(bare, "train", coco({"1_1_1000_ALL.png": first, "1_2_1000_ALL.png": second}))
    out = tmp_path_factory.mktemp("out")
    there = export(bare, Format.TXT12, out / "txt")
    back = export(out / "txt", Format.JSON, out / "json")
    assert there.lost == back.lost == ()
    before, after = annotations(bare), annotations(out / "json")
    assert len(before) == len(after) == len(first) + len(second)
    for a, b in zip(before, after, strict=True):
        assert b["bbox"] == pytest.approx(a["bbox"], rel=1e-6, abs=1e-8)
        for key in ("image", "category_id", "category_name", *KEYS):
            assert a[key] == b[key], key


@settings(max_examples=12)
@given(st.lists(cells, max_size=4, unique_by=lambda c: c.code))
def test_json_to_json_is_exact(bare: Path, tmp_path_factory: pytest.TempPathFactory, some: list[Cell]) -> None:
    write_json(bare, "train", coco({"1_1_1000_ALL.png": some, "1_2_1000_ALL.png": []}))
    out = tmp_path_factory.mktemp("out")
    assert export(bare, Format.JSON, out / "again", Bring.NONE).lost == ()
    assert annotations(bare) == annotations(out / "again")


@pytest.mark.parametrize(
    ("to", "lost"),
    [
        (Format.JSON, ()),
        (Format.TXT12, ()),
        (Format.TXT11, ("Cell Size of 2 cells",)),
        (
            Format.TXT5,
            (
                "Cell Size of 2 cells", "Nuclear Chromatin of 2 cells", "Nuclear Shape of 2 cells", "Nucleolus of 2 cells",
                "Cytoplasm of 2 cells", "Cytoplasmic Basophilia of 2 cells", "Cytoplasmic Vacuoles of 2 cells",
                "that attributes do not apply to 1 cells",
            ),
        ),
    ],
)  # fmt: skip
def test_what_a_format_cannot_hold_is_named(tmp_path: Path, to: Format, lost: tuple[str, ...]) -> None:
    root = write_subset(tmp_path / "set", {"train": FIELDS, "val": {"3_1_1000_CML.png": []}}, txt=0)
    done = export(root, to, tmp_path / "out")
    assert done.lost == lost
    assert done.splits == (("set/train", 3, 3, 3), ("set/val", 1, 1, 0))
    columns = {Format.TXT5: 5, Format.TXT11: 11, Format.TXT12: 12}.get(to)
    if columns:
        rows = (tmp_path / "out/txt_labels/AttriDet/train/1_1_1000_ALL.txt").read_text().splitlines()
        assert {len(row.split()) for row in rows} == {columns}
        assert (tmp_path / "out/txt_labels/AttriDet/train/2_1_1000_AML.txt").read_text() == ""
        assert not (tmp_path / "out/json_labels").exists()
    assert [len(p.classes) for p in read_split(tmp_path / "out", "train")] == [2, 1, 0]


def test_published_codes_are_written(tmp_path: Path) -> None:
    root = write_subset(tmp_path / "set", {"train": FIELDS}, json_labels=False)
    export(root, Format.JSON, tmp_path / "json")
    export(root, Format.TXT12, tmp_path / "txt")
    found = {a["category_name"]: [a[key] for key in KEYS] for a in annotations(tmp_path / "json")}
    assert found == {CLASSES[c.code]: list(c.values) for c in (BLAST, ARTEFACT, NEUTROPHIL)}
    rows = (tmp_path / "txt/txt_labels/AttriDet/train/1_1_1000_ALL.txt").read_text().splitlines()
    assert [row.split()[5:] for row in rows] == [list("2011010"), ["2"] * 7]


def test_what_json_says_besides_is_kept_in_json_and_named_for_txt(tmp_path: Path) -> None:
    root = write_subset(tmp_path / "set", {"train": FIELDS}, txt=0)
    data = coco(FIELDS) | {"info": {"year": 2024}}
    data["images"][0]["date_captured"] = "2024"
    data["annotations"][0] |= {"provenance": "transferred", "area": 12.0}
    (root / "json_labels/train.json").write_text(json.dumps(data))
    assert export(root, Format.JSON, tmp_path / "json").lost == ()
    again = json.loads((tmp_path / "json/json_labels/train.json").read_text())
    assert again["info"] == {"year": 2024} and again["images"][0]["date_captured"] == "2024"
    assert again["annotations"][0]["provenance"] == "transferred" and again["annotations"][0]["area"] == 12.0
    assert export(root, Format.TXT12, tmp_path / "txt").lost == (
        "'area' of annotations (1)",
        "'date_captured' of images (1)",
        "'info' of the file (1)",
        "'provenance' of annotations (1)",
    )


def test_a_picture_without_label_stays_one(tmp_path: Path) -> None:
    root = write_subset(tmp_path / "set", {"train": {**FIELDS, "4_1_1000_CLL.png": None}}, txt=0)
    export(root, Format.TXT12, tmp_path / "txt")
    assert not (tmp_path / "txt/txt_labels/AttriDet/train/4_1_1000_CLL.txt").exists()
    export(tmp_path / "txt", Format.JSON, tmp_path / "json")
    listed = [i["file_name"] for i in json.loads((tmp_path / "json/json_labels/train.json").read_text())["images"]]
    assert listed == sorted(FIELDS)
    assert (tmp_path / "json/Images/train/4_1_1000_CLL.png").exists()


def test_labels_whose_picture_is_missing_are_named(tmp_path: Path) -> None:
    root = write_subset(tmp_path / "set", {"train": FIELDS}, txt=0)
    (root / "Images/train/1_2_1000_ALL.png").unlink()
    (words,) = export(root, Format.JSON, tmp_path / "out").lost
    assert words.startswith("1 labelled picture that is missing, the first: ") and "1_2_1000_ALL.png" in words


def test_every_subset_goes_to_its_place(tmp_path: Path) -> None:
    for name in ("H_100X_C1", "L_40X_C2"):
        write_subset(tmp_path / "all" / name, {"train": FIELDS})
    export(tmp_path / "all", Format.TXT5, tmp_path / "out")
    assert sorted(p.relative_to(tmp_path / "out").as_posix() for p in (tmp_path / "out").glob("*/*")) == [
        f"{name}/{folder}" for name in ("H_100X_C1", "L_40X_C2") for folder in ("Images", "txt_labels")
    ]


@pytest.mark.parametrize(("how", "links", "counts"), [(Bring.LINK, 2, (3, 0)), (Bring.COPY, 1, (0, 3)), (Bring.NONE, 0, (0, 0))])
def test_pictures_are_linked_copied_or_left(tmp_path: Path, how: Bring, links: int, counts: tuple[int, int]) -> None:
    root = write_subset(tmp_path / "set", {"train": FIELDS})
    done = export(root, Format.JSON, tmp_path / "out", how)
    assert (done.linked, done.copied) == counts
    target = tmp_path / "out/Images/train/1_2_1000_ALL.png"
    assert target.exists() == (links > 0)
    if links:
        assert target.stat().st_nlink == links
        assert target.read_bytes() == (root / "Images/train/1_2_1000_ALL.png").read_bytes()


def test_a_disk_without_links_gets_copies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: object) -> None:
        raise OSError(18, "Invalid cross-device link")

    monkeypatch.setattr(os, "link", refused)
    done = export(write_subset(tmp_path / "set", {"train": FIELDS}), Format.JSON, tmp_path / "out")
    assert (done.linked, done.copied) == (0, 3)


def test_a_folder_that_is_there_stays_as_it_is(tmp_path: Path) -> None:
    root = write_subset(tmp_path / "set", {"train": FIELDS})
    before = sorted(p.as_posix() for p in root.rglob("*"))
    with pytest.raises(DataError, match="exists already"):
        export(root, Format.JSON, root)
    assert sorted(p.as_posix() for p in root.rglob("*")) == before
    (tmp_path / "empty").mkdir()
    export(root, Format.JSON, tmp_path / "empty")
    assert len(read_split(tmp_path / "empty", "train")) == 3


def test_a_failure_leaves_nothing_behind(tmp_path: Path) -> None:
    def fail() -> None:
        with atomic_folder(tmp_path / "out") as folder:
            (folder / "half").write_text("x")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert list(tmp_path.iterdir()) == []


def test_sizes_that_differ_and_stems_that_do_not_are_refused_for_txt(tmp_path: Path) -> None:
    root = write_subset(tmp_path / "set", {"train": FIELDS}, txt=0)
    data = coco(FIELDS)
    data["images"][0]["width"] = 640
    write_json(root, "train", data)
    with pytest.raises(DataError, match=r"train\.json:3:1: 1_1_1000_ALL.png is said to be 640 x 48 px; the picture is 64 x 48"):
        export(root, Format.TXT12, tmp_path / "out")
    picture(root / "Images/train/1_2_1000_ALL.bmp")
    write_json(root, "train", coco({**FIELDS, "1_2_1000_ALL.bmp": [BLAST]}))
    with pytest.raises(DataError, match="TXT cannot tell them apart"):
        export(root, Format.TXT12, tmp_path / "out")
    assert not (tmp_path / "out").exists()
