"""torchvision's weights into a detector of ours with a ResNet: its classifiers as a backbone, its FCOS as a whole. Found by names."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path

import torch

from engines.families import family
from engines.families.base import Network as Detector
from engines.families.resnet import ResNet
from engines.network.foreign.account import Assignment, Transfer, named_globals
from engines.network.foreign.archive import ForeignWeightsError, StoredTensor, TorchFile
from engines.network.foreign.modules import Network, find_network
from engines.taxonomy import LEUKEMIA_ATTRI, Taxonomy

BACKBONE, PYRAMID, HEAD = "backbone.", "pyramid.", "head."
_BODY, _FPN = "backbone.body.", "backbone.fpn."
_COUNTER = ".num_batches_tracked"
"""Of a normalisation; older files have none, and a frozen one needs none."""
_TYPES = f"{HEAD}classification_head.cls_logits."
_KINDS: Mapping[tuple[str, tuple[int, ...]], str] = {("conv2", (2, 2, 2, 2)): "r18", ("conv3", (3, 4, 6, 3)): "r50"}
"""Last convolution of a block and blocks in a layer: the sizes that we have."""


def import_resnet(
    path: Path, family_name: str = "fcos", taxonomy: Taxonomy = LEUKEMIA_ATTRI, seed: int = 0
) -> tuple[Detector, Transfer]:
    """A detector of a family that has a ResNet, with what fits of torchvision's ResNet-18, ResNet-50 or FCOS (`state_dict`, .pth).

    The backbone is frozen, as torchvision freezes it (`ResNet.freeze`). Runs no code from the file. seed: of the random start of the
    rest. Returns the network in evaluation mode and the account. Raises ForeignWeightsError naming the file that is missing, damaged
    or something else, or whose backbone does not fit as a whole; DataError for a family that is not there.
    """
    kind = family(family_name)
    with TorchFile(path) as file:
        theirs = find_network(file)
        prefix = _BODY if any(name.startswith(_BODY) for name in theirs.tensors) else ""
        size = _size(theirs.tensors, prefix, path)
        if size not in kind.sizes:
            raise ForeignWeightsError(
                f"{path}: is of the size {size}, and {family_name} has {', '.join(kind.sizes)}. Give one of these."
            )
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            detector = kind.begun(size, taxonomy)
        backbone = getattr(detector, BACKBONE[:-1], None)
        if not isinstance(backbone, ResNet):
            raise ForeignWeightsError(f"{path}: is a ResNet, and {family_name} has none. Name another --family, such as fcos.")
        assigned = Assignment(detector)
        _offer(assigned, file, theirs, BACKBONE, lambda key: prefix + key.removeprefix(BACKBONE))
        wanting = [e.key for e in assigned.decided.values() if e.outcome == "start" and not e.key.endswith(_COUNTER)]
        if wanting:
            raise ForeignWeightsError(
                f"{path}: {wanting[0]} and {len(wanting) - 1} more entries of the backbone are not in it as needed."
            )
        if prefix and family_name == "fcos":
            _offer_detector(assigned, file, theirs)
        assigned.leave_the_rest(theirs)
        assigned.read()
        backbone.freeze()
    whole = any(e.key.startswith(HEAD) and e.outcome == "taken" for e in assigned.decided.values())
    missing = "no type that it tells is ours" if whole else "no backbone has it: it learns from a random start"
    replaced, unusual, warnings = named_globals(file.names)
    return detector.eval(), Transfer(
        layout=f"torchvision's {'FCOS' if whole else 'ResNet'}",
        size=size,
        where=theirs.where,
        classes=None,
        class_names=(),
        classes_taken=(),
        classes_at_start=taxonomy.classes,
        attributes_taken=(),
        attributes_at_start=(),
        entries=tuple(e for e in assigned.entries(missing) if not e.key.endswith((_COUNTER, ".frozen"))),
        left_out=tuple(assigned.left_out),
        anchors_px=(),
        replaced=replaced,
        unusual=unusual,
        warnings=tuple(warnings),
    )


def _offer(assigned: Assignment[Detector], file: TorchFile, theirs: Network, part: str, name: Callable[[str], str]) -> None:
    for key in assigned.own:
        if key.startswith(part) and not key.startswith((_TYPES, f"{BACKBONE}frozen")):
            assigned.offer(key, name(key), file, theirs)


def _offer_detector(assigned: Assignment[Detector], file: TorchFile, theirs: Network) -> None:
    """Pyramid and towers of torchvision's FCOS, each whole or not at all; not what tells the types, which are COCO's."""

    def in_fpn(key: str) -> str:
        name = _FPN + key.removeprefix(PYRAMID)
        return name if name in theirs.tensors else re.sub(r"(_blocks\.\d)\.0\.", r"\1.", name)  # as before torchvision 0.13

    for part, name in ((PYRAMID, in_fpn), (HEAD, str)):
        keys = [key for key in assigned.own if key.startswith(part) and not key.startswith(_TYPES)]
        shapes = ((theirs.tensors.get(name(key)), tuple(assigned.own[key].shape)) for key in keys)
        if all(there is not None and there.shape == ours for there, ours in shapes):
            _offer(assigned, file, theirs, part, name)


def _size(tensors: Mapping[str, StoredTensor], prefix: str, path: Path) -> str:
    """The size by the number and kind of blocks. Raises ForeignWeightsError saying what it is instead."""
    if f"{prefix}layer1.0.conv1.weight" not in tensors:
        raise ForeignWeightsError(
            f"{path}: not a ResNet of torchvision (its first entries are {', '.join(list(tensors)[:3])[:120]!r}). Give the state dict "
            "of its resnet18, resnet50 or fcos_resnet50_fpn."
        )
    found = {(int(m[1]), int(m[2])) for key in tensors if (m := re.match(rf"{re.escape(prefix)}layer([1-4])\.(\d{{1,3}})\.", key))}
    blocks = tuple(sum(layer == number for layer, _ in found) for number in (1, 2, 3, 4))
    last = "conv3" if f"{prefix}layer1.0.conv3.weight" in tensors else "conv2"
    if (last, blocks) not in _KINDS:
        raise ForeignWeightsError(
            f"{path}: a ResNet with {'-'.join(map(str, blocks))} blocks, which none of ours is. Give resnet18 or resnet50."
        )
    return _KINDS[last, blocks]
