"""The ResNet that several families share, as ONNX."""

from __future__ import annotations

from torch import nn

from engines.families.graph_writer import GraphWriter
from engines.families.resnet import BasicBlock, Bottleneck, ResNet, folded


class ResNetWriter(GraphWriter):
    """A writer that knows the ResNet's blocks; convolutions carry their folded normalisations."""

    def backbone(self, x: str, net: ResNet, name: str) -> list[str]:
        """C2 to C5."""
        x = self.add("Sub", [x, self.weight(f"{name}.mean", net.mean)], f"{name}.centred")
        x = self.add("Div", [x, self.weight(f"{name}.std", net.std)], f"{name}.normalised")
        x = self._normed(x, net.conv1, net.bn1, f"{name}.conv1")
        x = self.add("Relu", [x], f"{name}.relu")
        x = self.add("MaxPool", [x], f"{name}.maxpool", kernel_shape=[3, 3], strides=[2, 2], pads=[1] * 4)
        maps = []
        for number, layer in enumerate(net.layers, 1):
            assert isinstance(layer, nn.Sequential)
            for i, block in enumerate(layer):
                assert isinstance(block, BasicBlock | Bottleneck)
                x = self._block(x, block, f"{name}.layer{number}.{i}")
            maps.append(x)
        return maps

    def _block(self, x: str, block: BasicBlock | Bottleneck, name: str) -> str:
        around, last = x, 2 if isinstance(block, BasicBlock) else 3
        if isinstance(block.downsample, nn.Sequential):
            around = self._normed(x, block.downsample[0], block.downsample[1], f"{name}.downsample.0")
        for i in range(1, last + 1):
            x = self._normed(x, block.get_submodule(f"conv{i}"), block.get_submodule(f"bn{i}"), f"{name}.conv{i}")
            if i < last:
                x = self.add("Relu", [x], f"{name}.relu{i}")
        return self.add("Relu", [self.add("Add", [x, around], f"{name}.add")], f"{name}.relu{last}")

    def _normed(self, x: str, conv: nn.Module, norm: nn.Module, name: str) -> str:
        assert isinstance(conv, nn.Conv2d)
        return self.conv(x, folded(conv, norm), name)
