"""The quarter of a picture that ConfMix pastes and DACA cuts out. Which one is taken is their own rule."""

from __future__ import annotations

from enum import IntEnum


class Quadrant(IntEnum):
    """A quarter of a picture, in the order of ConfMix, which decides there between equals."""

    LEFT_BOTTOM = 0
    LEFT_TOP = 1
    RIGHT_BOTTOM = 2
    RIGHT_TOP = 3

    @property
    def right(self) -> bool:
        return self >= Quadrant.RIGHT_BOTTOM

    @property
    def top(self) -> bool:
        return self in (Quadrant.LEFT_TOP, Quadrant.RIGHT_TOP)

    def slices(self, hw: tuple[int, int]) -> tuple[slice, slice]:
        """Rows and columns of this quadrant in a picture of `hw` px."""
        y, x = hw[0] // 2, hw[1] // 2
        return (slice(0, y) if self.top else slice(y, hw[0])), (slice(x, hw[1]) if self.right else slice(0, x))
