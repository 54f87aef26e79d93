"""CBM as two static ONNX graphs: the detector's boxes, each named by its concepts, and the concepts of any box.

Both look at the picture itself. Nodes keep the names of the state dict; what chooses boxes is called `choose.*`, crops `crops.*`.
"""

from __future__ import annotations

import numpy as np
import onnx
import torch
from torch import nn

from engines.families.attridet.graphs import decode
from engines.families.attridet.trunk import TrunkWriter, trunk
from engines.families.attridet.yolov5 import SOURCES
from engines.families.cbm.cbm import CBM, CROP_PX, LOOKED_AT, MARGIN, SPREAD
from engines.families.cbm.ciconv import EPS, CIConv
from engines.families.resnet_graphs import ResNetWriter
from engines.runtime.graphs import IMAGE, PROBABILITIES, ROIS, ROWS


@torch.no_grad()
def detector_graph(model: CBM, input_hw: tuple[int, int]) -> onnx.ModelProto:
    """`detector.onnx` of a network: `image` -> `rows` as in `engines.runtime.graphs`, no maps. The network is left as it is.

    As many rows as boxes are looked at, those that are not needed with a score of 0. Suppression is ONNX's own operator, since a box is
    named after it.
    """
    assert model.detector is not None
    graph, detector, classes = CbmWriter(), model.detector, len(model.taxonomy.classes)
    # One reader of the picture, which runtimes may give in another order of bytes; no number of it is below 0.
    picture = graph.add("Relu", [IMAGE], "picture")
    outputs = trunk(graph, detector, picture, {})
    decode(graph, detector.detect, [outputs[j] for j in SOURCES[len(outputs)]], input_hw, f"model.{len(outputs)}", "detector.rows")
    boxes = graph.chosen("detector.rows", classes)
    types = graph.types(graph.concepts(picture, graph.corners(boxes), LOOKED_AT.max_detections, input_hw, model), model)
    named = graph.add("Concat", [boxes, types], "named", axis=1)
    graph.add("Unsqueeze", [named, graph.whole("named.axis", [0])], ROWS, [ROWS])
    return graph.model("cbm-detector", {IMAGE: (1, 3, *input_hw)}, {ROWS: (1, LOOKED_AT.max_detections, 5 + classes)})


@torch.no_grad()
def attributes_graph(model: CBM, input_hw: tuple[int, int], regions: int) -> onnx.ModelProto:
    """`attributes.onnx` of a network for a fixed number of regions; an attribute that is no concept is NaN."""
    graph, taxonomy, told = CbmWriter(), model.taxonomy, model.concepts
    values = graph.concepts(IMAGE, ROIS, regions, input_hw, model)
    parts = []
    for n, attribute in enumerate(taxonomy.attributes):
        if n not in told.columns:
            unknown = np.full((regions, len(attribute.values)), np.nan, np.float32)
            parts.append(graph.weight(f"{attribute.key}.untold", unknown))
            continue
        place = told.places[told.columns.index(n)]
        part = graph.cut(values, place.start, place.stop, attribute.key)
        if len(attribute.values) == 2:
            other = graph.add("Sub", [graph.number("one", 1), part], f"{attribute.key}.other")
            part = graph.add("Concat", [other, part], f"{attribute.key}.both", axis=1)
        parts.append(part)
    graph.add("Concat", parts, PROBABILITIES, [PROBABILITIES], axis=1)
    inputs = {IMAGE: (1, 3, *input_hw), ROIS: (regions, 4)}
    return graph.model("cbm-attributes", inputs, {PROBABILITIES: (regions, taxonomy.n_logits)})


class CbmWriter(TrunkWriter, ResNetWriter):
    """A writer that chooses boxes, cuts them out and reads them."""

    def number(self, name: str, value: float) -> str:
        if all(one.name != name for one in self.weights):
            self.weight(name, np.array(value, np.float32))
        return name

    def whole(self, name: str, values: list[int]) -> str:
        if all(one.name != name for one in self.weights):
            self.weight(name, np.array(values, np.int64))
        return name

    def cut(self, x: str, start: int, stop: int, name: str, axis: int = 1) -> str:
        """Columns of x."""
        ends = [self.whole(f"at{n}", [n]) for n in (start, stop)]
        return self.add("Slice", [x, *ends, self.whole(f"axis{axis}", [axis])], f"{name}.from{start}to{stop}")

    def chosen(self, rows: str, classes: int) -> str:
        """As `engines.decode.candidates` at `LOOKED_AT`: (100, 5), centre, size and score, filled up with zeros."""
        most = LOOKED_AT.max_detections
        centre, size, there, kinds = (self.cut(rows, a, b, "choose", 2) for a, b in ((0, 2), (2, 4), (4, 5), (5, 5 + classes)))
        score = self.add("ReduceMax", [self.add("Mul", [kinds, there], "choose.scores")], "choose.best", axes=[2], keepdims=1)
        score = self.add("Min", [score, self.number("one", 1)], "choose.score")
        half = self.add("Mul", [size, self.number("half", 0.5)], "choose.half")
        ends = [self.add(op, [centre, half], f"choose.{op}") for op in ("Sub", "Add")]
        boxes = self.add("Concat", ends, "choose.boxes", axis=2)
        flat = self.add("Transpose", [score], "choose.flat", perm=[0, 2, 1])
        given = [self.whole("choose.most", [most]), self.number("choose.iou", LOOKED_AT.iou)]
        given.append(self.number("choose.confidence", LOOKED_AT.confidence))
        kept = self.add("NonMaxSuppression", [boxes, flat, *given], "choose")
        kept = self.add("Reshape", [self.cut(kept, 2, 3, "choose.kept"), self.whole("minus", [-1])], "choose.places")
        # One row of zeros behind all others, to which what is not needed points.
        every = self.add("Concat", [centre, size, score], "choose.every", axis=2)
        every = self.add("Concat", [every, self.weight("choose.nothing", np.zeros((1, 1, 5), np.float32))], "choose.padded", axis=1)
        every = self.add("Squeeze", [every, self.whole("axis0", [0])], "choose.rows")
        last = self.add("Sub", [self.add("Shape", [every], "choose.shape", end=1), self.whole("choose.one", [1])], "choose.last")
        rest = self.add("Expand", [last, self.whole("choose.most", [most])], "choose.rest")
        kept = self.cut(self.add("Concat", [kept, rest], "choose.filled", axis=0), 0, most, "choose.filled", 0)
        kept = self.add("Reshape", [kept, self.whole("choose.most", [most])], "choose.all")
        return self.add("Gather", [every, kept], "choose.chosen", axis=0)

    def corners(self, boxes: str) -> str:
        """(K, 4) of (K, 5)."""
        centre, size = (self.cut(boxes, a, b, "corners") for a, b in ((0, 2), (2, 4)))
        half = self.add("Mul", [size, self.number("half", 0.5)], "corners.half")
        return self.add("Concat", [self.add(op, [centre, half], f"corners.{op}") for op in ("Sub", "Add")], "corners", axis=1)

    def concepts(self, picture: str, rois: str, regions: int, input_hw: tuple[int, int], model: CBM) -> str:
        """Concepts (regions, width), as `CBM.told`."""
        low, high = (self.cut(rois, a, b, "crops") for a, b in ((0, 2), (2, 4)))
        grown = self.add("Mul", [self.add("Sub", [high, low], "crops.size"), self.number("crops.margin", MARGIN / 2)], "crops.grown")
        low = self.add("Max", [self.add("Sub", [low, grown], "crops.low"), self.number("zero", 0)], "crops.from")
        end = self.weight("crops.end", np.array(input_hw[::-1], np.float32))
        high = self.add("Min", [self.add("Add", [high, grown], "crops.high"), end], "crops.to")
        boxes = self.add("Concat", [low, high], "crops.boxes", axis=1)
        crops = self.add(
            "RoiAlign",
            [picture, boxes, self.weight("crops.picture", np.zeros(regions, np.int64))],
            "crops",
            output_height=CROP_PX,
            output_width=CROP_PX,
            spatial_scale=1.0,
            sampling_ratio=0,  # adaptive
            mode="avg",
            coordinate_transformation_mode="output_half_pixel",  # not aligned
        )
        x = self.backbone(self.invariant(crops, model.invariant), model.backbone, "backbone")[-1]
        x = self.add("ReduceMean", [x], "pooled", axes=[2, 3], keepdims=0)
        x = self.linear(x, model.concept, "concept")
        parts = []
        for attribute, place in zip(model.concepts.attributes, model.concepts.places, strict=True):
            part = self.cut(x, place.start, place.stop, "concept")
            one = place.stop - place.start == 1
            parts.append(
                self.add("Sigmoid", [part], f"told.{attribute.key}")
                if one
                else self.add("Softmax", [part], f"told.{attribute.key}", axis=1)
            )
        return self.add("Concat", parts, "told", axis=1)

    def invariant(self, x: str, layer: CIConv) -> str:
        """As `CIConv.forward`; the three energies are filtered each by itself."""
        filters = layer.filters()
        side = filters.shape[-1]
        colour = self.weight("invariant.colour", layer.colour[:, :, None, None])
        x = self.add("Conv", [x, colour], "invariant.energies", kernel_shape=[1, 1])
        each = self.weight("invariant.filters", filters.repeat(3, 1, 1, 1))
        x = self.add("Conv", [x, each], "invariant.answers", group=3, kernel_shape=[side, side], pads=[side // 2] * 4)
        smooth = self.cut(x, 0, 1, "invariant")
        x = self.add("Gather", [x, self.whole("invariant.edges", [1, 2, 4, 5, 7, 8])], "invariant.across", axis=1)
        little = self.number("invariant.little", EPS)
        if layer.invariant == "W":
            x = self.add("Div", [x, self.add("Add", [smooth, little], "invariant.light")], "invariant.divided")
        x = self.add("ReduceSumSquare", [x], "invariant.squares", axes=[1], keepdims=1)
        x = self.add("Log", [self.add("Add", [x, little], "invariant.sum")], "invariant.log")
        plain = [self.weight("invariant.ones", torch.ones(1)), self.weight("invariant.zeros", torch.zeros(1))]
        return self.add("InstanceNormalization", [x, *plain], "invariant", epsilon=1e-5)

    def types(self, values: str, model: CBM) -> str:
        """One 1 in each row (K, classes): the type that concepts make."""
        x = self.add("Sub", [values, self.number("half", 0.5)], "kind.middle")
        x = self.linear(self.add("Mul", [x, self.number("kind.spread", SPREAD)], "kind.spread_out"), model.kind, "kind")
        best = self.add("ArgMax", [x], "kind.best", axis=1, keepdims=0)
        count = self.whole("kind.count", [len(model.taxonomy.classes)])
        return self.add("OneHot", [best, count, self.weight("kind.values", np.array([0, 1], np.float32))], "kind.one", axis=1)

    def linear(self, x: str, layer: nn.Linear, name: str) -> str:
        return self.add(
            "Gemm", [x, self.weight(f"{name}.weight", layer.weight), self.weight(f"{name}.bias", layer.bias)], name, transB=1
        )
