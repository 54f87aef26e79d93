"""AttriDet as two static ONNX graphs, written node by node from its modules.

Written by hand and not traced: nodes and weights keep the names of the state dict (`model.2.cv1.conv`), which is what quantisation
excludes layers by; every shape is a number; and RoIAlign becomes ONNX's own operator, which no tracer makes of plain torch.
That these graphs equal the network is not assumed but measured, by `engines.export.verify`.
"""

from __future__ import annotations

import numpy as np
import onnx
import torch
from torch import nn

from engines.families.attridet.attribute_head import ROI_SIZE, TAP_SCALES
from engines.families.attridet.attridet import AttriDet
from engines.families.attridet.trunk import TrunkWriter, trunk
from engines.families.attridet.yolov5 import SOURCES, STRIDES, TAP_P2, TAP_P3, Detect
from engines.families.graph_writer import GraphWriter
from engines.runtime.graphs import IMAGE, P2, P3, PROBABILITIES, ROIS, ROWS


@torch.no_grad()
def detector_graph(model: AttriDet, input_hw: tuple[int, int]) -> onnx.ModelProto:
    """`detector.onnx` of a model: names and shapes as in `engines.runtime.graphs`. The model is left as it is.

    Convolutions carry their folded normalisations; nodes after the three detection convolutions are called `decode.*`.
    """
    graph = TrunkWriter()
    outputs = trunk(graph, model, IMAGE, {TAP_P2: P2, TAP_P3: P3})
    decode(graph, model.detect, [outputs[j] for j in SOURCES[len(outputs)]], input_hw, f"model.{len(outputs)}")
    (h, w), (c2, c3) = input_hw, model.tap_channels
    rows = sum(3 * (h // s) * (w // s) for s in STRIDES)
    return graph.model(
        "attridet-detector",
        {IMAGE: (1, 3, h, w)},
        {ROWS: (1, rows, 5 + model.classes), P2: (1, c2, h // 4, w // 4), P3: (1, c3, h // 8, w // 8)},
    )


@torch.no_grad()
def attributes_graph(model: AttriDet, input_hw: tuple[int, int], regions: int) -> onnx.ModelProto:
    """`attributes.onnx` of a model for a fixed number of regions: names and shapes as in `engines.runtime.graphs`."""
    graph, head = GraphWriter(), model.attribute_head
    first_image = graph.weight("batch_index", np.zeros(regions, np.int64))
    pooled = [
        graph.add(
            "RoiAlign",
            [tap, ROIS, first_image],
            f"roi_align.{tap}",
            output_height=ROI_SIZE[0],
            output_width=ROI_SIZE[1],
            spatial_scale=scale,
            sampling_ratio=0,  # adaptive
            mode="avg",
            coordinate_transformation_mode="output_half_pixel",  # not aligned
        )
        for tap, scale in zip((P2, P3), TAP_SCALES, strict=True)
    ]
    x = graph.add("Concat", pooled, "roi_align.concat", axis=1)
    for i, conv in enumerate((head.conv1, head.conv2, head.conv3), 1):
        x = graph.conv(x, conv, f"attribute_head.conv{i}")
        x = graph.add("LeakyRelu", [x], f"attribute_head.relu{i}", alpha=0.01)
        x = graph.add("MaxPool", [x], f"attribute_head.pool{i}", kernel_shape=[2, 2], strides=[2, 2])
    x = graph.add("Flatten", [x], "attribute_head.flatten", axis=1)
    for i, linear in enumerate((head.fc1, head.fc2, head.fc3), 1):
        name = f"attribute_head.fc{i}"
        x = graph.add(
            "Gemm", [x, graph.weight(f"{name}.weight", linear.weight), graph.weight(f"{name}.bias", linear.bias)], name, transB=1
        )
        if i < 3:
            x = graph.add("LeakyRelu", [x], f"{name}.relu", alpha=0.01)
    keys = [f"softmax.{a.key}" for a in model.taxonomy.attributes]
    sizes = graph.weight("attribute_sizes", np.array(head.groups, np.int64))
    graph.add("Split", [x, sizes], "attributes", [f"{k}.logits" for k in keys], axis=1)
    graph.add("Concat", [graph.add("Softmax", [f"{k}.logits"], k, axis=1) for k in keys], PROBABILITIES, [PROBABILITIES], axis=1)
    (h, w), (c2, c3) = input_hw, model.tap_channels
    return graph.model(
        "attridet-attributes",
        {P2: (1, c2, h // 4, w // 4), P3: (1, c3, h // 8, w // 8), ROIS: (regions, 4)},
        {PROBABILITIES: (regions, sum(head.groups))},
    )


def decode(graph: GraphWriter, detect: Detect, maps: list[str], input_hw: tuple[int, int], name: str, rows: str = ROWS) -> None:
    """The detection convolutions, and logits to rows in input px (spec 1.3). rows: what their output is called."""
    end = 5 + detect.classes
    cuts = {
        n: graph.weight(f"decode.at{n}", np.array([n], np.int64))
        for n in ((0, 2, 4, 5, end, detect.outputs) if detect.variances else (0, 2, 4, end))
    }
    one = graph.weight("decode.one", np.array(1, np.float32)) if detect.variances else ""
    last_axis = graph.weight("decode.last_axis", np.array([3], np.int64))
    two = graph.weight("decode.two", np.array(2, np.float32))
    levels = []
    for i, (x, stride) in enumerate(zip(maps, STRIDES, strict=True)):
        ny, nx = input_hw[0] // stride, input_hw[1] // stride
        at = f"decode.p{i + 3}"
        conv = detect.m[i]
        assert isinstance(conv, nn.Conv2d)
        logits = graph.conv(x, conv, f"{name}.m.{i}")
        split = graph.weight(f"{at}.split", np.array([1, 3, detect.outputs, ny * nx], np.int64))
        y = graph.add("Reshape", [logits, split], f"{at}.reshape")
        y = graph.add("Transpose", [y], f"{at}.transpose", perm=[0, 1, 3, 2])
        y = graph.add("Sigmoid", [y], f"{at}.sigmoid")

        def part(start: int, end: int, y: str = y, at: str = at) -> str:
            return graph.add("Slice", [y, cuts[start], cuts[end], last_axis], f"{at}.from{start}")

        cell_y, cell_x = np.mgrid[:ny, :nx]
        shift = np.stack((cell_x, cell_y), -1).reshape(1, 1, ny * nx, 2).astype(np.float32) - np.float32(0.5)
        anchors_px = (detect.anchors[i] * detect.stride[i]).view(1, 3, 1, 2)
        xy = graph.add("Mul", [part(0, 2), two], f"{at}.xy_doubled")
        xy = graph.add("Add", [xy, graph.weight(f"{at}.cells", shift)], f"{at}.xy_cells")
        xy = graph.add("Mul", [xy, graph.weight(f"{at}.stride", np.array(stride, np.float32))], f"{at}.xy")
        wh = graph.add("Mul", [part(2, 4), two], f"{at}.wh_doubled")
        wh = graph.add("Mul", [wh, wh], f"{at}.wh_squared")
        wh = graph.add("Mul", [wh, graph.weight(f"{at}.anchors", anchors_px)], f"{at}.wh")
        if detect.variances:
            doubt = graph.add("ReduceMean", [part(end, detect.outputs)], f"{at}.doubt", axes=[3], keepdims=1)
            trust = graph.add("Sub", [one, doubt], f"{at}.trust")
            parts = [xy, wh, graph.add("Mul", [part(4, 5), trust], f"{at}.objectness"), part(5, end)]
        else:
            parts = [xy, wh, part(4, end)]
        y = graph.add("Concat", parts, f"{at}.concat", axis=3)
        flat = graph.weight(f"{at}.flat", np.array([1, 3 * ny * nx, end], np.int64))
        levels.append(graph.add("Reshape", [y, flat], f"{at}.rows"))
    graph.add("Concat", levels, "decode.concat", [rows], axis=1)
