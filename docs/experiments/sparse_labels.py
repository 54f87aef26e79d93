"""A data set of whose training pictures only a patch is labelled, to measure what sparse annotation costs.

    python docs/experiments/sparse_labels.py LABELLED OUT --share 0.333 [--unsaid]

OUT is LABELLED with, in each picture of the split train, the labels of one patch: a window of the picture's own shape, SHARE of its
ground, at a place drawn by the seed and the picture's name. Labels centred elsewhere are taken out, and `labelled_region` says what was
looked at; with --unsaid it does not, so that every cell outside passes for background (the mistake that the region mends). Other splits
stay whole.
"""

from __future__ import annotations

import argparse
import sys
import zlib
from dataclasses import replace
from pathlib import Path

import numpy as np

from engines.data.aspect import carry_statement
from engines.data.coco import write_json
from engines.data.labels import Picture
from engines.data.layout import find_subsets
from engines.data.leukemiaattri import admit
from engines.data.writing import Bring, bring_all
from engines.files import atomic_folder
from engines.taxonomy import LEUKEMIA_ATTRI


def patch(name: str, size_hw: tuple[int, int], share: float, seed: int) -> tuple[float, float, float, float]:
    """Left, top, width and height in px of the window of one picture."""
    height, width = (round(side * share**0.5) for side in size_hw)
    rng = np.random.default_rng([seed, zlib.crc32(name.encode())])
    return float(rng.integers(0, size_hw[1] - width + 1)), float(rng.integers(0, size_hw[0] - height + 1)), float(width), float(height)


def sparse(picture: Picture, share: float, seed: int, unsaid: bool) -> Picture:
    """The picture with the labels of its patch alone."""
    if picture.labels is None:
        return picture
    region = patch(picture.path.name, picture.size_hw, share, seed)
    x, y, w, h = region
    centres = [(cell, cell.xywh_px[0] + cell.xywh_px[2] / 2, cell.xywh_px[1] + cell.xywh_px[3] / 2) for cell in picture.cells]
    kept = tuple(cell for cell, cx, cy in centres if x <= cx <= x + w and y <= cy <= y + h)
    return replace(picture, labels=replace(picture.labels, cells=kept, labelled=None if unsaid else (region,)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("labelled", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--share", type=float, default=1 / 3)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--unsaid", action="store_true")
    asked = parser.parse_args()
    splits = [split for subset in find_subsets(asked.labelled) for split in subset.splits if split.pictures()]
    with atomic_folder(asked.out) as folder:
        for one in admit(splits, asked.labelled, LEUKEMIA_ATTRI)[0]:
            where = folder / one.split.root.relative_to(asked.labelled)
            train = one.split.name == "train"
            pictures = [sparse(p, asked.share, asked.seed, asked.unsaid) if train else p for p in one.pictures]
            write_json(where, one.split.name, pictures, LEUKEMIA_ATTRI, one.extra)
            carry_statement(one.split, where)
            bring_all([(p.path, where / "Images" / one.split.name / p.path.name) for p in pictures], Bring.LINK, None)
            cells = sum(len(p.cells) for p in pictures), sum(len(p.cells) for p in one.pictures)
            sys.stdout.write(f"{one.split.label}: {len(pictures)} pictures, {cells[0]} of {cells[1]} labels kept\n")


if __name__ == "__main__":
    main()
