"""The benchmark: it writes its own section and no other, says what it measured, and a small run goes the whole way."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from gallery import add_cell, film
from rich.console import Console

from device.bench.page import Measured, print_measured, section_text
from device.bench.run import Settings, run_bench
from device.bench.way import FramesInMemory, SlideReading, frames_of, hand_over_ms
from device.cli import call
from device.errors import CameraError
from engines.bench.machine import Machine
from engines.bench.spread import Spread
from engines.bundle import zoo_names
from engines.errors import DataError
from engines.runtime.base import EngineInfo
from engines.taxonomy import LEUKEMIA_ATTRI

ENGINE = EngineInfo("attridet-n", "1.0.0", "4b" * 32, "onnxruntime 1.23.2 CPU", "fp32", (640, 640), LEUKEMIA_ATTRI, 0.25)
STAGES = ("preprocess", "detector", "nms", "attributes", "slide and record", "screen")
MEASURED = Measured(
    machine=Machine("Quick Processor 7", 2, 23.6, "Linux x86_64", "3.11.7", "5.0.0", ""),
    load=0.3,
    engine=ENGINE,
    threads=2,
    source="rendered film, case AML, seed 7, 100x",
    size_px=(1920, 1080),
    frames=60,
    repeats=5,
    fields=4,
    cells=21,
    shown=Spread(15, 2, 23),
    path_fps=Spread(8.0, 7.5, 8.25),
    network_fps=Spread(11.25, 11.0, 11.5),
    path_over_network=Spread(0.711, 0.7, 0.72),
    jpeg_fps=6.75,
    peak_mib=351.4,
    frame_ms=Spread(125.0, 121.2, 133.3),
    processor_ms=Spread(210.4, 209.0, 215.0),
    stages_ms={name: Spread(10.0 * at + 0.5, 10.0 * at, 10.0 * at + 1) for at, name in enumerate(STAGES)},
    around_ms=Spread(4.75, 4.5, 6.25),
    counting_ms=Spread(45.6, 35.6, 71.2),
    decode_ms=Spread(14.2, 13.9, 15.0),
    hand_over_ms=Spread(0.31, 0.29, 0.4),
)


def test_every_number_is_in_the_section() -> None:
    text = section_text(MEASURED, "leukoscope bench --frames 60")
    for said in (
        "`leukoscope bench --frames 60`, 20",
        "Machine: Quick Processor 7, 2 cores, 24 GiB, Linux x86_64; load average 0.3 before the run.",
        "Python 3.11.7, onnxruntime 1.23.2 CPU with 2 threads, OpenCV 5.0.0.",
        f"attridet-n 1.0.0, fp32, input 640 x 640 px, digest `{ENGINE.digest}`.",
        "60 frames of 1920 x 1080 px held in memory (rendered film, case AML, seed 7, 100x); on them 4 fields were counted, with 21",
        "The screen showed 15 cells and artefacts a frame (median; 2 to 23).",
        "Median of 5 readings",
        "screen of a frame together, median of the frames | 4.8 | 4.5 to 6.2 |",
        "| **8.00** | 7.50 to 8.25 |",
        "| 11.25 | 11.00 to 11.50 |",
        "| 71% | 70% to 72% |",
        "| 6.75 | |",
        "| 351 MiB | |",
        "| preprocess: letterbox | 0.50 | 0.00 to 1.00 | 0% |",
        "| detector graph | 10.5 | 10.0 to 11.0 | 8% |",
        "| drawing the screen, 1920 x 1080 | 50.5 | 50.0 to 51.0 | 40% |",
        "| -28.0 | | -22% |",
        "| **whole frame** | **125.0** | 121.2 to 133.3 | 100% |",
        "| slide and record, on a frame that counts a field | 45.6 | 35.6 to 71.2 |",
        "all threads together | 210.4 | 209.0 to 215.0 |",
        "| 0.31 | 0.29 to 0.40 |",
        "| 14.2 | 13.9 to 15.0 |",
    ):
        assert said in text, said
    assert "busy" not in text
    tables = [[line.count("|") for line in part.splitlines()] for part in text.split("\n\n") if part.startswith("|")]
    assert len(tables) == 3
    assert all(len(set(table)) == 1 for table in tables)


def test_a_busy_machine_is_told() -> None:
    assert "the machine was busy" in section_text(replace(MEASURED, load=1.4), "x")


def test_what_was_measured_is_printed_in_80_columns() -> None:
    console = Console(width=80, file=io.StringIO())
    print_measured(MEASURED, console)
    assert isinstance(console.file, io.StringIO)
    text = console.file.getvalue()
    for said in ("8.00", "11.25", "71%", "125.0", "210.4", "351"):
        assert said in text


@pytest.mark.parametrize(
    "text",
    [
        "<!-- bench a: begin -->",
        "<!-- bench a: end -->",
        "<!-- bench a: end -->\n<!-- bench a: begin -->",
        "<!-- bench a: begin --><!-- bench a: end -->" * 2,
    ],
)
def test_markers_that_do_not_match_are_refused_before_anything_is_measured(tmp_path: Path, text: str) -> None:
    page = tmp_path / "b.md"
    page.write_text(text, encoding="utf-8")
    with pytest.raises(DataError, match=r"b\.md: the markers .* do not match"):
        run_bench(Settings(), page, "a")
    assert page.read_text(encoding="utf-8") == text


def test_frames_that_cannot_be_compared_are_refused() -> None:
    images = [np.zeros((4, 4, 3), np.uint8), np.zeros((4, 8, 3), np.uint8)]
    with pytest.raises(CameraError, match="different sizes"):
        frames_of(FramesInMemory(images), 5, lambda n: None)
    with pytest.raises(CameraError, match="gave no frame"):
        frames_of(FramesInMemory([]), 5, lambda n: None)
    told: list[int] = []
    assert len(frames_of(FramesInMemory(images[:1] * 9), 5, told.append)) == 5
    assert told == [1, 2, 3, 4, 5]


def test_around_the_network_is_the_median_of_what_one_frame_took() -> None:
    stages = {"preprocess": [1.0, 5.0, 2.0], "detector": [9.0] * 3, "nms": [0.5, 0.1, 0.3], "screen": [7.0, 1.0, 4.0]}
    run = SlideReading(3, 1.0, 1.0, stages, [], fields=1, cells=2, shown=[2, 2, 2])
    assert run.around_ms == pytest.approx(6.3)  # of 8.5, 6.1 and 6.3
    run.stages_ms["nms"][1] = 2.0
    assert run.around_ms == pytest.approx(8.0)  # of 8.5, 8.0 and 6.3; the stages' own medians add up to 6.5


def test_the_hand_over_takes_time_and_the_frame_arrives() -> None:
    """How long is the machine's business: on a busy one it may be anything."""
    assert hand_over_ms(film(640, 360)) > 0


def test_an_unknown_bundle_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert call(["bench", "--engine", "zoo:attridet-q", "--out", str(tmp_path / "b.md")]) == 2
    said = capsys.readouterr().err.strip()
    assert said.startswith("leukoscope: zoo:attridet-q: no such bundle.") and len(said.splitlines()) == 1
    assert not (tmp_path / "b.md").exists()


def test_a_small_run_goes_the_whole_way(tmp_path: Path) -> None:
    names = zoo_names()
    if not names:
        pytest.skip("no bundle ships with this working tree (engines/zoo)")
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    image = film(640, 360)
    add_cell(image, (100.0, 100.0, 180.0, 180.0))
    cv2.imwrite(str(pictures / "field.png"), image)
    page = tmp_path / "benchmarks.md"
    measured = run_bench(Settings(names[0], repeats=1, frames=3, source=pictures), page)
    assert (measured.frames, measured.repeats, measured.size_px, measured.fields) == (3, 1, (640, 360), 1)
    assert set(measured.stages_ms) == set(STAGES)
    assert sum(spread.median for spread in measured.stages_ms.values()) < measured.frame_ms.median
    assert measured.path_fps.median == pytest.approx(1e3 / measured.frame_ms.median)
    assert measured.path_over_network.median == pytest.approx(measured.path_fps.median / measured.network_fps.median)
    assert measured.around_ms.median > 0
    assert measured.shown.high <= 300
    assert measured.counting_ms is not None
    assert measured.jpeg_fps > 0
    assert 100 < measured.peak_mib < 1024
    text = page.read_text(encoding="utf-8")
    assert f"`leukoscope bench --engine {names[0]} --frames 3 --repeats 1 --threads 2 --source pictures`" in text
    assert str(tmp_path) not in text
