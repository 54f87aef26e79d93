"""kernel.cu built for the processor by g++, and called as the GPU is: what checks the kernel's arithmetic where there is no GPU."""

from __future__ import annotations

import ctypes
import shutil
import subprocess
import tempfile
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from engines.detections import Float32, Image
from engines.preprocess import letterbox_geometry
from engines.runtime.tensorrt.letterbox import BLOCK, grid, tables
from engines.runtime.tensorrt.plan import KERNEL_SOURCE


@cache
def host_kernel() -> ctypes.CDLL:
    """The library with `run_letterbox_f32(grid, block, frame, out, columns, rows, geometry)`; skips where there is no g++."""
    if shutil.which("g++") is None:
        pytest.skip("needs g++ to build kernel.cu for the processor")
    folder = Path(tempfile.mkdtemp(prefix="leukoscope-kernel-"))
    library = folder / "letterbox.so"
    source = Path(__file__).with_suffix(".cpp")
    # No contraction: x86 would not fuse, arm64 would.
    command = ["g++", "-O2", "-ffp-contract=off", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC", "-I", str(KERNEL_SOURCE.parent)]
    subprocess.run([*command, str(source), "-o", str(library)], check=True)
    made = ctypes.CDLL(str(library))
    shutil.rmtree(folder)
    return made


def prepare_by_kernel(image: Image, input_hw: tuple[int, int], scale_up: bool) -> Float32:
    """What the kernel makes of a frame: (1, 3, H, W) float32, to be compared with `engines.preprocess.prepare`."""
    geometry = letterbox_geometry((image.shape[0], image.shape[1]), input_hw, scale_up)
    made = tables(geometry)
    out = np.full((1, 3, *input_hw), np.nan, np.float32)
    numbers = [np.array(size, np.uint32) for size in (grid(geometry), BLOCK)]
    arrays = [*numbers, np.ascontiguousarray(image), out, made.columns, made.rows, made.geometry]
    host_kernel().run_letterbox_f32(*(ctypes.c_void_p(array.ctypes.data) for array in arrays))
    return out
