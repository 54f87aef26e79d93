"""The page and the sheets of an evaluation: they need nothing else, say what they must, and hold the numbers of the JSON."""

from __future__ import annotations

import csv
import re
from dataclasses import replace
from datetime import datetime, timezone
from html.parser import HTMLParser
from pathlib import Path

import pytest
from truthful import TruthfulGraphs, truthful_engine, write_split

from engines.errors import DataError
from engines.evaluation.folder import evaluate_folder
from engines.evaluation.page import write_page
from engines.evaluation.result import NOTICE, Evaluation
from engines.evaluation.sheets import write_sheets

CREATED = datetime(2026, 3, 4, 5, 6, tzinfo=timezone.utc)
NAMES = [f"{patient}_{field}_1_400_ALL.png" for patient in (4, 28) for field in (1, 2)]


@pytest.fixture(scope="module")
def result(tmp_path_factory: pytest.TempPathFactory) -> Evaluation:
    root = tmp_path_factory.mktemp("data") / "film & co"
    write_split(root, names=NAMES)
    with truthful_engine(TruthfulGraphs(misses=1), name="<model>") as engine:
        return evaluate_folder(engine, root, "val", resamples=30)


@pytest.fixture(scope="module")
def page(result: Evaluation, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_page(result, tmp_path_factory.mktemp("made") / "page", CREATED)


class Checked(HTMLParser):
    """Tags opened and not closed, and every address that the page names."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.addresses: list[str] = []
        self.faults: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in {"meta", "img", "br", "link"}:
            self.open.append(tag)
        self.addresses += [value or "" for name, value in attrs if name in {"src", "href"}]

    def handle_endtag(self, tag: str) -> None:
        if not self.open or self.open.pop() != tag:
            self.faults.append(f"</{tag}> at {self.getpos()}")


def test_the_page_is_whole_and_needs_nothing_else(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    checked = Checked()
    checked.feed(text)
    assert checked.faults == [] and checked.open == []
    assert len(checked.addresses) >= 5 and all(a.startswith("data:image/") for a in checked.addresses)
    assert "://" not in text and "url(" not in text and "<script" not in text


def test_the_page_says_whose_numbers_these_are(page: Path, result: Evaluation) -> None:
    text = re.sub(r"\s+", " ", page.read_text(encoding="utf-8"))
    assert text.count(NOTICE) == 2 and "4 March 2026, 05:06 UTC" in text
    assert "&lt;model&gt; 1.0.0" in text and "<model>" not in text and "film &amp; co/val" in text
    assert result.engine.digest in text and all(words in text for words in ("Meant for", "Never for", "diagnosis, or any decision"))
    assert "Only 2 patients" in text and "Patient 28" in text
    for words in (
        "COCO's rule",
        "YOLOv5 v7.0's rule",
        "Ultralytics 8.4's rule",
        "White cell against background",
        "the published rule",
        "best constant answer",
    ):
        assert words in text
    assert f'<td>Mean over the types labelled</td><td class="n">12</td><td class="n gap">{result.coco.map5095:.3f}</td>' in text
    assert not re.search(r"\bnan\b", re.sub(r"data:[^\"]*", "", text), re.IGNORECASE)


def test_the_pictures_lie_beside_the_page_too(page: Path) -> None:
    assert sorted(p.name for p in (page.parent / "pictures").iterdir()) == [
        "attributes.png",
        "confusion.png",
        "differential.png",
        "examples.jpg",
        "f1-confidence.png",
        "precision-recall.png",
        "reliability.png",
    ]


def test_a_page_without_attributes_and_intervals(tmp_path: Path) -> None:
    write_split(tmp_path / "film", attributes=False)
    with truthful_engine() as engine:
        made = evaluate_folder(engine, tmp_path / "film", "val", resamples=0)
    text = write_page(made, tmp_path / "page", CREATED).read_text(encoding="utf-8")
    assert "No attribute is both labelled and told." in text and "How sure these are" not in text and "not computed" in text
    assert "all pictures are judged as one film" in text


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_sheets_hold_the_numbers_of_the_json(result: Evaluation, tmp_path: Path) -> None:
    written = write_sheets(result, tmp_path / "sheets")
    assert [p.name for p in written] == ["types.csv", "attributes.csv", "films.csv", "told.csv", "intervals.csv"]
    plain = result.to_dict()
    types, attributes, films, told, intervals = (rows(p) for p in written)
    assert next((r["look"], r["film"], r["blasts"], r["blasts_told"]) for r in told) == ("detector alone", "all", "4", "0")
    assert all(r["model"] == "<model>" and r["digest"] == result.engine.digest and r["notice"] == NOTICE for r in types + films)
    named = {r["type"]: r for r in types}
    for name, scores in plain["detection"]["classes"].items():
        assert float(named[name]["coco_ap50"]) == pytest.approx(scores["coco_ap50"], abs=1e-5)
        assert float(named[name]["yolov5_ap5095"]) == pytest.approx(scores["yolov5_ap5095"], abs=1e-5)
    wbc = named["wbc (white cell against background)"]
    assert wbc["cells"] == "8" and float(wbc["coco_ap50"]) == pytest.approx(plain["detection"]["wbc"]["coco"]["ap50"], abs=1e-5)
    assert named["frequent (at least 5 cells)"]["cells"] == "0" and named["frequent (at least 5 cells)"]["coco_ap50"] == ""
    assert {r["attribute"]: float(r["f1"]) for r in attributes} == pytest.approx(
        {key: s["f1"] for key, s in plain["attributes"]["each"].items()}, abs=1e-5
    )
    whole = [r for r in films if r["type"] == "all"]
    assert [(r["film"], r["labelled"], r["told"], r["most_told"]) for r in whole] == [
        ("4", "4", "2", "Lymphocyte"),
        ("28", "4", "2", "Lymphocyte"),
    ]
    blast = next(r for r in films if r["film"] == "4" and r["type"] == "Myeloblast")
    assert float(blast["difference_pp"]) == -50
    assert {r["score"] for r in intervals} == set(plain["intervals"]["each"])


def test_films_and_both_means_in_the_json(result: Evaluation) -> None:
    plain = result.to_dict()
    assert plain["notice"] == NOTICE and plain["engine"]["must_not_be_used_for"]
    film = plain["films"]["each"][0]
    assert (film["film"], film["most_labelled"], film["most_told"]) == ("4", ["Myeloblast", "Lymphocyte"], ["Lymphocyte"])
    assert film["most_right"] is True and film["total_variation"] == 0.5 and film["l1"] == 1
    assert film["blast_percent"] == {"labelled": 50, "told": 0}
    assert plain["detection"]["wbc"]["coco"]["ap50"] == pytest.approx(0.505, abs=1e-3)
    assert plain["detection"]["frequent"]["types"] == [] and plain["detection"]["frequent"]["coco"]["map50"] is None
    counts = plain["working_point"]["confusion"]["counts"]
    rates = {"sensitivity": 0, "youden": 0}
    cells = {"labelled": 4, "told": 0, "other": 0, "missed": 4, "others": 8, "confused": 0, "invented": 0}
    assert plain["working_point"]["blasts"] == cells | rates
    assert counts[1][14] == 4 and counts[0][0] == 4 and counts[7][7] == 4 and sum(map(sum, counts)) == 12


def test_what_cannot_be_written_is_named(result: Evaluation, tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("")
    with pytest.raises(DataError, match="taken"):
        write_sheets(result, tmp_path / "taken")
    with pytest.raises(DataError, match="taken"):
        write_page(result, tmp_path / "taken", CREATED)
    with pytest.raises(DataError, match=r"away\.png"):
        gone = tuple(replace(e, path=tmp_path / "away.png") for e in result.examples)
        write_page(replace(result, examples=gone), tmp_path / "page", CREATED)
