"""The demo as a newcomer runs it: shipped engine, a broker of its own, the summary back from it, and a report folder."""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import cv2
import numpy as np
import pytest
from rich.console import Console

from device.demo.person import SPECIMEN
from device.demo.run import run_demo
from device.mqtt.payloads import SlideSummary
from device.report.case import Case
from device.store import Store
from engines.film import Film, Microscope
from engines.runtime.choice import choose

pytestmark = pytest.mark.integration


def read(report: Path, name: str = "summary.json") -> SlideSummary:
    return SlideSummary.model_validate_json((report / name).read_bytes())


@pytest.fixture(autouse=True, scope="module")
def measured_once() -> Iterator[None]:
    """What runs the engine quickest is measured by the first demo and the same for the others, on the same machine."""
    first = cache(choose)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("device.demo.run.choose", lambda asked, report=None: first(asked))
        yield


def test_a_rendered_slide_from_its_barcode_to_the_signed_report(tmp_path: Path) -> None:
    console, report = Console(record=True, width=140, quiet=False), tmp_path / "report"
    assert run_demo(report=report, fields=3, console=console)
    counted, signed = read(report), read(report, "summary-signed.json")
    assert counted.white_cells > 0
    assert (counted.state, counted.review_state, counted.source.simulated) == ("review", "unreviewed", True)
    assert (signed.slide_id, signed.review_state) == (counted.slide_id, "reviewed")
    assert counted.model.name == "attridet-n"
    printed = console.export_text()
    assert "The rendered film held" in printed and ", 0 counted twice" in printed
    assert "Blasts and blast equivalents, as counted: " in printed or "that does not exclude them" in printed
    assert "Reviewed by the demo reviewer (DR)" in printed and counted.slide_id in printed and "For review, not a diagnosis." in printed
    with Store.read(report / "record.sqlite") as store:
        case = Case(store.slide(counted.slide_id))
    assert (case.slide.specimen, case.slide.operator, case.slide.reviewer, case.slide.revision) == (SPECIMEN, "DO", "DR", 1)
    assert not case.review.breaks
    handed = {folder.name[-2:]: folder for folder in (report / "handed-on").iterdir()}
    statuses = {revision: json.loads((folder / "export.json").read_bytes())["status"] for revision, folder in handed.items()}
    assert statuses == {"r0": "preliminary", "r1": "final"}
    page = (report / "slide.html").read_text(encoding="utf-8")
    assert SPECIMEN in page and "no patient's blood" in page.replace("&#39;", "'")
    assert '"HTEST"' in (handed["r1"] / "report.fhir.json").read_text(encoding="utf-8")
    messages = (report / "summary.json").read_text() + (report / "summary-signed.json").read_text()
    assert SPECIMEN not in messages
    shot = cv2.imread(str(report / "last-screen.png"))
    assert shot is not None and shot.shape == (1080, 1920, 3)


def test_pictures_of_ones_own_and_a_second_run_into_the_same_folder(tmp_path: Path) -> None:
    pictures, report = tmp_path / "pictures", tmp_path / "report"
    pictures.mkdir()
    film, scope = Film(seed=5, case="CML", size_um=(600.0, 400.0)), Microscope(domain="H", camera="C2", objective=100)
    for number in range(4):
        image, _ = film.view((100.0 + 110.0 * number, 150.0), scope, size_px=(960, 720), noise_seed=number)
        cv2.imwrite(str(pictures / f"field {number}.png"), image)
    cv2.imwrite(str(pictures / "black.png"), np.zeros((720, 960, 3), np.uint8))
    (pictures / "phone.heic").write_bytes(b"\0\0\0\x18ftypheic")
    for _ in range(2):
        assert run_demo(report=report, source=pictures, console=Console(quiet=True))
        summary = read(report)
        assert summary.pictures is not None
        assert (summary.pictures.judged, summary.pictures.blank_views, summary.pictures.dark) == (4, 1, 0)
        assert [(left_out.kind, left_out.count) for left_out in summary.pictures.skipped] == [("HEIC", 1)]
        assert summary.fields_counted == 4 and not summary.source.simulated
        assert summary.source.name == "pictures"
        # a program signs no slide that may be a patient's
        assert [folder.name[-2:] for folder in (report / "handed-on").iterdir()] == ["r0"]


def test_pictures_without_a_white_cell_end_at_once_and_well(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing was counted, so no summary is due and none is waited for."""
    pictures, console = tmp_path / "pictures", Console(record=True, width=140, quiet=False)
    pictures.mkdir()
    for number in range(2):
        cv2.imwrite(str(pictures / f"bare {number}.png"), np.full((720, 960, 3), 225 + number, np.uint8))
    monkeypatch.setattr("device.demo.run._SUMMARY_WITHIN_S", 600.0)  # whoever waited for one would be noticed
    assert run_demo(report=tmp_path / "report", source=pictures, console=console)
    printed = console.export_text()
    assert "No white cell was counted, so there is no summary to send." in printed
    assert "No summary came back" not in printed
    assert not (tmp_path / "report" / "summary.json").exists() and (tmp_path / "report" / "slide.html").exists()
