"""One process full of simulated devices: the product's own publisher for each, fed by one thread of ours.

What a technician and a camera would do is drawn at random; everything between the outbox and the broker is what runs on the box.
"""

from __future__ import annotations

import heapq
import logging
import os
import random
import resource
import signal
import threading
import time
from collections import Counter, deque
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from typing import Final

from device.fleet.messages import Voice
from device.fleet.outbox import Journey, MemoryOutbox
from device.mqtt.publisher import Publisher
from device.settings.broker import BrokerSection

STOP: Final = "stop"
_LOOK_S: Final = 0.1
_TELL_S: Final = 1.0
_STACK_BYTES: Final = 512 << 10
_ENDING_AT_ONCE: Final = 25
_FILES_EACH: Final = 3
"""A device's socket and both ends of what wakes its thread."""


@dataclass(frozen=True)
class Plan:
    """What one process does. names: its devices. begins_s: when each of them connects first, by the monotonic clock.

    slides_per_hour: of one device. burst: summaries that each has waiting at the start. status_s: how often a status says something new
    (a field was counted); health_s: how often health is sent. seconds: how long slides are made. settle_s: how long receipts are waited
    for after that.
    """

    section: BrokerSection
    names: tuple[str, ...]
    begins_s: tuple[float, ...]
    slides_per_hour: float
    burst: int
    status_s: float
    health_s: float
    seconds: float
    settle_s: float
    seed: int


@dataclass(frozen=True)
class Progress:
    """How it stands now. reasons: why devices are not connected, and how many."""

    connected: int
    made: int
    taken: int
    left: int
    waiting: int
    reasons: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Outcome:
    """What one process saw. connects: when a device was connected, by the monotonic clock; counts: (when, so many are)."""

    journeys: tuple[Journey, ...]
    waiting: tuple[Journey, ...]
    connects: tuple[float, ...]
    counts: tuple[tuple[float, int], ...]
    made: int
    cpu_s: float
    memory_mb: float


def work(plan: Plan, line: Connection) -> None:
    """The process's whole life; its end of `line` gets `Progress` every second and one `Outcome`, and may be told `STOP`."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C ends our parent, who tells us
    logging.disable(logging.WARNING)  # a thousand devices lose one broker: our parent says it once
    threading.stack_size(_STACK_BYTES)
    room_for_files(files_for(len(plan.names)))
    with line:
        line.send(_Devices(plan, line).run())


def files_for(devices: int) -> int:
    """So many files has a process of so many devices open."""
    return _FILES_EACH * devices + 100


def room_for_files(wanted: int) -> bool:
    """Ask for so many open files; whether that is allowed."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < wanted <= hard or (soft < wanted and hard == resource.RLIM_INFINITY):
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    return wanted <= hard or hard == resource.RLIM_INFINITY


class _Devices:
    def __init__(self, plan: Plan, line: Connection) -> None:
        self._plan, self._line, self._rand = plan, line, random.Random(plan.seed)
        self._left: deque[Journey] = deque()
        self._voices = [Voice(name, plan.section.topic_root, random.Random(f"{plan.seed} {name}")) for name in plan.names]
        self._outboxes = [MemoryOutbox(self._left.append) for _ in plan.names]
        self._publishers = [
            Publisher(plan.section, voice.status(), lambda outbox=outbox: outbox, shared=True)  # type: ignore[misc]  # bound now
            for voice, outbox in zip(self._voices, self._outboxes, strict=True)
        ]
        self._online = [False] * len(plan.names)
        self._started: list[int] = []
        self._connects: list[float] = []
        self._counts: list[tuple[float, int]] = []
        self._made = 0
        self._due: list[tuple[float, int, str]] = []

    def run(self) -> Outcome:
        plan = self._plan
        for number, at_s in enumerate(plan.begins_s):
            for _ in range(plan.burst):
                self._slide(number)
            heapq.heappush(self._due, (at_s, number, "begin"))
        first_s, last_s = min(plan.begins_s), max(plan.begins_s)
        with self._ending():
            if not self._until(last_s + plan.seconds):
                self._due = [each for each in self._due if each[2] != "slide"]
                until_s = max(first_s, time.monotonic()) + plan.settle_s
                self._until(until_s, settled=True)
        use = resource.getrusage(resource.RUSAGE_SELF)
        waiting = [journey for outbox in self._outboxes for journey in outbox.waiting()]
        return Outcome(
            tuple(self._left),
            tuple(waiting),
            tuple(self._connects),
            tuple(self._counts),
            self._made,
            use.ru_utime + use.ru_stime,
            use.ru_maxrss / 1024,
        )

    @contextmanager
    def _ending(self) -> Iterator[None]:
        """The devices that were started leave in order at the end of the block."""
        try:
            yield
        finally:
            self._look(time.monotonic())  # who came since the last look, before they leave
            with ThreadPoolExecutor(_ENDING_AT_ONCE) as ends:
                list(ends.map(lambda number: self._publishers[number].__exit__(None), self._started))

    def _until(self, end_s: float, settled: bool = False) -> bool:
        """Do what is due until then; whether we were told to stop. settled: end as soon as nothing waits."""
        tell_s = time.monotonic()
        while (now_s := time.monotonic()) < end_s:
            while self._due and self._due[0][0] <= now_s:
                self._do(*heapq.heappop(self._due))
            self._look(now_s)
            if now_s >= tell_s:
                tell_s = now_s + _TELL_S
                progress = self._progress()
                self._line.send(progress)
                if settled and not progress.waiting:
                    return False
            next_s = min(self._due[0][0] if self._due else end_s, now_s + _LOOK_S, end_s)
            if self._line.poll(max(0.001, next_s - time.monotonic())):
                return os.getppid() == 1 or self._line.recv() == STOP
        return False

    def _do(self, due_s: float, number: int, what: str) -> None:
        plan, publisher, rand = self._plan, self._publishers[number], self._rand
        if what == "begin":
            publisher.__enter__()
            self._started.append(number)
            for kind, period_s in (("slide", self._slide_s), ("status", plan.status_s), ("health", plan.health_s)):
                if period_s:
                    heapq.heappush(self._due, (due_s + rand.uniform(0, period_s), number, kind))
            return
        if what == "slide":
            self._slide(number)
            publisher.notify()
            pause_s = self._slide_s * rand.uniform(0.5, 1.5)
        elif what == "status":
            publisher.set_device_status(self._voices[number].status())
            pause_s = plan.status_s
        else:
            publisher.set_health(self._voices[number].health())
            pause_s = plan.health_s
        heapq.heappush(self._due, (due_s + pause_s, number, what))

    @property
    def _slide_s(self) -> float:
        return 3600.0 / self._plan.slides_per_hour if self._plan.slides_per_hour else 0.0

    def _slide(self, number: int) -> None:
        self._outboxes[number].put(self._voices[number].summary())
        self._made += 1

    def _look(self, now_s: float) -> None:
        """Who is connected now, to within a look."""
        for number in self._started:
            online = self._publishers[number].status.state == "connected"
            if online and not self._online[number]:
                self._connects.append(now_s)
            self._online[number] = online
        count = sum(self._online)
        if not self._counts or self._counts[-1][1] != count:
            self._counts.append((now_s, count))

    def _progress(self) -> Progress:
        waiting, taken = sum(map(len, self._outboxes)), sum(outbox.with_the_broker for outbox in self._outboxes)
        states = (self._publishers[number].status for number in self._started)
        reasons = Counter(status.reason for status in states if status.state != "connected" and status.reason)
        return Progress(sum(self._online), self._made, taken, len(self._left), waiting, dict(reasons.most_common(3)))
