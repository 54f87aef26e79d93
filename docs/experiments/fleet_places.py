"""A PostgreSQL for the measurement of docs/experiments/fleet.py, and what processes use of this machine."""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from device.demo.broker import free_port

_TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Postgres:
    url: str
    pid: int


@contextlib.contextmanager
def postgres() -> Iterator[Postgres]:
    """An empty cluster of Debian's newest version, run by an unprivileged user, with fsync and with the times of commits."""
    programs = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    if not programs:
        raise SystemExit("PostgreSQL is missing: apt install postgresql")
    user = None
    if os.geteuid() == 0:
        known = {entry.pw_name for entry in pwd.getpwall()}
        user = next(name for name in ("postgres", "nobody") if name in known)
    folder, port = Path(tempfile.mkdtemp(prefix="leukoscope-postgres-")), free_port()
    if user is not None:
        shutil.chown(folder, user)

    def run(program: str, *words: str) -> None:
        command = [str(programs[-1].parent / program), "-D", str(folder / "data"), *words]
        subprocess.run(command, user=user, cwd="/", check=True, stdout=subprocess.DEVNULL, timeout=120)

    options = f"-p {port} -c listen_addresses=127.0.0.1 -c unix_socket_directories={folder} -c track_commit_timestamp=on"
    run("initdb", "-U", "leukoscope", "-A", "trust", "-E", "UTF8", "--locale=C")
    run("pg_ctl", "-o", options, "-l", str(folder / "log"), "-w", "start")
    try:
        pid = int((folder / "data" / "postmaster.pid").read_text().split()[0])
        yield Postgres(f"postgresql+pg8000://leukoscope@127.0.0.1:{port}/postgres", pid)
    finally:
        run("pg_ctl", "-m", "immediate", "-w", "stop")
        shutil.rmtree(folder, ignore_errors=True)


def processes_of(pid: int) -> list[int]:
    """The process and its children that run."""
    with contextlib.suppress(OSError):
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        return [pid, *map(int, children)]
    return [pid]


def cpu_s(pid: int) -> float:
    """CPU seconds of a process, of its children, and of those that have ended."""
    total = 0
    for each in processes_of(pid):
        with contextlib.suppress(OSError):
            fields = Path(f"/proc/{each}/stat").read_text().rpartition(")")[2].split()
            total += sum(map(int, fields[11:15] if each == pid else fields[11:13]))
    return total / _TICKS


def memory_mb(pid: int) -> float:
    """Memory of a process and its children in MB; what they share is counted once (Pss)."""
    total = 0
    for each in processes_of(pid):
        with contextlib.suppress(OSError):
            for line in Path(f"/proc/{each}/smaps_rollup").read_text().splitlines():
                total += int(line.split()[1]) if line.startswith("Pss:") else 0
    return total / 1024
