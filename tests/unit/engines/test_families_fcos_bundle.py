"""An FCOS that has learnt four rendered pictures, from its weights to the appliance: what it does not tell is unknown, never zero."""

from __future__ import annotations

import json
import sqlite3
import sys
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import onnx
import pytest
import torch
from overfitting import PLACES_UM, SHRUNK, SIDE_PX, ap50, four_pictures

from device.app import run
from device.camera.factory import open_camera
from device.clock import SystemClock
from device.display.base import NullDisplay
from device.display.gallery_cells import style_of
from device.display.told import Told, cell_words
from device.line import Openers
from device.mqtt.payloads import SlideSummary
from device.settings.broker import BrokerSection
from device.settings.config import Config, DeviceSection, DisplaySection, EngineSection, ReplayCamera, SlideSection
from device.store import Store
from engines.bundle import Bundle, golden_answer, resolve
from engines.cli import main
from engines.errors import BundleError, DataError
from engines.export import ExportRequest, export
from engines.families.fcos.fcos import FCOS
from engines.film import Film, Microscope
from engines.manifest import parse_manifest
from engines.network.engine import open_checkpoint
from engines.network.weights import save_weights
from engines.runtime.engine import golden_difference
from engines.runtime.factory import open_engine

pytestmark = pytest.mark.usefixtures("one_thread_a_module")


@pytest.fixture(scope="module")
def learnt() -> FCOS:
    """24 steps of AdamW from random weights, about 8 s of one core."""
    torch.manual_seed(0)
    images, truth = four_pictures()
    network = FCOS("r18")
    optimiser = torch.optim.AdamW(network.parameters(), 2e-3)
    for step in range(24):
        optimiser.param_groups[0]["lr"] = 2e-3 * min(1, (step + 1) / 10)
        network.train()
        loss = torch.stack(list(network.losses(images, truth).values())).sum()
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 10)
        optimiser.step()
    return network.eval()


@pytest.fixture(scope="module")
def fields(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the four fields as a camera sees them, three times as large as they were learnt."""
    folder, film, scope = tmp_path_factory.mktemp("fields"), Film(seed=7, case="AML"), Microscope("H", "C2", 40)
    for number, place in enumerate(PLACES_UM):
        cv2.imwrite(str(folder / f"{number}.png"), film.view(place, scope, (SHRUNK * SIDE_PX,) * 2)[0])
    return folder


@pytest.fixture(scope="module")
def weights(learnt: FCOS, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("weights") / "fcos.safetensors"
    save_weights(learnt, path, {})
    return path


@pytest.fixture(scope="module")
def bundle(weights: Path, fields: Path) -> Bundle:
    return export(ExportRequest(checkpoint=weights, out=weights.parent / "fcos-r18", images=fields, side_px=SIDE_PX))


def test_it_learns_four_rendered_pictures(learnt: FCOS) -> None:
    assert ap50(learnt, *four_pictures()) > 0.9


def test_the_manifest_names_the_family_and_has_no_attribute_graph(bundle: Bundle) -> None:
    manifest, check = bundle.manifest, bundle.manifest.export_check
    text = (bundle.path / "manifest.json").read_text()
    assert json.loads(text)["schema_version"] == 6
    assert (manifest.family, manifest.attribute_graphs, manifest.thresholds.iou) == ("fcos", (), 0.6)
    assert check is not None and check.attributes is None and check.images == 4 and check.boxes_px < 0.05
    assert "no attributes" in manifest.intended_use
    assert parse_manifest(text, "m") == manifest
    assert not bundle.describes
    with pytest.raises(BundleError, match="family fcos, which has no attribute graph"):
        bundle.attribute_graph()


def test_the_graph_is_static_and_old_enough(bundle: Bundle) -> None:
    model = onnx.load(bundle.detector_path)
    assert [o.version for o in model.opset_import] == [17]
    shapes = {one.name: [d.dim_value for d in one.type.tensor_type.shape.dim] for one in (*model.graph.input, *model.graph.output)}
    assert shapes == {"image": [1, 3, SIDE_PX, SIDE_PX], "rows": [1, 16 * 16 + 8 * 8 + 4 * 4 + 2 * 2 + 1, 5 + 14]}
    assert len({node.name for node in model.graph.node}) == len(model.graph.node)


@pytest.mark.parametrize("runtime", ["onnx", "openvino"])
def test_every_runtime_says_what_torch_says_and_knows_no_attribute(bundle: Bundle, weights: Path, fields: Path, runtime: str) -> None:
    if runtime == "openvino":
        pytest.importorskip("openvino")
    thresholds = bundle.manifest.decode_thresholds
    cells = 0
    with open_engine(bundle.path, runtime, 1) as engine, open_checkpoint(weights, SIDE_PX, True, thresholds) as torchs:
        assert not engine.describes
        for path in sorted(fields.iterdir()):
            image = cv2.imread(str(path))
            found, expected = engine.infer(image).detections, torchs.infer(image).detections
            assert golden_difference(found, expected, 0.1, 1e-3) is None
            assert np.isnan(found.attributes).all()
            assert found.attributes.shape == (len(found), engine.info.taxonomy.n_logits)
            assert found.non_finite == 0
            cells += len(found)
    assert cells >= 8


def test_the_golden_answer_is_json_and_unknown_is_not_told(bundle: Bundle) -> None:
    def never(word: str) -> None:
        raise AssertionError(f"{word} is not JSON")

    answer = json.loads((bundle.path / "golden.json").read_text(), parse_constant=never)
    assert answer["attributes"] and all(value is None for cell in answer["attributes"] for value in cell)
    golden = bundle.golden()
    assert golden is not None and np.isnan(golden[1].attributes).all()
    told = replace(golden[1], attributes=np.full_like(golden[1].attributes, 0.5))
    assert golden_difference(golden[1], golden[1]) is None
    assert golden_difference(told, golden[1]) is not None
    assert golden_difference(golden[1], told) is not None
    assert b"0.5" in golden_answer(told)


def test_manifests_of_attridet_stay_as_they_were_and_need_their_attribute_graph() -> None:
    shipped = Bundle.open(resolve("zoo:attridet-n"), verify=False)
    text = (shipped.path / "manifest.json").read_text()
    assert shipped.manifest.family == "attridet" and "family" not in json.loads(text)
    assert shipped.manifest.to_json() == text
    with pytest.raises(BundleError, match="a bundle of the family attridet has an attribute graph"):
        parse_manifest(json.dumps({**json.loads(text), "attribute_graphs": []}), "m")
    with pytest.raises(BundleError, match="family"):
        parse_manifest(json.dumps({**json.loads(text), "family": "../x"}), "m")


def attridet(monkeypatch: pytest.MonkeyPatch, *arguments: str | Path) -> int:
    monkeypatch.setattr(sys, "argv", ["attridet", *map(str, arguments)])
    with pytest.raises(SystemExit) as end:
        main()
    return int(end.value.code or 0)


def test_what_takes_attridet_alone_refuses_in_one_sentence(
    bundle: Bundle, weights: Path, fields: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for words in (
        ("quantize", bundle.path, tmp_path / "int8", "--frames", fields, "--data", fields),
        ("build", bundle.path),
        ("second-look", bundle.path, tmp_path / "look"),
        ("export", weights, tmp_path / "plain", "--images", fields, "--plain-scores"),
        ("export", weights, tmp_path / "layer", "--images", fields, "--input", str(SIDE_PX), "--open-cells", weights),
    ):
        assert attridet(monkeypatch, *words) == 2, words
        said = capsys.readouterr().err
        assert len(said.strip().splitlines()) == 1 and "Traceback" not in said, said
        assert "fcos" in said or "weights" in said, said
    assert not list(tmp_path.iterdir())


def test_a_family_without_graphs_is_not_exported(monkeypatch: pytest.MonkeyPatch, weights: Path, fields: Path, tmp_path: Path) -> None:
    monkeypatch.setattr("engines.families.EXPORTED", ("attridet",))
    with pytest.raises(DataError, match="the family fcos cannot be exported yet"):
        export(ExportRequest(checkpoint=weights, out=tmp_path / "out", images=fields, side_px=SIDE_PX))


def test_the_appliance_counts_with_it_and_says_unknown(bundle: Bundle, fields: Path, tmp_path: Path) -> None:
    """`leukoscope run` on the four fields: record, summary and screen know no attribute, and none is a zero."""
    camera = ReplayCamera(kind="replay", source=str(fields))
    config = Config(
        camera=camera,
        engine=EngineSection(bundle=str(bundle.path), threads=1, runtime="onnx"),
        device=DeviceSection(id="fcos", state_dir=tmp_path),
        slide=SlideSection(auto_start=True),
        display=DisplaySection(kind="none"),
        broker=BrokerSection(host="127.0.0.1", port=9, protocol="3.1.1"),
    )
    made = Openers(SystemClock(), lambda: open_camera(camera, SystemClock()), lambda: open_engine(bundle.path, "onnx", 1), NullDisplay)
    outcome = run(config, made, signals=False)
    assert outcome.slide is not None and len(outcome.slide.fields) == 4 and len(outcome.slide.cells) >= 8
    assert all(cell.attribute_words(bundle.taxonomy) == {} for cell in outcome.slide.cells)
    assert all(field.non_finite == 0 for field in outcome.slide.fields)
    with sqlite3.connect(config.record_path) as record:
        stored = [json.loads(text) for (text,) in record.execute("SELECT attributes FROM cells")]
    assert stored and all(value is None for cell in stored for value in cell)
    with Store.read(config.record_path) as store:
        summary = SlideSummary.model_validate_json(next(row.payload for row in store.pending() if row.kind == "summary"))
    assert summary.morphology
    for kind in summary.morphology:
        assert all((one.known, one.majority) == (0, None) for one in kind.attributes)


def test_the_screen_says_that_attributes_are_not_known(bundle: Bundle) -> None:
    golden, taxonomy = bundle.golden(), bundle.taxonomy
    assert golden is not None
    found = golden[1]
    styles = tuple(style_of(taxonomy, taxonomy.classes[kind]) for kind in found.classes)
    told = Told(found.boxes_px, styles, tuple(found.scores.tolist()), found.attributes, "")
    for index, style in enumerate(styles):
        assert cell_words(told, index, taxonomy)[1:] == (() if style.artefact else ("attributes not known",))
