"""The command `attridet` as a person meets it: what it prints, what it writes, what it says when something is wrong."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np
import pytest

from engines.bundle import Bundle
from engines.cli import main
from engines.network.weights import save_weights

if TYPE_CHECKING:
    from engines.network import AttriDet


def attridet(monkeypatch: pytest.MonkeyPatch, *arguments: str | Path) -> int:
    """The exit code of one call."""
    monkeypatch.setattr(sys, "argv", ["attridet", *map(str, arguments)])
    with pytest.raises(SystemExit) as end:
        main()
    return int(end.value.code or 0)


@pytest.fixture
def split(tmp_path: Path) -> Path:
    """Two pictures with TXT labels of five columns: no attributes."""
    root = tmp_path / "film"
    (root / "Images/val").mkdir(parents=True)
    (root / "txt_labels/AttriDet/val").mkdir(parents=True)
    for i in range(2):
        cv2.imwrite(str(root / f"Images/val/{i}.png"), np.random.default_rng(i).integers(0, 256, (120, 160, 3), np.uint8))
        (root / f"txt_labels/AttriDet/val/{i}.txt").write_text("1 0.5 0.5 0.2 0.2\n")
    return root


def test_help_needs_nothing_heavy() -> None:
    code = (
        "import sys; sys.argv = ['attridet', '--help']\n"
        "from engines.cli import main\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        "print([m for m in ('torch', 'onnx', 'onnxruntime', 'cv2', 'numpy', 'pydantic', 'faster_coco_eval') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.rstrip().endswith("[]")
    assert all(command in done.stdout for command in ("train", "evaluate", "export", "film"))


def test_evaluate_prints_a_table_and_writes_every_number(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], bundle: Bundle, split: Path, tmp_path: Path
) -> None:
    out = tmp_path / "scores.json"
    assert attridet(monkeypatch, "evaluate", bundle.path, "--data", split, "--split", "val", "--json", out, "--threads", "1") == 0
    scores = json.loads(out.read_text())
    assert scores["data"].items() >= {"name": "film", "split": "val", "images": 2, "cells": 2}.items()
    assert scores["engine"]["digest"] == bundle.digest
    assert set(scores["detection"]["classes"]) == {"Myeloblast"}
    printed = capsys.readouterr().out
    assert "Myeloblast" in printed and "COCO" in printed and bundle.digest[:8] in printed
    assert "No attribute is both labelled and told" in re.sub(r"\s+", " ", printed)


@pytest.mark.parametrize(
    ("bundle_name", "data", "split_name", "message"),
    [
        ("nowhere", None, "val", "no such engine folder"),
        ("zoo:nothing", None, "val", "no such bundle"),
        (None, "nowhere", "val", "no such folder"),
        (None, None, "test", "no Images/test; splits there: val"),
    ],
)
def test_a_wrong_argument_is_one_line_and_exit_code_2(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    bundle: Bundle,
    split: Path,
    bundle_name: str | None,
    data: str | None,
    split_name: str,
    message: str,
) -> None:
    code = attridet(
        monkeypatch, "evaluate", bundle_name or bundle.path, "--data", data or split, "--split", split_name, "--threads", "1"
    )
    said = capsys.readouterr().err.strip()
    assert code == 2 and message in said and said.startswith("attridet: ") and "Traceback" not in said
    assert len([line for line in said.splitlines() if line.strip()]) == 1


def test_a_json_file_without_a_folder_is_refused_before_the_work(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], split: Path, tmp_path: Path
) -> None:
    assert attridet(monkeypatch, "evaluate", "nowhere", "--data", split, "--json", tmp_path / "no/where.json") == 2
    assert "its folder does not exist" in capsys.readouterr().err


def test_export_makes_an_engine_of_weights(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], model: AttriDet, split: Path, tmp_path: Path
) -> None:
    weights, card = tmp_path / "w.safetensors", tmp_path / "card.yaml"
    save_weights(model, weights, {"data": ["film"], "seed": 4, "epoch": 2})
    card.write_text("name: my-engine\nversion: 1.0.0\nlicence: Apache-2.0\ntraining: {data: [], seed: 4, command: none}\n")
    call = ["export", weights, tmp_path / "engine", "--images", split / "Images/val", "--input", "64"]
    assert attridet(monkeypatch, *call, "--card", card) == 0
    assert "Against torch on 2 pictures" in capsys.readouterr().out
    made = Bundle.open(tmp_path / "engine")
    assert made.manifest.name == "my-engine" and made.manifest.input.hw == (64, 64)
    assert attridet(monkeypatch, *call) == 2
    assert "exists already" in capsys.readouterr().err
    assert attridet(monkeypatch, *call, "--replace", "--confidence", "0.4") == 0
    again = Bundle.open(tmp_path / "engine").manifest
    assert again.name == "engine" and again.training.seed == 4 and again.thresholds.confidence == 0.4
    assert [d.name for d in again.training.data] == ["film"]


@pytest.mark.parametrize(
    ("card", "message"),
    [
        ("name: x\n  y: [", r"card.yaml, line 2: not YAML"),
        (
            "name: x\nversion: 1\nlicence: y\ntraining: {data: [], seed: 1, command: ''}\n",
            r"card.yaml: version: Input should be a valid string",
        ),
        ("", r"card.yaml: card: "),
    ],
)
def test_a_wrong_card_is_named(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    model: AttriDet,
    split: Path,
    tmp_path: Path,
    card: str,
    message: str,
) -> None:
    (tmp_path / "card.yaml").write_text(card)
    save_weights(model, tmp_path / "w.safetensors", {})
    call = ["export", tmp_path / "w.safetensors", tmp_path / "engine", "--images", split / "Images/val", "--input", "64"]
    assert attridet(monkeypatch, *call, "--card", tmp_path / "card.yaml") == 2
    assert re.search(message, capsys.readouterr().err)
    assert not (tmp_path / "engine").exists()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"--input": "100"}, "multiple of 32"),
        ({"--images": "nowhere"}, "nowhere: no such folder of pictures"),
        ({"checkpoint": "gone.pt"}, r"gone.pt: no such checkpoint"),
        ({"checkpoint": "gone.safetensors"}, r"gone.safetensors: no such file"),
    ],
)
def test_a_wrong_export_is_one_line_and_exit_code_2(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    model: AttriDet,
    split: Path,
    tmp_path: Path,
    changes: dict[str, str],
    message: str,
) -> None:
    save_weights(model, tmp_path / "w.safetensors", {})
    options = {"checkpoint": str(tmp_path / "w.safetensors"), "--images": str(split / "Images/val"), "--input": "64"} | changes
    checkpoint = options.pop("checkpoint")
    flat = [word for pair in options.items() for word in pair]
    assert attridet(monkeypatch, "export", checkpoint, tmp_path / "engine", *flat) == 2
    said = capsys.readouterr().err.strip()
    assert message in said and len(said.splitlines()) == 1


def test_a_missing_extra_is_named(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    heavy = ("engines.export.", "engines.network", "engines.training.")
    for name in [m for m in sys.modules if m.startswith(heavy) and not m.endswith(".request")]:
        monkeypatch.delitem(sys.modules, name)
    assert attridet(monkeypatch, "export", "x.pt", tmp_path / "engine", "--images", tmp_path) == 2
    assert "pip install 'leukoscope[train]'" in capsys.readouterr().err


def test_film_writes_a_folder_that_the_readers_read(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from engines.data.leukemiaattri import read_split

    out = tmp_path / "film"
    call = ["film", out, "--train", "0", "--val", "1", "--size", "128", "--domain", "L_C2", "--objective", "40", "--workers", "1"]
    assert attridet(monkeypatch, *call) == 0
    pictures = read_split(out, "val")
    assert len(pictures) == 1 and pictures[0].size_hw == (128, 128)
