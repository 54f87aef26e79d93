"""The page of a gate: it needs nothing else, says the verdict first and whose numbers it holds, and shows the right cells."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import datetime, timezone
from html.parser import HTMLParser
from pathlib import Path

import cv2
import numpy as np
import pytest
from truthful import BOXES, TruthfulGraphs, truthful_engine, write_split

from engines.data.leukemiaattri import read_split
from engines.errors import DataError
from engines.evaluation.pair_pictures import confusions, crop
from engines.evaluation.pairs import Kind, worst
from engines.evaluation.result import NOTICE
from engines.gate.measure import GateResult, compare_engines
from engines.gate.page import write_page
from engines.gate.words import change, points, rows, verdict
from engines.manifest import GateLimits
from engines.taxonomy import LEUKEMIA_ATTRI

CREATED = datetime(2026, 3, 4, 5, 6, tzinfo=timezone.utc)


def judged(root: Path, candidate: TruthfulGraphs, limits: GateLimits | None = None) -> GateResult:
    pictures = read_split(root, "val")
    with truthful_engine() as one, truthful_engine(candidate, name="<model>") as other:
        return compare_engines(one, other, pictures, "film & co", "val", limits)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data") / "film"
    write_split(folder)
    return folder


@pytest.fixture(scope="module")
def failed(root: Path) -> GateResult:
    return judged(root, TruthfulGraphs(misses=1))


@pytest.fixture(scope="module")
def page(failed: GateResult, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_page(failed, tmp_path_factory.mktemp("made") / "page", CREATED)


class Checked(HTMLParser):
    """Tags opened and not closed, and every address that the page names."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.addresses: list[str] = []
        self.faults: list[str] = []

    def handle_starttag(self, tag: str, attrs: Sequence[tuple[str, str | None]]) -> None:
        if tag not in {"meta", "img"}:
            self.open.append(tag)
        self.addresses += [value or "" for name, value in attrs if name in {"src", "href"}]

    def handle_endtag(self, tag: str) -> None:
        if not self.open or self.open.pop() != tag:
            self.faults.append(f"</{tag}> at {self.getpos()}")


def words_of(page: Path) -> str:
    return re.sub(r"\s+", " ", re.sub(r"data:[^\"]*", "", page.read_text(encoding="utf-8")))


def test_the_page_is_whole_and_needs_nothing_else(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    checked = Checked()
    checked.feed(text)
    assert checked.faults == [] and checked.open == []
    assert len(checked.addresses) == 2 + 3 and all(a.startswith("data:image/") for a in checked.addresses)
    assert "://" not in text and "url(" not in text and "<script" not in text


def test_the_verdict_comes_first_and_says_why(page: Path, failed: GateResult) -> None:
    text = words_of(page)
    assert "<b>Not passed</b> <ul> <li>mAP50-95 (COCO) falls by 33.33 points, 1 allowed.</li>" in text
    assert "The appliance refuses this engine unless it is told otherwise." in text
    assert text.index("Not passed") < text.index("Scores beside each other") < text.index("The worst disagreements")
    assert verdict(failed) == "Not passed: mAP50-95 (COCO) falls by 33.33 points, 1 allowed; " + "; ".join(failed.faults[1:]) + "."


def test_the_page_says_whose_numbers_these_are(page: Path, failed: GateResult) -> None:
    text = words_of(page)
    assert text.count(NOTICE) == 2 and "4 March 2026, 05:06 UTC" in text
    assert "&lt;model&gt; 1.0.0" in text and "<model>" not in text and "film &amp; co/val" in text
    assert text.count(failed.reference.evaluation.engine.digest) == 2  # of both engines, which bear the same here
    for said in (
        "COCO's rule",
        "YOLOv5 v7.0's rule",
        "3 pictures",
        "9 labelled cells",
        "stand-in",
        "Never for",
        "diagnosis, or any decision",
    ):
        assert said in text
    assert '<td class="n">100.00</td><td class="n">66.67</td><td class="n">33.33</td><td class="n">1</td>' in text
    assert "<b>9</b> boxes and the candidate <b>6</b>. <b>6</b> pair one to one at IoU 0.5 (80.0 % of both)" in text
    assert text.count("Found by the reference only") == 1 and "reference only</h3>" in text and "Another type" not in text
    assert not re.search(r"\bnan\b", text, re.IGNORECASE)


def test_a_passed_gate_says_so(root: Path, tmp_path: Path) -> None:
    text = words_of(write_page(judged(root, TruthfulGraphs()), tmp_path, CREATED))
    assert "<b>Passed</b> <p>mAP50-95 stays as it was" in text and "boxes move by 0.00 px" in text
    assert "Not passed" not in text and "both engines tell the same boxes, types and scores" in text


def test_a_weak_reference_is_amber_and_said_so(root: Path, tmp_path: Path) -> None:
    with truthful_engine(TruthfulGraphs(misses=1)) as one, truthful_engine(TruthfulGraphs(misses=1)) as other:
        result = compare_engines(one, other, read_split(root, "val"), "film", "val")
    text = words_of(write_page(result, tmp_path, CREATED))
    assert '<div class="verdict amber"> <b>Passes against its reference, which is below its floors</b>' in text
    assert "<li>The reference tells no blast as a blast (at least 50 % asked).</li>" in text and "<b>Passed</b>" not in text
    for row in (
        'Labelled cells found</td><td class="n">66.7 %</td><td class="n">50.0 %',
        'Blasts told as a blast</td><td class="n">0.0 %',
    ):
        assert row in text
    assert text.count(">not reached<") == 2 and text.count(">reached<") == 1


def test_an_engine_that_finds_nothing_still_has_a_page(root: Path, tmp_path: Path) -> None:
    text = words_of(write_page(judged(root, TruthfulGraphs(misses=3)), tmp_path, CREATED))
    assert "No box of the two engines could be paired." in text and not re.search(r"\bnan\b", text, re.IGNORECASE)


def test_the_pictures_lie_beside_the_page_and_former_ones_go(page: Path, failed: GateResult, tmp_path: Path) -> None:
    lost = [f"disagreement-{i:02d}-lost.jpg" for i in (1, 2, 3)]
    assert sorted(p.name for p in (page.parent / "pictures").iterdir()) == ["confusion.png", *lost, "pairs.png"]
    (tmp_path / "pictures").mkdir()
    (tmp_path / "pictures/disagreement-17-score.jpg").write_bytes(b"of an earlier run")
    (tmp_path / "pictures/mine.txt").write_text("of somebody")
    write_page(failed, tmp_path, CREATED)
    assert sorted(p.name for p in (tmp_path / "pictures").iterdir()) == ["confusion.png", *lost, "mine.txt", "pairs.png"]
    for name in ("confusion.png", *lost):
        assert cv2.imread(str(tmp_path / "pictures" / name)) is not None


def test_a_crop_shows_the_cell_and_says_what_each_engine_says(root: Path) -> None:
    shown = worst(judged(root, TruthfulGraphs(wrong_type=True)).agreement)
    assert [d.kind for d in shown] == [Kind.TYPE] * 3
    figure = crop(shown[0], LEUKEMIA_ATTRI.classes)
    assert [t.get_text() for t in figure.texts] == ["reference: Myeloblast 0.85", "candidate: Neutrophil 0.85", "labelled: Myeloblast"]
    (left, right), (bottom, top) = figure.axes[0].get_xlim(), figure.axes[0].get_ylim()
    x1, y1, x2, y2 = BOXES[0]
    assert 0 <= left < x1 and x2 < right <= 320 and 0 <= top < y1 and y2 < bottom <= 240 and right - left == bottom - top
    lost = crop(worst(judged(root, TruthfulGraphs(misses=1)).agreement)[0], LEUKEMIA_ATTRI.classes)
    assert lost.texts[1].get_text() == "candidate: nothing"


def test_both_matrices_have_the_same_rows_and_changes_are_marked(failed: GateResult) -> None:
    one, other = failed.reference.evaluation.confusion, failed.candidate.evaluation.confusion
    left, right = confusions(one, other, LEUKEMIA_ATTRI.classes, "label").axes
    names = [[t.get_text() for t in axes.get_xticklabels()] for axes in (left, right)]
    assert names[0] == names[1] == ["None", "Myeloblast", "Lymphocyte", "background"]
    assert [t.get_text() for t in left.texts] == ["3", "3", "3", "-"]
    assert [t.get_text() for t in right.texts] == ["3", "0", "-3", "3", "+3", "3", "-"]
    assert np.array_equal(left.images[0].get_array()[:3, :3], np.eye(3))


def test_numbers_in_words(failed: GateResult) -> None:
    assert [points(v) for v in (1.234, -0.001, float("nan"))] == ["1.23", "0.00", "-"]
    assert change(0.5, "F1") == "F1 falls by 0.50 points" and change(-0.5, "F1") == "F1 rises by 0.50 points"
    limited = [row for row in rows(failed) if row.within is not None]
    assert [row.within for row in limited] == [False, False, False, True] and len(rows(failed)) == 14
    (blasts,) = (row for row in rows(failed) if row.name.startswith("detector: blasts told as a blast"))
    assert blasts.reference == "100.00" and blasts.within is None


def test_a_picture_that_is_gone_is_named(root: Path, tmp_path: Path) -> None:
    write_split(tmp_path / "film")
    result = judged(tmp_path / "film", TruthfulGraphs(misses=1))
    (tmp_path / "film/Images/val/0.png").unlink()
    with pytest.raises(DataError, match=r"0\.png: cannot be read"):
        write_page(result, tmp_path / "page", CREATED)
