"""Every command line of the laboratory's pages is run on the miniature of the published data, verbatim but for what `QUICK` says.

The names of folders in the lines (DIR, HIGH, LOW, LABELLED, pbc …) are links to subsets of the miniature in the folder where they are
run, so that the words stay as they are. Lines in a grammar (`[--option X]`, `a|b`) are run without options, with the first choice.
"""

from __future__ import annotations

import re
import shlex
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from commands import attridet
from published import save_checkpoint

from engines.network import YOLOv5, checkpoint
from tests.support.miniature import Miniature

ROOT = Path(__file__).resolve().parents[2]
PAGES = ("laboratory", "training", "transfer", "data", "calibration", "bundles")

FEW = "--imgsz 64 --batch 4 --workers 0 --threads 1 --no-pictures"
QUICK: dict[str, tuple[tuple[str, str], ...]] = {
    "train": (
        (r"--epochs \d+", "--epochs 1"),
        (r"--phases \d+,\d+", "--phases 1,1"),
        (r" --(size|device|batch|imgsz) \S+", ""),
        (r"^(?!.*(?:--resume|--epochs|--phases))(.*)$", r"\1 --epochs 1"),
        (r"^(?!.*--resume)(.*)$", rf"\1 {FEW}"),
    ),
    "adapt": ((r"$", " --epochs 1 --batch 4 --imgsz 96 --workers 0 --threads 1 --confidence 0.1"),),
    "evaluate": ((r"$", " --resamples 20 --threads 1"),),
    "export": ((r"$", " --input 320"),),
    "bench": ((r"$", " --count 2 --rounds 1 --threads 1 --runtime onnx"),),
    "frames": ((r"$", " --fewest 4"),),
    "quantize": ((r"$", " --threads 1 --runtime onnx --map-points 100 --f1-points 100 --youden-points 100 --shift-px 100"),),
    "half": ((r"$", " --threads 1"),),
    "film": ((r"--train 400 --val 80", "--train 2 --val 1"),),
    "transfer": ((r"--from-split val", "--from-split train"),),
}
"""By command: what is replaced by what, so that a line takes seconds: epochs, sizes, the device, how many draws and frames."""

SKIPPED = {
    "torchrun": "several processes: tests/unit/engines/test_training_parallel.py and test_adapt_parallel.py start them",
    "leukoscope": "a word of the appliance",
    "attridet build": "plans are made by a GPU; tests/unit/engines/test_build_plans.py",
    "attridet evidence": "needs the plan's open sets; tests/unit/engines/test_command_evidence.py",
    "attridet recipe": "minutes; the recipe's own tests run it on the miniature",
    "attridet film FILM": "needs cells on black ground; tests/unit/engines/test_film_cut_outs.py makes some",
    "attridet second-look BUNDLE": "tests/unit/engines/test_second_look.py runs it with what it adds",
    "attridet gate COPY": "needs a GPU",
    **dict.fromkeys(
        ("attridet transfer --every-pair", "attridet quantize --frames", "attridet export --max-boxes"), "an option, no line"
    ),
}
CODES = {"quantize": (0, 1, 3), "gate": (0, 1, 3), "half": (0, 1, 3), "data check": (0, 1)}
"""Exit codes beside 0 that a line may end with: the verdict on a drawing, faults that were planted."""


FOLDERS = {
    "DIR": "H_100X_C2",
    "HIGH": "H_100X_C2",
    "LOW": "L_100X_C1",
    "LABELLED": "L_100X_C1",
    "pbc": "H_100X_C1",
    "film": "H_10X_C1",
    "mine": "H_40X_C1",
    "lld_40x": "H_40X_C1",
    "lld_100x": "H_100X_C1",
    **{name: name for name in ("H_100X_C2", "L_40X_C2", "H_40X_C2", "L_10X_C2")},
}
"""What the folders' names in the lines are links to."""
ENDS = {
    "data": {"FIGURE": "figure"},
    "calibration": {"zoo:attridet-n": "ENGINE"},
    "bundles": {"WEIGHTS": "runs/a/best.pt", "OUT": "bundle", "BUNDLE": "ENGINE", "MODEL": "runs/a/best.pt"}
    | {"NAME": "test", "CANDIDATE": "ENGINE-int8", "images DIR": "images LOW/Images/test"},
}
"""What a page's own placeholders stand for."""


def lines_of(page: str) -> list[str]:
    """Command lines of a page in order: of its blocks, and those between backticks that hold an option."""
    found = []
    for line in (ROOT / f"docs/{page}.md").read_text(encoding="utf-8").splitlines():
        if re.match(r"\s*(attridet|torchrun|leukoscope) \S", line):
            found.append(re.sub(r"\s+#.*", "", line).strip())
        else:
            found += [
                words for words in re.findall(r"`(attridet [^`]+)`", line) if re.search(r" --\w+", words) and "--help" not in words
            ]
    return [re.sub(r"\s*…$", "", line) for line in found]


def plain(line: str) -> str:
    """A line in a grammar as the shortest that it allows."""
    line = re.sub(r"(?<=DIR)\[:SPLIT\]", "", line)
    while "[" in line:
        line = re.sub(r"\s*\[[^\[\]]*\]", "", line)
    return re.sub(r"(\w+)(\|\w+)+", r"\1", line)


def skipped(line: str) -> str | None:
    return next((why for start, why in SKIPPED.items() if line.startswith(start)), None)


@pytest.fixture(scope="module")
def desk(miniature: Miniature, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The folder in which the lines are run, with everything that they name."""
    desk, threads = tmp_path_factory.mktemp("desk"), torch.get_num_threads()
    copied = replace(miniature, root=shutil.copytree(miniature.root, desk / "download"))
    for name, subset in FOLDERS.items():
        (desk / name).symlink_to(copied.subset(subset))
    (desk / "FRAMES").symlink_to(copied.subset("L_100X_C2") / "images/train")
    (desk / "yolov5x.safetensors").symlink_to(desk / "start.safetensors")
    save_checkpoint(desk / "yolov5x.pt", YOLOv5("n", 80))
    yield desk
    torch.set_num_threads(threads)


def weights_that_find(run: Path) -> None:
    """Put the shipped weights into a run's checkpoints: one epoch finds no cell, and what comes after needs a network that does."""
    shipped = checkpoint.load_any(Path("zoo:attridet-n"))[0].state_dict()
    for file in (run / "last.pt", run / "best.pt"):
        checkpoint.save(file, {**checkpoint.read(file), "ema": shipped, "model": shipped})


@pytest.mark.timeout(900)  # about 40 s of one processor; many times that where others use it
def test_every_line_of_the_pages_runs(desk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(desk)
    ran, failed = 0, []
    for page in PAGES:
        for line in lines_of(page):
            if skipped(line):
                continue
            words = plain(line).removeprefix("attridet ")
            command = words.split()[0]
            for old, new in QUICK.get(command, ()):
                words = re.sub(old, new, words)
            for name, stands_for in ENDS.get(page, {}).items():
                words = re.sub(rf"\b{name}\b", stands_for, words)
            for written in ("NEW", "bundle", "carried", "runs/x"):
                if re.search(rf"(?<!\S){written}(?!\S)", words) and "--resume" not in words:
                    shutil.rmtree(desk / written, ignore_errors=True)
            done = attridet(*shlex.split(words))
            wanted = CODES.get(command, CODES.get(" ".join(words.split()[:2]), (0,)))
            if done.code not in wanted:
                failed.append(f"{page}: {words}: {done.code} {done.err}")
            ran += 1
            if (desk / "runs/a/last.pt").exists() and "--out runs/a --resume" in words:
                weights_that_find(desk / "runs/a")
    assert not failed, "\n".join(failed)
    assert ran > 25
