"""A concept bottleneck from its weights to the appliance: its types and attributes as torch has them, Cell Size unknown, never zero."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path

import cv2
import numpy as np
import onnx
import pytest
import torch
from commands import attridet
from overfitting import PLACES_UM, SHRUNK, SIDE_PX

from device.app import run
from device.camera.factory import open_camera
from device.clock import SystemClock
from device.display.base import NullDisplay
from device.line import Openers
from device.mqtt.payloads import SlideSummary
from device.settings.broker import BrokerSection
from device.settings.config import Config, DeviceSection, DisplaySection, EngineSection, ReplayCamera, SlideSection
from device.store import Store
from engines.bundle import Bundle
from engines.errors import BundleError
from engines.export import ExportRequest, export
from engines.families.cbm.cbm import CBM, LOOKED_AT
from engines.families.cbm.graphs import attributes_graph, detector_graph
from engines.film import Film, Microscope
from engines.manifest import parse_manifest
from engines.network.checkpoint import load_any
from engines.network.engine import open_checkpoint
from engines.network.weights import save_weights
from engines.runtime.engine import golden_difference
from engines.runtime.factory import open_engine
from engines.runtime.onnx import open_session, session_options
from engines.taxonomy import LEUKEMIA_ATTRI

pytestmark = pytest.mark.usefixtures("one_thread_a_module")

INPUT_PX = 320
GROUPS = LEUKEMIA_ATTRI.groups


def bottleneck(size: str) -> CBM:
    """The shipped detector, and concepts and types that nobody taught but that differ from cell to cell."""
    torch.manual_seed(3)
    network = CBM(size)
    network.take(load_any(Path("zoo:attridet-n"))[0])
    torch.nn.init.normal_(network.kind.weight)
    with torch.no_grad():
        network.concept.weight.mul_(30)
    return network.eval()


@pytest.fixture(scope="module")
def fields(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder, film, scope = tmp_path_factory.mktemp("fields"), Film(seed=7, case="AML"), Microscope("H", "C2", 40)
    for number, place in enumerate(PLACES_UM):
        cv2.imwrite(str(folder / f"{number}.png"), film.view(place, scope, (SHRUNK * SIDE_PX,) * 2)[0])
    return folder


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("weights") / "cbm.safetensors"
    save_weights(bottleneck("binary"), path, {})
    return path


@pytest.fixture(scope="module")
def bundle(weights: Path, fields: Path) -> Bundle:
    return export(ExportRequest(checkpoint=weights, out=weights.parent / "cbm-binary", images=fields, side_px=INPUT_PX))


def test_the_manifest_names_what_is_never_told(bundle: Bundle) -> None:
    manifest, check = bundle.manifest, bundle.manifest.export_check
    text = (bundle.path / "manifest.json").read_text()
    assert (json.loads(text)["schema_version"], manifest.family, manifest.untold) == (7, "cbm", ("cell_size",))
    assert parse_manifest(text, "m") == manifest and bundle.untold_places == (0, 1, 2)
    assert check is not None and check.attributes is not None
    assert (check.boxes_px < 1e-3, check.scores < 1e-4, check.attributes < 1e-4, check.images) == (True, True, True, 4)
    assert bundle.describes and bundle.rereads
    with pytest.raises(BundleError, match="untold: colour is no attribute"):
        parse_manifest(text.replace('"untold": [\n    "cell_size"', '"untold": [\n    "colour"'), "m")


@pytest.mark.parametrize("runtime", ["onnx", "openvino"])
def test_every_runtime_says_what_torch_says(bundle: Bundle, weights: Path, fields: Path, runtime: str) -> None:
    if runtime == "openvino":
        pytest.importorskip("openvino")
    thresholds = bundle.manifest.decode_thresholds
    cells, types, values = 0, set(), []
    with open_engine(bundle.path, runtime, 1) as engine, open_checkpoint(weights, INPUT_PX, True, thresholds) as torchs:
        for path in sorted(fields.iterdir()):
            image = cv2.imread(str(path))
            found, expected = engine.infer(image).detections, torchs.infer(image).detections
            assert golden_difference(found, expected, 1e-3, 1e-4) is None
            assert np.isnan(found.attributes[:, GROUPS[0]]).all()
            assert np.isfinite(found.attributes[:, GROUPS[0].stop :]).all()
            assert found.non_finite == 0
            cells, types = cells + len(found), types | {*found.classes.tolist()}
            values.append(found.attributes[:, GROUPS[0].stop :])
    assert cells >= 8 and len(types) >= 2 and np.concatenate(values).std(0).min() > 0.01


@torch.no_grad()
def test_the_graphs_are_static_and_say_what_torch_says_of_every_box(fields: Path) -> None:
    """With Cell Size, told in three values; also of a picture without a cell, and of boxes at the edge and of no size."""
    network, hw = bottleneck("all"), (192, 256)
    model, told = detector_graph(network, hw), attributes_graph(network, hw, 4)
    shapes = {one.name: [d.dim_value for d in one.type.tensor_type.shape.dim] for one in (*model.graph.input, *model.graph.output)}
    assert shapes == {"image": [1, 3, *hw], "rows": [1, LOOKED_AT.max_detections, 5 + 14]}
    assert [o.version for o in model.opset_import] == [o.version for o in told.opset_import] == [17]
    assert len({node.name for node in model.graph.node}) == len(model.graph.node)
    detect, describe = (open_session(onnx.ModelProto.SerializeToString(one), session_options(1)) for one in (model, told))
    image = cv2.cvtColor(cv2.resize(cv2.imread(str(fields / "0.png")), hw[::-1]), cv2.COLOR_BGR2RGB)
    planes = (image.transpose(2, 0, 1)[None] / 255).astype(np.float32)
    expected, seen = network.look(torch.from_numpy(planes))
    rows, count = detect.run(["rows"], {"image": planes})[0][0], expected.shape[1]
    np.testing.assert_allclose(rows[:count, :4], expected[0, :, :4].numpy(), atol=1e-3)
    np.testing.assert_allclose(rows[:count, 4:], expected[0, :, 4:].numpy(), atol=1e-4)
    assert count > 1 and not rows[count:, :5].any()
    boxes = np.array([[10, 20, 70, 90], [-30, 150, 40, 210], [200, 100, 300, 300], [0, 0, 0, 0]], np.float32)
    wanted = network.describe(seen, torch.from_numpy(np.pad(boxes, ((0, 0), (1, 0))))).numpy()
    np.testing.assert_allclose(describe.run(["probabilities"], {"image": planes, "rois": boxes})[0], wanted, atol=1e-4)
    assert not detect.run(["rows"], {"image": np.ones_like(planes)})[0][0, :, 4].any()


def test_what_takes_attridet_alone_refuses_in_one_sentence(bundle: Bundle, fields: Path, tmp_path: Path) -> None:
    for words in (
        ("quantize", bundle.path, tmp_path / "int8", "--frames", fields, "--data", fields),
        ("half", bundle.path, tmp_path / "fp16", "--data", fields),
        ("build", bundle.path),
        ("second-look", bundle.path, tmp_path / "look"),
    ):
        called = attridet(*words)
        assert called.code == 2 and len(called.err.strip().splitlines()) == 1, (words, called.err)
        assert "cbm" in called.err or "weights" in called.err, called.err
    assert not list(tmp_path.iterdir())


def test_the_appliance_counts_with_it(bundle: Bundle, fields: Path, tmp_path: Path) -> None:
    """`leukoscope run` on the four fields: six attributes of each cell in the record and the summary, Cell Size unknown in both."""
    camera = ReplayCamera(kind="replay", source=str(fields))
    config = Config(
        camera=camera,
        engine=EngineSection(bundle=str(bundle.path), threads=1, runtime="onnx"),
        device=DeviceSection(id="cbm", state_dir=tmp_path),
        slide=SlideSection(auto_start=True),
        display=DisplaySection(kind="none"),
        broker=BrokerSection(host="127.0.0.1", port=9, protocol="3.1.1"),
    )
    made = Openers(SystemClock(), lambda: open_camera(camera, SystemClock()), lambda: open_engine(bundle.path, "onnx", 1), NullDisplay)
    outcome = run(config, made, signals=False)
    assert outcome.slide is not None and len(outcome.slide.cells) >= 8
    assert all(field.non_finite == 0 for field in outcome.slide.fields)
    for cell in outcome.slide.cells:
        assert {*cell.attribute_words(bundle.taxonomy)} == {one.key for one in bundle.taxonomy.attributes[1:]}
    with sqlite3.connect(config.record_path) as record:
        stored = [json.loads(text) for (text,) in record.execute("SELECT attributes FROM cells")]
    assert all(cell[:3] == [None] * 3 and None not in cell[3:] for cell in stored)
    with Store.read(config.record_path) as store:
        summary = SlideSummary.model_validate_json(next(row.payload for row in store.pending() if row.kind == "summary"))
    for kind in summary.morphology:
        told = {one.key: one.known for one in kind.attributes}
        assert told.pop("cell_size") == 0 and all(known > 0 for known in told.values())
