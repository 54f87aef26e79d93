"""The engine on OpenVINO: the reference's detections, the defect of its plugin that is gone round, every way it can fail to open."""

from __future__ import annotations

import importlib.metadata
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from engines.bundle import Bundle, write_bundle
from engines.decode import region_batches
from engines.detections import Image
from engines.errors import BundleError, InferenceError, RuntimeUnavailableError
from engines.preprocess import place
from engines.runtime.engine import golden_difference
from engines.runtime.factory import open_engine, runtime_for
from engines.runtime.onnx import OnnxEngine, OnnxGraphs
from engines.runtime.openvino.graphs import OpenvinoEngine, OpenvinoGraphs
from engines.runtime.openvino.library import import_openvino, options, suits_int8
from engines.runtime.openvino.rewrite import with_levels_for_input, with_unsigned_maps
from engines.runtime.roi_align import FeatureMap, roi_align


@pytest.fixture(scope="module", autouse=True)
def _installed() -> None:
    # Not importorskip: it would import OpenVINO before the engine does, and so let it report the tests to its maker.
    try:
        importlib.metadata.version("openvino")
    except importlib.metadata.PackageNotFoundError:
        pytest.skip("needs the extra openvino")


def test_it_says_what_the_reference_says(bundle: Bundle, frame: Image) -> None:
    with OnnxEngine(bundle, threads=1) as reference, OpenvinoEngine(bundle, threads=1, verify=True) as engine:
        expected, inference = reference.infer(frame).detections, engine.infer(frame)
        again = engine.infer(frame).detections
    assert 4 < len(expected) < 100  # several runs of the attribute graph
    assert golden_difference(inference.detections, expected, corner_px=0.1, tolerance=1e-3) is None
    assert golden_difference(again, inference.detections, 1e-9, 1e-9) is None
    assert set(inference.timings_ms) == {"preprocess", "detector", "nms", "attributes"}
    assert engine.info.runtime.startswith("openvino ") and engine.info.runtime.endswith(" CPU")
    assert engine.info.digest == bundle.digest


def test_it_computes_in_32_bits(bundle: Bundle) -> None:
    """Left alone it takes bfloat16 where the processor can, and these numbers are off by some hundredths."""
    picture = np.random.default_rng(0).integers(0, 256, (320, 320, 3), np.uint8)
    answers = []
    for graphs in (OnnxGraphs(bundle, 1), OpenvinoGraphs(bundle, 1)):
        graphs.open()
        answers.append(graphs.detect(picture).copy())
        graphs.close()
    np.testing.assert_allclose(answers[1][:, 4:], answers[0][:, 4:], atol=1e-3)
    np.testing.assert_allclose(answers[1][:, :4], answers[0][:, :4], atol=0.1)


def test_only_rows_that_may_count_are_decoded(bundle: Bundle, frame: Image) -> None:
    picture, _ = place(frame, (320, 320), True)
    graphs = OpenvinoGraphs(bundle, 1)
    graphs.open()
    every, some = graphs.detect(picture).copy(), graphs.detect(picture, 0.25).copy()
    graphs.close()
    kept = every[every[:, 4] > 0.25]
    assert 4 < len(kept) <= len(some) < len(every) / 2
    np.testing.assert_array_equal(some[some[:, 4] > 0.25], kept)


@pytest.mark.parametrize("first", ["Conv", "Sub"])
def test_the_picture_as_it_is_gives_what_its_planes_give(first: str) -> None:
    """Whether a convolution reads it, whose weights are turned round, or something else, for which the channels are."""
    from onnx import TensorProto, helper, numpy_helper

    draw = np.random.default_rng(2)
    shape = (4, 3, 3, 3) if first == "Conv" else (1, 3, 1, 1)
    weight = numpy_helper.from_array(draw.normal(size=shape).astype(np.float32), "weight")
    graph = helper.make_graph(
        [helper.make_node(first, ["image", "weight"], ["out"])],
        "one",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, (1, 3, 8, 6))],
        [helper.make_tensor_value_info("out", TensorProto.FLOAT, None)],
        [weight],
    )
    content = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)]).SerializeToString()
    openvino = import_openvino()
    core = openvino.Core()
    picture = draw.integers(0, 256, (8, 6, 3), np.uint8)
    planes = np.ascontiguousarray(picture[:, :, ::-1].transpose(2, 0, 1)[None], dtype=np.float32) / 255
    exact = {"INFERENCE_PRECISION_HINT": "f32"}
    expected = core.compile_model(core.read_model(content), "CPU", exact)(planes)[0]
    rewritten = with_levels_for_input(openvino, core.read_model(content))
    np.testing.assert_allclose(core.compile_model(rewritten, "CPU", exact)(picture[None])[0], expected, atol=1e-5)


def quantised_block(seed: int = 0) -> bytes:
    """Two 1x1 convolutions with SiLU side by side, their Concat, and a third; maps and weights in signed 8 bits, as in bundles."""
    from onnx import TensorProto, helper, numpy_helper

    draw = np.random.default_rng(seed)
    nodes, weights = [], []

    def weight(name: str, value: object) -> str:
        weights.append(numpy_helper.from_array(np.asarray(value), name))
        return name

    def through_8_bits(x: str, scale: float) -> str:
        at = [x, weight(f"{x}.scale", np.float32(scale)), weight(f"{x}.zero", np.int8(0))]
        nodes.append(helper.make_node("QuantizeLinear", at, [f"{x}.q"]))
        nodes.append(helper.make_node("DequantizeLinear", [f"{x}.q", *at[1:]], [f"{x}.dq"]))
        return f"{x}.dq"

    def conv_silu(x: str, name: str, channels: int) -> str:
        w = draw.normal(0, 1 / np.sqrt(channels), (16, channels, 1, 1))
        scale = np.abs(w).max((1, 2, 3)) / 127
        at = [
            weight(f"{name}.w", np.round(w / scale[:, None, None, None]).astype(np.int8)),
            weight(f"{name}.scale", scale.astype(np.float32)),
            weight(f"{name}.zero", np.zeros(16, np.int8)),
        ]
        nodes.append(helper.make_node("DequantizeLinear", at, [f"{name}.dq"], axis=0))
        nodes.append(helper.make_node("Conv", [x, f"{name}.dq"], [f"{name}.conv"]))
        nodes.append(helper.make_node("Sigmoid", [f"{name}.conv"], [f"{name}.gate"]))
        nodes.append(helper.make_node("Mul", [f"{name}.conv", f"{name}.gate"], [name]))
        return name

    x = through_8_bits("x", 0.03)
    nodes.append(helper.make_node("Concat", [conv_silu(x, "a", 16), conv_silu(x, "b", 16)], ["ab"], axis=1))
    conv_silu(through_8_bits("ab", 0.03), "y", 32)
    ports = [helper.make_tensor_value_info(n, TensorProto.FLOAT, (1, 16, 20, 20)) for n in ("x", "y")]
    graph = helper.make_graph(nodes, "block", ports[:1], ports[1:], weights)
    return bytes(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9).SerializeToString())


@pytest.mark.skipif(not suits_int8(), reason="on this processor OpenVINO's sums of 8-bit products overflow (no VNNI)")
def test_negative_numbers_survive_a_concat_in_8_bits() -> None:
    """OpenVINO 2026.4 compiles this graph to one whose answers are off by up to 1, unless its maps are made unsigned first."""
    import onnxruntime

    graph, x = quantised_block(), np.random.default_rng(3).normal(0, 1.5, (1, 16, 20, 20)).astype(np.float32)
    expected = onnxruntime.InferenceSession(graph).run(["y"], {"x": x})[0]
    core = import_openvino().Core()
    model = with_unsigned_maps(core.read_model(graph))
    found = core.compile_model(model, "CPU", options(1))({"x": x})["y"]
    assert expected.std() > 0.3
    assert np.abs(found - expected).max() < 0.1  # a number on the edge of two steps may fall to either
    assert np.abs(found - expected).mean() < 1e-3


def test_a_float_graph_is_left_as_it_is(bundle: Bundle) -> None:
    model = import_openvino().Core().read_model(str(bundle.detector_path))
    before = len(model.get_ops())
    assert len(with_unsigned_maps(model).get_ops()) == before


def test_regions_are_cut_as_the_reference_cuts_them(bundle: Bundle, frame: Image) -> None:
    """RoiAlign of every size, also outside the picture and empty; runs of 16 regions and of 8."""
    draw = np.random.default_rng(1)
    picture, _ = place(frame, (320, 320), True)
    centre, size = draw.uniform(-20, 340, (40, 2)), np.exp(draw.uniform(np.log(0.3), np.log(300), (40, 2)))
    rois = np.concatenate((centre - size / 2, centre + size / 2), 1).astype(np.float32)
    rois[7] = (12, 30, 12, 30)
    answers = []
    for graphs in (OnnxGraphs(bundle, 1), OpenvinoGraphs(bundle, 1)):
        graphs.open()
        graphs.detect(picture)
        batches = region_batches(rois, graphs.regions)
        answers.append(np.concatenate([graphs.describe(given)[:count].copy() for given, count in batches]))
        graphs.close()
    assert answers[0].std(0).min() > 0.01
    np.testing.assert_allclose(answers[1], answers[0], atol=1e-4)


@pytest.mark.parametrize(("scale", "cells"), [(0.25, 80), (0.125, 40)])
def test_roi_align_is_the_operators(scale: float, cells: int) -> None:
    import onnx
    import onnxruntime
    from onnx import TensorProto, helper

    draw = np.random.default_rng(5)
    features = draw.normal(size=(6, cells, cells)).astype(np.float32)
    centre, size = draw.uniform(-60, 380, (60, 2)), np.exp(draw.uniform(np.log(0.3), np.log(600), (60, 2)))
    rois = np.concatenate((centre - size / 2, centre + size / 2), 1).astype(np.float32)
    rois[:3] = (0, 0, 320, 320), (-900, -900, -800, -800), (400, 10, 500, 20)  # the whole, and outside
    node = helper.make_node(
        "RoiAlign",
        ["x", "rois", "of"],
        ["y"],
        output_height=24,
        output_width=30,
        spatial_scale=scale,
        sampling_ratio=0,
        mode="avg",
        coordinate_transformation_mode="output_half_pixel",
    )
    ports = [
        helper.make_tensor_value_info("x", TensorProto.FLOAT, (1, 6, cells, cells)),
        helper.make_tensor_value_info("rois", TensorProto.FLOAT, (60, 4)),
        helper.make_tensor_value_info("of", TensorProto.INT64, (60,)),
    ]
    graph = helper.make_graph([node], "pool", ports, [helper.make_tensor_value_info("y", TensorProto.FLOAT, (60, 6, 24, 30))])
    model: onnx.ModelProto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    run = onnxruntime.InferenceSession(model.SerializeToString()).run
    expected = run(None, {"x": features[None], "rois": rois, "of": np.zeros(60, np.int64)})[0]
    found = np.full((60, 24, 30, 6), np.nan, np.float32)
    roi_align(FeatureMap(np.ascontiguousarray(features.transpose(1, 2, 0))[None]), rois, scale, found)
    np.testing.assert_allclose(found.transpose(0, 3, 1, 2), expected, atol=2e-4)
    assert expected[0].std() > 0.1 and not expected[1].any()


def test_a_map_in_8_bits_is_pooled_as_what_it_means() -> None:
    draw = np.random.default_rng(6)
    numbers = draw.integers(0, 256, (1, 20, 30, 5), dtype=np.uint8)
    meant = ((numbers.astype(np.float64) - 128) * 0.05).astype(np.float32)
    boxes_px = np.array([[13.0, 9.0, 170.0, 200.0]], np.float32)  # it reaches over the border
    in_8_bits, in_float = np.empty((2, 1, 24, 30, 5), np.float32)
    roi_align(FeatureMap(numbers, 0.05, 128.0), boxes_px, 0.125, in_8_bits)
    roi_align(FeatureMap(meant), boxes_px, 0.125, in_float)
    np.testing.assert_allclose(in_8_bits, in_float, atol=1e-5)


def test_the_maps_of_the_picture_seen_last_are_described(bundle: Bundle) -> None:
    """The second graph reads the first one's maps where they lie; a picture later they are the new one's."""
    draw = np.random.default_rng(2)
    pictures = draw.integers(0, 256, (2, 320, 320, 3), np.uint8)
    graphs = OpenvinoGraphs(bundle, 1)
    rois = np.tile(np.array([40, 40, 200, 180], np.float32), (graphs.regions, 1))
    graphs.open()
    told = []
    for picture in (*pictures, pictures[0]):
        graphs.detect(picture)
        told.append(graphs.describe(rois).copy())
    graphs.close()
    assert np.abs(told[0] - told[1]).max() > 1e-3
    np.testing.assert_array_equal(told[0], told[2])


def test_an_engine_works_only_inside_with_and_again_after(bundle: Bundle, frame: Image) -> None:
    engine = OpenvinoEngine(bundle, threads=1)
    for _ in range(2):
        with pytest.raises(InferenceError, match="inside `with`"):
            engine.infer(frame)
        with engine:
            engine.infer(frame)
    with pytest.raises(InferenceError, match="OpenVINO is not open"):
        engine.graphs.describe(np.zeros((4, 4), np.float32))


def test_its_own_words_reach_the_reader(bundle: Bundle) -> None:
    with OpenvinoEngine(bundle, threads=1) as engine:
        with pytest.raises(InferenceError, match=r"OpenVINO: Can't set the input tensor.*are incompatible"):
            engine.graphs.detect(np.zeros((64, 64, 3), np.uint8))
        with pytest.raises(InferenceError, match=r"OpenVINO: .*contiguous"):
            engine.graphs.detect(np.zeros((320, 640, 3), np.uint8)[:, ::2])
        for bad in (np.zeros((5, 4), np.float32), np.full((16, 4), np.nan, np.float32)):
            with pytest.raises(InferenceError, match="OpenVINO: regions are 16 x 4 numbers"):
                engine.graphs.describe(bad)


def test_a_graph_that_is_none_is_named_and_nothing_stays_open(bundle: Bundle, tmp_path: Path) -> None:
    files: dict[str, bytes | Path] = {name: bundle.path / name for name in bundle.manifest.files}
    broken = write_bundle(tmp_path / "broken", bundle.manifest, files | {"attributes-4.onnx": b"no graph"})
    engine = OpenvinoEngine(broken, threads=1)
    with pytest.raises(BundleError, match=r"attributes-4\.onnx: OpenVINO cannot load it \(.*Export the bundle again"), engine:
        pass
    with pytest.raises(InferenceError):
        engine.infer(np.zeros((8, 8, 3), np.uint8))
    swapped = write_bundle(tmp_path / "swapped", bundle.manifest, files | {"detector.onnx": bundle.path / "attributes.onnx"})
    with pytest.raises(BundleError, match=r"detector\.onnx: has inputs .* expected \['image'\]"), OpenvinoEngine(swapped, threads=1):
        pass


def test_where_it_is_not_installed_the_way_out_is_told(bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "openvino", None)
    with pytest.raises(RuntimeUnavailableError, match=r"cannot be imported.*pip install 'leukoscope\[openvino\]'"):
        OpenvinoGraphs(bundle).open()

    def missing(name: str) -> str:
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "version", missing)
    with pytest.raises(RuntimeUnavailableError, match=r"not installed\. Run: pip install 'leukoscope\[openvino\]'"):
        open_engine(bundle.path, "openvino")


def test_auto_takes_it_for_int8_where_it_is_installed(bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = {name: bundle.path / name for name in bundle.manifest.files}
    int8 = write_bundle(tmp_path / "int8", bundle.manifest.model_copy(update={"precision": "int8"}), files)
    monkeypatch.setattr("engines.runtime.openvino.library.suits_int8", lambda: True)
    assert runtime_for(bundle, "auto") == "onnx"
    assert runtime_for(int8, "auto") == "openvino"
    assert runtime_for(int8, "onnx") == "onnx"
    with open_engine(int8.path, "auto", threads=1, ungated=True) as engine:
        assert engine.info.runtime.startswith("openvino")
    monkeypatch.setattr("engines.runtime.openvino.library.suits_int8", lambda: False)
    assert runtime_for(int8, "auto") == "onnx"


def test_a_bundle_without_a_passed_gate_is_opened_only_when_told_so(bundle: Bundle, tmp_path: Path) -> None:
    files = {name: bundle.path / name for name in bundle.manifest.files}
    int8 = write_bundle(tmp_path / "int8", bundle.manifest.model_copy(update={"precision": "int8"}), files)
    with pytest.raises(BundleError, match=r"never compared with the float engine.*attridet gate .*engine\.ungated: true"):
        open_engine(int8.path)
    with open_engine(int8.path, threads=1, ungated=True) as engine:
        assert engine.bundle.manifest.gate_fault is not None
    manifest = json.loads((int8.path / "manifest.json").read_text())
    manifest["gate"] = {
        "passed": False,
        "fault": "mAP50-95 fell by 3.2 points",
        "reference": bundle.digest,
        "runtime": "openvino",
        "data": "pbc",
        "split": "val",
        "images": 10,
        "cells": 10,
        "map_loss_points": 3.2,
        "f1_loss_points": 0.0,
        "shift_px": 0.1,
    }
    (int8.path / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(BundleError, match=r"did not pass its gate: mAP50-95 fell by 3\.2 points"):
        open_engine(int8.path)
    manifest["gate"] |= {"passed": True, "fault": ""}
    (int8.path / "manifest.json").write_text(json.dumps(manifest))
    assert open_engine(int8.path).info.precision == "int8"


@pytest.mark.parametrize(
    ("flags", "suited"),
    [("flags\t\t: fpu avx2 avx512f\n", False), ("flags\t\t: fpu avx512_vnni\n", True), ("Features\t: asimd\n", True)],
)
def test_int8_is_left_to_another_runtime_where_the_processors_sums_overflow(
    monkeypatch: pytest.MonkeyPatch, flags: str, suited: bool
) -> None:
    monkeypatch.setattr("engines.runtime.openvino.library.version", lambda: "2026.4")
    monkeypatch.setattr("pathlib.Path.read_text", lambda *_, **__: flags)
    assert suits_int8() is suited


def test_engines_that_close_in_the_order_they_opened_leave_the_process_able_to_take_signals(bundle: Bundle) -> None:
    """The second of two plugins once put back a freed stack for signals: the end of any child process then ended this one."""
    code = """if True:
        import gc, signal, subprocess, sys
        from engines.runtime.factory import open_engine

        opened = [open_engine(sys.argv[1], "openvino", 1, ungated=True) for _ in range(2)]
        for engine in opened:
            engine.__enter__()
        while opened:
            opened.pop(0).__exit__(None, None, None)
        del engine
        gc.collect()
        signal.signal(signal.SIGCHLD, lambda *_: None)
        subprocess.run([sys.executable, "-c", ""], check=True)
    """
    assert subprocess.run([sys.executable, "-c", code, str(bundle.path)], check=False).returncode == 0
