"""`attridet evaluate` as a person meets it: weights as well as bundles, every file that it writes, and what it refuses."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from truthful import write_split

from engines.bundle import Bundle
from engines.cli import main

if TYPE_CHECKING:
    from engines.network import AttriDet


def evaluate(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> int:
    """The exit code of one call."""
    monkeypatch.setattr(sys, "argv", ["attridet", "evaluate", *map(str, arguments)])
    with pytest.raises(SystemExit) as end:
        main()
    return int(end.value.code or 0)


@pytest.fixture
def split(tmp_path: Path) -> Path:
    write_split(tmp_path / "film", names=["4_1_1_400_ALL.png", "28_1_1_400_ALL.png"])
    return tmp_path / "film"


def test_weights_are_scored_and_everything_is_written(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], bundle: Bundle, model: AttriDet, split: Path, tmp_path: Path
) -> None:
    files = ("--json", tmp_path / "r.json", "--csv", tmp_path / "csv", "--page", tmp_path / "page")
    options = ("--input", 320, "--scale-up", "--confidence", 0.3, "--resamples", 20, "--seed", 5, "--threads", 1)
    assert evaluate(monkeypatch, bundle.path / "weights.safetensors", "--data", split, *files, *options) == 0
    scores = json.loads((tmp_path / "r.json").read_text())
    assert scores["engine"]["name"] == "attridet-test/weights.safetensors" and scores["engine"]["input_hw"] == [320, 320]
    assert scores["working_point"]["thresholds"]["confidence"] == 0.3
    assert (scores["intervals"]["seed"], scores["intervals"]["resamples"], scores["intervals"]["unit"]) == (5, 20, "patient")
    assert {p.name for p in (tmp_path / "csv").iterdir()} == {"types.csv", "attributes.csv", "films.csv", "told.csv", "intervals.csv"}
    assert scores["created"][:4] in (tmp_path / "page/index.html").read_text()
    printed = capsys.readouterr().out
    assert all(len(line.rstrip()) <= 80 for line in printed.splitlines() if not line.startswith("written"))
    assert "\N{HORIZONTAL ELLIPSIS}" not in printed
    words = re.sub(r"\s+", " ", printed)
    for said in (
        "white / background",
        "mean, 5 cells or more",
        "Differential of each film",
        "Only 2 patients",
        "publ.",
        "not a diagnosis",
    ):
        assert said in words
    assert printed.count("written: ") == 7


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--input", 320), "--input is for a .pt or .safetensors file"),
        (("--scale-up",), "--scale-up is for a .pt or .safetensors file"),
        (("--device", "cpu"), "--device is for a .pt or .safetensors file"),
        (("--confidence", 1.5), "--confidence 1.5: lies between 0 and 1"),
        (("--page", __file__), "a file of that name is there already"),
    ],
)
def test_what_does_not_go_with_a_bundle_is_said(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    split: Path,
    options: tuple[object, ...],
    message: str,
) -> None:
    assert evaluate(monkeypatch, "zoo:attridet-n", "--data", split, *options) == 2
    assert message in capsys.readouterr().err


def test_weights_that_are_not_there_are_named(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], split: Path) -> None:
    assert evaluate(monkeypatch, "nowhere/last.pt", "--data", split) == 2
    assert "nowhere/last.pt: no such checkpoint" in capsys.readouterr().err
