"""The simulated stage: a path that counts every cell once, as a pure function of the frame number. Nothing is rendered here."""

from __future__ import annotations

from math import ceil

import numpy as np
import pytest
from truth_engine import field_frames

from device.camera.simulator import field_truth
from device.camera.stage import COUNTED_SHARE, StagePath, film_size_um, plan_fields
from engines.film import Film, Microscope

FULL = (1920, 1080)


def _path(
    count: int = 24, objective: int = 100, case: str = "AML", seed: int = 7, loop: bool = False
) -> tuple[Film, Microscope, StagePath]:
    scope = Microscope("L", "C2", objective)
    needed = film_size_um(scope, FULL, count)
    film = Film(seed, case, (max(4000.0, needed[0]), max(3000.0, needed[1])))
    return film, scope, StagePath(plan_fields(film, scope, FULL, count), scope, FULL, seed, loop)


@pytest.mark.parametrize(("case", "objective", "count"), [("AML", 100, 24), ("CLL", 100, 40), ("mixed", 40, 12), ("CML", 10, 2)])
def test_no_cell_is_in_two_fields_and_belonging_is_beyond_doubt(case: str, objective: int, count: int) -> None:
    film, scope, path = _path(count, objective, case)
    p = scope.um_per_px
    seen: set[int] = set()
    doubts = []
    for index in range(count):
        at_rest = [path.at(n) for n in field_frames(path, index)]
        assert {moment.field for moment in at_rest} == {index}
        members = [set(field_truth(film, scope, m.corner_px, FULL).cell_ids.tolist()) for m in at_rest]
        assert all(m == members[0] for m in members), "the bench's vibration changes no cell's belonging"
        i0, j0 = at_rest[-1].corner_px
        everything = film.cells_in((i0 * p, j0 * p, (i0 + FULL[0]) * p, (j0 + FULL[1]) * p))
        touched = set(everything.cell_ids.tolist())
        assert not touched & seen, "not even a sliver is shown twice"
        seen |= touched
        doubts.append(float(np.abs(everything.visible - COUNTED_SHARE).min()) if touched else 1.0)
    if objective == 100:  # a tenth of a cell is 17 px, the vibration moves it by 2
        assert min(doubts) > 0.1


def test_a_demonstration_of_24_fields_at_ten_frames_a_second_takes_about_forty_seconds() -> None:
    _, _, path = _path(24)
    assert 34.0 < path.frames / 10.0 < 46.0
    for index in range(24):
        assert 8 <= len(field_frames(path, index)) <= 14
    moving = [n for n in range(path.frames) if path.at(n).field is None]
    assert 23 * 4 <= len(moving) <= 23 * 6


def test_each_field_is_reached_out_of_focus_and_then_sharp_for_most_of_its_frames() -> None:
    for objective in (100, 40):
        _, scope, path = _path(6, objective)
        for index in range(6):
            blur = [scope.blur_px(path.at(n).defocus_um) - scope.blur_px(0.0) for n in field_frames(path, index)]
            assert blur[0] > 3.0
            assert blur[0] > blur[1]
            assert sum(b < 0.05 for b in blur) >= 5
            assert blur[-1] < 0.05


def test_between_fields_the_stage_moves_smeared_and_never_backwards() -> None:
    _, _, path = _path(6)
    for index in range(5):
        start, end = field_frames(path, index)[-1], field_frames(path, index + 1).start
        ways = np.array([path.at(n).corner_px for n in range(start, end + 1)], float)
        towards = ways[-1] - ways[0]
        progress = (ways - ways[0]) @ towards / (towards @ towards)
        assert (np.diff(progress) > 0).all()
        assert max(max(path.at(n).smear_px) for n in range(start + 1, end)) > 40


def test_at_rest_the_picture_trembles_by_a_pixel_or_two() -> None:
    _, _, path = _path(6)
    for index in range(6):
        corners = np.array([path.at(n).corner_px for n in field_frames(path, index)])
        spread = corners.max(axis=0) - corners.min(axis=0)
        assert 1 <= spread.max() <= 4


def test_the_path_is_a_function_of_seed_and_frame_number_alone() -> None:
    first, second, other = _path(5)[2], _path(5)[2], _path(5, seed=8)[2]
    numbers = [7, 3, 60, 3, first.frames - 1]
    assert [first.at(n) for n in numbers] == [second.at(n) for n in numbers]
    assert [other.at(n) for n in (0, 1, 2, 20)] != [first.at(n) for n in (0, 1, 2, 20)]


def test_the_path_ends_or_goes_round() -> None:
    _, _, ending = _path(3)
    _, _, round_ = _path(3, loop=True)
    assert ending.at(ending.frames - 1).field == 2
    with pytest.raises(IndexError):
        ending.at(ending.frames)
    assert round_.frames > ending.frames
    assert round_.at(round_.frames) == round_.at(0)
    assert round_.at(round_.frames - 1).field is None, "on the way back to the first"


def test_a_serpentine_never_crosses_the_film_without_need() -> None:
    film, scope, path = _path(24)
    p = scope.um_per_px
    places = np.array([path.at(field_frames(path, i)[-1]).corner_px for i in range(24)], float) * p
    steps = np.abs(np.diff(places, axis=0)).sum(axis=1)
    assert steps.max() < FULL[0] * p + 61.0 + 2 * 16.0 + 1.0
    assert (places > 100).all() and (places[:, 0] < film.size_um[0]).all() and (places[:, 1] < film.size_um[1]).all()


def test_the_film_is_made_large_enough_for_many_fields() -> None:
    scope = Microscope("L", "C2", 10)
    width, height = film_size_um(scope, FULL, 50)
    assert width * height > 50 * ceil(1920 * scope.um_per_px) * ceil(1080 * scope.um_per_px)
