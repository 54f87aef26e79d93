"""The benchmark of an engine: what it measures, what it writes, what it says of others' programs, and how it refuses."""

from __future__ import annotations

import json
import re
import stat
import sys
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from engines.bench.energy import Rapl, Tegrastats, open_meter
from engines.bench.frames import frames_of
from engines.bench.machine import Machine, held_to
from engines.bench.measure import BARE, DETECTION, LOOK, RUNTIME, WHOLE, Measured, Settings, measure
from engines.bench.page import section_text
from engines.bench.peers import Peer, PeerError, PeerProgram, lay_out
from engines.bench.plot import frame_times
from engines.bench.section import put_section
from engines.bundle import Bundle
from engines.cli import main
from engines.detections import Image
from engines.errors import DataError
from engines.plot_style import png

PEER = Peer("other", "Another's program", ("format=onnx",), "net.onnx", "onnxruntime")
PYTHON = """import pathlib, sys
if "version" in sys.argv[2]:
    print("9.9 1.0 2.0")
else:
    described = pathlib.Path("theirs.yaml")
    described.write_text("# theirs\\nnc: 80 # classes\\n")
    print(described.absolute())
"""
YOLO = """import pathlib, sys
if sys.argv[1] == "export":
    assert "nc: 14 # classes" in pathlib.Path("yolov5n.yaml").read_text() and "format=onnx" in sys.argv
    pathlib.Path("net.onnx").write_text("exported")
else:
    assert "model=net.onnx" in sys.argv and "imgsz=320" in sys.argv
    pictures = sorted(pathlib.Path("images").glob("*.bmp"))
    for number, path in enumerate(pictures):
        print(f"image {number + 1}/{len(pictures)} {path}: 320x320 (no detections), {290.0 + number}ms")
    print("Speed: 8.0ms preprocess, 293.0ms inference, 2.0ms postprocess per image at shape (1, 3, 320, 320)")
"""


def program(folder: Path, python: str = PYTHON, yolo: str = YOLO) -> Path:
    """What stands where another environment's Python and its command would, and is given their command lines; the former's path."""
    for name, text in (("python", python), ("yolo", yolo)):
        path = folder / name
        path.write_text(f"#!{sys.executable}\n{text}")
        path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return folder / "python"


@pytest.fixture(scope="module")
def measured(bundle: Bundle, frame: Image, tmp_path_factory: pytest.TempPathFactory) -> Measured:
    python = program(tmp_path_factory.mktemp("other"))
    settings = Settings(str(bundle.path), "openvino", threads=1, rounds=3)
    return measure(settings, [frame, frame[:, ::-1].copy()], [PEER], python)


def test_everything_is_measured_in_the_same_rounds(measured: Measured) -> None:
    assert [row.key for row in measured.rows] == [WHOLE, DETECTION, LOOK, BARE, RUNTIME, "other"]
    for row in measured.rows:
        assert [len(spent) for spent in row.rounds_ms] == [2, 2, 2]
        assert row.fps.low <= row.fps.median <= row.fps.high
        assert 0 < row.frame_ms.p50 <= row.frame_ms.p90 <= row.frame_ms.p99
        assert row.processor_ms is None or row.processor_ms.low > 0
    other = measured.row("other")
    assert other.processor_ms is None
    assert other.rounds_ms[0] == (305.0, 306.0)  # the computing of each, and the means of what is around it
    assert other.software == "Ultralytics 9.9, onnxruntime 1.0, torch 2.0"
    assert other.fps.median == pytest.approx(2000 / 611)
    ours = measured.row(WHOLE).rounds_ms
    assert other.times.median == pytest.approx(np.median([sum(a) / sum(b) for a, b in zip(other.rounds_ms, ours, strict=True)]))
    assert measured.row(WHOLE).times.high == measured.row(DETECTION).detection_times.high == 1
    assert measured.row(DETECTION).times.median < 1  # the attributes take their time
    assert sum(p.p50 for p in measured.stages_ms.values()) < 1.5 * measured.row(WHOLE).frame_ms.p50
    assert measured.cells > 4 and measured.attribute_runs >= measured.cells / 16
    assert measured.peak_mib > 50
    assert measured.agreement is not None and measured.agreement.share == 1
    assert json.loads(json.dumps(measured.to_dict()))["rows"][0]["rounds_ms"] == [list(spent) for spent in ours]


def test_every_number_is_in_the_section(measured: Measured, tmp_path: Path) -> None:
    text = section_text(measured, "two drawings", "attridet bench X")
    for said in (
        "`attridet bench X`, 20",
        "openvino",
        "Ultralytics 9.9",
        measured.engine.digest,
        "2 pictures of 768 x 432 px held in memory (two drawings)",
        f"{measured.row(BARE).times.median:.2f} (",
        f"| the second look alone, at 9 cells of a counted field | **{measured.row(LOOK).fps.median:.2f}**",
        f"**{measured.row('other').fps.median:.2f}**",
        f"{measured.row('other').detection_times.median:.2f} (",
        "boxes (100.0%)",
        f"| the bare runtime on the bundle's files | **{measured.row(RUNTIME).fps.median:.2f}**",
        "nor are its answers looked at",
        "What is not the same",
        f"{measured.peak_mib:.0f} MiB",
    ):
        assert said in text
    assert "What is not the same" not in section_text(replace(measured, rows=measured.rows[:5]), "x", "y")
    ungated = replace(measured, engine=replace(measured.engine, gate_fault="is int8 and was never compared"))
    assert "**not gated**: it is int8 and was never compared" in section_text(ungated, "x", "y")
    page = tmp_path / "page.md"
    put_section(page, "other", "## Another\n")
    put_section(page, "engine", "## Old\n")
    put_section(page, "engine", text)
    content = page.read_text()
    assert "## Another" in content and "## Old" not in content and content.count("bench engine: begin") == 1
    page.write_text("<!-- bench engine: begin -->")
    with pytest.raises(DataError, match="do not match"):
        put_section(page, "engine", None)


def test_the_plot_is_a_picture(measured: Measured) -> None:
    drawn = cv2.imdecode(np.frombuffer(png(frame_times(measured, "two drawings")), np.uint8), cv2.IMREAD_COLOR)
    assert drawn is not None and drawn.shape[1] > 900 and drawn.std() > 10


def test_the_command_prints_and_writes(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], bundle: Bundle, frame: Image, tmp_path: Path
) -> None:
    (tmp_path / "pictures").mkdir()
    for name in "ab":
        cv2.imwrite(str(tmp_path / f"pictures/{name}.png"), frame)
    paths = {option: tmp_path / f"out.{option}" for option in ("json", "plot", "page")}
    words = ["bench", str(bundle.path), "--frames", str(tmp_path / "pictures"), "--count", "2", "--rounds", "1", "--threads", "1"]
    words += [text for option, path in paths.items() for text in (f"--{option}", str(path))]
    monkeypatch.setattr(sys, "argv", ["attridet", *words])
    with pytest.raises(SystemExit) as end:
        main()
    assert not end.value.code
    out = capsys.readouterr().out
    assert "the whole path" in out and "our graphs alone" in out and "It is the reference runtime." in out
    told = json.loads(paths["json"].read_text())
    assert told["engine"]["digest"] == bundle.digest and told["frames"] == 2
    assert re.search(
        r"`attridet bench \S+ --runtime auto --threads 1 --frames pictures --count 2 --rounds 1`", paths["page"].read_text()
    )
    assert str(tmp_path) not in paths["page"].read_text()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--frames", "nowhere"], "nowhere: holds no picture. Name a folder of pictures, or `rendered`"),
        (["--peer", "yolo9", "--peer-python", "python"], "--peer yolo9: there are ultralytics"),
        (["--peer", "ultralytics"], "--peer needs --peer-python"),
        (["--peer", "ultralytics", "--peer-python", "/no/python"], "/no/python: there is no such program"),
        (["--json", "/no/folder/x.json"], "its folder does not exist"),
        (["--runtime", "cuda", "--count", "1"], "there is no runtime 'cuda'"),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], bundle: Bundle, words: list[str], said: str
) -> None:
    monkeypatch.setattr(
        "engines.bench.run.frames_of", lambda *a: frames_of(*a) if "nowhere" in words else [np.zeros((9, 9, 3), np.uint8)]
    )
    monkeypatch.setattr(sys, "argv", ["attridet", "bench", str(bundle.path), *words])
    with pytest.raises(SystemExit) as end:
        main()
    assert end.value.code == 2
    assert said in capsys.readouterr().err


@pytest.mark.parametrize(
    ("python", "yolo", "said"),
    [
        (
            "import sys\nsys.exit('No module named ultralytics')",
            YOLO,
            "it failed. Its last words: No module named ultralytics.*pip install",
        ),
        (PYTHON, "import sys\nsys.exit('out of memory')", "it failed.*out of memory"),
        (PYTHON, "print('done')", r"its export left no net\.onnx"),
        (PYTHON, YOLO.replace("Speed", "Haste"), "does not say how long"),
    ],
)
def test_a_program_that_fails_is_told_with_its_last_words(python: str, yolo: str, said: str, tmp_path: Path) -> None:
    lay_out([np.zeros((9, 9, 3), np.uint8)], tmp_path)
    there = program(tmp_path, python, yolo)
    with pytest.raises(PeerError, match=said), PeerProgram(PEER, there, tmp_path, 320, 14, 1) as peer:  # either raises
        peer.round()
    with pytest.raises(PeerError, match="cannot be run"), PeerProgram(PEER, tmp_path / "none", tmp_path, 320, 14, 1):
        pass


def test_pictures_are_taken_evenly_from_a_folder(tmp_path: Path) -> None:
    for i in range(10):
        cv2.imwrite(str(tmp_path / f"{i}.png"), np.full((4, 5, 3), i, np.uint8))
    assert [int(image[0, 0, 0]) for image in frames_of(str(tmp_path), 5)] == [0, 2, 4, 6, 8]
    assert len(frames_of(str(tmp_path), 50)) == 10
    (tmp_path / "5.png").write_bytes(b"none")
    with pytest.raises(DataError, match=r"5\.png: cannot be decoded"):
        frames_of(str(tmp_path), 50)


def test_joules_are_read_from_the_counters_also_when_they_begin_again(tmp_path: Path) -> None:
    with open_meter(tmp_path) as none:
        assert none is None
    packages = [tmp_path / f"intel-rapl:{i}" for i in range(2)]
    for package in packages:
        package.mkdir()
        (package / "max_energy_range_uj").write_text("9999999\n")
        (package / "energy_uj").write_text("9000000\n")
    (tmp_path / "intel-rapl:0:0").mkdir()  # a part of package 0, in it already
    with open_meter(tmp_path) as meter:
        assert isinstance(meter, Rapl)
        (packages[0] / "energy_uj").write_text("9500000\n")
        (packages[1] / "energy_uj").write_text("500000\n")
        assert meter.joules() == pytest.approx(0.5 + 1.5)


def test_a_jetsons_power_is_summed_up() -> None:
    meter = Tegrastats()
    line = "RAM 2448/7620MB CPU [5%@729] VDD_IN {}mW/4990mW VDD_CPU_GPU_CV 500mW/500mW"
    meter.add_line(line.format(5000), 10.0)
    meter.add_line("something else", 11.0)
    meter.add_line(line.format(7000), 12.0)
    meter.add_line(line.format(7000), 12.5)
    assert meter._joules == pytest.approx(5 * 2 + 7 * 0.5)


def test_the_machine_is_described_and_its_cores_are_given_back() -> None:
    import os

    before = os.sched_getaffinity(0)
    with held_to(1):
        assert len(os.sched_getaffinity(0)) == 1
    assert os.sched_getaffinity(0) == before
    machine = Machine.this()
    assert machine.processor and machine.cores == len(before) and machine.python == sys.version.split()[0]


def test_other_precisions_and_bundles_are_opened_beside_it(bundle: Bundle) -> None:
    settings = Settings(
        str(bundle.path), "openvino", 1, beside=(f"{bundle.path}@bfloat16", str(bundle.path), "zoo:attridet-n-int8@bfloat16")
    )
    assert [engine.info.precision for engine in settings.others()] == ["bf16", "fp32", "int8-bf16"]
    assert settings.engine().info.precision == "fp32"
    assert replace(settings, precision="bfloat16").engine().info.precision == "bf16"
