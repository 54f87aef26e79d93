"""Picture files of other kinds to plant into a clean data set, see `planted`."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from PIL import Image
from planted import Where, plants

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
