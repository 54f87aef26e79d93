"""`attridet import-weights` as a person meets it: the account in print and as JSON, the weights as a start of training, errors."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from published import save, save_checkpoint

from engines.cli import main
from engines.network import AttributeHead, AttriDet, YOLOv5, copy_fitting
from engines.network.checkpoint import load_any
from engines.network.weights import load_weights
from engines.taxonomy import LEUKEMIA_ATTRI


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def attridet(monkeypatch: pytest.MonkeyPatch, *arguments: str | Path) -> int:
    """The exit code of one call."""
    monkeypatch.setattr(sys, "argv", ["attridet", *map(str, arguments)])
    try:
        main()
    except SystemExit as end:
        return int(end.code or 0)
    return 0


@pytest.fixture
def coco(tmp_path: Path) -> Path:
    torch.manual_seed(1)
    return save_checkpoint(tmp_path / "yolov5n.pt", YOLOv5("n", 80))


def test_the_account_is_printed_and_written_and_training_starts_from_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], coco: Path, tmp_path: Path
) -> None:
    monkeypatch.setenv("COLUMNS", "140")
    out, account = tmp_path / "start.safetensors", tmp_path / "account.json"
    assert attridet(monkeypatch, "import-weights", coco, "--out", out, "--json", account) == 0
    printed = capsys.readouterr().out
    for words in (
        "yolov5n.pt: YOLOv5 v6.0 to v7.0, size n",
        "model.0 to 23",
        "box and objectness rows taken, no class: there are 80 others",
        "no attribute CNN was given",
        "Not covered, at random: Cell Size, Nuclear Chromatin",
        "Anchors, px (its own): 10x13 16x30 33x23",
        "AGPL-3.0",
        f"written: {out}",
    ):
        assert words in printed
    told = json.loads(account.read_text())
    assert told["counts"] == {"taken": 343, "part": 6, "start": 12}
    assert len(told["entries"]) == 361 and told["left_out"] == []
    assert len(told["files"]["yolov5n.pt"]) == 64
    model, record = load_weights(out)
    assert record["imported"]["size"] == "n" and record["imported"]["attributes_at_start"] == [a.key for a in LEUKEMIA_ATTRI.attributes]
    fresh = AttriDet("n")
    assert copy_fitting(fresh, load_any(out)[0]) == []
    assert all(torch.equal(v, model.state_dict()[k]) for k, v in fresh.state_dict().items())


def test_a_taxonomy_of_ones_own(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], coco: Path, tmp_path: Path
) -> None:
    own, out = tmp_path / "own.yaml", tmp_path / "start.safetensors"
    own.write_text("classes: [None, Plasma cell]\nattributes: [{key: auer_rods, name: Auer Rods, values: [absent, present]}]\n")
    assert attridet(monkeypatch, "import-weights", coco, "--out", out, "--taxonomy", own) == 0
    assert "Not covered, at random: Auer Rods." in capsys.readouterr().out
    assert load_weights(out)[0].taxonomy.classes == ("None", "Plasma cell")


def test_a_pair_without_what_it_does_not_cover(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    torch.manual_seed(2)
    detector = save_checkpoint(tmp_path / "last.pt", YOLOv5("n", 14), list(LEUKEMIA_ATTRI.classes))
    cnn = AttributeHead(96, (2,) * 6)
    save(tmp_path / "last_weights.pth", cnn.state_dict())
    out = tmp_path / "pair.safetensors"
    arguments = ("import-weights", detector, tmp_path / "last_weights.pth", "--out", out)
    assert attridet(monkeypatch, *arguments) == 0
    printed = " ".join(capsys.readouterr().out.split())
    assert "Classes: all of ours taken." in printed
    assert "Not covered, at random: Cell Size." in printed
    assert "rows of 6 attributes taken, not of Cell Size" in printed
    assert len(load_weights(out)[0].taxonomy.attributes) == 7
    assert attridet(monkeypatch, *arguments, "--covered-only", "--replace") == 0
    assert "at random: none. Not covered, so the network has no Cell Size." in " ".join(capsys.readouterr().out.split())
    model, _ = load_weights(out)
    assert [a.key for a in model.taxonomy.attributes] == [a.key for a in LEUKEMIA_ATTRI.attributes[1:]]
    assert torch.equal(model.attribute_head.fc3.bias, cnn.fc3.bias)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("absent.pt", "--out", "x.safetensors"), "absent.pt: no such file"),
        (("yolov5n.pt", "--out", "x.pt"), "--out x.pt: our weights are .safetensors"),
        (("yolov5n.pt", "--out", "nowhere/x.safetensors"), "its folder does not exist"),
        (("yolov5n.pt", "--out", "x.safetensors", "--json", "nowhere/a.json"), "nowhere/a.json: its folder does not exist"),
        (("yolov5n.pt", "--out", "there.safetensors"), "there.safetensors: is there already"),
        (("yolov5n.pt", "--out", "x.safetensors", "--covered-only"), "--covered-only: no attribute CNN was given"),
        (("yolov5n.pt", "yolov5n.pt", "--out", "x.safetensors"), "yolov5n.pt: not an attribute CNN"),
    ],
)
def test_mistakes_are_one_line_and_write_nothing(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], coco: Path, arguments: tuple[str, ...], words: str
) -> None:
    monkeypatch.chdir(coco.parent)
    Path("there.safetensors").write_bytes(b"")
    assert attridet(monkeypatch, "import-weights", *arguments) == 2
    said = capsys.readouterr().err
    assert said.startswith("attridet: ") and words in said and len(said.strip().splitlines()) == 1
    assert not Path("x.safetensors").exists()
