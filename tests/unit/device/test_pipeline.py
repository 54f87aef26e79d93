"""The order of the stations when a station fails: the count goes on, and the reason is shown."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from calibration.profile import load_profile
from device.camera.base import SkippedPicture
from device.camera.quality import sharpness
from device.display.base import NullDisplay, ScreenView
from device.errors import DisplayError, StoreError
from device.mqtt.payloads import read_summary
from device.mqtt.publisher import BrokerStatus
from device.pipeline import Pipeline
from device.settings.config import Config, DeviceSection, FramesSection, ReplayCamera
from device.slide.commands import Command, Wish
from device.slide.model import Cell, Field, Slide, SlideState
from device.status import CurrentStatus
from device.store import Store
from device.store.pictures import read_field_picture
from device.store.recording import FrameRecorder
from device.view import in_words
from engines.taxonomy import LEUKEMIA_ATTRI
from tests.support.picture_line import CLOCK, OneNeutrophil, Pictures, picture, pipeline_of, run_out
from tests.support.provenance import provenance

CELL = Cell(3, 0.9, True, (40.0, 40.0, 90.0, 90.0), np.full(LEUKEMIA_ATTRI.n_logits, np.nan, np.float32))


class BrokenScreen(NullDisplay):
    """A window that went away."""

    def show(self, view: ScreenView) -> None:
        raise DisplayError("the window is gone")


class FullStore(Store):
    """A real record on a disk that is full until `full` is cleared."""

    full = True

    def put_fields(self, slide_id: str, fields: Sequence[Field], *besides: Any) -> None:
        if self.full:
            raise StoreError("record: the disk is full; make room")
        super().put_fields(slide_id, fields, *besides)

    def close_slide(self, slide: Slide, message: object) -> None:
        if self.full:
            raise StoreError("record: the disk is full; make room")
        super().close_slide(slide, message)  # type: ignore[arg-type]  # handed through


def test_each_picture_is_a_field_and_the_end_finishes_the_slide(tmp_path: Path) -> None:
    slide = run_out(pipeline_of(tmp_path, Pictures([1, 1, 1, 2, 2, 2, 3, 3, 3]), OneNeutrophil()))
    assert slide.state is SlideState.REVIEW
    assert [field.source for field in slide.fields] == ["1.png", "2.png", "3.png"]
    assert [len(field.cells) for field in slide.fields] == [1, 1, 1]


def test_only_a_field_that_is_counted_is_looked_at_twice(tmp_path: Path) -> None:
    engine = OneNeutrophil()
    slide = run_out(pipeline_of(tmp_path, Pictures([1, 1, 1, 1, 2, 2, 2, 2]), engine))
    assert [cell.class_index for cell in slide.cells] == [1, 1]
    assert engine.named == [pytest.approx(load_profile("zzcat-5mp").um_per_px(100, 320))] * 2


def test_a_field_whose_focus_still_turns_is_looked_at_once_and_before_any_command(tmp_path: Path) -> None:
    def focusing(folder: str) -> tuple[Pipeline, OneNeutrophil]:
        blurs = (5.0, 4.0, 3.2, 2.5, 1.9)
        engine, source = OneNeutrophil(), Pictures([1] * len(blurs))
        source.blurred(blurs)
        return pipeline_of(tmp_path / folder, source, engine), engine

    pipeline, engine = focusing("ends")
    slide = run_out(pipeline)
    assert pipeline.close() and slide.state is SlideState.REVIEW and len(engine.named) == 1
    with Store.read(tmp_path / "ends" / "record.sqlite") as store:
        (field,) = store.slide(slide.slide_id).slide.fields
        kept = read_field_picture(store.path, field.picture)
    assert kept is not None and sharpness(kept) == pytest.approx(field.focus, rel=0.05), "the picture is of the frame that counts"
    pipeline, engine = focusing("asked")
    for _ in range(3):
        pipeline.round()
    assert pipeline.slide is not None and not pipeline.slide.fields and not engine.named
    assert pipeline.obey(Wish(Command.PAUSE))[0] and len(pipeline.slide.fields) == len(engine.named) == 1


def test_a_field_whose_second_look_fails_is_counted_and_says_so(tmp_path: Path) -> None:
    pipeline = pipeline_of(tmp_path, Pictures([1, 1, 1]), OneNeutrophil(naming_fails=True))
    pipeline.round()
    pipeline.round()
    view = pipeline.view()
    assert view.message_level == "fail" and "second look failed: no memory for a second look" in view.message
    assert pipeline.engine_status.failures == 1
    slide = run_out(pipeline)
    assert [(cell.class_index, cell.identified) for cell in slide.cells] == [(3, True)]  # the first look's
    assert [field.naming_fault for field in slide.fields] == ["no memory for a second look"]
    assert any("second look failed" in sentence for sentence in pipeline.view().description)


def test_a_foreign_film_is_counted_by_groups_up_to_the_summary(tmp_path: Path) -> None:
    pipeline = pipeline_of(tmp_path, Pictures([n for n in range(32) for _ in range(2)]), OneNeutrophil(distance=2.0))
    verdicts = {}
    while pipeline.white_cells < 31:
        pipeline.round()
        assert pipeline.slide is not None
        verdicts[pipeline.white_cells] = pipeline.slide.foreign
    assert (verdicts[29], verdicts[30], verdicts[31]) == (None, True, True)
    assert any("unlike the films" in sentence for sentence in pipeline.view().description)
    assert all(pipeline.obey(Wish(Command.UNDO))[0] for _ in range(2))
    assert pipeline.slide is not None and pipeline.slide.foreign is None  # 29 cells are too few to say so
    assert run_out(pipeline).foreign is True  # with the last picture's cell there are 30 again
    assert pipeline.close()
    with Store.read(tmp_path / "record.sqlite") as store:
        (message,) = (row for row in store.pending() if row.kind == "summary")
        assert store.slides()[0].slide.foreign is True
    sent = read_summary(message.payload).payload
    assert sent.film == "foreign"
    assert [(row.group, row.count) for row in sent.differential if row.count] == [("blasts", 30)]
    assert (sent.blasts.count, sent.blasts.uncertain_kind) == (30, 30)


def test_a_frame_on_which_the_engine_fails_is_told_and_passed_over(tmp_path: Path) -> None:
    pipeline = pipeline_of(tmp_path, Pictures([1, 1, 1, 2, 2, 2]), OneNeutrophil(frozenset({0, 3})))
    pipeline.round()
    assert pipeline.engine_status.failures == 1
    assert "out of memory" in pipeline.view().message and pipeline.view().message_level == "fail"
    assert [lamp.level for lamp in pipeline.lamps if lamp.name == "Engine"] == ["fail"]
    slide = run_out(pipeline)
    assert len(slide.fields) == 2 and pipeline.engine_status.failures == 2
    assert not pipeline.engine_status.failing


def test_a_screen_that_went_away_does_not_stop_the_count(tmp_path: Path) -> None:
    assert len(run_out(pipeline_of(tmp_path, Pictures([1, 1, 1, 2, 2, 2]), OneNeutrophil(), BrokenScreen())).fields) == 2


def test_a_full_disk_is_shown_in_red_and_nothing_is_dropped(tmp_path: Path) -> None:
    path = tmp_path / "record.sqlite"
    with FullStore.open(path) as store:
        assert isinstance(store, FullStore)
        pipeline = pipeline_of(tmp_path, Pictures([1, 1, 1, 2, 2, 2]), OneNeutrophil(), store=store)
        slide = run_out(pipeline)
        assert pipeline.view().message.startswith("NOT SAVED, 3 waiting") and pipeline.view().message_level == "fail"
        assert not pipeline.close()
        store.full = False
        assert pipeline.close()
        assert len(store.slide(slide.slide_id).slide.fields) == 2
        assert [row.kind for row in store.pending()] == ["event", "summary"]


def test_the_service_is_told_in_words_how_it_stands(tmp_path: Path) -> None:
    pipeline = pipeline_of(tmp_path, Pictures([1, 1, 1]), OneNeutrophil())
    assert in_words(pipeline.lamps, pipeline.slide, pipeline.white_cells) == "camera ok, engine busy, broker ok, record ok; no slide"
    slide = run_out(pipeline)
    assert in_words(pipeline.lamps, pipeline.slide, pipeline.white_cells).endswith(f"; slide {slide.slide_id} review, 1 white cell")


def test_commands_are_answered_with_what_became_of_them(tmp_path: Path) -> None:
    pipeline = pipeline_of(tmp_path, Pictures([1, 1, 1, 2, 2, 2, 3, 3, 3]), OneNeutrophil())
    assert pipeline.obey(Wish(Command.FINISH)) == (False, "cannot finish: no slide is open; start a slide first")
    for _ in range(3):
        pipeline.round()
    done, text = pipeline.obey(Wish(Command.UNDO))
    assert done and text == "Field 1 taken back."
    assert pipeline.obey(Wish(Command.PAUSE)) == (True, "Slide paused.")
    for _ in range(3):
        pipeline.round()
    assert pipeline.slide is not None and not pipeline.slide.fields, "a paused slide counts nothing"
    assert pipeline.obey(Wish(Command.PAUSE))[0]
    assert len(run_out(pipeline).fields) == 1


def test_a_field_that_is_undone_is_at_once_shown_as_not_counted(tmp_path: Path) -> None:
    pipeline = pipeline_of(tmp_path, Pictures([1] * 9 + [2] * 9 + [3]), OneNeutrophil())
    while pipeline.slide is None or len(pipeline.slide.fields) < 2:
        pipeline.round()
    assert pipeline.view().field_counted
    pipeline.obey(Wish(Command.UNDO))  # the screen would put the cells of the field before over this picture
    assert not pipeline.view().field_counted


def test_quitting_leaves_an_open_slide_paused(tmp_path: Path) -> None:
    pipeline = pipeline_of(tmp_path, Pictures([1, 1, 1, 2, 2, 2]), OneNeutrophil())
    for _ in range(3):
        pipeline.round()
    pipeline.obey(Wish(Command.QUIT))
    assert pipeline.stopped == "the technician quit" and pipeline.close()
    assert pipeline.slide is not None and pipeline.slide.state is SlideState.PAUSED
    with Store.read(tmp_path / "record.sqlite") as store:
        (left,) = store.unfinished()
        assert (left.slide.state, len(left.slide.fields)) == (SlideState.PAUSED, 1)
        assert [row.kind for row in store.pending()] == ["event"], "no summary of a slide that is open"


def test_skipped_pictures_are_named_on_the_screen(tmp_path: Path) -> None:
    source = Pictures([1, 1, 1])
    source.skipped = (SkippedPicture("slides/broken.jpg", "damaged", "cut short"),)
    pipeline = pipeline_of(tmp_path, source, OneNeutrophil())
    pipeline.round()
    view = pipeline.view()
    assert "broken.jpg" in view.message and view.message_level == "warn"


def test_the_camera_state_that_leaves_the_device_names_no_folder_above_the_pictures(tmp_path: Path) -> None:
    source = Pictures([])
    source.name = "/home/clinic/Jane Doe/film 3"
    pipeline = pipeline_of(tmp_path, source, OneNeutrophil())
    assert pipeline.camera_reason == "film 3: its last picture was shown"


def test_a_colour_cast_is_shown_when_nothing_else_is_to_be_said(tmp_path: Path) -> None:
    source = Pictures([1, 1, 1])
    tinted = (picture(1) * np.array([0.7, 1.0, 1.0])).astype(np.uint8)
    source._frames = [replace(frame, image=tinted) for frame in source._frames]
    pipeline = pipeline_of(tmp_path, source, OneNeutrophil())
    pipeline.round()
    assert pipeline.view().message.endswith("started.")
    pipeline._messages._until_s = 0.0
    assert (pipeline.view().message, pipeline.view().message_level) == ("Yellow cast: set the white balance.", "warn")


def test_a_slide_left_open_by_another_version_is_closed_without_a_summary(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    engine = OneNeutrophil()
    with Store.open(tmp_path / "record.sqlite") as store:
        for slide_id, made in (
            ("theirs", provenance(engine.info, calibration=None)),
            ("ours", provenance(replace(engine.info, digest="1" * 64))),
        ):
            store.start_slide(Slide(slide_id, CLOCK.now()), made)
            store.put_field(slide_id, Field(1, CLOCK.now(), "1.png", (320, 180), 9.0, (CELL,)))
        pipeline_of(tmp_path, Pictures([]), engine, store=store)
        assert {stored.slide.slide_id: stored.slide.state for stored in store.slides()} == dict.fromkeys(
            ("ours", "theirs"), SlideState.REVIEW
        )
        (message,) = (row for row in store.pending() if row.kind == "summary")
    assert b'"slide_id":"ours"' in message.payload
    assert "no summary is sent: slide theirs: another version wrote" in caplog.text


def test_the_view_carries_provenance_and_certainty(tmp_path: Path) -> None:
    pipeline = pipeline_of(tmp_path, Pictures([1, 1, 1]), OneNeutrophil())
    pipeline.round()
    view = pipeline.view()
    assert view.engine.name == "stand-in" and view.calibration_label == "zzcat-5mp 1 100x (nominal)"
    assert view.identified == (True,)


def test_frames_that_cannot_be_kept_are_told_on_the_screen_and_the_count_goes_on(tmp_path: Path) -> None:
    engine = OneNeutrophil()
    with FrameRecorder(FramesSection(), tmp_path / "frames", provenance(engine.info), CLOCK, lambda _: 0.0) as recorder:
        pipeline = pipeline_of(tmp_path, Pictures([1, 1, 1, 2, 2, 2]), engine, recorder=recorder)
        assert len(run_out(pipeline).fields) == 2
    pipeline._messages._until_s = 0.0
    assert pipeline.view().message.startswith("No frames are recorded, the count goes on: only 0 MB free")
    assert pipeline.view().message_level == "warn" and recorder.status.passed_over == 2


def test_no_frame_is_kept_of_a_slide_that_is_not_counting(tmp_path: Path) -> None:
    engine = OneNeutrophil()
    section = FramesSection(every_s=0, min_free_mb=0)
    with FrameRecorder(section, tmp_path / "frames", provenance(engine.info), CLOCK) as recorder:
        pipeline = pipeline_of(tmp_path, Pictures([1, 1, 1, 2, 2, 2, 3, 3, 3]), engine, recorder=recorder)
        for _ in range(3):
            pipeline.round()
        pipeline.obey(Wish(Command.PAUSE))
        for _ in range(3):
            pipeline.round()
        pipeline.obey(Wish(Command.PAUSE))
        slide = run_out(pipeline)
    names = sorted(path.name for path in (tmp_path / "frames").glob("*.png"))
    assert names[0] == f"{slide.slide_id}_00001_counted.png" and len(names) == 4
    assert all(np.array_equal(cv2.imread(str(tmp_path / "frames" / n)), picture(1 if n in names[:2] else 3)) for n in names)


def test_the_first_blast_of_a_slide_is_in_the_status_at_once(tmp_path: Path) -> None:
    pipeline = pipeline_of(tmp_path, Pictures([1] * 9), OneNeutrophil())
    config = Config(camera=ReplayCamera(kind="replay", source="pictures"), device=DeviceSection(id="unit", state_dir=tmp_path))
    status = CurrentStatus(config, provenance(pipeline.engine_info), CLOCK)
    seen = []
    while pipeline.slide is None or not pipeline.slide.fields:
        pipeline.round()
        slide = status.update(pipeline, BrokerStatus("disabled")).slide
        seen.append(slide is not None and slide.blast_seen)
    assert seen == [False, True]  # the first frame is no rest yet; the second look of the second one tells a myeloblast


def test_each_counted_field_has_its_picture_beside_the_record(tmp_path: Path) -> None:
    with Store.open(tmp_path / "record.sqlite") as store:
        slide = run_out(pipeline_of(tmp_path, Pictures([1, 1, 1, 2, 2, 2]), OneNeutrophil(), store=store))
        for field in store.slide(slide.slide_id).slide.fields:
            kept = read_field_picture(store.path, field.picture)
            assert kept is not None
            assert np.abs(kept.astype(int) - picture(field.index)).mean() < 12  # others differ by 50 and more
