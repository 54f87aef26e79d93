"""A few steps of an adaptation on drawn cells, in double precision; a program too, for several processes: FOLDER WEIGHTS METHOD."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import torch
from discs import trained_in_double

from engines.adapt.trainer import Adaptation, AdaptTrainer, Made, Method
from engines.data.augment import Sample
from engines.families import parallel
from engines.families.hyper import FILM
from engines.training.loop import Run


def fields(count: int, seed: int, ground: int) -> list[Sample]:
    """Pictures of two discs; those of the target have another ground, and every second one of them is as bare as it."""
    rng, samples = np.random.default_rng(seed), []
    for number in range(count):
        image = np.full((96, 96, 3), ground, np.uint8)
        boxes = []
        for x in (26, 70):
            y, r = int(rng.integers(24, 72)), int(rng.integers(10, 18))
            if ground > 200 or number % 2:
                cv2.circle(image, (x, y), r, (90, 30, 60), -1)
            boxes.append([x - r, y - r, x + r, y + r])
        samples.append(Sample(image, np.array(boxes, np.float32), np.array([[3, -1, 1, 0, -1, -1, -1, -1]] * 2, np.int64)))
    return samples


class Watched(AdaptTrainer):
    """Keeps how many pictures this process made in each step."""

    made: list[int]

    def _mixed(self, *given: object) -> Made | None:
        own = super()._mixed(*given)  # type: ignore[arg-type]  # passed on
        self.made.append(0 if own is None else len(own.images))
        return own


def steps(folder: Path, weights: Path, method: Method = "confmix", confidence: float = 0.7) -> Watched:
    """Four steps of two source and two target pictures; every process trains its share. Without dropout, as in `discs`."""
    calm = replace(FILM, patchwork=0.0, mosaic=0.0, crop=0.0, blur=0.0, warmup_epochs=0.0, ema_tau=4.0, optimiser="sgd", lr0=1e-6)
    run = Run(folder, imgsz=96, epochs=1, batch=2, workers=0, amp=False, hyper=calm, initial=weights)
    trainer = Watched(run, Adaptation(method, confidence=confidence, unsure=0.1, recolour=0.0), fields(8, 1, 215), fields(8, 2, 60))
    trainer.made = []
    trained_in_double(trainer)
    return trainer


if __name__ == "__main__":
    torch.set_num_threads(1)
    with parallel.joined("cpu"):
        done = steps(Path(sys.argv[1]), Path(sys.argv[2]))
        sys.stdout.write(" ".join(map(str, done.made)))
