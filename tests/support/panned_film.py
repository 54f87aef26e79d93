"""A window over one large rendered picture of film: pans by pixels, with noise, defocus and light of its own in every frame."""

from __future__ import annotations

import cv2
import numpy as np

from device.slide.motion import FieldPicture
from engines.detections import Image
from engines.film import Film, Microscope

SIZE = (640, 360)  # the window, width and height


def film_plane(size_px: tuple[int, int] = (3200, 2000), seed: int = 11) -> Image:
    """Rendered film at 100x, a frame of the window shows 144 x 81 um of it as a camera does. Light and dust of the microscope lie on
    the film here and move with it.
    """
    film = Film(seed=seed, case="AML", size_um=(1500.0, 1200.0))
    return film.view((750.0, 600.0), Microscope("L", "C2", 100, width_px=SIZE[0]), size_px)[0]


class Window:
    """frame(x, y): what the camera sees with its upper left corner there."""

    def __init__(self, plane: Image, dust: np.ndarray | None = None) -> None:
        self.plane = plane
        self.dust = dust
        self.rng = np.random.default_rng(3)

    def frame(self, x: int, y: int, blur_px: float = 0.0, light: float = 1.0, gamma: float = 1.0, smear_px: int = 0) -> Image:
        part = self.plane[y : y + SIZE[1], x : x + SIZE[0]].astype(np.float32)
        assert part.shape[:2] == (SIZE[1], SIZE[0])
        if blur_px:
            part = cv2.GaussianBlur(part, (0, 0), blur_px)
        if smear_px:
            part = cv2.blur(part, (smear_px, 1))
        part = 255 * (part / 255 * light) ** gamma
        if self.dust is not None:
            part = part * self.dust[..., None]
        return np.clip(part + self.rng.normal(0, 3, part.shape), 0, 255).astype(np.uint8)

    def picture(self, x: int, y: int, blur_px: float = 0.0, light: float = 1.0, gamma: float = 1.0, smear_px: int = 0) -> FieldPicture:
        return FieldPicture.of(self.frame(x, y, blur_px, light, gamma, smear_px))


def dust_spots(count: int = 25, seed: int = 5) -> np.ndarray:
    """What dust on the sensor lets through, (360, 640) float32."""
    rng = np.random.default_rng(seed)
    dust = np.ones((SIZE[1], SIZE[0]), np.float32)
    for _ in range(count):
        centre = int(rng.integers(SIZE[0])), int(rng.integers(SIZE[1]))
        cv2.circle(dust, centre, int(rng.integers(3, 9)), float(rng.uniform(0.55, 0.85)), -1)
    return np.asarray(cv2.GaussianBlur(dust, (0, 0), 2), np.float32)
