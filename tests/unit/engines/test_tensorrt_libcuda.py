"""What of TensorRT's room needs a driver and no TensorRT: the real cuda-bindings over a libcuda that keeps CUDA's rules."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from cuda_standin import COPIES, build_library, environment_of, gpu_tests_break_no_rule, rule_is_found

pytest.importorskip("cuda.bindings", reason="needs cuda-bindings (extra cuda)")


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """A process's environment in which libcuda.so.1 is the stand-in and pycuda is not there."""
    if shutil.which("gcc") is None or shutil.which("g++") is None:
        pytest.skip("needs gcc and g++ to build the stand-in")
    folder = tmp_path_factory.mktemp("libcuda")
    build_library(folder)
    (folder / "pycuda.py").write_text("raise ImportError('left out here')\n")
    return environment_of(folder)


def test_kernel_memory_and_graph_break_no_rule_of_cuda(environment: dict[str, str], tmp_path: Path) -> None:
    gpu_tests_break_no_rule(environment, tmp_path / "report")


@pytest.mark.parametrize(
    ("breaks", "line"),
    [
        *COPIES,
        ("driver.capture(gpu.stream, lambda: gpu.buffer(16))", "cuMemAlloc during a capture"),
        ("gpu._cuda.Context.pop(); gpu.buffer(16)", "cuMemAlloc without a context"),
        ("gpu._stream = gpu._cuda.Stream(0)", "a stream that waits for the legacy stream"),
        ("gpu._cuda.Device(0).retain_primary_context()", "context retained 1 times more than released"),
    ],
)
def test_a_broken_rule_is_found(environment: dict[str, str], tmp_path: Path, breaks: str, line: str | None) -> None:
    rule_is_found(environment, tmp_path / "report", breaks, line)
