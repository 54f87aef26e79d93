"""A process over our stand-in of the NVIDIA driver (`libcuda_standin.c`): built, put first in the loader's way, its report read."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from engines.runtime.tensorrt.plan import KERNEL_SOURCE

ROOT = Path(__file__).resolve().parents[2]
SUPPORT = ROOT / "tests" / "support"
GPU_TESTS = (
    *("-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:xdist", "tests/gpu/test_tensorrt_on_gpu.py"),
    *("-k", "memory_goes or graph_of or (bytes_of_preprocess and (hw0 or hw3 or hw5 or hw6))"),
)
"""Ten tests made for a GPU that ask nothing of TensorRT, for `run`."""
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
"""A program over `Gpu` that copies, marks and waits; `breaks`: what it does in between."""
COPIES: tuple[tuple[str, str | None], ...] = (
    ("gpu.up(memory, pinned.array)", None),  # breaks nothing
    ("gpu.up(memory, pinned.array); pinned.array[7] = 2", "pinned memory changed before it was read"),
    ("gpu.up(memory, np.zeros(4096, np.uint8))", "pageable memory in an asynchronous copy"),
    ("gpu.up(memory, gpu.pinned((8192,), np.uint8).array)", "a copy out of bounds of the GPU's memory"),
)
"""What `OPENED` may break in copying, and the line that the stand-in then writes."""
_STRICT = ("-O2", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC")


def build_library(folder: Path) -> None:
    """libcuda.so.1 in this folder, and libcuda.so for who links against it."""
    library = folder / "libcuda.so.1"
    subprocess.run(["gcc", *_STRICT, "-Wl,-soname,libcuda.so.1", SUPPORT / "libcuda_standin.c", "-o", library, "-ldl"], check=True)
    (folder / "libcuda.so").symlink_to(library.name)


def environment_of(folder: Path) -> dict[str, str]:
    """Of a process that takes libcuda.so.1 from this folder, in which `build_library` put it; the kernel is built for the processor."""
    kernel = folder / "letterbox.so"
    host = ["-ffp-contract=off", "-I", KERNEL_SOURCE.parent, SUPPORT / "letterbox_host.cpp"]
    subprocess.run(["g++", *_STRICT, *host, "-o", kernel], check=True)
    return os.environ | {
        "LD_LIBRARY_PATH": str(folder),
        "LIBCUDA_STANDIN_KERNEL": str(kernel),
        "PYTHONPATH": f"{folder}{os.pathsep}{ROOT}",
        "OMP_NUM_THREADS": "1",
    }


def run(environment: dict[str, str], report: Path, *words: str | Path) -> tuple[subprocess.CompletedProcess[str], list[str]]:
    """A Python process over the stand-in, and the lines of broken rules."""
    told = subprocess.run(
        [sys.executable, *words],
        capture_output=True, text=True, check=False, cwd=ROOT, env=environment | {"LIBCUDA_STANDIN_REPORT": str(report)},
    )  # fmt: skip
    return told, report.read_text().splitlines() if report.exists() else []


def gpu_tests_break_no_rule(environment: dict[str, str], report: Path) -> None:
    """Tests made for a GPU: sizes that are shrunk by a whole ratio, by any other, enlarged; both types; memory; a captured graph."""
    told, broken = run(environment, report, *GPU_TESTS)
    assert told.returncode == 0 and "10 passed" in told.stdout and "skipped" not in told.stdout, told.stdout + told.stderr
    assert broken == []


def rule_is_found(environment: dict[str, str], report: Path, breaks: str, line: str | None) -> None:
    """What `OPENED` breaks is written down first, and refused; nothing is where it breaks nothing (line None)."""
    told, broken = run(environment, report, "-c", OPENED.format(breaks=breaks))
    if line is None:
        assert broken == [] and told.returncode == 0 and "refused" not in told.stdout, told.stderr
    else:
        assert broken[:1] == [line]
        assert "refused: " in told.stdout or "retained" in line, told.stdout + told.stderr
