"""Somebody else's weights into an AttriDet: what fits is taken, and everything that is not is named. Reading the files is
`archive`'s."""

from __future__ import annotations

import re
from collections import Counter
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import torch

from engines.data.vocabulary import class_code
from engines.families.attridet.attridet import AttriDet
from engines.families.attridet.layers import BN_EPS
from engines.network.foreign.account import ABSENT, Assignment, Transfer, named_globals
from engines.network.foreign.archive import ForeignWeightsError, TorchFile
from engines.network.foreign.inert_pickle import Name
from engines.network.foreign.layout import DETECT, FIRST, Layout, classes_of, detection_rows, layout_of, size_of, with_rows
from engines.network.foreign.modules import Network, class_names, find_network
from engines.taxonomy import LEUKEMIA_ATTRI, Taxonomy

HEAD = "attribute_head."
_ANCHORS = f"{DETECT}.anchors"
_BACKBONE = tuple(f"model.{i}." for i in range(10))


def import_weights(
    detector: Path, attributes: Path | None = None, taxonomy: Taxonomy = LEUKEMIA_ATTRI, seed: int = 0
) -> tuple[AttriDet, Transfer]:
    """An AttriDet with what fits of a published YOLOv5 (.pt) and, if given, of a published attribute CNN (.pth).

    Runs no code from the files. seed: of the random start of whatever is not taken. Returns the model in evaluation mode, float32, and
    the account. Raises ForeignWeightsError naming the file that is missing, damaged or no YOLOv5 of the sizes n to x.
    """
    with ExitStack() as stack:
        file = stack.enter_context(TorchFile(detector))
        network = find_network(file)
        layout = layout_of(network, str(detector))
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            model = AttriDet(size_of(network, layout, str(detector)), taxonomy)
        assigned = Assignment(model, positive={_ANCHORS})
        _take_detector(assigned, file, network, layout)
        names = file.names.copy()
        if attributes is not None:
            second = stack.enter_context(TorchFile(attributes))
            _take_attributes(assigned, second, find_network(second))
            names += second.names
        assigned.read()
    return model.eval(), _account(assigned, layout, network, names, attributes is not None)


def _take_detector(assigned: Assignment[AttriDet], file: TorchFile, network: Network, layout: Layout) -> None:
    classes = classes_of(network.tensors)
    assigned.classes, how = _class_map(class_names(network), classes, assigned.model.taxonomy)
    note = "" if len(assigned.classes) == assigned.model.classes else how
    their_rows = network.tensors[f"{DETECT}.m.0.bias"].shape if classes is not None else (-1,)
    our_rows = detection_rows(assigned.classes)
    for key, value in assigned.own.items():
        if key.startswith(HEAD):
            continue
        source = layout.source(key)
        if key.startswith(f"{DETECT}.m."):
            needed = (*their_rows, *value.shape[1:])
            assigned.offer(key, source, file, network, needed, partial(with_rows, value, our_rows, 3), note)
        elif key == FIRST:
            assigned.offer(key, source, file, network, (value.shape[0], *layout.kernel), layout.first_as_ours)
        else:
            assigned.offer(key, source, file, network)
    assigned.leave_the_rest(network)
    backbone = [entry for key, entry in assigned.decided.items() if key.startswith(_BACKBONE)]
    fitting = sum(entry.outcome == "taken" for entry in backbone)
    if 2 * fitting < len(backbone):
        raise ForeignWeightsError(
            f"{file.path}: only {fitting} of the {len(backbone)} entries of the backbone fit: it is another network that begins alike. "
            "Give a checkpoint of YOLOv5 v5.0 to v7.0."
        )
    assigned.warnings += _differences(network, layout, classes)


def _class_map(names: tuple[str, ...], classes: int | None, taxonomy: Taxonomy) -> tuple[dict[int, int], str]:
    """Our class indices mapped to theirs where the names are the same; and in words, which rows of the detection layer are taken."""
    if classes is None:
        return {}, ""

    found = {class_code(name, taxonomy): i for i, name in enumerate(names[:classes])}
    same = {code: i for code, i in found.items() if code is not None}
    nameless = all(re.fullmatch(r"(class|cls|c)?[ _-]?\d*", name) for name in names)
    if not same and nameless and classes == len(taxonomy.classes):
        same = {i: i for i in range(classes)}
    shared = f"and {len(same)} of {len(taxonomy.classes)} classes by name" if same else f"no class: there are {classes} others"
    return same, f"box and objectness rows taken, {shared}"


def _differences(network: Network, layout: Layout, classes: int | None) -> list[str]:
    """What makes the file another network although its weights fit."""
    found = [layout.differs] if layout.differs else []
    if classes is None:
        found.append(
            "Its detection layer is not YOLOv5's (it has no three anchors a level): ours starts at random, with COCO's anchors."
        )
    elif any(key.startswith(f"{DETECT}.proto.") for key in network.tensors):
        found.append("It also draws masks: that part is left out.")
    if classes is not None and network.attribute("nc") not in (None, classes):
        found.append(f"It says that it has another number of classes than its detection layer, {classes}; the layer was believed.")
    eps = {m.attributes.get("eps") for m in network.modules.values() if m.kind.endswith(".BatchNorm2d")}
    if other := sorted(e for e in eps if isinstance(e, float) and abs(e - BN_EPS) > 1e-9):
        found.append(f"Its normalisations have eps {other[0]:g}, ours {BN_EPS:g}: the same weights give other numbers here.")
    activations = {m.kind.rpartition(".")[2] for path, m in network.modules.items() if path.endswith(".act")}
    if other_kinds := sorted(activations - {"SiLU"}):
        found.append(f"Its activation is {', '.join(other_kinds)}, ours SiLU: the weights are a start for training, no more.")
    return found


def _take_attributes(assigned: Assignment[AttriDet], file: TorchFile, network: Network) -> None:
    first = [name for name in network.tensors if name == "conv1.weight" or name.endswith(".conv1.weight")]
    if len(first) != 1 or f"{first[0].removesuffix('conv1.weight')}fc3.weight" not in network.tensors:
        raise ForeignWeightsError(
            f"{file.path}: not an attribute CNN, which has conv1 to conv3 and fc1 to fc3. Give AttriDet's last_weights.pth as "
            "the second file."
        )
    prefix, taxonomy = first[0].removesuffix("conv1.weight"), assigned.model.taxonomy
    published = 2 * len(taxonomy.attribute_cnn)
    groups = {a.key: g for a, g in zip(taxonomy.attributes, taxonomy.groups, strict=True) if len(a.values) == 2}
    told = {key: 2 * i for i, key in enumerate(taxonomy.attribute_cnn) if key in groups}
    rows = {groups[key].start + value: row + value for key, row in told.items() for value in (0, 1)}
    in_pairs = network.tensors[f"{prefix}fc3.weight"].shape[:1] == (published,)
    taken = [a for a in taxonomy.attributes if not in_pairs or a.key in told]
    rest = ", ".join(a.name for a in taxonomy.attributes if a not in taken)
    note = f"rows of {len(taken)} attributes taken, not of {rest}" if rest else ""
    for key, value in assigned.own.items():
        if not key.startswith(HEAD):
            continue
        source = prefix + key.removeprefix(HEAD)
        if in_pairs and ".fc3." in key:
            assigned.offer(key, source, file, network, (published, *value.shape[1:]), partial(with_rows, value, rows, 1), note)
        else:
            assigned.offer(key, source, file, network)
    assigned.leave_the_rest(network)
    left = [key for key, entry in assigned.decided.items() if key.startswith(HEAD) and entry.outcome == "start"]
    if not left:
        assigned.attributes = tuple(a.key for a in taken)
        return
    reads = network.tensors[first[0]].shape[1:2]
    size, gives = assigned.model.size, sum(assigned.model.tap_channels)
    assigned.warnings.append(
        f"Of the attribute CNN {', '.join(key.removeprefix(HEAD) for key in left)} do not fit: it reads {reads[0] if reads else '?'} "
        f"channels and a detector of size {size} gives {gives} (the published CNN belongs to size x). It tells no attribute until "
        "it has been trained."
    )


def _account(assigned: Assignment[AttriDet], layout: Layout, network: Network, names: Counter[Name], with_attributes: bool) -> Transfer:
    taxonomy = assigned.model.taxonomy
    missing = ABSENT if with_attributes else "no attribute CNN was given"
    replaced, unusual, warned = named_globals(names)
    anchors = (assigned.own[_ANCHORS] * assigned.model.detect.stride.view(-1, 1, 1)).tolist()
    return Transfer(
        layout=layout.name,
        size=assigned.model.size,
        where=network.where,
        classes=classes_of(network.tensors),
        class_names=class_names(network),
        classes_taken=tuple(name for i, name in enumerate(taxonomy.classes) if i in assigned.classes),
        classes_at_start=tuple(name for i, name in enumerate(taxonomy.classes) if i not in assigned.classes),
        attributes_taken=assigned.attributes,
        attributes_at_start=tuple(a.key for a in taxonomy.attributes if a.key not in assigned.attributes),
        entries=assigned.entries(missing),
        left_out=tuple(assigned.left_out),
        anchors_px=tuple(tuple((float(w), float(h)) for w, h in level) for level in anchors),
        replaced=replaced,
        unusual=unusual,
        warnings=(*warned, *assigned.warnings),
    )
