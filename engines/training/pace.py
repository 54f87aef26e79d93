"""How long a picture takes on this machine, measured on one training step of the network itself: what a plan's minutes are made of."""

from __future__ import annotations

import time
from dataclasses import dataclass

import torch

from engines.families import DEFAULT, family
from engines.families.base import Batch, Course
from engines.taxonomy import LEUKEMIA_ATTRI, Taxonomy

_PICTURES, _CELLS = 2, 10
_BYTES = 4


@dataclass(frozen=True)
class NetworkPace:
    """Seconds a picture, of a training step and of a look, and the network's parameters."""

    train_s: float
    look_s: float
    parameters: int

    @property
    def checkpoint_bytes(self) -> int:
        """Of last.pt: network, average, and the two moments of AdamW."""
        return 4 * _BYTES * self.parameters

    @property
    def bundle_bytes(self) -> int:
        """Of a float engine folder: the graphs, the second look's, and the smaller attribute graph."""
        return 2 * _BYTES * self.parameters


def network_pace(
    size: str, imgsz: int, device: str = "cpu", threads: int = 2, name: str = DEFAULT, taxonomy: Taxonomy = LEUKEMIA_ATTRI
) -> NetworkPace:
    """Measure a network of random weights on noise with ten cells a picture; the quicker of two steps, after one. Raises DataError.

    size: "" is the family's smallest. Reading, shrinking and augmenting pictures is not in it, which other processes do meanwhile.
    """
    torch.set_num_threads(threads)
    torch.manual_seed(0)
    place = torch.device(device)
    kind = family(name)
    network = kind.begun(size or kind.sizes[0], taxonomy).to(place)
    half = torch.bfloat16 if place.type == "cpu" else torch.float16
    course = Course(imgsz=imgsz, halved=lambda: torch.autocast(place.type, half))
    side = -(-imgsz // 32) * 32
    cells = _PICTURES * _CELLS
    targets = torch.rand(cells, 6) * 0.1 + 0.4
    targets[:, 0], targets[:, 1] = torch.arange(cells) // _CELLS, torch.arange(cells) % len(taxonomy.classes)
    attributes = torch.zeros(cells, len(taxonomy.attributes), dtype=torch.long)
    images = torch.randint(0, 256, (_PICTURES, 3, side, side), dtype=torch.uint8)
    batch = Batch(images, targets, attributes, torch.zeros(0, 5))
    network.train()
    learner = network.learner(course)

    def step() -> None:
        total, _ = learner(batch)
        total.backward()  # type: ignore[no-untyped-call]
        _wait(place)

    def look() -> None:
        with torch.no_grad():
            network.look(images.to(place).float() / 255)
        _wait(place)

    train_s = _seconds(step)
    network.eval()
    return NetworkPace(train_s, _seconds(look), sum(p.numel() for p in network.parameters()))


def _seconds(work: object) -> float:
    assert callable(work)
    work()  # the first sets up buffers
    taken = []
    for _ in range(2):
        began = time.perf_counter()
        work()
        taken.append(time.perf_counter() - began)
    return min(taken) / _PICTURES


def _wait(place: torch.device) -> None:
    if place.type == "cuda":
        torch.cuda.synchronize(place)
