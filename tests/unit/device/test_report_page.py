"""The page of a stored slide: every number is on it, what others wrote stays text, and it is written whole or not at all."""

from __future__ import annotations

import base64
import errno
import os
import re
import sqlite3
from collections.abc import Sequence
from contextlib import closing
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from html.parser import HTMLParser
from pathlib import Path
from uuid import uuid4

import cv2
import numpy as np
import pytest
from gallery import film, probabilities

from calibration.profile import load_profile
from device.camera.base import SkippedPicture
from device.errors import StoreError
from device.mqtt.payloads import CalibrationProvenance, SourceProvenance
from device.mqtt.summary import build_summary
from device.report.page import page, read_slide, write_page
from device.slide.bank import crop_jpeg
from device.slide.model import Cell, Field, ReviewState, Slide, SlideState
from device.store import OutboxMessage, Store
from engines.pages import NOTICE
from engines.runtime.base import EngineInfo
from engines.taxonomy import LEUKEMIA_ATTRI, Taxonomy
from tests.support.provenance import provenance
from tests.support.signed import signed

START = datetime(2026, 3, 2, 9, 30, 2, tzinfo=timezone.utc)
MODEL = EngineInfo("attridet-n", "1.0.0", "4b" * 32, "onnxruntime 1.23.2 CPU", "fp32", (640, 640), LEUKEMIA_ATTRI, 0.25)
PICTURE = film(640, 360)
TYPICAL = {"Myeloblast": [2, 0, 1, 1, 0, 1, 0], "Neutrophil": [1, 1, 1, 0, 1, 0, 0], "None": [-1] * 7}


class Parsed(HTMLParser):
    """What a browser would make of the page: its text without styles, its tags with attributes, and whether they close in order."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.text, self.tags, self.open = "", list[tuple[str, dict[str, str | None]]](), list[str]()
        self.feed(html)
        self.close()
        self.text = " ".join(self.text.split()).replace("\u00d7", "x")

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attributes)))
        if tag not in ("meta", "img", "br", "path", "circle"):
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attributes)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open, f"</{tag}> closes nothing"
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open[-1:] not in (["style"], ["script"]):
            self.text += f" {data}"

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]


def cell(name: str, score: float, box_px: tuple[float, float, float, float] = (100, 100, 140, 140), crop: bool = True) -> Cell:
    codes = TYPICAL.get(name, [0] * 7)
    jpeg = crop_jpeg(PICTURE, box_px, 90) if crop else b""
    return Cell(LEUKEMIA_ATTRI.classes.index(name), score, score >= 0.4, box_px, probabilities(codes), jpeg)


def counted(crop: bool = True) -> tuple[Field, ...]:
    first = [cell("Myeloblast", 0.5 + 0.03 * i, crop=crop) for i in range(14)]
    second = [cell("Neutrophil", 0.91, (20, 20, 100, 80), crop), cell("Neutrophil", 0.81, (300, 200, 320, 215), crop)]
    rest = [cell("Monocyte", 0.31, crop=crop), cell("None", 0.88, crop=crop)]
    return (
        Field(1, START + timedelta(seconds=3), "field_001.png", (640, 360), 0.87, tuple(first)),
        Field(3, START + timedelta(seconds=14), "field_003.png", (640, 360), 1.13, (*second, *rest)),
    )


SKIPPED = (SkippedPicture("a.heic", "HEIC", "HEIC pictures are not read"), SkippedPicture("b.png", "damaged", "cut"))
END = START + timedelta(seconds=83)
SLIDE = Slide("20260302-093002-4f9a2c", START, SlideState.REVIEW, END, fields=counted(), fields_undone=1, skipped=SKIPPED)


def keep(
    path: Path, *slides: Slide, model: EngineInfo = MODEL, kind: str = "simulator", trusted: bool = True, summary: bytes | None = None
) -> Path:
    """A record that holds these slides as the appliance would have written them."""
    calibration = CalibrationProvenance.of(load_profile("zzcat-5mp"), 100, 640)
    source = SourceProvenance(kind=kind, name=f"{kind} of this test", simulated=kind == "simulator")
    told = {"device_id": "clinic-7", "boot_id": "boot-1", "time_trusted": trusted}
    made = provenance(model, calibration=calibration, source=source, **told)
    with Store.open(path) as store:
        for slide in slides:
            store.start_slide(replace(slide, fields=()), made)
            for field in slide.fields:
                store.put_field(slide.slide_id, field)
            if slide.finished_at is None:
                store.close_slide(slide, None)
                continue
            sent = build_summary(slide, made, message_id=uuid4(), target_cells=200)
            store.close_slide(slide, OutboxMessage(str(sent.message_id), "t", summary or sent.to_bytes(), START))
    return path


def written(tmp_path: Path, slide: Slide = SLIDE, screens: Sequence[Path] = (), **how: object) -> Parsed:
    record = keep(tmp_path / "record.sqlite", slide, **how)  # type: ignore[arg-type]
    write_page(record, slide.slide_id, tmp_path / "slide.html", screens)
    return Parsed((tmp_path / "slide.html").read_text(encoding="utf-8"))


def test_every_number_is_on_the_page(tmp_path: Path) -> None:
    text = written(tmp_path).text
    said = [
        "Slide 20260302-093002-4f9a2c",
        "finished, waits for review",
        "begun 2 March 2026, 09:30:02 UTC",
        "finished 2 March 2026, 09:31:25 UTC (1 min 23 s)",
        "White blood cells 17 of 200 wanted",
        "Blasts and blast equivalents 82.4 % 14 of 17 a person must confirm every blast",
        "Unidentified 5.9 % 1 cell",
        "Artefacts 1 left out of every share",
        "Fields of view 2 1 taken back, 2 pictures unreadable",
        "MYB Myeloblast blast? 14 82.4 57 to 96",
        "NEU Neutrophil 2 11.8 1 to 36",
        "? Unidentified 1 5.9 0 to 29",
        "White blood cells 17 100.0",
        "Looked for and not seen (0 cells each): Lymphoblast, Atypical lymphocyte,",
        "Blasts: 14 of 17 (82.4 %, 95 % range 57 to 96 %). Blasts without equivalents: 14 (82.4 %); equivalents: 0 (0.0 %). 6 "
        "Preliminary: a person must confirm every blast.",
        "Only 17 white blood cells were counted: per cents of so few are uncertain.",
        "Myeloblast 14 large 100 % open 100 % irregular 100 % prominent 100 % scanty 100 % moderate 100 % absent 100 %",
        "MYB Myeloblast blast? 14 cells",
        "0.89 · field 1 large cell open chromatin irregular nucleus prominent nucleolus scanty cytoplasm moderate basophilia no",
        "0.31 · field 3 most like Monocyte",
        "1 09:30:05 field_001.png 640 x 360 0.87 14 14 0 0",
        "3 09:30:16 field_003.png 640 x 360 1.13 3 0 1 1",
        "Model attridet-n 1.0.0, fp32",
        "Runtime onnxruntime 1.23.2 CPU, input 640 x 640 px",
        f"Digest {MODEL.digest}",
        "a cell from score 0.25, named from 0.4",
        "zzcat-5mp 1, 100x, 0.2400 µm/px, nominal: sizes are only indicative",
        "Camera simulator: simulator of this test",
        "Device clinic-7, boot boot-1",
        "could be trusted when the slide was begun",
        "Simulated film: rendered by a program, no patient's blood.",
        "Not read and not counted: 2 pictures (1 HEIC, 1 damaged).",
        "Not read: a.heic (HEIC): HEIC pictures are not read.",
    ]
    assert [line for line in said if line not in text] == []
    assert "not synchronised" not in text


def test_the_review_state_and_the_notice_stand_first_and_last(tmp_path: Path) -> None:
    parsed = written(tmp_path)
    body = parsed.text.partition("Leukoscope ")[2].removeprefix("· ")
    assert parsed.text.startswith("UNREVIEWED · slide 20260302-093002-4f9a2c · Leukoscope UNREVIEWED For review, not a diagnosis.")
    assert body.endswith("UNREVIEWED For review, not a diagnosis. slide 20260302-093002-4f9a2c")
    assert parsed.open == []
    html = (tmp_path / "slide.html").read_text(encoding="utf-8")
    assert '@bottom-left { content: "UNREVIEWED · for review, not a diagnosis"' in html
    assert "size: A4" in html


def test_a_reviewed_slide_says_so_and_asks_for_no_signature(tmp_path: Path) -> None:
    stored = read_slide(keep(tmp_path / "record.sqlite", SLIDE), SLIDE.slide_id)
    text = Parsed(page(signed(stored).stored)).text
    assert "UNREVIEWED" not in text
    assert text.startswith("REVIEWED")
    assert "signed by AB" in text and "revision 1" in text
    assert "Signature" not in text
    assert text.count(NOTICE) >= 3


def test_a_slide_that_only_claims_to_be_signed_is_not_called_reviewed(tmp_path: Path) -> None:
    stored = read_slide(keep(tmp_path / "record.sqlite", SLIDE), SLIDE.slide_id)
    text = Parsed(page(replace(stored, slide=replace(stored.slide, review_state=ReviewState.REVIEWED)))).text
    assert text.startswith("SIGNATURE IN DOUBT")
    assert "its journal does not bear that out: it is empty" in text


def test_an_untrusted_clock_is_told_beside_the_dates(tmp_path: Path) -> None:
    text = written(tmp_path, trusted=False).text
    assert "(1 min 23 s) clock not synchronised: check these dates" in text
    assert "was not synchronised when the slide was begun" in text


def test_what_others_wrote_stays_text(tmp_path: Path) -> None:
    evil = '<img src=x onerror="alert(1)">&amp;'
    classes = tuple(evil if name == "Myeloblast" else name for name in LEUKEMIA_ATTRI.classes)
    taxonomy = Taxonomy(classes, LEUKEMIA_ATTRI.attributes, blasts=(evil,))
    model = replace(MODEL, name=f"a{evil}", taxonomy=taxonomy)
    fields = (replace(counted()[0], source=f"</td><script>{evil}</script>.png"),)
    slide = replace(SLIDE, state=SlideState.ABORTED, abort_reason=f"pulled <b>{evil}", fields=fields)
    shot = tmp_path / 'a"><script>.png'
    cv2.imwrite(str(tmp_path / "shot.png"), PICTURE)
    (tmp_path / "shot.png").rename(shot)
    parsed = written(tmp_path, slide, [shot], model=model, kind=f"camera {evil}")
    assert not parsed.all("script")
    assert not [name for _, attributes in parsed.tags for name in attributes if name.startswith("on")]
    assert {image["src"][:5] for image in parsed.all("img") if image["src"]} == {"data:", "a%22%"}
    for told in (f"aborted: pulled <b>{evil}", f"Model a{evil} 1.0.0", f"</td><script>{evil}</script>.png", f"camera {evil}"):
        assert told in parsed.text
    assert parsed.open == []


def test_the_page_needs_nothing_else(tmp_path: Path) -> None:
    parsed = written(tmp_path)
    assert not parsed.all("link") and not parsed.all("script") and not parsed.all("a")
    assert [meta for meta in parsed.all("meta") if meta.get("http-equiv") == "Content-Security-Policy"]
    html = (tmp_path / "slide.html").read_text(encoding="utf-8")
    assert not re.search(r"https?:|@import|url\(", html)


def test_the_bank_shows_the_cells_themselves_blasts_first_at_one_scale(tmp_path: Path) -> None:
    images = written(tmp_path).all("img")
    assert [i["alt"] for i in images[:3]] == ["Myeloblast, 0.50", "Myeloblast, 0.53", "Myeloblast, 0.56"]
    stored = [c.crop_jpeg for c in sorted(counted()[0].cells, key=lambda c: c.score)]
    shown = [base64.b64decode(str(i["src"]).partition(",")[2]) for i in images]
    assert shown[:14] == stored
    for jpeg in shown:
        assert cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR) is not None
    width, height = zip(*(map(float, re.findall(r":([0-9.]+)%", str(i["style"]))) for i in images), strict=True)
    # Crops with their margin: 60 px of a myeloblast, 120 x 100 and 30 x 25 px (cut at the frame) of the neutrophils.
    assert width[14] == pytest.approx(2 * width[0], abs=0.1)
    assert height[14] == pytest.approx(100 / 60 * width[0], abs=0.1)
    assert width[15] == pytest.approx(0.5 * width[0], abs=0.1)


def test_the_scale_bar_is_as_long_as_it_says(tmp_path: Path) -> None:
    parsed = written(tmp_path)
    html = (tmp_path / "slide.html").read_text(encoding="utf-8")
    share = float(re.findall(r"width:calc\(var\(--tile\) \* ([0-9.]+)\)", html)[0])
    um = float(re.findall(r"([0-9]+) µm \(nominal\)", parsed.text)[0])
    width = float(re.findall(r"width:([0-9.]+)%", str(parsed.all("img")[0]["style"]))[0]) / 100
    # A myeloblast's crop is 60 px wide, of 0.24 µm each.
    assert um / share == pytest.approx(60 * 0.24 / width, rel=0.01)


def test_a_cell_that_differs_from_its_type_stands_out(tmp_path: Path) -> None:
    odd = replace(cell("Myeloblast", 0.95), attributes=probabilities([2, 0, 1, 0, 0, 1, 0]))
    fields = (replace(counted()[0], cells=(*counted()[0].cells, odd)),)
    html = page(read_slide(keep(tmp_path / "r.sqlite", replace(SLIDE, fields=fields)), SLIDE.slide_id))
    assert re.findall("<em>(.*?)</em>", html) == ["inconspicuous nucleolus"]


def test_without_crops_the_page_says_why(tmp_path: Path) -> None:
    parsed = written(tmp_path, replace(SLIDE, fields=counted(crop=False)))
    assert "No pictures of the cells were kept: record.crops is switched off" in parsed.text
    assert not parsed.all("img")


def test_a_slide_without_fields(tmp_path: Path) -> None:
    text = written(tmp_path, replace(SLIDE, fields=(), state=SlideState.ABORTED, abort_reason="power cut")).text
    for said in (
        "aborted: power cut",
        "0 of 200 wanted",
        "Blasts: 0 of 0.",
        "No field was counted.",
        "No white blood cell was counted.",
    ):
        assert said in text
    assert "95 % range 5 of" in text
    assert "nan" not in text.lower()


def test_an_open_slide_is_no_final_word(tmp_path: Path) -> None:
    text = written(tmp_path, replace(SLIDE, state=SlideState.COUNTING, finished_at=None)).text
    assert "still being counted" in text
    assert "its numbers may change" in text
    assert "wanted" not in text
    assert "Camera simulator: simulator of this test" in text


def test_a_summary_of_a_later_version_is_no_hindrance(tmp_path: Path) -> None:
    text = written(tmp_path, summary=b'{"schema": "leukoscope.summary/9"}').text
    assert "MYB Myeloblast blast? 14 82.4" in text
    assert "this version cannot read what was sent" in text
    assert "(schema: Input should be 'leukoscope.summary/1'" in text


def test_provenance_of_another_version_is_said_to_be_unread(tmp_path: Path) -> None:
    record = keep(tmp_path / "record.sqlite", SLIDE)
    with closing(sqlite3.connect(record)) as db, db:
        db.execute("""UPDATE slides SET calibration = '{"name": "x"}', source = '{}'""")
    text = Parsed(page(read_slide(record, SLIDE.slide_id))).text
    assert "Calibration not recorded in a form that this version reads" in text
    assert "Camera field_001.png, field_003.png" in text
    assert "µm" not in text
    assert "Simulated film" not in text


def test_a_slide_of_another_taxonomy(tmp_path: Path) -> None:
    taxonomy = Taxonomy(("Platelet clump", "Blast cell"), LEUKEMIA_ATTRI.attributes, artefact="", blasts=("Blast cell",))
    text = written(tmp_path, replace(SLIDE, fields=(replace(counted()[0]),)), model=replace(MODEL, taxonomy=taxonomy)).text
    assert "BLA Blast cell blast? 14 100.0" in text


def test_it_is_written_beside_a_running_appliance(tmp_path: Path) -> None:
    record = keep(tmp_path / "record.sqlite", SLIDE)
    with Store.open(record):
        write_page(record, SLIDE.slide_id, tmp_path / "new" / "folder" / "slide.html")
    assert (tmp_path / "new/folder/slide.html").stat().st_mode & 0o777 == 0o644


def test_screenshots_beside_the_page_are_linked_and_others_become_part_of_it(tmp_path: Path) -> None:
    (tmp_path / "out" / "screens").mkdir(parents=True)
    beside, elsewhere = tmp_path / "out" / "screens" / "screen 1.png", tmp_path / "other.png"
    for path in (beside, elsewhere):
        cv2.imwrite(str(path), PICTURE)
    record = keep(tmp_path / "record.sqlite", SLIDE)
    write_page(record, SLIDE.slide_id, tmp_path / "out" / "slide.html", [beside, elsewhere])
    parsed = Parsed((tmp_path / "out" / "slide.html").read_text(encoding="utf-8"))
    sources = [str(i["src"]) for i in parsed.all("img")][-2:]
    assert sources[0] == "screens/screen%201.png"
    assert base64.b64decode(sources[1].removeprefix("data:image/png;base64,")) == elsewhere.read_bytes()
    assert "screen 1.png" in parsed.text
    with pytest.raises(StoreError, match=r"gone\.png: this screenshot cannot be read"):
        write_page(record, SLIDE.slide_id, tmp_path / "out" / "slide.html", [tmp_path / "gone.png"])


def test_an_unknown_slide_is_answered_with_those_that_there_are(tmp_path: Path) -> None:
    slides = [replace(SLIDE, slide_id=f"2026030{n}-000000-aaaaaa", fields=()) for n in range(1, 8)]
    record = keep(tmp_path / "record.sqlite", *slides)
    with pytest.raises(StoreError) as caught:
        write_page(record, "2026", tmp_path / "slide.html")
    said = str(caught.value)
    assert "no slide '2026'; the newest are 20260307-000000-aaaaaa, 20260306-" in said
    assert "20260302" not in said
    assert "\n" not in said
    assert caught.value.exit_code == 2
    assert not (tmp_path / "slide.html").exists()


def test_a_record_that_cannot_be_read_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=r"no\.sqlite: there is none yet"):
        write_page(tmp_path / "no.sqlite", "x", tmp_path / "slide.html")
    assert not (tmp_path / "no.sqlite").exists()
    with pytest.raises(StoreError, match="no slide 'x'; it holds no slides yet"):
        write_page(keep(tmp_path / "empty.sqlite"), "x", tmp_path / "slide.html")
    (tmp_path / "bad.sqlite").write_bytes(b"no database at all" * 100)
    with pytest.raises(StoreError, match=r"bad\.sqlite") as caught:
        write_page(tmp_path / "bad.sqlite", "x", tmp_path / "slide.html")
    assert "no slide" not in str(caught.value)


def test_a_page_that_cannot_be_written_leaves_the_former_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    record = keep(tmp_path / "record.sqlite", SLIDE)
    folder = tmp_path / "out"
    out = folder / "slide.html"
    folder.mkdir()
    out.write_text("the former page")

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StoreError, match=r"slide\.html: cannot be written: No space left on device"):
        write_page(record, SLIDE.slide_id, out)
    assert [path.name for path in folder.iterdir()] == ["slide.html"]
    assert out.read_text() == "the former page"
    monkeypatch.undo()
    write_page(record, SLIDE.slide_id, out)
    assert out.read_text(encoding="utf-8").startswith("<!DOCTYPE html>")
    with pytest.raises(StoreError, match="is a folder; name the file to write"):
        write_page(record, SLIDE.slide_id, folder)
    with pytest.raises(StoreError, match="cannot be written"):
        write_page(record, SLIDE.slide_id, out / "below" / "a-file.html")
