"""`attridet adapt` as a person meets it: settings recalled, the run resumed by its folder alone, wrong words in one line."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from commands import attridet
from discs import write_discs

from engines.adapt import AdaptRequest, adapt
from engines.adapt.trainer import AdaptTrainer
from engines.network import AttriDet
from engines.network.checkpoint import read, save
from engines.network.weights import save_weights
from tests.support.miniature import Miniature

SMALL = ("--imgsz", 64, "--batch", 4, "--threads", 1, "--method", "source-only")


@pytest.fixture(autouse=True)
def same_threads() -> Iterator[None]:
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_discs(tmp_path_factory.mktemp("data") / "discs")


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("start") / "n.safetensors"
    save_weights(AttriDet("n"), path, {})
    return path


def test_a_run_that_was_stopped_goes_on_by_its_folder_alone(
    folder: Path, start: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    epoch, out = AdaptTrainer._one_epoch, tmp_path / "out"

    def power_goes(self: AdaptTrainer, report: object) -> dict[str, float]:
        if self.epoch == 1:
            raise KeyboardInterrupt
        return epoch(self, report)  # type: ignore[arg-type]  # the real report

    words = ("--source", f"{folder}:2", "--target", folder, "--initial", start, "--out", out, "--epochs", 2, *SMALL)
    with monkeypatch.context() as patch:
        patch.setattr(AdaptTrainer, "_one_epoch", power_goes)
        stopped = attridet("adapt", *words)
    assert stopped.code == 130 and f"stopped; go on with: attridet adapt --out {out} --resume" in stopped.out
    assert json.loads((out / "adapt.json").read_text())["source"] == [f"{folder}:2"]
    assert read(out / "last.pt")["epoch"] == 1

    other = attridet("adapt", "--out", out, "--resume", "--epochs", 4)
    assert other.code == 2 and f"--epochs: {out} was begun with 2, not 4. Leave it out" in other.err
    resumed = attridet("adapt", "--out", out, "--resume")
    assert resumed.code == 0, resumed
    assert "goes on after epoch 1 of 2" in resumed.out and f"written: {out / 'last.pt'}" in resumed.out
    assert read(out / "last.pt")["epoch"] == 2

    straight = adapt(
        AdaptRequest(
            source=(f"{folder}:2",), target=(str(folder),), initial=start, out=tmp_path / "straight", epochs=2, imgsz=64, batch=4,
            threads=1, method="source-only",
        )
    )  # fmt: skip
    theirs, ours = read(straight.checkpoint), read(out / "last.pt")
    assert all(torch.equal(value, ours["ema"][name]) for name, value in theirs["ema"].items())


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--out", "run"), "--source: name a folder of pictures"),
        (("--out", "run", "--source", "a", "--target", "b"), "--initial: name the network to start from"),
        (("--out", "run", "--resume"), "run: nothing to resume; leave out --resume"),
        (("--out", "run", "--method", "magic"), "--method magic: there are source-only, confmix, daca"),
        (("--out", "run", "--teacher", "me"), "--teacher me: there are student, ema"),
        (("--out", "run", "--recolour", "2"), "--recolour 2: must be at most 1"),
        (("--out", "run", "--epochs", "two"), 'Invalid value for --epochs: unable to convert "two" into int.'),
        (("--out", "run", "--epoch", "2"), "Unknown option: --epoch. Did you mean --epochs?"),
        ((), "--out requires an argument. See: attridet adapt --help"),
    ],
)
def test_wrong_words_are_one_line_and_exit_code_2(
    words: tuple[str, ...], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    called = attridet("adapt", *words)
    assert called.code == 2 and called.err.startswith("attridet: ") and message in called.err, called
    assert not list(tmp_path.iterdir())


def test_published_is_the_whole_recipe_and_what_is_said_takes_the_place_of_its_part(tmp_path: Path) -> None:
    asked = AdaptRequest(out=tmp_path, published=True).settled()
    assert (asked.hyper, asked.imgsz, asked.batch, asked.phases, asked.confidence) == ("low", 600, 1, "20,50", 0.25)
    assert (asked.teacher, asked.source_boxes, asked.recolour, asked.weight) == ("student", "pseudo", 0.0, 1.0)
    asked = AdaptRequest(out=tmp_path, published=True, method="daca", imgsz=96, epochs=4, recolour=0.7).settled()
    assert (asked.confidence, asked.imgsz, asked.epochs, asked.phases, asked.recolour) == (0.1, 96, 4, None, 0.7)
    first, second = AdaptRequest(out=tmp_path, published=True, source=("a",), target=("b",)).settled().planned()
    assert (first.folder, first.epochs, second.epochs, second.initial) == (tmp_path / "phase-1", 20, 50, tmp_path / "phase-1/last.pt")


def test_the_start_gives_size_side_and_anchors_and_the_best_epoch_is_kept(miniature: Miniature, tmp_path: Path) -> None:
    """On the published layout, where no folder has a val: patients of the source that the start has not learnt from judge."""
    source, target, run = miniature.subset("H_100X_C1"), miniature.subset("L_100X_C1"), tmp_path / "run"
    small = ("--batch", 4, "--epochs", 1, "--threads", 1, "--workers", 0, "--no-pictures")
    assert attridet("train", "--data", source, "--out", run, "--imgsz", 96, *small).code == 0
    state = read(run / "last.pt")
    learnt = {patient for one in state["seen"] for patient in one["patients"]}
    anchors = state["ema"]["model.24.anchors"] * 0.9
    save(run / "last.pt", {**state, "ema": {**state["ema"], "model.24.anchors": anchors}})

    out = tmp_path / "adapted"
    words = ("--source", source, "--target", target, "--initial", run / "last.pt", "--out", out, *small[:-1])
    done = attridet("adapt", *words)
    assert done.code == 1 and "judged on val of H_100X_C1" in done.out, done  # one epoch's network believes nothing of the target
    assert "pseudo-labels, and of how many of 8 target pictures shown in 2 steps: epoch 1: 0 of 0, in 0 steps" in done.out
    adapted, kept = read(out / "last.pt"), json.loads((out / "adapt.json").read_text())
    assert (kept["size"], kept["imgsz"]) == ("n", 96)
    torch.testing.assert_close(adapted["ema"]["model.24.anchors"], anchors)
    assert (out / "best.pt").exists() and (out / "results.png").exists() and "H_100X_C1_map50" in adapted["history"][0]
    held = set(json.loads((out / "val.json").read_text())["patients"])
    assert held and not held & learnt
    roles = {(one["name"].rpartition("/")[2], one["role"]) for one in adapted["seen"]}
    assert roles == {("H_100X_C1", "labelled"), ("L_100X_C1", "unlabelled")} and adapted["seen_before"] == state["seen"]
    told = attridet("adapt", *words[:-10], "--out", tmp_path / "other", "--size", "s")
    assert told.code == 2 and "is of another size, n; leave --size out" in told.err


def test_a_target_with_a_labelled_val_judges(folder: Path, start: Path, tmp_path: Path) -> None:
    target = write_discs(tmp_path / "target", val=3)
    words = ("--source", folder, "--target", target, "--initial", start, "--out", tmp_path / "out", "--epochs", 1, *SMALL)
    done = attridet("adapt", *words, "--workers", 0)
    assert done.code == 0 and "judged on val of target (3)" in done.out, done
