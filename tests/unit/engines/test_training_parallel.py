"""Two processes that share each batch make the steps of one process: really started by torchrun, over gloo on the CPU."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import discs
import pytest
import torch
from torch import nn

from engines.families import parallel
from engines.network import checkpoint
from engines.training.sync_norm import SynchronisedBatchNorm2d, synchronise

ROOT = Path(__file__).resolve().parents[3]


def process(*words: str | Path, **variables: str) -> subprocess.Popen[str]:
    """Python with one thread, at the root of the repository."""
    paths = os.pathsep.join([str(ROOT), str(ROOT / "tests/support")])
    environment = {**os.environ, "PYTHONPATH": paths, "OMP_NUM_THREADS": "1", **variables}
    command = [sys.executable, *map(str, words)]
    return subprocess.Popen(command, env=environment, cwd=ROOT, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def two_processes(*words: str | Path) -> list[subprocess.Popen[str]]:
    """Two that know of each other as torchrun tells them, without torchrun itself, which loads torch a third time."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    shared = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    return [process(*words, RANK=rank, LOCAL_RANK=rank, **shared) for rank in ("0", "1")]


def test_two_processes_make_the_steps_of_one(tmp_path: Path) -> None:
    two = two_processes(ROOT / "tests/support/discs.py", tmp_path / "two")
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        whole = discs.steps_of_eight(tmp_path / "one")
    finally:
        torch.set_num_threads(threads)
        told = [one.communicate(timeout=240)[1] for one in two]
    assert [one.returncode for one in two] == [0, 0], told
    shared = checkpoint.read(tmp_path / "two" / "last.pt")
    # In float64 what is left of the order of summing is far below; a wrong count or statistic would show at 1e-3.
    for own, theirs in ((whole.model, shared["model"]), (whole.ema.model, shared["ema"])):
        for name, value in own.state_dict().items():
            torch.testing.assert_close(theirs[name], value, rtol=1e-9, atol=1e-11, msg=lambda text, name=name: f"{name}: {text}")
    (one,), (other,) = whole.history, shared["history"]
    assert {**other, "seconds": 0} == pytest.approx({**one, "seconds": 0}, rel=1e-9)
    assert whole.iteration == 2 and one["attr"] > 0


@pytest.mark.integration
def test_the_command_under_torchrun_writes_and_speaks_once(tmp_path: Path) -> None:
    folder = discs.write_discs(tmp_path / "discs")
    words = ("--data", folder, "--imgsz", "64", "--batch", "4", "--threads", "1", "--workers", "0", "--no-pictures", "--epochs", "1")
    torchrun = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2")
    run = process(*torchrun, "-m", "engines", "train", *words, "--out", tmp_path / "run")
    printed, told = run.communicate(timeout=240)
    assert run.returncode == 0, told
    assert printed.count("epoch 1/1") == 1 and printed.count("written:") == 1
    assert (tmp_path / "run" / "results.csv").read_text().count("\n") == 2
    assert len(checkpoint.read(tmp_path / "run" / "last.pt")["history"]) == 1


def test_one_process_alone_needs_no_messages() -> None:
    assert parallel.current() == parallel.Processes(0, 1)
    assert parallel.shares([3, 0]) == [1.0, 1.0]
    assert parallel.gathered([2, 5]) == [[2, 5]]
    assert parallel.from_first({"fitness": 0.5}) == {"fitness": 0.5}
    assert parallel.summed({"a": torch.tensor(1.5), "b": torch.tensor(2.0, requires_grad=True)}) == {"a": 1.5, "b": 2.0}


def test_synchronised_layers_take_the_place_of_plain_ones_with_the_same_state() -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 1), nn.Sequential(nn.BatchNorm2d(4, eps=1e-3, momentum=0.03)))
    before = dict(model.named_parameters()) | dict(model.named_buffers())
    synchronise(model)
    after = dict(model.named_parameters()) | dict(model.named_buffers())
    assert before.keys() == after.keys() and all(after[name] is before[name] for name in before)
    layer = model[1][0]  # type: ignore[index]  # a Sequential
    assert isinstance(layer, SynchronisedBatchNorm2d) and (layer.eps, layer.momentum) == (1e-3, 0.03)
    x = torch.randn(2, 4, 3, 3)
    torch.testing.assert_close(layer.eval()(x), nn.BatchNorm2d(4, eps=1e-3).eval()(x))
