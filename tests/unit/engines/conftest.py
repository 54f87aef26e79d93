"""An AttriDet with weights that behave like trained ones, and the bundle exported from it, made once for the tests of this folder."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np
import pytest

from engines.bundle import Bundle
from engines.decode import Thresholds
from engines.detections import Image

if TYPE_CHECKING:
    from engines.network import AttriDet

INPUT_HW = (320, 320)


@contextmanager
def single_threaded() -> Iterator[None]:
    """torch with one thread: on a busy machine several wait for each other far longer than they work, and sums repeat."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def one_thread() -> Iterator[None]:
    with single_threaded():
        yield


@pytest.fixture(scope="module")
def one_thread_a_module() -> Iterator[None]:
    """For modules whose fixtures train."""
    with single_threaded():
        yield


def draw_field(seed: int, hw: tuple[int, int] = (240, 320)) -> Image:
    """A picture with dark round things on a bright, noisy ground."""
    draw = np.random.default_rng(seed)
    image = np.full((*hw, 3), (205, 200, 215), np.uint8)
    for _ in range(12):
        centre = (int(draw.integers(hw[1])), int(draw.integers(hw[0])))
        colour = tuple(int(v) for v in draw.integers(40, 200, 3))
        cv2.circle(image, centre, int(draw.integers(8, 30)), colour, -1)
    return np.clip(image + draw.normal(0, 6, image.shape), 0, 255).astype(np.uint8)


def lively_model(seed: int = 0) -> AttriDet:
    """AttriDet-n whose random weights use the whole range of every output, as trained ones do.

    Fresh weights leave every map nearly constant, so that a wrong graph could pass: batch statistics come from pictures, and the last
    layers are spread so that objectness, classes and attributes vary from almost 0 to almost 1.
    """
    import torch

    from engines.network import AttriDet
    from engines.preprocess import prepare

    torch.manual_seed(seed)
    model = AttriDet("n")
    with torch.no_grad():
        for name, value in model.named_parameters():
            if name.endswith("bn.weight"):
                value.copy_(torch.empty_like(value).uniform_(0.5, 1.0))
            elif name.endswith("bn.bias"):
                value.normal_(0.3, 0.1)
        images = torch.from_numpy(np.concatenate([prepare(draw_field(100 + i), INPUT_HW, True)[0] for i in range(4)]))
        model.train()
        for module in model.modules():
            if isinstance(module, torch.nn.BatchNorm2d):
                module.momentum = None  # a plain average
        model.forward_train(images)
        model.eval()
        levels, taps = model.forward_train(images)
        for layer, level in zip(model.detect.m, levels, strict=True):
            wanted = torch.full((3, model.detect.outputs), 2.5)
            wanted[:, :4] = 0.8  # boxes stay near their anchors
            spread = (wanted / level.std((0, 2, 3)).clamp(min=1e-3)).flatten()
            layer.weight.mul_(spread[:, None, None, None])
            layer.bias.copy_(-(level.mean((0, 2, 3)).flatten() - layer.bias) * spread)
            objectness = (level[..., 4] - level[..., 4].mean((0, 2, 3), keepdim=True)) * spread.view(3, -1)[:, 4].view(1, 3, 1, 1)
            layer.bias.view(3, -1)[:, 4] -= objectness.quantile(0.985)  # most places are background
        rois = torch.tensor([[float(i % 4), 20.0 + 3 * i, 40.0, 60.0 + 5 * i, 90.0 + 4 * i] for i in range(24)])
        for layer in (model.attribute_head.conv1, model.attribute_head.conv2, model.attribute_head.conv3):
            layer.weight.mul_(2.5)
        logits = model.attribute_logits(taps, rois)
        spread = 2 / logits.std(0).clamp(min=1e-6)
        model.attribute_head.fc3.weight.mul_(spread[:, None])
        model.attribute_head.fc3.bias.copy_(-(logits.mean(0) - model.attribute_head.fc3.bias) * spread)
    return model


@pytest.fixture(scope="session")
def model() -> Iterator[AttriDet]:
    import torch

    # On a busy machine torch's threads wait for each other; these networks are small.
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield lively_model()
    torch.set_num_threads(threads)


@pytest.fixture(scope="session")
def bundle(model: AttriDet, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """A bundle of `model` at 320 px, with golden picture and weights."""
    from engines.export.bundle import export_bundle
    from engines.manifest import Card
    from engines.provenance import Training

    return export_bundle(
        model,
        tmp_path_factory.mktemp("bundles") / "attridet-test",
        Card(
            name="attridet-test",
            version="0.0.1",
            licence="Apache-2.0",
            training=Training(data=(), seed=0, command="", note="random weights"),
        ),
        INPUT_HW,
        [draw_field(i) for i in range(2)],
        thresholds=Thresholds(max_detections=40),
        keep_weights=True,
        readme="# Random weights\n",
    )


@pytest.fixture
def bundle_path(bundle: Bundle) -> Path:
    return bundle.path


@pytest.fixture(scope="session")
def frame() -> Image:
    """A field wider and larger than the network's input."""
    return draw_field(8, (432, 768))
