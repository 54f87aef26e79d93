"""The package for other systems than Debian 12 on amd64: the right wheels in it, and installed under the Python of those systems."""

from __future__ import annotations

import filecmp
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from systemd.package.build import CONSTRAINTS, build
from systemd.package.distributions import DISTRIBUTIONS
from systemd.package.wheels import constraints_of, own_wheel, resolved, runs_on
from tests.box.conftest import ROOT, Chroot

SIMULATED = """\
camera: {kind: simulator, objective: 100, fields: 2, fps: 10}
device: {id: box, state_dir: /tmp/state}
engine: {runtime: onnx}
display: {kind: file, directory: /tmp/screens}
"""
JAMMY_PIP = "22.0.2"
"""Ubuntu 22.04's; it knows fewer options than those of today."""


def interpreter(python: tuple[int, int]) -> Path:
    """The folder of a Python of that version, built for this machine by pyenv; it runs in a chroot at the same path."""
    wanted = f"{python[0]}.{python[1]}"
    found = sorted(Path("~/.pyenv/versions").expanduser().glob(f"{wanted}.*"))
    if not found:
        pytest.skip(f"no Python {wanted} below ~/.pyenv/versions")
    return found[-1]


def lent(box: Chroot, python: tuple[int, int], pip: str | None) -> str:
    """Copy that Python into the chroot, with another pip where one is named; the PATH under which it is `python3`."""
    source = interpreter(python)
    target = box.folder / source.relative_to("/")
    target.parent.mkdir(parents=True)
    shutil.copytree(source, target, symlinks=True)
    if pip:
        bundled = target / f"lib/python{python[0]}.{python[1]}/ensurepip/_bundled"
        for old in bundled.glob("pip-*.whl"):
            old.unlink()
        fetch = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", bundled, f"pip=={pip}"]
        subprocess.run(fetch, check=True)
        names = bundled.parent / "__init__.py"
        names.write_text(re.sub(r'_PIP_VERSION = "[^"]+"', f'_PIP_VERSION = "{pip}"', names.read_text()))
    return f"{source}/bin:/usr/sbin:/usr/bin:/sbin:/bin"


@pytest.mark.parametrize(("name", "pip"), [("jammy", JAMMY_PIP), ("noble", None)])
def test_the_set_of_another_python_installs_and_counts(clean: Chroot, name: str, pip: str | None) -> None:
    interpreter(DISTRIBUTIONS[name].python)
    made = build(name, "amd64", False, ROOT / "build" / "deb", fast=True)
    path = lent(clean, DISTRIBUTIONS[name].python, pip)
    # This Debian has another Python of its own, which is all that the package misses.
    clean.run("env", f"PATH={path}", "dpkg", "-i", "--force-depends", clean.put(made, "leukoscope.deb"))
    major, minor = DISTRIBUTIONS[name].python
    assert (clean.folder / clean.current() / f"lib/python{major}.{minor}/site-packages/device").is_dir()
    assert clean.run("leukoscope", "--version").stdout.startswith("leukoscope ")
    (clean.folder / "tmp/box.yaml").write_text(SIMULATED)
    clean.run("leukoscope", "check-config", "/tmp/box.yaml")
    told = clean.run("leukoscope", "run", "--config", "/tmp/box.yaml", "--start").stderr
    assert re.search(r"finished: [1-9]\d* white cells", told), told
    assert (clean.folder / "tmp/screens/latest.png").stat().st_size > 10_000


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return own_wheel(tmp_path_factory.mktemp("own"), 1_700_000_000)


@pytest.mark.parametrize(
    ("name", "architecture", "has", "has_not"),
    [
        # Conditions of the Python that is asked for, not of the one that asks; no ONNX Runtime above 1.23 for 3.10.
        ("jammy", "arm64", ["onnxruntime==1.23.2", "tomli==", "cyclopts==4", "pyside6-essentials==6.8", "cuda-bindings==12"], []),
        ("jammy", "amd64", ["onnxruntime==1.23.2", "tomli=="], ["cuda-bindings"]),
        ("noble", "arm64", ["numpy==2", "cyclopts==5", "cuda-bindings==13"], ["tomli=="]),
        # Below what picamera2 of Raspberry Pi OS was compiled for.
        (
            "bookworm",
            "arm64",
            ["numpy==1.26", "opencv-python-headless==4.11", "pyside6-essentials==6.8"],
            ["numpy==2", "cuda-bindings"],
        ),
        ("bookworm", "amd64", ["numpy==2"], []),
    ],
)
def test_each_system_gets_the_versions_that_run_there(
    own: Path, name: str, architecture: str, has: list[str], has_not: list[str]
) -> None:
    target = DISTRIBUTIONS[name]
    files = [ROOT / "constraints.txt", *(CONSTRAINTS / each for each in [target.constraint.get(architecture)] if each)]
    pinned = resolved(own, target, architecture, True, constraints_of(files))
    for start in has:
        assert any(line.startswith(start) for line in pinned), (start, pinned)
    assert not [line for line in pinned if line.startswith(tuple(has_not))]


def test_a_package_for_arm64_holds_nothing_of_another_machine_and_is_the_same_twice(tmp_path: Path) -> None:
    made = [build("bookworm", "arm64", False, tmp_path / folder, fast=True) for folder in ("first", "second")]
    listed = subprocess.run(["dpkg-deb", "-c", made[0]], capture_output=True, text=True, check=True).stdout
    wheels = re.findall(r"/wheels/(\S+\.whl)", listed)
    assert len(wheels) > 20
    assert [wheel for wheel in wheels if not runs_on(wheel, "arm64")] == []
    assert [wheel for wheel in wheels if wheel.startswith("numpy-1.26")]
    assert "root/root" in listed
    assert filecmp.cmp(*made, shallow=False)
