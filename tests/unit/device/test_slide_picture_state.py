"""Poor pictures, met limits and views without film are judged when a field is counted, and stand wherever its counts do."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta, timezone
from pathlib import Path
from uuid import uuid4

import cv2
import numpy as np
import pytest
from provenance import provenance
from rich.console import Console

from device.camera.base import Frame, SkippedPicture
from device.camera.quality import PictureFault, picture_faults, sharpness
from device.clock import SystemClock
from device.mqtt.payloads import SlideSummary
from device.mqtt.summary import build_summary
from device.report.page import page, read_slide
from device.report.terminal import print_slides
from device.settings.config import SlideSection
from device.slide.description import describe
from device.slide.model import Cell, Field, Slide, SlideState
from device.slide.picture_state import PictureState, field_faults
from device.slide.session import SlideSession
from device.slide.tally import differential
from device.store import Store
from device.supervisor.printing import render_summary
from engines.detections import Detections, Image
from engines.film import Film, Microscope
from engines.runtime.base import EngineInfo
from engines.taxonomy import LEUKEMIA_ATTRI as TAXONOMY

NOW = datetime(2026, 11, 30, 9, 0, tzinfo=timezone.utc)
MODEL = EngineInfo("attridet-n", "1.2.0", "ab" * 32, "onnxruntime CPU", "fp32", (640, 640), TAXONOMY, 0.25)
DARK, BRIGHT, BLURRED, GREY = PictureFault.DARK, PictureFault.BRIGHT, PictureFault.BLURRED, PictureFault.GREY


@pytest.fixture(scope="module")
def film() -> Image:
    return Film(seed=11, case="AML").view((600.0, 600.0), Microscope("L", "C2", 100), (640, 360))[0]


def grey(image: Image) -> Image:
    return np.asarray(cv2.cvtColor(cv2.cvtColor(image, cv2.COLOR_BGR2GRAY), cv2.COLOR_GRAY2BGR), np.uint8)


def test_faults_of_one_picture(film: Image) -> None:
    assert picture_faults(film) == ()
    assert picture_faults((film * 0.3).astype(np.uint8)) == (DARK,)
    assert picture_faults(np.zeros_like(film)) == (DARK,)
    assert picture_faults(np.clip(film.astype(int) + 120, 0, 255).astype(np.uint8)) == (BRIGHT,)
    assert picture_faults(grey(film)) == (GREY,)
    encoded = cv2.imencode(".jpg", grey(film), [cv2.IMWRITE_JPEG_QUALITY, 40])[1]
    assert picture_faults(np.asarray(cv2.imdecode(encoded, cv2.IMREAD_COLOR), np.uint8)) == (GREY,)


def field(index: int, focus: float = 1.0, cells: int = 2, **state: object) -> Field:
    found = tuple(Cell(7, 0.9, True, (0.0, 0.0, 9.0, 9.0), np.full(TAXONOMY.n_logits, np.nan, np.float32)) for _ in range(cells))
    made = Field(index, NOW + timedelta(seconds=index), f"f{index}.png", (640, 360), focus, found, faults=())
    return replace(made, **state)  # type: ignore[arg-type]  # a field's own type is checked where it is used


def slide(*fields: Field, blank_views: int = 0) -> Slide:
    return Slide("s-1", NOW, SlideState.REVIEW, NOW + timedelta(minutes=2), fields=fields, blank_views=blank_views)


GOOD = slide(field(1), field(2), field(3))
POOR = slide(field(1, faults=(DARK,)), field(2, faults=(DARK,)), field(3, faults=(GREY,)), field(4, focus=0.2), blank_views=2)
HEIC = tuple(SkippedPicture(f"{name}.heic", "HEIC", "HEIC pictures are not read: convert it") for name in "ab")
LEFT_OUT = replace(GOOD, skipped=(*HEIC, SkippedPicture("stack.tif", "pages", "holds 7 pages: name one")))
FULL = slide(field(1, cells=300, limit_met=True), field(2))


def test_focus_is_judged_beside_the_other_fields_and_what_film_in_focus_has() -> None:
    assert field_faults(slide(*(field(i, focus) for i, focus in enumerate((1.2, 1.2, 0.59, 0.61))))) == ((), (), (), ())
    assert field_faults(slide(*(field(i, focus) for i, focus in enumerate((1.2, 1.2, 1.2, 0.59))))) == ((), (), (), (BLURRED,))
    assert field_faults(slide(*(field(i, 0.29) for i in range(5)))) == ((BLURRED,),) * 5  # all of them
    assert field_faults(slide()) == ()


def test_the_state_counts_fields_and_says_nothing_where_all_is_well() -> None:
    assert PictureState.of(GOOD).sentences() == ()
    state = PictureState.of(POOR)
    assert (state.fields, state.judged, state.at_limit, state.blank_views) == (4, 4, 0, 2)
    assert state.faults == {DARK: 2, GREY: 1, BLURRED: 1}
    assert state.sentences() == (
        "Poor pictures: of 4 fields 2 too dark, 1 out of focus, 1 without colour; counts of such fields are not to be relied on.",
        "In 2 views nothing of the film was to be seen (dark, or bare glass): not counted.",
    )
    bright = PictureState.of(slide(field(1, faults=(BRIGHT,)), field(2)))
    assert bright.sentences()[0].startswith("Poor pictures: of 2 fields 1 too bright;")
    assert bright.sentences(only_grave=True) == ()
    rarely_blank = PictureState.of(slide(*(field(i) for i in range(9)), blank_views=2))
    assert rarely_blank.sentences() == ("In 2 views nothing of the film was to be seen (dark, or bare glass): not counted.",)
    assert rarely_blank.sentences(only_grave=True) == ()


def test_a_field_is_judged_when_it_is_counted(film: Image) -> None:
    session = SlideSession(TAXONOMY, SlideSection(), 0.4, False, 90, SystemClock())
    session.start()
    full = replace(Detections.empty(TAXONOMY.n_logits), limit_met=True)
    dark = (film * 0.3).astype(np.uint8)
    for number in range(3):
        session.observe(Frame(dark, number, number / 10, NOW, "dark.png"), full, sharpness(dark))
    assert session.slide is not None
    (counted,) = session.slide.fields
    assert (counted.faults, counted.limit_met) == ((DARK,), True)
    assert "Poor pictures: of 1 field 1 too dark" in session.description[0]


def test_views_without_film_are_noted_once_a_rest_and_once_a_stored_picture(film: Image) -> None:
    session = SlideSession(TAXONOMY, SlideSection(), 0.4, False, 90, SystemClock())
    nothing = Detections.empty(TAXONOMY.n_logits)
    number = 0

    def show(image: Image, source: str) -> int:
        nonlocal number
        for _ in range(4):
            number += 1
            session.observe(Frame(image, number, number / 10, NOW, source), nothing, 0.0)
        return 0 if session.slide is None else session.slide.blank_views

    black = np.zeros_like(film)
    assert show(black, "camera") == 0  # no slide is open
    session.start()
    assert show(black, "camera") == 1
    assert show(black, "camera") == 1  # the same rest
    assert show(film, "camera") == 1
    assert show(black, "camera") == 2
    assert [show(black, f"{i}.png") for i in range(3)] == [3, 4, 5]
    session.pause()
    assert show(black, "9.png") == 5


def summary(of: Slide) -> SlideSummary:
    return build_summary(of, provenance(MODEL), message_id=uuid4(), target_cells=200)


def test_the_summary_carries_the_state() -> None:
    sent = summary(POOR)
    assert sent.pictures is not None
    assert sent.pictures.model_dump() == {"judged": 4, "dark": 2, "bright": 0, "blurred": 1, "grey": 1, "blank_views": 2, "skipped": ()}
    assert (sent.fields_at_limit, summary(FULL).fields_at_limit) == (0, 1)
    unjudged = summary(slide(field(1, faults=None), field(2)))
    assert unjudged.pictures is not None
    assert unjudged.pictures.judged == 1


def record(path: Path, of: Slide) -> Path:
    with Store.open(path) as store:
        store.start_slide(replace(of, state=SlideState.COUNTING, finished_at=None, fields=(), blank_views=0), provenance(MODEL))
        store.close_slide(of, None)
    return path


def test_what_the_engine_told_without_a_meaning_is_in_record_summary_and_words(tmp_path: Path) -> None:
    strange = slide(replace(field(1), non_finite=2), field(2), replace(field(3), non_finite=1))
    kept = read_slide(record(tmp_path / "record.sqlite", strange), "s-1").slide
    assert [each.non_finite for each in kept.fields] == [2, 0, 1]
    assert (summary(kept).non_finite, summary(GOOD).non_finite) == (3, 0)
    said = "The engine told 3 values without meaning, which were left out: cells may be missing."
    assert said in PictureState.of(kept).sentences() and PictureState.of(GOOD).non_finite == 0


@pytest.mark.parametrize("of", [GOOD, POOR, FULL, LEFT_OUT], ids=["good", "poor", "full", "left out"])
def test_the_record_keeps_it(tmp_path: Path, of: Slide) -> None:
    read = read_slide(record(tmp_path / "record.sqlite", of), "s-1").slide
    assert [(f.faults, f.limit_met) for f in read.fields] == [(f.faults, f.limit_met) for f in of.fields]
    assert (read.blank_views, read.skipped) == (of.blank_views, of.skipped)


def shown(path: Path, of: Slide) -> dict[str, str]:
    """All places where a slide's counts are read: page, list, supervisor's terminal, film in words."""
    console = Console(width=140)
    with console.capture() as supervisor:
        console.print(render_summary(summary(of)))
    listing = Console(width=140)
    with listing.capture() as slides:
        print_slides(record(path, of), 5, listing)
    return {
        "page": " ".join(page(read_slide(path, "s-1")).split()),
        "list": " ".join(slides.get().split()),
        "supervisor": " ".join(supervisor.get().replace("│", "").split()),
        "words": " ".join(describe(of, differential(of.cells, TAXONOMY), TAXONOMY)),
    }


def test_poor_pictures_are_said_wherever_the_counts_are(tmp_path: Path) -> None:
    good, poor = shown(tmp_path / "good.sqlite", GOOD), shown(tmp_path / "poor.sqlite", POOR)
    for place in ("page", "supervisor", "words"):
        assert "Poor pictures: of 4 fields 2 too dark" in poor[place]
        assert "Poor pictures" not in good[place]
    assert '<div class="warning">Poor pictures' in poor["page"]
    assert "<b>too dark</b>" in poor["page"]
    assert "2 too dark, 0 too bright, 1 out of focus, 1 without colour of 4 fields</dd>" in poor["page"]
    assert " 4 ! " in poor["list"]
    assert "! poor, blank or unread pictures" in poor["list"]
    assert "!" not in good["list"]


def test_a_met_limit_is_said_wherever_the_counts_are(tmp_path: Path) -> None:
    good, full = shown(tmp_path / "good.sqlite", GOOD), shown(tmp_path / "full.sqlite", FULL)
    assert "<small>at least </small>302" in full["page"]
    assert "≥ 300</td>" in full["page"]
    assert "≥ 302" in full["list"]
    assert "at least 302 white cells, 200 wanted" in full["supervisor"]
    assert "Of at least 302 white blood cells in 2 fields" in full["words"]
    assert all("In 1 field more cells were found than the network may give" in full[place] for place in ("page", "supervisor", "words"))
    assert not any("at least" in text or "≥" in text for text in good.values())


def test_pictures_that_were_not_read_are_counted_by_kind(tmp_path: Path) -> None:
    sent = summary(LEFT_OUT)
    assert sent.pictures is not None
    assert sent.skipped_pictures == 3
    assert [(each.kind, each.count) for each in sent.pictures.skipped] == [("HEIC", 2), ("pages", 1)]
    assert b"heic" not in sent.to_bytes()  # names may be a patient's
    places = shown(tmp_path / "left-out.sqlite", LEFT_OUT)
    said = "Not read and not counted: 3 pictures (2 HEIC, 1 with several pages)."
    assert all(said in places[place] for place in ("page", "supervisor", "words"))
    assert "holds 7 pages: name one" in places["page"]


def test_nothing_counted_reassures_nobody(tmp_path: Path) -> None:
    for place, text in shown(tmp_path / "none.sqlite", slide(field(1, cells=0))).items():
        assert place == "list" or "That does not exclude them." in text or "That does not mean that the film has none." in text
    none = shown(tmp_path / "blank.sqlite", slide(blank_views=6))
    assert "No field was counted, so nothing can be said of this film." in none["words"]
    assert '<div class="warning">In 6 views nothing of the film was to be seen' in none["page"]
