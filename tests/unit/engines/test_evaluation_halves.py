"""Intervals from halves of the patients: what they are worked out by hand, and how often they hold the truth on simulated patients."""

from __future__ import annotations

import math

import numpy as np
import pytest
from simulated_patients import World, simulate

from engines.evaluation.halves import half_interval, half_samples
from engines.evaluation.shares import t_quantile


@pytest.mark.parametrize(("units", "sizes"), [(2, {1}), (3, {1, 2}), (12, {6}), (13, {6, 7})])
def test_each_half_is_followed_by_the_other(units: int, sizes: set[int]) -> None:
    halves = half_samples(units, 40, seed=3)
    assert halves.shape == (40, units) and set(np.unique(halves)) == {0, 1}
    np.testing.assert_array_equal(halves[::2] + halves[1::2], np.ones((20, units)))
    assert set(halves.sum(1).astype(int)) == sizes
    np.testing.assert_array_equal(halves, half_samples(units, 40, seed=3))
    assert units < 4 or (halves != half_samples(units, 40, seed=4)).any()
    assert half_samples(units, 5, seed=3).shape == (5, units) and half_samples(1, 4, seed=0).tolist() == [[1]] * 4


def test_of_a_mean_over_patients_it_is_students_interval() -> None:
    """The mean of 12 patients' values: halves spread as the textbook's standard error says, and move nothing."""
    each = np.array([0.41, 0.52, 0.47, 0.55, 0.5, 0.44, 0.58, 0.49, 0.53, 0.46, 0.51, 0.54])
    halves = half_samples(12, 20000, seed=0)
    values = np.concatenate(([each.mean()], halves @ each / halves.sum(1)))
    value, low, high, used = half_interval(values[None], halves)
    half = t_quantile(11) * each.std(ddof=1) / math.sqrt(12)
    assert value == each.mean() and used == 20000
    assert (low, high) == pytest.approx((value - half, value + half), abs=0.001)


def test_what_halves_score_too_well_moves_the_interval() -> None:
    halves = half_samples(8, 400, seed=1)
    spread = np.where(np.arange(400) % 2, 0.02, -0.02)
    value, low, high, _ = half_interval(np.concatenate(([0.5], 0.53 + spread))[None], halves)
    still, its_low, its_high, _ = half_interval(np.concatenate(([0.5], 0.5 + spread))[None], halves)
    half = t_quantile(7) * 0.02
    assert value == still == 0.5 and low < value < high
    # By .03, but by no more than half of its half width, so that the value stays inside.
    assert (low + high) / 2 == pytest.approx(0.5 - min(0.03, half / 2), abs=0.001)
    assert (its_low, its_high) == pytest.approx((0.5 - half, 0.5 + half), abs=0.001)


def test_types_that_few_patients_hold_vary_as_the_others() -> None:
    """A type of one patient alone scores the same in every half that has it: it must not look sure for that."""
    halves = half_samples(10, 400, seed=2)
    rng = np.random.default_rng(0)
    common = np.concatenate(([0.5], rng.normal(0.5, 0.05, 400)))
    rare = np.where(np.concatenate(([1.0], halves[:, 0])) > 0, 0.5, np.nan)
    both = np.stack((common, rare))
    value, *told, used = half_interval(both, halves, holds=np.array([10, 1]))
    _, *blind, _ = half_interval(both, halves)
    assert value == 0.5 and used == 400, "a half without the type takes its score from another half"
    assert told[1] - told[0] > 2 * (blind[1] - blind[0])


@pytest.mark.parametrize(
    ("units", "value", "top", "limits"),
    [
        (13, 1.0, 1.0, (0.025 ** (1 / 13), 1.0)),
        (13, 0.0, 1.0, (0.0, 1 - 0.025 ** (1 / 13))),
        (13, 0.0, 100.0, (0.0, 100 * (1 - 0.025 ** (1 / 13)))),
        (13, 0.0, math.inf, (0.0, 1 - 0.025 ** (1 / 13))),
    ],
)
def test_a_score_at_its_end_is_as_sure_as_so_many_patients(units: int, value: float, top: float, limits: tuple[float, float]) -> None:
    halves = half_samples(units, 20, seed=0)
    found = half_interval(np.full((1, 21), value), halves, top=top)
    assert found[0] == value and found[1:3] == pytest.approx(limits)


def test_one_patient_leaves_nearly_all_open_and_no_half_gives_none() -> None:
    value, low, high, _ = half_interval(np.full((1, 11), 0.6), half_samples(1, 10, seed=0))
    assert low < 0.2 < value < 0.95 < high
    lacking = half_interval(np.array([[0.6, np.nan, np.nan]]), half_samples(4, 2, seed=0))
    assert lacking[0] == 0.6 and np.isnan(lacking[1:3]).all() and lacking[3] == 0
    assert math.isnan(half_interval(np.full((1, 3), np.nan), half_samples(4, 2, seed=0))[0])


def test_intervals_hold_the_truth_of_simulated_patients() -> None:
    """The short form of tests/support/simulated_patients.py; docs/bundles.md has the figures of the long one, of 200 simulations."""
    counts = simulate(World(pictures=4), patients=13, simulations=16, draws=60, endless=300)
    assert len(counts) == 10
    for name, one in counts.items():
        assert one.inside == 1, name
        assert one.covered >= 13 / 16 and one.covered_own_size >= 13 / 16, (name, one.covered, one.covered_own_size)
    assert np.mean([one.covered for one in counts.values()]) > 0.88
    assert all(one.width < 0.4 for one in counts.values()), "an interval of everything would hold everything"
