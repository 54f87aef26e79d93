"""A canvas that is painted again and again: finished pictures that lie on it already are not laid a second time. No layout here."""

from __future__ import annotations

from device.display import text
from device.display.layout import Rect
from engines.detections import Image


class Sheet:
    """Pixels, and which kept pictures lie where on them. Only for pixels that nobody else writes to where pictures are laid."""

    def __init__(self, pixels: Image) -> None:
        """pixels: (height, width, 3) uint8, C-contiguous, whatever stands on them."""
        self.pixels = pixels
        self._lying: dict[Rect, Image] = {}

    def lay(self, picture: Image, x: int, y: int) -> None:
        """Have `picture` lie with its corner at (x, y), over whatever lay there; raises ValueError for one that can still change.

        It is copied unless that very picture lies there, whole, already: a cache gives the same object for the same thing only.
        """
        if picture.flags.writeable:
            raise ValueError("only a finished picture can be laid; call setflags(write=False) on it")
        at = Rect(x, y, x + picture.shape[1], y + picture.shape[0])
        if self._lying.get(at) is picture:
            return
        self.cover(at)
        text.paste(self.pixels, picture, x, y)
        self._lying[at] = picture

    def cover(self, at: Rect) -> None:
        """From now on nothing that was laid lies on `at`, wholly or in part; for who paints there by hand."""
        for other in [o for o in self._lying if o.x0 < at.x1 and at.x0 < o.x1 and o.y0 < at.y1 and at.y0 < o.y1]:
            del self._lying[other]
