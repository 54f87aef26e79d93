"""How the attribute loss pulls at the layers that it shares with the detector, beside how the detector itself pulls.

    python docs/experiments/gradients.py ../shared/data/pbc runs/experiments/pbc-attridet-0/last.pt

Eight training batches of 16 at 320 px, set film, seed 0, from the network as it is; layers 0 to 4, which both losses reach; full
precision. Prints the mean norm of either gradient, their quotient at an attribute weight of 1, and the cosine between them.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional

from engines.data.leukemiaattri import read_split
from engines.families.base import Batch
from engines.training.dataset import collate, load
from engines.training.loop import Run, Trainer

BATCHES, BATCH = 8, 16
SHARED = tuple(f"model.{layer}." for layer in range(5))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="a folder in the published layout; its split train is used")
    parser.add_argument("network", type=Path, help="last.pt of a training")
    given = parser.parse_args()
    samples = load(read_split(given.data, "train"), 640)
    with tempfile.TemporaryDirectory() as folder:
        trainer = Trainer(Run(Path(folder), initial=given.network, batch=BATCH, amp=False), samples)
    trainer.model.train()
    shared = [p for name, p in trainer.model.named_parameters() if name.startswith(SHARED)]
    norms, cosines = [], []
    for number in range(BATCHES):
        batch = collate([trainer.data[position] for position in range(number * BATCH, (number + 1) * BATCH)])
        detector, attributes = gradients(trainer, batch, shared)
        norms.append((float(detector.norm()), float(attributes.norm())))
        cosines.append(float(functional.cosine_similarity(detector, attributes, dim=0)))
    one, other = (sum(pair) / BATCHES for pair in zip(*norms, strict=True))
    quotient = sum(b / a for a, b in norms) / BATCHES
    print(f"detector {one:.2f}, attributes {other:.2f}, quotient {quotient:.2f}, cosine {sum(cosines) / BATCHES:.2f}")  # noqa: T201  # what it is for


def gradients(trainer: Trainer, batch: Batch, shared: list[torch.nn.Parameter]) -> tuple[Tensor, Tensor]:
    """Of the detector's loss and of the attributes', as one vector each."""
    drawn = torch.get_rng_state()
    joint = flat(trainer.joint_loss(batch)[0], shared)
    torch.set_rng_state(drawn)
    levels, _ = trainer.learner.forward(trainer.model, batch.images)
    detector = flat(trainer.learner.detection_loss(levels, batch.targets)[0], shared)
    return detector, joint - detector


def flat(loss: Tensor, shared: list[torch.nn.Parameter]) -> Tensor:
    return torch.cat([gradient.flatten() for gradient in torch.autograd.grad(loss, shared)])


if __name__ == "__main__":
    main()
