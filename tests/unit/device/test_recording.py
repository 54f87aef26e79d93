"""Frames kept for a calibration set: which are due, how they lie on disk, and that no slow or full disk holds up the count."""

from __future__ import annotations

import hashlib
import json
import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta, timezone
from pathlib import Path

import cv2
import numpy as np
import pytest

from calibration.int8.frames import pictures_in
from device.camera.base import Frame
from device.errors import ConfigError, StoreError
from device.mqtt.payloads import SourceProvenance
from device.settings.config import FramesSection
from device.slide.counting import FieldsChanged, Observation
from device.slide.model import Field
from device.store.recording import INDEX, FrameRecorder
from engines.data.layout import patient_of
from engines.runtime.base import EngineInfo
from engines.taxonomy import LEUKEMIA_ATTRI
from tests.support.provenance import REPLAY, provenance

NOW = datetime(2026, 11, 23, 18, 15, 12, tzinfo=timezone.utc)
SLIDE = "20261123-181512-4f9a2c"
REST = Observation(resting=True, field_counted=True, blank=False)
MOVING = Observation(resting=False, field_counted=False, blank=False)


@dataclass
class HandClock:
    """A clock that the test moves."""

    seconds: float = 100.0

    def monotonic_s(self) -> float:
        return self.seconds

    def now(self) -> datetime:
        return NOW + timedelta(seconds=self.seconds)

    def sleep(self, seconds: float) -> None:
        self.seconds += seconds


def counted(index: int) -> Observation:
    """A field, by a frame a little before the one that is offered with it."""
    field = Field(index, NOW, "a patient's name.png", (64, 48), 0.9, ())
    return replace(REST, event=FieldsChanged(field, new=True, image=frame(index).image))


def frame(seed: int) -> Frame:
    image = np.random.default_rng(seed).integers(0, 255, (48, 64, 3), dtype=np.uint8)
    return Frame(image, seed, 0.0, NOW, "a patient's name.png")


def recorder(
    folder: Path, clock: HandClock | None = None, free: Callable[[Path], float] = lambda _: 1e6, **keys: object
) -> FrameRecorder:
    info = EngineInfo("stand-in", "0", "0" * 64, "none", "exact", (640, 640), LEUKEMIA_ATTRI, 0.25)
    made = provenance(info, source=SourceProvenance.of(REPLAY, "/clinic/a patient's folder/pictures"))
    return FrameRecorder(FramesSection.model_validate(keys), folder, made, clock or HandClock(), free)


def lines(folder: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in (folder / INDEX).read_text().splitlines()]


def test_each_counted_field_and_at_a_pace_the_resting_stage(tmp_path: Path) -> None:
    clock = HandClock()
    with recorder(tmp_path, clock, every_s=5) as kept:
        for seed, (observation, seconds) in enumerate(
            [
                (MOVING, 9),
                (counted(1), 1),  # kept
                (REST, 4),  # 1 s after the field: not yet
                (REST, 2),  # 5 s: kept
                (replace(REST, event=FieldsChanged(Field(1, NOW, "", (64, 48), 1.2, ()))), 1),  # 2 s: not yet
                (counted(2), 9),  # a field is always kept
                (replace(REST, blank=True), 9),  # the lamp is off
                (MOVING, 9),
                (REST, 1),  # kept
            ]
        ):
            kept.offer(frame(seed), SLIDE, observation, 0.5 + seed)
            clock.sleep(seconds)
    assert [(line["name"], line["field"], line["sharpness"]) for line in lines(tmp_path)] == [
        (f"{SLIDE}_00001_counted.png", 1, 0.9),
        (f"{SLIDE}_00002_rest.png", None, 3.5),
        (f"{SLIDE}_00003_counted.png", 2, 0.9),
        (f"{SLIDE}_00004_rest.png", None, 8.5),
    ]
    assert (kept.status.kept, kept.status.passed_over, kept.status.reason) == (4, 0, "")


def test_frames_are_kept_to_the_last_bit_and_say_nothing_of_a_patient(tmp_path: Path) -> None:
    with recorder(tmp_path / "new" / "frames") as kept:
        kept.offer(frame(3), SLIDE, counted(7), 0.9)
    (path,) = pictures_in(tmp_path / "new" / "frames")
    assert np.array_equal(cv2.imread(str(path)), frame(7).image)
    (line,) = lines(path.parent)
    assert line["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
    assert (line["slide_id"], line["camera"], line["simulated"], line["width_px"]) == (SLIDE, "pictures", False, 64)
    assert (line["calibration"], line["captured_at"]) == ("zzcat-5mp 1 100x (nominal)", NOW.isoformat())
    assert "patient" not in json.dumps(line) + path.name and patient_of(path.name) is None
    assert {p.name for p in path.parent.iterdir()} == {path.name, INDEX}


def test_a_folder_with_frames_is_continued(tmp_path: Path) -> None:
    for seed in (1, 2):
        with recorder(tmp_path) as kept:
            kept.offer(frame(seed), SLIDE, counted(seed), 0.9)
    assert [line["name"] for line in lines(tmp_path)] == [f"{SLIDE}_00001_counted.png", f"{SLIDE}_00002_counted.png"]
    assert np.array_equal(cv2.imread(str(tmp_path / f"{SLIDE}_00001_counted.png")), frame(1).image)


def test_half_a_line_left_by_a_power_cut_is_cut_off(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with recorder(tmp_path) as kept:
        kept.offer(frame(1), SLIDE, counted(1), 0.9)
    with (tmp_path / INDEX).open("a") as file:
        file.write('{"name": "half')
    with recorder(tmp_path) as kept:
        kept.offer(frame(2), SLIDE, counted(2), 0.9)
    assert [line["field"] for line in lines(tmp_path)] == [1, 2]
    assert "last line was torn" in caplog.text


def test_a_slow_disk_never_holds_the_pipeline_up(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    goes_on = threading.Event()

    def hangs(_: Path) -> float:
        assert goes_on.wait(30)
        return 1e6

    with recorder(tmp_path, free=hangs) as kept:
        for seed in range(9):  # returns although nothing can be written
            kept.offer(frame(seed), SLIDE, counted(seed), 0.9)
        assert 4 <= kept.status.passed_over <= 5  # one may be with the writer, four wait
        passed_over = kept.status.passed_over
        goes_on.set()
    assert kept.status.kept == len(lines(tmp_path)) == 9 - passed_over
    assert f"{9 - passed_over} frames recorded in {tmp_path}, {passed_over} that were due were not" in caplog.text


def test_a_nearly_full_disk_is_told_and_recording_goes_on_when_there_is_room(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    free = [5000.0]
    with recorder(tmp_path, free=lambda _: free[0], min_free_mb=1000) as kept:
        for index, megabytes in enumerate((5000.0, 900.0, 900.0, 1000.0)):
            free[0] = megabytes
            kept.offer(frame(index), SLIDE, counted(index), 0.9)
            until(lambda index=index: kept.status.kept + kept.status.passed_over == index + 1)
            until(lambda low=megabytes < 1000: ("only 900 MB free" in kept.status.reason) == low)
    assert [line["field"] for line in lines(tmp_path)] == [0, 3]
    assert caplog.text.count("only 900 MB free") == 1 and "frames are recorded again" in caplog.text


def until(holds: Callable[[], bool]) -> None:
    waited = threading.Event()
    for _ in range(3000):
        if holds():
            return
        waited.wait(0.01)
    pytest.fail("never came")


def test_a_disk_that_fails_is_told(tmp_path: Path) -> None:
    def gone(_: Path) -> float:
        raise StoreError("its disk is not mounted")

    with recorder(tmp_path, free=gone) as kept:
        kept.offer(frame(1), SLIDE, counted(1), 0.9)
    assert "its disk is not mounted" in kept.status.reason and kept.status.passed_over == 1
    folder = tmp_path / "taken away"
    with recorder(folder) as kept:
        (folder / INDEX).unlink()
        folder.rmdir()
        kept.offer(frame(1), SLIDE, counted(1), 0.9)
    assert "no such file or directory" in kept.status.reason and kept.status.kept == 0


def test_as_many_as_wanted_are_enough(tmp_path: Path) -> None:
    for _ in range(2):
        with recorder(tmp_path, most_frames=3) as kept:
            for seed in range(2):
                kept.offer(frame(seed), SLIDE, counted(seed), 0.9)
    assert kept.status.complete and len(pictures_in(tmp_path)) == 3 and kept.status.passed_over == 0


def test_a_folder_that_cannot_be_made_is_named_at_the_start(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match=r"file/frames: frames cannot be recorded here \(Not a directory\)"):
        recorder(tmp_path / "file" / "frames").__enter__()
