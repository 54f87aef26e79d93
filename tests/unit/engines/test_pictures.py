"""Stored pictures: what is read, what is refused and why, and in which order a folder is shown."""

from __future__ import annotations

import json
import os
import zlib
from io import BytesIO
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image, TiffImagePlugin

from engines.data.faults import Fault, Kind, Place
from engines.data.pictures import decode
from engines.files import atomic_write
from engines.picture_header import jpeg_is_complete
from engines.pictures import (
    PictureError,
    _decoders_words,
    decode_picture,
    folder_notes,
    list_folder,
    natural_key,
    read_picture,
)


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
    assert [p.name for p in list_folder(tmp_path).pictures] == [
        "003.jpeg", "20.tiff", "a.bmp", "field_1.jpg", "field_2.PNG", "field_2b.tif", "Field_10.png",
    ]  # fmt: skip


def test_natural_key_settles_ties_by_the_exact_name() -> None:
    assert natural_key(Path("a01.png")) != natural_key(Path("a1.png"))
    assert sorted([Path("a1.png"), Path("a01.png")], key=natural_key) == [Path("a01.png"), Path("a1.png")]


@pytest.mark.parametrize("extension", [".png", ".bmp", ".tif"])
def test_lossless_files_are_read_exactly(extension: str) -> None:
    image = _field()
    assert np.array_equal(decode_picture(_encoded(extension, image)).image, image)


def test_sixteen_bits_are_scaled_by_their_full_range() -> None:
    values = np.array([[0, 257, 32896, 65535]], np.uint16)
    assert decode_picture(_encoded(".png", values)).image[0, :, 0].tolist() == [0, 1, 128, 255]


def test_grey_becomes_three_equal_channels() -> None:
    grey = np.arange(64, dtype=np.uint8).reshape(8, 8)
    image = decode_picture(_encoded(".png", grey)).image
    assert image.shape == (8, 8, 3)
    assert all(np.array_equal(image[..., c], grey) for c in range(3))


def test_transparent_parts_become_clear_glass() -> None:
    bgra = np.zeros((2, 2, 4), np.uint8)
    bgra[0, 0] = (10, 20, 30, 255)
    bgra[0, 1] = (10, 20, 30, 0)
    bgra[1, 0] = (0, 100, 200, 128)
    image = decode_picture(_encoded(".png", bgra)).image
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


def _twelve_bits(folder: Path, highest: int = 3296, **stated: int) -> list[Path]:
    """Two 16-bit TIFFs of a ramp that a 12-bit camera would write, the second a quarter as bright."""
    ramp = np.linspace(0, highest, 80).astype(np.uint16)
    paths = [folder / "bright.tif", folder / "dim.tif"]
    for path, values in zip(paths, (ramp, ramp // 4), strict=True):
        path.write_bytes(_encoded(".tif", np.repeat(values[None], 60, axis=0)))
    return paths


@pytest.mark.parametrize(("highest", "bits"), [(1000, 10), (3296, 12), (16000, 14), (16384, 16), (65535, 16)])
def test_bits_really_used_scale_a_folder_as_one(tmp_path: Path, highest: int, bits: int) -> None:
    bright, dim = (read_picture(path) for path in _twelve_bits(tmp_path, highest))
    assert (bright.bits, dim.bits) == (bits, bits)
    assert int(bright.image.max()) == highest >> bits - 8
    assert int(dim.image.max()) == highest // 4 >> bits - 8, "pictures of one folder stay comparable"


def test_a_folder_that_grows_brighter_gets_another_scale(tmp_path: Path) -> None:
    bright, _ = _twelve_bits(tmp_path, 1000)
    assert read_picture(bright).bits == 10
    (tmp_path / "new.png").write_bytes(_encoded(".png", np.full((8, 8), 4000, np.uint16)))
    assert read_picture(bright).bits == 12


def test_stated_bits_are_believed_where_they_hold_the_values(tmp_path: Path) -> None:
    tags = TiffImagePlugin.ImageFileDirectory_v2()
    tags[281] = 4095
    path = tmp_path / "dark.tif"
    Image.fromarray(np.full((8, 8), 900, np.uint16)).save(path, tiffinfo=tags)
    assert (read_picture(path).bits, int(read_picture(path).image.max())) == (12, 56)
    png = _encoded(".png", np.full((8, 8), 900, np.uint16))
    body = b"sBIT" + bytes([14])
    stated = png[:33] + (1).to_bytes(4, "big") + body + zlib.crc32(body).to_bytes(4, "big") + png[33:]
    assert decode_picture(stated).bits == 14
    full = _encoded(".png", np.full((8, 8), 60000, np.uint16))
    assert decode_picture(full[:33] + stated[33:46] + full[33:]).bits == 16, "the standard's way: filled to all bits"


def _saved(kind: str, frames: int = 1, **options: object) -> bytes:
    packed = BytesIO()
    pictures = [Image.fromarray(_field()[..., ::-1] // (1 + n)) for n in range(frames)]
    more = {"save_all": True, "append_images": pictures[1:]} if frames > 1 else {}
    pictures[0].save(packed, kind, **more, **options)
    return packed.getvalue()


@pytest.mark.parametrize(("kind", "options"), [("TIFF", {}), ("TIFF", {"big_tiff": True}), ("PNG", {}), ("WEBP", {"lossless": True})])
def test_a_file_of_several_pages_is_refused_with_their_count_unless_one_is_named(kind: str, options: dict[str, object]) -> None:
    data = _saved(kind, 3, **options)
    with pytest.raises(PictureError, match="3 pages") as refused:
        decode_picture(data)
    assert refused.value.kind == "pages"
    with pytest.raises(PictureError, match="no page 4"):
        decode_picture(data, page=4)
    if kind == "TIFF":
        assert np.array_equal(decode_picture(data, page=2).image, _field() // 2)


def test_previews_in_a_file_are_no_pages() -> None:
    preview, packed = TiffImagePlugin.ImageFileDirectory_v2(), BytesIO()
    preview[254] = 1
    small = Image.fromarray(_field()[::4, ::4, ::-1])
    with TiffImagePlugin.AppendingTiffWriter(packed, True) as out:
        small.save(out, "TIFF", tiffinfo=preview)
        out.newFrame()
        Image.fromarray(_field()[..., ::-1]).save(out, "TIFF")
        out.newFrame()
    assert np.array_equal(decode_picture(packed.getvalue()).image, _field()), "the field, not the preview before it"
    phone = _saved("MPO", 2)  # Pillow marks the second as of no kind, as phones do with gain maps
    assert decode_picture(phone).header.pages == 1


@pytest.mark.parametrize("turn", range(1, 9))
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_the_turn_that_exif_asks_for_is_made(kind: str, turn: int, tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[274] = turn
    data = _saved(kind, exif=exif, **({} if kind in ("PNG", "TIFF") else {"quality": 100}))
    picture = decode_picture(data)
    assert np.array_equal(picture.image, cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR))
    assert (picture.header.turn, picture.header.size_hw) == (turn, picture.image.shape[:2])
    (tmp_path / "turned.png").write_bytes(data)
    said = folder_notes(tmp_path)
    assert said == ([] if turn == 1 else [f"{tmp_path}: 1 picture turned by EXIF"])


def _broken(kind: str, how: str) -> bytes:
    noise = np.random.default_rng(2).integers(0, 255, (90, 120, 3), dtype=np.uint8)
    packed = BytesIO()
    Image.fromarray(noise).save(packed, kind, **({"compression": "tiff_adobe_deflate"} if kind == "TIFF" else {}))
    data = packed.getvalue()
    if how == "end glued on":
        return data[: len(data) // 2] + (b"\xff\xd9" if kind == "JPEG" else data[-12:])
    return data[: len(data) // 2] + bytes(60) + data[len(data) // 2 + 60 :]


@pytest.mark.parametrize(
    ("kind", "how"), [(k, h) for k in ("JPEG", "PNG") for h in ("end glued on", "zeros inside")] + [("TIFF", "zeros inside")]
)
def test_what_the_decoder_says_of_damage_counts(kind: str, how: str, capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(PictureError, match="cannot be decoded whole") as refused:
        decode_picture(_broken(kind, how))
    assert refused.value.kind == "damaged"
    assert capfd.readouterr().err == ""


def test_lines_of_others_on_stderr_pass_while_a_picture_is_decoded(capfd: pytest.CaptureFixture[str]) -> None:
    with _decoders_words() as words:
        os.write(2, b"the broker is gone\nCorrupt JPEG data: 3 extraneous bytes before marker 0xd9\n")
    assert (capfd.readouterr().err, words) == ("the broker is gone\n", ["Corrupt JPEG data: 3 extraneous bytes before marker 0xd9"])


@pytest.mark.parametrize(("width", "height", "words"), [(60_000, 60_000, "more than 200,000,000"), (4000, 100, "20 times as long")])
def test_size_is_judged_before_anything_is_decoded(width: int, height: int, words: str) -> None:
    png = bytearray(_encoded(".png", _field()))
    png[16:24] = width.to_bytes(4, "big") + height.to_bytes(4, "big")
    png[29:33] = zlib.crc32(png[12:29]).to_bytes(4, "big")
    with pytest.raises(PictureError, match=words) as refused:
        decode_picture(bytes(png))
    assert refused.value.kind == "too large"


def test_kinds_that_are_not_read_are_named_by_suffix_and_by_signature(tmp_path: Path) -> None:
    heic, avif = (b"\0\0\0\x18ftyp" + brand + b"\0\0\0\0" + brand + b"heic" for brand in (b"heic", b"avif"))
    for name, data in {"IMG_1.HEIC": heic, "b.jp2": b"x", "plain.png": _encoded(".png", _field()), "._plain.png": b"x"}.items():
        (tmp_path / name).write_bytes(data)
    for name in ("slide/one.png", "slide/._one.png", "__MACOSX/one.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(_encoded(".png", _field()))
    assert [p.name for p in list_folder(tmp_path).pictures] == ["plain.png"]
    (said,) = folder_notes(tmp_path)
    assert "1 JPEG 2000 picture is not read" in said and "1 HEIC picture is not read: convert to JPEG or PNG" in said
    assert "the folders inside hold 1 pictures that are not read, name one of them: slide" in said
    for data, kind in ((heic, "HEIC"), (avif, "AVIF"), (b"GIF89a" + bytes(20), "GIF"), (b"\0\0\0\x0cjP  \r\n", "JPEG 2000")):
        with pytest.raises(PictureError, match=f"{kind} pictures are not read") as refused:
            decode_picture(data)
        assert refused.value.kind == kind
    (tmp_path / "raw.NEF").write_bytes(_saved("TIFF"))
    with pytest.raises(PictureError, match=r"raw\.NEF: raw pictures are not read"):
        read_picture(tmp_path / "raw.NEF")


def test_a_name_that_is_not_utf8_is_read_and_shown(tmp_path: Path) -> None:
    path = Path(os.fsdecode(os.fsencode(tmp_path) + b"/field_\xff.png"))
    path.write_bytes(_encoded(".png", _field()))
    assert np.array_equal(read_picture(path).image, _field())
    path.write_bytes(b"text")
    with pytest.raises(PictureError, match=r"field_\\xff\.png: cannot be decoded"):
        read_picture(path)
    fault = Fault(Kind.IMAGE_CORRUPT, Place(path), f"{path.name} is damaged")
    assert json.dumps([str(fault), fault.to_dict()], ensure_ascii=False).encode().count(rb"field_\\xff.png") == 4
    atomic_write(tmp_path / "page.html", f"<p>{path.name}</p>")
    assert (tmp_path / "page.html").read_text() == r"<p>field_\udcff.png</p>"


def test_transparency_is_laid_on_white_however_a_file_stores_it() -> None:
    rgba = np.dstack([_field()[..., ::-1], np.tile(np.linspace(0, 255, 80).astype(np.uint8), (60, 1))])
    share = rgba[..., 3:] / 255
    right = (rgba[..., 2::-1] * share + 255 * (1 - share)).round()
    for kind, options in (("PNG", {}), ("WEBP", {"lossless": True, "exact": True}), ("TIFF", {})):
        packed = BytesIO()
        Image.fromarray(rgba).save(packed, kind, **options)
        picture = decode_picture(packed.getvalue())
        assert picture.header.alpha and np.abs(picture.image - right).max() <= 1, kind
    grey, packed = np.arange(64, dtype=np.uint8).reshape(8, 8), BytesIO()
    Image.fromarray(grey).save(packed, "PNG", transparency=9)
    assert np.array_equal(decode_picture(packed.getvalue()).image[..., 0], np.where(grey == 9, 255, grey))
    opaque = b"BM" + (54 + 16).to_bytes(4, "little") + bytes(4) + (54).to_bytes(4, "little") + (40).to_bytes(4, "little")
    opaque += (2).to_bytes(4, "little") * 2 + b"\1\0\x20\0" + bytes(24) + bytes([10, 20, 30, 0]) * 4
    assert decode_picture(opaque).image.tolist() == [[[10, 20, 30]] * 2] * 2, "a BMP's fourth byte is no alpha"


def test_a_check_tells_size_kind_of_fault_and_digest_without_pixels(tmp_path: Path) -> None:
    for name, data in (
        ("good.jpg", _encoded(".jpg", _field())),
        ("cut.jpg", _encoded(".jpg", _field())[:-400]),
        ("stack.tif", _saved("TIFF", 2)),
    ):
        (tmp_path / name).write_bytes(data)
    good, cut, stack = (decode(tmp_path / name) for name in ("good.jpg", "cut.jpg", "stack.tif"))
    assert (good.size_hw, good.fault, good.kind) == ((60, 80), "", "")
    assert cut.kind == "damaged" and "cut short" in cut.fault and cut.size_hw == (60, 80)
    assert stack.kind == "pages" and "2 pages" in stack.fault and len({good.digest, cut.digest, stack.digest}) == 3
