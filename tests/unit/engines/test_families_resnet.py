"""The backbone of the compared detectors: torchvision's layout, entry by entry, and what stays fixed once it is frozen."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from engines.families.resnet import FeaturePyramid, Norm, ResNet

PARAMETERS = {"r18": 11_176_512, "r50": 23_508_032}
"""Of torchvision's resnet18 and resnet50 (11,689,512 and 25,557,032) without their classifiers of 1000 classes."""


@pytest.mark.parametrize(("size", "entries", "channels"), [("r18", 120, (64, 128, 256, 512)), ("r50", 318, (256, 512, 1024, 2048))])
def test_layout_is_the_published_one(size: str, entries: int, channels: tuple[int, ...]) -> None:
    backbone = ResNet(size)
    assert backbone.channels == channels
    assert sum(p.numel() for p in backbone.parameters()) == PARAMETERS[size]
    names = set(backbone.state_dict()) - {"frozen"}
    assert len(names) == entries
    assert {"conv1.weight", "bn1.running_var", "layer2.0.downsample.1.bias", "layer4.1.bn2.weight"} <= names
    with torch.no_grad():
        maps = backbone.eval()(torch.rand(2, 3, 64, 96))
    assert [tuple(m.shape) for m in maps] == [(2, c, 64 // s, 96 // s) for c, s in zip(channels, (4, 8, 16, 32), strict=True)]


def test_a_bottlenecks_stride_is_in_its_3x3_convolution() -> None:
    block = ResNet("r50").layers[1].get_submodule("0")
    strides = {name: conv.stride[0] for name, conv in block.named_modules() if isinstance(conv, nn.Conv2d)}
    assert strides == {"conv1": 1, "conv2": 2, "conv3": 1, "downsample.0": 2}


def test_another_size_is_refused() -> None:
    with pytest.raises(ValueError, match="r18 or r50, not 'r34'"):
        ResNet("r34")


def test_frozen_parts_do_not_learn_and_batches_do_not_move_them() -> None:
    torch.manual_seed(0)
    backbone = ResNet("r18").train()
    images = torch.rand(2, 3, 64, 64)
    backbone.freeze()
    before = {name: value.clone() for name, value in backbone.state_dict().items()}
    optimiser = torch.optim.SGD([p for p in backbone.parameters() if p.requires_grad], 0.1, weight_decay=0.1)
    backbone(images)[-1].square().mean().backward()
    optimiser.step()
    moved = {name for name, value in backbone.state_dict().items() if not torch.equal(value, before[name])}
    learns = ("layer2.", "layer3.", "layer4.")
    assert moved == {name for name, value in before.items() if name.startswith(learns) and value.dim() == 4}


def test_a_frozen_normalisation_is_the_fixed_scale_and_shift() -> None:
    norm = Norm(3).train()
    norm.running_mean, norm.running_var = torch.tensor([0.1, -0.2, 0.3]), torch.tensor([0.5, 2.0, 1.0])
    norm.frozen = True
    x = torch.randn(4, 3, 5, 5)
    scale = (1 / torch.sqrt(torch.tensor([0.5, 2.0, 1.0]) + 1e-5)).view(1, 3, 1, 1)
    assert torch.allclose(norm(x), (x - torch.tensor([0.1, -0.2, 0.3]).view(1, 3, 1, 1)) * scale, atol=1e-6)


def test_a_state_dict_keeps_whether_it_is_frozen() -> None:
    source, other = ResNet("r18"), ResNet("r18")
    source.freeze()
    other.load_state_dict(source.state_dict())
    assert all(m.frozen for m in other.modules() if isinstance(m, Norm))
    assert not other.conv1.weight.requires_grad
    assert other.layers[3].get_submodule("0.conv1").weight.requires_grad
    other.load_state_dict(ResNet("r18").state_dict())
    assert all(not m.frozen and m.weight.requires_grad for m in other.modules() if isinstance(m, Norm))


def test_a_pyramids_levels_and_their_sizes() -> None:
    maps = [torch.randn(1, c, s, s + 2) for c, s in ((8, 20), (16, 10), (32, 5))]
    maps[1], maps[2] = torch.randn(1, 16, 10, 11), torch.randn(1, 32, 5, 6)
    made = FeaturePyramid((8, 16, 32), width=12)(maps)
    assert [tuple(m.shape) for m in made] == [(1, 12, *hw) for hw in ((20, 22), (10, 11), (5, 6), (3, 3), (2, 2))]
    assert len(FeaturePyramid((8, 16, 32), width=12, extra=0)(maps)) == 3
    with pytest.raises(ValueError, match="0 or 2 extra levels"):
        FeaturePyramid((8,), extra=1)


@torch.no_grad()
def test_a_coarse_map_is_added_to_the_finer_ones_by_its_nearest_cell() -> None:
    pyramid = FeaturePyramid((1, 1), width=1, extra=2)
    for name, value in pyramid.state_dict().items():
        value.zero_()
        if name.endswith("weight"):  # each convolution hands its middle on
            value[..., value.shape[-2] // 2, value.shape[-1] // 2] = 1
    fine, coarse = torch.arange(16.0).view(1, 1, 4, 4), torch.tensor([[[[100.0, -200.0], [300.0, 400.0]]]])
    p3, p4, p6, p7 = pyramid([fine, coarse])
    assert torch.equal(p4, coarse)
    assert torch.equal(p3[0, 0, 0], torch.tensor([100.0, 101.0, -198.0, -197.0]))
    assert (p6.item(), p7.item()) == (100.0, 100.0)


def test_the_smallest_map_leaves_no_gradient_unwritten_in_half_precision() -> None:
    pyramid = FeaturePyramid((8, 8, 8), 128)
    for _ in range(6):
        used = [torch.full((128 * 128 * 9,), float("nan"), dtype=torch.bfloat16) for _ in range(4)]
        del used  # what is not written shows as NaN
        pyramid.zero_grad()
        with torch.autocast("cpu", torch.bfloat16):
            maps = pyramid([torch.randn(4, 8, side, side) for side in (8, 4, 2)])
        assert [some.shape[-1] for some in maps] == [8, 4, 2, 1, 1]
        torch.stack([some.float().sum() for some in maps]).sum().backward()
        for name, weight in pyramid.named_parameters():
            assert weight.grad is not None and torch.isfinite(weight.grad).all(), name
