"""Exact intervals against printed tables, and the rule of three."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engines.intervals import exact_interval


@pytest.mark.parametrize(
    ("count", "total", "low", "high"),
    [
        (1, 10, 0.0025, 0.4450),  # Clopper and Pearson's limits as printed in textbooks
        (5, 10, 0.1871, 0.8129),
        (20, 100, 0.1267, 0.2918),  # Rümke's table, read for differentials of 100 cells: 20 % is 12 to 30 %
        (45, 50, 0.7819, 0.9667),
        (199, 200, 0.9725, 0.9999),
    ],
)
def test_limits_are_those_of_the_tables(count: int, total: int, low: float, high: float) -> None:
    assert exact_interval(count, total) == (pytest.approx(low, abs=6e-5), pytest.approx(high, abs=6e-5))


def test_a_zero_has_an_upper_limit_of_three_in_n_and_is_exact_for_few() -> None:
    assert exact_interval(0, 1)[1] == pytest.approx(0.95)
    assert exact_interval(0, 10)[1] == pytest.approx(0.2589, abs=1e-4)
    assert exact_interval(0, 300)[1] == pytest.approx(3 / 300, rel=0.01)
    assert exact_interval(300, 300)[0] == pytest.approx(1 - exact_interval(0, 300)[1])
    assert exact_interval(0, 0) == (0, 1)


def test_what_is_no_share_is_refused() -> None:
    with pytest.raises(ValueError, match="3 of 2"):
        exact_interval(3, 2)


@given(st.integers(1, 2000).flatmap(lambda total: st.tuples(st.integers(0, total), st.just(total))))
@settings(deadline=None, max_examples=30)
def test_a_range_holds_its_share_and_mirrors(pair: tuple[int, int]) -> None:
    count, total = pair
    low, high = exact_interval(count, total)
    assert 0 <= low <= count / total + 1e-9
    assert count / total - 1e-9 <= high <= 1
    assert exact_interval(total - count, total) == pytest.approx((1 - high, 1 - low), abs=1e-9)
