"""The optimiser of the families that find cells as sets: a backbone held back, short gradients, and nothing of it for the others."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from discs import discs

from engines.errors import DataError
from engines.families import family
from engines.families.fcos.fcos import FCOS
from engines.families.hyper import FILM, Hyper
from engines.network import AttriDet
from engines.training import TrainRequest
from engines.training.loop import Run, Trainer
from engines.training.optimiser import apply_step, build_optimiser, parameter_groups
from engines.training.run import hyper_of
from engines.training.schedule import Schedule

pytestmark = pytest.mark.usefixtures("one_thread_a_module")


@pytest.mark.parametrize(
    ("name", "given", "clip_norm", "backbone_rate"),
    [
        ("attridet", {}, 10.0, 1.0),
        ("fcos", {"initial": Path("a.pt")}, 10.0, 1.0),
        ("sparse_rcnn", {"initial": Path("a.pt")}, 1.0, 1.0),
        ("dino", {"initial": Path("a.pt")}, 0.1, 0.1),
        ("dino", {}, 0.1, 1.0),
        ("dino", {"clip_norm": 5.0, "backbone_rate": 0.5}, 5.0, 0.5),
    ],
)
def test_each_family_has_the_published_optimiser(name: str, given: dict[str, object], clip_norm: float, backbone_rate: float) -> None:
    hyper = hyper_of(TrainRequest(out=Path("run"), family=name, **given))  # type: ignore[arg-type]  # of several kinds
    assert (hyper.clip_norm, hyper.backbone_rate) == (clip_norm, backbone_rate)


def test_a_backbone_is_held_back_and_without_a_rate_of_its_own_all_is_as_it_was() -> None:
    network, step = FCOS("r18"), Schedule(FILM, 4, 10, 16).at(35)
    held = build_optimiser(network, replace(FILM, backbone_rate=0.1))
    apply_step(held, step)
    names = {id(p): name for name, p in network.named_parameters()}
    rates = {names[id(p)]: group["lr"] for group in held.param_groups for p in group["params"]}
    decays = {names[id(p)]: group["weight_decay"] for group in held.param_groups for p in group["params"]}
    assert len(rates) == len(names) == sum(len(group["params"]) for group in held.param_groups)
    for name, rate in rates.items():
        whole = step.lr_bias if name.endswith("bias") else step.lr
        assert rate == (whole * 0.1 if name.startswith("backbone.") else whole), name
    plain = build_optimiser(network, FILM)
    apply_step(plain, step)
    assert [group["lr"] for group in plain.param_groups] == [step.lr_bias, step.lr, step.lr]
    assert all("rate" not in group for group in plain.param_groups)
    assert decays == {names[id(p)]: group["weight_decay"] for group in plain.param_groups for p in group["params"]}
    with pytest.raises(DataError, match=r"--backbone-rate 0.1: a network of this family has no backbone apart"):
        parameter_groups(AttriDet("n"), replace(FILM, backbone_rate=0.1))


def lengths(trainer: Trainer) -> Iterator[float]:
    """The length of each step's gradient as the optimiser gets it."""
    found: list[float] = []

    def look(optimiser: torch.optim.Optimizer, *_: object) -> None:
        each = [p.grad.norm() for group in optimiser.param_groups for p in group["params"] if p.grad is not None]
        found.append(float(torch.stack(each).norm()))

    trainer.optimiser.register_step_pre_hook(look)
    trainer.fit()
    yield from found


def begun(folder: Path, epochs: int, hyper: Hyper) -> Trainer:
    return Trainer(Run(folder, family="dino", size="r18", imgsz=64, epochs=epochs, batch=4, workers=0, hyper=hyper), discs(4))


def test_gradients_are_as_long_as_said_and_a_resumed_run_makes_the_same_step(tmp_path: Path) -> None:
    """DINO, by the real loop: longer than .1 by themselves; and what was published is kept with the checkpoint."""
    kind = family("dino")
    assert kind.clip_norm is not None and kind.backbone_rate is not None
    hyper = replace(FILM, clip_norm=kind.clip_norm, backbone_rate=kind.backbone_rate, mosaic=0.0, patchwork=0.0)
    assert all(length > 1 for length in lengths(begun(tmp_path / "free", 1, replace(hyper, clip_norm=1e6))))
    whole = begun(tmp_path / "whole", 2, hyper)
    assert list(lengths(whole)) == pytest.approx([0.1, 0.1], rel=1e-3)

    half = begun(tmp_path / "half", 2, hyper)
    half.run = replace(half.run, epochs=1)
    half.fit()
    resumed = begun(tmp_path / "half", 2, hyper)
    resumed.resume(tmp_path / "half/last.pt")
    resumed.fit()
    ours, theirs = resumed.model.state_dict(), whole.model.state_dict()
    assert all(torch.equal(value, ours[name]) for name, value in theirs.items())

    with pytest.raises(DataError, match=r"hyper-parameter backbone_rate = 0.1, now it is 1"):
        begun(tmp_path / "half", 2, replace(hyper, backbone_rate=1.0)).resume(tmp_path / "half/last.pt")
