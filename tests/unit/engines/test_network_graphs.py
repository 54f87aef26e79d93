"""The two graphs leave torch as ONNX and give the same numbers in ONNX Runtime."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from torch import nn

from engines.network import AttriDet, Taps
from engines.network.graphs import AttributeGraph, DetectorGraph

HW = (64, 96)

pytestmark = [
    pytest.mark.filterwarnings("ignore:You are using the legacy:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:The feature will be removed:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:.*LeafSpec.*:FutureWarning"),
]


@pytest.fixture(scope="module")
def model() -> AttriDet:
    """Untrained, but with running statistics that are not those of the start."""
    torch.manual_seed(2)
    model = AttriDet("n")
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d) and module.running_var is not None and module.running_mean is not None:
            module.running_var.uniform_(0.5, 1.5)
            module.running_mean.normal_(0, 0.1)
    return model.eval()


@pytest.fixture(scope="module")
def rois() -> torch.Tensor:
    corner = torch.rand(64, 2, generator=torch.Generator().manual_seed(4)) * 80 - 10
    size = torch.rand(64, 2, generator=torch.Generator().manual_seed(5)) * 60
    return torch.cat((torch.zeros(64, 1), corner, corner + size), 1)


def test_detector_graph_equals_the_model_and_leaves_it_alone(model: AttriDet, tmp_path: Path) -> None:
    images = torch.rand(1, 3, *HW)
    before = {k: v.clone() for k, v in model.state_dict().items()}
    graph = DetectorGraph(model, HW)
    assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items())
    path = tmp_path / "detector.onnx"
    torch.onnx.export(graph, (images,), path, dynamo=False, opset_version=17, input_names=["images"])
    operators = Counter(node.op_type for node in onnx.load(path).graph.node)
    assert operators["Conv"] == 60
    assert not operators["BatchNormalization"]
    got = onnxruntime.InferenceSession(path).run(None, {"images": images.numpy()})
    with torch.no_grad():
        output, taps = model.forward_with_taps(images)
    assert not isinstance(output, list)
    for name, a, b in zip(("rows", "p2", "p3"), got, (output.rows, *taps), strict=True):
        np.testing.assert_allclose(a, b.numpy(), rtol=0, atol=1e-3, err_msg=name)


@pytest.mark.parametrize("dynamo", [False, True], ids=["torchscript", "dynamo"])
def test_attribute_graph_holds_the_operator_and_equals_the_head(
    model: AttriDet, rois: torch.Tensor, dynamo: bool, tmp_path: Path
) -> None:
    taps = Taps(torch.randn(1, 32, 16, 24), torch.randn(1, 64, 8, 12))
    path = tmp_path / "attributes.onnx"
    names = ["p2", "p3", "rois"]
    torch.onnx.export(AttributeGraph(model), (*taps, rois), path, dynamo=dynamo, input_names=names, verbose=False)
    proto = onnx.load(path)
    onnx.checker.check_model(proto)
    nodes = [n for n in proto.graph.node if n.op_type == "RoiAlign"]
    attributes = [{a.name: onnx.helper.get_attribute_value(a) for a in n.attribute} for n in nodes]
    assert sorted(a["spatial_scale"] for a in attributes) == [0.125, 0.25]
    for a in attributes:
        assert (a["mode"], a["coordinate_transformation_mode"], a["sampling_ratio"]) == (b"avg", b"output_half_pixel", 0)
    feed = dict(zip(names, (t.numpy() for t in (*taps, rois)), strict=True))
    got = onnxruntime.InferenceSession(path).run(None, feed)[0]
    with torch.no_grad():
        expected = model.attribute_probabilities(model.attribute_logits(taps, rois))
        torch.testing.assert_close(AttributeGraph(model)(*taps, rois), expected)
    np.testing.assert_allclose(got, expected.numpy(), rtol=0, atol=1e-5)


def test_inputs_that_do_not_fit_the_strides_are_refused(model: AttriDet) -> None:
    with pytest.raises(ValueError, match="multiples of 32 px; got 600x640"):
        DetectorGraph(model, (600, 640))
