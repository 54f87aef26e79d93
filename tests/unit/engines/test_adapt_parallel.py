"""Two processes that share each batch of an adaptation make the steps of one, also where one of them found nothing on its targets."""

from __future__ import annotations

from pathlib import Path

import adapt_steps
import pytest
import torch

from engines.network import AttriDet, checkpoint
from engines.network.weights import save_weights
from tests.unit.engines.test_training_parallel import process, two_processes

ROOT = Path(__file__).resolve().parents[3]


def test_two_processes_adapt_as_one(model: AttriDet, tmp_path: Path) -> None:
    save_weights(model, tmp_path / "lively.safetensors", {})
    two = two_processes(ROOT / "tests/support/adapt_steps.py", tmp_path / "two", tmp_path / "lively.safetensors")
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        whole = adapt_steps.steps(tmp_path / "one", tmp_path / "lively.safetensors")
    finally:
        torch.set_num_threads(threads)
        told = [one.communicate(timeout=240) for one in two]
    assert [one.returncode for one in two] == [0, 0], told
    made = [[int(n) for n in printed.split()] for printed, _ in told]
    assert [sum(step) for step in zip(*made, strict=True)] == whole.made
    kinds = {tuple(sorted(map(bool, step))) for step in zip(*made, strict=True)}
    assert kinds == {(True, True), (False, True), (False, False)}, "both, one and none of the processes must have found cells once"
    shared = checkpoint.read(tmp_path / "two" / "last.pt")
    for name, value in whole.model.state_dict().items():
        torch.testing.assert_close(shared["model"][name], value, rtol=1e-8, atol=1e-11, msg=lambda text, name=name: f"{name}: {text}")
    (one,), (other,) = whole.history, shared["history"]
    assert {**other, "seconds": 0} == pytest.approx({**one, "seconds": 0}, rel=1e-8)


@pytest.mark.integration
def test_the_command_under_torchrun_writes_and_speaks_once(tmp_path: Path) -> None:
    from discs import write_discs

    folder, out = write_discs(tmp_path / "discs"), tmp_path / "run"
    save_weights(AttriDet("n"), tmp_path / "n.safetensors", {})
    words = (
        "--source",
        folder,
        "--target",
        folder,
        "--initial",
        tmp_path / "n.safetensors",
        "--method",
        "source-only",
        "--epochs",
        "1",
    )
    torchrun = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2")
    run = process(*torchrun, "-m", "engines", "adapt", *words, "--imgsz", "64", "--batch", "4", "--threads", "1", "--out", out)
    printed, told = run.communicate(timeout=240)
    assert run.returncode == 0, told
    assert printed.count("epoch 1/1") == 1 and printed.count("written:") == 1
    assert len(checkpoint.read(out / "last.pt")["history"]) == 1
