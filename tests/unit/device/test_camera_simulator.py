"""The rendered slide as a camera, and the perfect stand-in engine that answers with its truth."""

from __future__ import annotations

from datetime import datetime, timezone
from itertools import pairwise
from typing import Any

import cv2
import numpy as np
import pytest
from truth_engine import TruthEngine, TruthfulSimulator, as_detections, field_frames

from device.camera.base import CameraState, Frame
from device.camera.capture import Capture
from device.camera.factory import open_camera
from device.errors import EndOfSourceError
from device.settings.config import SimulatorCamera as SimulatorSection
from engines.errors import InferenceError
from engines.film.morphology import ATTRIBUTES
from engines.runtime.base import Engine
from engines.taxonomy import LEUKEMIA_ATTRI


class HandClock:
    """Time that moves only by sleeping."""

    def __init__(self) -> None:
        self.time_s = 100.0

    def monotonic_s(self) -> float:
        return self.time_s

    def now(self) -> datetime:
        return datetime.fromtimestamp(1_800_000_000 + self.time_s, timezone.utc)

    def sleep(self, seconds: float) -> None:
        self.time_s += seconds


def _section(**keys: Any) -> SimulatorSection:
    small = {"kind": "simulator", "seed": 11, "case": "ALL", "objective": 40, "width_px": 480, "height_px": 360, "fields": 3}
    return SimulatorSection(**{**small, **keys})


@pytest.fixture(scope="module")
def shown() -> tuple[TruthfulSimulator, list[Frame]]:
    """A whole path of three small fields; the camera is closed, its truth can still be asked."""
    camera = TruthfulSimulator(_section(), HandClock())
    frames = []
    with camera:
        while True:
            try:
                frames.append(camera.read())
            except EndOfSourceError:
                break
    return camera, frames


def test_the_path_is_shown_once_and_then_ends(shown: tuple[TruthfulSimulator, list[Frame]]) -> None:
    camera, frames = shown
    assert [f.sequence for f in frames] == list(range(camera.path.frames))
    assert all(f.image.shape == (360, 480, 3) and f.image.dtype == np.uint8 for f in frames)
    assert "rendered" in camera.name and "simulator" in camera.name
    assert not camera.live


def test_a_narrower_frame_shows_as_much_film_in_larger_pixels() -> None:
    """As a camera that is set to fewer pixels does, and as a profile's scale for a width supposes."""
    size = {}
    for width, height in ((1920, 1080), (480, 270)):
        (field,) = TruthfulSimulator(_section(width_px=width, height_px=height, fields=1), HandClock()).truth_of_path()
        whole = field.visible == 1.0
        wide = field.boxes_px[whole, 2] - field.boxes_px[whole, 0]
        size[width] = dict(zip(field.cell_ids[whole].tolist(), wide.tolist(), strict=True))
    both = sorted(size[1920].keys() & size[480].keys())
    assert len(both) >= 5
    assert [size[1920][cell] for cell in both] == pytest.approx([4 * size[480][cell] for cell in both], rel=0.05)


def test_every_frame_differs_even_at_rest(shown: tuple[TruthfulSimulator, list[Frame]]) -> None:
    _, frames = shown
    assert len({f.image.tobytes() for f in frames}) == len(frames)


def test_moving_frames_differ_far_more_than_resting_ones(shown: tuple[TruthfulSimulator, list[Frame]]) -> None:
    camera, frames = shown
    small = [cv2.blur(f.image, (5, 5)).astype(float) for f in frames]
    change = [np.abs(b - a).mean() for a, b in pairwise(small)]
    path = camera.path
    at_rest = [change[n] for i in range(3) for n in field_frames(path, i)[6:-1]]
    moving = [change[n] for n in range(1, path.frames - 2) if path.at(n).field is None and path.at(n + 1).field is None]
    assert max(at_rest) * 2 < min(moving)


def test_focus_rises_as_the_field_is_focused(shown: tuple[TruthfulSimulator, list[Frame]]) -> None:
    camera, frames = shown
    for index in range(3):
        numbers = field_frames(camera.path, index)
        sharpness = [float(cv2.Laplacian(cv2.GaussianBlur(frames[n].image, (5, 5), 1.2), cv2.CV_64F).var()) for n in numbers]
        assert sharpness[0] < 0.7 * sharpness[-1]


def test_frames_keep_the_configured_pace(shown: tuple[TruthfulSimulator, list[Frame]]) -> None:
    _, frames = shown
    assert np.allclose(np.diff([f.captured_s for f in frames]), 0.1)


def test_the_same_section_gives_the_same_frames(shown: tuple[TruthfulSimulator, list[Frame]]) -> None:
    _, frames = shown
    again = TruthfulSimulator(_section(), HandClock())
    with again:
        assert all(np.array_equal(again.read().image, frames[n].image) for n in range(3))


def test_truth_lies_on_dark_cells(shown: tuple[TruthfulSimulator, list[Frame]]) -> None:
    camera, frames = shown
    checked = 0
    for index in range(3):
        number = field_frames(camera.path, index)[-1]
        truth = camera.truth(number)
        image = frames[number].image
        background = np.median(image[..., 1])
        for (x0, y0, x1, y1), code in zip(truth.boxes_px, truth.classes, strict=True):
            if code == 0:
                continue  # artefacts may be pale
            x, y, w, h = (x0 + x1) / 2, (y0 + y1) / 2, (x1 - x0) / 4, (y1 - y0) / 4
            middle = image[int(y - h) : int(y + h) + 1, int(x - w) : int(x + w) + 1, 1]
            assert middle.mean() < 0.75 * background
            checked += 1
    assert checked >= 3


def test_what_a_perfect_counter_finds(shown: tuple[TruthfulSimulator, list[Frame]]) -> None:
    camera, frames = shown
    fields = camera.truth_of_path()
    assert len(fields) == 3
    ids = np.concatenate([f.cell_ids for f in fields])
    assert len(set(ids.tolist())) == len(ids) > 0
    assert all((f.visible >= 0.5).all() for f in fields)
    assert len(frames) == camera.path.frames


def test_the_stand_in_engine_answers_with_the_truth_of_that_very_picture(shown: tuple[TruthfulSimulator, list[Frame]]) -> None:
    camera, frames = shown
    engine: Engine = TruthEngine(camera)
    with engine:
        for frame in frames[-20:]:
            truth = camera.truth(frame.sequence)
            found = engine.infer(frame.image.copy()).detections
            assert np.array_equal(found.boxes_px, truth.boxes_px)
            assert np.array_equal(found.classes, truth.classes)
            assert (found.scores == 1.0).all()
        altered = frames[-1].image.copy()
        altered[0, 0, 0] ^= 1
        with pytest.raises(InferenceError, match="stand-in"):
            engine.infer(altered)


def test_the_stand_in_says_openly_what_it_is() -> None:
    info = TruthEngine(TruthfulSimulator(_section(), HandClock())).info
    assert "stand-in" in info.label and "no network" in info.name
    assert info.taxonomy is LEUKEMIA_ATTRI


def test_truth_as_detections_is_one_hot_and_unknown_for_artefacts(shown: tuple[TruthfulSimulator, list[Frame]]) -> None:
    camera, _ = shown
    for truth in camera.truth_of_path():
        found = as_detections(truth, LEUKEMIA_ATTRI)
        for row, codes, code in zip(found.attributes, truth.attributes, truth.classes, strict=True):
            if code == 0:
                assert np.isnan(row).all()
                continue
            groups = {a.key: group for a, group in zip(LEUKEMIA_ATTRI.attributes, LEUKEMIA_ATTRI.groups, strict=True)}
            for (key, _), value in zip(ATTRIBUTES, codes, strict=True):
                group = groups[key]
                assert row[group].sum() == 1.0 and row[group].argmax() == value


def test_through_the_capture_thread_no_frame_is_lost_and_every_cell_is_found_once() -> None:
    """A slow consumer that looks at the last resting frame of each field counts exactly the truth of the path."""
    camera = TruthfulSimulator(_section(), HandClock())
    engine = TruthEngine(camera)
    counted: dict[int, list[int]] = {}
    sequences = []
    with Capture(lambda: camera, HandClock(), fail_fast=True) as capture:
        while (frame := capture.newest(60.0)) is not None:
            sequences.append(frame.sequence)
            field = camera.path.at(frame.sequence).field
            if field is not None:
                counted[field] = engine.infer(frame.image).detections.classes.tolist()
        assert capture.status.state is CameraState.ENDED
    assert sequences == list(range(camera.path.frames))
    assert [counted[i] for i in range(3)] == [truth.classes.tolist() for truth in camera.truth_of_path()]


def test_a_loop_goes_on_past_the_last_field() -> None:
    camera = TruthfulSimulator(_section(objective=100, fields=1, width_px=320, height_px=240, loop=True), HandClock())
    with camera:
        numbers = [camera.read().sequence for _ in range(camera.path.frames + 2)]
    assert numbers == list(range(camera.path.frames + 2))


def test_the_factory_gives_the_simulator_live_where_asked() -> None:
    assert open_camera(_section(live=True), HandClock()).live
