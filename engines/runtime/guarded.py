"""An engine with a deadline around another: it is never waited for without an end, nor believed where its answer has no meaning.

The engine lives in a thread of its own (`engines.runtime.worker`). One that gives no answer in time, or fails on frame after frame, or
no longer knows its golden picture, is given up and opened anew, with growing pauses; a thread that hangs is left behind.
"""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from statistics import median
from types import TracebackType
from typing import Any, Protocol, TypeVar, runtime_checkable

from typing_extensions import Self

from engines.detections import Detections, Image
from engines.errors import DeviceLostError, InferenceError
from engines.runtime.base import Engine, EngineInfo, Inference
from engines.runtime.sound import sound
from engines.runtime.worker import Call, Opener, Worker, in_words

log = logging.getLogger(__name__)

Answer = TypeVar("Answer")

SLICE_S = 0.1
"""How often somebody who waits looks whether the appliance stops."""
SHOWN_FROM_S, SHOWN_EVERY_S = 1.0, 0.5
"""Whoever waits longer says so on the screen, so often."""


@dataclass(frozen=True)
class Limits:
    """How long an engine is waited for, in seconds, and how often it is tried again.

    deadline: for each of the `learning` first answers, which may compile, and the most for all others. least: the least for the others,
    which have `times` the usual time. opening: for opening it anew. patience: how long one frame waits for that. pause, longest_pause:
    before the second attempt to open it, doubling. golden_every: between two looks at the golden picture.
    failures: in a row, after which it is opened anew. attempts: to open it anew, and threads left behind, after which it is `hopeless`.
    """

    deadline: float = 20.0
    least: float = 5.0
    times: float = 20.0
    learning: int = 5
    opening: float = 120.0
    patience: float = 0.5
    pause: float = 1.0
    longest_pause: float = 30.0
    golden_every: float = 600.0
    failures: int = 10
    attempts: int = 3

    @classmethod
    def of(cls, deadline_s: float, patience_s: float = 0.5) -> Self:
        """Scaled from the deadline alone."""
        return cls(
            deadline=deadline_s,
            least=min(cls.least, deadline_s),
            opening=6 * deadline_s,
            patience=patience_s,
            pause=min(cls.pause, deadline_s),
        )


@runtime_checkable
class Checkable(Protocol):
    """An engine that can be asked what it says of its golden picture."""

    def golden_fault(self) -> str | None: ...


class GuardedEngine:
    """The Protocol `Engine` around an engine that `opener` makes; `with` opens it and raises what that raises.

    `infer` and `name_cells` raise InferenceError, in words, for whatever the engine raises, for an answer that comes too late or has no
    meaning, while it is being opened anew and when `attend`'s `stopped` says that the appliance stops; and DeviceLostError as it is.
    """

    def __init__(self, opener: Opener, limits: Limits = Limits(), monotonic_s: Callable[[], float] = time.monotonic) -> None:
        self._opener, self._limits, self._now_s = opener, limits, monotonic_s
        self._stopped: Callable[[], bool] = lambda: False
        self._waiting: Callable[[float], None] = lambda waited_s: None
        self._worker: Worker | None = None
        self._opening: Worker | None = None  # anew
        self._opened_anew_s = self._next_attempt_s = 0.0
        self._fault = ""
        self._in_vain = 0  # attempts to open it anew since its last answer
        self._left: list[Worker] = []
        self._told = ""
        self._untold: InferenceError | None = None  # why it was given up between two frames
        self._failures = 0
        self._spent_s: deque[float] = deque(maxlen=30)  # on its answers since it was opened
        self._golden: Call[str | None] | None = None
        self._golden_s = 0.0
        self._info: EngineInfo | None = None

    # ---- for whoever runs the line

    def attend(self, stopped: Callable[[], bool], waiting: Callable[[float], None]) -> None:
        """stopped: asked while an answer is waited for, which is given up when it says so. waiting: told for how many seconds."""
        self._stopped, self._waiting = stopped, waiting

    @property
    def recovering(self) -> bool:
        """It is being opened anew, and there is hope: no reason to start the process anew."""
        return self._worker is None and not self.hopeless

    @property
    def hopeless(self) -> bool:
        """It was opened anew so often in vain, or left so many threads behind, that only a new process helps."""
        return max(self._in_vain, self._threads_left) >= self._limits.attempts

    @property
    def _threads_left(self) -> int:
        return sum(worker.alive for worker in self._left)

    def idle(self) -> None:
        """Between two rounds in which nothing is counted: the golden picture is asked now and then, an engine given up comes back."""
        if self._worker is None:
            self._take_up()
            return
        engine, now_s = self._worker.opening.answer(), self._now_s()
        if self._golden is not None:
            if not self._golden.done and now_s - self._golden_s > self._limits.deadline:
                self._untold = self._give_up(f"no answer to the golden picture in {self._limits.deadline:.0f} s", hangs=True)
            elif self._golden.done:
                call, self._golden = self._golden, None
                if isinstance(call.error, DeviceLostError):
                    raise call.error
                fault = call.answer() if call.error is None else in_words(call.error)
                if fault:
                    self._untold = self._give_up(f"it does not answer the golden picture as it should any more ({fault})")
        elif now_s - self._golden_s >= self._limits.golden_every and isinstance(engine, Checkable) and not self.info.unchecked:
            self._golden_s = now_s
            self._golden = self._worker.ask(lambda asked: asked.golden_fault() if isinstance(asked, Checkable) else None)

    # ---- Engine

    @property
    def info(self) -> EngineInfo:
        if self._info is None:
            raise InferenceError("the engine is not open. Use it inside `with`.")
        return self._info

    def infer(self, image: Image) -> Inference:
        call = self._ask(lambda engine: engine.infer(image), self._allowed_s)
        inference = self._answer(call)
        found = self._meaning(lambda: inference.detections, image)
        self._spent_s.append(call.spent_s)
        self._failures = self._in_vain = 0
        return inference if found is inference.detections else Inference(found, inference.timings_ms)

    def name_cells(self, image: Image, found: Detections, um_per_px: float | None = None) -> Detections:
        # Of many cells it takes many times what one takes: the whole deadline.
        call = self._ask(lambda engine: engine.name_cells(image, found, um_per_px), self._limits.deadline)
        named = self._answer(call)
        sound_ones = self._meaning(lambda: named, image)
        if len(sound_ones) != len(found):
            raise self._failed(f"its second look tells {len(sound_ones)} cells of {len(found)}")
        return sound_ones

    def __enter__(self) -> Self:
        worker = Worker(self._opener)
        while not worker.opening.wait(SLICE_S):  # in slices, so that a signal is heard
            pass
        self._info = worker.opening.answer().info
        self._worker, self._golden_s = worker, self._now_s()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        worker, self._worker = self._worker, None
        for each in (worker, self._opening):
            if each is not None and not each.finish(1.0):
                log.warning("the engine does not return from its runtime; it is left behind")

    # ---- waiting

    @property
    def _allowed_s(self) -> float:
        """How long the next answer may take."""
        limits = self._limits
        if len(self._spent_s) < limits.learning:
            return limits.deadline
        return min(limits.deadline, max(limits.least, limits.times * median(self._spent_s)))

    def _ask(self, work: Callable[[Engine], Answer], allowed_s: float) -> Call[Answer]:
        """A call that is done. Raises InferenceError where there is no engine, or the answer does not come in time."""
        if self._untold is not None:  # also where it is back already: whoever counts shall know
            error, self._untold = self._untold, None
            raise error
        worker = self._take_up(self._limits.patience)
        if worker is None:
            raise InferenceError(self._fault)
        call = worker.ask(work)
        if not self._wait(call, allowed_s):
            raise self._give_up(f"no answer in {allowed_s:.{0 if allowed_s >= 1 else 1}f} s", hangs=True)
        return call

    def _wait(self, call: Call[Any], allowed_s: float) -> bool:
        """Whether the call is done in time. The time is summed over slices: a process that was stopped for a while, or a machine that
        slept, is not the engine's fault."""
        waited_s, shown_s = 0.0, SHOWN_FROM_S
        before_s = self._now_s()
        while not call.wait(min(SLICE_S, max(0.01, allowed_s - waited_s))):
            if self._stopped():
                raise InferenceError("the frame is given up: the appliance stops")
            now_s = self._now_s()
            waited_s += min(now_s - before_s, 3 * SLICE_S)
            if waited_s >= allowed_s:
                return False
            if waited_s >= shown_s:
                shown_s = waited_s + SHOWN_EVERY_S
                self._waiting(waited_s)
                now_s = self._now_s()
            before_s = now_s
        return True

    def _answer(self, call: Call[Answer]) -> Answer:
        try:
            return call.answer()
        except DeviceLostError:
            raise
        except BaseException as error:
            raise self._failed(in_words(error)) from error

    def _meaning(self, said: Callable[[], Detections], image: Image) -> Detections:
        try:
            return sound(said(), self.info.taxonomy, image)
        except InferenceError as error:
            raise self._failed(str(error)) from error
        except Exception as error:  # arrays of a kind that cannot be looked at
            raise self._failed(f"its answer cannot be read ({in_words(error)})") from error

    def _failed(self, reason: str) -> InferenceError:
        """It failed on a frame; after some in a row it is opened anew."""
        self._failures += 1
        if self._failures >= self._limits.failures and self._worker is not None:
            return self._give_up(reason)
        return InferenceError(reason)

    # ---- anew

    def _give_up(self, reason: str, hangs: bool = False) -> InferenceError:
        """Leave this opening of the engine behind; the error that says so, and why."""
        worker, self._worker = self._worker, None
        assert worker is not None
        worker.finish()  # one that hangs goes when, and if, it returns
        self._fault = f"{reason}; it is opened anew"
        log.error("the engine is given up: %s%s", reason, "; its thread is left behind" if hangs else "")
        if hangs:
            self._left = [each for each in (*self._left, worker) if each.alive]
        self._golden, self._failures = None, 0
        self._spent_s.clear()
        self._next_attempt_s = self._now_s() + self._pause_s
        return InferenceError(self._fault)

    @property
    def _pause_s(self) -> float:
        return min(self._limits.longest_pause, self._limits.pause * 2.0 ** min(self._in_vain, 64)) if self._in_vain else 0.0

    def _take_up(self, patience_s: float = 0.0) -> Worker | None:
        """The engine, opened anew where it was given up; None while it is not there, after waiting for it so long at most."""
        if self._worker is not None:
            return self._worker
        if self._opening is None and self._now_s() >= self._next_attempt_s and self._threads_left < self._limits.attempts:
            self._in_vain += 1
            self._opened_anew_s = self._now_s()
            self._opening = Worker(self._opener)
        opening = self._opening
        if opening is None:
            self._wait(Call(), patience_s)  # a stored source shall not run on meanwhile
            return None
        if opening.opening.done or (patience_s and self._wait(opening.opening, patience_s)):
            self._opened_anew(opening)
        elif self._now_s() - self._opened_anew_s > self._limits.opening:
            self._left.append(opening)
            opening.finish()
            self._not_opened(f"it was not open in {self._limits.opening:.0f} s")
        return self._worker

    def _opened_anew(self, opening: Worker) -> None:
        self._opening = None
        if opening.opening.error is not None:
            self._not_opened(in_words(opening.opening.error))
            return
        info = opening.opening.answer().info
        if info.digest != self.info.digest:
            opening.finish()
            self._not_opened("the bundle on the disk is another one now; start the appliance anew to count with it")
            return
        self._told = ""
        log.warning("the engine was opened anew")
        self._worker, self._golden_s = opening, self._now_s()

    def _not_opened(self, reason: str) -> None:
        self._opening = None
        self._next_attempt_s = self._now_s() + self._pause_s
        if reason != self._told:  # once, and not with every attempt
            log.error("the engine cannot be opened anew: %s; it is tried again", reason)
        self._told = reason
