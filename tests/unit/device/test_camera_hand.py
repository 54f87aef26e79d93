"""Stage paths as a hand makes them: pure in the frame number, each style does what its name says. Nothing is rendered here."""

from __future__ import annotations

from itertools import groupby, pairwise

import numpy as np
import pytest

from device.camera.hand import STYLES, HandPath
from device.camera.simulator import SimulatorCamera
from device.camera.stage import Moment
from device.clock import SystemClock
from device.settings.config import SimulatorCamera as SimulatorSection
from engines.film import Microscope

SMALL = (640, 360)
SCOPE = Microscope("L", "C2", 100, width_px=640)


def _path(style: str, fields: int = 12, seed: int = 3, loop: bool = False) -> HandPath:
    return HandPath(style, fields, SCOPE, SMALL, seed, loop)


def _moments(path: HandPath) -> list[Moment]:
    return [path.at(n) for n in range(path.frames)]


def _rests(path: HandPath) -> list[np.ndarray]:
    """The last corner of every rest, in px."""
    runs = groupby(_moments(path), key=lambda moment: moment.field is None)
    return [np.array(list(run)[-1].corner_px) for moving, run in runs if not moving]


def _shared(first: np.ndarray, second: np.ndarray) -> float:
    """Share of a field that two places have in common."""
    gap = np.clip(1 - abs(first - second) / SMALL, 0, None)
    return float(gap.prod())


@pytest.mark.parametrize("style", STYLES)
def test_a_path_is_the_same_every_time_and_another_for_another_seed(style: str) -> None:
    assert _moments(_path(style)) == _moments(_path(style))
    assert _moments(_path(style)) != _moments(_path(style, seed=4))


@pytest.mark.parametrize("style", STYLES)
def test_it_visits_so_many_fields_lies_on_its_film_and_ends(style: str) -> None:
    path = _path(style)
    moments = _moments(path)
    assert {m.field for m in moments} == {None, *range(12)}
    corners = np.array([m.corner_px for m in moments])
    assert (corners >= 0).all()
    assert ((corners + SMALL) * SCOPE.um_per_px <= path.film_size_um).all()
    with pytest.raises(IndexError):
        path.at(path.frames)
    assert moments[-1].field is not None


@pytest.mark.parametrize("style", STYLES)
def test_every_rest_ends_in_focus_and_ways_are_smeared(style: str) -> None:
    path = _path(style)
    blur = SCOPE.blur_px(0.0)
    for moving, run in groupby(_moments(path), key=lambda moment: moment.field is None):
        moments = list(run)
        if moving:
            assert max(max(m.smear_px) for m in moments) > 3
        else:
            assert SCOPE.blur_px(moments[-1].defocus_um) < 1.5 * blur
            assert all(m.smear_px == (0, 0) for m in moments)


def test_whole_fields_share_no_film_and_overlapping_ones_much() -> None:
    def shared(style: str, seed: int) -> list[float]:
        rests = _rests(_path(style, seed=seed))
        return [_shared(a, b) for a, b in pairwise(rests)]

    for seed in range(5):
        assert max(shared("whole", seed)) == 0
        assert all(0.1 < share < 0.85 for share in shared("overlap", seed))
    assert max(max(shared("ordinary", seed)) for seed in range(5)) > 0.5  # a correction


def test_who_returns_sees_earlier_fields_again_and_who_does_not_does_not() -> None:
    def again(style: str) -> int:
        rests = _rests(_path(style, fields=16))
        return sum(_shared(a, b) > 0.5 for i, a in enumerate(rests) for b in rests[i + 3 :])

    assert again("returns") >= 3
    assert again("whole") == 0


def test_a_loop_comes_back_to_where_it_began() -> None:
    path = _path("ordinary", loop=True)
    first, last = path.at(0), path.at(path.frames - 1)
    assert path.at(path.frames) == first
    assert np.hypot(*np.subtract(first.corner_px, last.corner_px)) < 0.2 * SMALL[0]


def test_an_unknown_hand_is_named() -> None:
    with pytest.raises(ValueError, match="no hand moves like 'wild'"):
        _path("wild")


def test_the_simulated_camera_takes_its_hand_from_the_configuration() -> None:
    small = {"kind": "simulator", "fields": 5, "width_px": 480, "height_px": 360, "objective": 40, "seed": 2, "case": "CLL"}
    camera = SimulatorCamera(SimulatorSection(**small, hand="returns"), SystemClock())
    seen = [camera.truth(n).cell_ids.tolist() for n in range(0, 60, 12)]
    assert sum(map(len, seen)) > 0
    again = SimulatorCamera(SimulatorSection(**small, hand="returns"), SystemClock())
    assert [again.truth(n).cell_ids.tolist() for n in range(0, 60, 12)] == seen
    apart = SimulatorCamera(SimulatorSection(**small), SystemClock())
    assert [apart.truth(n).cell_ids.tolist() for n in range(0, 60, 12)] != seen
    with camera:
        assert camera.read().image.shape == (360, 480, 3)
