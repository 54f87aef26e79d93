"""`attridet train` as a person meets it: what it prints and leaves, how it goes on, and what it says of wrong words."""

from __future__ import annotations

import csv
import json
import re
import subprocess
import sys
from pathlib import Path

import cv2
import pytest
import torch
from discs import write_discs

from engines.cli import main
from engines.errors import DataError
from engines.network import checkpoint
from engines.training import TrainRequest
from engines.training.loop import Trainer
from engines.training.request import recalled

SMALL = ("--imgsz", "64", "--batch", "4", "--threads", "1", "--workers", "0")


def train(monkeypatch: pytest.MonkeyPatch, *arguments: str | Path) -> int:
    """The exit code of one call; the number of torch's threads stays what it was."""
    monkeypatch.setattr(sys, "argv", ["attridet", "train", *map(str, arguments)])
    threads = torch.get_num_threads()
    try:
        with pytest.raises(SystemExit) as end:
            main()
    finally:
        torch.set_num_threads(threads)
    return int(end.value.code or 0)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_discs(tmp_path_factory.mktemp("data") / "discs")


def test_two_phases_stopped_in_the_second_and_resumed_from_anywhere(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], folder: Path, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    epoch = Trainer._one_epoch

    def power_goes(self: Trainer, report: object) -> dict[str, float]:
        if self.run.phase == 2 and self.epoch == 1:
            raise KeyboardInterrupt
        return epoch(self, report)  # type: ignore[arg-type]  # the real report

    monkeypatch.chdir(folder.parent)
    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "_one_epoch", power_goes)
        assert train(patch, "--data", "discs", "--out", out, *SMALL, "--phases", "1,2", "--no-pictures") == 130
    said = capsys.readouterr().out
    assert "8 pictures an epoch with 8 cells; judged on val of discs (4)" in said
    assert "phase 1 of 2: 1 epochs from random weights" in said and "anchors kept" in said
    assert f"phase 2 of 2: 2 epochs from {out / 'phase-1' / 'last.pt'}" in said
    assert re.search(
        r"^epoch 1/2  box [\d.]+  obj [\d.]+  cls [\d.]+  attr [\d.]+  discs: AP50 [\d.]+, AP [\d.]+, attributes' F1 ", said, re.M
    )
    assert f"stopped; go on with: attridet train --out {out} --resume" in said
    assert checkpoint.read(out / "last.pt")["phase"] == 2

    monkeypatch.chdir(tmp_path)  # the folders of pictures are known by their full path
    assert train(monkeypatch, "--out", out, "--resume", "--judge-imgsz", "96", "--pictures") == 0
    said = capsys.readouterr().out
    assert "phase 2 of 2: goes on after epoch 1 of 2" in said and "phase 1" not in said
    assert f"written: {out}: last.pt, best.pt, results.csv, results.png" in said
    with (out / "results.csv").open(newline="") as file:
        assert [row["epoch"] for row in csv.DictReader(file)] == ["1", "2"]
    assert cv2.imread(str(out / "results.png")) is not None
    assert (out / "val" / "discs" / "index.html").is_file()
    state = checkpoint.read(out / "last.pt")
    assert (state["epoch"], state["batch"], state["data"]) == (2, 4, ["discs"])
    assert not any(str(tmp_path) in text or str(folder.parent) in text for text in map(str, (state["data"], state["hyper"])))
    assert json.loads((out / "train.json").read_text())["judge_imgsz"] == 96

    assert train(monkeypatch, "--out", out, "--resume", "--no-pictures", "--no-judge") == 0
    assert "phase 2 of 2: complete" in capsys.readouterr().out
    assert train(monkeypatch, "--out", out, "--resume", "--batch", "2") == 2
    assert "--batch" in capsys.readouterr().err
    assert train(monkeypatch, "--out", out, "--data", folder) == 2
    assert "holds a run already; go on with --resume, or name another --out" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--size", "q"), "--size q: there are n, s, m, l, x"),
        (("--hyper", "warm"), "--hyper warm: there are low, med, high, film"),
        (("--device", "tpu"), "--device tpu: there are cpu and cuda"),
        (("--phases", "10,x"), "--phases 10,x: name the epochs of each phase, as in --phases 100,200"),
        (("--phases", "1,2", "--epochs", "3"), "--epochs and --phases: give one of them"),
        (("--batch", "9"), "8 training pictures do not fill a --batch of 9; lower it, or show each N times: DIR:N"),
        (("--initial", "nowhere.pt"), "--initial nowhere.pt: no such file"),
        (("--resume",), "nothing to resume; leave out --resume"),
    ],
)
def test_wrong_words_are_one_line_and_exit_code_2(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    folder: Path,
    tmp_path: Path,
    words: tuple[str, ...],
    message: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    small = [w for pair in zip(SMALL[::2], SMALL[1::2], strict=True) if pair[0] not in words for w in pair]
    assert train(monkeypatch, "--data", folder, "--out", "run", *small, *words) == 2
    error = [line for line in capsys.readouterr().err.splitlines() if line.startswith("attridet:")]
    assert len(error) == 1 and message in error[0]
    assert not (tmp_path / "run" / "last.pt").exists()


def test_without_a_gpu_cuda_is_refused(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], folder: Path, tmp_path: Path
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert train(monkeypatch, "--data", folder, "--out", tmp_path / "run", "--device", "cuda") == 2
    assert "--device cuda: no GPU that this build of torch can use; leave it out to train on the CPU" in capsys.readouterr().err


def test_folders_without_labels_are_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], folder: Path, tmp_path: Path
) -> None:
    bare = write_discs(tmp_path / "bare", train=4, val=1)
    for file in (bare / "txt_labels/AttriDet/val").iterdir():
        file.write_text("")
    assert train(monkeypatch, "--data", folder, "--data", bare, "--out", tmp_path / "run", *SMALL) == 2
    error = capsys.readouterr().err
    assert f"{bare}: the split val has no labelled cell" in error and "or leave judging out with --no-judge" in error
    assert train(monkeypatch, "--out", tmp_path / "run", *SMALL) == 2
    assert "--data: name a folder to learn from" in capsys.readouterr().err


def test_weights_of_another_size_are_refused(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], folder: Path, tmp_path: Path
) -> None:
    from engines.network import AttriDet
    from engines.network.weights import save_weights

    save_weights(AttriDet("n"), tmp_path / "n.safetensors", {})
    words = ("--initial", tmp_path / "n.safetensors", "--size", "s")
    assert train(monkeypatch, "--data", folder, "--out", tmp_path / "run", *SMALL, *words) == 2
    assert re.search(
        r"n\.safetensors: is of another size than s \(\d+ parameters do not fit\); name its --size", capsys.readouterr().err
    )


def test_a_kept_request_comes_back_and_only_what_may_change_does(tmp_path: Path) -> None:
    TrainRequest(data=("data/pbc:3",), out=tmp_path, batch=8, patience=5, initial=Path("start.pt")).keep()
    again = recalled(TrainRequest(out=tmp_path, resume=True, patience=9))
    assert again.data == (f"{Path('data/pbc').absolute()}:3",)
    assert (again.batch, again.patience, again.device, again.resume) == (8, 9, "cpu", True)
    assert again.initial == Path("start.pt").absolute()
    assert recalled(TrainRequest(data=("data/pbc:3",), out=tmp_path, resume=True)).batch == 8
    with pytest.raises(DataError, match=r"--batch: .* was begun with 8, not 4\. Leave it out, or train in another --out"):
        recalled(TrainRequest(out=tmp_path, batch=4, resume=True))
    with pytest.raises(DataError, match=r"--epochs: .* was begun with 30, not 3\."):
        recalled(TrainRequest(out=tmp_path, epochs=3, resume=True))
    assert recalled(TrainRequest(out=tmp_path, epochs=30, resume=True)).batch == 8
    (tmp_path / "train.json").write_text('{"batch": 8, "colour": "red"}')
    with pytest.raises(DataError, match=r"train\.json: cannot be read .*; put it aside and give every option again"):
        recalled(TrainRequest(out=tmp_path, resume=True))
    elsewhere = TrainRequest(data=("data/pbc",), out=tmp_path / "other", resume=True)
    assert recalled(elsewhere) is elsewhere  # a run from before requests were kept


def test_help_says_what_each_group_of_words_is_for() -> None:
    done = subprocess.run([sys.executable, "-m", "engines", "train", "--help"], capture_output=True, text=True, check=True)
    for words in ("What it learns from", "Network and loss", "Course", "Judging", "Machine", "--phases", "--no-autoanchor", "torchrun"):
        assert words in done.stdout, words
