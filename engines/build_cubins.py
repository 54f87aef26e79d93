"""Compiles the letterbox kernel for the boards we know, in the laboratory: `python -m engines.build_cubins --cuda12 FOLDER`.

Driver and compiler must be of one CUDA generation: JetPack 6 has the driver of CUDA 12.6, which promises nothing for what nvcc 13 made.
So cards and Orin get theirs from NVRTC 12.6 (drivers are backward compatible: CUDA 13 loads it too), and Thor, which is sm_110 from
CUDA 13 on only, from nvcc 13. FOLDER is what this makes:

    pip install --no-deps --target FOLDER nvidia-cuda-nvrtc-cu12==12.6.85 nvidia-cuda-runtime-cu12==12.6.77
"""

from __future__ import annotations

import argparse
import ctypes
import json
import re
import subprocess
import sys
import tempfile
from hashlib import sha256
from pathlib import Path
from typing import Any

from engines.build import compile_kernel, nvcc_path
from engines.errors import BuildError, EnginesError
from engines.runtime.tensorrt.cubins import FOLDER, INDEX, Entry, Index
from engines.runtime.tensorrt.plan import KERNEL_SOURCE

BY_NVRTC = ("sm_86", "sm_87", "sm_89")
"""Cards of the 30 and 40 series, and Orin."""
BY_NVCC = ("sm_110",)
"""Thor."""
_ABI_VERSION = 8  # EI_ABIVERSION of an ELF header


def fused(ptx: str) -> int:
    """How many fused multiply-adds of floats PTX has. One rounds once where OpenCV rounds twice, so there may be none."""
    return len(re.findall(r"^\s*(?:fma|mad)\.(?:\w+\.)*f(?:16|32|64)", ptx, re.MULTILINE))


def nvcc_ptx(arch: str) -> str:
    """PTX of kernel.cu by nvcc for `arch` ("sm_87"). Raises RuntimeUnavailableError without nvcc, BuildError with its words."""
    nvcc = nvcc_path()
    with tempfile.TemporaryDirectory(prefix="leukoscope-") as folder:
        out = Path(folder) / "letterbox.ptx"
        command = [nvcc, "-ptx", f"-arch={arch.replace('sm', 'compute')}", "-O3", "-o", str(out), str(KERNEL_SOURCE)]
        run = subprocess.run(command, capture_output=True, text=True, check=False)
        if run.returncode:
            raise BuildError(f"{KERNEL_SOURCE}: nvcc makes no PTX for {arch}.\n  nvcc: {(run.stderr or run.stdout).strip()}")
        return out.read_text(encoding="utf-8")


class Nvrtc:
    """NVIDIA's compiler as a library, below a folder that pip filled. Raises BuildError where it is not there."""

    def __init__(self, folder: Path) -> None:
        libraries = sorted(folder.glob("nvidia/cuda_nvrtc/lib/libnvrtc.so.*"))
        self._headers = folder / "nvidia/cuda_runtime/include"
        if not libraries or not (self._headers / "cuda_fp16.h").is_file():
            raise BuildError(f"{folder}: has no NVRTC with its headers. Fill it: see the head of {Path(__file__).name}.")
        # Its built-ins first: it looks for them by name only.
        for builtins in sorted(folder.glob("nvidia/cuda_nvrtc/lib/libnvrtc-builtins.so.*")):
            ctypes.CDLL(str(builtins), mode=ctypes.RTLD_GLOBAL)
        self._library: Any = ctypes.CDLL(str(libraries[0]))

    @property
    def name(self) -> str:
        """ "NVRTC 12.6"."""
        major, minor = ctypes.c_int(), ctypes.c_int()
        self._library.nvrtcVersion(ctypes.byref(major), ctypes.byref(minor))
        return f"NVRTC {major.value}.{minor.value}"

    def compile(self, arch: str) -> tuple[bytes, str]:
        """Cubin and PTX of kernel.cu for `arch` ("sm_87"). Raises BuildError with the compiler's words."""
        return self._made(arch, "CUBIN"), self._made(arch.replace("sm", "compute"), "PTX").rstrip(b"\0").decode()

    def _made(self, arch: str, kind: str) -> bytes:
        program, size = ctypes.c_void_p(), ctypes.c_size_t()
        nvrtc = self._library
        source = KERNEL_SOURCE.read_bytes()
        if nvrtc.nvrtcCreateProgram(ctypes.byref(program), source, KERNEL_SOURCE.name.encode(), 0, None, None):
            raise BuildError(f"{self.name} takes no program.")
        try:
            words = [f"--gpu-architecture={arch}".encode(), f"--include-path={self._headers}".encode()]
            if nvrtc.nvrtcCompileProgram(program, len(words), (ctypes.c_char_p * len(words))(*words)):
                nvrtc.nvrtcGetProgramLogSize(program, ctypes.byref(size))
                said = ctypes.create_string_buffer(size.value)
                nvrtc.nvrtcGetProgramLog(program, said)
                raise BuildError(f"{KERNEL_SOURCE}: {self.name} cannot compile it for {arch}.\n{said.value.decode(errors='replace')}")
            if getattr(nvrtc, f"nvrtcGet{kind}Size")(program, ctypes.byref(size)):
                raise BuildError(f"{self.name} gives no {kind} for {arch}.")
            content = ctypes.create_string_buffer(size.value)
            if getattr(nvrtc, f"nvrtcGet{kind}")(program, content):
                raise BuildError(f"{self.name} gives no {kind} for {arch}.")
            return content.raw
        finally:
            nvrtc.nvrtcDestroyProgram(ctypes.byref(program))


def build(cuda12: Path, folder: Path = FOLDER) -> Index:
    """Writes all cubins and, last, their list. Raises BuildError (a fused operation, a compiler's words) or RuntimeUnavailableError."""
    nvrtc = Nvrtc(cuda12)
    nvcc = subprocess.run([nvcc_path(), "--version"], capture_output=True, text=True, check=True).stdout
    release = re.search(r"release \S+ (V\S+)", nvcc)
    made = {arch: (*nvrtc.compile(arch), nvrtc.name) for arch in BY_NVRTC}
    made |= {arch: (compile_kernel(arch), nvcc_ptx(arch), f"nvcc {release[1] if release else '?'}") for arch in BY_NVCC}
    listed = Index(source=sha256(KERNEL_SOURCE.read_bytes()).hexdigest(), cubins={})
    for arch, (cubin, ptx, compiler) in made.items():
        if count := fused(ptx):
            raise BuildError(
                f"{KERNEL_SOURCE}: {compiler} makes {count} fused operations for {arch}, which round otherwise than OpenCV."
            )
        name = f"letterbox-{arch}.cubin"
        (folder / name).write_bytes(cubin)
        digest = sha256(cubin).hexdigest()
        listed["cubins"][arch] = Entry(file=name, sha256=digest, compiler=compiler, abi=cubin[_ABI_VERSION], fused=0)
    (folder / INDEX).write_text(json.dumps(listed, indent=1) + "\n", encoding="utf-8")
    return listed


def main() -> int:
    """0, or 2 with one line of what is missing."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split(":", maxsplit=1)[0])
    parser.add_argument("--cuda12", type=Path, required=True, help="the folder with NVRTC 12.6 and its headers")
    try:
        for arch, entry in build(parser.parse_args().cuda12)["cubins"].items():
            sys.stdout.write(f"{arch}: {entry['file']}, {entry['compiler']}, no fused operation\n")
    except EnginesError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
