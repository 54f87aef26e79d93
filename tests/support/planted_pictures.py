"""Picture files of other kinds to plant into a clean data set, see `planted`."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from PIL import Image
from planted import TRAIN, VAL, Where, plants

from engines.data.faults import Kind

_FILE = "Images/val/3_1_1000_CML.png"


def _kept(root: Path) -> tuple[Path, Image.Image]:
    file = root / _FILE
    return file, Image.fromarray(cv2.imread(str(file))[..., ::-1])


@plants(Kind.IMAGE_PAGES)
def a_focus_stack(root: Path) -> Where:
    file, image = _kept(root)
    image.save(file, "TIFF", save_all=True, append_images=[image, image])
    return file, 0


@plants(Kind.IMAGE_NOT_READ)
def a_phones_picture_renamed(root: Path) -> Where:
    file = root / _FILE
    file.write_bytes(b"\0\0\0\x18ftypheic" + bytes(40))
    return file, 0


@plants(Kind.IMAGE_NOT_READ)
def floating_point_pixels(root: Path) -> Where:
    file, image = _kept(root)
    image.convert("F").save(file, "TIFF")
    return file, 0


@plants(Kind.IMAGE_TURNED)
def a_turn_by_exif(root: Path) -> Where:
    file, image = _kept(root)
    exif = Image.Exif()
    exif[274] = 3
    image.save(file, exif=exif)
    return file.parent, 0


@plants(Kind.IMAGE_UNUSUAL)
def twelve_bits(root: Path) -> Where:
    file, image = _kept(root)
    cv2.imwrite(str(file), np.asarray(image).astype(np.uint16) * 16)
    return file.parent, 0


@plants(Kind.FILES_NOT_READ)
def a_phones_picture_beside(root: Path) -> Where:
    (root / "Images/val/IMG_1.HEIC").write_bytes(b"heic")
    return root / "Images/val", 0


def _red_cells(root: Path, wide_px: float, high_px: float) -> None:
    """Every picture a field of drawn red cells, in rows."""
    rng = np.random.default_rng(5)
    for split, names in (("train", TRAIN), ("val", VAL)):
        for name in names:
            file = root / "Images" / split / name
            high, wide = cv2.imread(str(file)).shape[:2]
            image = np.full((high, wide, 3), 225, np.uint8)
            for y in range(8, high - 6, 16):
                for x in range(8, wide - 6, 14):
                    centre = (x + float(rng.uniform(-1, 1)), y + float(rng.uniform(-1, 1)))
                    cv2.ellipse(image, (centre, (wide_px, high_px), 0), (150, 130, 190), cv2.FILLED)  # type: ignore[call-overload]  # cv2 stub
            cv2.imwrite(str(file), np.clip(image + rng.normal(0, 4, image.shape), 0, 255).astype(np.uint8))


@plants(Kind.PIXEL_ASPECT)
def squeezed_pictures(root: Path) -> Where:
    _red_cells(root, 7.5, 11)
    return root, 0


@plants(Kind.PIXEL_ASPECT_DOUBT)
def a_wrong_statement(root: Path) -> Where:
    _red_cells(root, 9.5, 9.5)
    (root / "pictures.yaml").write_text("pixel_aspect: 0.6\n", encoding="utf-8")
    return root, 0
