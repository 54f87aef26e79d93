"""The course of a training: scaled gradients, early stop, phases, and a resumed run that goes on as if it had never stopped."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from discs import discs

from engines.data.augment import Sample
from engines.data.leukemiaattri import LabelledImage
from engines.errors import DataError
from engines.families.hyper import FILM, HIGH, LOW
from engines.network import AttriDet, checkpoint
from engines.training.agreement import DataDigest
from engines.training.loop import Progress, Run, Trainer
from engines.training.optimiser import parameter_groups
from engines.training.request import TrainRequest

pytestmark = pytest.mark.usefixtures("one_thread")


def short(folder: Path, **changes: object) -> Run:
    settings = Run(folder, imgsz=64, epochs=2, batch=4, workers=0, amp=False, hyper=replace(FILM, warmup_epochs=0.0))
    return replace(settings, **changes)  # type: ignore[arg-type]  # names of the dataclass's own fields


class StoppedError(Exception):
    """The power went."""


def stop_in(epoch: int) -> object:
    def report(now: Progress) -> None:
        if now.epoch == epoch:
            raise StoppedError

    return report


def assert_same(one: Trainer, other: Trainer) -> None:
    for a, b in ((one.model, other.model), (one.ema.model, other.ema.model)):
        for name, value in a.state_dict().items():
            assert torch.equal(value, b.state_dict()[name]), name


def scaled(trainer: Trainer) -> Trainer:
    """The scaler that a GPU would have; it works on a CPU as well."""
    trainer.scaler = torch.amp.GradScaler("cpu", init_scale=2.0**16, growth_interval=2)
    return trainer


def test_one_scaler_for_the_joint_loss_changes_no_gradient(tmp_path: Path) -> None:
    plain = Trainer(short(tmp_path / "plain", epochs=1, batch=2), discs())
    plain.fit()
    other = scaled(Trainer(short(tmp_path / "scaled", epochs=1, batch=2), discs()))
    other.fit()
    assert other.scaler.get_scale() == 2.0**18  # it grew twice in four steps, so it was in use
    assert_same(plain, other)  # powers of two are exact: the attributes' share of the gradient is whole


def test_the_scaler_leaves_out_a_step_that_overflowed(tmp_path: Path) -> None:
    trainer = scaled(Trainer(short(tmp_path, epochs=1, batch=8), discs()))
    trainer.scaler = torch.amp.GradScaler("cpu", init_scale=3e38)
    before = trainer.model.state_dict()["model.0.conv.weight"].clone()
    trainer.fit()
    assert torch.equal(before, trainer.model.state_dict()["model.0.conv.weight"])
    assert trainer.scaler.get_scale() < 2e38


def test_a_resumed_run_makes_the_identical_next_step_with_scaler_anchors_and_patience(tmp_path: Path) -> None:
    # SGD as published: momentum, batches gathered over the warm-up; long thin cells: other anchors than the published ones.
    run = short(tmp_path / "whole", epochs=3, hyper=replace(HIGH, mixup=0.5), cosine=False, batch=6, autoanchor=True, patience=2)
    fitness = [0.3, 0.2, 0.1]

    def judge(_: AttriDet, epoch: int) -> dict[str, float]:
        return {"fitness": fitness[epoch - 1]}

    samples = thin_discs()
    whole = scaled(Trainer(run, samples))
    whole.fit(judge=judge)
    stopped = scaled(Trainer(replace(run, folder=tmp_path / "stopped"), samples))
    with pytest.raises(StoppedError):
        stopped.fit(stop_in(2), judge)  # type: ignore[arg-type]  # a report
    resumed = scaled(Trainer(replace(run, folder=tmp_path / "stopped", autoanchor=False), samples))
    assert not torch.equal(resumed.learner.detection_loss.anchors, stopped.learner.detection_loss.anchors)
    resumed.resume(tmp_path / "stopped" / "last.pt")
    assert torch.equal(resumed.learner.detection_loss.anchors, stopped.learner.detection_loss.anchors)
    assert (resumed.epoch, resumed.iteration, resumed.total_iterations) == (1, 2, 6)
    resumed.fit(judge=judge)
    assert_same(whole, resumed)
    assert resumed.scaler.state_dict() == whole.scaler.state_dict()
    assert (resumed.best, resumed.best_epoch, resumed.stopped_early) == (0.3, 1, True)
    assert [row["fitness"] for row in resumed.history] == fitness
    assert (tmp_path / "stopped" / "results.csv").read_text().count("\n") == 4


def thin_discs() -> list[Sample]:
    """Labels so long and thin that no published anchor reaches them."""
    samples = []
    for number, sample in enumerate(discs(12)):
        box = sample.boxes.copy()
        box[:, 0], box[:, 2] = 2.0, 90.0 - number
        box[:, 3] = box[:, 1] + 3 + number / 4
        samples.append(Sample(sample.image, box, sample.labels))
    return samples


class QuickTrainer(Trainer):
    """Trains nothing in an epoch, for tests of what happens between epochs."""

    def _one_epoch(self, report: object) -> dict[str, float]:
        return {"box": 1.0}


def test_iterations_are_counted_from_the_start_of_the_run(tmp_path: Path) -> None:
    trainer = Trainer(short(tmp_path), discs())
    seen: list[int] = []
    trainer.fit(lambda now: seen.append(trainer.iteration))
    assert seen == [0, 1, 2, 3] and trainer.total_iterations == 4


def test_it_stops_when_fitness_has_not_risen_for_so_many_epochs(tmp_path: Path) -> None:
    fitness = iter([0.0, 0.0, 0.2, 0.1, 0.2, 0.1, 0.1, 0.3])
    trainer = QuickTrainer(short(tmp_path, epochs=8, patience=2, batch=8), discs())
    best = trainer.fit(judge=lambda model, epoch: {"fitness": next(fitness)})
    assert (best, trainer.best_epoch, trainer.epoch, trainer.stopped_early) == (0.2, 5, 7, True)
    assert checkpoint.read(tmp_path / "best.pt")["epoch"] == 5 and checkpoint.read(tmp_path / "last.pt")["epoch"] == 7
    assert sorted(path.name for path in tmp_path.iterdir()) == ["best.pt", "last.pt", "results.csv"]
    trainer.fit()  # it stays so
    assert trainer.epoch == 7


def test_without_a_judge_or_with_patience_0_it_goes_to_the_end(tmp_path: Path) -> None:
    for patience, judge in ((1, None), (0, lambda model, epoch: {"fitness": -float(epoch)})):
        trainer = QuickTrainer(short(tmp_path / str(patience), epochs=4, patience=patience, batch=8), discs())
        trainer.fit(judge=judge)
        assert trainer.epoch == 4 and not trainer.stopped_early


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"batch": 8}, "was trained with batch 4, now it is 8"),
        ({"seed": 3}, "was trained with seed 0, now it is 3"),
        ({"hyper": replace(FILM, warmup_epochs=0.0, lr0=0.5)}, "hyper-parameter lr0 = 0.002, now it is 0.5"),
        ({"epochs": 1}, "was trained with epochs 2, now it is 1"),
        ({"size": "s"}, "was trained with size n, now it is s"),
    ],
)
def test_a_run_with_other_settings_does_not_resume(tmp_path: Path, changes: dict[str, object], words: str) -> None:
    path = tmp_path / "last.pt"
    Trainer(short(tmp_path), discs()).save(path)
    with pytest.raises(DataError, match=words):
        Trainer(short(tmp_path, **changes), discs()).resume(path)


def test_a_checkpoint_older_than_a_hyper_parameter_resumes_where_it_has_no_effect(tmp_path: Path) -> None:
    trainer, path = Trainer(short(tmp_path), discs()), tmp_path / "last.pt"
    state = trainer.state()
    del state["hyper"]["ema_share"]
    checkpoint.save(path, state)
    Trainer(short(tmp_path), discs()).resume(path)
    other = short(tmp_path)
    with pytest.raises(DataError, match=r"hyper-parameter ema_share = 0\.0, now it is 0\.2"):
        Trainer(replace(other, hyper=replace(other.hyper, ema_share=0.2)), discs()).resume(path)


def test_other_pictures_do_not_resume(tmp_path: Path) -> None:
    Trainer(short(tmp_path), discs()).save(tmp_path / "last.pt")
    with pytest.raises(DataError, match="had 2 batches, now it has 3: the pictures have changed"):
        Trainer(short(tmp_path), discs(12)).resume(tmp_path / "last.pt")


def test_phases_follow_each_other_and_the_files_say_which_is_in_work(tmp_path: Path) -> None:
    start = tmp_path / "start.pt"
    start.touch()
    request = TrainRequest(data=("film",), out=tmp_path, phases="3,5", initial=start, resume=True)
    (tmp_path / "train.json").touch()
    planned = request.planned(())
    assert [(p.number, p.of, p.epochs, p.folder) for p in planned] == [(1, 2, 3, tmp_path / "phase-1"), (2, 2, 5, tmp_path)]
    assert [p.initial for p in planned] == [start, tmp_path / "phase-1" / "last.pt"]
    (tmp_path / "phase-1").mkdir()
    (tmp_path / "phase-1" / "last.pt").touch()
    assert request.planned(()) == planned  # it may not be complete
    (tmp_path / "last.pt").touch()
    assert request.planned(()) == planned[1:]


def test_the_second_phase_keeps_detector_and_head_and_draws_other_pictures(tmp_path: Path) -> None:
    first = Trainer(short(tmp_path / "phase-1", epochs=1), discs())
    first.fit()
    second = Trainer(short(tmp_path, initial=tmp_path / "phase-1" / "last.pt", phase=2), discs())
    assert second.begun_anew == []
    for name, value in first.ema.model.state_dict().items():
        assert torch.equal(value, second.model.state_dict()[name]), name
    assert not second.optimiser.state and second.epoch == 0
    assert not torch.equal(first.data[0][0], second.data[0][0])


def test_decay_is_for_a_nominal_batch_of_64(tmp_path: Path) -> None:
    model = AttriDet("n")
    for batch, factor in ((8, 1.0), (16, 1.0), (24, 72 / 64), (128, 2.0)):
        assert parameter_groups(model, LOW, batch)[1]["weight_decay"] == pytest.approx(5e-4 * factor)
    assert parameter_groups(model, FILM, 128)[1]["weight_decay"] == FILM.weight_decay


def labelled(path: Path, content: str = "pixels", **changes: Any) -> LabelledImage:
    path.parent.mkdir(exist_ok=True)
    path.write_text(content)
    boxes = np.array([[10, 10, 30, 30], [40, 10, 60, 30]], np.float32)
    return replace(LabelledImage(path, (96, 96), boxes, np.array([1, 3]), np.full((2, 7), -1)), **changes)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"classes": np.array([3, 3])}, "and so it is now, but pictures, boxes or what is labelled differ: the labels have changed"),
        ({"boxes_px": np.array([[10, 10, 30, 30], [40, 11, 60, 30]], np.float32)}, "the labels have changed"),
        ({"attributes": np.full((2, 7), 0)}, "the labels have changed"),
        ({"ignored_px": np.array([[0, 0, 9, 9]], np.float32)}, "the labels have changed"),
        ({"size_hw": (96, 97)}, "the labels have changed"),
        ({"content": "other pixels"}, "the labels have changed"),
        ({"name": "c.png"}, "the labels have changed"),
        (
            {"boxes_px": np.zeros((0, 4), np.float32), "classes": np.zeros(0, np.int64), "attributes": np.zeros((0, 7), np.int64)},
            "2 pictures with 4 labelled cells, now there are 2 pictures with 2 labelled cells: the labels have changed",
        ),
    ],
    ids=lambda v: next(iter(v)) if isinstance(v, dict) else "",
)
def test_changed_labels_do_not_resume(tmp_path: Path, changes: dict[str, Any], words: str) -> None:
    path, first = tmp_path / "last.pt", labelled(tmp_path / "b.png")
    Trainer(short(tmp_path, labels=DataDigest.of([first, labelled(tmp_path / "a.png")])), discs()).save(path)
    same = DataDigest.of([labelled(tmp_path / "moved/a.png"), first])
    assert Trainer(short(tmp_path, labels=same), discs()).resume(path) == "", "neither order nor folder is part of the labels"
    changed = DataDigest.of([first, labelled(tmp_path / changes.pop("name", "a.png"), **changes)])
    with pytest.raises(DataError, match=words):
        Trainer(short(tmp_path, labels=changed), discs()).resume(path)


def test_a_checkpoint_without_a_digest_of_its_labels_resumes_with_a_note(tmp_path: Path) -> None:
    trainer, path = Trainer(short(tmp_path), discs()), tmp_path / "last.pt"
    state = trainer.state()
    del state["labels"]
    checkpoint.save(path, state)
    note = Trainer(short(tmp_path, labels=DataDigest.of([labelled(tmp_path / "a.png")])), discs()).resume(path)
    assert "kept no digest of the labels" in note
