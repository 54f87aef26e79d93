"""Fine-tuning with the roundings of 8 bits in the way: torch computes what the Q/DQ file says, gradients pass, the student learns."""

from __future__ import annotations

import numpy as np
import onnx
import pytest

from calibration.int8.qdq import measure, quantise
from engines.bundle import Bundle, resolve
from engines.errors import DataError
from engines.preprocess import prepare
from engines.runtime.graphs import IMAGE, P2, P3
from engines.runtime.onnx import open_session, session_options

torch = pytest.importorskip("torch", reason="needs the extra train")

from calibration.int8.finetune import LEVELS, Lesson, finetune  # noqa: E402  # torch first
from calibration.int8.straight_through import StraightThrough, in_8_bits, weight_in_8_bits  # noqa: E402


@pytest.fixture(scope="module")
def shipped() -> Bundle:
    return Bundle.open(resolve("zoo:attridet-n"))


@pytest.fixture(scope="module")
def planes(shipped: Bundle) -> np.ndarray:
    golden = shipped.golden()
    assert golden is not None
    return prepare(golden[0], shipped.manifest.input.hw, True)[0]


@pytest.fixture(scope="module")
def graphs(shipped: Bundle, planes: np.ndarray) -> tuple[bytes, bytes]:
    """The float detector, and all of its blocks in 8 bits."""
    graph = shipped.detector_path.read_bytes()
    return graph, quantise(graph, measure(graph, [{IMAGE: planes}], "minmax"))


def onnx_says(graph: bytes, planes: np.ndarray, names: tuple[str, ...]) -> list[np.ndarray]:
    model = onnx.load_model_from_string(graph)
    known = {output.name for output in model.graph.output}
    model.graph.output.extend(
        onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None) for name in names if name not in known
    )
    told: list[np.ndarray] = open_session(model.SerializeToString(), session_options(1)).run(list(names), {IMAGE: planes})
    return told


def test_a_rounded_number_is_the_operators(graphs: tuple[bytes, bytes]) -> None:
    """Half to even, clipped at -128 and 127, as QuantizeLinear and DequantizeLinear do it."""
    scale = 0.05
    x = np.concatenate((np.linspace(-9, 9, 4001), [0.025, 0.075, -0.025, 6.4, -6.45])).astype(np.float32)
    nodes = [
        onnx.helper.make_node("QuantizeLinear", ["x", "s", "z"], ["q"]),
        onnx.helper.make_node("DequantizeLinear", ["q", "s", "z"], ["y"]),
    ]
    ports = [onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, (len(x),)) for name in "xy"]
    constants = [onnx.numpy_helper.from_array(np.float32(scale), "s"), onnx.numpy_helper.from_array(np.int8(0), "z")]
    model = onnx.helper.make_model(
        onnx.helper.make_graph(nodes, "pair", ports[:1], ports[1:], constants),
        opset_imports=[onnx.helper.make_opsetid("", 17)],
        ir_version=8,
    )
    expected = open_session(model.SerializeToString(), session_options(1)).run(None, {"x": x})[0]
    given = torch.from_numpy(x).requires_grad_()
    found = in_8_bits(given, torch.tensor(scale, dtype=torch.float32))
    np.testing.assert_allclose(found.detach().numpy(), expected, atol=1e-6)
    found.sum().backward()
    assert given.grad is not None
    np.testing.assert_array_equal(given.grad.numpy(), ((x >= np.float32(-6.4)) & (x <= np.float32(6.35))).astype(np.float32))


def test_weights_are_rounded_as_the_quantiser_stores_them(graphs: tuple[bytes, bytes]) -> None:
    of_float, of_8_bits = (onnx.load_model_from_string(graph).graph for graph in graphs)
    values = {w.name: onnx.numpy_helper.to_array(w) for w in (*of_float.initializer, *of_8_bits.initializer)}
    name = "model.2.cv1.conv.weight"
    stored = values[f"{name}_quantized"] * values[f"{name}_scale"][:, None, None, None]
    np.testing.assert_allclose(weight_in_8_bits(torch.from_numpy(values[name].copy())).numpy(), stored, atol=1e-6)


def test_torch_computes_what_the_float_file_says(graphs: tuple[bytes, bytes], planes: np.ndarray) -> None:
    names = (*LEVELS, P2, P3)
    with torch.no_grad():
        found = StraightThrough(graphs[0], graphs[0]).run({IMAGE: torch.from_numpy(planes)}, names)
    for name, wanted in zip(names, onnx_says(graphs[0], planes, names), strict=True):
        np.testing.assert_allclose(found[name].numpy(), wanted, atol=1e-3)


def test_torch_computes_what_the_file_in_8_bits_says(graphs: tuple[bytes, bytes], planes: np.ndarray) -> None:
    """To the number, but for those on the edge of two steps, which may fall to either; behind the first blocks their steps spread."""
    first = "model.0.silu.out", P2
    with torch.no_grad():
        found, in_float = (
            StraightThrough(graphs[0], graph).run({IMAGE: torch.from_numpy(planes)}, first) for graph in (graphs[1], graphs[0])
        )
    for name, wanted in zip(first, onnx_says(graphs[1], planes, first), strict=True):
        off = np.abs(found[name].numpy() - wanted)
        assert (off < 1e-4).mean() > 0.99, name
        assert off.mean() < 0.02 * np.abs(in_float[name].numpy() - wanted).mean(), name


def test_the_student_learns_to_say_what_the_teacher_says(shipped: Bundle, planes: np.ndarray, graphs: tuple[bytes, bytes]) -> None:
    path, _ = shipped.attribute_graph()
    head = {path.name: path.read_bytes()}
    small = Lesson(np.ascontiguousarray(planes[:, :, 96:256, 96:256]), np.array([[20, 20, 100, 110]], np.float32))
    steps = list[int]()
    tuned = finetune((graphs[0], head), (graphs[1], head), [small], 60, 1, lambda done, of: steps.append(done))
    assert steps == list(range(1, 61)) and np.isfinite(tuned.loss).all()
    shown = {IMAGE: torch.from_numpy(small.planes)}
    with torch.no_grad():
        wanted, untaught, taught = (
            StraightThrough(weights, steps_of).run(shown, LEVELS)
            for weights, steps_of in ((graphs[0], graphs[0]), (graphs[0], graphs[1]), (tuned.detector, graphs[1]))
        )
    off = [sum(float((found[name] - wanted[name]).abs().mean()) for name in LEVELS) for found in (untaught, taught)]
    assert off[1] < off[0]
    before, after = (onnx.load_model_from_string(graph).graph for graph in (graphs[0], tuned.detector))
    assert [n.name for n in before.node] == [n.name for n in after.node]
    moved = {
        old.name
        for old, new in zip(before.initializer, after.initializer, strict=True)
        if (onnx.numpy_helper.to_array(old) != onnx.numpy_helper.to_array(new)).any()
    }
    assert "model.0.conv.weight" in moved and all(name.endswith((".weight", ".bias")) for name in moved)
    assert not any(name.startswith("decode") for name in moved)


def test_nothing_to_learn_on_is_said() -> None:
    with pytest.raises(DataError, match="--finetune needs pictures"):
        finetune((b"", {"a": b""}), (b"", {"a": b""}), [], 1, 1, lambda *_: None)
