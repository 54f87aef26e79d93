"""The exported graphs say what torch says, on drawn and on real fields, and have the form that every runtime counts on."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np
import onnx
import pytest
import torch

from engines.bundle import ZOO, Bundle
from engines.decode import Thresholds
from engines.errors import BundleError
from engines.export.bundle import WEIGHTS, export_bundle
from engines.export.verify import MAX_BOX_DIFFERENCE_PX, MAX_DIFFERENCE, verify_export
from engines.manifest import Card
from engines.network.weights import load_weights, save_weights
from engines.provenance import Training

if TYPE_CHECKING:
    from engines.network import AttriDet

CARD = Card(name="attridet-test", version="0.0.1", licence="Apache-2.0", training=Training(data=(), seed=0, command=""))


def shape(value: onnx.ValueInfoProto) -> list[int]:
    return [d.dim_value for d in value.type.tensor_type.shape.dim]


def real_fields(data: Path, count: int) -> list[np.ndarray]:
    """Half from a leukaemia set at 40x, half from an ordinary microscope's."""
    folders = [data / "lld_40x/Images/val", data / "bccd/Images/val"]
    paths = [p for f in folders for p in itertools.islice(sorted(f.iterdir()), count // 2)]
    images = [cv2.imread(str(p), cv2.IMREAD_COLOR) for p in paths]
    assert len(images) == count and all(i is not None for i in images)
    return images


def verify(model: AttriDet, bundle: Bundle, images: list[np.ndarray]) -> None:
    manifest = bundle.manifest
    attributes = [((bundle.path / g.file).read_bytes(), g.regions) for g in manifest.attribute_graphs]
    check = verify_export(
        model, bundle.detector_path.read_bytes(), attributes, images, input_hw=manifest.input.hw, scale_up=manifest.input.scale_up
    )
    assert check.images == len(images)
    assert check.boxes_px <= MAX_BOX_DIFFERENCE_PX and max(check.scores, check.attributes) <= MAX_DIFFERENCE


@pytest.mark.shared
def test_the_bundle_equals_torch_on_twenty_real_fields(model: AttriDet, bundle: Bundle, shared_data: Path) -> None:
    verify(model, bundle, real_fields(shared_data, 20))


@pytest.mark.shared
def test_the_shipped_bundle_equals_its_weights_on_twenty_real_fields(shared_data: Path) -> None:
    path = ZOO / "attridet-n"
    if not (path / WEIGHTS).is_file():
        pytest.skip(f"no bundle with {WEIGHTS} in engines/zoo/attridet-n")
    verify(load_weights(path / WEIGHTS)[0], Bundle.open(path), real_fields(shared_data, 20))


def test_every_shape_is_a_number_and_every_name_is_fixed(bundle: Bundle) -> None:
    detector = onnx.load(bundle.detector_path)
    onnx.checker.check_model(detector, full_check=True)
    assert {v.name: shape(v) for v in detector.graph.input} == {"image": [1, 3, 320, 320]}
    assert {v.name: shape(v) for v in detector.graph.output} == {
        "rows": [1, 3 * (40 * 40 + 20 * 20 + 10 * 10), 19],
        "p2": [1, 32, 80, 80],
        "p3": [1, 64, 40, 40],
    }
    for regions, name in ((64, "attributes.onnx"), (4, "attributes-4.onnx")):
        attributes = onnx.load(bundle.path / name)
        onnx.checker.check_model(attributes, full_check=True)
        assert {v.name: shape(v) for v in attributes.graph.input} == {
            "p2": [1, 32, 80, 80],
            "p3": [1, 64, 40, 40],
            "rois": [regions, 4],
        }
        assert {v.name: shape(v) for v in attributes.graph.output} == {"probabilities": [regions, 15]}
        assert sum(n.op_type == "RoiAlign" for n in attributes.graph.node) == 2
        assert all(min(shape(v)) > 0 for v in attributes.graph.value_info)
    assert all(min(shape(v)) > 0 for v in detector.graph.value_info)
    assert [o.version for o in detector.opset_import] == [17]
    names = {n.name for n in detector.graph.node}
    assert {"model.0.conv", "model.2.m.0.cv1.conv", "model.24.m.0", "decode.p3.xy", "decode.concat"} <= names
    assert not any(n.op_type in ("BatchNormalization", "NonMaxSuppression") for n in detector.graph.node)


def test_a_graph_of_other_weights_is_refused(model: AttriDet, bundle: Bundle, tmp_path: Path) -> None:
    other, _ = load_weights(bundle.path / WEIGHTS)
    with torch.no_grad():
        other.detect.m[1].bias[0] += 0.01  # a shift of about 0.1 px
    image = np.random.default_rng(0).integers(0, 256, (320, 320, 3), np.uint8)
    with pytest.raises(BundleError, match=r"differ from torch: boxes by .* px \(allowed 0.05\)"):
        verify_export(other, bundle.detector_path.read_bytes(), [], [image], input_hw=(320, 320))


def test_a_network_that_gives_no_numbers_is_refused(bundle: Bundle, tmp_path: Path) -> None:
    broken, _ = load_weights(bundle.path / WEIGHTS)
    with torch.no_grad():
        broken.model[0].conv.weight.fill_(float("nan"))
    image = np.zeros((320, 320, 3), np.uint8)
    with pytest.raises(BundleError, match="differ from torch"):
        export_bundle(broken, tmp_path / "engine", CARD, (320, 320), [image])
    assert list(tmp_path.iterdir()) == []


def test_weights_come_back_as_they_were(model: AttriDet, tmp_path: Path) -> None:
    save_weights(model, tmp_path / "w.safetensors", {"seed": 3})
    again, record = load_weights(tmp_path / "w.safetensors")
    assert record == {"seed": 3} and again.size == "n" and again.taxonomy == model.taxonomy and not again.training
    for key, value in model.state_dict().items():
        assert torch.equal(value, again.state_dict()[key]), key


def test_weights_that_are_none_are_named(tmp_path: Path, model: AttriDet) -> None:
    with pytest.raises(BundleError, match=r"gone\.safetensors: no such file"):
        load_weights(tmp_path / "gone.safetensors")
    (tmp_path / "text.safetensors").write_text("hello")
    with pytest.raises(BundleError, match=r"text\.safetensors: not a safetensors file"):
        load_weights(tmp_path / "text.safetensors")
    from safetensors.torch import save_file

    save_file({"x": torch.zeros(1)}, tmp_path / "other.safetensors")
    with pytest.raises(BundleError, match=r"other\.safetensors: not the weights of a detector of ours"):
        load_weights(tmp_path / "other.safetensors")


def test_exporting_leaves_the_model_and_its_manifest_tells_all(model: AttriDet, bundle: Bundle) -> None:
    manifest = bundle.manifest
    assert any(k.endswith("running_mean") for k in model.state_dict())
    assert manifest.export_check is not None and manifest.export_check.images == 2
    assert manifest.decode_thresholds == Thresholds(max_detections=40)
    assert set(manifest.files) == {
        "detector.onnx",
        "attributes.onnx",
        "attributes-4.onnx",
        "cells.onnx",
        "weights.safetensors",
        "golden.png",
        "golden.json",
    }
    assert (bundle.path / "README.md").is_file()
