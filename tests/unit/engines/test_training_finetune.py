"""Training that goes on from weights: where they come from, the gentle set, and what a run too short to reach its rate says."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from commands import attridet
from discs import write_discs

from engines.bundle import ZOO, weights_of
from engines.errors import BundleError
from engines.families.hyper import ADAPT, FILM, FINETUNE, HIGH, LOW
from engines.network import checkpoint
from engines.training.schedule import Schedule

SMALL = ("--imgsz", "64", "--batch", "4", "--threads", "1", "--workers", "0", "--no-pictures", "--no-judge")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_discs(tmp_path_factory.mktemp("data") / "discs")


def train(*words: object) -> tuple[int, str, str]:
    threads = torch.get_num_threads()
    try:
        return tuple(attridet("train", *words, columns=400))  # type: ignore[return-value]  # a triple
    finally:
        torch.set_num_threads(threads)


def test_a_shipped_bundle_is_a_start_and_the_run_goes_on_from_anywhere(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "run"
    words = ("--data", folder, "--out", out, *SMALL, "--initial", "zoo:attridet-n", "--hyper", "finetune")
    code, said, error = train(*words, "--epochs", "1", "--learning-rate", "1e-9")
    assert code == 0, error
    assert "1 epochs from zoo:attridet-n" in said and "at random" not in said
    shipped, ours = (checkpoint.load_any(path)[0].state_dict() for path in (Path("zoo:attridet-n"), out / "best.pt"))
    assert all(torch.allclose(ours[n], shipped[n], atol=1e-6) for n in shipped if "running" not in n and "num_batches" not in n)
    assert json.loads((out / "train.json").read_text())["initial"] == "zoo:attridet-n"
    assert checkpoint.read(out / "last.pt")["hyper"]["lr0"] == 1e-9
    monkeypatch.chdir(tmp_path)
    code, said, _ = train("--out", out, "--resume")
    assert code == 0 and "complete" in said


def test_weights_are_found_in_a_bundle_by_name_and_by_folder() -> None:
    assert weights_of("zoo:attridet-n") == weights_of(ZOO / "attridet-n") == ZOO / "attridet-n" / "weights.safetensors"
    assert weights_of("some/where.pt") == Path("some/where.pt")


@pytest.mark.parametrize(
    ("reference", "message"),
    [
        (
            "zoo:attridet-n-int8",
            "zoo:attridet-n-int8: this bundle holds graphs only, no weights.safetensors, and nothing can be learnt",
        ),
        ("zoo:attridet-q", "zoo:attridet-q: no such bundle. Did you mean zoo:attridet-n?"),
        (".", ".: a folder without manifest.json is no bundle; of a run's folder name the file, such as best.pt"),
        (
            "nowhere.pt",
            "--initial nowhere.pt: no such file; it takes a .pt or .safetensors of a training run, or a bundle with weights",
        ),
    ],
)
def test_a_start_without_weights_is_refused_with_the_way_out(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, reference: str, message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    code, _, error = train("--data", folder, "--out", "run", *SMALL, "--initial", reference)
    assert code == 2 and message in error
    assert not (tmp_path / "run").exists()


def test_a_bundle_with_altered_weights_is_no_start(tmp_path: Path) -> None:
    for file in (ZOO / "attridet-n").iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    (tmp_path / "weights.safetensors").write_bytes(b"other")
    with pytest.raises(BundleError, match=r"weights\.safetensors: altered or incomplete"):
        weights_of(tmp_path)


@pytest.mark.parametrize(("batches", "epochs"), [(2, 30), (1, 3), (105, 4), (1000, 10)])
def test_the_gentle_warm_up_is_a_tenth_of_the_run_at_most(batches: int, epochs: int) -> None:
    schedule = Schedule(FINETUNE, epochs, batches, 16, cosine=True)
    assert schedule.leaves_warmup and schedule.warmup_iterations <= max(0.1 * batches * epochs, 1)
    assert schedule.at(0).lr == schedule.at(0).lr_bias == 0
    assert max(schedule.at(n).lr for n in range(batches * epochs)) > 0.7 * FINETUNE.lr0


def test_a_run_that_ends_in_its_warm_up_says_so(folder: Path, tmp_path: Path) -> None:
    assert not Schedule(LOW, 30, 2, 16).leaves_warmup and Schedule(LOW, 100, 2, 16).leaves_warmup
    assert all(Schedule(hyper, 30, 2, 16).warmup_iterations <= 6 for hyper in (FILM, ADAPT))
    _, said, _ = train("--data", folder, "--out", tmp_path / "low", *SMALL, "--epochs", "1", "--hyper", "low")
    assert "Mind: this run has 2 steps and its warm-up 100: it ends before it reaches its learning rate. Give it more --epochs" in said
    _, said, _ = train("--data", folder, "--out", tmp_path / "gentle", *SMALL, "--epochs", "2", "--hyper", "finetune")
    assert "warm-up" not in said


def test_a_finished_run_is_lengthened_and_says_so(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    assert train("--data", folder, "--out", out, *SMALL, "--epochs", "1")[0] == 0
    code, said, _ = train("--out", out, "--resume", "--epochs", "3")
    assert code == 0 and "was trained for 1 epochs and goes on to 3: the learning rate follows the schedule of 3" in said
    assert "goes on after epoch 1 of 3" in said and (out / "results.csv").read_text().count("\n") == 4
    code, _, error = train("--out", out, "--resume", "--epochs", "2")
    assert code == 2 and f"--epochs: {out} was begun with 3, not 2" in error


def test_another_learning_rate_keeps_the_biases_in_proportion() -> None:
    assert (HIGH.at_rate(1e-3).lr0, HIGH.at_rate(1e-3).warmup_bias_lr) == (1e-3, pytest.approx(1e-2))
    assert (FILM.at_rate(1e-4).lr0, FILM.at_rate(1e-4).warmup_bias_lr) == (1e-4, pytest.approx(1e-4))
