"""For which systems a package is made: their Python, their C library, and what of theirs it leans on."""

from __future__ import annotations

from dataclasses import dataclass

WINDOW = (
    *("libegl1", "libgl1", "libxkbcommon-x11-0", "libxcb-cursor0", "libxcb-icccm4", "libxcb-image0", "libxcb-keysyms1"),
    *("libxcb-render-util0", "libxcb-shape0", "libxcb-xinerama0", "libdbus-1-3", "libfontconfig1", "libfribidi0"),
    *("libwayland-client0", "libwayland-cursor0"),
)
"""Libraries that Qt's window opens, by their names in Debian 12; none of them was renamed in Ubuntu 22.04 or 24.04."""


@dataclass(frozen=True)
class Distribution:
    """python: major and minor. glibc: minor number of version 2. serves: in words. constraint: by architecture, the file of
    `constraints` that its wheels are held to beside the project's own. jetson: JetPack is made of it."""

    name: str
    python: tuple[int, int]
    glibc: int
    serves: str
    constraint: dict[str, str]
    jetson: bool = False


DISTRIBUTIONS = {
    each.name: each
    for each in (
        Distribution("bookworm", (3, 11), 36, "Debian 12, Raspberry Pi OS 12", {"arm64": "raspberry-pi.txt"}),
        Distribution("jammy", (3, 10), 35, "Ubuntu 22.04, JetPack 6", {"arm64": "jetpack-6.txt"}, jetson=True),
        Distribution("noble", (3, 12), 39, "Ubuntu 24.04, JetPack 7", {}, jetson=True),
    )
}

MACHINES = {"amd64": "x86_64", "arm64": "aarch64"}
"""Debian's word for an architecture, and that of wheels and kernels."""


def platforms(distribution: Distribution, architecture: str) -> list[str]:
    """Tags of the wheels that run there, the newest first."""
    machine = MACHINES[architecture]
    oldest = 5 if machine == "x86_64" else 17
    return [f"manylinux_2_{minor}_{machine}" for minor in range(distribution.glibc, oldest - 1, -1)] + [
        f"manylinux2014_{machine}",
        f"linux_{machine}",
    ]
