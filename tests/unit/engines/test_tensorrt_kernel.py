"""The letterbox kernel, its very source built for the processor: the same bytes as `engines.preprocess`. It compiles for the boards."""

from __future__ import annotations

import shutil
from hashlib import sha256
from itertools import islice
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from letterbox_host import host_kernel, prepare_by_kernel

from engines import build, build_cubins
from engines.build import compile_kernel, kernel_for
from engines.build_cubins import fused, nvcc_ptx
from engines.detections import Image
from engines.errors import BuildError, RuntimeUnavailableError
from engines.preprocess import letterbox_geometry, prepare
from engines.runtime.tensorrt.cubins import FOLDER, index, prebuilt
from engines.runtime.tensorrt.letterbox import AREA, AREA_WHOLE, COPY, GEOMETRY, LINEAR, SPAN, tables
from engines.runtime.tensorrt.plan import KERNEL_SOURCE

needs_nvcc = pytest.mark.skipif(shutil.which("nvcc") is None and not build.NVCC.is_file(), reason="needs nvcc (CUDA's compiler)")


def noise(hw: tuple[int, int], seed: int = 0) -> Image:
    """Every byte is another number, so that no wrong weight or row stays hidden."""
    return np.random.default_rng(seed).integers(0, 256, (*hw, 3), dtype=np.uint8)


@pytest.mark.parametrize(
    ("hw", "mode"),
    [
        ((1080, 1920), AREA_WHOLE),  # three to one
        ((1280, 1280), AREA_WHOLE),  # two to one: rounded otherwise
        ((1944, 2592), AREA),
        ((1081, 1921), AREA),
        ((719, 1283), AREA),
        ((641, 640), AREA),
        ((900, 13), AREA),
        ((1, 4000), AREA),
        ((480, 640), COPY),
        ((639, 640), COPY),
        ((360, 363), LINEAR),
        ((241, 317), LINEAR),
        ((320, 320), LINEAR),
        ((3, 5), LINEAR),
        ((1, 1), LINEAR),
    ],
)
def test_the_kernel_gives_the_bytes_of_preprocess(hw: tuple[int, int], mode: int) -> None:
    assert tables(letterbox_geometry(hw, (640, 640), True)).geometry["mode"][0] == mode
    image = noise(hw)
    np.testing.assert_array_equal(prepare_by_kernel(image, (640, 640), True), prepare(image, (640, 640), True)[0])


@settings(max_examples=40)
@given(
    st.tuples(st.integers(1, 700), st.integers(1, 700)),
    st.sampled_from([(320, 320), (96, 160), (64, 32)]),
    st.booleans(),
    st.integers(0, 9),
)
def test_the_kernel_gives_the_bytes_of_preprocess_at_any_size(
    hw: tuple[int, int], input_hw: tuple[int, int], scale_up: bool, seed: int
) -> None:
    host_kernel()  # skips outside of hypothesis' own reading of exceptions
    image = noise(hw, seed)
    np.testing.assert_array_equal(prepare_by_kernel(image, input_hw, scale_up), prepare(image, input_hw, scale_up)[0])


@pytest.mark.shared
def test_the_kernel_gives_the_bytes_of_preprocess_on_real_fields(shared_data: Path) -> None:
    paths = [path for name in ("lld_40x", "bccd", "pbc") for path in islice(sorted((shared_data / name / "Images/val").iterdir()), 3)]
    assert len(paths) == 9
    for path in paths:
        image = np.asarray(cv2.imread(str(path), cv2.IMREAD_COLOR), np.uint8)
        np.testing.assert_array_equal(prepare_by_kernel(image, (640, 640), True), prepare(image, (640, 640), True)[0])


def test_the_tables_have_the_kernels_layout() -> None:
    """Two structs in two languages: five and ten words of four bytes, without gaps."""
    assert SPAN.itemsize == 20 and GEOMETRY.itemsize == 40
    made = tables(letterbox_geometry((1944, 2592), (640, 640), True))
    assert made.columns.shape == (640,) and made.rows.shape == (480,) and made.geometry.shape == (1,)
    assert (made.columns["first"] + made.columns["count"]).max() == 2592  # reaches the last pixel and no further
    weights = made.columns["head"] + (made.columns["count"] - 2) * made.columns["body"] + made.columns["tail"]
    np.testing.assert_allclose(weights, 1, atol=1e-6)


@needs_nvcc
@pytest.mark.parametrize("arch", ["sm_87", "sm_90", "sm_110"])
def test_it_compiles_for_orin_hopper_and_thor(arch: str) -> None:
    cubin = compile_kernel(arch)
    assert cubin[:4] == b"\x7fELF"
    assert b"letterbox_f32" in cubin and b"letterbox_f16" in cubin


@needs_nvcc
def test_nvccs_words_reach_the_reader() -> None:
    with pytest.raises(BuildError, match=r"nvcc cannot compile it for sm_1\.(.|\n)*nvcc: .*sm_1"):
        compile_kernel("sm_1")


def test_without_nvcc_it_says_where_it_comes_from(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(build, "NVCC", tmp_path / "bin/nvcc")
    with pytest.raises(RuntimeUnavailableError, match=r"nvcc is neither in PATH nor in .*bin.*one for sm_86, sm_87.*apt install"):
        compile_kernel("sm_87")


@pytest.mark.parametrize("arch", [*build_cubins.BY_NVRTC, *build_cubins.BY_NVCC])
def test_a_board_without_nvcc_takes_the_cubin_of_the_package(arch: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A kernel.cu that changed without `python -m engines.build_cubins` fails here, because then nothing is shipped for it."""
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(build, "NVCC", tmp_path / "bin/nvcc")
    cubin = kernel_for(arch)
    assert cubin[:4] == b"\x7fELF"
    assert b"letterbox_f32" in cubin and b"letterbox_f16" in cubin
    with pytest.raises(RuntimeUnavailableError, match="nvcc is neither"):
        kernel_for("sm_61")


def test_a_cubin_is_neither_taken_for_another_source_nor_when_damaged(tmp_path: Path) -> None:
    here = sha256(KERNEL_SOURCE.read_bytes()).hexdigest()
    folder = Path(shutil.copytree(FOLDER, tmp_path / "cubins"))
    assert prebuilt("sm_87", here, folder) is not None
    assert prebuilt("sm_87", sha256(KERNEL_SOURCE.read_bytes() + b" ").hexdigest(), folder) is None
    (folder / "letterbox-sm_87.cubin").write_bytes((FOLDER / "letterbox-sm_87.cubin").read_bytes()[:-1])
    with pytest.raises(BuildError, match=r"letterbox-sm_87\.cubin: is altered or incomplete"):
        prebuilt("sm_87", here, folder)


def test_orins_cubin_is_of_cuda_12_which_the_driver_of_jetpack_6_reads() -> None:
    """nvcc 13 writes ELF ABI 8, CUDA 12.6 writes 7; a driver promises to read what its own CUDA or an older one wrote."""
    made = index()["cubins"]
    assert {entry["compiler"] for arch, entry in made.items() if arch != "sm_110"} == {"NVRTC 12.6"}
    assert {arch: (FOLDER / entry["file"]).read_bytes()[8] for arch, entry in made.items()} == {
        "sm_86": 7, "sm_87": 7, "sm_89": 7, "sm_110": 8
    }  # fmt: skip


@needs_nvcc
def test_no_product_and_sum_are_fused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A fused one rounds once where OpenCV rounds twice; the same kernel without its intrinsics shows that the count can rise."""
    ptx = nvcc_ptx("sm_87")
    assert ptx.count("mul.rn") > 40 and fused(ptx) == 0
    loose = KERNEL_SOURCE.read_text().replace("__fadd_rn(row[c], __fmul_rn((float)pixel[c], w))", "row[c] + (float)pixel[c] * w")
    assert loose != KERNEL_SOURCE.read_text()
    (tmp_path / "kernel.cu").write_text(loose)
    monkeypatch.setattr(build_cubins, "KERNEL_SOURCE", tmp_path / "kernel.cu")
    assert fused(nvcc_ptx("sm_87")) > 0
