"""The letterbox kernel compiled for this GPU by nvcc, once, when a bundle's plans are built."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from pathlib import Path

from engines.errors import BuildError, RuntimeUnavailableError
from engines.runtime.tensorrt.plan import KERNEL_SOURCE

USUAL_PLACE = Path("/usr/local/cuda/bin/nvcc")
"""Where JetPack and CUDA's installers put it, which no service has in its PATH."""


def find_nvcc() -> str:
    """nvcc's path. Raises RuntimeUnavailableError."""
    found = shutil.which("nvcc") or (str(USUAL_PLACE) if USUAL_PLACE.is_file() else None)
    if found is None:
        raise RuntimeUnavailableError(
            f"nvcc is neither in PATH nor in {USUAL_PLACE.parent}, and the kernel that prepares pixels is compiled here. "
            "Install CUDA's compiler; on a Jetson: apt install nvidia-jetpack (or cuda-nvcc-12-6 of JetPack 6)."
        )
    return found


def compile_kernel(arch: str) -> bytes:
    """kernel.cu as a cubin for `arch`, e.g. "sm_87". Raises RuntimeUnavailableError without nvcc, BuildError with nvcc's words."""
    with tempfile.TemporaryDirectory(prefix="leukoscope-") as folder:
        out = Path(folder) / "letterbox.cubin"
        command = [find_nvcc(), "-cubin", f"-arch={arch}", "-O3", "-o", str(out), str(KERNEL_SOURCE)]
        run = subprocess.run(command, capture_output=True, text=True, check=False)
        if run.returncode:
            words = (run.stderr or run.stdout).strip().splitlines()[-5:]
            raise BuildError(f"{KERNEL_SOURCE}: nvcc cannot compile it for {arch}." + "".join(f"\n  nvcc: {line}" for line in words))
        return out.read_bytes()
