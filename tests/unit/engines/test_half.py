"""`attridet half`: a float engine folder in FP16, refused where FP16 does not reach, and judged with FP16's roundings."""

from __future__ import annotations

import importlib.metadata
from pathlib import Path

import numpy as np
import onnx
import pytest
from commands import Called, attridet
from onnx import TensorProto, helper, numpy_helper
from told import told_split

from calibration.int8.half import in_half
from engines.bundle import Bundle, resolve, write_bundle
from engines.detections import Float32
from engines.errors import BundleError, RuntimeUnavailableError
from engines.files import sha256_of
from engines.gate.measure import check_comparable
from engines.gate.rounded import RoundedEngine, open_judged, rounded
from engines.manifest import Manifest
from engines.preprocess import prepare
from engines.runtime.factory import open_engine
from engines.runtime.onnx import open_session, session_options

FLOAT, HALF = "zoo:attridet-n", "zoo:attridet-n-fp16"


@pytest.fixture(scope="module")
def source() -> Bundle:
    return Bundle.open(resolve(FLOAT))


@pytest.fixture(scope="module")
def film(source: Bundle, tmp_path_factory: pytest.TempPathFactory) -> Path:
    golden = source.golden()
    assert golden is not None
    return told_split(tmp_path_factory.mktemp("data") / "film", source, golden[0])


def ran(graph: bytes, **feed: Float32) -> list[Float32]:
    answer: list[Float32] = open_session(graph, session_options(1)).run(None, feed)
    return answer


# ---- the roundings


def test_each_fp16_tensor_is_rounded_where_it_is_made() -> None:
    """Two products in FP16, against numpy's own FP16."""
    weight = np.array([1.0009766, 0.3333333, 2.9985], np.float16)
    nodes = [
        helper.make_node("Cast", ["x"], ["x16"], to=TensorProto.FLOAT16),
        helper.make_node("Mul", ["x16", "w"], ["once"]),
        helper.make_node("Mul", ["once", "w"], ["twice"]),
        helper.make_node("Cast", ["twice"], ["y"], to=TensorProto.FLOAT),
    ]
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [3]) for name in "xy"]
    graph = helper.make_graph(nodes, "two", ends[:1], ends[1:], [numpy_helper.from_array(weight, "w")])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    x = np.array([0.1234567, 7.7777777, 1234.5678], np.float32)
    wanted = (x.astype(np.float16) * weight * weight).astype(np.float32)
    (found,) = ran(rounded(model.SerializeToString()), x=x)
    np.testing.assert_array_equal(found, wanted)
    assert not np.array_equal(wanted, x.astype(np.float16).astype(np.float32) * weight.astype(np.float32) ** 2)


def test_the_shipped_detector_loses_more_with_its_roundings_than_by_its_weights_alone(source: Bundle) -> None:
    """What ONNX Runtime answers by itself would flatter a GPU."""
    golden, takes = source.golden(), source.manifest.input
    assert golden is not None
    image = prepare(golden[0], takes.hw, takes.scale_up)[0]
    half = in_half(source.detector_path.read_bytes())
    wanted, widened, round_each = (ran(g, image=image)[0][0] for g in (source.detector_path.read_bytes(), half, rounded(half)))
    cells = wanted[:, 4] > 0.15
    lost = [float(np.abs(rows - wanted)[cells, :4].max()) for rows in (widened, round_each)]
    assert 0 < lost[0] < lost[1] < 0.5
    assert np.abs(round_each - wanted)[cells, 4:].max() < 0.02
    assert not any(w.data_type == TensorProto.FLOAT16 for w in onnx.load_model_from_string(rounded(half)).graph.initializer)


def test_a_graph_whose_ends_are_fp16_is_no_engines() -> None:
    end = [helper.make_tensor_value_info(name, TensorProto.FLOAT16, [1]) for name in "xy"]
    graph = helper.make_graph([helper.make_node("Neg", ["x"], ["y"])], "ends", end[:1], end[1:])
    with pytest.raises(ValueError, match="an input or output is FP16"):
        rounded(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8).SerializeToString())


# ---- what ships


def test_the_shipped_bundle_is_of_the_shipped_float_one_and_passed(source: Bundle) -> None:
    made = Bundle.open(resolve(HALF))
    manifest, record = made.manifest, made.manifest.quantization
    assert record is not None and record.half and record.source == source.digest and not record.float_blocks
    assert manifest.gate is not None and manifest.gate.passed and not manifest.gate.caution and manifest.gate_fault is None
    assert manifest.gate.subject == manifest.subject and "rounding to FP16" in manifest.gate.runtime
    assert manifest.training == source.manifest.training and manifest.licence == source.manifest.licence
    look, its = source.manifest.second_look, manifest.second_look
    assert look is not None and its is not None and its.open_cells is None
    for name in (look.graph, look.layer or ""):  # layers of a site are bound to this very file
        assert manifest.files[name] == source.manifest.files[name]
    assert "weights.safetensors" not in manifest.files
    for name in (manifest.detector_graph, *(graph.file for graph in manifest.attribute_graphs)):
        assert (made.path / name).read_bytes() == in_half((source.path / name).read_bytes())
    size = sum(path.stat().st_size for path in made.path.iterdir())
    assert size < 18e6, "the package holds it: docs/box.md has its limits"
    assert "What it was trained on" in (made.path / "README.md").read_text()


def test_the_golden_picture_is_answered_with_the_roundings_and_without() -> None:
    for engine in (open_engine(HALF, "onnx", 1, verify=True), open_judged(HALF, "onnx", 1)):
        with engine:
            assert engine.golden_fault() is None and engine.info.precision == "fp16"
    assert isinstance(engine, RoundedEngine) and engine.info.runtime.endswith("CPU, rounding to FP16")
    assert not isinstance(open_judged(FLOAT, "onnx", 1), RoundedEngine)


def test_openvino_is_told_to_take_the_float_one() -> None:
    with pytest.raises(RuntimeUnavailableError, match=r"FP16, which is for a GPU. For OpenVINO take the bundle that it was made from"):
        open_engine(HALF, "openvino")


# ---- the command


def half(bundle: object, out: Path, data: Path, *words: object) -> Called:
    return attridet("half", bundle, out, "--data", data, "--threads", 1, *words)


def test_the_command_writes_a_bundle_with_its_provenance(source: Bundle, film: Path, tmp_path: Path) -> None:
    (tmp_path / "card.md").write_text("# FP16\n")
    out = tmp_path / "fp16"
    done = half(source.path, out, film, "--readme", tmp_path / "card.md", "--page", tmp_path / "page")
    assert done.code == 3, done  # passed, but the picture has no blast to judge by: amber
    assert "boxes moved, median px" in done.out and "its layers reach" in done.out
    made = Bundle.open(out)
    record, gate = made.manifest.quantization, made.manifest.gate
    assert record is not None and gate is not None and made.manifest.precision == "fp16"
    assert [frame.sha256 for frame in record.frames] == [sha256_of(film / "Images/val/0.png")]
    assert gate.passed and gate.reference == source.digest and gate.precision == "fp16" and gate.subject == made.manifest.subject
    assert gate.runtime == f"onnxruntime {importlib.metadata.version('onnxruntime')} CPU, rounding to FP16"
    assert (out / "README.md").read_text() == "# FP16\n" and (tmp_path / "page/index.html").is_file()
    made.check_graphs()
    again = half(source.path, out, film)
    assert again.code == 2 and "exists already" in again.err and Bundle.open(out).digest == made.digest

    judged = attridet("gate", out, "--reference", source.path, "--data", film, "--threads", 1)
    assert judged.code == 3 and "The candidate ran on onnxruntime" in judged.out and "rounding to FP16" in judged.out


def test_what_fails_its_gate_is_written_and_refused(source: Bundle, film: Path, tmp_path: Path) -> None:
    done = half(source.path, tmp_path / "fp16", film, "--shift-px", 0)
    assert done.code == 1 and "Not passed: paired boxes move by" in done.out
    with pytest.raises(BundleError, match="did not pass its gate"):
        open_engine(tmp_path / "fp16")


def altered(source: Bundle, folder: Path, largest: float) -> Bundle:
    """The bundle with one convolution of model.3 whose largest weight is that; the others grow with it, or stay if beyond FP16."""
    model = onnx.load(source.detector_path)
    layer = next(node for node in model.graph.node if node.op_type == "Conv" and node.name.startswith("model.3."))
    weight = next(w for w in model.graph.initializer if w.name == layer.input[1])
    values = numpy_helper.to_array(weight)
    scaled = np.where(values == values.max(), largest, values) if largest > 65504 else values * largest / np.abs(values).max()
    weight.CopyFrom(numpy_helper.from_array(scaled.astype(np.float32), weight.name))
    files: dict[str, bytes | Path] = {name: source.path / name for name in source.manifest.files if (source.path / name).is_file()}
    return write_bundle(folder, source.manifest, files | {source.manifest.detector_graph: model.SerializeToString()})


@pytest.mark.parametrize("largest", [7e4, 5e4], ids=["a weight", "a picture"])
def test_what_fp16_does_not_reach_is_refused_and_named_with_the_next_step(
    source: Bundle, film: Path, tmp_path: Path, largest: float
) -> None:
    done = half(altered(source, tmp_path / "hot", largest).path, tmp_path / "fp16", film)
    assert done.code == 2 and "Conv model.3." in done.err and "FP16 ends at 65504" in done.err
    assert "`attridet half --float model.3`" in done.err and not (tmp_path / "fp16").exists()


def test_what_cannot_be_done_is_said_before_the_work(source: Bundle, film: Path, tmp_path: Path) -> None:
    for words, said in (
        ((source.path, tmp_path / "out", film, "--float", "model.24"), "--float model.24: no such block; there are model.0, "),
        (("zoo:attridet-n-int8", tmp_path / "out", film), "is int8 already. Name the float bundle"),
        ((source.path, source.path, film, "--replace"), "is the float bundle itself"),
        ((source.path, tmp_path / "out", film, "--readme", "nowhere.md"), "nowhere.md: no such file"),
        ((source.path, tmp_path / "out", film, "--runtime", "openvino"), "there are onnx"),
        ((source.path, tmp_path / "out", f"{film}:train"), "no Images/train"),
    ):
        done = half(*words)
        assert done.code == 2 and said in done.err, done
    assert not (tmp_path / "out").exists()


def test_a_bundle_that_says_fp16_over_the_references_own_graph_is_not_compared(source: Bundle, tmp_path: Path) -> None:
    files: dict[str, bytes | Path] = {name: source.path / name for name in source.manifest.files if (source.path / name).is_file()}
    said = write_bundle(tmp_path / "said", Manifest.model_validate({**source.manifest.model_dump(), "precision": "fp16"}), files)
    with pytest.raises(BundleError, match=r"says fp16, but its detector is the reference's own. Make it first: attridet half"):
        check_comparable(open_engine(source.path), open_engine(said.path, ungated=True))
    check_comparable(open_engine(source.path), open_judged(HALF, "onnx", 1))
