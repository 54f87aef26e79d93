"""A signed slide is written at once, beside the screen; what cannot be written is said, and the export makes up for it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from device.messages import of_report
from device.report.export import DONE, How
from device.report.writer import ReportWriter, Written
from device.slide.model import Slide, SlideState
from device.store import Store
from tests.support.kept import keep, sign
from tests.support.review import ordinary

SLIDE = "20261123-181512-aaaaaa"


def signed(record: Path) -> Slide:
    keep(record, replace(ordinary("Myeloblast"), slide_id=SLIDE, specimen="26-004711"))
    sign(record, SLIDE)
    with Store.read(record) as store:
        return store.slide(SLIDE).slide


def test_the_signed_report_lies_there_when_the_appliance_stops(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    slide, out = signed(tmp_path / "r.sqlite"), tmp_path / "state" / "reports"
    with ReportWriter(tmp_path / "r.sqlite", out, How()) as writer:
        writer.changed(replace(slide, state=SlideState.REVIEW))  # a correction that is begun writes nothing
        writer.changed(slide)
    assert writer.news() == [Written(out / f"{SLIDE}-r1")]
    assert writer.news() == []
    assert (out / f"{SLIDE}-r1" / DONE).is_file()
    assert "26-004711" not in caplog.text
    assert of_report(out, "") == f"The report lies in {out}"


def test_a_folder_that_cannot_be_written_is_said_and_nothing_else_suffers(tmp_path: Path) -> None:
    slide = signed(tmp_path / "r.sqlite")
    (tmp_path / "reports").write_text("a file in the way")
    with ReportWriter(tmp_path / "r.sqlite", tmp_path / "reports", How()) as writer:
        writer.changed(slide)
    [written] = writer.news()
    assert str(tmp_path / "reports") in written.fault
    assert of_report(written.folder, written.fault).startswith("The report is not written: ")


def test_it_can_be_switched_off(tmp_path: Path) -> None:
    slide = signed(tmp_path / "r.sqlite")
    with ReportWriter(tmp_path / "r.sqlite", None, How()) as writer:
        writer.changed(slide)
    assert writer.news() == []
