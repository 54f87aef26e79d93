"""ResNet-18 and ResNet-50 with a feature pyramid, pure torch: the backbone of the detectors that the paper compares with.

Layout, strides and names of the entries are torchvision's (`conv1`, `layer1.0.conv1`, ...; stride in the 3x3 convolution of a
bottleneck), so that its published weights fit.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from typing_extensions import Self

SIZES = ("r18", "r50")
_BLOCKS = {"r18": (2, 2, 2, 2), "r50": (3, 4, 6, 3)}
_WIDTHS = (64, 128, 256, 512)
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
"""ImageNet's, of RGB 0 to 1: what published backbones were trained with."""


class Norm(nn.BatchNorm2d):
    """Batch normalisation; once `frozen`, a fixed scale and shift that neither batches nor gradients change.

    The frozen form is that of torchvision's `FrozenBatchNorm2d` (eps 1e-5). The entries of the state dict are those of `BatchNorm2d`.
    """

    def __init__(self, channels: int) -> None:
        super().__init__(channels)
        self.frozen = False

    def forward(self, x: Tensor) -> Tensor:
        if not self.frozen:
            return super().forward(x)
        return functional.batch_norm(x, self.running_mean, self.running_var, self.weight, self.bias, False, 0.0, self.eps)


@torch.no_grad()
def folded(conv: nn.Conv2d, norm: nn.Module) -> nn.Conv2d:
    """One convolution, with bias, equal to `conv` (without) and then `norm` in evaluation mode; a copy of `conv` for an `Identity`."""
    made = copy.deepcopy(conv)
    if isinstance(norm, nn.BatchNorm2d):
        assert norm.running_mean is not None and norm.running_var is not None
        scale = norm.weight / torch.sqrt(norm.running_var + norm.eps)
        made.weight = nn.Parameter(conv.weight * scale[:, None, None, None])
        made.bias = nn.Parameter(norm.bias - norm.running_mean * scale)
    return made.requires_grad_(False)


class _Block(nn.Module):
    """What both kinds of block share: the way round, through `downsample` where width or stride change."""

    expansion: int

    def __init__(self, given: int, width: int, stride: int) -> None:
        super().__init__()
        self.relu = nn.ReLU(inplace=True)
        self.downsample: nn.Module | None = None
        if stride != 1 or given != width * self.expansion:
            self.downsample = nn.Sequential(
                nn.Conv2d(given, width * self.expansion, 1, stride, bias=False), Norm(width * self.expansion)
            )

    def branch(self, x: Tensor) -> Tensor:
        raise NotImplementedError

    def forward(self, x: Tensor) -> Tensor:
        around = x if self.downsample is None else self.downsample(x)
        return self.relu(self.branch(x) + around)  # type: ignore[no-any-return]  # nn.Module.__call__ is typed Any


class BasicBlock(_Block):
    """Two 3x3 convolutions. (B, given, H, W) -> (B, width, H / stride, W / stride)."""

    expansion = 1

    def __init__(self, given: int, width: int, stride: int) -> None:
        super().__init__(given, width, stride)
        self.conv1 = nn.Conv2d(given, width, 3, stride, 1, bias=False)
        self.bn1 = Norm(width)
        self.conv2 = nn.Conv2d(width, width, 3, 1, 1, bias=False)
        self.bn2 = Norm(width)

    def branch(self, x: Tensor) -> Tensor:
        y: Tensor = self.bn2(self.conv2(self.relu(self.bn1(self.conv1(x)))))
        return y


class Bottleneck(_Block):
    """1x1, 3x3 (with the stride), 1x1 to four times the width. (B, given, H, W) -> (B, 4 width, H / stride, W / stride)."""

    expansion = 4

    def __init__(self, given: int, width: int, stride: int) -> None:
        super().__init__(given, width, stride)
        self.conv1 = nn.Conv2d(given, width, 1, bias=False)
        self.bn1 = Norm(width)
        self.conv2 = nn.Conv2d(width, width, 3, stride, 1, bias=False)
        self.bn2 = Norm(width)
        self.conv3 = nn.Conv2d(width, width * 4, 1, bias=False)
        self.bn3 = Norm(width * 4)

    def branch(self, x: Tensor) -> Tensor:
        y = self.relu(self.bn2(self.conv2(self.relu(self.bn1(self.conv1(x))))))
        return self.bn3(self.conv3(y))  # type: ignore[no-any-return]  # see _Block.forward


class ResNet(nn.Module):
    """The backbone of one size, "r18" or "r50", without the classifier: images (B, 3, H, W) RGB 0 to 1 -> C2, C3, C4, C5.

    C2 to C5 have the strides 4, 8, 16 and 32 and the `channels` of the size. ImageNet's mean and deviation are taken off inside.

    A random start learns all of it with ordinary batch normalisation. Weights that were learnt elsewhere are frozen with `freeze`, as
    torchvision's detectors do: every normalisation, the stem and `layer1` stay what they are. That is kept in the state dict (entry
    `frozen`), so that a checkpoint goes on as it was. Raises ValueError for another size.
    """

    frozen: Tensor
    mean: Tensor
    std: Tensor

    def __init__(self, size: str) -> None:
        super().__init__()
        if size not in _BLOCKS:
            raise ValueError(f"a ResNet has the size {' or '.join(SIZES)}, not {size!r}")
        kind: type[BasicBlock | Bottleneck] = BasicBlock if size == "r18" else Bottleneck
        self.size = size
        self.channels = tuple(width * kind.expansion for width in _WIDTHS)
        self.conv1 = nn.Conv2d(3, 64, 7, 2, 3, bias=False)
        self.bn1 = Norm(64)
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool2d(3, 2, 1)
        given = 64
        for i, (width, blocks) in enumerate(zip(_WIDTHS, _BLOCKS[size], strict=True)):
            layer = [kind(given, width, 1 if i == 0 else 2)]
            given = width * kind.expansion
            layer += [kind(given, width, 1) for _ in range(blocks - 1)]
            self.add_module(f"layer{i + 1}", nn.Sequential(*layer))
        self.register_buffer("frozen", torch.zeros((), dtype=torch.uint8))
        self.register_buffer("mean", torch.tensor(MEAN).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(STD).view(1, 3, 1, 1), persistent=False)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
        self.register_load_state_dict_post_hook(_keep_frozen)  # type: ignore[no-untyped-call]  # torch stub

    @property
    def layers(self) -> tuple[nn.Module, ...]:
        """`layer1` to `layer4`, which give C2 to C5."""
        return tuple(self.get_submodule(f"layer{i}") for i in (1, 2, 3, 4))

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        x = self.maxpool(self.relu(self.bn1(self.conv1((images - self.mean) / self.std))))
        maps = []
        for layer in self.layers:
            x = layer(x)
            maps.append(x)
        return tuple(maps)

    def train(self, mode: bool = True) -> Self:
        """As of any module; frozen where a state dict was copied in that says so."""
        if mode and bool(self.frozen) != getattr(self.bn1, "frozen", False):
            self.freeze(bool(self.frozen))
        return super().train(mode)

    def fuse(self) -> None:
        """Fold every normalisation into its convolution, for evaluation; a second call does nothing."""
        for module in list(self.modules()):
            pairs = [("conv1", "bn1"), ("conv2", "bn2"), ("conv3", "bn3"), ("0", "1")]
            for conv, norm in pairs:
                if isinstance(getattr(module, norm, None), Norm):
                    setattr(module, conv, folded(module.get_submodule(conv), module.get_submodule(norm)))  # type: ignore[arg-type]  # see _Block
                    setattr(module, norm, nn.Identity())

    def freeze(self, frozen: bool = True) -> None:
        """Keep all normalisations, the stem and `layer1` as they are from now on; or let everything learn."""
        self.frozen.fill_(frozen)
        self.requires_grad_(True)
        for module in self.modules():
            if isinstance(module, Norm):
                module.frozen = frozen
                module.requires_grad_(not frozen)
        for part in (self.conv1, self.layers[0]):
            part.requires_grad_(not frozen)


def _keep_frozen(backbone: nn.Module, _: Any) -> None:
    """After a state dict was loaded: frozen where it says so."""
    assert isinstance(backbone, ResNet)
    backbone.freeze(bool(backbone.frozen))


class FeaturePyramid(nn.Module):
    """Maps of one width from a backbone's maps, each with what the coarser ones know added (FPN; names are torchvision's).

    channels: of the maps given, the finest first, each half as large as the one before. width: of the maps made, 256 in the papers.
    extra: 2 adds P6 and P7, halved once and twice more (FCOS: C3, C4, C5 -> P3 to P7); 0 adds none (C2 to C5 -> P2 to P5).
    """

    def __init__(self, channels: Sequence[int], width: int = 256, extra: int = 2) -> None:
        super().__init__()
        if extra not in (0, 2):
            raise ValueError(f"a pyramid has 0 or 2 extra levels, not {extra}")
        self.width = width
        self.inner_blocks = nn.ModuleList(nn.Sequential(nn.Conv2d(given, width, 1)) for given in channels)
        self.layer_blocks = nn.ModuleList(nn.Sequential(nn.Conv2d(width, width, 3, 1, 1)) for _ in channels)
        self.extra_blocks: nn.ModuleDict | None = None
        if extra:
            self.extra_blocks = nn.ModuleDict({name: nn.Conv2d(width, width, 3, 2, 1) for name in ("p6", "p7")})
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_uniform_(module.weight, a=1)
                assert module.bias is not None
                nn.init.zeros_(module.bias)

    def forward(self, maps: Sequence[Tensor]) -> tuple[Tensor, ...]:
        inner = [block(x) for block, x in zip(self.inner_blocks, maps, strict=True)]
        for i in range(len(inner) - 2, -1, -1):
            inner[i] = inner[i] + functional.interpolate(inner[i + 1], size=inner[i].shape[-2:], mode="nearest")
        made = [block(x) for block, x in zip(self.layer_blocks, inner, strict=True)]
        if self.extra_blocks is not None:
            made.append(self.extra_blocks["p6"](made[-1]))
            # In bfloat16 oneDNN leaves the gradient of weights that a map of 1 px never meets unwritten (torch 2.13, CPU).
            with torch.autocast(made[-1].device.type, enabled=False):
                made.append(self.extra_blocks["p7"](functional.relu(made[-1]).to(next(self.parameters()).dtype)))
        return tuple(made)
