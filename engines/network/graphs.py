"""The two static graphs of a bundle as modules ready for `torch.onnx.export`; writing files and manifests is `engines.export`'s work.

RoIAlign appears in the second graph as the ONNX operator `RoiAlign` (opset 16), which every runtime brings compiled.
"""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor, nn

from engines.network.attribute_head import ROI_SIZE, TAP_SCALES
from engines.network.attridet import AttriDet
from engines.network.roi_align import roi_align
from engines.network.yolov5 import STRIDES, Grid, YOLOv5


class DetectorGraph(nn.Module):
    """Images (1, 3, H, W) -> `rows` (1, N, 5+classes) decoded, `p2` (1, C1, H/4, W/4), `p3` (1, C4, H/8, W/8).

    model: left as it is; the graph holds a copy in evaluation mode with batch normalisation folded in. input_hw: H and W, multiples
    of 32 (ValueError otherwise); positions and anchors of the rows are constants of the graph. Any batch size fits.
    """

    cells: Tensor
    anchors_px: Tensor
    stride: Tensor

    def __init__(self, model: YOLOv5, input_hw: tuple[int, int]) -> None:
        super().__init__()
        height, width = input_hw
        if height % 32 or width % 32 or min(input_hw) <= 0:
            raise ValueError(f"the network's input needs multiples of 32 px; got {height}x{width}")
        self.detector = copy.deepcopy(model).eval().fuse().requires_grad_(False)
        grid = self.detector.detect.grid([(height // s, width // s) for s in STRIDES])
        for name, value in grid._asdict().items():
            self.register_buffer(name, value, persistent=False)
        self.eval()

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        levels, taps = self.detector.forward_levels(images)
        return self.detector.detect.decode(levels, Grid(self.cells, self.anchors_px, self.stride)), taps.p2, taps.p3


class AttributeGraph(nn.Module):
    """`p2`, `p3`, `rois` (K, 5: batch index, x1, y1, x2, y2 in px of the network's input) -> probabilities (K, n_logits).

    Under `torch.onnx.export`, the TorchScript-based one and the newer (`dynamo=True`) alike, RoIAlign becomes the operator `RoiAlign`:
    mode avg, sampling_ratio 0 (adaptive), coordinate_transformation_mode output_half_pixel (not aligned), spatial_scale 1/4 and 1/8.
    Run as a module it uses `roi_align`. The given model is left as it is.
    """

    def __init__(self, model: AttriDet) -> None:
        super().__init__()
        self.head = copy.deepcopy(model.attribute_head).requires_grad_(False)
        self.eval()

    def forward(self, p2: Tensor, p3: Tensor, rois: Tensor) -> Tensor:
        pooled = torch.cat([_pool(x, rois, s) for x, s in zip((p2, p3), TAP_SCALES, strict=True)], 1)
        return self.head.probabilities(self.head(pooled))


def _pool(features: Tensor, rois: Tensor, spatial_scale: float) -> Tensor:
    if not torch.compiler.is_exporting():
        pooled: Tensor = _RoiAlignOp.apply(features, rois, spatial_scale)  # type: ignore[no-untyped-call]  # torch leaves it open
        return pooled
    return torch.onnx.ops.symbolic(
        "RoiAlign",
        (features, rois[:, 1:5], rois[:, 0].long()),
        attrs={**_OPERATOR, "spatial_scale": spatial_scale},
        dtype=features.dtype,
        shape=(rois.shape[0], features.shape[1], *ROI_SIZE),
        version=16,
    )


_OPERATOR: dict[str, str | int | float] = {
    "coordinate_transformation_mode": "output_half_pixel",
    "mode": "avg",
    "output_height": ROI_SIZE[0],
    "output_width": ROI_SIZE[1],
    "sampling_ratio": 0,
}
"""Attributes of the ONNX operator that make it the head's RoIAlign."""


class _RoiAlignOp(torch.autograd.Function):
    """`roi_align` when run; the operator when traced by the TorchScript-based exporter."""

    @staticmethod
    def forward(ctx: Any, features: Tensor, rois: Tensor, spatial_scale: float) -> Tensor:
        if torch.onnx.is_in_onnx_export():  # only the shape is looked at, and tracing a computed shape would warn
            return features.new_zeros((rois.shape[0], features.shape[1], *ROI_SIZE))
        return roi_align(features, rois, ROI_SIZE, spatial_scale)

    @staticmethod
    def symbolic(g: Any, features: Any, rois: Any, spatial_scale: float) -> Any:
        boxes = g.op("Slice", rois, *(g.op("Constant", value_t=torch.tensor([i])) for i in (1, 5, 1)))
        index = g.op("Gather", rois, g.op("Constant", value_t=torch.tensor(0)), axis_i=1)
        kinds = {str: "s", int: "i", float: "f"}
        attributes = {f"{k}_{kinds[type(v)]}": v for k, v in {**_OPERATOR, "spatial_scale": spatial_scale}.items()}
        return g.op("RoiAlign", features, boxes, g.op("Cast", index, to_i=_INT64), **attributes)


_INT64 = 7
"""onnx.TensorProto.INT64, without importing onnx."""
