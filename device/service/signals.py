"""What a signal does: the run ends in order, or nothing happens. None of them leaves a slide half written. And how the process ends."""

from __future__ import annotations

import faulthandler
import logging
import os
import signal
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Final, NoReturn

log = logging.getLogger(__name__)

_ENDING = ("SIGTERM", "SIGINT", "SIGQUIT", "SIGHUP", "SIGPWR", "SIGXCPU")
_IGNORED = ("SIGUSR2", "SIGALRM", "SIGVTALRM", "SIGPROF", "SIGIO", "SIGPOLL", "SIGSTKFLT")
_IN_DRIVERS: Final = frozenset(("capture", "engine"))
"""Names of threads that are left behind where a driver or library does not give them back."""
STUCK_S = 20.0
"""So long after a signal the main thread may be busy with one call before the process ends without it."""


@contextmanager
def ending_signals(
    stop: Callable[[str], None], last_resort: Callable[[], object], stuck_s: float = STUCK_S
) -> Iterator[Callable[[], None]]:
    """While the block runs, these signals ask for an end by `stop`; SIGUSR1 writes to stderr where every thread is; others that would
    kill are ignored. Used in the main thread. Gives a function to be called when the end has begun.

    A main thread that does not come back from a call into a library cannot see a signal: after `stuck_s` another thread calls
    `last_resort` and ends the process.
    """
    begun, interrupted = threading.Event(), threading.Event()

    def handle(number: int, frame: FrameType | None) -> None:
        if interrupted.is_set() and begun.is_set() and number == signal.SIGINT:
            raise KeyboardInterrupt  # a second Ctrl-C: the person does not want to wait
        stop(f"stopped by {signal.Signals(number).name}")
        if number == signal.SIGINT:
            interrupted.set()

    ending = [number for name in _ENDING if (number := getattr(signal, name, None)) is not None]
    ignored = [number for name in _IGNORED if (number := getattr(signal, name, None)) is not None]
    ignored += [number for number in signal.valid_signals() if int(number) >= getattr(signal, "SIGRTMIN", 1 << 16)]
    before = {number: signal.signal(number, handle) for number in ending}
    before |= {number: signal.signal(number, signal.SIG_IGN) for number in ignored if signal.getsignal(number) is signal.SIG_DFL}
    reading, writing = socket.socketpair()
    writing.setblocking(False)
    woken = signal.set_wakeup_fd(writing.fileno(), warn_on_full_buffer=False)
    dumps = _dump_on_request()
    watched = reading, frozenset(map(int, ending)), begun, last_resort, stuck_s
    watcher = threading.Thread(target=_watch, args=watched, name="signals", daemon=True)
    watcher.start()
    try:
        yield begun.set
    finally:
        begun.set()
        signal.set_wakeup_fd(woken)
        for number, handler in before.items():
            signal.signal(number, handler)
        if dumps:
            faulthandler.unregister(signal.SIGUSR1)
        writing.close()
        watcher.join(1.0)
        reading.close()


def _dump_on_request() -> bool:
    with suppress(OSError, ValueError, AttributeError, RuntimeError):  # a stderr without a descriptor, as under pytest
        faulthandler.register(signal.SIGUSR1, file=sys.stderr, all_threads=True, chain=False)
        return True
    return False


def _watch(
    reading: socket.socket, ending: frozenset[int], begun: threading.Event, last_resort: Callable[[], object], stuck_s: float
) -> None:
    """Ends the process where a signal asked for it and nothing has begun to end it in time."""
    with suppress(OSError):
        while numbers := reading.recv(64):
            if ending.isdisjoint(numbers) or begun.wait(stuck_s):
                continue
            log.critical("the main thread does not come back for %.0f s after a signal; the process ends without it", stuck_s)
            try:
                faulthandler.dump_traceback(all_threads=True)
                last_resort()
            finally:
                os._exit(1)


def leave(code: int) -> NoReturn:
    """End the process with this exit code, also where a thread is left behind in a camera's or an engine's library.

    Python cannot end such a thread: when it comes back while the interpreter is taken down, its C++ aborts the process, and a run that
    ended well would have failed (exit code 134). All is written by now, so the interpreter is not taken down then.
    """
    if not any(thread.daemon and thread.name in _IN_DRIVERS for thread in threading.enumerate()):
        sys.exit(code)
    logging.shutdown()
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError, AttributeError):  # closed, or there is none
            stream.flush()
    os._exit(code)
