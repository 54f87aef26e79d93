"""The wheels of a package: our own without what only a laboratory needs, and everybody else's for the target's Python and machine."""

from __future__ import annotations

import base64
import csv
import hashlib
import io
import re
import subprocess
import sys
import zipfile
from fnmatch import fnmatch
from pathlib import Path

from systemd.package.distributions import MACHINES, Distribution, platforms

ROOT = Path(__file__).resolve().parents[2]
LABORATORY_ONLY = ("engines/zoo/*/weights.safetensors", "*.data/data/share/*")
"""Files of the wheel that no box needs: weights to train on from, and units and docs, which the package brings itself."""
EXTRAS = {False: ("openvino",), True: ("openvino", "screen")}
"""By whether there is a screen."""


class PackageError(Exception):
    """The package cannot be made; the message names the file or wheel and the next step."""


def own_wheel(folder: Path, epoch: int) -> Path:
    """Build this source tree's wheel into `folder`, without LABORATORY_ONLY; the same tree gives the same bytes."""
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", str(folder), str(ROOT)]
    _run(command, f"{ROOT}: cannot be built into a wheel")
    built = next(folder.glob("leukoscope-*.whl"))
    slim(built, epoch)
    return built


def stored(wheel: Path, target: Path, epoch: int) -> None:
    """Copy a wheel without compression: xz over the whole package makes it a fifth smaller than its wheels' own."""
    with zipfile.ZipFile(wheel) as old, zipfile.ZipFile(target, "w", zipfile.ZIP_STORED) as new:
        for info in sorted(old.infolist(), key=lambda each: each.filename):
            plain = zipfile.ZipInfo(info.filename, _date(epoch))
            plain.external_attr = info.external_attr
            new.writestr(plain, old.read(info))


def slim(wheel: Path, epoch: int) -> None:
    """Leave LABORATORY_ONLY out of a wheel and its list of files, and give all that stays one date. epoch: seconds."""
    when = _date(epoch)
    with zipfile.ZipFile(wheel) as old:
        kept = {name: old.read(name) for name in sorted(old.namelist()) if not any(fnmatch(name, left) for left in LABORATORY_ONLY)}
        modes = {info.filename: info.external_attr for info in old.infolist()}
    record = next(name for name in kept if name.endswith(".dist-info/RECORD"))
    kept[record] = _record(kept, record)
    with zipfile.ZipFile(wheel, "w", zipfile.ZIP_DEFLATED, compresslevel=6) as new:
        for name, content in kept.items():
            info = zipfile.ZipInfo(name, when)
            info.compress_type, info.external_attr = zipfile.ZIP_DEFLATED, modes[name]
            new.writestr(info, content)


def download(own: Path, folder: Path, target: Distribution, architecture: str, screen: bool, constraints: list[Path]) -> list[Path]:
    """Fetch the wheels that `own` needs on that system into `folder`. Raises PackageError where one has no wheel for it."""
    folder.mkdir(parents=True, exist_ok=True)
    python = f"{target.python[0]}.{target.python[1]}"
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--only-binary=:all:", "--dest", str(folder)]
    command += [
        "--python-version",
        python,
        "--implementation",
        "cp",
        "--abi",
        f"cp{python.replace('.', '')}",
        "--abi",
        "abi3",
        "--abi",
        "none",
    ]
    for platform in platforms(target, architecture):
        command += ["--platform", platform]
    for file in constraints:
        command += ["--constraint", str(file)]
    command.append(f"{own}[{','.join(EXTRAS[screen])}]")
    _run(command, f"no set of wheels for {target.name} {architecture} (Python {python})")
    (folder / own.name).unlink(missing_ok=True)
    wheels = sorted(folder.glob("*.whl"))
    wrong = [each.name for each in wheels if not runs_on(each.name, architecture)]
    if wrong:
        raise PackageError(f"{', '.join(wrong)}: for another machine than {architecture}; empty {folder} and try again")
    return wheels


def runs_on(wheel: str, architecture: str) -> bool:
    """Whether a wheel's name says that it runs on that architecture, or on any."""
    platform = wheel.removesuffix(".whl").rsplit("-", 1)[1]
    return platform == "any" or MACHINES[architecture] in platform


def version_of(wheel: Path) -> str:
    """The version in a wheel's name, as Debian orders it: a development version comes before what it leads to."""
    return re.sub(r"\.dev", "~dev", wheel.name.split("-")[1])


def _record(kept: dict[str, bytes], record: str) -> bytes:
    out = io.StringIO()
    rows = csv.writer(out, lineterminator="\n")
    for name, content in kept.items():
        if name == record:
            rows.writerow([name, "", ""])
        else:
            digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
            rows.writerow([name, f"sha256={digest}", len(content)])
    return out.getvalue().encode()


def _date(epoch: int) -> tuple[int, int, int, int, int, int]:
    import time

    year, month, day, hour, minute, second = time.gmtime(max(epoch, 315532800))[:6]
    return year, month, day, hour, minute, second


def _run(command: list[str], fault: str) -> None:
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    if run.returncode != 0:
        lines = [line for line in run.stderr.splitlines() if line.strip() and not line.startswith("WARNING")]
        raise PackageError(f"{fault}; pip says: {' | '.join(lines[-3:])}")
