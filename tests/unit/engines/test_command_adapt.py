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
from engines.network.checkpoint import read
from engines.network.weights import save_weights

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
