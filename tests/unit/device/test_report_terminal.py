"""The list of slides in a terminal: newest first, every column true, nothing of what others wrote taken for markup."""

from __future__ import annotations

import io
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from device.errors import StoreError
from device.report.terminal import print_slides
from device.slide.model import Cell, Field, Slide, SlideState
from device.store import Store
from engines.runtime.base import EngineInfo
from engines.taxonomy import LEUKEMIA_ATTRI
from tests.support.provenance import provenance

START = datetime(2026, 3, 2, 9, 30, tzinfo=timezone.utc)
MODEL = EngineInfo("attridet-n", "1.0.0", "4b" * 32, "onnxruntime CPU", "fp32", (640, 640), LEUKEMIA_ATTRI, 0.25)


def cell(name: str, score: float = 0.9) -> Cell:
    unknown = np.full(LEUKEMIA_ATTRI.n_logits, np.nan, np.float32)
    return Cell(LEUKEMIA_ATTRI.classes.index(name), score, score >= 0.4, (0.0, 0.0, 9.0, 9.0), unknown)


def record(path: Path, *slides: Slide, model: EngineInfo = MODEL, trusted: bool = True) -> Path:
    with Store.open(path) as store:
        for slide in slides:
            begun = replace(slide, fields=())
            store.start_slide(begun, provenance(model, time_trusted=trusted))
            store.close_slide(slide, None)
    return path


def printed(path: Path, limit: int = 20, width: int = 140) -> str:
    console = Console(file=io.StringIO(), width=width)
    print_slides(path, limit, console)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def slide(number: int, *cells: Cell, state: SlideState = SlideState.REVIEW) -> Slide:
    fields = (Field(1, START, "a.png", (640, 360), 1.0, cells), Field(2, START + timedelta(seconds=9), "b.png", (640, 360), 1.0, ()))
    return Slide(f"2026030{number}-093000-abcdef", START + timedelta(days=number), state, START, fields=fields)


def test_newest_first_with_every_column(tmp_path: Path) -> None:
    mixed = slide(2, cell("Myeloblast"), cell("Neutrophil"), cell("Monocyte", 0.3), cell("None"), state=SlideState.ABORTED)
    lines = printed(record(tmp_path / "r.sqlite", slide(1), mixed, slide(3))).splitlines()
    rows = [" ".join(line.split()) for line in lines if line.startswith("2026")]
    assert rows == [
        "20260303-093000-abcdef review UNREVIEWED 2 0 - 2026-03-05 09:30 attridet-n 1.0.0 fp32 4b4b4b4b",
        "20260302-093000-abcdef aborted UNREVIEWED 2 3 33.3 % 2026-03-04 09:30 attridet-n 1.0.0 fp32 4b4b4b4b",
        "20260301-093000-abcdef review UNREVIEWED 2 0 - 2026-03-03 09:30 attridet-n 1.0.0 fp32 4b4b4b4b",
    ]
    assert lines[-1].strip() == "For review, not a diagnosis."


def test_a_zero_stands_with_its_limit_and_a_foreign_film_is_called_so(tmp_path: Path) -> None:
    none, foreign = slide(1, *[cell("Neutrophil")] * 100), replace(slide(2, *[cell("Neutrophil")] * 100), foreign=True)
    text = " ".join(printed(record(tmp_path / "r.sqlite", none, foreign)).split())
    assert "≤ 3.0 %" in text  # 1 - .05 ** (1 / 100)
    assert "≤ 100 %" in text  # cells of the first look have no group, so nothing is told of a foreign film
    assert "FOREIGN FILM: This film is unlike" in text and "How sensitive this engine is for blasts" in text


def test_a_limit_says_that_there_are_more(tmp_path: Path) -> None:
    path = record(tmp_path / "r.sqlite", slide(1), slide(2), slide(3))
    text = printed(path, limit=2)
    assert "20260301" not in text
    assert "There are older ones: `leukoscope slides --limit 4`." in text
    assert "older" not in printed(path, limit=3)


def test_narrow_terminals_lose_nothing(tmp_path: Path) -> None:
    text = printed(record(tmp_path / "r.sqlite", slide(1, cell("Myeloblast"))), width=80)
    for word in ("20260301-093000-abcdef", "UNREVIEWED", "100.0 %", "2026-03-03", "09:30", "attridet-n", "1.0.0", "fp32", "4b4b4b4b"):
        assert word in text


def test_nothing_is_taken_for_markup_and_a_doubtful_clock_is_marked(tmp_path: Path) -> None:
    text = printed(record(tmp_path / "r.sqlite", slide(1), model=replace(MODEL, name="[red]x[/]"), trusted=False), width=200)
    assert "[red]x[/]" in text
    assert "2026-03-03 09:30 *" in text
    assert "* the clock of the device was not synchronised." in text


def test_an_empty_record_says_so_and_a_missing_one_is_one_line(tmp_path: Path) -> None:
    assert "No slides yet in" in printed(record(tmp_path / "r.sqlite"), width=400)
    with pytest.raises(StoreError, match="there is none yet"):
        printed(tmp_path / "no.sqlite")
