"""A slide's life: counting, improving, undoing, and what each state allows, on rendered film under a moving window."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from datetime import datetime, timedelta, timezone

import cv2
import numpy as np
import pytest

from device.camera.base import Frame
from device.camera.quality import sharpness
from device.settings.config import SlideSection
from device.slide import rests
from device.slide.counting import Observation
from device.slide.model import Field, SlideState
from device.slide.session import RefusedError, SlideSession, new_slide_id
from engines.detections import Detections, Image
from engines.film import Film, Microscope
from engines.taxonomy import LEUKEMIA_ATTRI as TAXONOMY
from tests.support.film_bench import StillClock

NOW = datetime(2026, 11, 23, 18, 15, 12, tzinfo=timezone.utc)
HERE, THERE, BEYOND = (100, 100), (800, 100), (100, 600)


@pytest.fixture(scope="module")
def plane() -> Image:
    return Film(seed=11, case="AML").view((600.0, 600.0), Microscope("L", "C2", 100), (1600, 1000))[0]


@dataclass(frozen=True, eq=False)
class Event:
    """What became of the field under the objective."""

    field: Field
    new: bool


class Bench:
    """A session and frames for it: `show` holds a place (and sharpness) for some frames and gives the last observation's events."""

    def __init__(self, plane: Image, crops: bool = True, **section: float) -> None:
        self.plane = plane
        self.clock = StillClock()
        self.session = SlideSession(TAXONOMY, SlideSection(**section), 0.4, crops, 90, self.clock)
        self.sequence = 0
        self.seen: Observation | None = None
        self.found: Detections | None = None  # in place of `detected`

    def frame(self, place: tuple[int, int], blur_px: float = 0.0) -> Frame:
        image = self.plane[place[1] : place[1] + 360, place[0] : place[0] + 640]
        if blur_px:
            image = np.asarray(cv2.GaussianBlur(image, (0, 0), blur_px), np.uint8)
        self.sequence += 1
        return Frame(image, self.sequence, self.sequence / 10, self.clock.now(), "bench")

    def show(
        self, place: tuple[int, int], frames: int = 3, blur_px: float = 0.0, cells: int = 2, focus: float | None = None
    ) -> list[Event]:
        events = []
        for _ in range(frames):
            frame = self.frame(place, blur_px)
            found = detected(cells) if self.found is None else self.found
            self.seen = self.session.observe(frame, found, sharpness(frame.image) if focus is None else focus)
            if self.seen.event and self.seen.event.field:
                events.append(Event(self.seen.event.field, self.seen.event.new))
        return events


def detected(count: int) -> Detections:
    """`count` cells: types 1, 2, ... with scores falling from 0.9 by 0.3."""
    boxes = np.array([[40 + 90 * i, 50, 110 + 90 * i, 130] for i in range(count)], np.float32).reshape(-1, 4)
    scores = np.array([0.9 - 0.3 * i for i in range(count)], np.float32)
    attributes = np.full((count, TAXONOMY.n_logits), 0.5, np.float32)
    return Detections(boxes, scores, np.arange(1, count + 1, dtype=np.int64), attributes)


def moved(found: Detections, dx: float, dy: float) -> Detections:
    return replace(found, boxes_px=found.boxes_px + np.array([dx, dy, dx, dy], np.float32))


@pytest.fixture
def bench(plane: Image) -> Bench:
    return Bench(plane)


def test_ids_sort_by_time_and_do_not_repeat() -> None:
    ids = [new_slide_id(NOW + timedelta(seconds=i)) for i in range(50)]
    assert ids == sorted(ids)
    assert all(re.fullmatch(r"20261123-1815\d\d-[0-9a-f]{6}|20261123-1816\d\d-[0-9a-f]{6}", i) for i in ids)
    assert len({new_slide_id(NOW) for _ in range(50)}) == 50


def test_nothing_is_counted_before_the_start_and_the_present_field_at_once_after(bench: Bench) -> None:
    assert bench.show(HERE, 5) == []
    assert bench.session.state is SlideState.IDLE
    assert bench.seen is not None and bench.seen.resting and not bench.seen.field_counted
    slide = bench.session.start()
    assert slide.state is SlideState.COUNTING
    (event,) = bench.show(HERE, 2)
    assert event.new
    assert event.field.index == 1
    assert bench.seen.resting
    assert bench.seen.field_counted


def test_a_field_holds_what_was_detected_on_the_frame_that_rested(bench: Bench) -> None:
    bench.session.start()
    (event,) = bench.show(HERE, cells=3)
    field = event.field
    assert (field.source, field.size_px) == ("bench", (640, 360))
    assert field.focus == pytest.approx(sharpness(bench.frame(HERE).image))
    assert [c.class_index for c in field.cells] == [1, 2, 3]
    assert [c.identified for c in field.cells] == [True, True, False]  # 0.9, 0.6, 0.3 against 0.4
    assert field.cells[1].box_px == (130.0, 50.0, 200.0, 130.0)
    crop = cv2.imdecode(np.frombuffer(field.cells[0].crop_jpeg, np.uint8), cv2.IMREAD_COLOR)
    assert crop is not None and crop.shape == (120, 110, 3)  # the box and a margin of a quarter of its longer side
    assert bench.session.differential.white_cells == 3
    assert bench.session.differential.unidentified == 1


def test_crops_can_be_switched_off(plane: Image) -> None:
    bench = Bench(plane, crops=False)
    bench.session.start()
    assert all(c.crop_jpeg == b"" for c in bench.show(HERE)[0].field.cells)


def test_each_place_counts_once(bench: Bench) -> None:
    bench.session.start()
    events = [e for place in (HERE, THERE, THERE, BEYOND, BEYOND) for e in bench.show(place, 4)]
    assert [e.field.index for e in events] == [1, 2, 3]
    assert bench.session.slide is not None
    assert [f.index for f in bench.session.slide.fields] == [1, 2, 3]


def test_a_clearly_sharper_frame_takes_the_fields_place(bench: Bench) -> None:
    bench.session.start()
    first = bench.show(HERE, 3, blur_px=4.0, cells=1)
    assert [e.new for e in first] == [True]
    better = bench.show(HERE, 4, blur_px=0.0, cells=3)
    assert [e.new for e in better] == [False]
    assert better[0].field.index == 1
    assert better[0].field.focus > 1.15 * first[0].field.focus
    assert bench.session.differential.white_cells == 3
    assert bench.show(HERE, 4, blur_px=2.0, cells=1) == []
    assert bench.seen is not None and bench.seen.field_counted


def test_a_slightly_sharper_frame_does_not(bench: Bench) -> None:
    bench.session.start()
    bench.show(HERE, 3, focus=1.0)
    assert bench.show(HERE, 3, focus=1.1) == []
    assert [e.new for e in bench.show(HERE, 3, focus=1.16)] == [False]


def test_while_the_focus_still_turns_the_best_is_waited_for(bench: Bench) -> None:
    bench.session.start()
    bench.show(HERE, 2, focus=0.3)
    events = [e for focus in (0.4, 0.5, 0.6, 0.7, 0.8, 0.8, 0.75) for e in bench.show(HERE, 1, focus=focus)]
    assert [e.field.focus for e in events] == [0.8]


def test_improvements_are_bounded(bench: Bench) -> None:
    bench.session.start()
    bench.show(HERE, 2, focus=0.01)
    events = [e for i in range(1, 15) for e in bench.show(HERE, 2, focus=0.01 * 1.2**i)]
    assert len(events) == rests.MOST_LOOKS


def test_a_sharper_frame_from_beside_takes_the_cells_over_into_a_field_of_its_own(bench: Bench) -> None:
    """5 % to the side the same cells are seen, sharper: they are counted there, and once."""
    bench.session.start()
    bench.show(HERE, 3, focus=0.5)
    (event,) = bench.show((HERE[0] + 32, HERE[1]), 4, focus=1.0)
    assert (event.field.index, event.new, [c.cell_id for c in event.field.cells]) == (2, True, [1, 2])
    slide = bench.session.slide
    assert slide is not None and [c.cell_id for c in slide.cells] == [1, 2]
    assert slide.fields[0].cells == () and [c.cell_id for c in slide.fields[0].seen] == [1, 2]


def test_the_cells_in_view_move_with_the_stage(bench: Bench) -> None:
    bench.session.start()
    bench.show(HERE)
    assert bench.seen is not None and bench.seen.sight is not None
    assert [c.box_px for c in bench.seen.sight.cells] == [(40.0, 50.0, 110.0, 130.0), (130.0, 50.0, 200.0, 130.0)]
    bench.found = moved(detected(2), -20, 12)
    assert bench.show((HERE[0] + 20, HERE[1] - 12), 4) == []
    assert bench.seen.field_counted and bench.seen.sight is not None
    assert bench.seen.sight.cells[0].box_px == pytest.approx((20, 62, 90, 142), abs=2)
    bench.show(THERE, 1)
    assert not bench.seen.field_counted and bench.seen.sight is None


def test_undo_again_and_again(bench: Bench) -> None:
    bench.session.start()
    for place in (HERE, THERE, BEYOND):
        bench.show(place)
    assert bench.session.undo().field.index == 3
    assert bench.session.undo().field.index == 2
    assert bench.session.slide is not None
    assert [f.index for f in bench.session.slide.fields] == [1]
    assert bench.session.slide.fields_undone == 2
    assert bench.show(BEYOND, 5) == []
    (again,) = bench.show(THERE)
    assert again.field.index == 4  # never an index twice: the record keeps the undone ones
    assert bench.session.undo().field.index == 4
    assert bench.session.undo().field.index == 1
    with pytest.raises(RefusedError, match="nothing to undo"):
        bench.session.undo()


def test_an_undone_field_counts_again_after_the_stage_left_it(bench: Bench) -> None:
    bench.session.start()
    bench.show(HERE)
    bench.session.undo()
    assert bench.show(HERE, 6) == []
    assert bench.seen is not None and not bench.seen.field_counted
    bench.show(THERE, 1)
    bench.show((500, 300), 1)
    bench.show(THERE, 1)
    assert [e.field.index for e in bench.show(HERE, 4)] == [2]


def test_going_back_to_the_field_before_the_undone_one_counts_nothing_new(bench: Bench) -> None:
    bench.session.start()
    bench.show(HERE, focus=0.5)
    bench.show(THERE)
    bench.session.undo()
    assert bench.show(HERE, 4, focus=0.5) == []
    assert bench.seen is not None and bench.seen.field_counted
    assert [e.new for e in bench.show(HERE, 4, focus=2.0)] == [False]  # the same field, sharper


def test_pause_counts_nothing_and_forgets_nothing(bench: Bench) -> None:
    bench.session.start()
    bench.show(HERE)
    assert bench.session.pause() is SlideState.PAUSED
    assert bench.show(THERE, 4) == []
    assert bench.show(HERE, 4) == []
    assert bench.session.pause() is SlideState.COUNTING
    assert bench.show(HERE, 4) == []
    bench.session.pause()
    bench.show(THERE, 4)
    bench.session.pause()
    assert [e.field.index for e in bench.show(THERE, 1)] == [2]


def test_finish_closes_for_review_and_a_new_slide_starts_from_one(bench: Bench) -> None:
    first = bench.session.start()
    bench.show(HERE)
    finished = bench.session.finish()
    assert (finished.state, len(finished.fields)) == (SlideState.REVIEW, 1)
    assert finished.finished_at is not None and finished.finished_at > finished.started_at
    assert bench.session.slide is finished
    assert bench.show(THERE) == []
    second = bench.session.start()
    assert second.slide_id != first.slide_id
    assert [e.field.index for e in bench.show(THERE, 1)] == [1]


def test_abort_keeps_what_was_counted_and_says_why(bench: Bench) -> None:
    bench.session.start()
    bench.show(HERE)
    aborted = bench.session.abort("the appliance was stopped")
    assert (aborted.state, aborted.abort_reason, len(aborted.fields)) == (SlideState.ABORTED, "the appliance was stopped", 1)
    assert bench.session.start().state is SlideState.COUNTING


@pytest.mark.parametrize("wish", ["undo", "pause", "finish", "abort"])
def test_commands_without_an_open_slide_are_refused_in_one_line(bench: Bench, wish: str) -> None:
    def command() -> object:
        return bench.session.abort("stop") if wish == "abort" else getattr(bench.session, wish)()

    with pytest.raises(RefusedError, match=rf"^cannot {wish}: no slide is open; start a slide first$"):
        command()
    bench.session.start()
    bench.session.finish()
    with pytest.raises(RefusedError, match=rf"^cannot {wish}: the slide is finished; start a slide first$"):
        command()


def test_a_second_start_is_refused(bench: Bench) -> None:
    bench.session.start()
    with pytest.raises(RefusedError, match=r"^a slide is open: finish it first$"):
        bench.session.start()
    bench.session.pause()
    with pytest.raises(RefusedError):
        bench.session.start()


def test_a_blank_picture_is_said_and_not_counted(bench: Bench) -> None:
    bench.session.start()
    frame = Frame(np.full((360, 640, 3), 15, np.uint8), 0, 0.0, NOW, "bench")
    seen = [bench.session.observe(frame, Detections.empty(TAXONOMY.n_logits), 0.0) for _ in range(4)][-1]
    assert (seen.blank, seen.field_counted, seen.event) == (True, False, None)
