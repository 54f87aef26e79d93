"""The loop on a few drawn cells: it learns, it resumes to the identical next step, and its checkpoint holds the head."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from discs import discs

from engines.errors import DataError
from engines.families.hyper import FILM, LOW
from engines.network import checkpoint
from engines.training.judge import FolderJudge
from engines.training.loop import Progress, Run, Trainer
from engines.training.optimiser import parameter_groups
from engines.training.request import parse_folder

pytestmark = pytest.mark.usefixtures("one_thread")


def short_run(folder: Path, epochs: int = 2, **changes: object) -> Run:
    settings = Run(folder=folder, imgsz=96, epochs=epochs, batch=4, workers=0, amp=False, hyper=replace(FILM, warmup_epochs=0.0))
    return replace(settings, **changes)  # type: ignore[arg-type]  # names of the dataclass's own fields


def test_losses_fall_and_attributes_are_learnt(tmp_path: Path) -> None:
    calm = replace(FILM, patchwork=0.0, mosaic=0.0, crop=0.0, blur=0.0, scale=0.0, translate=0.0, warmup_epochs=0.0, ema_tau=5.0)
    trainer = Trainer(short_run(tmp_path, 18, hyper=calm), discs(8) * 2)
    seen: list[Progress] = []
    trainer.fit(seen.append)
    first, last = seen[3].losses, seen[-1].losses
    assert last["box"] < 0.8 * first["box"]
    assert last["attr"] < 0.7 * first["attr"]
    assert [p.epoch for p in seen if p.batch == p.batches] == list(range(1, 19))


def test_a_resumed_run_makes_the_identical_next_step(tmp_path: Path) -> None:
    whole = Trainer(short_run(tmp_path / "whole"), discs())
    whole.fit()

    stopped = Trainer(short_run(tmp_path / "stopped"), discs())

    class StoppedError(Exception):
        pass

    def after_one_epoch(now: Progress) -> None:
        if now.epoch == 2:
            raise StoppedError

    with pytest.raises(StoppedError):
        stopped.fit(after_one_epoch)
    resumed = Trainer(short_run(tmp_path / "stopped"), discs())
    resumed.resume(tmp_path / "stopped" / "last.pt")
    assert resumed.epoch == 1
    resumed.fit()
    for name, value in whole.model.state_dict().items():
        assert torch.equal(value, resumed.model.state_dict()[name]), name
    for name, value in whole.ema.model.state_dict().items():
        assert torch.equal(value, resumed.ema.model.state_dict()[name]), name


def test_a_checkpoint_holds_detector_and_head_and_is_judged_alike(tmp_path: Path) -> None:
    trainer = Trainer(short_run(tmp_path, 1), discs())
    trainer.fit()
    network, state = checkpoint.load_network(tmp_path / "last.pt")
    assert "attribute_head.fc3.bias" in network.state_dict() and state["epoch"] == 1
    scores = FolderJudge({"drawn": discs()}, 96)(network, 1)
    assert scores.keys() == {"drawn_map50", "drawn_map", "drawn_attr_f1", "fitness"}
    again = FolderJudge({"drawn": discs()}, 96)(trainer.ema.model, 1)  # type: ignore[arg-type]  # EMA keeps the type
    assert scores == pytest.approx(again, nan_ok=True)  # nothing is found yet, so the attributes have no score


def test_only_weights_of_convolutions_and_linear_layers_decay(tmp_path: Path) -> None:
    trainer = Trainer(short_run(tmp_path, hyper=replace(LOW, weight_decay=0.3)), discs())
    biases, decayed, norms = parameter_groups(trainer.model, trainer.run.hyper)
    assert (biases["weight_decay"], decayed["weight_decay"], norms["weight_decay"]) == (0.0, 0.3, 0.0)
    assert all(p.ndim == 1 for p in (*biases["params"], *norms["params"]))
    assert all(p.ndim > 1 for p in decayed["params"])
    assert sum(len(g["params"]) for g in (biases, decayed, norms)) == len(list(trainer.model.parameters()))


def test_what_is_no_checkpoint_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such checkpoint"):
        checkpoint.read(tmp_path / "none.pt")
    (tmp_path / "text.pt").write_text("not weights")
    with pytest.raises(DataError, match=r"text\.pt: not a readable checkpoint"):
        checkpoint.read(tmp_path / "text.pt")
    torch.save({"format": 99}, tmp_path / "newer.pt")
    with pytest.raises(DataError, match="not a checkpoint of this version"):
        checkpoint.read(tmp_path / "newer.pt")


@pytest.mark.parametrize(
    ("text", "meant"), [("pbc", ("pbc", 1)), ("film:3", ("film", 3)), ("odd:name", ("odd:name", 1)), ("film:0", ("film:0", 1))]
)
def test_a_folder_may_say_how_often_it_counts(text: str, meant: tuple[str, int]) -> None:
    assert parse_folder(text) == (Path(meant[0]), meant[1])
