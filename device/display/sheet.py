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
        self.from_right = False  # pictures are turned over as they are laid, and lie at the other side
        self._lying: dict[Rect, Image] = {}

    def paint(self, place: Rect) -> None:
        """Somebody else paints `place` of the pixels: what lay there lies there no longer."""
        for other in [o for o in self._lying if o.x0 < place.x1 and place.x0 < o.x1 and o.y0 < place.y1 and place.y0 < o.y1]:
            del self._lying[other]

    def lay(self, picture: Image, x: int, y: int) -> None:
        """Have `picture` lie with its corner at (x, y), over whatever lay there; raises ValueError for one that can still change.

        It is copied unless that very picture lies there, whole, already: a cache gives the same object for the same thing only.
        """
        if picture.flags.writeable:
            raise ValueError("only a finished picture can be laid; call setflags(write=False) on it")
        at = Rect(x, y, x + picture.shape[1], y + picture.shape[0])
        if self.from_right:
            at = at.mirrored(self.pixels.shape[1])
        if self._lying.get(at) is picture:
            return
        self.paint(at)
        text.paste(self.pixels, picture[:, ::-1] if self.from_right else picture, at.x0, y)
        self._lying[at] = picture
