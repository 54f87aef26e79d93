"""`leukoscope fleet-sim`: processes full of devices, what they tell meanwhile, and the figures at the end."""

from __future__ import annotations

import csv
import multiprocessing
import os
import signal
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timezone
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from pathlib import Path
from typing import Any, Final

from device.errors import LeukoscopeError
from device.fleet.devices import STOP, Outcome, Plan, Progress, work
from device.fleet.figures import busiest, connected, outages, summaries
from device.settings.broker import BrokerSection
from engines.files import write_json

_IN_A_PROCESS: Final = 250
_TELL_S: Final = 5.0
_WAYS: Final = {
    "broker_s": "sent until the broker's acknowledgement",
    "receipt_s": "sent until the receipt: stored",
    "from_the_slides_end_s": "end of the slide until delivered",
}


@dataclass(frozen=True)
class Wish:
    """What to simulate. connect_rate: devices that begin in a second; the rest as in `Plan`, of one device."""

    section: BrokerSection
    devices: int = 20
    slides_per_hour: float = 4.0
    minutes: float = 5.0
    burst: int = 0
    status_s: float = 10.0
    health_s: float = 60.0
    connect_rate: float = 50.0
    settle_s: float = 60.0
    processes: int = 0
    prefix: str = "sim"
    seed: int = 0

    @property
    def process_count(self) -> int:
        """One for every 250 devices, or as many as are wished for."""
        return min(self.devices, self.processes or -(-self.devices // _IN_A_PROCESS))

    def plans(self) -> list[Plan]:
        """What each process does. Devices begin one after the other once all processes run."""
        count = self.process_count
        names = [f"{self.prefix}-{number:05d}" for number in range(1, self.devices + 1)]
        begins_s = [time.monotonic() + 2.0 + 1.5 * count + number / self.connect_rate for number in range(self.devices)]
        every = (self.slides_per_hour, self.burst, self.status_s, self.health_s)
        return [
            Plan(
                self.section, tuple(names[part::count]), tuple(begins_s[part::count]), *every, 60.0 * self.minutes, self.settle_s,
                self.seed + part,
            )
            for part in range(count)
        ]  # fmt: skip


def simulate(wish: Wish, *, result: Path | None = None, samples: Path | None = None) -> dict[str, Any]:
    """Run until the time is over, Ctrl-C or SIGTERM; then all devices leave in order. The figures, which are also printed.

    result: a file for the figures as JSON; samples: one for each message's journey as CSV. LeukoscopeError where a process died.
    """
    began = datetime.now(timezone.utc)
    with _signals() as stop:
        outcomes = _run(wish.plans(), stop)
    figures = _figures(wish, began, outcomes)
    _print(wish, figures)
    if result is not None:
        write_json(result, figures)
    if samples is not None:
        with samples.open("w", newline="") as file:
            rows = csv.writer(file)
            rows.writerow(["message_id", "made_s", "sent_s", "acknowledged_s", "confirmed_s", "sent_at", "tries"])
            for outcome in outcomes:
                for journey in (*outcome.journeys, *outcome.waiting):
                    rows.writerow(vars(journey).values())
    return figures


@contextmanager
def _signals() -> Iterator[threading.Event]:
    """Set by SIGINT and SIGTERM; a second one ends us as it always would."""
    stop = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def ends(*_: object) -> None:
        stop.set()
        for number, handler in before.items():
            signal.signal(number, handler)

    for number in before:
        signal.signal(number, ends)
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _run(plans: Sequence[Plan], stop: threading.Event) -> list[Outcome]:
    spawn = multiprocessing.get_context("spawn")
    children: list[tuple[SpawnProcess, Connection]] = []
    try:
        for plan in plans:
            ours, theirs = spawn.Pipe()
            child = spawn.Process(target=work, args=(plan, theirs), daemon=True)
            child.start()
            theirs.close()
            children.append((child, ours))
        return _hear([line for _, line in children], stop)
    finally:
        for child, line in children:
            line.close()
            child.join(5.0)
            if child.is_alive():
                child.terminate()


def _hear(lines: list[Connection], stop: threading.Event) -> list[Outcome]:
    """Listen until each process has given its outcome."""
    newest: dict[Connection, Progress] = {}
    outcomes: dict[Connection, Outcome] = {}
    began_s = tell_s = time.monotonic()
    told, said = False, ""
    while len(outcomes) < len(lines):
        if stop.is_set() and not told:
            told = True
            for line in lines:
                if line not in outcomes:
                    line.send(STOP)
        for ready in wait([line for line in lines if line not in outcomes], 0.2):
            assert isinstance(ready, Connection)
            try:
                message = ready.recv()
            except (EOFError, OSError) as error:
                raise LeukoscopeError("a process of the simulation ended before its time (out of memory? too many threads?)") from error
            if isinstance(message, Outcome):
                outcomes[ready] = message
            else:
                newest[ready] = message
        if time.monotonic() >= tell_s and newest:
            tell_s = time.monotonic() + _TELL_S
            said = _tell(time.monotonic() - began_s, list(newest.values()), said)
    return [outcomes[line] for line in lines]


def _tell(after_s: float, parts: Sequence[Progress], said: str) -> str:
    """One line on how it stands, and one on what is wrong when that is new."""
    now = {name: sum(getattr(part, name) for part in parts) for name in ("connected", "made", "taken", "left", "waiting")}
    words = "{connected} connected; summaries: {made} made, {taken} at the broker, {left} delivered, {waiting} wait\n"
    line = f"{after_s:5.0f} s: {words.format(**now)}"
    sys.stderr.write(line)
    reasons: Counter[str] = Counter()
    for part in parts:
        reasons.update(part.reasons)
    if not reasons:
        return ""
    reason, count = reasons.most_common(1)[0]
    if reason != said:
        sys.stderr.write(f"        {count} not connected: {reason}\n")
    return reason


def _figures(wish: Wish, began: datetime, outcomes: Sequence[Outcome]) -> dict[str, Any]:
    connects = [at for outcome in outcomes for at in outcome.connects]
    total = connected([outcome.counts for outcome in outcomes])
    left = [journey for outcome in outcomes for journey in outcome.journeys]
    waiting = [journey for outcome in outcomes for journey in outcome.waiting]
    return {
        "simulated": True,
        "began_at": began.isoformat(timespec="seconds"),
        "seconds": round((datetime.now(timezone.utc) - began).total_seconds(), 1),
        "devices": wish.devices,
        "processes": len(outcomes),
        "slides_per_hour": wish.slides_per_hour,
        "status_s": wish.status_s,
        "health_s": wish.health_s,
        "reconnect_max_s": wish.section.reconnect_max_s,
        "connected_at_once": max((count for _, count in total), default=0),
        "connects": {"all": len(connects), "busiest_1s": busiest(connects, 1.0), "busiest_10s": busiest(connects, 10.0)},
        "outages": outages(total, connects, wish.devices),
        "summaries": summaries(left, waiting, sum(outcome.made for outcome in outcomes)),
        "simulators": {
            "cpu_s": round(sum(outcome.cpu_s for outcome in outcomes), 1),
            "memory_mb": round(sum(outcome.memory_mb for outcome in outcomes)),
            "cores_of_this_machine": os.cpu_count(),
        },
    }


def _print(wish: Wish, figures: dict[str, Any]) -> None:
    done, use = figures["summaries"], figures["simulators"]
    lines = [
        f"{wish.devices} simulated devices, {wish.slides_per_hour:g} slides an hour each, {figures['seconds']:.0f} s; "
        f"{figures['connected_at_once']} connected at once",
        f"summaries: {done['made']} made, {done['delivered']} delivered, {done['waiting']} wait, {done['sent_again']} sent again",
    ]
    for name, words in _WAYS.items():
        if took := done[name]:
            lines.append(f"  {words:42} p50 {took['p50']:8.3f} s  p99 {took['p99']:8.3f} s  most {took['max']:8.3f} s")
    for outage in figures["outages"]:
        back = "not all came back" if outage["all_back_s"] is None else f"all back {outage['all_back_s']} s after the loss"
        most = f"most connections in 1 s {outage['busiest_1s']}, in 10 s {outage['busiest_10s']}"
        lines.append(f"an outage: down to {outage['lowest']} connected, {back}; {most}")
    lines.append(f"the simulation itself: {use['cpu_s']:.0f} s of CPU, {use['memory_mb']} MB in {figures['processes']} processes")
    sys.stdout.write("\n".join(lines) + "\n")
