"""`attridet data`: exit codes, what is printed, what is written; and the known faults of the real folders."""

from __future__ import annotations

import json
import shutil
import sys
import zipfile
from pathlib import Path

import pytest
from labelled import ARTEFACT, BLAST, NEUTROPHIL, Cell, coco, write_json, write_subset
from planted import TRAIN, VAL
from planted_pictures import squeezed_pictures

from engines.cli import main
from engines.data.check import check
from engines.data.faults import Kind

FIELDS = {"1_1_1000_ALL.png": [BLAST, ARTEFACT], "1_2_1000_ALL.png": [NEUTROPHIL], "2_1_1000_AML.png": []}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return write_subset(tmp_path / "H_100X_C1", {"train": FIELDS, "val": {"3_1_1000_CML.png": [NEUTROPHIL]}})


@pytest.fixture
def data(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Data:
    return Data(monkeypatch, capsys)


class Data:
    """Runs `attridet data …`; `out` and `err` hold what the last run printed, `said` the first on one line."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
        self.monkeypatch, self.capsys = monkeypatch, capsys
        self.out = self.err = self.said = ""
        monkeypatch.setenv("COLUMNS", "100")

    def __call__(self, *words: object) -> int:
        self.monkeypatch.setattr(sys, "argv", ["attridet", "data", *map(str, words)])
        code = 0
        try:
            main()
        except SystemExit as stop:
            code = int(stop.code or 0)
        self.out, self.err = self.capsys.readouterr()
        self.said = " ".join(self.out.split())
        return code


def test_check_of_clean_data(data: Data, root: Path, tmp_path: Path) -> None:
    assert data("check", root, "--json", tmp_path / "found.json", "--all") == 0
    assert data.out.startswith("no fault, 0 notes in 4 pictures, 4 cells")
    found = json.loads((tmp_path / "found.json").read_text())
    assert found["clean"] and found["faults"] == [] and found["total"]["cells"] == 4
    assert found["splits"][0]["name"] == "H_100X_C1/train"
    assert found["splits"][0]["classes"]["Myeloblast"] == 1
    assert found["splits"][0]["attributes"]["cell_size"] == {
        "small": 0, "medium": 1, "large": 1, "unknown": 0, "not applicable": 1,
    }  # fmt: skip
    assert found["splits"][0]["patients"] == {"1": 2, "2": 1}
    for word in ("train", "val", "Myeloblast", "Cell Size: small", "not applicable", "JSON, 12", "1 (2), 2 (1)", "ALL 2, AML 1"):
        assert word in data.out, word


def test_check_tells_pixel_aspect_and_the_size_of_a_pixel(data: Data, tmp_path: Path) -> None:
    root = write_subset(tmp_path / "squeezed", {"train": TRAIN, "val": VAL})
    squeezed_pictures(root)
    assert data("check", root, "--all", "--json", tmp_path / "found.json") == 0
    (told,) = json.loads((tmp_path / "found.json").read_text())["pixel_aspect"]
    value, cells = told["undone"], told["red_cells"]["cells"]
    assert value == pytest.approx(0.7, abs=0.05) and told["origin"] == "measured"
    assert f"Pixel aspect: {value:.2f} (" in data.said and f"by {cells} red cells of 4 pictures" in data.said
    assert "um a px, an estimate; stated nowhere; commands undo" in data.said and f"state it: 'pixel_aspect: {value:g}'" in data.said
    (root / "pictures.yaml").write_text(f"pixel_aspect: {value}")
    assert data("check", root, "--all") == 0
    assert f"pictures.yaml: {value:g}; commands undo {value:g}" in data.said and data.said.startswith("no fault, 0 notes")
    assert data("check", write_subset(tmp_path / "noise", {"train": FIELDS}), "--all") == 0
    assert "Pixel aspect: not measured (0 red cells stand alone; 30 are needed); stated nowhere" in data.said


def test_check_of_faulty_data_names_them_and_ends_with_1(data: Data, root: Path, tmp_path: Path) -> None:
    cells = [Cell(1, (x, 42, 4, 12)) for x in range(0, 60, 4)]
    file = write_json(root, "train", coco(FIELDS | {"2_1_1000_AML.png": cells}))
    assert data("check", root, "--json", tmp_path / "found.json") == 1
    assert "box outside the picture (box-outside): 15" in data.out
    assert data.out.startswith("30 faults, 0 notes") and "--all prints everything" in data.out
    assert "by 6.00 px" in data.said and 0 < data.said.count("leaves the picture") < 15 and len(data.out.splitlines()) <= 60
    faults = json.loads((tmp_path / "found.json").read_text())["faults"]
    assert {f["kind"] for f in faults} == {"box-outside", "json-txt-disagree"} and all(
        f["file"] == str(file) and f["line"] for f in faults
    )
    assert data("check", root, "--all") == 1
    assert data.out.count("leaves the picture") == 15


def test_check_writes_one_sheet_of_classes_by_subset(data: Data, root: Path, tmp_path: Path) -> None:
    write_subset(root.parent / "L_40X_C1", {"train": {"1_1_7_400_ALL.png": [BLAST, BLAST]}})
    (root.parent / "L_10X_C1").mkdir()
    assert data("check", root.parent, "--csv", tmp_path / "sheet.csv", "--page", tmp_path / "page.html") == 1
    head, *rows = (line.split(",") for line in (tmp_path / "sheet.csv").read_text().splitlines())
    assert head == ["", "H_100X_C1/train", "H_100X_C1/val", "L_40X_C1/train", "all"]
    assert ["Myeloblast", "1", "0", "1", "2"] in rows and ["Cell Size: large", "1", "0", "1", "2"] in rows
    page = (tmp_path / "page.html").read_text()
    assert " in 5 pictures, " in page and "L_10X_C1: empty folder" in page
    assert "<td>Myeloblast</td>" in page and "label that stands there twice" in page


def test_check_unpacks_labels_beside_their_archive(data: Data, root: Path) -> None:
    with zipfile.ZipFile(root / "labels.zip", "w") as archive:
        for file in sorted(file for name in ("json_labels", "txt_labels") for file in (root / name).rglob("*.*")):
            archive.write(file, file.relative_to(root))
    for name in ("json_labels", "txt_labels"):
        shutil.rmtree(root / name)
    assert data("check", root) == 0
    assert "labels-in-archive" in data.out and not (root / "json_labels").exists()
    assert data("check", root, "--unpack") == 0
    assert "6 label files written beside it" in data.out and "labels-in-archive" not in data.out
    assert (root / "json_labels/train.json").is_file()


@pytest.mark.parametrize(
    "words", [("check",), ("split", "--out", "new"), ("export", "--to", "json", "--out", "new"), ("plot", "--out", "x.png")]
)
def test_what_is_no_data_set_is_one_line_and_exit_code_2(data: Data, tmp_path: Path, words: tuple[str, ...]) -> None:
    for folder, said in ((tmp_path, "no data set"), (tmp_path / "gone", "no such folder")):
        assert data(words[0], folder, *words[1:]) == 2
        assert said in data.err and len(data.err.strip().splitlines()) == 1
    assert not (tmp_path / "new").exists()


def test_split(data: Data, root: Path, tmp_path: Path) -> None:
    assert data("split", root, "--out", tmp_path / "new", "--val", "0.3", "--seed", "3") == 0
    assert "divided by patient with seed 3; 4 pictures linked" in data.out
    assert "only in" in data.out and "PICTURE" not in data.out
    assert data("check", tmp_path / "new") == 0
    assert data("split", root, "--out", tmp_path / "new") == 2
    assert "exists already" in data.err
    assert data("split", root, "--out", tmp_path / "other", "--val", "0.6", "--test", "0.5") == 2
    assert "leave nothing for train" in data.err
    assert data("split", root, "--out", tmp_path / "other", "--images", "none") == 2
    assert "--images none: there are link, copy" in data.err


def test_split_without_patients_says_so_loudly(data: Data, tmp_path: Path) -> None:
    fields = {f"BA_{n}.png": [BLAST] for n in range(10)}
    root = write_subset(tmp_path / "pbc", {"train": fields})
    assert data("split", root, "--out", tmp_path / "new", "--images", "copy") == 0
    assert "divided by PICTURE" in data.out and "scores on val flatter" in data.out and "10 pictures copied" in data.out


def test_export(data: Data, root: Path, tmp_path: Path) -> None:
    assert data("export", root, "--to", "txt11", "--out", tmp_path / "new") == 0
    assert "Lost: Cell Size of 3 cells" in data.out and "4 pictures linked" in data.out
    assert data("export", root, "--to", "txt12", "--out", tmp_path / "all", "--images", "none") == 0
    assert "Nothing was lost." in data.out and "no pictures brought" in data.out
    assert data("export", root, "--to", "yolo", "--out", tmp_path / "x") == 2
    assert "--to yolo: there are json, txt5, txt11, txt12" in data.err


def test_plot(data: Data, root: Path, tmp_path: Path) -> None:
    assert data("plot", root, "--out", tmp_path / "figure.png", "--split", "train") == 0
    assert (tmp_path / "figure.png").stat().st_size > 20_000
    assert data("plot", root, "--out", tmp_path / "figure.png", "--split", "test") == 2
    assert "no split 'test'; splits there: train, val" in data.err


@pytest.mark.shared
def test_the_known_faults_of_the_real_folders_are_found(shared_data: Path) -> None:
    found = check(shared_data / "lld_40x")
    assert len(found.faults) == 2 and {f.kind for f in found.faults} == {Kind.BOX_TWO_CLASSES}
    by_json, by_txt = found.faults
    assert by_json.place.file.name == "train.json" and (by_txt.place.file.name, by_txt.place.line) == ("27_13_13_400_CML.txt", 5)
    text = by_json.place.file.read_text()
    assert (
        text[by_json.place.column - 1 :].startswith("{") and '"Neutrophil"' in text[by_json.place.column : by_json.place.column + 120]
    )
    assert {f.kind for f in found.notes} == {Kind.BOX_OVERHANGS, Kind.PIXEL_ASPECT}
    assert found.total.cells == 2382 and set(found.splits[1].patients) == {"4", "28"}
    assert check(shared_data / "bccd").faults == ()
    assert {f.kind for f in check(shared_data / "lld_pairs").findings} == {Kind.NO_LAYOUT, Kind.NO_LABELS, Kind.PIXEL_ASPECT}


@pytest.mark.shared
def test_the_real_labels_go_round(data: Data, shared_data: Path, tmp_path: Path) -> None:
    assert data("export", shared_data / "lld_40x", "--to", "txt12", "--out", tmp_path / "txt") == 0
    assert data("export", tmp_path / "txt", "--to", "json", "--out", tmp_path / "json") == 0
    assert "Nothing was lost." in data.out
    for split in ("train", "val"):
        before, after = (
            json.loads((root / f"json_labels/{split}.json").read_text())["annotations"]
            for root in (shared_data / "lld_40x", tmp_path / "json")
        )
        assert len(before) == len(after) > 300
        for a, b in zip(before, after, strict=True):
            assert b.pop("bbox") == pytest.approx(a.pop("bbox"), rel=1e-6, abs=1e-8)
            assert b.pop("area") == pytest.approx(a.pop("area"), abs=0.011)
            assert a == b
