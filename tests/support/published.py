"""Checkpoints as YOLOv5 publishes them: whole modules pickled by name under classes that are gone when the file is read."""

from __future__ import annotations

import copy
import sys
import warnings
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import nn

from engines.families.attridet.layers import C3, CBS, SPPF, Bottleneck, Concat
from engines.families.attridet.yolov5 import Detect
from engines.network import YOLOv5

ROOMS = ("models", "models.common", "models.yolo")
NAMES: Mapping[type[nn.Module], str] = {
    CBS: "Conv",
    C3: "C3",
    SPPF: "SPPF",
    Bottleneck: "Bottleneck",
    Concat: "Concat",
    Detect: "Detect",
}
COCO_NAMES = [f"thing {i}" for i in range(80)]


@contextmanager
def published_names() -> Iterator[Mapping[str, type[nn.Module]]]:
    """Classes of the published modules' names, in modules that exist only inside."""
    assert not any(room in sys.modules for room in ROOMS)
    rooms = {room: ModuleType(room) for room in ROOMS}
    classes: dict[str, type[nn.Module]] = {}
    for name in ("Conv", "C3", "SPPF", "SPP", "Bottleneck", "Concat", "Focus", "Detect", "DetectionModel"):
        room = "models.yolo" if name.startswith("Detect") else "models.common"
        classes[name] = type(name, (nn.Module,), {"__module__": room})
        setattr(rooms[room], name, classes[name])
    sys.modules.update(rooms)
    try:
        yield classes
    finally:
        for room in ROOMS:
            del sys.modules[room]


def shell(module: nn.Module, classes: Mapping[str, type[nn.Module]], name: str = "") -> nn.Module:
    """The same tensors in modules of the published classes; torch's own modules stay."""
    if isinstance(module, nn.Sequential):
        return nn.Sequential(*(shell(child, classes) for child in module))
    if isinstance(module, nn.ModuleList):
        return nn.ModuleList(shell(child, classes) for child in module)
    name = name or NAMES.get(type(module), "")
    if not name:
        return module
    made = classes[name]()
    for key, child in module.named_children():
        made.add_module(key, shell(child, classes))
    if isinstance(module, Detect):
        made.register_buffer("anchors", module.anchors)
    return made


def whole(layers: list[nn.Module], classes: Mapping[str, type[nn.Module]], names: Any, nc: int) -> nn.Module:
    """A DetectionModel of these layers, with the attributes that published ones have."""
    model: Any = classes["DetectionModel"]()
    model.model = nn.Sequential(*layers)
    model.names, model.nc, model.yaml = names, nc, {"nc": nc, "depth_multiple": 0.33, "anchors": [[10, 13, 16, 30, 33, 23]]}
    model.save, model.stride, model.inplace = [4, 6, 10], torch.tensor([8.0, 16.0, 32.0]), True
    return model  # type: ignore[no-any-return]  # of a class that exists only here


def save_checkpoint(
    path: Path, network: YOLOv5, names: Any = None, *, half: bool = True, legacy: bool = False, key: str = "ema"
) -> Path:
    """`network` as a training run leaves it: a dictionary around the whole module, in half precision."""
    with published_names() as classes:
        layers = [shell(layer, classes) for layer in copy.deepcopy(network.model)]
        model = whole(layers, classes, names or COCO_NAMES[: network.classes], network.classes)
        model = model.half() if half else model
        content = {"epoch": -1, "best_fitness": 0.5, "model": None, "updates": 7, "optimizer": None, "date": "2022-11-22"}
        save(path, {**content, "ema": model}, legacy=legacy)
    return path


def save(path: Path, content: Any, *, legacy: bool = False) -> None:
    """torch.save in its newer or older form; the older one warns that it finds no source text of the classes."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.save(content, path, _use_new_zipfile_serialization=not legacy)


def save_v5(path: Path, network: YOLOv5) -> Path:
    """A checkpoint with v5.0's layer list and `network`'s layers: Focus first, pooling in layer 8, blocks in 9, more of them in 4."""
    with published_names() as classes:
        layers = [shell(layer, classes) for layer in network.model]
        focus: Any = classes["Focus"]()
        focus.conv = shell(CBS(12, network.model[0].conv.out_channels, 3), classes)  # type: ignore[union-attr, arg-type]  # a CBS
        nn.init.normal_(focus.conv.bn.running_mean)
        layers[0] = focus
        layers[8], layers[9] = shell(network.model[9], classes, "SPP"), layers[8]
        layers[4] = shell(C3(network.tap_channels[1], network.tap_channels[1], 3, shortcut=True), classes)
        save(path, {"model": whole(layers, classes, COCO_NAMES, 80), "ema": None})
    return path


def write_archive(path: Path, pickled: bytes, storages: Mapping[str, bytes] | None = None, *, compressed: bool = False) -> Path:
    """A zip file of torch.save's form around any pickle."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED if compressed else zipfile.ZIP_STORED) as archive:
        archive.writestr("archive/data.pkl", pickled)
        for key, data in (storages or {}).items():
            archive.writestr(f"archive/data/{key}", data)
        archive.writestr("archive/version", b"3\n")
    return path
