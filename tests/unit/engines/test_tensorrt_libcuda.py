"""What of TensorRT's room needs a driver and no TensorRT: the real cuda-bindings over a libcuda that keeps CUDA's rules."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from cuda_standin import GPU_TESTS, OPENED, build_library, environment_of, run

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
    """Tests made for a GPU: sizes that are shrunk by a whole ratio, by any other, enlarged; both types; memory; a captured graph."""
    told, broken = run(environment, tmp_path / "report", *GPU_TESTS)
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
