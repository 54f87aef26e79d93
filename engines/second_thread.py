"""One lasting second thread for half of a frame's work: long calls into OpenCV or numpy, which release the interpreter's lock."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import contextmanager
from threading import Event, Lock

import cv2

_second, _free = ThreadPoolExecutor(1, "second"), Lock()


def _after_fork() -> None:
    """A forked process has the executor, but not its thread."""
    global _second, _free
    _second, _free = ThreadPoolExecutor(1, "second"), Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


@contextmanager
def in_second_thread(work: Callable[[], None]) -> Iterator[None]:
    """Do `work` in a second thread while the block runs; the block ends with it, and raises what it raised.

    Before the block, in this thread, where OpenCV has been given one thread only (cv2.setNumThreads; so it is on a processor with one
    core), or where the second thread is at work for another block. It is one thread for the life of the process, started when first
    needed: OpenCV 5.0 keeps 850 bytes for every thread that ever called it, which a thread for each frame would make 1.5 GB a day.
    """
    second, free = _second, _free
    if cv2.getNumThreads() <= 1 or not free.acquire(blocking=False):
        work()
        yield
        return
    begun = Event()

    def begin() -> None:
        begun.set()
        work()

    try:
        done = second.submit(begin)
        begun.wait()  # else a block of plain Python would keep the interpreter from it, for 5 ms
        try:
            yield
        finally:
            wait([done])
        done.result()
    finally:
        free.release()
