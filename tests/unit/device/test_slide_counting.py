"""Cells are counted once: nudges, returns, cut cells, undo, joined charts, the film of the slide before; on rendered film."""

from __future__ import annotations

import random

import numpy as np
import pytest
from film_bench import SIZE, TAXONOMY, FilmBench, plane

from device.slide import registration
from device.slide.film_map import film_map
from device.slide.model import SlideState
from device.slide.search import Searches

HERE, THERE = (100, 100), (1400, 900)
CELLS = [(300, 200, 370, 270), (500, 300, 580, 380), (690, 250, 770, 330), (840, 380, 910, 450)]
"""Two in the middle of HERE; one that its right border (x = 740) cuts in half and one beyond it."""
FAR = (1600, 1000, 1680, 1080)


@pytest.fixture
def bench() -> FilmBench:
    made = FilmBench([*CELLS, FAR])
    made.session.start()
    return made


def counted(bench: FilmBench) -> list[int]:
    return sorted(cell.cell_id for cell in bench.slide.cells)


def test_a_nudge_brings_the_new_strip_and_nothing_twice(bench: FilmBench) -> None:
    bench.show(HERE)
    assert counted(bench) == [1, 2, 3]
    bench.show((HERE[0] + 70, HERE[1]), 4)  # 11 % of the width
    assert counted(bench) == [1, 2, 3]
    assert [len(field.cells) for field in bench.slide.fields] == [2, 1], "the cut cell is now whole"
    assert [cell.provisional for cell in bench.slide.fields[0].seen] == [True]
    bench.show((HERE[0] + 180, HERE[1]), 4)
    assert counted(bench) == [1, 2, 3, 4]
    bench.show(HERE, 4)
    bench.show((HERE[0] + 70, HERE[1]), 4)
    assert counted(bench) == [1, 2, 3, 4] and len(bench.slide.fields) == 3


def test_a_rest_that_brings_nothing_asks_for_no_second_look_and_leaves_no_field(bench: FilmBench) -> None:
    bench.show(HERE)
    looked = bench.looked
    bench.slide_to((130, 110), HERE)
    seen = bench.show((130, 110), 20)
    assert bench.looked == looked and seen.field_counted and len(bench.slide.fields) == 1


FINDING_FOCUS = (0.3, 0.45, 0.65, 0.9, 1.1, 1.12, 1.11)


def turned(bench: FilmBench, *sharpness: float) -> list[tuple[float, int, float]]:
    """The focus is turned on a resting stage: when a field was written (s), its index and its focus."""
    written = []
    for focus in sharpness:
        seen = bench.show(HERE, 1, focus)
        if seen.event is not None and seen.event.field is not None:
            written.append((round(bench.at_s, 2), seen.event.field.index, seen.event.field.focus))
    return written


def test_a_field_is_counted_once_when_its_focus_has_settled(bench: FilmBench) -> None:
    assert turned(bench, *FINDING_FOCUS) == [(0.6, 1, 1.12)]
    assert bench.looked == 1 and counted(bench) == [1, 2, 3]


def test_it_is_counted_by_the_sharpest_frame_though_the_hand_turned_past_it(bench: FilmBench) -> None:
    turned(bench, 0.3, 0.4, 0.9)
    bench.show(HERE, 1, 0.7, held="not counted: out of focus")
    assert bench.slide.fields == ()
    assert turned(bench, 0.9, 1.0, 0.99) == [(0.7, 1, 1.0)] and bench.looked == 1
    shown = next(event.image for event in bench.events if event.field is not None)
    assert shown is not None and np.array_equal(shown, plane()[HERE[1] : HERE[1] + SIZE[1], HERE[0] : HERE[0] + SIZE[0]])


def test_no_field_waits_longer_than_a_second(bench: FilmBench) -> None:
    rising = [0.1 * 1.06**step for step in range(14)]
    (first,) = turned(bench, *rising)
    assert first[:2] == (1.2, 1), "a second after the first resting frame, which is the second one"
    bench.session.undo()
    slow = FilmBench(CELLS)
    slow.step_s = 0.7
    slow.session.start()
    assert turned(slow, 0.3, 0.4, 0.5)[0] == (2.1, 1, 0.5), "of two frames a second and less it waits for one"
    slower = FilmBench(CELLS)
    slower.step_s = 1.2
    slower.session.start()
    assert turned(slower, 0.3, 0.4)[0] == (2.4, 1, 0.4), "and for none that comes after the second"


def test_a_field_that_is_left_while_its_focus_still_turns_is_counted_by_its_best_frame(bench: FilmBench) -> None:
    bench.cells = [CELLS[0], CELLS[1]]
    assert turned(bench, 0.3, 0.45, 0.65) == []
    bench.slide_to(THERE, HERE)
    (event,) = [event for event in bench.events if event.field is not None]
    assert event.field is not None and event.new and (event.field.focus, bench.looked) == (0.65, 1)
    assert counted(bench) == [1, 2]


def test_a_field_that_waits_is_counted_before_a_command(bench: FilmBench) -> None:
    turned(bench, 0.3, 0.45, 0.65)
    bench.settle()
    assert counted(bench) == [1, 2, 3] and bench.session.finish().fields[0].focus == 0.65
    bench.settle()
    assert bench.looked == 1, "it is not counted again"


def test_the_cell_is_changed_in_both_fields_when_a_whole_sight_takes_over(bench: FilmBench) -> None:
    bench.show(HERE)
    bench.events.clear()
    bench.show((HERE[0] + 70, HERE[1]), 4)
    (event,) = [event for event in bench.events if event.field is not None]
    assert event.field is not None and event.new
    assert [field.index for field in event.fields] == [2, 1]
    assert [cell.cell_id for cell in event.others[0].cells] == [1, 2]
    assert [cell.cell_id for cell in event.others[0].seen] == [3]
    assert [cell.cell_id for cell in event.field.cells] == [3] and [cell.cell_id for cell in event.field.seen] == [1, 2]


def test_a_cell_cut_at_opposite_sides_is_one() -> None:
    bench = FilmBench([(705, 250, 785, 330)])
    bench.session.start()
    bench.show(HERE)  # ends at x = 740: .44 of the cell, not looked at
    assert counted(bench) == []
    bench.show((110, 100), 4)  # ends at 750: .56
    assert counted(bench) == [1]
    bench.slide_to((735, 100), (110, 100), 9)
    bench.show((735, 100), 4)  # begins at 735: .63, the other part
    assert counted(bench) == [1]


def test_two_cells_that_touch_stay_two_and_a_third_of_them_is_found() -> None:
    bench = FilmBench([(300, 200, 370, 270), (330, 200, 400, 270)])
    bench.session.start()
    bench.show(HERE)
    assert counted(bench) == [1, 2]
    bench.cells.append((345, 235, 415, 305))
    bench.show((HERE[0] + 100, HERE[1]), 4)
    assert counted(bench) == [1, 2, 3]


def test_a_box_that_flickers_on_counted_ground_is_not_counted_and_one_that_stays_is(bench: FilmBench) -> None:
    bench.show(HERE)
    again = (HERE[0] + 40, HERE[1])
    bench.slide_to(again, HERE)
    bench.cells.append((420, 150, 480, 210))
    bench.show(again, 1)
    bench.cells.pop()
    bench.show(again, 3)
    assert counted(bench) == [1, 2, 3]
    bench.cells.append((420, 150, 480, 210))
    bench.show(again, 2)
    assert counted(bench) == [1, 2, 3, 4]


def test_undo_gives_the_cells_back_to_the_rest_that_saw_them_before(bench: FilmBench) -> None:
    bench.show(HERE)
    bench.show((HERE[0] + 70, HERE[1]), 4)
    undone = bench.session.undo()
    assert undone.field.index == 2 and [field.index for field in undone.others] == [1]
    assert counted(bench) == [1, 2, 3] and len(bench.slide.fields) == 1
    assert [cell.provisional for cell in bench.slide.fields[0].cells] == [False, False, True]
    bench.show((HERE[0] + 70, HERE[1]), 20)
    assert len(bench.slide.fields) == 1, "it does not come back while the stage stays"
    bench.session.undo()
    assert counted(bench) == []
    bench.show((HERE[0] + 70, HERE[1]), 20)
    assert counted(bench) == []
    bench.show((HERE[0] + 200, HERE[1]), 4)
    assert len(bench.slide.fields) == 1 and bench.slide.fields[0].index == 3 and bench.slide.fields_undone == 2


def test_the_place_is_followed_while_paused(bench: FilmBench) -> None:
    bench.show(HERE)
    bench.session.pause()
    bench.slide_to((500, 300), HERE, 10)
    bench.show((500, 300))
    assert counted(bench) == [1, 2, 3] and bench.seen.place is not None
    assert (bench.seen.place.x_px, bench.seen.place.y_px) == pytest.approx((400, 200), abs=4)
    bench.session.pause()
    bench.show((500, 300))
    assert counted(bench) == [1, 2, 3, 4] and bench.slide.charts == 1 and bench.slide.lost_rests == 0


def test_lost_ground_is_said_and_kept_apart_until_it_is_joined(bench: FilmBench) -> None:
    bench.show(HERE)
    bench.show(THERE, 4)  # in one step, with nothing in common
    assert [event.apart for event in bench.events if event.field is not None] == [False, True]
    assert (bench.slide.charts, bench.slide.lost_rests, bench.slide.possible_doubles) == (2, 1, 1)
    bench.show((500, 300), 4)  # shows enough of the first chart
    assert not bench.events[-1].apart and bench.slide.charts == 2
    way = [(700, 450), (900, 600), (1000, 700), (1150, 800), (1300, 850), THERE]
    for start, place in zip([(500, 300), *way[:-1]], way, strict=True):
        bench.slide_to(place, start)
        bench.show(place, 4)
    assert any(event.merged for event in bench.events)
    assert (bench.slide.charts, bench.slide.lost_rests, bench.slide.possible_doubles) == (1, 1, 0)
    assert len(counted(bench)) == len(bench.cells)


def test_a_rest_that_only_a_search_in_many_keyframes_made_look_lost_was_not(monkeypatch: pytest.MonkeyPatch) -> None:
    """A frame looks at two keyframes only, as it does at sixty of a long slide: the ground seen first is found some frames later."""
    monkeypatch.setattr(registration, "Searches", lambda: Searches(budget=2))
    bench = FilmBench([*CELLS, FAR])
    bench.session.start()
    way = [HERE, (450, 100), (800, 110), (1150, 100), (1150, 450), (800, 450)]
    for start, place in zip([HERE, *way[:-1]], way, strict=True):
        bench.slide_to(place, start)
        bench.show(place, 4)
    before = counted(bench), len(bench.slide.fields)
    bench.show((1500, 1000), 1)  # away, and back with nothing in between
    bench.events.clear()
    bench.show((HERE[0] + 20, HERE[1] + 10), 12)
    assert [event.apart for event in bench.events if event.field is not None] == [True]
    assert any(event.merged for event in bench.events)
    assert (bench.slide.charts, bench.slide.lost_rests, bench.slide.possible_doubles) == (1, 0, 0)
    assert (counted(bench), len(bench.slide.fields)) == (before[0], before[1] + 1)


def test_cells_counted_on_two_charts_become_one_when_they_are_joined() -> None:
    bench = FilmBench([(300, 200, 370, 270), (684, 200, 734, 250)])
    bench.session.start()
    bench.show(HERE)  # up to x = 740
    bench.show(THERE, 4)
    bench.show((670, 100), 4)  # too little of the first field to be known again
    assert [len(field.cells) for field in bench.slide.fields] == [2, 0, 1] and bench.slide.possible_doubles == 1
    bench.slide_to((400, 100), (670, 100))
    bench.show((400, 100), 4)
    event = next(event for event in bench.events if event.merged)
    assert [field.index for field in event.fields if field.index != 4] == [1, 3]
    assert counted(bench) == [1, 2] and bench.slide.possible_doubles == 0
    assert [cell.cell_id for cell in bench.slide.fields[2].seen] == [2], "the same cell, under one number"
    places = {field.index: field.place for field in bench.slide.fields}
    first, third = places[1], places[3]
    assert first is not None and third is not None and third.chart == first.chart
    assert (third.x_px - first.x_px, third.y_px - first.y_px) == pytest.approx((570, 0), abs=6)


def test_the_slide_before_is_not_counted_until_its_film_is_away(bench: FilmBench) -> None:
    bench.show(HERE)
    bench.session.finish()
    bench.show(HERE)
    bench.session.start()
    seen = bench.show(HERE, 100)
    assert seen.old_ground and not seen.field_counted and bench.slide.fields == ()
    bench.slide_to((300, 200), HERE)
    assert bench.show((300, 200), 10).old_ground and bench.slide.fields == ()
    assert not bench.show(THERE, 4).old_ground  # film that it never showed
    assert [field.index for field in bench.slide.fields] == [1] and bench.slide.charts == 1 and bench.slide.lost_rests == 0


def test_a_glass_that_was_away_is_counted_also_if_it_is_the_same(bench: FilmBench) -> None:
    bench.show(HERE)
    bench.session.finish()
    bench.session.start()
    bench.show(HERE, 4)
    bench.dark()
    assert not bench.seen.old_ground
    bench.show(HERE)
    assert counted(bench) == [1, 2, 3]


def test_a_slide_changed_before_the_start_is_counted_at_once(bench: FilmBench) -> None:
    bench.show(HERE)
    bench.session.finish()
    bench.show(THERE, 4)
    bench.session.start()
    bench.show(THERE, 2)
    assert len(bench.slide.fields) == 1 and not bench.seen.old_ground


def test_counting_goes_on_where_a_finished_slide_is_opened_again(bench: FilmBench) -> None:
    bench.show(HERE)
    bench.session.finish()
    bench.show(HERE)
    bench.session.reopen()
    bench.show((HERE[0] + 70, HERE[1]), 4)
    assert counted(bench) == [1, 2, 3] and bench.slide.state is SlideState.COUNTING and len(bench.slide.fields) == 2


def test_after_a_power_cut_visited_ground_is_found_and_nothing_is_counted_twice() -> None:
    rng = random.Random(4)
    cells = [(x, y, x + 70, y + 70) for x in range(80, 2000, 160) for y in range(80, 1300, 170)]
    way = [(80, 80), (400, 90), (760, 120), (1100, 100), (1100, 380), (760, 400), (420, 390), (100, 370), (90, 90), (430, 100)]
    whole = FilmBench(cells)
    whole.session.start()
    cut = FilmBench(cells)
    cut.session.start()
    keyframes = {}
    for start, place in zip([way[0], *way[:-1]], way, strict=True):
        for bench in (whole, cut):
            bench.slide_to(place, start)
            bench.show(place, 4)
            keyframes.update({key.number: key for event in cut.events for key in event.keyframes})
        if rng.random() < 0.5:
            kept = cut.slide
            cut.session = cut.new_session()
            cut.session.restore(kept, keyframes.values(), max((cell.cell_id for cell in kept.cells), default=0))
            cut.show(place, 3)
            cut.session.pause()
            assert cut.slide.charts == 1, "the place was found again"
    assert len(cut.slide.cells) == len(whole.slide.cells) == len(counted(cut))
    assert len(set(counted(cut))) == len(counted(cut))


def test_cells_of_a_sight_stand_where_they_are_now(bench: FilmBench) -> None:
    bench.show(HERE)
    bench.slide_to((150, 120), HERE)
    sight = bench.show((150, 120)).sight
    assert sight is not None
    boxes = {cell.cell_id: cell.box_px for cell in sight.cells}
    expected = [np.subtract(CELLS[0], (150, 120) * 2), np.subtract(CELLS[1], (150, 120) * 2)]
    assert boxes[1] == pytest.approx(expected[0], abs=3) and boxes[2] == pytest.approx(expected[1], abs=3)
    assert sight.size_px == SIZE


def test_the_map_has_every_counted_field_and_every_white_cell_once(bench: FilmBench) -> None:
    bench.show(HERE)
    bench.show((HERE[0] + 70, HERE[1]), 4)
    bench.show(THERE, 4)
    first, second = film_map(bench.slide, TAXONOMY)
    assert len(first.visited) == 2 and first.extent_px == pytest.approx((0, 0, 710, 360), abs=4)
    middles = sorted(((x0 + x1) / 2 - 100, (y0 + y1) / 2 - 100) for x0, y0, x1, y1 in CELLS[:3])
    assert sorted((dot.x_px, dot.y_px) for dot in first.dots) == [pytest.approx(middle, abs=4) for middle in middles]
    assert (len(second.visited), len(second.dots)) == (1, 1)
    assert {dot.group for dot in first.dots} == {TAXONOMY.group_of(3)} and not first.dots[0].blast
