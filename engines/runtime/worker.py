"""A thread that opens an engine, makes all calls on it and closes it: a CUDA context belongs to the thread that made it."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from queue import SimpleQueue
from typing import Any, Generic, TypeVar

from engines.errors import InferenceError
from engines.runtime.base import Engine

log = logging.getLogger(__name__)

Answer = TypeVar("Answer")
Opener = Callable[[], AbstractContextManager[Engine]]
"""Makes an engine, not yet opened; called again for every attempt."""


class Call(Generic[Answer]):
    """Something asked of a worker. `done`: there is an answer, or an error; `spent_s`: how long the engine took."""

    def __init__(self, work: Callable[[Engine], Answer] | None = None) -> None:
        self.work = work
        self.spent_s = 0.0
        self._done = threading.Event()
        self._answer: Any = None
        self._error: BaseException | None = None

    @property
    def done(self) -> bool:
        return self._done.is_set()

    def wait(self, seconds: float) -> bool:
        """Whether it was done within so long."""
        return self._done.wait(seconds)

    def settle(self, answer: object = None, error: BaseException | None = None) -> None:
        """The answer, or what was raised in its place."""
        self._answer, self._error = answer, error
        self._done.set()

    @property
    def error(self) -> BaseException | None:
        return self._error

    def answer(self) -> Answer:
        """The answer of a call that is done. Raises what the work raised."""
        if self._error is not None:
            raise self._error
        found: Answer = self._answer
        return found


class Worker:
    """One opening of an engine. `opening`: the engine, once it is open, or why it cannot be opened.

    The thread is a daemon's: one that hangs in a driver keeps no process alive.
    """

    def __init__(self, opener: Opener) -> None:
        self.opening: Call[Engine] = Call()
        self._opener = opener
        self._asked: SimpleQueue[Call[Any] | None] = SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="engine", daemon=True)
        self._thread.start()

    def ask(self, work: Callable[[Engine], Answer]) -> Call[Answer]:
        """Have something done on the engine, after what was asked before."""
        call = Call(work)
        self._asked.put(call)
        return call

    def finish(self, within_s: float = 0.0) -> bool:
        """Have the engine closed after what was asked before; whether that was done within so long."""
        self._asked.put(None)
        self._thread.join(within_s)
        return not self.alive

    @property
    def alive(self) -> bool:
        return self._thread.is_alive()

    def _run(self) -> None:
        try:
            with self._opener() as engine:
                self.opening.settle(engine)
                while (call := self._asked.get()) is not None:
                    self._do(call, engine)
        except BaseException as error:  # whoever waits raises it
            if self.opening.done:
                log.warning("the engine did not close as it should: %s", in_words(error))
            self.opening.settle(error=error)

    @staticmethod
    def _do(call: Call[Any], engine: Engine) -> None:
        started = time.perf_counter()
        try:
            assert call.work is not None
            answer = call.work(engine)
        except BaseException as error:  # whoever waits raises it
            call.spent_s = time.perf_counter() - started
            call.settle(error=error)
        else:
            call.spent_s = time.perf_counter() - started
            call.settle(answer)


def in_words(error: BaseException) -> str:
    """An error in one line; of one that is not the house's own its type too."""
    line = next((line for line in str(error).splitlines() if line.strip()), "").strip()
    if isinstance(error, InferenceError):
        return line
    return f"{type(error).__name__}: {line}" if line else type(error).__name__
