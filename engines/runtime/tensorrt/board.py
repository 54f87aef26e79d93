"""What this machine is, as far as a TensorRT plan depends on it: L4T release, power mode, memory that is free and taken."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

L4T_FILE = Path("/etc/nv_tegra_release")
MEMORY_FILE = Path("/proc/meminfo")
PROCESS_FILE = Path("/proc/self/smaps_rollup")


def l4t_release(file: Path = L4T_FILE) -> str:
    """Jetson Linux's release such as "36.4.3", by its file or its package; "" on another machine."""
    return release_in(file) or _output("dpkg-query", "-W", "-f=${Version}", "nvidia-l4t-core").partition("-")[0]


def release_in(file: Path) -> str:
    """The same by the file alone, of whatever root it lies in; "" where it says none."""
    found = re.search(r"R(\d+)\D+REVISION:\s*([\d.]+)", _text(file))
    return f"{found[1]}.{found[2]}" if found else ""


def power_mode() -> str:
    """What `nvpmodel -q` says in one line, e.g. "NV Power Mode: MAXN 0"; "" where there is none. A latency without it says little."""
    return " ".join(_output("nvpmodel", "-q").split())


def available_bytes(file: Path = MEMORY_FILE) -> int | None:
    """Memory that programs may still take (MemAvailable), or None where the kernel does not tell."""
    found = re.search(r"^MemAvailable:\s+(\d+) kB", _text(file), re.MULTILINE)
    return int(found[1]) * 1024 if found else None


def process_bytes(file: Path = PROCESS_FILE) -> dict[str, int]:
    """Memory of this process alone, bytes, by the kernel's names (Rss, Pss, Anonymous, Swap, ...); empty where it does not tell.

    What the whole machine has free says nothing of one program: on a Jetson it moves with the page cache and every other process.
    """
    found: dict[str, int] = {}
    for name, kib in re.findall(r"^(\w+):\s+(\d+) kB", _text(file), re.MULTILINE):
        found[name] = int(kib) * 1024
    return found


def _text(file: Path) -> str:
    """A file's text, or "" where it cannot be read."""
    try:
        return file.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def _output(*command: str) -> str:
    """What a program prints, or "" where it is absent or fails."""
    try:
        run = subprocess.run(command, capture_output=True, text=True, timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return run.stdout.strip() if run.returncode == 0 else ""
