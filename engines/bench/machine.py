"""What it was measured on: processor, memory, power mode; and holding everything to the same processor cores."""

from __future__ import annotations

import multiprocessing
import os
import platform
import resource
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import cv2

T = TypeVar("T")


@dataclass(frozen=True)
class Machine:
    """One machine; no names of hosts or people. power_mode: as `nvpmodel -q` words it on a Jetson, "" elsewhere."""

    processor: str
    cores: int
    memory_gib: float | None
    system: str
    python: str
    opencv: str
    power_mode: str

    @classmethod
    def this(cls) -> Machine:
        """The one that this runs on."""
        memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30 if "SC_PHYS_PAGES" in os.sysconf_names else None
        system = f"{platform.system()} {platform.machine()}"
        return cls(processor(), len(_cores()), memory, system, platform.python_version(), cv2.__version__, _power_mode())


@contextmanager
def held_to(cores: int) -> Iterator[None]:
    """Inside, this process and those it starts run on so many cores, where the system lets us say so: others' programs take all."""
    before = _cores()
    if not hasattr(os, "sched_setaffinity") or len(before) <= cores:
        yield
        return
    os.sched_setaffinity(0, sorted(before)[:cores])
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def in_own_process(function: Callable[..., T], *arguments: object) -> T:
    """What `function` gives in a fresh process, whose memory holds nothing of ours."""
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        return pool.submit(function, *arguments).result()


def peak_mib() -> float:
    """Most memory this process has had resident. From /proc: getrusage also counts what was there before the program was started."""
    status = Path("/proc/self/status")
    if status.is_file():
        for line in status.read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) / 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1024 if sys.platform != "darwin" else 1024**2)


def _cores() -> set[int]:
    return set(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else set(range(os.cpu_count() or 1))


def processor() -> str:
    """The processor's own name, or the board's where the kernel gives none (ARM)."""
    cpuinfo, board = Path("/proc/cpuinfo"), Path("/proc/device-tree/model")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.is_file() else []
    named = [line.partition(":")[2].strip() for line in lines if line.startswith(("model name", "Model"))]
    if not named and board.is_file():
        named = [board.read_text(errors="replace").strip("\0 \n")]
    return named[0] if named else platform.processor() or platform.machine()


def _power_mode() -> str:
    try:
        asked = subprocess.run(["nvpmodel", "-q"], capture_output=True, text=True, timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return ", ".join(line.strip() for line in asked.stdout.splitlines() if line.strip()) if asked.returncode == 0 else ""
