"""A plan's key and sidecar, and all that is refused before TensorRT sees a byte; and what a machine without a GPU says."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from recording_cuda import LibCuda, Machine
from standin_plans import key, write_plans
from standin_plans import machine as stand_in

from engines.bundle import Bundle
from engines.errors import RuntimeUnavailableError
from engines.runtime.tensorrt import board, driver, memory
from engines.runtime.tensorrt.driver import Device, Driver
from engines.runtime.tensorrt.engine import TensorrtEngine
from engines.runtime.tensorrt.library import Library, load
from engines.runtime.tensorrt.plan import ROLES, PlanKey, key_of, read_plan, sidecar

HERE = Device("Orin", (8, 7), True, 8)
CUDA_HEADER = Path("/usr/local/cuda/include/cuda.h")


def test_the_plan_that_was_written_is_read(bundle: Bundle, tmp_path: Path) -> None:
    path = write_plans(tmp_path, bundle)
    plan = read_plan(tmp_path, bundle, key(bundle))
    assert path.name == f"attridet-test-{plan.record.digest[:16]}.json"
    assert set(plan.contents) == set(ROLES)
    assert plan.contents["detector"].endswith(bundle.detector_path.read_bytes())
    assert sorted(p.suffix for p in tmp_path.iterdir()) == [".cubin", ".json", ".plan", ".plan", ".plan"]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"version": "10.3.0"}, r"built for TensorRT 10\.16\.2, here 10\.3\.0"),
        ({"library": "tensorrt_rtx"}, r"built for TensorRT"),
        ({"capability": "11.0"}, r"a GPU of compute capability 8\.7, here 11\.0"),
        ({"gpu": "Orin with 4 multiprocessors"}, r"Stand-in with 8 multiprocessors, here Orin with 4 multiprocessors"),
        ({"l4t": "36.4.3"}, r"Jetson Linux none, here 36\.4\.3"),
        ({"detector": "0" * 64}, r"another detector"),
        ({"attributes": "0" * 64}, r"another attribute graph"),
        ({"cells": "0" * 64}, r"another second look"),
        ({"cells": ""}, r"a bundle with a second look"),
        ({"kernel": "0" * 64}, r"another version of leukoscope"),
        ({"flags": {}}, r"other settings"),
    ],
)
def test_each_part_of_the_key_is_another_plan_and_the_reader_is_told_which(
    bundle: Bundle, tmp_path: Path, change: dict[str, Any], words: str
) -> None:
    write_plans(tmp_path, bundle)
    other = PlanKey(**{**key(bundle).model_dump(), **change})
    assert other.digest != key(bundle).digest
    with pytest.raises(
        RuntimeUnavailableError, match=rf"no plan of attridet-test for this device: .*{words}.*attridet build .*--plans"
    ):
        read_plan(tmp_path, bundle, other)


def test_the_key_holds_what_the_device_says(bundle: Bundle) -> None:
    made = key_of(bundle, Library("tensorrt", "10.3.0", None), HERE, l4t="36.4.3")
    assert (made.capability, made.l4t, made.version) == ("8.7", "36.4.3", "10.3.0")
    assert made.attributes == bundle.manifest.files["attributes.onnx"].sha256  # the one with 64 regions
    assert made.digest == key_of(bundle, Library("tensorrt", "10.3.0", None), HERE, l4t="36.4.3").digest


def test_boards_of_one_capability_have_plans_of_their_own(bundle: Bundle) -> None:
    """Orin Nano and AGX Orin are both 8.7; a power mode with fewer multiprocessors is another GPU to TensorRT, too."""
    library = Library("tensorrt", "10.3.0", None)
    boards = (Device("Orin", (8, 7), True, 8), Device("Orin", (8, 7), True, 4), Device("Orin (nvgpu)", (8, 7), True, 16))
    assert len({key_of(bundle, library, board, l4t="36.4.3").digest for board in boards}) == 3


def test_a_plan_of_before_the_gpus_name_was_in_the_key_is_named(bundle: Bundle, tmp_path: Path) -> None:
    def without(fields: dict[str, Any]) -> None:
        fields["key"] = PlanKey(**{**fields["key"].model_dump(), "gpu": ""})
        fields["digest"] = fields["key"].digest

    path = write_plans(tmp_path, bundle, without)
    path.rename(path.with_name("attridet-test-0000000000000000.json"))
    with pytest.raises(RuntimeUnavailableError, match=r"any GPU of that capability, here Stand-in with 8 multi.*attridet build"):
        read_plan(tmp_path, bundle, key(bundle))


def test_an_empty_folder_says_how_a_plan_is_built(bundle: Bundle, tmp_path: Path) -> None:
    with pytest.raises(RuntimeUnavailableError, match=r"none was built there yet. Run: attridet build .* --runtime tensorrt$"):
        read_plan(tmp_path / "nowhere", bundle, key(bundle))


@pytest.mark.parametrize("role", ROLES)
def test_an_altered_or_missing_file_is_named(bundle: Bundle, tmp_path: Path, role: str) -> None:
    write_plans(tmp_path, bundle)
    (file,) = tmp_path.glob(f"*.{role}-*")
    file.write_bytes(file.read_bytes()[:-1] + b"?")
    with pytest.raises(RuntimeUnavailableError, match=rf"{role}-.*: altered or incomplete .*--force"):
        read_plan(tmp_path, bundle, key(bundle))
    file.unlink()
    with pytest.raises(RuntimeUnavailableError, match=rf"{role}-.*: cannot be read \(No such file"):
        read_plan(tmp_path, bundle, key(bundle))


def test_a_sidecar_that_is_not_of_this_key_is_refused(bundle: Bundle, tmp_path: Path) -> None:
    """A copied or renamed one: its name says this device, its content another."""

    def other_device(fields: dict[str, Any]) -> None:
        fields["key"] = PlanKey(**{**fields["key"].model_dump(), "capability": "11.0"})
        fields["digest"] = fields["key"].digest

    write_plans(tmp_path, bundle, other_device)
    with pytest.raises(RuntimeUnavailableError, match=r"does not belong to its name \(a GPU of compute capability 11\.0, here 8\.7"):
        read_plan(tmp_path, bundle, key(bundle))
    write_plans(tmp_path, bundle, lambda fields: fields.update(digest="0" * 64))
    with pytest.raises(RuntimeUnavailableError, match="its digest is not that of its key"):
        read_plan(tmp_path, bundle, key(bundle))
    write_plans(tmp_path, bundle, lambda fields: fields["files"].pop("kernel"))
    with pytest.raises(
        RuntimeUnavailableError, match=r"names detector, attributes, cells, expected detector, attributes, cells, kernel"
    ):
        read_plan(tmp_path, bundle, key(bundle))
    sidecar(tmp_path, "attridet-test", key(bundle)).write_text("{")
    with pytest.raises(RuntimeUnavailableError, match=r"json: cannot be read .*--force"):
        read_plan(tmp_path, bundle, key(bundle))


def test_a_wrong_plan_is_refused_before_tensorrt_is_asked(bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    machine = stand_in(monkeypatch, version="10.3.0", kernel=False)
    write_plans(tmp_path, bundle)  # of 10.16.2
    with pytest.raises(RuntimeUnavailableError, match=r"built for TensorRT 10\.16\.2, here 10\.3\.0"):
        TensorrtEngine(bundle, tmp_path).__enter__()
    assert machine.calls == [] and machine.alive == {}


# ---- a machine without GPU, driver, TensorRT or pycuda


@pytest.mark.skipif(Path("/dev/nvidiactl").exists(), reason="this machine has an NVIDIA driver")
def test_without_a_driver_one_line_says_so(bundle: Bundle, tmp_path: Path) -> None:
    with pytest.raises(RuntimeUnavailableError, match=r"(no NVIDIA driver on this machine|finds no GPU).*onnx or openvino") as error:
        TensorrtEngine(bundle, tmp_path)
    assert "\n" not in str(error.value)


def test_a_driver_without_a_gpu_is_told_in_its_own_words(monkeypatch: pytest.MonkeyPatch) -> None:
    library = LibCuda(Machine(None))
    monkeypatch.setattr(library, "cuInit", lambda _flags: 100)
    monkeypatch.setattr(driver, "library", lambda: library)
    with pytest.raises(RuntimeUnavailableError, match=r"finds no GPU that it can use \(error 100\).*groups video and render"):
        Driver()


def test_the_device_is_what_the_driver_says(monkeypatch: pytest.MonkeyPatch) -> None:
    machine = Machine(None)
    monkeypatch.setattr(driver, "library", lambda: LibCuda(machine))
    asked = Driver()
    assert asked.device() == Device("Stand-in", (8, 7), True, 8) and asked.device().arch == "sm_87"
    assert asked.free_bytes() == 4 << 30
    assert machine.alive == {}


@pytest.mark.skipif(not CUDA_HEADER.is_file(), reason=f"needs {CUDA_HEADER} (CUDA's compiler)")
def test_every_function_asked_of_libcuda_is_one_of_its() -> None:
    """A name with a slip would be an AttributeError on the board and nowhere else."""
    asked = set(re.findall(r"\bcu[A-Z]\w+", Path(driver.__file__).read_text())) - {"cuda"}
    header = CUDA_HEADER.read_text(errors="replace")
    assert len(asked) > 12
    assert [name for name in asked if not re.search(rf"\b{name}\b", header)] == []


def test_no_way_to_cuda_is_one_line_with_the_way_without_a_compiler_first(monkeypatch: pytest.MonkeyPatch) -> None:
    stand_in(monkeypatch, kernel=False)
    monkeypatch.setitem(sys.modules, "pycuda.driver", None)
    monkeypatch.setitem(sys.modules, "engines.runtime.tensorrt.bindings", None)
    with pytest.raises(
        RuntimeUnavailableError, match=r"pycuda: .*cuda-bindings: .*pip install cuda-b.*leukoscope\[gpu\].*openvino"
    ) as error:
        memory.Gpu(Driver()).__enter__()
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("tensorrt", r"TensorRT cannot be imported .*apt install python3-libnvinfer"),
        ("tensorrt_rtx", r"TensorRT for RTX cannot be imported .*pip install tensorrt-rtx"),
        ("tensorflow", r"no TensorRT called 'tensorflow'. Available: tensorrt, tensorrt_rtx"),
    ],
)
def test_a_tensorrt_that_is_not_there_says_where_it_comes_from(monkeypatch: pytest.MonkeyPatch, name: str, message: str) -> None:
    if name != "tensorflow":
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(RuntimeUnavailableError, match=message):
        load(name)


def test_a_tensorrt_before_strong_types_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    stand_in(monkeypatch, version="8.6.2", kernel=False)
    with pytest.raises(RuntimeUnavailableError, match=r"TensorRT 8\.6\.2 is too old, 10\.3 is needed"):
        load("tensorrt")
    stand_in(monkeypatch, version="10.3.0.26", kernel=False)
    assert load("tensorrt").title == "TensorRT 10.3.0.26"


def test_nothing_of_nvidia_is_imported_before_an_engine_is_made() -> None:
    looks = (
        "import engines.runtime.tensorrt.engine, sys; print(sorted({'pycuda', 'cuda', 'tensorrt', 'tensorrt_rtx'} & set(sys.modules)))"
    )
    run = subprocess.run([sys.executable, "-c", looks], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"


# ---- the board


@pytest.mark.parametrize(
    ("text", "release"),
    [
        (
            "# R36 (release), REVISION: 4.3, GCID: 38968081, BOARD: generic, EABI: aarch64, DATE: Wed Jan  8 01:49:37 UTC 2025\n",
            "36.4.3",
        ),
        ("# R38 (release), REVISION: 2.0, GCID: 41844464, BOARD: generic\n", "38.2.0"),
    ],
)
def test_l4t_is_read_from_its_file(tmp_path: Path, text: str, release: str) -> None:
    (tmp_path / "nv_tegra_release").write_text(text)
    assert board.l4t_release(tmp_path / "nv_tegra_release") == release


def program(folder: Path, name: str, prints: str, code: int = 0) -> None:
    (folder / name).write_text(f"#!/bin/sh\nprintf '%s' '{prints}'\nexit {code}\n")
    (folder / name).chmod(0o755)


def test_l4t_is_read_from_its_package_where_there_is_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert board.l4t_release(tmp_path / "nowhere") == ""
    program(tmp_path, "dpkg-query", "36.4.3-20250107174145")
    assert board.l4t_release(tmp_path / "nowhere") == "36.4.3"
    program(tmp_path, "dpkg-query", "", 1)
    assert board.l4t_release(tmp_path / "nowhere") == ""


def test_the_power_mode_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert board.power_mode() == ""
    program(tmp_path, "nvpmodel", "NV Power Mode: MAXN\n0\n")
    assert board.power_mode() == "NV Power Mode: MAXN 0"


def test_available_memory_is_the_kernels(tmp_path: Path) -> None:
    (tmp_path / "meminfo").write_text("MemTotal:       16000000 kB\nMemAvailable:    2048000 kB\n")
    assert board.available_bytes(tmp_path / "meminfo") == 2048000 * 1024
    assert board.available_bytes(tmp_path / "nowhere") is None
    assert board.process_bytes()["Rss"] >= board.process_bytes()["Anonymous"] > 1 << 20
    assert board.process_bytes(tmp_path / "nowhere") == {}
