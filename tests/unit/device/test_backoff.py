"""Retry with backoff: pauses double, are capped, vary, and start over."""

from __future__ import annotations

from device.clock import Backoff


def test_pauses_double_are_capped_and_start_over() -> None:
    longest = Backoff(1.0, 60.0, rand=lambda: 0.0)
    assert [longest.next_s() for _ in range(8)] == [1, 2, 4, 8, 16, 32, 60, 60]
    longest.reset()
    assert longest.next_s() == 1
    shortest = Backoff(1.0, 60.0, jitter=0.5, rand=lambda: 1.0)
    assert [shortest.next_s() for _ in range(3)] == [0.5, 1, 2]
    for _ in range(10_000):
        longest.next_s()
    assert longest.next_s() == 60


def test_pauses_vary_by_no_more_than_the_jitter() -> None:
    slight = Backoff(1.0, 1.0, jitter=0.25)
    pauses = [slight.next_s() for _ in range(5000)]
    assert 0.75 <= min(pauses) < 0.76 and 0.99 < max(pauses) <= 1.0
    assert len(set(pauses)) > 4000
    steady = Backoff(0.1, 5.0, jitter=0.0)
    assert [steady.next_s() for _ in range(3)] == [0.1, 0.2, 0.4]


def test_full_jitter_is_anywhere_below_the_doubled_pause() -> None:
    firsts = sorted(Backoff(4.0, 60.0).next_s() for _ in range(4000))
    assert firsts[0] < 0.05 and firsts[-1] > 3.95 and 1.8 < firsts[2000] < 2.2


def test_a_thousand_that_lose_one_broker_come_back_over_the_whole_cap() -> None:
    backoffs = [Backoff(1.0, 60.0) for _ in range(1000)]
    firsts = [backoff.spread_s() for backoff in backoffs]
    busiest = max(sum(at <= first < at + 1.0 for first in firsts) for at in range(60))
    assert max(firsts) > 55 and busiest < 45  # 17 a second on average; without spreading all 1,000
    seconds = [backoff.next_s() for backoff in backoffs]
    assert max(seconds) > 55 and sum(seconds) / len(seconds) > 25  # nor do those that failed once more press it
    backoffs[0].reset()
    assert backoffs[0].next_s() <= 1.0
