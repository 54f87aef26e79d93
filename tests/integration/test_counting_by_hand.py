"""Rendered film read by a hand, with a perfect engine: no cell twice, none missed, no wrong place. docs/counting.md has it in full."""

from __future__ import annotations

from functools import reduce
from operator import add
from pathlib import Path

import pytest

from device.camera.hand import STYLES
from tests.support.hand_count import Tally, count, dimmed, dusted
from tests.support.hand_reading import HandReading

pytestmark = pytest.mark.integration

MOST_DOUBLES, MOST_MISSED = 0.005, 0.01


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Readings that were rendered once."""
    return tmp_path_factory.mktemp("readings")


def hold(tally: Tally) -> None:
    """The bars."""
    assert tally.doubles <= MOST_DOUBLES * (tally.counted - tally.doubles)
    assert tally.missed <= MOST_MISSED * tally.seen
    assert tally.wrong == 0


def test_every_hand_counts_every_cell_once_at_100x(kept: Path) -> None:
    tallies = [count(HandReading(style, seed=2, fields=8, cache=kept))[0] for style in STYLES]
    total = reduce(add, tallies)
    assert total.seen > 100 and total.fields > 40
    hold(total)


def test_so_it_does_at_40x_where_cells_are_small_and_many(kept: Path) -> None:
    tally, slide = count(HandReading("returns", seed=1, objective=40, fields=6, cache=kept))
    assert tally.seen > 100
    hold(tally)
    assert sum(len(field.seen) for field in slide.fields) > 0.2 * tally.counted, "the hand did show cells again"


@pytest.mark.parametrize("style", ["returns", "overlap"])
def test_light_that_changes_and_dust_on_the_sensor_change_no_count(kept: Path, style: str) -> None:
    reading = HandReading(style, seed=2, fields=8, cache=kept)
    plain, _ = count(reading)
    dim, dust = dimmed(plain.frames // 2), dusted()
    changed, _ = count(reading, lambda number, image: dust(number, dim(number, image)))
    hold(changed)
    assert changed.counted == plain.counted and changed.charts == 1


@pytest.mark.parametrize("style", ["returns", "overlap"])
def test_without_any_moving_frame_what_is_shown_again_is_known(kept: Path, style: str) -> None:
    tally, slide = count(HandReading(style, seed=2, fields=8, cache=kept), skip_ways=True)
    assert tally.joinable == 0 and tally.missed == 0 and tally.wrong == 0
    assert tally.doubles <= slide.possible_doubles
