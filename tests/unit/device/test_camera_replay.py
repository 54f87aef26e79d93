"""Folders and video files as a camera, with real files, good and bad."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image

from device.camera.base import Frame
from device.camera.factory import open_camera
from device.camera.replay import ReplayCamera
from device.errors import CameraError, EndOfSourceError
from device.settings.config import ReplayCamera as ReplaySection


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


def _camera(source: Path | str, clock: HandClock | None = None, **keys: Any) -> ReplayCamera:
    return ReplayCamera(ReplaySection(kind="replay", source=str(source), **{"hold_frames": 1, **keys}), clock or HandClock())


def _all(camera: ReplayCamera) -> Iterator[Frame]:
    while True:
        try:
            yield camera.read()
        except EndOfSourceError:
            return


def _picture(value: int, width: int = 32, height: int = 24) -> np.ndarray:
    return np.full((height, width, 3), value, np.uint8)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for number in (1, 2, 10):
        cv2.imwrite(str(tmp_path / f"field_{number}.png"), _picture(number, width=30 + number))
    return tmp_path


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("video") / "slide.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 8.0, (64, 48))
    assert writer.isOpened()
    texture = np.random.default_rng(5).integers(0, 5, (48, 64, 3), dtype=np.uint8)  # so that a frame has some bytes
    for value in range(20):
        writer.write(_picture(10 * value, 64, 48) + texture)
    writer.release()
    return path


def test_a_folder_is_shown_in_natural_order_with_pictures_of_any_size(folder: Path) -> None:
    with _camera(folder) as camera:
        frames = list(_all(camera))
        with pytest.raises(EndOfSourceError):
            camera.read()
    assert not camera.live
    assert camera.name == str(folder)
    assert [(f.source, f.sequence, f.size_px, int(f.image[0, 0, 0])) for f in frames] == [
        ("field_1.png", 0, (31, 24), 1),
        ("field_2.png", 1, (32, 24), 2),
        ("field_10.png", 2, (40, 24), 10),
    ]
    assert all(f.image.dtype == np.uint8 and f.image.shape[2] == 3 for f in frames)


def test_each_still_is_held_so_that_the_stage_rests(folder: Path) -> None:
    with _camera(folder, hold_frames=3) as camera:
        assert [f.source for f in _all(camera)] == ["field_1.png"] * 3 + ["field_2.png"] * 3 + ["field_10.png"] * 3


def test_looping_begins_again_and_goes_on_counting(folder: Path) -> None:
    with _camera(folder, loop=True) as camera:
        frames = [camera.read() for _ in range(7)]
    assert [f.sequence for f in frames] == list(range(7))
    assert [f.source for f in frames][3:] == ["field_1.png", "field_2.png", "field_10.png", "field_1.png"]


def test_a_frame_rate_is_kept_by_sleeping_but_a_slow_consumer_is_not_slowed(folder: Path) -> None:
    clock = HandClock()
    with _camera(folder, clock, loop=True, fps=5.0) as camera:
        times = [camera.read().captured_s for _ in range(4)]
        assert np.allclose(np.diff(times), 0.2)
        clock.sleep(3.0)  # the consumer was busy
        before = clock.time_s
        late = camera.read().captured_s
        assert late == before
        assert camera.read().captured_s == pytest.approx(late + 0.2), "lost time is not made up by a burst"


def test_without_a_frame_rate_pictures_come_as_fast_as_they_are_taken(folder: Path) -> None:
    clock = HandClock()
    with _camera(folder, clock) as camera:
        assert len(list(_all(camera))) == 3
    assert clock.time_s == 100.0


def test_damaged_pictures_are_skipped_named_and_counted_once(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    whole = (folder / "field_1.png").read_bytes()
    (folder / "field_0.png").write_bytes(b"")
    (folder / "field_3.jpg").write_bytes(b"\xff\xd8 no picture")
    (folder / "field_99.png").write_bytes(whole[: len(whole) // 2])
    with caplog.at_level(logging.WARNING), _camera(folder, loop=True) as camera:
        sources = [camera.read().source for _ in range(6)]
    assert sources == ["field_1.png", "field_2.png", "field_10.png"] * 2
    assert [(p.name, p.kind) for p in camera.skipped] == [(n, "damaged") for n in ("field_0.png", "field_3.jpg", "field_99.png")]
    assert [r.getMessage() for r in caplog.records if "field_3.jpg" in r.getMessage()] == [
        f"{folder / 'field_3.jpg'} is skipped: "
        "cannot be decoded whole (the JPEG is cut short); copy it again from its source or take it out"
    ]


def test_of_thousands_of_damaged_pictures_the_log_names_the_first(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    for number in range(300):
        (tmp_path / f"{number:03}.jpg").write_bytes(b"x")
    (tmp_path / "zz.png").write_bytes(cv2.imencode(".png", np.full((64, 64, 3), 120, np.uint8))[1].tobytes())
    with caplog.at_level(logging.WARNING), _camera(tmp_path) as camera:
        assert camera.read().source == "zz.png"
    assert len(camera.skipped) == 300
    assert len(caplog.records) < 60 and "more pictures are skipped" in caplog.text


def test_what_a_folder_holds_besides_is_skipped_named_and_counted(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    (folder / "IMG_1.HEIC").write_bytes(b"heic")
    (folder / "._field_1.png").write_bytes(b"left by a Mac")
    (folder / "slide").mkdir()
    (folder / "slide/a.jpg").write_bytes(b"any")
    Image.fromarray(np.full((48, 64), 900, np.uint16)).save(
        folder / "field_3.tif", save_all=True, append_images=[Image.new("I;16", (64, 48))]
    )
    cv2.imwrite(str(folder / "field_4.png"), np.full((48, 64), 900, np.uint16))
    with caplog.at_level(logging.INFO), _camera(folder) as camera:
        frames = {frame.source: frame for frame in _all(camera)}
    assert [(p.name, p.kind) for p in camera.skipped] == [
        ("IMG_1.HEIC", "HEIC"), ("slide/a.jpg", "in a folder inside"), ("field_3.tif", "pages"),
    ]  # fmt: skip
    assert len(frames) == 4 and float(frames["field_4.png"].image.mean()) == 900 >> 2
    assert f"{folder}: 1 picture of 10 bits, 1 grey" in caplog.text
    assert "1 HEIC picture is not read: convert to JPEG or PNG; the folders inside hold 1 pictures" in caplog.text


def test_a_folder_of_heic_alone_says_so(tmp_path: Path) -> None:
    (tmp_path / "IMG_1.HEIC").write_bytes(b"heic")
    with pytest.raises(CameraError, match="1 HEIC picture is not read"), _camera(tmp_path):
        pass


def test_damaged_pictures_at_the_end_still_end_the_source(folder: Path) -> None:
    for name in ("field_97.png", "field_98.png", "field_99.png"):
        (folder / name).write_bytes(b"broken")
    with _camera(folder) as camera:
        assert len(list(_all(camera))) == 3
    assert len(camera.skipped) == 3


def test_a_picture_that_vanishes_meanwhile_is_skipped(folder: Path) -> None:
    with _camera(folder) as camera:
        camera.read()
        (folder / "field_2.png").unlink()
        assert [f.source for f in _all(camera)] == ["field_10.png"]
    assert [p.name for p in camera.skipped] == ["field_2.png"]


def test_a_looping_folder_that_loses_every_picture_says_so(folder: Path) -> None:
    with _camera(folder, loop=True) as camera:
        camera.read()
        for path in folder.iterdir():
            path.unlink()
        with pytest.raises(CameraError, match="none of its 3 pictures can be read"):
            camera.read()


def test_a_single_picture_is_a_source(folder: Path) -> None:
    with _camera(folder / "field_10.png", hold_frames=2) as camera:
        assert [f.source for f in _all(camera)] == ["field_10.png"] * 2


@pytest.mark.parametrize("prepare", ["missing", "empty", "only-folders", "only-broken", "no-video", "broken-picture"])
def test_a_source_that_cannot_work_is_refused_with_one_clear_line(tmp_path: Path, prepare: str) -> None:
    source = tmp_path / "pictures"
    if prepare != "missing":
        source.mkdir()
    if prepare == "only-folders":
        (source / "val").mkdir()
    if prepare == "only-broken":
        for name in ("b.png", "a.jpg"):
            (source / name).write_bytes(b"broken")
    if prepare in ("no-video", "broken-picture"):
        source = source / ("slide.mp4" if prepare == "no-video" else "field.png")
        source.write_bytes(b"these are no frames")
    expected = {
        "missing": "there is no folder or file",
        "empty": "holds no pictures",
        "only-folders": "name one of them: val",
        "only-broken": r"none of its 2 pictures can be read \(first: a.jpg: cannot be decoded",
        "no-video": "nor a readable video",
        "broken-picture": "none of its 1 pictures can be read",
    }[prepare]
    with pytest.raises(CameraError, match=expected) as caught, _camera(source):
        pass
    assert str(source) in str(caught.value)
    assert "\n" not in str(caught.value)
    assert caught.value.exit_code == 2


def test_a_video_is_shown_whole_at_its_own_rate(video: Path) -> None:
    clock = HandClock()
    with _camera(video, clock, hold_frames=5) as camera:
        frames = list(_all(camera))
        with pytest.raises(EndOfSourceError):
            camera.read()
    assert len(frames) == 20
    assert [abs(float(f.image.mean()) - 10 * i) < 6 for i, f in enumerate(frames)] == [True] * 20
    assert np.allclose(np.diff([f.captured_s for f in frames]), 1 / 8.0)
    assert {f.source for f in frames} == {"slide.avi"}
    assert camera.skipped == ()


def test_a_video_loops(video: Path) -> None:
    with _camera(video, loop=True, fps=100.0) as camera:
        frames = [camera.read() for _ in range(45)]
    assert [f.sequence for f in frames] == list(range(45))
    assert float(frames[20].image.mean()) < 6 and float(frames[40].image.mean()) < 6


def test_a_video_cut_short_ends_early_and_says_which_frames_are_missing(video: Path, tmp_path: Path) -> None:
    data = video.read_bytes()
    cut = tmp_path / "cut.avi"
    cut.write_bytes(data[: len(data) * 3 // 4])
    with _camera(cut) as camera:
        shown = len(list(_all(camera)))
    assert 0 < shown < 20
    assert [p.name for p in camera.skipped] == [f"cut.avi (frames {shown + 1} to 20)"]


def test_a_camera_can_be_opened_again(folder: Path) -> None:
    camera = _camera(folder)
    for _ in range(2):
        with camera:
            assert len(list(_all(camera))) == 3


def test_an_address_is_live_and_its_password_is_not_shown() -> None:
    camera = _camera("rtsp://clinic:secret@microscope.local:554/live")
    assert camera.live
    assert camera.name == "rtsp://microscope.local:554/live"


def test_the_factory_gives_a_closed_replay_camera() -> None:
    camera = open_camera(ReplaySection(kind="replay", source="/not/there"), HandClock())
    assert isinstance(camera, ReplayCamera)


@pytest.mark.shared
@pytest.mark.parametrize("where", ["lld_100x", "bccd/Images/val"])
def test_real_fields_are_all_readable(shared_data: Path, where: str) -> None:
    source = shared_data / where
    if not source.is_dir():
        pytest.skip(f"no {where} in ../shared/data")
    with _camera(source) as camera:
        frames = [camera.read() for _ in range(5)]
    assert len({f.source for f in frames}) == 5
    assert camera.skipped == ()
