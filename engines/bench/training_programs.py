"""The trainings that are compared, as command lines: ours and those of others, on the same pictures. Nothing of theirs is imported.

Others' programs live in a virtual environment of their own, named by its Python; see docs/benchmarks.md for how it is made.
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from engines.bench.peers import VERSIONS, PeerError

CLASSES = 14


@dataclass(frozen=True)
class Settings:
    """What is the same for every program."""

    imgsz: int
    batch: int
    threads: int
    epochs: int


@dataclass(frozen=True)
class Pictures:
    """The same pictures in two layouts: `published` for ours, `yolo` (a data.yaml) for the others; and how many cells they bear."""

    published: Path
    yolo: Path
    count: int
    cells: int = 0


@dataclass(frozen=True)
class Program:
    """One training. command: what runs it into a new folder; results: its results.csv in there, one row for each epoch done.

    workers: processes that prepare pictures. peer: whether others are measured against it. software: its versions, in words.
    """

    key: str
    label: str
    arithmetic: str
    workers: int
    command: Callable[[Settings, Pictures, Path], Sequence[str]]
    results: str
    environment: Mapping[str, str] = field(default_factory=dict)
    peer: bool = False
    software: str = ""


def ours(key: str, label: str, arithmetic: str, workers: int, *options: str) -> Program:
    """`attridet train` by its published recipe, set low, with `options`."""

    def command(settings: Settings, pictures: Pictures, folder: Path) -> Sequence[str]:
        same = ("--size", "n", "--hyper", "low", "--linear", "--no-judge", "--no-pictures", "--no-autoanchor")
        numbers = {"imgsz": settings.imgsz, "batch": settings.batch, "threads": settings.threads, "epochs": settings.epochs}
        sizes = [text for name, value in numbers.items() for text in (f"--{name}", str(value))]
        places = ("--data", str(pictures.published), "--out", str(folder / "run"))
        return [sys.executable, "-m", "engines", "train", *places, *same, *sizes, "--workers", str(workers), *options]

    return Program(key, label, arithmetic, workers, command, "run/results.csv")


OURS = (
    ours("ours-32", "our YOLOv5n", "32 bits", 0, "--attribute-weight", "0", "--no-amp"),
    ours("ours-bf16", "our YOLOv5n", "bfloat16", 0, "--attribute-weight", "0"),
    ours("attridet", "our AttriDet-n", "bfloat16", 1),
)
"""The first two do what the others do; the third is what is used here."""


def ultralytics(python: Path) -> Program:
    """Ultralytics' training of its yolov5n.yaml from random weights, in the environment of `python`."""

    def command(settings: Settings, pictures: Pictures, folder: Path) -> Sequence[str]:
        places = (f"data={pictures.yolo}", f"project={folder}", "name=run", "exist_ok=True", "cache=ram")
        sizes = (f"imgsz={settings.imgsz}", f"batch={settings.batch}", f"epochs={settings.epochs}", "workers=0", "device=cpu")
        recipe = ("pretrained=False", "optimizer=SGD", "close_mosaic=0", "amp=False", "deterministic=False")
        silent = ("val=False", "plots=False")
        return [str(python.with_name("yolo")), "detect", "train", "model=yolov5n.yaml", *places, *sizes, *recipe, *silent]

    version = versions(python, "ultralytics", "torch")
    software = f"Ultralytics {version[0]} with torch {version[1]}"
    return Program("ultralytics", "Ultralytics", "32 bits", 0, command, "run/results.csv", {"YOLO_OFFLINE": "true"}, True, software)


def yolov5(python: Path) -> Program:
    """The original YOLOv5 v7.0 as the package yolov5 carries it, anchors and all: the very network of ours.

    It scores the one picture of val after each epoch, since its option not to ends in an error.
    """

    def command(settings: Settings, pictures: Pictures, folder: Path) -> Sequence[str]:
        (folder / "Arial.ttf").touch()  # it would fetch a font otherwise; nothing is drawn
        places = ("--data", str(pictures.yolo), "--project", str(folder), "--name", "run", "--exist-ok", "--cache", "ram")
        sizes = (f"--imgsz={settings.imgsz}", f"--batch-size={settings.batch}", f"--epochs={settings.epochs}", "--workers=0")
        recipe = ("--cfg", "yolov5n.yaml", "--weights", "", "--noautoanchor", "--noplots", "--device", "cpu")
        return [str(python), "-m", "yolov5.train", *places, *sizes, *recipe]

    version = versions(python, "yolov5", "torch")
    software = f"package yolov5 {version[0]} with torch {version[1]}"
    return Program("yolov5", "YOLOv5 v7.0", "32 bits", 0, command, "run/results.csv", {"WANDB_MODE": "disabled"}, True, software)


PEERS: Mapping[str, Callable[[Path], Program]] = {"yolov5": yolov5, "ultralytics": ultralytics}
"""Others' programs: the like for like first, then the heavier one."""


def versions(python: Path, *packages: str) -> list[str]:
    """Versions of packages in another environment, read without importing them. Raises PeerError naming what is not there."""
    try:
        done = subprocess.run([str(python), "-c", VERSIONS, *packages], capture_output=True, text=True, timeout=60, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise PeerError(f"{python}: cannot be run ({error}); name the Python of an environment with {packages[0]} in it") from error
    if done.returncode:
        raise PeerError(f"{python}: its environment has no {' or no '.join(packages)}; install {packages[0]} there, or name another")
    return done.stdout.split()


def printed_size(log: str) -> str:
    """What a peer prints of its network: "2,511,194 parameters, 7.2 GFLOPs at 640 px", or "" where it printed none."""
    match = re.search(r"summary.*?([\d,]+) parameters.*?([\d.]+) GFLOPs", log)
    return f"{int(match[1].replace(',', '')):,} parameters, {match[2]} GFLOPs at 640 px" if match else ""
