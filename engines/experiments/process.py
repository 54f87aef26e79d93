"""A command of `attridet` in a process of its own, its words kept in a log, which ends when the process that started it does."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from engines.errors import EnginesError

_PAUSE_S = 0.2
_PR_SET_PDEATHSIG = 1
WITH_PARENT = "LEUKOSCOPE_ENDS_WITH_PARENT"
"""In the environment of a process of `attridet` that is to end when its parent does: also of those that torchrun starts."""


class RunFailedError(EnginesError):
    """A command of a plan ended with an error. Read its log, mend the cause, start the same line again: what is done stays."""

    exit_code = 1


@dataclass(frozen=True)
class Ended:
    """How a command ended: its exit code and the seconds that it took."""

    code: int
    seconds: float


def run_attridet(
    words: Sequence[str],
    log: Path,
    *,
    threads: int,
    processes: int = 1,
    accept: Collection[int] = (0,),
    environment: Mapping[str, str] | None = None,
    hold: Sequence[int] = (),
    said: Callable[[str], None] | None = None,
) -> Ended:
    """Run `attridet WORDS` to its end. Raises RunFailedError naming the log for an exit code that is not in `accept`.

    log: what it prints, both streams, as it comes. threads: of OpenMP, a process. processes: more than one are started by torchrun.
    environment: beside this process's own. hold: open files that it inherits, such as a lock that outlives this process. said: hears
    the last line of the log when it is another than before, every few seconds.
    """
    start = [sys.executable, "-m", "engines"]
    if processes > 1:
        start = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}", "-m", "engines"]
    began = time.monotonic()
    with log.open("w", encoding="utf-8") as file:
        process = subprocess.Popen(
            [*start, *words],
            stdout=file,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            env={**os.environ, "OMP_NUM_THREADS": str(threads), "PYTHONUNBUFFERED": "1", WITH_PARENT: "1", **(environment or {})},
            pass_fds=tuple(hold),
            preexec_fn=_at_once(),  # noqa: PLW1509  # one system call, no lock is taken
        )
        try:
            _wait(process, log, said)
        except BaseException:
            process.terminate()
            process.wait()
            raise
    if process.returncode not in accept or (process.returncode == 1 and _crashed(log)):
        last = last_line(log)
        raise RunFailedError(f"{log}: attridet {words[0]} ended with {process.returncode}{f': {last}' if last else ''}")
    return Ended(process.returncode, time.monotonic() - began)


def _crashed(log: Path) -> bool:
    """Whether it ended by an error that nobody foresaw: Python's exit code is then 1, which may also be a command's verdict."""
    return "Traceback (most recent call last)" in log.read_text(encoding="utf-8", errors="replace")[-20_000:]


def end_with_parent() -> None:
    """From now on Linux ends this process when the thread that started it is gone, even by SIGKILL. Elsewhere it does nothing.

    A training that outlived its plan would go on writing into a folder that the plan, started again, writes into as well.
    """
    if call := _at_once():
        call()


def _at_once() -> Callable[[], object] | None:
    """`end_with_parent` as one system call, for a child before it runs anything; None where there is none."""
    if not sys.platform.startswith("linux"):
        return None
    prctl = ctypes.CDLL(None).prctl
    return lambda: prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def last_line(log: Path) -> str:
    """The last line of a log that says anything; "" where there is none."""
    try:
        with log.open("rb") as file:
            file.seek(max(0, log.stat().st_size - 4096))
            lines = file.read().decode(errors="replace").splitlines()
    except OSError:
        return ""
    return next((line.strip() for line in reversed(lines) if line.strip()), "")


def _wait(process: subprocess.Popen[bytes], log: Path, said: Callable[[str], None] | None) -> None:
    told, at = "", time.monotonic()
    pause = 5.0
    while True:
        try:
            process.wait(_PAUSE_S)
            return
        except subprocess.TimeoutExpired:
            if said is not None and time.monotonic() - at >= pause:
                at, pause = time.monotonic(), min(60.0, pause * 1.5)
                if (line := last_line(log)) and line != told:
                    said(line)
                    told = line
