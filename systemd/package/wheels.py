"""The wheels of a package: our own without what only a laboratory needs, and everybody else's for the target's Python and machine."""

from __future__ import annotations

import base64
import csv
import hashlib
import io
import os
import re
import subprocess
import sys
import tempfile
import time
import zipfile
from fnmatch import fnmatch
from pathlib import Path

from systemd.package.distributions import MACHINES, Distribution, platforms

ROOT = Path(__file__).resolve().parents[2]
LABORATORY_ONLY = ("engines/zoo/*/weights.safetensors", "*.data/data/share/*")
"""Files of the wheel that no box needs: weights to train on from, and units and docs, which the package brings itself."""


def extras(target: Distribution, architecture: str, screen: bool) -> str:
    """What a package brings besides. Without a screen OpenVINO stays out, a quarter of that package: ONNX Runtime counts, or a GPU.
    Where a Jetson takes it, cuda-bindings comes along: a box has no compiler for pycuda."""
    wanted = ["cuda"] if target.jetson and architecture == "arm64" else []
    wanted += ["openvino", "screen"] if screen else []
    return f"[{','.join(wanted)}]" if wanted else ""


class PackageError(Exception):
    """The package cannot be made; the message names the file or wheel and the next step."""


def own_wheel(folder: Path, epoch: int) -> Path:
    """Build this source tree's wheel into `folder`, without LABORATORY_ONLY; the same tree gives the same bytes."""
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", str(folder), str(ROOT)]
    # Not in ROOT/build: what an earlier build left there would get into the wheel, also when its source is gone.
    elsewhere = folder / "build.cfg"
    elsewhere.write_text(f"[build]\nbuild_base = {folder / 'build'}\n")
    _run(command, f"{ROOT}: cannot be built into a wheel", DIST_EXTRA_CONFIG=str(elsewhere))
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


def resolved(own: Path, target: Distribution, architecture: str, screen: bool, constraints: str) -> list[str]:
    """What `own` needs on that system, as lines NAME==VERSION. Raises PackageError.

    By uv, since pip answers conditions such as `python_version < "3.11"` for the Python that runs it, not for the one asked for.
    """
    python, machine = f"{target.python[0]}.{target.python[1]}", f"{MACHINES[architecture]}-manylinux_2_{target.glibc}"
    command = [
        sys.executable,
        "-m",
        "uv",
        "pip",
        "compile",
        "--quiet",
        "--no-config",
        "--no-header",
        "--no-annotate",
        "--only-binary=:all:",
    ]
    command += ["--python-version", python, "--python-platform", machine, "--constraints"]
    index = subprocess.run(
        [sys.executable, "-m", "pip", "config", "get", "global.index-url"], capture_output=True, text=True, check=False
    )
    with tempfile.TemporaryDirectory(prefix="leukoscope-resolve-") as scratch:
        held, wanted = Path(scratch) / "constraints.txt", Path(scratch) / "wanted.in"
        held.write_text(constraints)
        wanted.write_text(f"leukoscope{extras(target, architecture, screen)} @ {own.resolve().as_uri()}\n")
        source = ["--default-index", index.stdout.strip()] if index.returncode == 0 else []
        told = _run([*command, str(held), *source, str(wanted)], f"no set of wheels for {target.name} {architecture} (Python {python})")
    return [line for line in told.splitlines() if line.strip() and not line.startswith("leukoscope ")]


def constraints_of(files: list[Path]) -> str:
    """Constraints files as one; what a later file says of a package stands in place of what earlier ones say of it."""
    kept: list[str] = []
    for file in files:
        lines = [line for line in file.read_text().splitlines() if line.strip() and not line.startswith("#")]
        renewed = {_name(line) for line in lines}
        kept = [line for line in kept if _name(line) not in renewed] + lines
    return "\n".join(kept) + "\n"


def _name(requirement: str) -> str:
    match = re.match(r"[A-Za-z0-9._-]+", requirement)
    return re.sub(r"[-_.]+", "-", match[0]).lower() if match else requirement


def download(pinned: list[str], folder: Path, target: Distribution, architecture: str) -> list[Path]:
    """Fetch the wheels of `pinned` (lines NAME==VERSION) into `folder`. Raises PackageError where one has none for that system."""
    folder.mkdir(parents=True, exist_ok=True)
    python = f"{target.python[0]}.{target.python[1]}"
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:", "--dest", str(folder)]
    command += ["--python-version", python, "--implementation", "cp"]
    for abi in (f"cp{python.replace('.', '')}", "abi3", "none"):
        command += ["--abi", abi]
    for platform in platforms(target, architecture):
        command += ["--platform", platform]
    _run([*command, *pinned], f"no set of wheels for {target.name} {architecture} (Python {python})")
    wheels = sorted(folder.glob("*.whl"))
    wrong = [each.name for each in wheels if not runs_on(each.name, architecture)]
    if wrong or len(wheels) != len(pinned):
        fault = (
            f"for another machine than {architecture}: {', '.join(wrong)}"
            if wrong
            else f"{len(wheels)} wheels for {len(pinned)} packages"
        )
        raise PackageError(f"{folder}: {fault}; remove it and try again")
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
    year, month, day, hour, minute, second = time.gmtime(max(epoch, 315532800))[:6]
    return year, month, day, hour, minute, second


def _run(command: list[str], fault: str, **environment: str) -> str:
    run = subprocess.run(command, capture_output=True, text=True, check=False, env=os.environ | environment)
    if run.returncode != 0:
        lines = [line for line in run.stderr.splitlines() if line.strip() and not line.startswith("WARNING")]
        missing = "; it comes by pip install '.[package]'" if "No module named uv" in run.stderr else ""
        raise PackageError(f"{fault}; {command[2]} says: {' | '.join(lines[-3:])}{missing}")
    return run.stdout
