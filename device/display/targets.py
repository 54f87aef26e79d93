"""Where on the drawn screen a press means something: rectangles with the words that the desk is told. Nothing is drawn here."""

from __future__ import annotations

from dataclasses import dataclass, field

from device.display.layout import Rect


@dataclass
class Targets:
    """The targets of one picture of the screen, in canvas pixels; a later one lies over earlier ones."""

    places: list[tuple[Rect, str]] = field(default_factory=list)

    def add(self, place: Rect, word: str) -> None:
        self.places.append((place, word))

    def at(self, x: float, y: float) -> tuple[str, tuple[float, float]]:
        """The word of the target under a point and where in it the point lies, in shares; ("", (0, 0)) beside all targets."""
        for place, word in reversed(self.places):
            if place.x0 <= x < place.x1 and place.y0 <= y < place.y1:
                return word, ((x - place.x0) / place.width, (y - place.y0) / place.height)
        return "", (0.0, 0.0)
