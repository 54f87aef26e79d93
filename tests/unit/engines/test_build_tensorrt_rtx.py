"""The shipped graphs in NVIDIA's own parser and compiler: TensorRT for RTX builds them on a processor. It cannot run them there."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from calibration.int8.half import in_half
from calibration.int8.qdq import measure, quantise
from engines.build import MIB, GraphRefusedError, build_plan
from engines.build_check import behind_roi_align
from engines.build_plans import check
from engines.bundle import ZOO, Bundle, zoo_names
from engines.cli import main
from engines.errors import BuildError, RuntimeUnavailableError
from engines.runtime.onnx import open_session, session_options
from engines.runtime.tensorrt.driver import Driver
from engines.runtime.tensorrt.library import Library, load

if importlib.util.find_spec("tensorrt_rtx") is None:
    pytest.skip("needs tensorrt_rtx (extra dev, on Linux x86_64)", allow_module_level=True)

SHIPPED = ZOO / "attridet-n"


def gpu_is_there() -> bool:
    try:
        Driver()
    except RuntimeUnavailableError:
        return False
    return True


on_a_processor = pytest.mark.skipif(gpu_is_there(), reason="says what happens where there is no GPU")


@pytest.fixture(scope="module")
def rtx() -> Library:
    return load("tensorrt_rtx")


@pytest.fixture(scope="module")
def in_int8(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The shipped detector with Q/DQ pairs, by our recipe; which numbers its scales have is no matter here."""
    graph = (SHIPPED / "detector.onnx").read_bytes()
    feed = {"image": np.random.default_rng(0).random((1, 3, 640, 640), dtype=np.float32)}
    path = tmp_path_factory.mktemp("int8") / "detector.onnx"
    path.write_bytes(quantise(graph, measure(graph, [feed])))
    return path


class Followed:
    """Phases as TensorRT tells them."""

    def __init__(self) -> None:
        self.told: list[tuple[str, str]] = []
        self.steps: dict[str, int] = {}

    def start(self, name: str, parent: str | None, steps: int) -> None:
        self.told.append((name, parent or ""))
        self.steps[name] = 0

    def step(self, name: str, done: int) -> None:
        assert done == self.steps[name] + 1  # counted from one
        self.steps[name] = done

    def finish(self, name: str) -> None:
        assert name in self.steps


def test_the_shipped_detector_is_built_and_its_progress_told(rtx: Library) -> None:
    followed = Followed()
    built = build_plan(rtx, SHIPPED / "detector.onnx", 512 * MIB, phases=followed)
    assert len(built.plan) > MIB and built.timings == b"" and built.seconds > 0
    names = {name for name, _ in followed.told}
    assert len(names) > 2 and all(parent in names for _, parent in followed.told if parent)
    assert sum(followed.steps.values()) > 2


def test_the_detector_in_int8_is_built(rtx: Library, in_int8: Path) -> None:
    graph = onnx.load(in_int8).graph
    assert sum(node.op_type == "QuantizeLinear" for node in graph.node) > 50
    assert len(build_plan(rtx, in_int8, 512 * MIB).plan) > MIB


def test_the_detector_in_int8_and_half_is_built(rtx: Library, in_int8: Path, tmp_path: Path) -> None:
    """Strong typing: the casts that stand in the file are what makes FP16 of the rest."""
    (tmp_path / "half.onnx").write_bytes(in_half(in_int8.read_bytes()))
    assert any(node.op_type == "Cast" for node in onnx.load(tmp_path / "half.onnx").graph.node)
    assert len(build_plan(rtx, tmp_path / "half.onnx", 512 * MIB).plan) > MIB


def test_a_zero_point_other_than_zero_is_refused_with_tensorrts_own_lines(rtx: Library, in_int8: Path, tmp_path: Path) -> None:
    """What a quantiser of another recipe writes; the check of our graphs would see it."""
    model = onnx.load(in_int8)
    zero_points = {node.input[2] for node in model.graph.node if node.op_type == "QuantizeLinear"}
    for weight in model.graph.initializer:
        if weight.name in zero_points:
            weight.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(weight) + np.int8(3), weight.name))
    onnx.save(model, tmp_path / "asymmetric.onnx")
    with pytest.raises(BuildError, match=r"asymmetric\.onnx: TensorRT for RTX .*(.|\n)*\n  TensorRT: .*[Zz]ero") as error:
        build_plan(rtx, tmp_path / "asymmetric.onnx", 512 * MIB)
    assert error.value.exit_code == 1


def test_a_file_that_is_no_graph_is_refused(rtx: Library, tmp_path: Path) -> None:
    (tmp_path / "no.onnx").write_bytes(b"no graph")
    with pytest.raises(BuildError, match=r"no\.onnx: TensorRT for RTX .* does not accept it"):
        build_plan(rtx, tmp_path / "no.onnx", 512 * MIB)


def test_ctrl_c_in_the_middle_ends_the_real_compiler(rtx: Library) -> None:
    """It reaches Python inside of TensorRT, where an exception that went on would end the process."""

    class Impatient(Followed):
        def step(self, name: str, done: int) -> None:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        build_plan(rtx, SHIPPED / "detector.onnx", 512 * MIB, phases=Impatient())


@on_a_processor
def test_the_attribute_graph_asks_for_a_gpu_while_it_is_parsed(rtx: Library) -> None:
    """Its RoiAlign; so a processor cannot check this graph, and the error says why in TensorRT's words."""
    with pytest.raises(GraphRefusedError, match=r"RoiAlign roi_align\.p2: .*\n(.|\n)*TensorRT: .*[Cc][Uu][Dd][Aa]") as error:
        build_plan(rtx, SHIPPED / "attributes.onnx", 512 * MIB)
    assert error.value.operator == "RoiAlign"


def test_the_second_looks_graph_is_accepted_as_it_is(rtx: Library, bundle: Bundle) -> None:
    path, look = bundle.second_look()
    made = build_plan(rtx, path, 512 * MIB)
    assert len(made.plan) > MIB and look.features == 992


@pytest.mark.parametrize("name", [name.removeprefix("zoo:") for name in zoo_names()])
def test_every_graph_that_ships_is_built_as_it_is(name: str) -> None:
    """Without a GPU all but RoiAlign, and it is said."""
    detector, attributes, *others = check(Bundle.open(ZOO / name))
    assert [one.file for one in (detector, attributes, *others)] == ["detector.onnx", "attributes.onnx", "cells.onnx"]
    assert all(one.bytes > MIB for one in (detector, attributes, *others))
    assert not any(one.left_out for one in (detector, *others))
    assert attributes.left_out == ("" if gpu_is_there() else "RoiAlign")


@pytest.mark.parametrize("name", ["attridet-n", "attridet-n-int8"])
def test_the_shipped_graphs_are_built_in_half(rtx: Library, name: str, tmp_path: Path) -> None:
    """Float and INT8, with FP16 for the rest: with the two above all four precisions."""
    for file in ("detector.onnx", "attributes.onnx"):
        half = in_half((ZOO / name / file).read_bytes())
        (tmp_path / file).write_bytes(half if file == "detector.onnx" else behind_roi_align(half))
        assert len(build_plan(rtx, tmp_path / file, 512 * MIB).plan) > MIB


def test_the_cut_graph_answers_regions_as_the_whole_one() -> None:
    graph = (SHIPPED / "attributes-4.onnx").read_bytes()
    model, rng = onnx.load_model_from_string(graph), np.random.default_rng(0)
    pooled = [node.output[0] for node in model.graph.node if node.op_type == "RoiAlign"]
    model.graph.output.extend(helper.make_empty_tensor_value_info(name) for name in pooled)
    shapes = {value.name: [d.dim_value for d in value.type.tensor_type.shape.dim] for value in model.graph.input}
    feed = {name: rng.random(shape, dtype=np.float32) for name, shape in shapes.items()}
    feed["rois"] = np.tile(np.array([[20.3, 31.7, 90.1, 88.8]], np.float32), (4, 1))
    whole, *regions = open_session(model.SerializeToString(), session_options(1)).run(None, feed)
    cut = open_session(behind_roi_align(graph), session_options(1))
    np.testing.assert_allclose(cut.run(None, dict(zip(pooled, regions, strict=True)))[0], whole, atol=1e-6)
    with pytest.raises(ValueError, match="no RoiAlign"):
        behind_roi_align((SHIPPED / "detector.onnx").read_bytes())


@on_a_processor
def test_the_command_checks_here_but_cannot_build(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    words = ["attridet", "build", "zoo:attridet-n", "--runtime", "tensorrt_rtx", "--plans", str(tmp_path)]
    monkeypatch.setattr(sys, "argv", [*words, "--check"])
    with pytest.raises(SystemExit) as done:
        main()
    told = capsys.readouterr().out
    assert done.value.code == 0
    assert "detector.onnx: accepted; a plan of " in told and "attributes.onnx: accepted" in told
    assert "RoiAlign is left out: it asks for a GPU" in told
    monkeypatch.setattr(sys, "argv", words)
    with pytest.raises(SystemExit) as done:
        main()
    assert done.value.code == 2
    assert "NVIDIA driver" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []
