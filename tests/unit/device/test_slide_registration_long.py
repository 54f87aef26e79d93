"""Ten thousand fields: what is held stays small, and a frame at the end costs what one at the start does. Counted, not timed."""

from __future__ import annotations

import tracemalloc
from collections import Counter
from collections.abc import Iterator

import pytest

from device.slide.correlation import Correlator, compressed
from device.slide.keyframes import Key, Keyframe, KeyframeMap, encode
from device.slide.registration import Registration
from device.slide.search import BUDGET
from tests.support.patchwork import FRAME, SIZE, Ground

COLUMNS, STEP_X, STEP_Y = 100, 100, 60  # a serpentine of fields that share a third, px of the small picture
FIELDS = 10_000


def serpentine(first: int, last: int) -> Iterator[tuple[int, int]]:
    for field in range(first, last):
        row, column = divmod(field, COLUMNS)
        yield (column if row % 2 == 0 else COLUMNS - 1 - column) * STEP_X, row * STEP_Y


@pytest.fixture(scope="module")
def ground() -> Ground:
    return Ground()


@pytest.fixture
def work(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """Counts correlations, transforms, and keyframes looked up."""
    counted: Counter[str] = Counter()
    product, spectrum, near = Correlator._product, Correlator.spectrum, KeyframeMap.near

    def count_product(self: Correlator, *args: object) -> object:
        counted["correlations"] += 1
        return product(self, *args)  # type: ignore[arg-type]

    def count_spectrum(self: Correlator, *args: object) -> object:
        counted["transforms"] += 1
        return spectrum(self, *args)  # type: ignore[arg-type]

    def count_near(self: KeyframeMap, *args: object) -> object:
        found = near(self, *args)  # type: ignore[arg-type]
        counted["looked up"] += len(found)
        return found

    monkeypatch.setattr(Correlator, "_product", count_product)
    monkeypatch.setattr(Correlator, "spectrum", count_spectrum)
    monkeypatch.setattr(KeyframeMap, "near", count_near)
    return counted


def visited(ground: Ground, fields: int) -> list[Keyframe]:
    """Keyframes of the first fields of the serpentine, as a slide that far would have stored them."""
    kept = KeyframeMap(Correlator((SIZE[1], SIZE[0])), FRAME)
    for number, (x, y) in enumerate(serpentine(0, fields), 1):
        picture = ground.at(x, y)
        kept.put(Key(number, 1, x, y, picture.contrast, encode(compressed(picture.band, picture.contrast))))
    return [kept.stored(key) for key in kept]


def follow(registration: Registration, ground: Ground, first: int, last: int) -> int:
    """A resting frame at each field; how many were placed on the first chart."""
    fixes = [registration.observe(ground.at(x, y), True) for x, y in serpentine(first, last)]
    return sum(fix.place is not None and fix.place.chart == 1 for fix in fixes)


def test_ten_thousand_fields_hold_less_than_20_mb_and_cost_the_same_at_the_end(ground: Ground, work: Counter[str]) -> None:
    early = Registration()
    follow(early, ground, 0, 150)
    work.clear()
    assert follow(early, ground, 150, 450) == 300
    at_the_start = Counter(work)

    stored = visited(ground, FIELDS - 300)
    assert max(len(keyframe.picture) for keyframe in stored) < 2_500
    tracemalloc.start()
    late = Registration()
    late.restore(stored)
    held = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    pictures = sum(len(keyframe.picture) for keyframe in stored)  # the bytes themselves: restoring may share them
    assert follow(late, ground, FIELDS - 310, FIELDS - 300) == 10
    work.clear()
    assert follow(late, ground, FIELDS - 300, FIELDS) == 300
    for kind, count in at_the_start.items():
        assert work[kind] <= 1.1 * count, (kind, at_the_start, work)
    assert len(late.keyframes()) == FIELDS
    assert held < 20e6, f"{held / 1e6:.1f} MB, {pictures / 1e6:.1f} MB of it pictures"


def test_a_search_in_many_keyframes_is_spread_over_frames_and_joins_when_it_ends(ground: Ground, work: Counter[str]) -> None:
    registration = Registration()
    for x, y in serpentine(0, 450):
        registration.observe(ground.at(x, y), True)
    target = next(iter(serpentine(20, 21)))
    registration.observe(ground.at(900_000, 900_000), False)  # far away, in motion
    merged = 0
    states = []
    for _ in range(8):
        work.clear()
        fix = registration.observe(ground.at(target[0] + 7, target[1] + 5), True)
        states.append(fix.state)
        merged += len(fix.merged)
        assert work["correlations"] <= 1.2 * BUDGET + 10, work
        if merged or fix.state == "found again":
            break
    assert fix.place and fix.place.chart == 1
    assert abs(fix.place.x_px - (target[0] + 7) * 12) < 24 and abs(fix.place.y_px - (target[1] + 5) * 12) < 24
    assert states[0] in ("new chart", "found again") and len(states) > 1, "450 keyframes are more than one frame looks at"
