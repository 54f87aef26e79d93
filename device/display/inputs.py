"""What a person does at the screen, as plain values: keys, presses and drags. What follows from it is the desk's business."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class Kind(str, Enum):
    """How something was asked."""

    KEY = "key"  # also what a barcode scanner types
    PRESS = "press"  # by mouse or finger, on a target that was drawn
    DRAG = "drag"  # from one target to another
    SCAN = "scan"  # a barcode that was scanned while nothing was asked; `device.desk.scanner` tells it from keys
    CLOSED = "closed"  # the window's own cross


@dataclass(frozen=True)
class Input:
    """One thing that was done.

    word: of a key its name, a letter in upper case ("F", "ESCAPE", "RETURN", "LEFT", "BACKSPACE"); of a press the word of the target
    that was hit. A button's word is the name of the key that does the same, so that a press on it is taken as that key; other targets
    have words of their own ("cell 17", "class Myeloblast", "picture"). text: what the key types, as it was typed. onto: the target
    that a drag ended on. at: where in the target it was pressed, in shares of its width and height. shift: held down meanwhile.
    """

    kind: Kind
    word: str = ""
    text: str = ""
    onto: str = ""
    at: tuple[float, float] = (0.5, 0.5)
    shift: bool = False


def key(word: str) -> Input:
    """A key by its name, as tests and foot switches press it."""
    return Input(Kind.KEY, word, word.lower() if len(word) == 1 else "")
