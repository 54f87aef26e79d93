"""Every named fault of `make test-faults` in its short form: the same functions, small numbers. docs/reliability.md has the full run.

Cases whose short form is a test of its own already (kills of the line, a slow or long link, ...) or takes long are run where
LEUKOSCOPE_LONG is set.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

import tests.faults.run as faults
from device.demo.broker import find_mosquitto
from tests.faults.cases import CASES

pytestmark = pytest.mark.integration
NEEDS_MOUNT = ("disk-full", "disk-start")
NEEDS_COMPILER = ("disk-full-at-write", "disk-fails")
ELSEWHERE = {
    "kills": "tests/integration/test_killed.py",
    "broker-frozen": "tests/integration/mqtt/test_mqtt_bad_links.py",
    "broker-slow": "tests/integration/mqtt/test_mqtt_bad_links.py",
    "broker-far": "tests/integration/mqtt/test_mqtt_bad_links.py",
    "broker-deaf": "tests/integration/mqtt/test_mqtt_bad_links.py",
    "broker-strict": "tests/integration/mqtt/test_mqtt_bad_links.py",
    "poison": "tests/integration/mqtt/test_mqtt_bad_links.py",
    "supervisor-away": "tests/integration/mqtt/test_mqtt_receipts.py",
    "signals": "tests/integration/test_surviving.py",
    "disk-full": "tests/integration/test_surviving.py",
    "disk-fails": "tests/integration/test_surviving.py",
    "record-gone": "tests/integration/test_record_taken_away.py",
    "damaged-rows": "tests/integration/test_surviving_damage.py",
    "camera-bad": "tests/integration/test_camera_stream.py",
}
LONG = bool(os.environ.get("LEUKOSCOPE_LONG"))


@pytest.mark.parametrize("name", CASES)
def test_a_fault_loses_nothing_and_doubles_nothing(name: str, tmp_path: Path) -> None:
    if name in ELSEWHERE and not LONG:
        pytest.skip(f"tried in {ELSEWHERE[name]}; set LEUKOSCOPE_LONG=1")
    if find_mosquitto() is None:
        pytest.skip("mosquitto is not installed (apt install mosquitto)")
    if name in NEEDS_COMPILER and shutil.which("gcc") is None:
        pytest.skip("needs gcc to make a failing disk")
    case = CASES[name]
    result = faults.run(case, case.short, 15, tmp_path)
    assert not result["faults"], result
    assert (result["lost"], result["doubled"]) == (0, 0), result
    assert result["median_s"] is not None and result["tries"] >= 1


@pytest.mark.parametrize("name", ELSEWHERE)
def test_what_is_tried_elsewhere_is_there(name: str, repository: Path) -> None:
    assert name in CASES and (repository / ELSEWHERE[name]).is_file()


def test_the_page_names_every_case_and_its_promise(repository: Path) -> None:
    page = (repository / "docs" / "reliability.md").read_text(encoding="utf-8")
    assert not [case.promise for case in CASES.values() if f"{case.promise} (`{case.name}`)" not in page]


def test_the_table_tells_a_case_that_fails(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(f"before\n{faults.BEGIN}\nold\n{faults.END}\nafter\n")
    good = {"tries": 3, "lost": 0, "doubled": 0, "median_s": 1.0, "worst_s": 2.0, "words": "", "faults": [], "took_s": 60.0}
    good |= {"seed": 1, "commit": "abc", "date": "2026-11-30"}
    faults.into_page({"clock": good, "engine": {**good, "faults": ["not within 60 s"]}, "kills": {**good, "lost": 1}}, page)
    text = page.read_text()
    assert "3 cases, 2 failing" in text and "**FAILS: not within 60 s**" in text and "old" not in text
    assert text.startswith("before\n") and text.endswith("after\n")
    faults.into_page({"engine": good}, page)
    again = page.read_text()
    assert "3 cases, 1 failing" in again and "FAILS" not in again and again.count("| `") == 3
