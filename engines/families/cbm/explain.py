"""What a concept bottleneck sees in each cell of a picture, and what becomes of its type when a person corrects it: interventions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import torch

from engines.decode import Thresholds, candidates
from engines.detections import Float32, Image
from engines.errors import DataError
from engines.families.cbm.cbm import CBM
from engines.preprocess import letterbox, letterbox_geometry, to_planes


@dataclass(frozen=True, eq=False)
class Reading:
    """One cell. box_px: (4,) x1 y1 x2 y2 in px of the picture; score: the detector's.

    concepts: (width,), 0 to 1. types: (classes,), probabilities. said: what a person corrected, a value's name by attribute key.
    """

    box_px: Float32
    score: float
    concepts: Float32
    types: Float32
    said: Mapping[str, str]

    @property
    def code(self) -> int:
        """Of the type that is told."""
        return int(self.types.argmax())


def read_picture(network: CBM, picture: Image, side_px: int = 640, thresholds: Thresholds | None = None) -> list[Reading]:
    """The cells of a BGR picture (H, W, 3) uint8, by falling score. network: in evaluation mode. side_px: of its input.

    thresholds: which boxes are shown; the technician's without it.
    """
    geometry = letterbox_geometry((picture.shape[0], picture.shape[1]), (side_px, side_px), False)
    own = next(network.parameters())
    images = torch.from_numpy(to_planes(letterbox(picture, geometry))[None]).to(own)
    with torch.no_grad():
        rows, seen = network.look(images)
        found = candidates(rows[0].cpu().numpy(), thresholds or Thresholds())
        rois = np.pad(found.boxes_px, ((0, 0), (1, 0)))
        concepts = network.told(seen, torch.from_numpy(rois).to(own))
        types = network.types(concepts).softmax(1)
    boxes_px = geometry.to_frame(found.boxes_px)
    told = zip(boxes_px, found.scores, concepts.cpu().numpy(), types.cpu().numpy(), strict=True)
    return [Reading(box, float(score), values, shares, {}) for box, score, values, shares in told]


def corrected(network: CBM, reading: Reading, said: Mapping[str, str]) -> Reading:
    """The reading once a person has said what some attributes are: these concepts are certain, the others as told, the type follows.

    said: value's name by attribute, both by key or name. Raises DataError naming what there is.
    """
    own = next(network.parameters())
    with torch.no_grad():
        concepts = network.concepts.corrected(torch.from_numpy(reading.concepts[None]).to(own), said)
        types = network.types(concepts).softmax(1)
    return replace(
        reading, concepts=concepts[0].cpu().numpy(), types=types[0].cpu().numpy(), said={**reading.said, **network.concepts.keyed(said)}
    )


def values_told(network: CBM, reading: Reading) -> dict[str, tuple[str, float]]:
    """Each concept's likeliest value and its probability, by attribute key."""
    told = {}
    for attribute, place in zip(network.concepts.attributes, network.concepts.places, strict=True):
        part = reading.concepts[place]
        shares = np.array([1 - part[0], part[0]]) if len(part) == 1 else part
        told[attribute.key] = attribute.values[int(shares.argmax())], float(shares.max())
    return told


def as_bottleneck(network: object, name: str) -> CBM:
    """The network, if it is a concept bottleneck. Raises DataError naming the file."""
    if not isinstance(network, CBM):
        raise DataError(f"{name}: not a concept bottleneck; it tells types without attributes. Train one with --family cbm")
    return network
