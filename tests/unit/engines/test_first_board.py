"""`attridet first-board`: what it measures, what it names as not done, and that nobody's picture or name is in what is sent."""

from __future__ import annotations

import json
import shutil
import tarfile
from pathlib import Path

import pytest
import standin_plans
from commands import attridet
from told import told_split

from engines import build_plans as build_plans_module
from engines.bundle import Bundle
from engines.detections import Image
from engines.errors import DeviceLostError
from engines.first_board import day as first_board_module
from engines.first_board.day import first_board, shipped
from engines.first_board.measure import temperatures
from engines.first_board.request import FirstBoardRequest
from engines.progress import Reporter

SEEDED = "Amina-Okafor-1974"
"""A patient's name, as a person might call a folder or a picture."""


@pytest.fixture
def film(bundle: Bundle, frame: Image, tmp_path: Path) -> Path:
    root = told_split(tmp_path / SEEDED, bundle, frame)
    labels = root / "json_labels/val.json"
    (root / "Images/val/0.png").rename(root / f"Images/val/{SEEDED}.png")
    labels.write_text(labels.read_text().replace("0.png", f"{SEEDED}.png"))
    return root


class Heard(Reporter):
    """What a person reads on the terminal."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def message(self, text: str) -> None:
        self.lines.append(text)


def sent(archive: Path) -> dict[str, bytes]:
    with tarfile.open(archive) as tar:
        return {info.name.partition("/")[2]: tar.extractfile(info).read() for info in tar.getmembers()}  # type: ignore[union-attr]


def parts(files: dict[str, bytes]) -> dict[str, dict[str, object]]:
    return {part["name"]: part for part in json.loads(files["report.json"])["parts"]}


def test_without_a_gpu_it_does_what_a_processor_can(bundle: Bundle, film: Path, tmp_path: Path) -> None:
    """The command as it is, each engine in its own process."""
    options = ("--without-gpu", "--bundle", bundle.path, "--reference", bundle.path, "--data", film, "--frames", 3, "--threads", 1)
    done = attridet("first-board", tmp_path / "day", *options, "--config", tmp_path / "none.yaml")
    assert done.code == 0, done
    files = sent(tmp_path / "day.tar.gz")
    assert set(files) == {"report.json", "report.txt"}
    told = parts(files)
    assert told["doctor"]["state"] == told["tests"]["state"] == "not done" and "none.yaml" in str(told["doctor"]["words"])
    assert told["build attridet-test-fp32"]["state"] in ("done", "not done")  # as tensorrt_rtx is there or not; never a plan
    numbers = told["measure attridet-test-fp32"]["numbers"]
    assert isinstance(numbers, dict)
    assert numbers["frames"] == 3 and 0 < numbers["frame_ms"]["p50"] <= numbers["frame_ms"]["max"] and not numbers["golden_fault"]
    assert numbers["gate"]["passed"] and numbers["gate"]["images"] == 1 and numbers["process_mib"]["after"]["Rss"] > 10
    assert SEEDED not in b"".join(files.values()).decode() and SEEDED.encode() not in (tmp_path / "day.tar.gz").read_bytes()
    again = attridet("first-board", tmp_path / "day", *options)
    assert again.code == 2 and "is not empty" in again.err


def test_on_a_board_each_part_is_kept_and_one_that_fails_does_not_end_the_day(
    bundle: Bundle, film: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    standin_plans.machine(monkeypatch)
    monkeypatch.setattr(build_plans_module, "kernel_for", lambda _arch: standin_plans.CUBIN)
    monkeypatch.setattr(first_board_module, "in_own_process", lambda call, *arguments: call(*arguments))  # the stand-in is in this one
    shutil.copytree(bundle.path, tmp_path / "second")

    real, faults = build_plans_module.build_plans, iter([DeviceLostError("the GPU faulted"), None])

    def faults_once(*arguments: object, **options: object) -> object:
        if (error := next(faults)) is not None:
            raise error
        return real(*arguments, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(build_plans_module, "build_plans", faults_once)
    heard = Heard()
    asked = FirstBoardRequest(
        out=tmp_path / "day",
        bundle=(str(bundle.path), str(tmp_path / "second")),
        reference=str(bundle.path),
        data=str(film),
        frames=2,
        fields=1,
        tests=tmp_path / "nowhere",
        config=tmp_path / "none.yaml",
    )
    day = first_board(asked, heard)
    assert day.failed and [(part.name, part.state) for part in day.parts] == [
        ("machine", "done"),
        ("doctor", "not done"),
        ("build attridet-test-fp32", "failed"),
        ("measure attridet-test-fp32", "not done"),
        ("build attridet-test-fp32", "done"),
        ("measure attridet-test-fp32", "done"),
        ("tests", "not done"),
    ]
    assert any(line.startswith("measure attridet-test-fp32: done: TensorRT") and "gate passed" in line for line in heard.lines)
    files = sent(day.archive)
    assert set(files) == {"report.json", "report.txt", "plan-attridet-test-fp32.json"}, "no plan, no timing cache, no picture"
    assert b"the GPU faulted" in files["report.txt"]
    plan = json.loads(files["plan-attridet-test-fp32.json"])
    assert plan["golden"] and " on " not in plan["built_by"]
    measured = parts(files)["measure attridet-test-fp32"]["numbers"]
    assert isinstance(measured, dict) and measured["runtime"].startswith("TensorRT 10.16.2") and measured["held_by_our_loop_mib"] > 1


def test_without_a_driver_it_says_what_else_there_is(tmp_path: Path) -> None:
    done = attridet("first-board", tmp_path / "day", "--runtime", "tensorrt")
    assert done.code == 2 and "--without-gpu" in done.err and not (tmp_path / "day").exists()


def test_every_shipped_engine_is_measured() -> None:
    assert {"zoo:attridet-n", "zoo:attridet-n-int8"} <= set(shipped())


def test_temperatures_leave_out_a_zone_that_sleeps(tmp_path: Path) -> None:
    for number, (name, value) in enumerate({"cpu": "41500\n", "gpu": "", "soc": "39000\n"}.items()):
        zone = tmp_path / f"thermal_zone{number}"
        zone.mkdir()
        (zone / "type").write_text(f"{name}\n")
        (zone / "temp").write_text(value)
    assert temperatures(tmp_path) == {"cpu": 41.5, "soc": 39.0}
