"""Training on a GPU: float16 with one scaler, NCCL with one process, and a resumed run whose scaler goes on where it was."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from discs import write_discs

from engines.network import checkpoint

torch = pytest.importorskip("torch")
ROOT = Path(__file__).resolve().parents[2]
pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU that this build of torch can use")]


def train(*words: str | Path) -> str:
    """One process under torchrun; what it printed."""
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "1", "-m", "engines", "train"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [*command, *map(str, words)], env=environment, cwd=ROOT, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_it_trains_in_float16_over_nccl_and_resumes(tmp_path: Path) -> None:
    folder, out = write_discs(tmp_path / "discs", train=16), tmp_path / "run"
    words = ("--data", folder, "--out", out, "--imgsz", "64", "--batch", "4", "--device", "cuda", "--hyper", "high", "--no-pictures")
    assert "epoch 2/2" in train(*words, "--phases", "1,2")
    state = checkpoint.read(out / "last.pt")
    assert state["scaler"]["scale"] > 0 and all(row["attr"] > 0 for row in state["history"])
    assert "complete" in train("--out", out, "--resume")
