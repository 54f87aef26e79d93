"""What only a GPU can show: the kernel's bytes, pycuda's memory, graphs of real work, TensorRT's numbers, flat memory, a yardstick."""

from __future__ import annotations

import importlib.util
import time
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest

from engines.build import kernel_for
from engines.build_plans import build_plans
from engines.bundle import ZOO, Bundle
from engines.detections import Image
from engines.errors import RuntimeUnavailableError
from engines.naming.tiles import TileGeometry, cut_tiles
from engines.preprocess import letterbox_geometry, prepare
from engines.runtime.engine import golden_difference
from engines.runtime.onnx import OnnxEngine
from engines.runtime.tensorrt.board import process_bytes
from engines.runtime.tensorrt.driver import Driver
from engines.runtime.tensorrt.engine import TensorrtEngine
from engines.runtime.tensorrt.letterbox import BLOCK, grid, tables
from engines.runtime.tensorrt.memory import Gpu, bindings


def why_not() -> str:
    """Why these tests cannot run on this machine, or ""."""
    try:
        kernel_for(Driver().device().arch)  # shipped, or by nvcc
        bindings()
    except RuntimeUnavailableError as error:
        return str(error)
    return ""


pytestmark = pytest.mark.gpu

TENSORRT = next((name for name in ("tensorrt", "tensorrt_rtx") if importlib.util.find_spec(name)), None)
needs_pycuda = pytest.mark.skipif(bool(why_not()), reason=why_not() or "it runs")
needs_tensorrt = pytest.mark.skipif(bool(why_not()) or TENSORRT is None, reason=why_not() or "needs tensorrt or tensorrt_rtx")
SIZES = [(1080, 1920), (1944, 2592), (480, 640), (360, 363), (1281, 1279), (719, 1283), (3, 5), (1, 4000), (640, 641)]


@pytest.fixture
def gpu() -> Iterator[Gpu]:
    with Gpu(Driver()) as opened:
        yield opened


def noise(hw: tuple[int, int], seed: int = 0) -> Image:
    return np.random.default_rng(seed).integers(0, 256, (*hw, 3), dtype=np.uint8)


def wait(gpu: Gpu) -> None:
    gpu.mark()
    end = time.monotonic() + 10
    while not gpu.done():
        assert time.monotonic() < end


class Letterboxed:
    """The kernel with its buffers for one size of frame."""

    def __init__(self, gpu: Gpu, hw: tuple[int, int], dtype: type[np.floating], arch: str) -> None:
        self.gpu = gpu
        self.geometry = letterbox_geometry(hw, (640, 640), True)
        made = tables(self.geometry)
        self.parts = [gpu.pinned(part.shape, part.dtype) for part in (made.columns, made.rows, made.geometry)]
        for pinned, part in zip(self.parts, (made.columns, made.rows, made.geometry), strict=True):
            pinned.array[:] = part
        self.table_buffers = [gpu.buffer(pinned.array.nbytes) for pinned in self.parts]
        self.frame, self.frame_up = gpu.buffer(hw[0] * hw[1] * 3), gpu.pinned((*hw, 3), np.uint8)
        self.image = gpu.buffer(3 * 640 * 640 * np.dtype(dtype).itemsize)
        self.image_down = gpu.pinned((1, 3, 640, 640), dtype)
        self.kernel = gpu.kernel(kernel_for(arch), "letterbox_f16" if dtype is np.float16 else "letterbox_f32")
        for buffer, pinned in zip(self.table_buffers, self.parts, strict=True):
            gpu.up(buffer, pinned.array)
        wait(gpu)

    def enqueue(self) -> None:
        self.gpu.up(self.frame, self.frame_up.array)
        addresses = (self.frame.address, self.image.address, *(buffer.address for buffer in self.table_buffers))
        self.gpu.launch(self.kernel, grid(self.geometry), BLOCK, addresses)
        self.gpu.down(self.image_down.array, self.image)


@needs_pycuda
@pytest.mark.parametrize("hw", SIZES)
@pytest.mark.parametrize("dtype", [np.float32, np.float16])
def test_the_kernel_gives_the_bytes_of_preprocess(gpu: Gpu, hw: tuple[int, int], dtype: type[np.floating]) -> None:
    work = Letterboxed(gpu, hw, dtype, Driver().device().arch)
    work.frame_up.array[:] = image = noise(hw)
    work.enqueue()
    wait(gpu)
    np.testing.assert_array_equal(work.image_down.array, prepare(image, (640, 640), True)[0].astype(dtype))


@needs_pycuda
def test_memory_goes_up_and_down_and_is_given_back() -> None:
    driver = Driver()
    on_thread = driver.current_context()
    with Gpu(driver) as opened:
        mem_get_address_range = bindings()[1].mem_get_address_range
        buffer, up, down = opened.buffer(64 << 20), opened.pinned((64 << 20,), np.uint8), opened.pinned((64 << 20,), np.uint8)
        # The driver is asked of this very memory: what the board has free moves with every program and the page cache.
        base, size = mem_get_address_range(buffer.address)
        assert int(base) == buffer.address and size >= 64 << 20 and opened.held_bytes == 3 * (64 << 20)
        up.array[:] = np.random.default_rng(0).integers(0, 256, 64 << 20, dtype=np.uint8)
        opened.up(buffer, up.array)
        opened.down(down.array, buffer)
        wait(opened)
        np.testing.assert_array_equal(down.array, up.array)
        buffer.free()
        assert opened.held_bytes == 2 * (64 << 20)
        with pytest.raises(opened.errors):
            mem_get_address_range(buffer.address)
    assert driver.current_context() == on_thread


@needs_pycuda
def test_a_graph_of_copies_and_kernel_reads_the_frame_of_its_launch(gpu: Gpu) -> None:
    driver, hw = Driver(), (1080, 1920)
    work = Letterboxed(gpu, hw, np.float32, driver.device().arch)
    work.enqueue()
    wait(gpu)
    graph = driver.capture(gpu.stream, work.enqueue)
    try:
        for seed in range(3):
            work.frame_up.array[:] = image = noise(hw, seed)
            driver.launch(graph, gpu.stream)
            wait(gpu)
            np.testing.assert_array_equal(work.image_down.array, prepare(image, (640, 640), True)[0])
    finally:
        driver.destroy(graph)
    assert driver.stream_fault(gpu.stream) == ""


@pytest.fixture(scope="module")
def plans(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The shipped network built here, which also answers its golden picture."""
    folder = tmp_path_factory.mktemp("plans")
    assert TENSORRT is not None
    outcome = build_plans(Bundle.open(ZOO / "attridet-n"), folder, TENSORRT)
    assert outcome.built and not build_plans(Bundle.open(ZOO / "attridet-n"), folder, TENSORRT).built
    return folder


def opened(plans: Path) -> TensorrtEngine:
    return TensorrtEngine(Bundle.open(ZOO / "attridet-n"), plans, verify=True, library=TENSORRT or "")


@needs_tensorrt
def test_tensorrt_says_what_onnx_runtime_says(plans: Path) -> None:
    """Boxes within 0.1 px and probabilities within 0.001, on the golden picture in several sizes: direct, captured and replayed."""
    bundle = Bundle.open(ZOO / "attridet-n")
    golden = bundle.golden()
    assert golden is not None
    with opened(plans) as engine, OnnxEngine(bundle, threads=8) as reference:
        for hw in ((480, 640), (1080, 1440), (600, 800)):
            picture = np.asarray(cv2.resize(golden[0], (hw[1], hw[0]), interpolation=cv2.INTER_CUBIC), np.uint8)
            for turned in (picture, np.ascontiguousarray(picture[::-1]), np.ascontiguousarray(picture[:, ::-1])):
                found, expected = engine.infer(turned).detections, reference.infer(turned).detections
                assert len(expected) > 0
                assert golden_difference(found, expected, 0.1 / min(640 / hw[0], 640 / hw[1], 1), 1e-3) is None
        assert all(part._graph is not None for part in engine._on_gpu._parts[:2])  # none fell back to single calls


@needs_tensorrt
def test_the_second_look_has_onnx_runtimes_features(plans: Path) -> None:
    """Within 0.001, where over cells they spread by some tenths; naming layers are fitted to ONNX Runtime's or torch's."""
    bundle = Bundle.open(ZOO / "attridet-n")
    if bundle.manifest.second_look is None:
        pytest.skip("the shipped bundle has no second look yet")
    golden = bundle.golden()
    assert golden is not None
    boxes = np.concatenate([golden[1].boxes_px, golden[1].boxes_px + 20])
    tiles = cut_tiles(golden[0], boxes, TileGeometry())
    with opened(plans) as engine, OnnxEngine(bundle, threads=8) as reference:
        expected = reference.look(tiles)
        for _ in range(3):
            assert np.abs(engine.look(tiles) - expected).max() < 1e-3 < expected.std(0).mean() / 20


@needs_tensorrt
def test_memory_is_flat_over_ten_thousand_frames(plans: Path, record_property: pytest.RecordProperty) -> None:
    """This process's own, and what our loop holds on the GPU. What the board has free is written down and judges nothing."""
    golden = Bundle.open(ZOO / "attridet-n").golden()
    assert golden is not None
    driver = Driver()
    with opened(plans) as engine:
        for _ in range(200):
            engine.infer(golden[0])
        before, held, free, start = process_bytes(), engine.held_bytes, driver.free_bytes(), time.perf_counter()
        for _ in range(10_000):
            engine.infer(golden[0])
        record_property("ms_per_frame", (time.perf_counter() - start) / 10)
        after = process_bytes()
        record_property("process_rss_mib", after["Rss"] >> 20)
        record_property("board_free_change_mib", ((driver.free_bytes() or 0) - (free or 0)) >> 20)
        assert engine.held_bytes == held > 0
        for name in ("Anonymous", "Private_Dirty"):  # 400 bytes a frame would be seen
            assert after[name] - before[name] < 4 << 20, name


def test_size_x_in_half_precision_as_a_yardstick(record_property: pytest.RecordProperty) -> None:
    """Frames a second of AttriDet-x in torch, float16; what the numbers are compared with, and that they are numbers."""
    torch = pytest.importorskip("torch")
    if not torch.cuda.is_available():
        pytest.skip("this build of torch has no CUDA")
    from engines.network import AttriDet

    torch.manual_seed(0)
    model = AttriDet("x").eval().cuda()
    picture = torch.from_numpy(prepare(noise((1080, 1920)), (640, 640), True)[0]).cuda()
    with torch.inference_mode():
        reference = model(picture).rows
        half, halved = model.half(), picture.half()
        rows = half(halved).rows
        assert torch.isfinite(rows).all()
        assert (rows[..., 4:].float() - reference[..., 4:]).abs().max() < 0.02
        for _ in range(10):
            half(halved)
        torch.cuda.synchronize()
        start = time.perf_counter()
        for _ in range(50):
            half(halved)
        torch.cuda.synchronize()
    # Seen with `pytest --junitxml`, beside the card's name.
    record_property("card", torch.cuda.get_device_name())
    record_property("size_x_float16_frames_per_s", 50 / (time.perf_counter() - start))
