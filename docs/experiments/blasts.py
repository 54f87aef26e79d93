"""What a network knows of blasts as one group, whichever type it would name: the probabilities of all their types, added up.

    python docs/experiments/blasts.py mixed --split val runs/5/last.pt engines/zoo/attridet-n/weights.safetensors

For each labelled cell the box of highest objectness among those that overlap it by IoU .5 or more; variances left out. Prints how many
blasts and how many others would be told as a blast by the likeliest type, and where objectness x the sum exceeds .5, each with
Youden's J (the one share less the other); and the area under the ROC curve of objectness x the sum. Pictures whose sides are multiples
of 32 px.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from rich.console import Console
from scipy.stats import mannwhitneyu

from engines.data.leukemiaattri import LabelledImage, read_split
from engines.decode import box_iou
from engines.errors import DataError
from engines.network import AttriDet, checkpoint, without_variances
from engines.taxonomy import LEUKEMIA_ATTRI

SUM, OVERLAP = 0.5, 0.5
BLASTS = list(LEUKEMIA_ATTRI.blast_codes)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="a folder in the published layout")
    parser.add_argument("networks", type=Path, nargs="+", help="last.pt of a training, or weights.safetensors")
    parser.add_argument("--split", default="val")
    given = parser.parse_args()
    console = Console()
    images = list(read_split(given.data, given.split))
    for path in given.networks:
        model = checkpoint.load_attridet(path)[0]
        likeliest, scores, blast = cells(without_variances(model).eval() if model.detect.variances else model, images)
        if blast.all() or not blast.any():
            parser.error(f"{given.data}, {given.split}: of the cells that {path} finds none is a blast, or none another; give both")
        console.print(f"{path}: {len(blast)} cells, {blast.sum()} blasts", highlight=False, soft_wrap=True)
        for rule, told in (("likeliest type", likeliest), (f"sum above {SUM}", scores > SUM)):
            hit, false = told[blast].mean(), told[~blast].mean()
            console.print(f"  {rule}: {hit:.2f} of the blasts, {false:.2f} of the others, J {hit - false:.2f}", highlight=False)
        above = mannwhitneyu(scores[blast], scores[~blast]).statistic  # pairs in which a blast scores higher, ties a half
        console.print(f"  area under the curve: {above / (blast.sum() * (~blast).sum()):.2f}", highlight=False)


@torch.no_grad()
def cells(model: AttriDet, images: list[LabelledImage]) -> tuple[NDArray[np.bool_], NDArray[np.float64], NDArray[np.bool_]]:
    """Of each cell that a box overlaps: is the likeliest type a blast's, objectness x the sum over blasts, is it labelled a blast."""
    likeliest, scores, blast = [], [], []
    for image in images:
        pixels = image.read()
        if pixels.shape[0] % 32 or pixels.shape[1] % 32:
            raise DataError(f"{image.path}: is {pixels.shape[1]} x {pixels.shape[0]} px; both must be multiples of 32 here")
        picture = torch.from_numpy(np.ascontiguousarray(pixels[:, :, ::-1].transpose(2, 0, 1))).float()[None] / 255
        rows = model.decode(model.forward_levels(picture)[0]).numpy()[0]
        rows = rows[rows[:, 4] > 0.1]
        half = rows[:, 2:4] / 2
        overlap = box_iou(np.concatenate([rows[:, :2] - half, rows[:, :2] + half], axis=1), image.boxes_px)
        for number, code in enumerate(image.classes):
            near = rows[overlap[:, number] > OVERLAP]
            if len(near):
                row = near[near[:, 4].argmax()]
                likeliest.append(int(row[5:].argmax()) in BLASTS)
                scores.append(float(row[4] * row[5:][BLASTS].sum()))
                blast.append(int(code) in BLASTS)
    return np.array(likeliest), np.array(scores), np.array(blast)


if __name__ == "__main__":
    main()
