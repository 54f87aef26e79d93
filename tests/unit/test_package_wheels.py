"""What goes into the Debian package: a system's constraints before our own, no other machine's wheels, no laboratory's files."""

from __future__ import annotations

import zipfile
from pathlib import Path

import pytest

from systemd.package.build import CONSTRAINTS
from systemd.package.distributions import DISTRIBUTIONS, MACHINES, platforms
from systemd.package.wheels import constraints_of, extras, runs_on, slim, version_of

ROOT = Path(__file__).resolve().parents[2]


def test_what_a_system_holds_a_package_to_stands_in_place_of_the_projects_own(tmp_path: Path) -> None:
    first, second = tmp_path / "a.txt", tmp_path / "b.txt"
    first.write_text("# ours\nnumpy==2.2.6 ; python_full_version < '3.11'\nnumpy==2.4.6\nrich-rst==2.2.0\n")
    second.write_text("# theirs\nNumPy<2\nrich_rst<2\n")
    assert constraints_of([first, second]).splitlines() == ["NumPy<2", "rich_rst<2"]


def test_a_raspberry_pi_keeps_to_numpy_1(tmp_path: Path) -> None:
    named = DISTRIBUTIONS["bookworm"].constraint["arm64"]
    told = constraints_of([ROOT / "constraints.txt", CONSTRAINTS / named]).splitlines()
    assert [line for line in told if line.startswith("numpy")] == ["numpy<2"]
    assert any(line.startswith("pydantic==") for line in told)


def test_every_named_constraints_file_is_there() -> None:
    named = {file for each in DISTRIBUTIONS.values() for file in each.constraint.values()}
    assert named == {each.name for each in CONSTRAINTS.glob("*.txt")}


@pytest.mark.parametrize(
    ("wheel", "runs"),
    [
        ("numpy-2.4.6-cp311-cp311-manylinux_2_27_aarch64.manylinux_2_28_aarch64.whl", True),
        ("rich-15.0.0-py3-none-any.whl", True),
        ("numpy-2.4.6-cp311-cp311-manylinux_2_27_x86_64.manylinux_2_28_x86_64.whl", False),
    ],
)
def test_a_wheel_of_another_machine_is_seen_by_its_name(wheel: str, runs: bool) -> None:
    assert runs_on(wheel, "arm64") is runs


def test_no_wheel_that_asks_for_a_newer_c_library_is_taken() -> None:
    assert "manylinux_2_35_aarch64" in platforms(DISTRIBUTIONS["jammy"], "arm64")
    assert "manylinux_2_36_aarch64" not in platforms(DISTRIBUTIONS["jammy"], "arm64")


def test_a_jetson_needs_no_compiler() -> None:
    """cuda-bindings for the distributions that JetPack is made of, and only there."""
    brings = {(name, machine): extras(each, machine, False) for name, each in DISTRIBUTIONS.items() for machine in MACHINES}
    assert {system for system, named in brings.items() if named} == {("jammy", "arm64"), ("noble", "arm64")}
    assert extras(DISTRIBUTIONS["noble"], "arm64", True) == "[cuda,openvino,screen]"
    assert extras(DISTRIBUTIONS["bookworm"], "arm64", True) == "[openvino,screen]"


def test_a_development_version_comes_before_what_it_leads_to() -> None:
    assert version_of(Path("leukoscope-0.2.0.dev12+gabc-py3-none-any.whl")) == "0.2.0~dev12+gabc"


def test_training_weights_stay_behind_and_bytes_do_not_depend_on_the_day(tmp_path: Path) -> None:
    made = []
    for number, year in enumerate((1999, 2020)):
        wheel = tmp_path / f"{number}.whl"
        with zipfile.ZipFile(wheel, "w") as written:
            names = [
                "engines/zoo/n/weights.safetensors",
                "engines/zoo/n/engine.onnx",
                "a.data/data/share/doc/x.md",
                "a.dist-info/RECORD",
            ]
            for name in reversed(names) if number else names:
                written.writestr(zipfile.ZipInfo(name, (year, 1, 1, 0, 0, 0)), name)
        slim(wheel, 1_700_000_000)
        made.append(wheel.read_bytes())
        with zipfile.ZipFile(wheel) as kept:
            assert set(kept.namelist()) == {"engines/zoo/n/engine.onnx", "a.dist-info/RECORD"}
            assert "weights" not in kept.read("a.dist-info/RECORD").decode()
    assert made[0] == made[1]
