"""Schedule, EMA and hyper-parameters against the reference's tables."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from torch import nn

from engines.families.hyper import ADAPT, HIGH, LOW, Hyper
from engines.training.ema import ModelEma
from engines.training.schedule import Schedule


@pytest.mark.shared
@pytest.mark.parametrize(("table", "hyper"), [("schedule_linear_high", HIGH), ("schedule_cosine_low", LOW)])
def test_every_row_of_the_reference_table(parity: Path, table: str, hyper: Hyper) -> None:
    case = json.loads((parity / "misc" / "misc.json").read_text())[table]
    args = case["args"]
    assert (hyper.lr0, hyper.lrf) == (args["lr0"], args["lrf"])
    schedule = Schedule(hyper, args["epochs"], args["nb"], args["batch"], args["cos"])
    for ni, _epoch, bias, decay, norm, momentum, accumulate in case["rows"]:
        step = schedule.at(ni)
        assert step.lr_bias == pytest.approx(bias, abs=1e-6)
        assert step.lr == pytest.approx(decay, abs=1e-6)
        assert step.lr == pytest.approx(norm, abs=1e-6)
        assert step.momentum == pytest.approx(momentum, abs=1e-6)
        assert step.accumulate == accumulate


@pytest.mark.shared
def test_ema_decay_follows_the_reference(parity: Path) -> None:
    ema = ModelEma(nn.Linear(1, 1))
    for updates, expected in json.loads((parity / "misc" / "misc.json").read_text())["ema_decay"].items():
        assert ema.decay_at(int(updates)) == pytest.approx(expected, abs=1e-12)


def test_ema_equals_its_closed_form_for_a_model_that_jumps_once() -> None:
    model = nn.Linear(1, 1, bias=False)
    with torch.no_grad():
        model.weight.fill_(0.0)
    ema = ModelEma(model, decay=0.9, tau=5.0)
    with torch.no_grad():
        model.weight.fill_(1.0)
    remains = 1.0
    for n in range(1, 8):
        ema.update(model)
        remains *= ema.decay_at(n)
    assert float(ema.model.state_dict()["weight"]) == pytest.approx(1 - remains, abs=1e-6)
    assert not any(p.requires_grad for p in ema.model.parameters())


def part_of_second_half(hyper: Hyper, steps: int) -> float:
    """How much of the average after `steps` steps came from the second half of them."""
    ema = ModelEma(nn.Linear(1, 1), tau=hyper.tau(steps))
    remains = 1.0
    for n in range(steps // 2 + 1, steps + 1):
        remains *= ema.decay_at(n)
    return 1 - remains


@pytest.mark.parametrize("steps", [75, 150, 400, 2000])
def test_the_average_that_teaches_follows_to_the_end_of_runs_of_any_length(steps: int) -> None:
    assert part_of_second_half(ADAPT, steps) > 0.5


def test_a_time_constant_in_steps_stands_still_before_a_long_run_ends() -> None:
    assert part_of_second_half(Hyper("fixed", ema_tau=20.0), 400) < 0.03
