"""The GPU's room over the real pycuda, compiled here against CUDA's headers, with our stand-in of the driver behind it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from cuda_standin import COPIES, build_library, environment_of, gpu_tests_break_no_rule, rule_is_found, run

_HEADERS = ("nvidia-cuda-runtime", "nvidia-cuda-crt", "nvidia-cuda-profiler-api")


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """A process's environment with pycuda and the stand-in that it was linked against. Two minutes: pycuda comes as source alone."""
    folder = tmp_path_factory.mktemp("pycuda")
    build_library(folder)
    pip = (sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check")
    subprocess.run([*pip, "install", "--no-deps", "--target", folder / "cuda", *_HEADERS], check=True)
    headers = next((folder / "cuda").glob("nvidia/*/include/cuda.h")).parent
    # pycuda asks ~/.aksetup-defaults.py where CUDA is; cuRAND's headers are not needed for what we call.
    paths = {
        "CUDA_ROOT": str(headers.parent),
        "CUDA_INC_DIR": [str(headers)],
        "CUDADRV_LIB_DIR": [str(folder)],
        "CUDA_ENABLE_CURAND": False,
    }
    (folder / ".aksetup-defaults.py").write_text("".join(f"{name} = {value!r}\n" for name, value in paths.items()))
    subprocess.run(
        [*pip, "install", "--no-deps", "--no-cache-dir", "--target", folder / "site", "pycuda", "pytools", "platformdirs", "siphash24"],
        env=os.environ | {"HOME": str(folder)}, check=True,
    )  # fmt: skip
    # What pycuda could call besides, and we do not (arrays, textures), is looked up when it is called: the stand-in has none of it.
    (folder / "sitecustomize.py").write_text("import os, sys\nsys.setdlopenflags(os.RTLD_LAZY)\n")
    made = environment_of(folder)
    return made | {"PYTHONPATH": f"{folder / 'site'}{os.pathsep}{made['PYTHONPATH']}"}


def test_it_is_pycuda_that_is_taken(environment: dict[str, str], tmp_path: Path) -> None:
    told, broken = run(
        environment, tmp_path / "report", "-c", "from engines.runtime.tensorrt.memory import spoken_by; print(spoken_by())"
    )
    assert told.stdout.startswith("pycuda 20"), told.stdout + told.stderr
    assert broken == []


def test_kernel_memory_and_graph_break_no_rule_of_cuda(environment: dict[str, str], tmp_path: Path) -> None:
    gpu_tests_break_no_rule(environment, tmp_path / "report")


@pytest.mark.parametrize(("breaks", "line"), COPIES)
def test_a_broken_rule_is_found(environment: dict[str, str], tmp_path: Path, breaks: str, line: str | None) -> None:
    rule_is_found(environment, tmp_path / "report", breaks, line)
