"""Which sockets of the internet a process listens on, read from the kernel."""

from __future__ import annotations

import re
from contextlib import suppress
from pathlib import Path

_LISTENS = "0A"


def listening(pid: int) -> list[str]:
    """Addresses with ports (hexadecimal, as /proc/net has them) on which the process accepts TCP or waits for UDP; its own alone."""
    inodes = set()
    for descriptor in Path(f"/proc/{pid}/fd").iterdir():
        with suppress(OSError):
            if match := re.fullmatch(r"socket:\[(\d+)\]", str(descriptor.readlink())):
                inodes.add(match[1])
    found = []
    for table in ("tcp", "tcp6", "udp", "udp6"):
        for line in Path(f"/proc/{pid}/net/{table}").read_text().splitlines()[1:]:
            _, local, remote, state, *rest = line.split()
            unconnected = table.startswith("udp") and int(remote.rpartition(":")[2], 16) == 0
            if rest[5] in inodes and (state == _LISTENS or unconnected):
                found.append(f"{table} {local}")
    return found


def family(pid: int) -> list[int]:
    """The process and all its children."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [pid, *(each for child in children for each in family(int(child)))]
