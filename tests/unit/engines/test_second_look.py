"""The second look's graph says what torch says, on every runtime, for any number of cells; a layer not its own is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np
import onnx
import pytest
import torch
from looking_bundles import random_layer, wide_arrays, with_layer, without_second_look

from calibration.int8.bundles import Quantiser
from calibration.int8.frames import Frame
from engines.bundle import Bundle, write_bundle
from engines.cli import run
from engines.decode import Thresholds
from engines.detections import Detections, Float32, Image
from engines.errors import BundleError, InferenceError, RuntimeUnavailableError
from engines.export.cells import verify_cells
from engines.families.attridet.cell_features import POOLED, cell_features, feature_count, pooling_matrix
from engines.families.attridet.yolov5 import TAP_P3
from engines.files import sha256_of
from engines.naming.tiles import TileGeometry, cut_tiles
from engines.network.engine import engine_of
from engines.runtime.factory import open_engine
from engines.runtime.onnx import OnnxEngine

if TYPE_CHECKING:
    from engines.network import AttriDet

BOXES = np.array([[40, 30, 90, 90], [300, 200, 352, 260], [-10, -6, 30, 36], [700, 400, 768, 432]], np.float32)


@pytest.fixture(scope="module")
def tiles(frame: Image) -> Image:
    """Eleven tiles, more than one run takes: in the frame, over its borders, and small cells."""
    boxes = np.concatenate((BOXES, np.add(BOXES, (60, 20, 60, 20)), np.add(BOXES[:3], (200, 90, 190, 80)))).astype(np.float32)
    return cut_tiles(frame, boxes, TileGeometry())


@pytest.fixture(scope="module")
def expected(model: AttriDet, tiles: Image) -> Float32:
    with torch.no_grad():
        planes = torch.from_numpy(np.ascontiguousarray(tiles[..., ::-1].transpose(0, 3, 1, 2))).float() / 255
        return cell_features(model, planes, TileGeometry()).numpy()


def test_a_feature_is_the_mean_over_the_cell(model: AttriDet, tiles: Image, expected: Float32) -> None:
    """By another way than the matrix: the map enlarged to pixels, and the pixels of the square averaged."""
    with torch.no_grad():
        planes = torch.from_numpy(np.ascontiguousarray(tiles[:2, ..., ::-1].transpose(0, 3, 1, 2))).float() / 255
        maps = model.feature_maps(planes)
    start = 0
    for pooled in POOLED:
        enlarged = maps[pooled.layer].numpy().repeat(pooled.stride, 2).repeat(pooled.stride, 3)
        for share in pooled.shares:
            at = slice(round(112 - 65 * share), round(112 + 65 * share))
            mean = enlarged[:, :, at, at].mean((2, 3))
            if share == 1:  # the inner square ends within pixels: 65 px are not even
                np.testing.assert_allclose(expected[:2, start : start + mean.shape[1]], mean, atol=1e-5)
            start += mean.shape[1]
    assert start == expected.shape[1] == feature_count(model) == 992
    inner = pooling_matrix(POOLED[2], TileGeometry()).reshape(28, 28, 2)[..., 1]
    assert POOLED[2].stride == 8 and inner[14, 14] == pytest.approx((8 / 65) ** 2) and inner[14, 9] == pytest.approx(8 * 0.5 / 65**2)
    assert POOLED[1].layer == TAP_P3


@pytest.mark.parametrize("runtime", ["onnx", "openvino", "torch"])
def test_every_runtime_gives_torchs_features_of_any_number_of_cells(
    runtime: str, model: AttriDet, bundle: Bundle, tiles: Image, expected: Float32
) -> None:
    if runtime == "openvino":
        pytest.importorskip("openvino")
    with engine_of(model, "network", "1", 320) if runtime == "torch" else open_engine(bundle.path, runtime, threads=1) as engine:
        assert np.abs(engine.look(tiles) - expected).max() < 1e-4 < expected.std(0).mean() / 100
        one = engine.look(tiles[3:4])  # padded to a whole run: its neighbours do not matter
        np.testing.assert_allclose(one, expected[3:4], atol=1e-4)
        assert engine.look(tiles[:0]).shape == (0, 992)
        with pytest.raises(InferenceError, match=r"tiles are \(N, 224, 224, 3\) uint8"):
            engine.look(tiles[:, :200])


def test_the_graph_is_static_and_proved(model: AttriDet, bundle: Bundle, tiles: Image) -> None:
    path, look = bundle.second_look()
    graph = onnx.load(path)
    (given,), (answer,) = graph.graph.input, graph.graph.output
    assert (given.name, [d.dim_value for d in given.type.tensor_type.shape.dim]) == ("tiles", [9, 3, 224, 224])
    assert (answer.name, [d.dim_value for d in answer.type.tensor_type.shape.dim]) == ("features", [9, 992])
    assert 0 < look.export_difference < 1e-4 and look.export_tiles == 8 and bundle.manifest.schema_version == 3
    weights = {w.name: w for w in graph.graph.initializer}
    wrong = onnx.numpy_helper.to_array(weights["pool.23.matrix"]) * np.float32(1.01)
    weights["pool.23.matrix"].CopyFrom(onnx.numpy_helper.from_array(wrong, "pool.23.matrix"))
    with pytest.raises(BundleError, match="differs from torch"):
        verify_cells(model, graph.SerializeToString(), tiles, TileGeometry())


def test_cells_are_named_by_the_bundles_layer(bundle: Bundle, frame: Image, tmp_path: Path) -> None:
    layer = random_layer(bundle)
    named = with_layer(bundle, tmp_path / "named", layer)
    found = Detections(BOXES, np.full(4, 0.9, np.float32), np.zeros(4, np.int64), np.full((4, 15), np.nan, np.float32))
    with OnnxEngine(named, threads=1) as engine:
        assert engine.info.naming is not None and engine.info.naming.name == "layer-test"
        told = engine.name_cells(frame, found)
        features = engine.look(cut_tiles(frame, BOXES, TileGeometry()))
        nothing = engine.name_cells(frame, found.select(np.arange(0))).names
        assert nothing is not None and nothing.groups == () and nothing.probabilities.shape == (0, len(bundle.taxonomy.classes))
    assert told.names is not None
    wanted, attributes = layer.names(features, bundle.taxonomy)
    np.testing.assert_allclose(told.names.probabilities, wanted.probabilities, atol=1e-6)
    np.testing.assert_allclose(told.attributes, attributes, atol=1e-6)
    assert (told.classes == wanted.probabilities.argmax(1)).all() and (told.scores == found.scores).all()
    with OnnxEngine(bundle, threads=1) as engine:
        assert engine.info.naming is None and engine.name_cells(frame, found) is found


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"encoder": "0" * 64}, "fitted to another encoder"),
        ({"classes": ("Blast", "None")}, "names other types \\(Blast, None\\)"),
        ({"mean": np.zeros(5, np.float32)}, "has 5 means and 992 scales for 992 features"),
        ({"projection": np.zeros((992, 3), np.float32)}, "projection does not bring"),
        ({"weights": np.zeros((5, 31), np.float32)}, r"weights of 5 x 31 and not 993 x 31"),
    ],
)
def test_a_layer_that_does_not_belong_is_refused(changed: dict[str, object], message: str, bundle: Bundle, tmp_path: Path) -> None:
    strange = with_layer(bundle, tmp_path / "strange", random_layer(bundle, **changed))
    with pytest.raises(BundleError, match=message):
        open_engine(strange.path, threads=1)


def test_a_tampered_layer_is_refused(bundle: Bundle, tmp_path: Path) -> None:
    named = with_layer(bundle, tmp_path / "named", random_layer(bundle))
    (named.path / "naming-layer.npz").write_bytes(random_layer(bundle, seed=1).to_bytes())
    with pytest.raises(BundleError, match=r"naming-layer\.npz: altered or incomplete"):
        open_engine(named.path, threads=1)


def test_a_bundle_of_schema_2_still_opens(bundle: Bundle, frame: Image, tmp_path: Path) -> None:
    old = without_second_look(bundle, tmp_path / "old")
    assert old.manifest.schema_version == 2 and "second_look" not in (old.path / "manifest.json").read_text()
    with open_engine(old.path, threads=1) as engine:
        found = engine.infer(frame, Thresholds(max_detections=4)).detections
        assert engine.name_cells(frame, found) is found
        with pytest.raises(BundleError, match="no graph for a second look"):
            engine.look(np.zeros((1, 224, 224, 3), np.uint8))


def second_look(*words: object) -> int:
    return run(["second-look", *map(str, words)])


def test_a_bundle_gets_a_second_look_and_then_a_layer(
    bundle: Bundle, frame: Image, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    old, looking, named = without_second_look(bundle, tmp_path / "old"), tmp_path / "looking", tmp_path / "named"
    assert second_look(old.path, looking, "--version", "0.1.0") == 0
    assert "992 features a cell, against torch on 4 cells" in capsys.readouterr().out
    made = Bundle.open(looking)
    assert made.manifest.version == "0.1.0" and made.second_look()[1].layer is None
    same = (set(old.manifest.files) | {"cells.onnx"}) - {"golden.json"}
    assert {n: r.sha256 for n, r in made.manifest.files.items() if n in same} == {
        n: r.sha256 for n, r in bundle.manifest.files.items() if n in same
    }
    layer, cells = random_layer(made).write(tmp_path / "layer.npz"), tmp_path / "cells.npz"
    cells.write_bytes(b"open cells")
    assert second_look(looking, named, "--layer", tmp_path / "layer.npz", "--open-cells", cells) == 0
    assert f"named by layer-test 0.0.1 {layer.digest[:8]}" in capsys.readouterr().out
    ready = Bundle.open(named)
    look = ready.second_look()[1]
    assert look.layer is not None and (named / str(look.open_cells)).read_bytes() == b"open cells"
    assert (named / "README.md").read_bytes() == (bundle.path / "README.md").read_bytes()
    golden = ready.golden()
    assert golden is not None and golden[1].names is not None and len(golden[1].names.groups) == len(golden[1])
    with open_engine(named, threads=1) as engine:  # the golden picture is answered, by both looks
        assert engine.info.naming == layer.info

    other = tmp_path / "other.npz"
    random_layer(ready, seed=1, name="site", site=True).write(other)
    with open_engine(named, threads=1, layer=other) as engine:  # the golden picture still asks the bundle's own
        assert engine.info.naming is not None and engine.info.naming.site
        assert engine.name_cells(frame, engine.infer(frame).detections).names is not None
    assert second_look(named, tmp_path / "again", "--open-cells", tmp_path / "none.npz") == 2
    assert "no such file of open cells" in capsys.readouterr().err
    random_layer(ready, encoder="f" * 64).write(other)
    assert second_look(named, tmp_path / "again", "--layer", other) == 2
    assert "other.npz: this layer was fitted to another encoder" in capsys.readouterr().err and not (tmp_path / "again").exists()


def test_the_golden_picture_asks_the_second_look_too(bundle: Bundle, tmp_path: Path) -> None:
    random_layer(bundle).write(tmp_path / "layer.npz")
    assert second_look(bundle.path, tmp_path / "named", "--layer", tmp_path / "layer.npz") == 0
    named = Bundle.open(tmp_path / "named")
    answer = json.loads((named.path / "golden.json").read_text())
    files: dict[str, bytes | Path] = {name: named.path / name for name in named.manifest.files}
    said = answer["second_look"]
    for number, (key, wrong, words) in enumerate(
        (
            (
                "probabilities",
                [[p + 0.02 for p in row] for row in said["probabilities"]],
                "a probability of the second look differs by 0.02",
            ),
            ("groups", ["blasts" if g == "others" else "others" for g in said["groups"]], "the second look tells another group"),
        )
    ):
        text = json.dumps({**answer, "second_look": {**said, key: wrong}}).encode()
        broken = write_bundle(tmp_path / f"broken{number}", named.manifest, files | {"golden.json": text})
        with pytest.raises(BundleError, match=words), open_engine(broken.path, threads=1):
            pass


def test_less_than_float32_is_not_for_names(bundle: Bundle, tiles: Image, expected: Float32) -> None:
    """A detector computed in bfloat16 leaves the features as they are."""
    pytest.importorskip("openvino")
    try:
        with open_engine(bundle.path, "openvino", threads=1, verify=False, precision="bfloat16") as engine:
            assert engine.info.precision == "bf16"
            assert np.abs(engine.look(tiles) - expected).max() < 1e-4
    except RuntimeUnavailableError as error:
        pytest.skip(str(error))


def test_cells_are_cut_from_the_whole_frame(bundle: Bundle, frame: Image, tmp_path: Path) -> None:
    """A 1080p frame reaches the detector at a third (here a sixth) of its size; what is named is cut from the frame itself."""
    large = np.asarray(cv2.resize(frame, (1920, 1080), interpolation=cv2.INTER_CUBIC), np.uint8)
    layer = random_layer(bundle, uses_size=True, **wide_arrays(bundle))
    named = with_layer(bundle, tmp_path / "named", layer)
    with OnnxEngine(named, threads=1) as engine:
        found = engine.infer(large).detections.select(np.arange(3))
        told = engine.name_cells(large, found, um_per_px=0.1)
        features = engine.look(cut_tiles(large, found.boxes_px, TileGeometry()))
    size_um = np.sqrt((found.boxes_px[:, 2:] - found.boxes_px[:, :2]).prod(1)) * 0.1
    wanted, _ = layer.names(features, bundle.taxonomy, size_um)
    assert told.names is not None
    np.testing.assert_allclose(told.names.probabilities, wanted.probabilities, atol=1e-6)
    blurred = layer.names(features, bundle.taxonomy, None)[0]
    assert np.abs(blurred.probabilities - wanted.probabilities).max() > 1e-3  # the size counts


def test_int8_carries_the_second_look_over_as_it_is(bundle: Bundle, frame: Image, tmp_path: Path) -> None:
    named = with_layer(bundle, tmp_path / "named", random_layer(bundle))
    cv2.imwrite(str(tmp_path / "field.png"), frame)
    field = Frame(tmp_path / "field.png", sha256_of(tmp_path / "field.png"))
    made = Quantiser(named, [field], "minmax", 1, lambda done, of: None).write(tmp_path / "int8", only=("model.0",))
    assert made.manifest.precision == "int8" and made.manifest.schema_version == 3
    assert made.manifest.second_look == named.manifest.second_look
    assert {n: made.manifest.files[n] for n in ("cells.onnx", "naming-layer.npz")} == {
        n: named.manifest.files[n] for n in ("cells.onnx", "naming-layer.npz")
    }
    assert made.manifest.files["detector.onnx"] != named.manifest.files["detector.onnx"]
    assert open_engine(made.path, threads=1, ungated=True).info.naming == random_layer(bundle).write(tmp_path / "layer.npz").info
