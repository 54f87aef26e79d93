"""Stored pictures: what is read, what is refused and why, and in which order a folder is shown."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from device.camera.pictures import PictureError, decode_picture, jpeg_is_complete, natural_key, pictures_in, read_picture


def _field(height: int = 60, width: int = 80) -> np.ndarray:
    ramp = np.linspace(40, 220, width, dtype=np.uint8)
    image = np.repeat(ramp[None, :, None], height, axis=0).repeat(3, axis=2)
    image[10:30, 20:50] = (160, 40, 120)
    return image


def _encoded(extension: str, image: np.ndarray) -> bytes:
    return cv2.imencode(extension, image)[1].tobytes()


def test_natural_order_puts_two_before_ten(tmp_path: Path) -> None:
    names = ["Field_10.png", "field_2.PNG", "field_1.jpg", "a.bmp", "field_2b.tif", "003.jpeg", "20.tiff"]
    for name in [*names, "notes.txt", ".hidden.png"]:
        (tmp_path / name).touch()
    (tmp_path / "folder.png").mkdir()
    assert [p.name for p in pictures_in(tmp_path)] == [
        "003.jpeg", "20.tiff", "a.bmp", "field_1.jpg", "field_2.PNG", "field_2b.tif", "Field_10.png",
    ]  # fmt: skip


def test_natural_key_settles_ties_by_the_exact_name() -> None:
    assert natural_key(Path("a01.png")) != natural_key(Path("a1.png"))
    assert sorted([Path("a1.png"), Path("a01.png")], key=natural_key) == [Path("a01.png"), Path("a1.png")]


@pytest.mark.parametrize("extension", [".png", ".bmp", ".tif"])
def test_lossless_files_are_read_exactly(extension: str) -> None:
    image = _field()
    assert np.array_equal(decode_picture(_encoded(extension, image)), image)


def test_sixteen_bits_are_scaled_by_their_full_range() -> None:
    values = np.array([[0, 257, 32896, 65535]], np.uint16)
    assert decode_picture(_encoded(".png", values))[0, :, 0].tolist() == [0, 1, 128, 255]


def test_grey_becomes_three_equal_channels() -> None:
    grey = np.arange(64, dtype=np.uint8).reshape(8, 8)
    image = decode_picture(_encoded(".png", grey))
    assert image.shape == (8, 8, 3)
    assert all(np.array_equal(image[..., c], grey) for c in range(3))


def test_transparent_parts_become_clear_glass() -> None:
    bgra = np.zeros((2, 2, 4), np.uint8)
    bgra[0, 0] = (10, 20, 30, 255)
    bgra[0, 1] = (10, 20, 30, 0)
    bgra[1, 0] = (0, 100, 200, 128)
    image = decode_picture(_encoded(".png", bgra))
    assert image[0, 0].tolist() == [10, 20, 30]
    assert image[0, 1].tolist() == [255, 255, 255]
    assert image[1, 0].tolist() == [127, 177, 227]


@pytest.mark.parametrize("extension", [".jpg", ".png", ".bmp", ".tif"])
@pytest.mark.parametrize("share", [0.3, 0.95])
def test_a_file_cut_short_is_refused(extension: str, share: float) -> None:
    rng = np.random.default_rng(1)
    data = _encoded(extension, rng.integers(0, 255, (60, 80, 3), dtype=np.uint8))
    with pytest.raises(PictureError):
        decode_picture(data[: int(len(data) * share)])


@pytest.mark.parametrize(
    ("data", "words"), [(b"", "empty"), (b"these are no pixels", "cannot be decoded"), (b"\xff\xd8\xff\xe0\x00", "cut short")]
)
def test_what_is_no_picture_is_refused_with_a_reason(data: bytes, words: str) -> None:
    with pytest.raises(PictureError, match=words):
        decode_picture(data)


def test_floating_point_pixels_are_refused_by_type() -> None:
    with pytest.raises(PictureError, match="float32"):
        decode_picture(_encoded(".tif", np.zeros((4, 4), np.float32)))


def test_a_vanished_file_is_a_picture_error(tmp_path: Path) -> None:
    with pytest.raises(PictureError, match="No such file"):
        read_picture(tmp_path / "gone.png")


def test_a_thumbnails_end_does_not_make_a_jpeg_complete() -> None:
    whole = _encoded(".jpg", _field())
    thumbnail = b"\xff\xe1" + (2 + 6).to_bytes(2, "big") + b"Ex\xff\xd9..\x00"[:6]
    cut = whole[:2] + thumbnail + whole[2:-2]
    assert b"\xff\xd9" in cut
    assert not jpeg_is_complete(cut)
    assert jpeg_is_complete(cut + b"\xff\xd9")
    assert jpeg_is_complete(whole + bytes(100)), "cameras pad their buffers"
    assert not jpeg_is_complete(b"\xff\xd8" + bytes(40))


def test_opencv_stays_quiet_about_what_an_exception_tells(capfd: pytest.CaptureFixture[str]) -> None:
    for extension in (".jpg", ".png", ".tif", ".bmp"):
        data = _encoded(extension, _field())
        with pytest.raises(PictureError):
            decode_picture(data[: len(data) // 2])
    assert capfd.readouterr().err == ""
