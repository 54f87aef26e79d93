"""A PostgreSQL of one's own from Debian's package: a cluster in a folder, run by an unprivileged user, on a free loopback port."""

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

import pytest

from device.demo.broker import free_port

_ACCOUNTS = ("postgres", "nobody")


def programs() -> Path | None:
    """Debian's newest folder of initdb and pg_ctl, which are on nobody's PATH."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    return found[-1].parent if found else None


@dataclass(frozen=True)
class Cluster:
    """A running cluster; `stop` and `start` it in a test as a machine would."""

    url: str
    _data: Path
    _options: str
    _user: str | None

    def run(self, program: str, *words: str) -> None:
        bin_folder = programs()
        assert bin_folder is not None
        command = [str(bin_folder / program), "-D", str(self._data), *words]
        done = subprocess.run(command, user=self._user, cwd="/", capture_output=True, text=True, timeout=120, check=False)
        assert done.returncode == 0, f"{program}: {done.stderr}{done.stdout}"

    def start(self) -> None:
        self.run("pg_ctl", "-o", self._options, "-l", str(self._data.parent / "log"), "-w", "start")

    def stop(self) -> None:
        self.run("pg_ctl", "-m", "immediate", "-w", "stop")


@contextlib.contextmanager
def cluster() -> Iterator[Cluster]:
    """An empty database as long as the block runs. Skips the test where PostgreSQL is not installed."""
    if programs() is None:
        pytest.skip("PostgreSQL is not installed (apt install postgresql)")
    user: str | None = None
    if os.geteuid() == 0:  # initdb refuses to run as root
        known = {entry.pw_name for entry in pwd.getpwall()}
        user = next((name for name in _ACCOUNTS if name in known), None)
        if user is None:
            pytest.skip("root must start PostgreSQL as somebody else, and there is neither postgres nor nobody")
    folder = Path(tempfile.mkdtemp(prefix="leukoscope-postgres-"))  # pytest's own folders are root's alone
    if user is not None:
        shutil.chown(folder, user)
    port = free_port()
    options = f"-p {port} -c listen_addresses=127.0.0.1 -c unix_socket_directories={folder} -c fsync=off -c max_connections=60"
    made = Cluster(f"postgresql+pg8000://leukoscope@127.0.0.1:{port}/postgres", folder / "data", options, user)
    made.run("initdb", "-U", "leukoscope", "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync")
    made.start()
    try:
        yield made
    finally:
        with contextlib.suppress(AssertionError):  # a test may have stopped it
            made.stop()
        shutil.rmtree(folder)
