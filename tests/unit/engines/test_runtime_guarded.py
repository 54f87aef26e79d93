"""An engine that hangs, lies or breaks: never waited for without an end, its nonsense left out and counted, opened anew."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from engines.detections import CellNames, Detections, Image
from engines.errors import BundleError, DeviceLostError, InferenceError
from engines.runtime.base import EngineInfo, Inference
from engines.runtime.guarded import GuardedEngine, Limits
from engines.runtime.sound import sound
from engines.taxonomy import LEUKEMIA_ATTRI

PICTURE = np.zeros((120, 160, 3), np.uint8)
INFO = EngineInfo("stand-in", "0", "0" * 64, "none", "exact", (640, 640), LEUKEMIA_ATTRI, 0.25)
SHORT = Limits(deadline=0.3, least=0.3, opening=0.5, patience=0.05, pause=0.05, longest_pause=0.1, golden_every=0.05, failures=3)


def found(n: int = 3, **changed: Any) -> Detections:
    attributes = np.zeros((n, LEUKEMIA_ATTRI.n_logits), np.float32)
    attributes[:, [g.start for g in LEUKEMIA_ATTRI.groups]] = 1
    boxes_px = np.array([[10 + 40 * i, 20, 30 + 40 * i, 40] for i in range(n)], np.float32)
    return replace(Detections(boxes_px, np.full(n, 0.9, np.float32), np.full(n, 3), attributes), **changed)


class StandIn:
    """Answers with `told`, or does what `acts` says first. `golden`: its fault."""

    def __init__(self, told: Detections | None = None) -> None:
        self.info, self.told = INFO, told if told is not None else found()
        self.acts: Callable[[], None] = lambda: None
        self.golden: str | None = None
        self.threads: set[int] = set()
        self.opened = self.closed = 0

    def infer(self, image: Image) -> Inference:
        self.threads.add(threading.get_ident())
        self.acts()
        return Inference(self.told, {"detector": 1.0})

    def name_cells(self, image: Image, found: Detections, um_per_px: float | None = None) -> Detections:
        self.threads.add(threading.get_ident())
        self.acts()
        return found

    def golden_fault(self) -> str | None:
        self.threads.add(threading.get_ident())
        return self.golden

    def __enter__(self) -> StandIn:
        self.threads.add(threading.get_ident())
        self.opened += 1
        return self

    def __exit__(self, *_: object) -> None:
        self.threads.add(threading.get_ident())
        self.closed += 1


@contextmanager
def hanging() -> Iterator[threading.Event]:
    """Set at the end, so that no thread outlives the test for long."""
    event = threading.Event()
    try:
        yield event
    finally:
        event.set()


def until(condition: Callable[[], object]) -> None:
    end = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.005)


def answers(engine: GuardedEngine) -> bool:
    try:
        engine.infer(PICTURE)
    except InferenceError:
        return False
    return True


def test_all_calls_are_made_by_the_thread_that_opened_it() -> None:
    inner = StandIn()
    with GuardedEngine(lambda: inner, SHORT) as engine:
        assert engine.info is INFO and not engine.recovering
        assert engine.infer(PICTURE).timings_ms == {"detector": 1.0}
        assert len(engine.name_cells(PICTURE, found())) == 3
        time.sleep(SHORT.golden_every)
        engine.idle()
        until(lambda: (engine.idle(), engine._golden is None)[1])
    assert len(inner.threads) == 1 and threading.get_ident() not in inner.threads
    assert (inner.opened, inner.closed) == (1, 1)


def test_what_opening_raises_is_raised_and_nothing_is_left() -> None:
    def opener() -> Any:
        raise BundleError("no such engine folder")

    with pytest.raises(BundleError, match="no such engine folder"), GuardedEngine(opener, SHORT):
        pass
    with pytest.raises(InferenceError, match="not open"):
        _ = GuardedEngine(opener, SHORT).info


def test_one_that_hangs_is_given_up_in_time_and_opened_anew(caplog: pytest.LogCaptureFixture) -> None:
    with hanging() as end:
        made: list[StandIn] = []

        def opener() -> StandIn:
            made.append(StandIn())
            if len(made) == 1:
                made[0].acts = lambda: (end.wait(30), None)[1]
            return made[-1]

        waited: list[float] = []
        with GuardedEngine(opener, SHORT) as engine:
            engine.attend(lambda: False, waited.append)
            started = time.monotonic()
            with pytest.raises(InferenceError, match=r"no answer in 0\.3 s; it is opened anew"):
                engine.infer(PICTURE)
            assert time.monotonic() - started < 5
            assert engine.recovering and not engine.hopeless
            until(lambda: answers(engine))
            assert not engine.recovering and len(made) == 2
        assert [r.getMessage() for r in caplog.records] == [
            "the engine is given up: no answer in 0.3 s; its thread is left behind",
            "the engine was opened anew",
        ]
        end.set()
        until(lambda: made[0].closed)  # the thread that was left behind closes what it opened


def test_the_appliance_that_stops_does_not_wait_for_it_and_the_screen_is_told() -> None:
    stopping, waited = threading.Event(), list[float]()
    with hanging() as end:
        inner = StandIn()
        inner.acts = lambda: (end.wait(30), None)[1]
        started = time.monotonic()
        with GuardedEngine(lambda: inner, replace(SHORT, deadline=30, least=30)) as engine:
            engine.attend(stopping.is_set, waited.append)
            threading.Timer(1.5, stopping.set).start()
            with pytest.raises(InferenceError, match="the appliance stops"):
                engine.infer(PICTURE)
        assert time.monotonic() - started < 8
        assert waited and waited[0] >= 1


def test_one_that_is_slow_but_steady_goes_on() -> None:
    inner = StandIn()
    inner.acts = lambda: time.sleep(0.15)
    with GuardedEngine(lambda: inner, replace(SHORT, deadline=5, least=0.05, learning=2)) as engine:
        for _ in range(5):
            engine.infer(PICTURE)
        assert 1 < engine._allowed_s <= 5  # twenty times the usual
        inner.acts = lambda: time.sleep(0.6)
        engine.infer(PICTURE)


def test_one_that_hangs_again_and_again_is_hopeless_and_leaves_few_threads_behind() -> None:
    with hanging() as end:
        made: list[StandIn] = []

        def opener() -> StandIn:
            made.append(StandIn())
            made[-1].acts = lambda: (end.wait(30), None)[1]
            return made[-1]

        with GuardedEngine(opener, replace(SHORT, deadline=0.05, least=0.05)) as engine:
            until(lambda: (answers(engine), engine.hopeless)[1])
            assert not engine.recovering
            for _ in range(5):
                assert not answers(engine)
        assert len(made) <= SHORT.attempts + 1


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (InferenceError("CUDA error: an illegal memory access"), "^CUDA error: an illegal memory access$"),
        (RuntimeError("driver exploded\nat 0x0"), "^RuntimeError: driver exploded$"),
        (MemoryError(), "^MemoryError$"),
        (SystemExit(3), "^SystemExit: 3$"),
    ],
)
def test_whatever_it_raises_is_told_in_one_line_and_the_next_frame_is_asked(error: BaseException, words: str) -> None:
    inner = StandIn()

    def acts() -> None:
        raise error

    with GuardedEngine(lambda: inner, SHORT) as engine:
        inner.acts = acts
        with pytest.raises(InferenceError, match=words):
            engine.infer(PICTURE)
        with pytest.raises(InferenceError, match=words):
            engine.name_cells(PICTURE, found())
        inner.acts = lambda: None
        assert len(engine.infer(PICTURE).detections) == 3
        assert inner.opened == 1
        inner.acts = acts
        for _ in range(SHORT.failures):
            assert not answers(engine)
        inner.acts = lambda: None
        until(lambda: answers(engine))
        assert inner.opened == 2, "failing on frame after frame it is opened anew"


def test_a_lost_gpu_ends_the_process() -> None:
    inner = StandIn()

    def acts() -> None:
        raise DeviceLostError("the GPU is gone")

    with GuardedEngine(lambda: inner, SHORT) as engine:
        inner.acts = acts
        with pytest.raises(DeviceLostError):
            engine.infer(PICTURE)


def test_a_golden_picture_answered_otherwise_while_idle_stops_the_count() -> None:
    inner = StandIn()
    with GuardedEngine(lambda: inner, SHORT) as engine:
        inner.golden = "5 detections, expected 7"
        until(lambda: (engine.idle(), engine.recovering)[1])
        inner.golden = None
        until(lambda: (engine.idle(), not engine.recovering)[1])
        with pytest.raises(InferenceError, match=r"as it should any more \(5 detections, expected 7\); it is opened anew"):
            engine.infer(PICTURE)  # told, although it is back
        until(lambda: answers(engine))
        assert inner.opened == 2


def test_another_bundle_on_the_disk_is_not_taken() -> None:
    first, other = StandIn(), StandIn()
    other.info = replace(INFO, digest="1" * 64)
    made = iter([first, other, other, other, other, other, other])
    with GuardedEngine(lambda: next(made), replace(SHORT, failures=1)) as engine:

        def acts() -> None:
            raise InferenceError("odd")

        first.acts = acts
        until(lambda: (answers(engine), engine.hopeless)[1])
        assert engine.info.digest == INFO.digest


def test_it_is_tried_again_however_often_it_was_in_vain() -> None:
    """A night of attempts: a pause that is doubled a thousand times is no number any more."""
    first, opened = StandIn(), [0]

    def opener() -> StandIn:
        opened[0] += 1
        if 1 < opened[0] <= 1100:
            raise BundleError("the disk is away")
        return first

    def acts() -> None:
        raise InferenceError("odd")

    with GuardedEngine(opener, replace(SHORT, failures=1, pause=1e-9, longest_pause=1e-6)) as engine:
        first.acts = acts
        assert not answers(engine)
        first.acts = lambda: None
        while opened[0] <= 1100:
            engine.idle()
        until(lambda: answers(engine))


NAN, INF = float("nan"), float("inf")


@pytest.mark.parametrize("box", [[NAN, 20, 30, 40], [10, 20, INF, 40], [30, 20, 10, 40], [1e9, 20, 2e9, 40]])
def test_a_box_without_meaning_is_left_out_and_counted(box: list[float]) -> None:
    told = found()
    told.boxes_px[1] = box
    kept = sound(told, LEUKEMIA_ATTRI, PICTURE)
    assert (len(kept), kept.non_finite) == (2, 1)
    assert kept.boxes_px[:, 0].tolist() == [10, 90]


@pytest.mark.parametrize("score", [NAN, INF, -INF, 1.5, -0.2])
def test_a_score_without_meaning_is_left_out_and_counted(score: float) -> None:
    told = found()
    told.scores[0] = score
    kept = sound(told, LEUKEMIA_ATTRI, PICTURE)
    assert (len(kept), kept.non_finite) == (2, 1)
    told.scores[:] = score
    with pytest.raises(InferenceError, match="none of the 3 boxes"):
        sound(told, LEUKEMIA_ATTRI, PICTURE)


def test_rounding_of_8_bits_is_no_fault_and_an_attribute_that_is_none_is_unknown() -> None:
    told = found()
    told.scores[0] = 1.004
    told.attributes[1, 0] = INF
    told.attributes[2, 0] = NAN  # unknown, as an engine may say
    kept = sound(told, LEUKEMIA_ATTRI, PICTURE)
    assert len(kept) == 3 and kept.scores.max() == 1 and kept.non_finite == 1
    assert np.isnan(kept.attributes[1, 0]) and kept.attributes[1, 1:].tolist() == told.attributes[1, 1:].tolist()
    assert sound(Detections.empty(LEUKEMIA_ATTRI.n_logits), LEUKEMIA_ATTRI, PICTURE).non_finite == 0


def names(n: int = 3) -> CellNames:
    shares = np.full((n, len(LEUKEMIA_ATTRI.classes)), 1 / len(LEUKEMIA_ATTRI.classes), np.float32)
    return CellNames(shares, np.full(n, 3), ("others",) * n, np.zeros(n, np.float32))


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"classes": np.array([3, 99, 3])}, "class 99, and the taxonomy has 14"),
        ({"classes": np.array([3, -1, 3])}, "class -1"),
        ({"attributes": np.zeros((3, 2), np.float32)}, "attributes of shape"),
        ({"names": names(2)}, "its second look tells"),
        ({"names": replace(names(), types=np.array([3, 3, 77]))}, "a class that the taxonomy"),
        ({"names": replace(names(), distances=np.array([0, NAN, 0], np.float32))}, "names 1 of 3 cells by what is no number"),
        ({"names": replace(names(), probabilities=names().probabilities * np.float32(NAN))}, "names 3 of 3 cells"),
    ],
)
def test_an_answer_of_another_form_is_an_error(changed: dict[str, Any], words: str) -> None:
    with pytest.raises(InferenceError, match=words):
        sound(found(**changed), LEUKEMIA_ATTRI, PICTURE)
    with GuardedEngine(lambda: StandIn(found(**changed)), SHORT) as engine, pytest.raises(InferenceError, match=words):
        engine.infer(PICTURE)


@pytest.mark.parametrize("answer", [None, Inference(None), Inference([1, 2]), Inference(replace(found(), scores=np.array(["a"] * 3)))])  # type: ignore[arg-type]
def test_what_is_no_answer_at_all_is_an_error(answer: Any) -> None:
    inner = StandIn()
    inner.infer = lambda image: answer  # type: ignore[method-assign]
    inner.name_cells = lambda image, found, um_per_px=None: answer  # type: ignore[method-assign]
    with GuardedEngine(lambda: inner, SHORT) as engine:
        with pytest.raises(InferenceError, match="its answer cannot be read"):
            engine.infer(PICTURE)
        with pytest.raises(InferenceError, match="its answer cannot be read"):
            engine.name_cells(PICTURE, found())


def test_a_second_look_at_other_cells_is_an_error() -> None:
    inner = StandIn()
    inner.name_cells = lambda image, found, um_per_px=None: found.select(np.array([0]))  # type: ignore[method-assign]
    with GuardedEngine(lambda: inner, SHORT) as engine, pytest.raises(InferenceError, match="tells 1 cells of 3"):
        engine.name_cells(PICTURE, found())


def test_more_boxes_than_a_picture_has_are_an_error() -> None:
    with pytest.raises(InferenceError, match="10,001 boxes"):
        sound(found(1).select(np.zeros(10_001, np.int64)), LEUKEMIA_ATTRI, PICTURE)
