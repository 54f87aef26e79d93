"""The loop against a stand-in that keeps TensorRT's and CUDA's rules and answers by ONNX Runtime: order, numbers, failures."""

from __future__ import annotations

import gc
import json
import threading
from itertools import islice
from pathlib import Path

import cv2
import numpy as np
import pytest
from looking_bundles import without_second_look
from recording_cuda import Machine
from standin_plans import machine as stand_in
from standin_plans import write_plans

from engines.bundle import ZOO, Bundle
from engines.detections import Image
from engines.errors import BundleError, DeviceLostError, InferenceError, RuntimeUnavailableError
from engines.naming.tiles import TileGeometry, cut_tiles
from engines.preprocess import letterbox_geometry, place
from engines.runtime.base import Engine
from engines.runtime.engine import golden_difference
from engines.runtime.guarded import GuardedEngine
from engines.runtime.onnx import OnnxEngine
from engines.runtime.tensorrt.engine import TensorrtEngine
from engines.runtime.tensorrt.loop import FRAME_BYTES


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Machine:
    return stand_in(monkeypatch)


@pytest.fixture
def plans(bundle: Bundle, tmp_path: Path) -> Path:
    write_plans(tmp_path / "plans", bundle)
    return tmp_path / "plans"


def engine(bundle: Bundle, plans: Path, **options: float) -> TensorrtEngine:
    return TensorrtEngine(bundle, plans, **options)


def all_freed(machine: Machine) -> bool:
    gc.collect(1)  # young objects: what a failure left in its traceback
    return machine.alive == {} and not any(machine.current.values())  # nor is a context left on the thread


def test_it_says_what_onnx_runtime_says(machine: Machine, bundle: Bundle, plans: Path, frame: Image) -> None:
    on_gpu, held = TensorrtEngine(bundle, plans, verify=True), 0
    as_the_daemon_has_it: Engine = on_gpu
    assert as_the_daemon_has_it is on_gpu
    smaller = np.ascontiguousarray(frame[:200, :300])
    with on_gpu, OnnxEngine(bundle, threads=1) as reference:
        assert on_gpu.info.runtime == "TensorRT 10.16.2 on Stand-in (sm_87), pycuda"
        for picture in (frame, frame[::-1], smaller, frame, frame):
            found, expected = on_gpu.infer(picture), reference.infer(picture).detections
            assert len(expected) > 4
            assert golden_difference(found.detections, expected, 1e-3, 1e-5) is None
            assert set(found.timings_ms) == {"preprocess", "detector", "nms", "attributes"}
            held = held or on_gpu.held_bytes
            assert on_gpu.held_bytes == held > FRAME_BYTES
    assert "launch graph" in machine.calls
    assert all_freed(machine) and on_gpu.held_bytes == 0


def test_with_a_deadline_around_it_the_context_stays_on_the_thread_that_opened_it(
    machine: Machine, bundle: Bundle, plans: Path, frame: Image
) -> None:
    with GuardedEngine(lambda: TensorrtEngine(bundle, plans, verify=True)) as guarded, OnnxEngine(bundle, threads=1) as reference:
        for picture in (frame, frame[::-1], frame):
            expected = reference.infer(picture).detections
            found = guarded.infer(picture).detections
            assert golden_difference(found, expected, 1e-3, 1e-5) is None
            assert len(guarded.name_cells(picture, found)) == len(found)
    assert all_freed(machine)


@pytest.mark.shared
def test_it_says_what_onnx_runtime_says_with_the_shipped_network_on_real_fields(
    machine: Machine, shared_data: Path, tmp_path: Path
) -> None:
    shipped = Bundle.open(ZOO / "attridet-n")
    write_plans(tmp_path, shipped)
    with engine(shipped, tmp_path, verify=True) as on_gpu, OnnxEngine(shipped) as reference:
        cells = 0
        for name in ("bccd", "lld_40x"):
            for path in islice(sorted((shared_data / name / "Images/val").iterdir()), 2):
                picture = np.asarray(cv2.imread(str(path), cv2.IMREAD_COLOR), np.uint8)
                expected = reference.infer(picture).detections
                assert golden_difference(on_gpu.infer(picture).detections, expected, 0.01, 1e-4) is None
                cells += len(expected)
    assert cells > 4


def test_the_second_look_runs_by_its_plan(machine: Machine, bundle: Bundle, plans: Path, frame: Image) -> None:
    tiles = cut_tiles(frame, np.array([[40 * i, 20 * i, 40 * i + 50, 20 * i + 50] for i in range(11)], np.float32), TileGeometry())
    with engine(bundle, plans) as on_gpu, OnnxEngine(bundle, threads=1) as reference:
        for some in (tiles, tiles[:1], tiles[:9]):
            machine.ran.clear()
            np.testing.assert_allclose(on_gpu.look(some), reference.look(some), atol=1e-6)
            assert machine.ran == ["up", "execute", "down"] * (2 if len(some) > 9 else 1)
        assert golden_difference(on_gpu.infer(frame).detections, reference.infer(frame).detections, 1e-3, 1e-5) is None
    assert all_freed(machine)


def test_plans_of_a_bundle_without_a_second_look_still_open(machine: Machine, bundle: Bundle, tmp_path: Path, frame: Image) -> None:
    old = without_second_look(bundle, tmp_path / "old")
    sidecar = write_plans(tmp_path / "plans", old)
    written = json.loads(sidecar.read_text())
    del written["key"]["cells"]  # as it was before there was a second look
    sidecar.write_text(json.dumps(written))
    assert set(written["files"]) == {"detector", "attributes", "kernel"}
    with engine(old, tmp_path / "plans", verify=True) as on_gpu:
        assert len(on_gpu.infer(frame).detections)
        with pytest.raises(BundleError, match="no graph for a second look"):
            on_gpu.look(np.zeros((1, 224, 224, 3), np.uint8))
    with pytest.raises(RuntimeUnavailableError, match="built for a bundle without a second look"), engine(bundle, tmp_path / "plans"):
        pass


def test_a_frame_goes_up_once_and_the_feature_maps_stay(machine: Machine, bundle: Bundle, plans: Path, frame: Image) -> None:
    with engine(bundle, plans) as on_gpu:
        for _ in range(3):
            machine.ran.clear()
            found = on_gpu.infer(frame)
            assert 0 < len(found.detections) <= on_gpu._on_gpu.regions  # one run of the attribute graph
            one = ["up", "kernel", "execute", "down", "up", "execute", "down"]
            # The first frame of a size brings the kernel's tables as well.
            assert machine.ran in (one, ["up", *one])


def test_all_addresses_and_memory_are_there_before_the_first_frame(machine: Machine, bundle: Bundle, plans: Path, frame: Image) -> None:
    with engine(bundle, plans) as on_gpu:
        for _ in range(3):
            on_gpu.infer(frame)  # direct, captured, replayed
        made, before = machine.made, len(machine.calls)
        for _ in range(5):
            on_gpu.infer(frame)
        later = machine.calls[before:]
        assert machine.made == made
        assert set(later) == {"launch graph", "record", "query"}
        assert later.count("launch graph") == 10
        bound = [call for call in machine.calls if call.startswith("set_tensor_address")]
        assert len(bound) == 10 and machine.calls.index("execute") > max(machine.calls.index(call) for call in bound)


def test_memory_is_flat_over_ten_thousand_frames(machine: Machine, bundle: Bundle, plans: Path) -> None:
    """With one cell in every answer, so that both halves run; numbers are canned, since this counts what is made and freed."""
    machine.kernel, machine.polls = None, 0
    rows = np.zeros((1, 6300, 19), np.float32)
    rows[0, 7, :6] = (100, 100, 40, 40, 0.9, 0.8)
    machine.canned = {"rows": rows, "probabilities": np.full((64, 15), 0.5, np.float32)}
    picture = np.zeros((64, 64, 3), np.uint8)
    with engine(bundle, plans) as on_gpu:
        for _ in range(3):
            assert len(on_gpu.infer(picture).detections) == 1
        made, alive = machine.made, len(machine.alive)
        for _ in range(10_000):
            on_gpu.infer(picture)
            machine.calls.clear()
            machine.ran.clear()
        assert (machine.made, len(machine.alive)) == (made, alive)
    assert all_freed(machine)


def test_a_larger_frame_than_any_camera_known_makes_room_once(machine: Machine, bundle: Bundle, plans: Path, frame: Image) -> None:
    large = cv2.resize(frame, (3400, 1700))
    assert large.nbytes > FRAME_BYTES
    with engine(bundle, plans) as on_gpu, OnnxEngine(bundle, threads=1) as reference:
        expected = reference.infer(np.asarray(large, np.uint8)).detections
        for _ in range(2):
            assert golden_difference(on_gpu.infer(np.asarray(large, np.uint8)).detections, expected, 1e-2, 1e-4) is None
        made = machine.made
        on_gpu.infer(np.asarray(large, np.uint8))
        on_gpu.infer(frame)
        assert machine.made == made
    assert all_freed(machine)


def test_a_graph_never_reads_memory_that_was_given_back(machine: Machine, bundle: Bundle, plans: Path, frame: Image) -> None:
    """A larger frame was loaded, so that room was made, but something else was wanted before it was looked at."""
    large = np.zeros((1700, 3400, 3), np.uint8)  # more than FRAME_BYTES
    with engine(bundle, plans) as on_gpu, OnnxEngine(bundle, threads=1) as reference:
        for _ in range(3):
            on_gpu.infer(frame)
        on_gpu._on_gpu.load(large, letterbox_geometry((1700, 3400), (320, 320), True))
        assert golden_difference(on_gpu.infer(frame).detections, reference.infer(frame).detections, 1e-3, 1e-5) is None


def test_a_prepared_picture_gives_the_same_rows(machine: Machine, bundle: Bundle, plans: Path, frame: Image) -> None:
    """What a GPU's kernel is compared with."""
    with engine(bundle, plans) as on_gpu:
        by_kernel = on_gpu.propose(frame).rows.copy()
        placed, _ = place(frame, (320, 320), True)
        for _ in range(3):
            np.testing.assert_array_equal(on_gpu.graphs.detect(placed), by_kernel)
        with pytest.raises(InferenceError, match=r"a letterboxed picture is \(320, 320, 3\), this one is \(32, 32, 3\)"):
            on_gpu.graphs.detect(placed[:32, :32])


def test_without_graphs_it_goes_call_by_call_and_says_so(
    machine: Machine, bundle: Bundle, plans: Path, frame: Image, caplog: pytest.LogCaptureFixture
) -> None:
    machine.captures = False
    with engine(bundle, plans) as on_gpu, OnnxEngine(bundle, threads=1) as reference:
        for _ in range(4):
            assert golden_difference(on_gpu.infer(frame).detections, reference.infer(frame).detections, 1e-3, 1e-5) is None
    assert "launch graph" not in machine.calls
    assert [record.message for record in caplog.records if "no CUDA graph could be captured (cuStreamEndCapture" in record.message]
    assert all_freed(machine)


# ---- what goes wrong


def test_a_frame_too_large_for_the_gpu_is_left_out(machine: Machine, bundle: Bundle, plans: Path, frame: Image) -> None:
    with engine(bundle, plans) as on_gpu:
        machine.fails_at = machine.made + 1  # the second of the two memories that it takes
        with pytest.raises(InferenceError, match="CUDA: pagelocked_empty failed: out of memory"):
            on_gpu.infer(np.zeros((1700, 3400, 3), np.uint8))
        machine.fails_at = None
        assert len(on_gpu.infer(frame).detections) > 0
    assert all_freed(machine)


def test_a_refusal_carries_tensorrts_own_line_and_the_next_frame_is_tried(
    machine: Machine, bundle: Bundle, plans: Path, frame: Image
) -> None:
    with engine(bundle, plans) as on_gpu:
        machine.execute_answers = False
        with pytest.raises(InferenceError, match=r"refused to run the detector\n  TensorRT: .*the execution context says no"):
            on_gpu.infer(frame)
        machine.execute_answers = True
        assert len(on_gpu.infer(frame).detections) > 0
        assert on_gpu.infer(frame).detections.scores[0] > 0


def test_a_missed_deadline_is_an_error_and_the_late_work_is_waited_for(
    machine: Machine, bundle: Bundle, plans: Path, frame: Image
) -> None:
    with engine(bundle, plans, deadline_ms=30) as on_gpu, OnnxEngine(bundle, threads=1) as reference:
        on_gpu.infer(frame)
        machine.hangs = True
        with pytest.raises(InferenceError, match="did not answer within 30 ms; this one is left out"):
            on_gpu.infer(frame)
        with pytest.raises(InferenceError, match="still busy with an earlier frame"):
            on_gpu.infer(frame[::-1])
        machine.hangs = False
        turned = np.ascontiguousarray(frame[::-1])
        assert golden_difference(on_gpu.infer(turned).detections, reference.infer(turned).detections, 1e-3, 1e-5) is None


def test_a_call_from_another_thread_says_whose_it_is(machine: Machine, bundle: Bundle, plans: Path, frame: Image) -> None:
    told: list[str] = []

    def ask(on_gpu: TensorrtEngine) -> None:
        try:
            on_gpu.infer(frame)
        except InferenceError as error:
            told.append(str(error))

    with engine(bundle, plans) as on_gpu:
        thread = threading.Thread(target=ask, args=(on_gpu,))
        thread.start()
        thread.join()
        assert len(told) == 1 and "opened by another thread" in told[0]
        on_gpu.infer(frame)


@pytest.mark.parametrize("at_frame", [1, 5])
def test_a_fault_of_the_gpu_ends_the_process(machine: Machine, bundle: Bundle, plans: Path, frame: Image, at_frame: int) -> None:
    """Exit code 1, so that systemd starts the daemon again; nothing of the broken context is touched on the way out."""
    on_gpu = engine(bundle, plans)
    with pytest.raises(DeviceLostError, match=r"an illegal memory access was encountered.*started anew") as lost, on_gpu:
        for _ in range(at_frame):
            on_gpu.infer(frame)
        machine.fault = "an illegal memory access was encountered"
        on_gpu.infer(frame)
    assert lost.value.exit_code == 1
    assert set(machine.current.values()) == {0}  # pycuda would abort on exit
    assert not isinstance(lost.value, InferenceError)  # which the daemon would take for one bad frame
    with pytest.raises(InferenceError, match="not open"):
        on_gpu._on_gpu.detect_loaded()


def test_it_works_only_inside_with_and_again_after(machine: Machine, bundle: Bundle, plans: Path, frame: Image) -> None:
    on_gpu = engine(bundle, plans)
    with pytest.raises(InferenceError, match="inside `with`"):
        on_gpu.infer(frame)
    for _ in range(2):
        with on_gpu:
            assert len(on_gpu.infer(frame).detections) > 0
        assert all_freed(machine)


def test_a_frame_that_is_none_is_an_inference_error(machine: Machine, bundle: Bundle, plans: Path) -> None:
    with engine(bundle, plans) as on_gpu:
        for bad in (np.zeros((4, 4), np.uint8), np.zeros((4, 4, 3), np.float32), np.zeros((0, 4, 3), np.uint8)):
            with pytest.raises(InferenceError, match="cannot be prepared"):
                on_gpu.infer(bad)  # type: ignore[arg-type]  # on purpose
        with pytest.raises(InferenceError, match="no frame was loaded"):
            on_gpu._on_gpu.detect_loaded()


def test_a_plan_that_does_not_deserialise_is_named_with_tensorrts_line(machine: Machine, bundle: Bundle, plans: Path) -> None:
    machine.deserialises = False
    with pytest.raises(RuntimeUnavailableError, match=r"plan of the detector cannot be deserialised.*--force.\n  TensorRT: .*magicTag"):
        engine(bundle, plans).__enter__()
    assert all_freed(machine)


def test_whatever_fails_half_way_what_was_made_before_is_freed(machine: Machine, bundle: Bundle, plans: Path) -> None:
    with engine(bundle, plans):
        made = machine.made
    assert made > 10
    for i in range(made - 1):  # the last one is a captured graph, which can be done without
        machine.made, machine.fails_at = 0, i
        with pytest.raises(RuntimeUnavailableError, match=r"the engine does not open .*out of memory"):
            engine(bundle, plans).__enter__()
        assert all_freed(machine), f"after the failure of number {i}"


def test_a_cubin_that_is_none_is_told(machine: Machine, bundle: Bundle, plans: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("standin_plans.CUBIN", b"no cubin")
    write_plans(plans, bundle)
    with pytest.raises(RuntimeUnavailableError, match="kernel image is invalid"):
        engine(bundle, plans).__enter__()
    assert all_freed(machine)


def test_nothing_of_tensorrt_is_asked_where_there_is_no_driver(bundle: Bundle, plans: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its runtime would end the process; here the stand-in's would break the test."""
    machine = stand_in(monkeypatch, kernel=False)

    def absent() -> None:
        raise RuntimeUnavailableError("there is no NVIDIA driver on this machine")

    monkeypatch.setattr("engines.runtime.tensorrt.driver.library", absent)
    with pytest.raises(RuntimeUnavailableError, match="no NVIDIA driver"):
        engine(bundle, plans)
    assert machine.calls == []
