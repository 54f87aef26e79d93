"""`attridet build` from end to end on the stand-in: proved on the golden picture and put in the old one's place, or nothing changed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import onnx
import pytest
import standin_plans
import yaml
from commands import Called, attridet
from recording_cuda import Machine
from standin_plans import CUBIN, key
from standin_plans import machine as stand_in

from device.settings.config_file import parse_config
from engines import build_plans as build_plans_module
from engines.appliance import named_engine
from engines.build import MIB, workspace_bytes
from engines.build_plans import build_plans
from engines.bundle import ZOO, Bundle, write_bundle
from engines.commands.build import Bars
from engines.commands.terminal import progress_bar
from engines.detections import Image
from engines.errors import BuildError, BundleError, RuntimeUnavailableError
from engines.runtime.tensorrt.engine import TensorrtEngine
from engines.runtime.tensorrt.plan import read_plan, sidecars


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Machine:
    """The stand-in, and a kernel that nvcc need not compile; that it can is another test's."""
    monkeypatch.setattr(build_plans_module, "kernel_for", lambda _arch: CUBIN)
    return stand_in(monkeypatch)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_what_is_built_is_what_the_engine_opens(machine: Machine, bundle: Bundle, tmp_path: Path, frame: Image) -> None:
    outcome = build_plans(bundle, tmp_path / "plans")
    record = outcome.record
    assert outcome.built and outcome.path.is_file()
    assert read_plan(tmp_path / "plans", bundle, key(bundle)).record == record
    assert (record.gpu, record.bundle_digest, record.golden) == ("Stand-in", bundle.digest, True)
    assert record.built_by.startswith("leukoscope ") and record.built_by.endswith(", CUDA by pycuda")
    assert record.built.endswith("+00:00")
    with TensorrtEngine(bundle, tmp_path / "plans", verify=True) as engine:
        assert len(engine.infer(frame).detections) > 0
    assert sorted(Path(name).suffix for name in names(tmp_path / "plans")) == [".cache", ".cubin", ".json", *[".plan"] * 3]


def test_the_graphs_are_compiled_as_the_notes_ask(machine: Machine, bundle: Bundle, tmp_path: Path) -> None:
    """Strongly typed (the stand-in's builder insists), TF32 off, memory bounded, the second build with the first one's timings."""
    build_plans(bundle, tmp_path)
    detector, attributes, cells = machine.asked
    assert detector.flags_cleared == attributes.flags_cleared == cells.flags_cleared == ["tf32"]
    assert 256 * MIB <= detector.workspace <= 4096 * MIB  # half of what this machine has: the stand-in shares its memory
    assert detector.timings == b"" and attributes.timings == b"timings\x01"
    (cache,) = tmp_path.glob("timings-tensorrt-10.16.2-sm_87.cache")
    cache.write_bytes(b"of another GPU")
    build_plans(bundle, tmp_path, force=True)
    assert machine.asked[3].timings == b""


def test_a_good_plan_is_left_and_a_damaged_one_built_anew(machine: Machine, bundle: Bundle, tmp_path: Path) -> None:
    first = build_plans(bundle, tmp_path)
    again = build_plans(bundle, tmp_path)
    assert not again.built and again.record == first.record and len(machine.asked) == 3
    assert build_plans(bundle, tmp_path, force=True).built
    (plan,) = tmp_path.glob("*.detector-*.plan")
    plan.write_bytes(b"half a pl")
    assert build_plans(bundle, tmp_path).built
    assert not build_plans(bundle, tmp_path).built


def test_a_plan_that_answers_the_golden_picture_wrongly_changes_nothing(machine: Machine, bundle: Bundle, tmp_path: Path) -> None:
    build_plans(bundle, tmp_path)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    machine.bends = 0.8
    with pytest.raises(BuildError, match=r"does not answer the golden picture.*Nothing was changed"):
        build_plans(bundle, tmp_path, force=True)
    with pytest.raises(BuildError, match="Nothing was changed"):
        build_plans(bundle, tmp_path)  # the old plan answers wrongly too, so it is tried anew
    after = {path.name: path.read_bytes() for path in tmp_path.iterdir() if path.suffix != ".cache"}
    assert after == {name: content for name, content in before.items() if not name.endswith(".cache")}
    machine.bends = 1.0
    assert not build_plans(bundle, tmp_path).built


def test_a_build_that_fails_changes_nothing_and_carries_tensorrts_line(machine: Machine, bundle: Bundle, tmp_path: Path) -> None:
    machine.builds = False
    with pytest.raises(BuildError, match=r"detector.onnx: TensorRT 10.16.2 cannot compile it.\n  TensorRT: .*no implementation"):
        build_plans(bundle, tmp_path)
    machine.parses = False
    with pytest.raises(
        BuildError, match=r"does not accept it \(Conv model.0.conv: the stand-in was told to refuse\).\n  TensorRT: .*node 0"
    ):
        build_plans(bundle, tmp_path)
    assert names(tmp_path) == []


def test_a_tensorrt_that_was_not_made_for_the_gpu_says_which_to_take(machine: Machine, bundle: Bundle, tmp_path: Path) -> None:
    """10.13 of JetPack 7.0 on an Orin, by the words that a person met there (isaac-ros-cli#22)."""
    machine.no_builder = "Target GPU SM 87 is not supported by this TensorRT release."
    with pytest.raises(BuildError, match=r"gives no builder. TensorRT 10.13 \(JetPack 7.0/7.1 debs\) has no sm_87: take 10.16, or"):
        build_plans(bundle, tmp_path)
    machine.no_builder = "Target GPU SM 70 is not supported by this TensorRT release."
    with pytest.raises(BuildError, match="was not made for sm_70: take another version"):
        build_plans(bundle, tmp_path)


def test_after_an_update_of_tensorrt_the_new_plan_takes_the_old_ones_place(
    bundle: Bundle, tmp_path: Path, machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    build_plans(bundle, tmp_path)
    updated = stand_in(monkeypatch, version="10.17.0")
    updated.bends = 0.5
    with pytest.raises(BuildError):
        build_plans(bundle, tmp_path)
    assert [record.key.version for _, record in sidecars(tmp_path)] == ["10.16.2"]  # still there for a step back
    updated.bends = 1.0
    outcome = build_plans(bundle, tmp_path)
    assert [record.key.version for _, record in sidecars(tmp_path)] == ["10.17.0"]
    assert outcome.removed == 4


def test_another_bundles_plans_are_left_alone(machine: Machine, bundle: Bundle, tmp_path: Path) -> None:
    """Also where its name begins with this one's."""
    fields = {**bundle.manifest.model_dump(), "name": "attridet-test-int8"}
    files: dict[str, bytes | Path] = {name: bundle.path / name for name in bundle.manifest.files}
    detector = onnx.load(bundle.detector_path)
    detector.doc_string = "another graph"
    files["detector.onnx"] = detector.SerializeToString()
    other = write_bundle(tmp_path / "other", type(bundle.manifest).model_validate(fields), files)
    for one in (other, bundle):
        build_plans(one, tmp_path / "plans")
    assert {record.bundle for _, record in sidecars(tmp_path / "plans")} == {"attridet-test", "attridet-test-int8"}
    for one in (bundle, other):
        read_plan(tmp_path / "plans", one, key(one))
    assert len(names(tmp_path / "plans")) == 11


def test_float_fp16_and_int8_of_one_network_share_a_folder(machine: Machine, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """They bear one name, and `auto` compares them; an older version goes for one in the same precision only."""
    every = [Bundle.open(ZOO / name) for name in ("attridet-n", "attridet-n-fp16", "attridet-n-int8")]
    assert {bundle.manifest.name for bundle in every} == {"attridet-n"}
    built = [build_plans(bundle, tmp_path) for bundle in every]
    assert [outcome.removed for outcome in built] == [0, 0, 0]
    for bundle, outcome in zip(every, built, strict=True):
        assert read_plan(tmp_path, bundle, key(bundle)).record == outcome.record
        assert outcome.record.precision == bundle.manifest.precision
        assert ("precision" in json.loads(outcome.path.read_text())) == (bundle.manifest.precision != "fp32")
    stand_in(monkeypatch, version="10.17.0")
    assert build_plans(every[1], tmp_path).removed == 4
    left = sorted((record.precision, record.key.version) for _, record in sidecars(tmp_path))
    assert left == [("fp16", "10.17.0"), ("fp32", "10.16.2"), ("int8", "10.16.2")]
    with pytest.raises(
        RuntimeUnavailableError, match=r"no plan of attridet-n int8 for this device: the one .* TensorRT 10\.16\.2, here"
    ):
        read_plan(tmp_path, every[2], key(every[2], version="10.17.0"))


def test_a_sidecar_of_before_counts_as_float_unless_it_is_of_these_very_files(machine: Machine, tmp_path: Path) -> None:
    half, whole = Bundle.open(ZOO / "attridet-n-fp16"), Bundle.open(ZOO / "attridet-n")

    def older(fields: dict[str, Any]) -> None:
        fields["key"].flags.update(old="yes")
        fields["digest"] = fields["key"].digest

    for bundle in (half, whole):
        standin_plans.write_plans(tmp_path, bundle, older)
    assert {record.precision for _, record in sidecars(tmp_path)} == {"fp32"}
    build_plans(half, tmp_path)
    assert sorted((record.bundle_digest == half.digest, record.precision) for _, record in sidecars(tmp_path)) == [
        (False, "fp32"),
        (True, "fp16"),
    ]


def test_ctrl_c_ends_the_build_at_its_next_step(machine: Machine, bundle: Bundle, tmp_path: Path) -> None:
    class Impatient:
        def start(self, name: str, parent: str | None, steps: int) -> None:
            pass

        def step(self, name: str, done: int) -> None:
            raise KeyboardInterrupt

        def finish(self, name: str) -> None:
            pass

    with pytest.raises(KeyboardInterrupt):
        build_plans(bundle, tmp_path, phases=lambda _graph: Impatient())
    assert names(tmp_path) == []


def test_a_bundle_without_a_golden_picture_is_not_built(machine: Machine, bundle: Bundle, tmp_path: Path) -> None:
    files = {name: bundle.path / name for name in bundle.manifest.files if not name.startswith("golden")}
    with pytest.raises(BundleError, match="has no golden picture, so a plan could not be proved"):
        build_plans(write_bundle(tmp_path / "blind", bundle.manifest, files), tmp_path / "plans")


@pytest.mark.parametrize(
    ("available", "gpu_free", "integrated", "expected"),
    [
        (3000 * MIB, 3500 * MIB, True, 1500),  # a Jetson: one memory
        (5200 * MIB, 480 * MIB, True, 2600),  # its page cache is full after flashing: CUDA tells MemFree, and that is no limit
        (5200 * MIB, 180 * MIB, True, 2600),
        (None, 2000 * MIB, True, 1000),
        (3000 * MIB, 16000 * MIB, False, 4096),  # a card of its own, and the limit
        (64000 * MIB, 2001 * MIB, False, 1000),
        (None, None, True, 256),
    ],
)
def test_the_workspace_is_half_of_what_is_free(available: int | None, gpu_free: int | None, integrated: bool, expected: int) -> None:
    assert workspace_bytes(available, gpu_free, integrated) == expected * MIB


def test_a_full_board_says_what_to_stop() -> None:
    with pytest.raises(BuildError, match=r"only 300 MiB of memory are available, and building needs 512. Stop other programs"):
        workspace_bytes(300 * MIB, 8000 * MIB, True)


# ---- the command


def run(*words: str) -> Called:
    return attridet("build", *words)


def test_the_command_says_what_became_of_it(machine: Machine, bundle: Bundle, tmp_path: Path) -> None:
    first = run(str(bundle.path), "--plans", str(tmp_path))
    assert first.code == 0, first
    assert "attridet-test 0.0.1 for Stand-in: " in first.out and "it answers the golden picture" in first.out
    assert "nothing to do: the plan of 20" in run(str(bundle.path), "--plans", str(tmp_path)).out
    assert json.loads(next(tmp_path.glob("*.json")).read_text())["key"]["library"] == "tensorrt"


def test_phases_are_bars_within_bars() -> None:
    bar = progress_bar(quiet=True)
    bars = Bars(bar, "detector.onnx")
    bars.start("Building engine", None, 2)
    bars.start("Timing tactics", "Building engine", 3)
    bars.step("Timing tactics", 2)
    bars.step("never started", 2)
    assert [task.description for task in bar.tasks] == ["detector.onnx: Building engine", "  Timing tactics"]
    assert (bar.tasks[1].completed, bar.tasks[1].total) == (2, 3)
    bars.finish("Timing tactics")
    bars.finish("never started")
    assert len(bar.tasks) == 1


# ---- by the appliance's configuration


def config_file(folder: Path, **engine: object) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "device.yaml"
    path.write_text(yaml.safe_dump({"device": {"id": "box"}, "engine": engine}))
    return path


def test_the_configuration_says_what_is_built_and_where_to(machine: Machine, bundle: Bundle, tmp_path: Path) -> None:
    config = config_file(tmp_path, bundle=str(bundle.path), plans="plans", runtime="tensorrt")
    assert run("--config", str(config), "--progress", str(tmp_path / "engine.json")).code == 0
    assert next((tmp_path / "plans").glob("attridet-test-*.json")).is_file()
    told = json.loads((tmp_path / "engine.json").read_text())
    assert (told["step"], told["state"], told["percent"]) == ("engine", "done", 100)
    assert told["words"] == "the engine attridet-test 0.0.1 is ready for Stand-in"


def test_where_auto_chooses_the_plans_of_fp16_are_built_too(machine: Machine, tmp_path: Path) -> None:
    """`auto` on a GPU can take only what has a plan; INT8 has none, as its gate was passed on another runtime."""
    config, told = config_file(tmp_path, plans="plans"), tmp_path / "engine.json"
    done = run("--config", str(config), "--progress", str(told))
    assert done.code == 0 and "attridet-n 2.0.0 for Stand-in: " in done.out and "attridet-n 2.0.0 fp16 for Stand-in: " in done.out
    assert {record.precision for _, record in sidecars(tmp_path / "plans")} == {"fp32", "fp16"}
    words = json.loads(told.read_text())
    assert words["words"] == "the engine attridet-n 2.0.0 is ready for Stand-in, also in fp16" and words["state"] == "done"
    assert run("--config", str(config)).out.count("nothing to do: the plan of") == 2

    checked = run("--config", str(config), "--check")
    assert checked.code == 0 and "fp32 detector.onnx: accepted" in checked.out and "fp16 cells.onnx: accepted" in checked.out

    named = config_file(tmp_path / "named", plans="plans", precision="float32")
    assert run("--config", str(named)).code == 0
    assert {record.precision for _, record in sidecars(tmp_path / "named/plans")} == {"fp32"}


def test_without_a_plan_in_fp16_the_float_one_is_ready_all_the_same(
    machine: Machine, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    real = build_plans_module.build_plans

    def some(bundle: Bundle, *words: Any) -> Any:
        if bundle.manifest.precision == "fp16":
            raise BuildError("the compiler knows no way.")
        return real(bundle, *words)

    monkeypatch.setattr(build_plans_module, "build_plans", some)
    told = tmp_path / "engine.json"
    done = run("--config", str(config_file(tmp_path, plans="plans")), "--progress", str(told))
    assert done.code == 0 and "attridet-n-fp16: stays without a plan, and `auto` leaves it out: the compiler knows no way." in done.out
    assert json.loads(told.read_text())["words"] == "the engine attridet-n 2.0.0 is ready for Stand-in"


def test_a_failed_build_is_told_where_the_screen_looks(machine: Machine, bundle: Bundle, tmp_path: Path) -> None:
    machine.builds = False
    config = config_file(tmp_path, bundle=str(bundle.path), plans="plans")
    assert run("--config", str(config), "--progress", str(tmp_path / "engine.json")).code == 1
    told = json.loads((tmp_path / "engine.json").read_text())
    assert told["state"] == "failed" and "cannot compile it" in told["words"]


def test_a_runtime_without_plans_needs_none(tmp_path: Path) -> None:
    done = run("--config", str(config_file(tmp_path, runtime="openvino")))
    assert done.code == 0 and "nothing to build: engine.runtime of" in done.out


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((), "name either an engine folder or --config FILE"),
        (("zoo:attridet-n", "--config", "device.yaml"), "name either an engine folder or --config FILE"),
        (("--config", "nowhere/device.yaml"), "nowhere/device.yaml: no such file"),
    ],
)
def test_what_is_asked_wrongly_is_told_in_one_line(words: tuple[str, ...], said: str) -> None:
    done = run(*words)
    assert done.code == 2 and said in done.err


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("engine: {plans: 3}\n", "device.yaml:1: engine.plans: expected text, got 3"),
        ("a: 1\nengine:\n\tplans: x\n", "device.yaml:3: a tab"),
    ],
)
def test_a_configuration_that_cannot_be_read_is_named_with_its_line(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "device.yaml").write_text(text)
    done = run("--config", str(tmp_path / "device.yaml"))
    assert done.code == 2 and said in done.err


@pytest.mark.parametrize(
    "engine",
    [
        {},
        {"bundle": "zoo:attridet-n-int8", "runtime": "tensorrt", "plans": "/var/lib/leukoscope/other"},
        {"bundle": "mine", "plans": "plans", "runtime": "onnx"},
        {"plans": None, "precision": "float32"},
    ],
)
def test_the_daemon_reads_the_same(tmp_path: Path, engine: dict[str, str | None]) -> None:
    text = yaml.safe_dump({"camera": {"kind": "simulator"}} | ({"engine": engine} if engine else {}))
    (tmp_path / "device.yaml").write_text(text)
    section = parse_config(text, "device.yaml", tmp_path).engine
    named = named_engine(tmp_path / "device.yaml")
    assert (named.bundle, named.runtime, named.plans) == (section.bundle, section.runtime, section.plans)
    assert named.precision == section.precision
