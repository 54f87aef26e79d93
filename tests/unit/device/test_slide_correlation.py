"""Correlation against its definition, and what is believed of it."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from device.slide.acceptance import ENOUGH, FAR_EVIDENCE, Acceptance
from device.slide.correlation import FLOOR_SHARES, Correlator, compressed, evidence, floor_curve, likeness_of
from device.slide.keyframes import Key, KeyframeError, KeyframeMap, decode, encode, frame_size
from engines.detections import Float32

SHAPE = (60, 80)


def texture(seed: int, shape: tuple[int, int] = (240, 320)) -> Float32:
    noise = np.random.default_rng(seed).normal(0, 1, shape).astype(np.float32)
    smooth = cv2.GaussianBlur(noise, (0, 0), 1.5) - cv2.GaussianBlur(noise, (0, 0), 6.0)
    return np.asarray(smooth / smooth.std(), np.float32)


def part(plane: Float32, x: int, y: int) -> Float32:
    piece = plane[y : y + SHAPE[0], x : x + SHAPE[1]]
    return np.asarray(piece - piece.mean(), np.float32)


def by_definition(a: Float32, b: Float32, x: int, y: int) -> float:
    (height, width), top, left = a.shape, max(0, -y), max(0, -x)
    p = a[top : height - max(0, y), left : width - max(0, x)].astype(np.float64)
    q = b[top + y : height - max(0, y) + y, left + x : width - max(0, x) + x].astype(np.float64)
    return float((p * q).sum() / np.sqrt((p * p).sum() * (q * q).sum()))


@pytest.mark.parametrize(("x", "y"), [(0, 0), (13, 22), (-40, 9), (25, -31), (-31, -20), (50, 5)])
def test_scores_are_the_normalised_correlation_of_the_common_part(x: int, y: int) -> None:
    plane = texture(1)
    correlator = Correlator(SHAPE)
    first, second = part(plane, 100, 80), part(plane, 100 - x, 80 - y)
    match = correlator.match(correlator.spectrum(first), correlator.spectrum(second))
    assert (round(match.x), round(match.y)) == (x, y) and match.accepted
    assert match.likeness == pytest.approx(by_definition(first, second, x, y), abs=1e-4)
    assert match.share == pytest.approx(correlator.share(x, y), abs=1e-6)
    near = correlator.match_near(correlator.spectrum(first), correlator.spectrum(second), x + 3, y - 3, 5)
    assert near.likeness == pytest.approx(match.likeness, abs=1e-5)
    assert np.hypot(near.x - match.x, near.y - match.y) < 1e-3


def test_a_shift_between_pixels_is_found_to_a_tenth_of_one() -> None:
    plane = texture(2)
    moved = cv2.warpAffine(plane, np.array([[1, 0, 0.5], [0, 1, -0.25]], np.float64), (320, 240), flags=cv2.INTER_CUBIC)
    correlator = Correlator(SHAPE)
    first, second = correlator.spectrum(part(plane, 100, 80)), correlator.spectrum(part(np.asarray(moved, np.float32), 100, 80))
    match = correlator.match(first, second)
    assert match.x == pytest.approx(0.5, abs=0.1) and match.y == pytest.approx(-0.25, abs=0.1)


def test_a_window_outside_the_picture_finds_nothing() -> None:
    correlator = Correlator(SHAPE)
    spectrum = correlator.spectrum(part(texture(3), 0, 0))
    assert not correlator.match_near(spectrum, spectrum, 400, 0, 5).accepted


def test_unlike_pictures_and_too_small_an_overlap_are_not_believed() -> None:
    correlator = Correlator(SHAPE)
    plane = texture(4)
    a = correlator.spectrum(part(plane, 0, 0))
    assert not correlator.match(a, correlator.spectrum(part(plane, 200, 150))).accepted
    sliver = part(plane, SHAPE[1] - 6, 0)  # six columns in common
    assert not correlator.match(a, correlator.spectrum(sliver)).accepted


def test_a_smeared_step_has_a_wide_peak_and_a_sharp_one_has_not() -> None:
    plane = texture(5)
    smeared = np.asarray(cv2.blur(plane, (61, 1)), np.float32)
    correlator = Correlator(SHAPE)

    def spread(of: Float32) -> int:
        return correlator.match(correlator.spectrum(part(of, 100, 80)), correlator.spectrum(part(of, 70, 80))).spread

    assert spread(plane) <= 3
    assert spread(smeared) >= 6


def test_compression_keeps_the_ground_and_takes_the_power_from_single_dark_spots() -> None:
    band = part(texture(6), 50, 50)
    band[20:24, 30:34] -= 30
    flat = compressed(band, float(band.std()))
    assert abs(flat).max() < 1.1 and abs(flat.mean()) < 1e-5
    assert (flat[20:24, 30:34] ** 2).sum() / (flat**2).sum() < 0.5 * (band[20:24, 30:34] ** 2).sum() / (band**2).sum()


def test_the_floor_asks_more_of_less_overlap() -> None:
    assert [round(float(floor_curve(share)), 2) for share in (0.12, 0.2, 0.3, 0.5, 1.0)] == [0.8, 0.65, 0.52, 0.45, 0.45]
    assert float(floor_curve(FLOOR_SHARES[0] - 0.01)) > 1
    assert float(likeness_of(float(evidence(0.6, 0.3)), 0.3)) == pytest.approx(0.6)


def test_a_slide_raises_the_curve_but_never_below_the_floor() -> None:
    correlator = Correlator(SHAPE)
    floor = correlator.curve.copy()
    correlator.raise_curve(0.05)
    assert (correlator.curve == floor).all()
    correlator.raise_curve(0.45)
    assert (correlator.curve >= floor).all() and (correlator.curve > floor).any()


def test_too_few_pairs_leave_the_fixed_curve() -> None:
    acceptance = Acceptance()
    for _ in range(ENOUGH - 1):
        acceptance.learn(0.4)
    assert not acceptance.of_the_slide and acceptance.step == 0.0 and acceptance.far(1000) == FAR_EVIDENCE
    acceptance.learn(0.4)
    assert acceptance.of_the_slide and acceptance.pairs == ENOUGH and acceptance.step == pytest.approx(0.4)


def test_more_tries_and_a_slide_of_chance_likeness_need_more_evidence() -> None:
    rng = np.random.default_rng(7)
    usual, alike = Acceptance(), Acceptance()
    for value in rng.gumbel(0.16, 0.015, 100):
        usual.learn(float(value))
        alike.learn(float(value) + 0.25)
    assert usual.far(200) == FAR_EVIDENCE
    assert FAR_EVIDENCE < alike.far(10) < alike.far(1000) <= 0.7


def test_keyframes_come_back_from_their_bytes_and_are_found_by_place() -> None:
    correlator = Correlator((90, 160))
    kept = KeyframeMap(correlator, (1920, 1080))
    band = compressed(texture(8, (90, 160)), 1.0)
    kept.put(Key(1, 1, 10.0, 20.0, 7.5, encode(band)))
    kept.put(Key(2, 1, 500.0, 20.0, 7.5, encode(band)))
    stored = [kept.stored(key) for key in kept]
    assert frame_size(stored[0].picture) == (1920, 1080) and (stored[0].x_px, stored[0].y_px) == (120.0, 240.0)
    again = KeyframeMap(Correlator((90, 160)), (1920, 1080))
    for keyframe in stored:
        again.restore(keyframe)
    assert [again.stored(key) for key in again] == stored
    assert np.corrcoef(again.half_band(again[1]).ravel(), cv2.resize(band, (80, 45), interpolation=cv2.INTER_AREA).ravel())[0, 1] > 0.97
    assert [key.number for _, key in again.near(1, 0.0, 0.0)] == [1] and not again.near(2, 0.0, 0.0)
    moved = again.move_chart(1, 3, 500.0, 0.0)
    assert [key.number for key in moved] == [1, 2] and again.charts == (3,)
    assert [key.number for _, key in again.near(3, 500.0, 20.0)] == [1]


@pytest.mark.parametrize("picture", [b"", b"LKF1", b"LKF1" + bytes(12) + b"x" * 20, b"nothing of the kind, but long enough"])
def test_bytes_that_are_no_keyframe_are_refused(picture: bytes) -> None:
    with pytest.raises(KeyframeError, match="keyframe"):
        frame_size(picture)


def test_a_picture_that_does_not_decode_is_refused() -> None:
    with pytest.raises(KeyframeError, match="no picture"):
        decode(b"\xff\xd8 no more than this")
