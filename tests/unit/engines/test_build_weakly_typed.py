"""A TensorRT that refuses strongly typed graphs builds the same files weakly typed, and says so: sidecar, key, terminal, log."""

from __future__ import annotations

import importlib.util
import json
import logging
from pathlib import Path

import numpy as np
import pytest
from commands import attridet
from recording_cuda import Machine
from recording_tensorrt import DataType, LayerType, tensorrt
from standin_plans import CUBIN, key
from standin_plans import machine as stand_in

from calibration.int8.half import in_half
from calibration.int8.qdq import measure, quantise
from engines import build_plans as build_plans_module
from engines.build import MIB, GraphRefusedError, RefusedError, build_plan, file_types
from engines.build_plans import build_plans
from engines.bundle import Bundle
from engines.detections import Image
from engines.errors import BuildError
from engines.runtime.tensorrt.engine import TensorrtEngine
from engines.runtime.tensorrt.library import Library, load
from engines.runtime.tensorrt.plan import FLAGS, PlanRecord, read_plan, sidecars


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Machine:
    """JetPack 6's TensorRT, whose parser takes no strongly typed network."""
    monkeypatch.setattr(build_plans_module, "kernel_for", lambda _arch: CUBIN)
    made = stand_in(monkeypatch, version="10.3.0")
    made.refuses_strongly = "parser"
    return made


@pytest.fixture(scope="module")
def forms(bundle: Bundle, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The detector in float, INT8, FP16 and both, by our recipes."""
    folder, graph = tmp_path_factory.mktemp("forms"), bundle.detector_path.read_bytes()
    hw = bundle.manifest.input.hw
    in_int8 = quantise(graph, measure(graph, [{"image": np.random.default_rng(0).random((1, 3, *hw), dtype=np.float32)}]))
    made = {"float": graph, "int8": in_int8, "half": in_half(graph), "both": in_half(in_int8)}
    for name, content in made.items():
        (folder / f"{name}.onnx").write_bytes(content)
    return {name: folder / f"{name}.onnx" for name in made}


@pytest.mark.parametrize("refuses", ["parser", "builder"])
def test_it_is_built_weakly_typed_and_said(
    machine: Machine, bundle: Bundle, tmp_path: Path, frame: Image, caplog: pytest.LogCaptureFixture, refuses: str
) -> None:
    machine.refuses_strongly = refuses
    record = build_plans(bundle, tmp_path).record
    assert set(record.weakly_typed) == {"detector", "attributes", "cells"}
    assert all("TensorRT 10.3.0" in reason and "\n" not in reason for reason in record.weakly_typed.values())
    strong = key(bundle, version="10.3.0")
    assert record.key == strong.weakly and record.key.flags["network"].startswith("weakly typed") and record.digest != strong.digest
    assert read_plan(tmp_path, bundle, strong).record == record
    assert len([r for r in caplog.records if "tried once more, weakly typed, because TensorRT 10.3.0" in r.getMessage()]) == 3
    caplog.clear()
    with TensorrtEngine(bundle, tmp_path, verify=True) as engine:
        assert len(engine.infer(frame).detections) > 0
    assert "built weakly typed, see its sidecar: detector, attributes, cells" in caplog.text
    asked = len(machine.asked)
    again = build_plans(bundle, tmp_path)
    assert not again.built and again.path.is_file() and len(machine.asked) == asked, "a good plan is no reason to try again"


def test_only_the_graph_that_is_refused_is_weakly_typed(machine: Machine, bundle: Bundle, tmp_path: Path) -> None:
    class Once(str):
        """Refused is the first strongly typed network alone."""

        asked = 0

        def __eq__(self, other: object) -> bool:
            self.asked += other == "parser"
            return other == "parser" and self.asked == 1

        __hash__ = str.__hash__

    machine.refuses_strongly = Once("parser")
    record = build_plans(bundle, tmp_path).record
    assert set(record.weakly_typed) == {"detector"}
    assert [bool(one.network and one.network.strongly) for one in machine.asked] == [False, True, True]


def test_a_later_tensorrt_takes_its_place(machine: Machine, bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    build_plans(bundle, tmp_path)
    machine.refuses_strongly = ""
    assert build_plans(bundle, tmp_path, force=True).record.weakly_typed == {}
    ((_, record),) = sidecars(tmp_path)
    assert record.key.flags == FLAGS


@pytest.mark.parametrize(
    ("form", "flags"), [("float", []), ("int8", ["int8"]), ("half", ["fp16", "obey"]), ("both", ["int8", "fp16", "obey"])]
)
def test_the_flags_are_the_files_types_and_float_stays_float(
    machine: Machine, forms: dict[str, Path], form: str, flags: list[str]
) -> None:
    machine.initialised = True
    made = build_plan(Library("tensorrt", "10.3.0", tensorrt(machine, "tensorrt", "10.3.0")), forms[form], 512 * MIB)
    (asked,) = machine.asked
    assert made.weakly_typed and asked.flags == flags and asked.flags_cleared == ["tf32"]
    network = asked.network
    layers = [network.get_layer(i) for i in range(network.num_layers)]
    held = [layer for layer in layers if layer.precision is not None]
    if "fp16" not in flags:
        assert held == []
        return
    assert 0 < len(held) < len(layers)
    for layer in held:
        assert layer.precision == DataType.FLOAT and layer.held == dict.fromkeys(range(layer.num_outputs), DataType.FLOAT)
        assert layer.type == LayerType.CONVOLUTION
    assert all(layer.precision is None for layer in layers if layer.get_output(0).dtype == DataType.HALF)


def test_what_is_refused_both_ways_carries_both_reasons(machine: Machine, bundle: Bundle, tmp_path: Path) -> None:
    machine.builds = False
    with pytest.raises(RefusedError, match=r"does not accept it (.|\n)*Weakly typed, tried after it: .*cannot compile it") as error:
        build_plans(bundle, tmp_path)
    assert isinstance(error.value, GraphRefusedError) and error.value.operator == "Conv"
    assert [path.name for path in tmp_path.iterdir()] == []


@pytest.mark.parametrize(("name", "version"), [("tensorrt", "11.1.0"), ("tensorrt_rtx", "1.7.1")])
def test_a_tensorrt_that_knows_no_other_way_is_not_asked(
    bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, version: str
) -> None:
    monkeypatch.setattr(build_plans_module, "kernel_for", lambda _arch: CUBIN)
    newer = stand_in(monkeypatch, name, version)
    newer.refuses_strongly = "parser"
    with pytest.raises(BuildError, match="does not accept it") as error:
        build_plans(bundle, tmp_path, name)
    assert "eakly" not in str(error.value) and newer.asked == []


def test_sidecars_of_before_are_read_and_strong_ones_are_as_they_were(machine: Machine, bundle: Bundle, tmp_path: Path) -> None:
    """A box that goes back to the version before must read the plan that the newer one built."""
    machine.refuses_strongly = ""
    outcome = build_plans(bundle, tmp_path)
    written = json.loads(outcome.path.read_text())
    assert "weakly_typed" not in written and PlanRecord.model_validate_json(outcome.path.read_bytes()) == outcome.record


def test_the_command_says_it(machine: Machine, bundle: Bundle, tmp_path: Path) -> None:
    told = tmp_path / "engine.json"
    done = attridet("build", str(bundle.path), "--plans", str(tmp_path / "plans"), "--progress", str(told))
    assert done.code == 0 and "detector: weakly typed, because strongly typed it was refused: TensorRT 10.3.0" in " ".join(
        done.out.split()
    )
    assert json.loads(told.read_text())["words"].endswith("is ready for Stand-in, weakly typed")
    assert "accepted, weakly typed only (TensorRT 10.3.0" in " ".join(
        attridet("build", str(bundle.path), "--check", "--runtime", "tensorrt").out.split()
    )


@pytest.mark.skipif(importlib.util.find_spec("tensorrt_rtx") is None, reason="needs tensorrt_rtx (extra dev, on Linux x86_64)")
def test_nvidias_own_parser_tells_the_types(forms: dict[str, Path], caplog: pytest.LogCaptureFixture, tmp_path: Path) -> None:
    """The names that are asked of a network, in the real binding; its builder knows strong typing only."""
    rtx = load("tensorrt_rtx")
    trt = rtx.module
    for form, expected in {"float": (False, False), "int8": (True, False), "half": (False, True), "both": (True, True)}.items():
        builder = trt.Builder(_logger(rtx))
        network = builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
        parser = trt.OnnxParser(network, _logger(rtx))
        assert parser.parse_from_file(str(forms[form])), form
        assert file_types(trt, network) == expected, form
        del parser, network, builder
    (tmp_path / "no.onnx").write_bytes(b"no graph")
    with caplog.at_level(logging.WARNING), pytest.raises(GraphRefusedError) as error:
        build_plan(rtx, tmp_path / "no.onnx", 512 * MIB)
    assert "eakly" not in str(error.value) + caplog.text


def _logger(library: Library) -> object:
    from engines.runtime.tensorrt.library import Words

    return Words(library).logger
