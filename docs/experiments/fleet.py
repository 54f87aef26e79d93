"""A thousand simulated devices, one mosquitto, ingesters and a database on this machine: the figures of docs/scale.md. `make fleet`.

    python docs/experiments/fleet.py --devices 1000 [--parts steady,killed,outage,frozen,drain] [--out FOLDER] [--write docs/scale.md]

Everything is real: mosquitto with the queues that we ship, PostgreSQL (Debian's, an own cluster as an unprivileged user, with fsync),
`leukoscope supervise` as ingesters that share a subscription, `leukoscope fleet-sim` as devices. They all share this machine's cores,
so the times are upper limits for a server of one's own. Some twenty minutes.
"""

from __future__ import annotations

import argparse
import contextlib
import csv
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fleet_places import Postgres, cpu_s, memory_mb, postgres
from fleet_tables import write
from sqlalchemy import text

from device.demo.broker import find_mosquitto, free_port
from device.fleet.figures import busiest, spread
from device.supervisor.database import open_database

GROUP = "fleet"
PARTS = ("steady", "killed", "outage", "frozen", "drain-sqlite-1", "drain-postgresql-1", "drain-postgresql-3")
_BROKER = """listener {port} 127.0.0.1
allow_anonymous true
{user}
max_queued_messages 1000000
max_queued_bytes 1000000000
max_inflight_messages 100
max_packet_size 4194304
persistence true
persistence_location {folder}/
autosave_interval 30
log_dest file {folder}/log
log_type error
log_type warning
log_type notice
connection_messages true
log_timestamp true
"""


@dataclass
class Place:
    """A broker, a database and ingesters, as long as a part lasts."""

    folder: Path
    port: int
    url: str
    database: Postgres | None
    broker: subprocess.Popen[bytes] | None = None
    ingesters: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)
    fleets: list[subprocess.Popen[str]] = field(default_factory=list)
    used: dict[str, float] = field(default_factory=dict)  # CPU seconds of processes that ended, by name

    def start_broker(self) -> None:
        program = find_mosquitto()
        assert program is not None, "apt install mosquitto"
        store = self.folder / "broker"
        store.mkdir(exist_ok=True)
        user = "user root" if os.geteuid() == 0 else ""
        (self.folder / "mosquitto.conf").write_text(_BROKER.format(port=self.port, folder=store, user=user))
        self.broker = subprocess.Popen([program, "-c", str(self.folder / "mosquitto.conf")], start_new_session=True)

    def start_ingester(self, name: str) -> None:
        words = [sys.executable, "-m", "device", "supervise", "--name", name, "--shared", GROUP, "--broker", "127.0.0.1"]
        words += ["--broker-port", str(self.port), "--database", self.url, "--port", str(free_port())]
        said = (self.folder / f"{name}.log").open("ab")
        self.ingesters[name] = subprocess.Popen(words, stdout=said, stderr=said, start_new_session=True)

    def end(self, name: str, number: int = signal.SIGTERM) -> None:
        child = self.ingesters.pop(name) if name != "mosquitto" else self.broker
        assert child is not None
        self.used[name] = self.used.get(name, 0.0) + cpu_s(child.pid)
        child.send_signal(number)
        child.wait(60)

    def running(self) -> dict[str, int]:
        found = {name: child.pid for name, child in self.ingesters.items()}
        if self.broker is not None and self.broker.poll() is None:
            found["mosquitto"] = self.broker.pid
        if self.database is not None:
            found["postgresql"] = self.database.pid
        return found

    def cpu(self) -> dict[str, float]:
        """CPU seconds of each, since it began."""
        used = dict(self.used)
        for name, pid in self.running().items():
            used[name] = used.get(name, 0.0) + cpu_s(pid)
        return used

    def count(self) -> int:
        return int(self.ask("SELECT count(*) FROM summaries")[0][0])

    def ask(self, question: str) -> list[Any]:
        engine = open_database(self.url)
        try:
            with engine.connect() as connection:
                return list(connection.execute(text(question)).all())
        finally:
            engine.dispose()


@contextlib.contextmanager
def place(kind: str, ingesters: int) -> Iterator[Place]:
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="leukoscope-fleet-", ignore_cleanup_errors=True)))
        database = stack.enter_context(postgres()) if kind == "postgresql" else None
        made = Place(folder, free_port(), database.url if database else f"sqlite:///{folder}/supervisor.sqlite", database)
        made.start_broker()
        try:
            for number in range(1, ingesters + 1):
                made.start_ingester(f"ingester-{number}")
            _until(lambda: all("pages at" in (folder / f"ingester-{n}.log").read_text() for n in range(1, ingesters + 1)), 120)
            time.sleep(3.0)
            yield made
        finally:
            if made.broker is not None:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(made.broker.pid, signal.SIGCONT)
            for child in made.fleets:
                if child.poll() is None:
                    child.kill()
            for name in [*made.ingesters, "mosquitto"]:
                made.end(name)


def _until(true: Any, seconds: float) -> None:
    end_s = time.monotonic() + seconds
    while not true():
        if time.monotonic() > end_s:
            raise SystemExit("it took too long; look into the logs")
        time.sleep(0.2)


class Fleet:
    """`leukoscope fleet-sim` as a process of its own, and what it says meanwhile."""

    def __init__(self, here: Place, devices: int, *more: str) -> None:
        self._here, self.result, self.samples = here, here.folder / "result.json", here.folder / "samples.csv"
        words = [
            sys.executable,
            "-m",
            "device",
            "fleet-sim",
            "--devices",
            str(devices),
            "--host",
            "127.0.0.1",
            "--port",
            str(here.port),
        ]
        words += ["--receiver", GROUP, "--result", str(self.result), "--samples", str(self.samples), *more]
        self.child = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True)
        here.fleets.append(self.child)
        self.now = {"connected": 0, "made": 0, "taken": 0, "delivered": 0, "wait": 0}
        self._hears = threading.Thread(target=self._hear, daemon=True)
        self._hears.start()

    def _hear(self) -> None:
        assert self.child.stderr is not None
        for line in self.child.stderr:
            sys.stderr.write(line)
            if found := re.search(r"(\d+) connected; summaries: (\d+) made, (\d+) at the broker, (\d+) delivered, (\d+) wait", line):
                self.now = dict(zip(self.now, map(int, found.groups()), strict=True))

    def end(self) -> dict[str, Any]:
        assert self.child.stdout is not None
        sys.stdout.write(self.child.stdout.read())
        self.child.wait(60)
        figures: dict[str, Any] = json.loads(self.result.read_text())
        return figures


def measured(
    kind: str, ingesters: int, devices: int, happens: Any = None, *, minutes: float = 3.0, status_s: float = 30.0
) -> dict[str, Any]:
    """A run at the pace of a ward, with what `happens` in the middle of it."""
    with place(kind, ingesters) as here:
        pace = ("--slides-per-hour", "12", "--status-seconds", str(status_s), "--settle-seconds", "120")
        fleet = Fleet(here, devices, "--minutes", str(minutes), *pace)
        _until(lambda: fleet.now["connected"] == devices, 300)
        time.sleep(5.0)
        before, began_s = here.cpu(), time.monotonic()
        memory: dict[str, float] = {}
        told = happens(here) if happens else None
        while fleet.child.poll() is None and fleet.now["made"] and time.monotonic() - began_s < 60.0 * minutes + 240:
            for name, pid in here.running().items():
                memory[name] = max(memory.get(name, 0.0), memory_mb(pid))
            time.sleep(2.0)
        seconds, after = time.monotonic() - began_s, here.cpu()
        figures = fleet.end()
        time.sleep(3.0)
        figures |= stored(here, fleet.samples)
        figures["cpu_share"] = {name: round((after[name] - before.get(name, 0.0)) / seconds, 3) for name in sorted(after)}
        figures["memory_mb"] = {name: round(value) for name, value in sorted(memory.items())}
        figures["broker_log"] = connections(here.folder / "broker" / "log", told)
        return figures


def stored(here: Place, samples: Path) -> dict[str, Any]:
    """What the database has, and how long after the first sending it was committed there (PostgreSQL, by its own commit times)."""
    rows = here.ask("SELECT count(*), count(DISTINCT device_id || ' ' || message_id) FROM summaries")[0]
    gaps = here.ask("SELECT count(*) FROM gaps WHERE closed_at IS NULL")[0][0]
    with samples.open() as file:
        sent = {row["message_id"]: float(row["sent_at"]) for row in csv.DictReader(file)}
    found: dict[str, Any] = {"stored": rows[0], "doubled": rows[0] - rows[1], "lost": len(sent) - rows[1], "open_gaps": gaps}
    if here.database is not None:
        when = here.ask("SELECT message_id, extract(epoch FROM pg_xact_commit_timestamp(xmin)) FROM summaries")
        found["commit_s"] = spread([float(at) - sent[key] for key, at in when if sent.get(key)])
    return found


def connections(log: Path, since: float | None) -> dict[str, Any]:
    """Devices' connections by the broker's own log, after `since` (Unix time)."""
    times = [float(at) for at in re.findall(r"^(\d+): New client connected from \S+ as leukoscope-", log.read_text(), re.MULTILINE)]
    after = [at for at in times if since is None or at >= since - 1]
    return {"connects": len(after), "busiest_1s": max(Counter(after).values(), default=0), "busiest_10s": busiest(after, 10.0)}


# ---- what happens in the middle


def kills_one(here: Place) -> float:
    time.sleep(40.0)
    here.end("ingester-2", signal.SIGKILL)
    time.sleep(20.0)
    here.start_ingester("ingester-2")
    return time.time()


def stops_the_broker(here: Place) -> float:
    time.sleep(20.0)
    here.end("mosquitto")
    time.sleep(60.0)
    here.start_broker()
    return time.time()


def freezes_the_broker(here: Place) -> float:
    time.sleep(20.0)
    assert here.broker is not None
    here.broker.send_signal(signal.SIGSTOP)
    time.sleep(60.0)
    here.broker.send_signal(signal.SIGCONT)
    return time.time()


def drained(kind: str, ingesters: int, devices: int, each: int) -> dict[str, Any]:
    """How quickly ingesters take what waits for them at the broker."""
    with place(kind, ingesters) as here:
        names = list(here.ingesters)
        for name in names:
            here.end(name)
        quiet = ("--slides-per-hour", "0", "--status-seconds", "0", "--health-seconds", "0")
        fleet = Fleet(here, devices, "--burst", str(each), "--minutes", "0", "--settle-seconds", "600", *quiet)
        _until(lambda: fleet.now["taken"] >= devices * each, 180)
        before = here.cpu()
        for name in names:
            here.start_ingester(name)
        _until(lambda: here.count() >= devices * each, 240)
        after, figures = here.cpu(), fleet.end()
        time.sleep(2.0)
        figures |= stored(here, fleet.samples)
        column = "extract(epoch FROM received_at)" if here.database else "(julianday(received_at) - 2440587.5) * 86400.0"
        times = [float(at) for (at,) in here.ask(f"SELECT {column} FROM summaries")]
        figures["drain_s"] = round(max(times) - min(times), 1)
        figures["rate_per_s"] = round(len(times) / (max(times) - min(times)), 1)
        figures["best_10s_per_s"] = busiest(times, 10.0) / 10.0
        figures["cpu_s"] = {name: round(after[name] - before.get(name, 0.0), 1) for name in sorted(after)}
        return figures


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--devices", type=int, default=1000)
    parser.add_argument("--burst", type=int, default=2)
    parser.add_argument("--parts", default=",".join(PARTS))
    parser.add_argument("--out", type=Path, default=Path("fleet-results"))
    parser.add_argument("--write", type=Path)
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    happenings = {"steady": None, "killed": kills_one, "outage": stops_the_broker, "frozen": freezes_the_broker}
    for part in filter(None, given.parts.split(",")):
        sys.stdout.write(f"\n== {part}\n")
        if part.startswith("drain-"):
            _, kind, number = part.split("-")
            figures = drained(kind, int(number), given.devices, given.burst)
        else:
            minutes = {"steady": 1.5, "killed": 2.0, "outage": 2.7, "frozen": 3.2}[part]
            figures = measured("postgresql", 3, given.devices, happenings[part], minutes=minutes)
        figures["load_of_the_machine"] = os.getloadavg()[1]
        (given.out / f"{part}.json").write_text(json.dumps(figures, indent=1))
        sys.stdout.write(json.dumps({key: value for key, value in figures.items() if key != "simulators"}) + "\n")
    if given.write:
        write(given.write, given.out)


if __name__ == "__main__":
    main()
