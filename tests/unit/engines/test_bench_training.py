"""The comparison of trainings: a real one of ours beside a stand-in for another's, what is written of it, and what is refused."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import pytest
from rich.console import Console

from engines.bench.machine import Machine
from engines.bench.spread import Spread
from engines.bench.training import app, lay_out, measure, train_once
from engines.bench.training_page import TrainingMeasured, rows_of, training_text
from engines.bench.training_programs import OURS, PeerError, Pictures, Program, Settings, printed_size, versions
from engines.errors import DataError

SETTINGS = Settings(imgsz=64, batch=2, threads=1, epochs=3)

EPOCHS = """
import os, pathlib, subprocess, sys, time
folder, seconds, rows, end = pathlib.Path(sys.argv[1]), float(sys.argv[2]), int(sys.argv[3]), sys.argv[4]
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
(folder / "child.pid").write_text(str(child.pid))
print("YOLOv5n summary: 153 layers, 2,511,194 parameters, 2,511,178 gradients, 7.2 GFLOPs", flush=True)
with (folder / "results.csv").open("w") as out:
    out.write("epoch,time\\n")
    for row in range(rows):
        began = time.process_time()
        while time.process_time() - began < seconds:
            pass
        out.write(f"{row},1\\n")
        out.flush()
print("the end:", end)
sys.exit(3) if end == "bad" else time.sleep(600)
"""
"""A program that trains nothing but writes a row after each epoch, as the others' do, and leaves a process behind."""


def stand_in(tmp_path: Path, seconds: float, rows: int = 9, end: str = "good") -> Program:
    script = tmp_path / "epochs.py"
    script.write_text(EPOCHS)

    def command(settings: Settings, pictures: Pictures, folder: Path) -> Sequence[str]:
        return [sys.executable, str(script), str(folder), str(seconds), str(rows), end]

    return Program("ultralytics", "Ultralytics", "32 bits", 0, command, "results.csv", {}, True, "Ultralytics 8.4 with torch 2.13")


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Seven labelled pictures in the published layout, and one without a label."""
    root = tmp_path / "film"
    (root / "Images/train").mkdir(parents=True)
    (root / "txt_labels/AttriDet/train").mkdir(parents=True)
    for i in range(8):
        cv2.imwrite(str(root / f"Images/train/{i}.png"), np.random.default_rng(i).integers(0, 256, (64, 80, 3), np.uint8))
        if i < 7:
            (root / f"txt_labels/AttriDet/train/{i}.txt").write_text(f"{i} 0.5 0.5 0.4 0.4 1 0 1 0 1 0 1\n")
    return root


def test_the_same_pictures_lie_in_both_layouts(data: Path, tmp_path: Path) -> None:
    laid = lay_out(data, 5, 2, tmp_path / "laid")
    assert (laid.count, laid.cells) == (4, 4)  # whole batches, evenly spread
    names = sorted(p.name for p in (laid.published / "Images/train").iterdir())
    assert names == ["0.png", "1.png", "3.png", "5.png"]
    assert sorted(p.name for p in (laid.yolo.parent / "images/train").iterdir()) == names
    assert (laid.published / "txt_labels/AttriDet/train/3.txt").read_text() == "3 0.5 0.5 0.4 0.4 1 0 1 0 1 0 1\n"
    assert (laid.yolo.parent / "labels/train/3.txt").read_text() == "3 0.5 0.5 0.4 0.4\n"
    assert [p.name for p in (laid.yolo.parent / "images/val").iterdir()] == ["0.png"]
    assert "  13: class13\n" in laid.yolo.read_text()


def test_too_few_pictures_are_refused(data: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="fewer than 8 pictures"):
        lay_out(data, 8, 8, tmp_path / "laid")
    with pytest.raises(DataError, match="nowhere: fewer than 2"):
        lay_out(tmp_path / "nowhere", 8, 2, tmp_path / "laid")


def test_an_epoch_is_timed_from_row_to_row_and_the_rest_is_not_waited_for(tmp_path: Path) -> None:
    pictures = Pictures(tmp_path, tmp_path / "data.yaml", 40)
    per_s, processor_ms, size = train_once(stand_in(tmp_path, 0.3), SETTINGS, pictures, tmp_path)
    assert 0 < per_s <= 40 / 0.3 * 1.1  # 0.3 s for 40 pictures, longer on a busy machine
    assert processor_ms == pytest.approx(1e3 * 0.3 / 40, rel=0.5)
    assert size == "2,511,194 parameters, 7.2 GFLOPs at 640 px"
    child = int((tmp_path / "child.pid").read_text())
    for _ in range(100):
        if not Path(f"/proc/{child}").exists() or ") Z" in Path(f"/proc/{child}/stat").read_text():
            return
        time.sleep(0.05)
    os.kill(child, 9)
    pytest.fail("what the program had started went on")


def test_a_program_that_ends_too_soon_is_told_with_its_last_words(tmp_path: Path) -> None:
    pictures = Pictures(tmp_path, tmp_path / "data.yaml", 40)
    with pytest.raises(PeerError, match=r"Ultralytics: it ended by itself with code 3 before its epoch 2 .* the end: bad"):
        train_once(stand_in(tmp_path, 0.01, rows=1, end="bad"), SETTINGS, pictures, tmp_path)


@pytest.mark.integration
def test_ours_trains_beside_another(data: Path, tmp_path: Path) -> None:
    """The real `attridet train` of the first row, tiny."""
    pytest.importorskip("torch", reason="needs torch, which `pip install leukoscope[train]` brings")
    measured = measure((stand_in(tmp_path, 0.05), OURS[0]), data, pictures=2, settings=SETTINGS, rounds=1, console=Console(quiet=True))
    theirs, ours = measured.rows
    assert (measured.pictures, measured.rounds, measured.data) == (2, 1, "film")
    assert ours.per_s.median > 0 and ours.processor_ms.median > 0
    assert ours.times["ultralytics"].median == pytest.approx(theirs.processor_ms.median / ours.processor_ms.median)
    assert not theirs.times


def test_every_number_is_in_the_section(tmp_path: Path) -> None:
    peer = stand_in(tmp_path, 1)
    readings = [
        (peer, "2,511,194 parameters, 7.2 GFLOPs at 640 px", [8.0, 10.0, 9.0], [200.0, 210.0, 190.0]),
        (OURS[0], "", [12.0, 11.0, 18.0], [100.0, 90.0, 95.5]),
    ]
    measured = TrainingMeasured(
        machine=Machine("Quick Processor 7", 2, 23.6, "Linux x86_64", "3.11.7", "5.0.0", ""),
        load=0.2,
        torch="2.13.0+cpu",
        data="pbc",
        pictures=320,
        cells=4.5,
        epochs=2,
        settings=Settings(320, 16, 2, 4),
        rounds=3,
        rows=rows_of(readings),
        notes=("A remark.",),
    )
    assert measured.rows[1].times["ultralytics"] == Spread(2.0, pytest.approx(190 / 95.5), pytest.approx(210 / 90))
    text = training_text(measured, "python -m engines.bench.training --data pbc")
    for said in (
        "`python -m engines.bench.training --data pbc`, 20",
        "Quick Processor 7, 2 cores, 24 GiB, Linux x86_64; load average 0.2 before the run.",
        "torch 2.13.0+cpu; Ultralytics 8.4 with torch 2.13.",
        "320 pictures of `pbc` with 4.5 labelled cells each, held in memory, 320 px, batches of 16, 2 threads",
        "3 rounds, in each every program once",
        "| processor ms a picture | smallest to largest | Ultralytics ÷ it | pictures/s | smallest to largest |",
        "| Ultralytics | 32 bits | 0 | **200.0** | 190.0 to 210.0 |  | 9.00 | 8.00 to 10.00 |",
        "| our YOLOv5n | 32 bits | 0 | **95.5** | 90.0 to 100.0 | 2.00 (1.99 to 2.33) | 12.00 | 11.00 to 18.00 |",
        "newer head (2,511,194 parameters, 7.2 GFLOPs at 640 px)",
        "- A remark.",
    ):
        assert said in text
    assert "busy" not in text and "YOLOv5 v7.0" not in text


def test_environments_that_lack_the_program_are_named(tmp_path: Path) -> None:
    with pytest.raises(PeerError, match="its environment has no surely-absent-package or no pip; install surely-absent-package there"):
        versions(Path(sys.executable), "surely-absent-package", "pip")
    with pytest.raises(PeerError, match="cannot be run"):
        versions(tmp_path / "python", "ultralytics")
    assert printed_size("no size") == ""


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--peer", "detectron"), "bench: --peer detectron: there are yolov5, ultralytics"),
        (("--section", "No!"), "bench: --section No!: a section is named in small letters"),
        ((), "its environment has no yolov5"),
    ],
)
def test_mistakes_are_one_line(
    tmp_path: Path, data: Path, arguments: tuple[str, ...], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    common = ("--data", str(data), "--peer-python", sys.executable, "--out", str(tmp_path / "b.md"))
    assert app([*common, *arguments], result_action="return_value") == 2
    said = capsys.readouterr().err
    assert words in said and len(said.strip().splitlines()) == 1
    assert not (tmp_path / "b.md").exists()
