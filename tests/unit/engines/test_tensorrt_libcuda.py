"""What of TensorRT's room needs a driver and no TensorRT: the real cuda-bindings over a libcuda that keeps CUDA's rules."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from engines.runtime.tensorrt.plan import KERNEL_SOURCE

pytest.importorskip("cuda.bindings", reason="needs cuda-bindings (extra cuda)")

ROOT = Path(__file__).resolve().parents[3]
SUPPORT = ROOT / "tests" / "support"
OPENED = """
import numpy as np
from engines.runtime.tensorrt.driver import Driver, DriverError
from engines.runtime.tensorrt.memory import Gpu

driver = Driver()
with Gpu(driver) as gpu:
    memory, pinned = gpu.buffer(4096), gpu.pinned((4096,), np.uint8)
    pinned.array[:] = 1
    try:
        {breaks}
        gpu.mark()
        while not gpu.done():
            pass
    except (gpu.errors, DriverError) as error:
        print("refused:", error)
"""


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """A process's environment in which libcuda.so.1 is the stand-in and pycuda is not there."""
    if shutil.which("gcc") is None or shutil.which("g++") is None:
        pytest.skip("needs gcc and g++ to build the stand-in")
    folder = tmp_path_factory.mktemp("libcuda")
    library, kernel = folder / "libcuda.so.1", folder / "letterbox.so"
    strict = ["-O2", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC"]
    subprocess.run(["gcc", *strict, "-Wl,-soname,libcuda.so.1", SUPPORT / "libcuda_standin.c", "-o", library, "-ldl"], check=True)
    host = ["-ffp-contract=off", "-I", KERNEL_SOURCE.parent, SUPPORT / "letterbox_host.cpp"]
    subprocess.run(["g++", *strict, *host, "-o", kernel], check=True)
    (folder / "pycuda.py").write_text("raise ImportError('left out here')\n")
    return os.environ | {
        "LD_LIBRARY_PATH": str(folder),
        "LIBCUDA_STANDIN_KERNEL": str(kernel),
        "PYTHONPATH": f"{folder}{os.pathsep}{ROOT}",
        "OMP_NUM_THREADS": "1",
    }


def run(environment: dict[str, str], report: Path, *words: str) -> tuple[subprocess.CompletedProcess[str], list[str]]:
    """A Python process over the stand-in, and the lines of broken rules."""
    told = subprocess.run(
        [sys.executable, *words],
        capture_output=True, text=True, check=False, cwd=ROOT, env=environment | {"LIBCUDA_STANDIN_REPORT": str(report)},
    )  # fmt: skip
    return told, report.read_text().splitlines() if report.exists() else []


def test_kernel_memory_and_graph_break_no_rule_of_cuda(environment: dict[str, str], tmp_path: Path) -> None:
    """Tests made for a GPU: sizes that are shrunk by a whole ratio, by any other, enlarged; both types; memory; a captured graph."""
    chosen = "memory_goes or graph_of or (bytes_of_preprocess and (hw0 or hw3 or hw5 or hw6))"
    arguments = ("-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:xdist", "tests/gpu/test_tensorrt_on_gpu.py", "-k", chosen)
    told, broken = run(environment, tmp_path / "report", *arguments)
    assert told.returncode == 0 and "10 passed" in told.stdout and "skipped" not in told.stdout, told.stdout + told.stderr
    assert broken == []


@pytest.mark.parametrize(
    ("breaks", "line"),
    [
        ("gpu.up(memory, pinned.array)", None),  # breaks nothing
        ("gpu.up(memory, pinned.array); pinned.array[7] = 2", "pinned memory changed before it was read"),
        ("gpu.up(memory, np.zeros(4096, np.uint8))", "pageable memory in an asynchronous copy"),
        ("driver.capture(gpu.stream, lambda: gpu.buffer(16))", "cuMemAlloc during a capture"),
        ("gpu.up(memory, gpu.pinned((8192,), np.uint8).array)", "a copy out of bounds of the GPU's memory"),
        ("gpu._cuda.Context.pop(); gpu.buffer(16)", "cuMemAlloc without a context"),
        ("gpu._stream = gpu._cuda.Stream(0)", "a stream that waits for the legacy stream"),
        ("gpu._cuda.Device(0).retain_primary_context()", "context retained 1 times more than released"),
    ],
)
def test_a_broken_rule_is_found(environment: dict[str, str], tmp_path: Path, breaks: str, line: str | None) -> None:
    told, broken = run(environment, tmp_path / "report", "-c", OPENED.format(breaks=breaks))
    if line is None:
        assert broken == [] and told.returncode == 0 and "refused" not in told.stdout, told.stderr
    else:
        assert broken[:1] == [line]
        assert "refused: " in told.stdout or "retained" in line, told.stdout + told.stderr
