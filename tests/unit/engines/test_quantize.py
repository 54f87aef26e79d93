"""From float graphs to INT8: the rules that TensorRT's parser sets, what stays float, FP16 for the rest, and the command around it."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import cv2
import numpy as np
import onnx
import pytest
from onnx import TensorProto, numpy_helper
from told import told_split

from calibration.int8.half import check_reach, in_half
from calibration.int8.qdq import FLOAT_BLOCKS, Method, Ranges, block_of, blocks_of, measure, quantise
from engines.bundle import Bundle, resolve
from engines.cli import main
from engines.detections import Float32, Image
from engines.errors import BundleError
from engines.preprocess import prepare
from engines.runtime.factory import open_engine
from engines.runtime.graphs import IMAGE, P2, P3, ROWS
from engines.runtime.onnx import open_session, session_options


@pytest.fixture(scope="module")
def shipped() -> Bundle:
    """The shipped network and not one of random weights, which makes noise of the least rounding."""
    return Bundle.open(resolve("zoo:attridet-n"))


@pytest.fixture(scope="module")
def picture(shipped: Bundle) -> Image:
    golden = shipped.golden()
    assert golden is not None
    return golden[0]


@pytest.fixture(scope="module")
def graph(shipped: Bundle) -> bytes:
    return shipped.detector_path.read_bytes()


@pytest.fixture(scope="module")
def feed(shipped: Bundle, picture: Image) -> Mapping[str, Float32]:
    takes = shipped.manifest.input
    return {IMAGE: prepare(picture, takes.hw, takes.scale_up)[0]}


@pytest.fixture(scope="module")
def ranges(graph: bytes, feed: Mapping[str, Float32]) -> Ranges:
    return measure(graph, [feed])


@pytest.fixture(scope="module")
def quantised(graph: bytes, ranges: Ranges) -> bytes:
    return quantise(graph, ranges)


@pytest.fixture(scope="module")
def expected(graph: bytes, feed: Mapping[str, Float32]) -> Float32:
    return rows_of(graph, feed)


def nodes_of(graph: bytes) -> dict[str, onnx.NodeProto]:
    return {node.name: node for node in onnx.load_model_from_string(graph).graph.node}


def quantised_convolutions(graph: bytes) -> set[str]:
    """Names of the convolutions whose weights come out of a DequantizeLinear."""
    nodes = nodes_of(graph)
    made = {name for node in nodes.values() if node.op_type == "DequantizeLinear" for name in node.output}
    return {node.name for node in nodes.values() if node.op_type == "Conv" and node.input[1] in made}


def rows_of(graph: bytes, feed: Mapping[str, Float32]) -> Float32:
    rows: Float32 = open_session(graph, session_options(1)).run([ROWS], dict(feed))[0][0]
    return rows


def test_what_a_name_says_of_its_block() -> None:
    assert [block_of(n) for n in ("model.2.m.0.cv1.conv", "decode.p3.xy", "attribute_head.conv1", "image_QuantizeLinear")] == [
        "model.2",
        "decode",
        "attribute_head.conv1",
        "image_QuantizeLinear",
    ]


def test_quantisers_are_explicit_symmetric_signed_and_by_channel(quantised: bytes) -> None:
    model = onnx.load_model_from_string(quantised)
    weights = {w.name: w for w in model.graph.initializer}
    pairs = [n for n in model.graph.node if n.op_type in ("QuantizeLinear", "DequantizeLinear")]
    assert pairs and not any(w.data_type in (TensorProto.UINT8, TensorProto.INT32) for w in weights.values())
    for node in pairs:
        zero = numpy_helper.to_array(weights[node.input[2]])
        assert zero.dtype == np.int8 and not zero.any(), node.name
    kernels = [n for n in pairs if n.op_type == "DequantizeLinear" and n.input[0] in weights]
    for node in kernels:
        values, scales = (numpy_helper.to_array(weights[name]) for name in node.input[:2])
        assert values.dtype == np.int8 and values.ndim == 4 and scales.shape == values.shape[:1], node.name
    convolutions = [n for n in model.graph.node if n.op_type == "Conv"]
    assert len(kernels) == len(convolutions) - 3
    assert all(weights[n.input[2]].data_type == TensorProto.FLOAT for n in convolutions)
    behind = {name: n.op_type for n in model.graph.node for name in n.input}
    assert not any(behind[n.output[0]] == "QuantizeLinear" for n in convolutions)


def test_the_detection_layer_and_what_follows_stay_float(graph: bytes, quantised: bytes) -> None:
    done = quantised_convolutions(quantised)
    assert {block_of(name) for name in done} == set(blocks_of(graph))
    assert not {block_of(name) for name in done} & set(FLOAT_BLOCKS)


def test_blocks_can_be_left_in_float_or_quantised_alone(graph: bytes, ranges: Ranges) -> None:
    every = set(blocks_of(graph))
    assert {block_of(n) for n in quantised_convolutions(quantise(graph, ranges, ["model.2", "model.9"]))} == every - {
        "model.2",
        "model.9",
    }
    assert {block_of(n) for n in quantised_convolutions(quantise(graph, ranges, only=["model.4"]))} == {"model.4"}
    assert quantise(graph, ranges, every) == graph


@pytest.mark.parametrize("method", ["minmax", "percentile"])
def test_the_shipped_network_says_nearly_the_same(
    graph: bytes, quantised: bytes, feed: Mapping[str, Float32], expected: Float32, method: Method
) -> None:
    made = quantised if method == "minmax" else quantise(graph, measure(graph, [feed], method))
    found = rows_of(made, feed)
    assert 0.99 < np.corrcoef(expected[:, 4], found[:, 4])[0, 1] < 1
    cells = expected[:, 4] > 0.5
    assert np.abs(expected - found)[cells, :4].mean() < 2


def test_ranges_need_a_frame(graph: bytes) -> None:
    with pytest.raises(ValueError, match="at least one"):
        measure(graph, [])


def test_half_keeps_names_types_and_the_decode(quantised: bytes, feed: Mapping[str, Float32]) -> None:
    half = in_half(quantised)
    before, after = (onnx.load_model_from_string(g).graph for g in (quantised, half))
    for old, new in ((before.input, after.input), (before.output, after.output)):
        assert [(v.name, v.type) for v in old] == [(v.name, v.type) for v in new]
    inferred = onnx.shape_inference.infer_shapes(onnx.load_model_from_string(half)).graph
    types = {v.name: v.type.tensor_type.elem_type for v in (*inferred.value_info, *inferred.output)}
    dequantised = {name for node in inferred.node if node.op_type == "DequantizeLinear" for name in node.output}
    for node in inferred.node:
        exact = block_of(node.name) in FLOAT_BLOCKS or node.op_type == "DequantizeLinear" or dequantised & set(node.input)
        for name in node.output:
            wanted = {TensorProto.FLOAT} if exact else {TensorProto.FLOAT16}
            if node.op_type == "QuantizeLinear":
                wanted = {TensorProto.INT8}
            if node.op_type != "Cast":
                assert types[name] in wanted, (node.name, name)
    one, other = rows_of(quantised, feed), rows_of(half, feed)
    assert np.corrcoef(one[:, 4], other[:, 4])[0, 1] > 0.99


def test_scales_stay_float32_and_what_is_quantised_reads_them_directly(quantised: bytes) -> None:
    """Scales in FP16 are what TensorRT 10.16 builds no plan of on Orin (NVIDIA/TensorRT 4832), and opset 19 is what allows them."""
    model = onnx.load_model_from_string(in_half(quantised))
    assert model.opset_import[0].version == onnx.load_model_from_string(quantised).opset_import[0].version == 17
    weights = {w.name: w.data_type for w in model.graph.initializer}
    pairs = [node for node in model.graph.node if node.op_type in ("QuantizeLinear", "DequantizeLinear")]
    assert len(pairs) > 100 and {weights[node.input[1]] for node in pairs} == {TensorProto.FLOAT}
    assert quantised_convolutions(in_half(quantised)) == quantised_convolutions(quantised)  # no cast between the two


def changed(graph: bytes, name: str, change: Callable[[Float32], Float32]) -> bytes:
    """The graph with another constant."""
    model = onnx.load_model_from_string(graph)
    weight = next(w for w in model.graph.initializer if w.name == name)
    weight.CopyFrom(numpy_helper.from_array(change(numpy_helper.to_array(weight)).astype(np.float32), name))
    made: bytes = model.SerializeToString()
    return made


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda w: np.where(w == w.max(), 7e4, w), "reaches 70000, and FP16 ends at 65504"),
        (lambda w: np.where(w == w.max(), np.nan, w), "reaches nan, and FP16 ends at 65504"),
        (lambda w: w * 1e-6, r"as small as .*, and FP16 loses what is below 6.1e-05"),
    ],
)
def test_a_weight_that_fp16_does_not_hold_is_an_error_that_names_the_layer(
    graph: bytes, change: Callable[[Float32], Float32], words: str
) -> None:
    layer = next(node for node in nodes_of(graph).values() if node.op_type == "Conv" and block_of(node.name) == "model.3")
    other = changed(graph, layer.input[1], change)
    with pytest.raises(BundleError, match=rf"Conv {re.escape(layer.name)}: .*{words}.*block model\.3 belongs in float32"):
        in_half(other)
    in_half(other, ["model.3"])  # what the message advises helps


def test_a_picture_that_takes_a_layer_beyond_fp16_is_an_error_that_names_it(graph: bytes, feed: Mapping[str, Float32]) -> None:
    assert 1 < check_reach(graph, [feed]) < 100
    layer = next(node for node in nodes_of(graph).values() if node.op_type == "Conv" and block_of(node.name) == "model.3")
    hot = changed(graph, layer.input[1], lambda w: w * 5e4 / np.abs(w).max())
    in_half(hot)  # each weight is held: only pictures tell
    with pytest.raises(
        BundleError, match=rf"Conv {re.escape(layer.name)}: .* reaches .*, and FP16 ends at 65504.*block model\.3 belongs in float32"
    ):
        check_reach(hot, [feed])


def test_the_attribute_graph_is_halved_but_for_regions_and_answer(shipped: Bundle) -> None:
    path, regions = shipped.attribute_graph()
    half = in_half(path.read_bytes())
    height, width = shipped.manifest.input.hw
    channels = [v.type.tensor_type.shape.dim[1].dim_value for v in onnx.load_model_from_string(half).graph.input[:2]]
    rng = np.random.default_rng(0)
    inputs = {
        P2: rng.normal(size=(1, channels[0], height // 4, width // 4)).astype(np.float32),
        P3: rng.normal(size=(1, channels[1], height // 8, width // 8)).astype(np.float32),
        "rois": np.tile(np.array([[20.3, 31.7, 90.1, 88.8]], np.float32), (regions, 1)),
    }
    one, other = (open_session(g, session_options(1)).run(None, inputs)[0] for g in (path.read_bytes(), half))
    np.testing.assert_allclose(one, other, atol=0.02)
    assert nodes_of(half)["roi_align.p2"].output[0] in {n.input[0] for n in nodes_of(half).values() if n.op_type == "Cast"}


def quantize(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> int:
    """The exit code of one call of the command."""
    monkeypatch.setattr(sys, "argv", ["attridet", "quantize", *map(str, arguments)])
    with pytest.raises(SystemExit) as end:
        main()
    return int(end.value.code or 0)


@pytest.fixture(scope="module")
def film(shipped: Bundle, picture: Image, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return told_split(tmp_path_factory.mktemp("data") / "film", shipped, picture)


@pytest.fixture(scope="module")
def frames(picture: Image, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Seventeen recorded frames: parts of a field, each its own picture."""
    folder = tmp_path_factory.mktemp("frames")
    for number in range(17):
        part = picture[5 + number * 5 :, number * 7 :][:, :: 1 - 2 * (number % 2)]
        cv2.imwrite(str(folder / f"{number:02}.png"), np.ascontiguousarray(part))
    return folder


WIDE = ("--map-points", 100, "--f1-points", 100, "--shift-px", 50)


def test_the_command_writes_a_bundle_with_its_provenance(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], shipped: Bundle, film: Path, frames: Path, tmp_path: Path
) -> None:
    card = tmp_path / "card.md"
    card.write_text("# INT8\n")
    out = tmp_path / "int8"
    words = ("--frames", frames, "--count", 16, "--data", film, "--runtime", "onnx", "--readme", card, *WIDE)
    assert quantize(monkeypatch, shipped.path, out, *words) == 3  # passed, but the film has no blast to judge by: amber
    told = capsys.readouterr().out
    made = Bundle.open(out)
    record, gate = made.manifest.quantization, made.manifest.gate
    assert record is not None and gate is not None
    assert gate.passed and made.manifest.gate_fault is None
    # Limits are wide, so the gate itself takes nothing back; the golden picture, which must be answered from 16 frames' scales, may.
    taken_back = re.findall(r"golden picture is not answered as stored: [^:]+\): (\S+) goes back", re.sub(r"\s+", " ", told))
    assert set(record.float_blocks) == set(taken_back)
    assert len(record.float_blocks) <= 6
    assert made.manifest.precision == "int8" and record.source == shipped.digest and len(record.frames) == 16
    assert gate.reference == shipped.digest and gate.images == 1
    assert (out / "README.md").read_text() == "# INT8\n" and "digest" in told
    assert made.detector_path.stat().st_size < 0.4 * shipped.detector_path.stat().st_size
    with open_engine(out, "onnx", 1) as engine:  # the golden picture is answered
        assert engine.info.precision == "int8"
    assert quantize(monkeypatch, shipped.path, out, *words) == 2  # it is there already
    assert "--replace" in capsys.readouterr().err


def test_blocks_go_back_to_float_until_the_gate_passes(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], shipped: Bundle, film: Path, frames: Path, tmp_path: Path
) -> None:
    blocks = blocks_of(shipped.detector_path.read_bytes())
    # All but two stay float, and nothing may be lost: the two are judged, and those that cost something are taken back.
    in_float = [word for block in blocks if block not in ("model.0", "model.2") for word in ("--float", block)]
    head = [word for i in (1, 2, 3) for word in ("--float", f"attribute_head.conv{i}")]
    limits = ("--map-points", 0, "--f1-points", 0, "--shift-px", 0)
    out = tmp_path / "int8"
    code = quantize(monkeypatch, shipped.path, out, "--frames", frames, "--data", film, "--runtime", "onnx", *in_float, *head, *limits)
    told = capsys.readouterr().out
    manifest = Bundle.open(out).manifest
    assert manifest.quantization is not None and manifest.gate is not None
    assert "goes back to float" in told and "alone in INT8" in told
    assert {"model.0", "model.2"} & set(manifest.quantization.float_blocks)
    assert set(manifest.quantization.sensitivity) >= {"model.0", "model.2"}
    assert (code == 3) == manifest.gate.passed  # amber: the film has no blast to judge by
    if code == 1:
        with pytest.raises(BundleError, match="gate"):
            open_engine(out)


def test_a_corrupt_frame_stops_it_by_name(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], shipped: Bundle, film: Path, frames: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "frames"
    folder.mkdir()
    for path in frames.iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    (folder / "07.png").write_bytes((frames / "07.png").read_bytes()[:2000])
    assert quantize(monkeypatch, shipped.path, tmp_path / "out", "--frames", folder, "--data", film) == 2
    assert "07.png" in capsys.readouterr().err and not (tmp_path / "out").exists()


def test_a_picture_that_judges_is_refused_as_frame(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], shipped: Bundle, film: Path, frames: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "frames"
    folder.mkdir()
    for path in (*frames.iterdir(), film / "Images/val/0.png"):
        (folder / f"a{path.name}").write_bytes(path.read_bytes())
    assert quantize(monkeypatch, shipped.path, tmp_path / "out", "--frames", folder, "--data", film) == 2
    assert "a0.png" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "said"),
    [(("--method", "guess"), "minmax"), (("--float", "model.99"), "model.23"), (("--readme", "nowhere.md"), "nowhere.md")],
)
def test_what_cannot_be_done_is_said(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    shipped: Bundle,
    film: Path,
    frames: Path,
    tmp_path: Path,
    words: tuple[str, str],
    said: str,
) -> None:
    assert quantize(monkeypatch, shipped.path, tmp_path / "out", "--frames", frames, "--data", film, *words) == 2
    assert said in capsys.readouterr().err
