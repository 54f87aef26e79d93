"""Drawn cells for tests of training: what a network can learn within seconds. Also a program that trains on them, for torchrun."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import torch

from engines.data.augment import Sample
from engines.families import parallel
from engines.families.hyper import HIGH
from engines.training.loop import Run, Trainer


def discs(count: int = 8, side: int = 96, unlabelled: int = 0) -> list[Sample]:
    """Pictures of one disc each: dark ones are of class 3 and coarse, bright ones of class 7 and open; the rest is unknown.

    The first `unlabelled` pictures bear no labels.
    """
    rng = np.random.default_rng(0)
    samples = []
    for number in range(count):
        image = np.full((side, side, 3), 215, np.uint8)
        x, y, r = (int(v) for v in (rng.integers(30, 66), rng.integers(30, 66), rng.integers(16, 24)))
        dark = number % 2 == 0
        cv2.circle(image, (x, y), r, (90, 30, 60) if dark else (200, 120, 170), -1)
        labels = np.array([[3 if dark else 7, -1, 1 if dark else 0, -1, -1, -1, -1, -1]], np.int64)
        sample = Sample(image, np.array([[x - r, y - r, x + r, y + r]], np.float32), labels)
        samples.append(sample if number >= unlabelled else Sample(image, sample.boxes[:0], labels[:0]))
    return samples


def write_discs(root: Path, train: int = 8, val: int = 4) -> Path:
    """The pictures of `discs` as a folder in the published layout, TXT labels of twelve columns."""
    for split, count in (("train", train), ("val", val)):
        (root / "Images" / split).mkdir(parents=True)
        (root / "txt_labels" / "AttriDet" / split).mkdir(parents=True)
        for number, sample in enumerate(discs(count)):
            height, width = sample.image.shape[:2]
            cv2.imwrite(str(root / "Images" / split / f"{number}.png"), sample.image)
            lines = []
            for (x1, y1, x2, y2), (label, *_) in zip(sample.boxes.tolist(), sample.labels.tolist(), strict=True):
                box = ((x1 + x2) / 2 / width, (y1 + y2) / 2 / height, (x2 - x1) / width, (y2 - y1) / height)
                attributes = (2, 1, 1, 0, 1, 0, 1) if label == 3 else (0, 0, 0, 1, 0, 1, 0)
                lines.append(" ".join(str(v) for v in (label, *box, *attributes)))
            (root / "txt_labels" / "AttriDet" / split / f"{number}.txt").write_text("\n".join(lines) + "\n")
    return root


def steps_of_eight(folder: Path) -> Trainer:
    """Three steps of eight pictures each, as published ("high"); every process trains its share of them.

    Without dropout: its masks are drawn by each process for its own cells, so with it no two numbers of processes can agree.
    """
    hyper = replace(HIGH, warmup_epochs=0.0, mixup=0.5)
    trainer = Trainer(Run(folder, imgsz=64, epochs=1, batch=8, workers=0, amp=False, hyper=hyper), discs(24, unlabelled=5))
    trained_in_double(trainer)
    return trainer


def trained_in_double(trainer: Trainer) -> None:
    """To the end, in double precision and without dropout in the attribute head."""
    trainer.model.attribute_head.dropout.p = 0.0  # type: ignore[union-attr]  # of an AttriDet
    trainer.model.double()
    trainer.ema.model.double()
    trainer.fit()


if __name__ == "__main__":
    torch.set_num_threads(1)
    with parallel.joined("cpu"):
        steps_of_eight(Path(sys.argv[1]))
    names = [(thread / "comm").read_text().strip() for thread in Path("/proc/self/task").iterdir()]
    if left := [name for name in names if "gloo" in name]:  # they can abort the interpreter while it ends
        sys.exit(f"threads of the group are left: {left}")
