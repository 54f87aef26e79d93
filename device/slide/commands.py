"""What a person can ask of the running daemon, by key, foot switch or `leukoscope slide …`; how it is asked lives elsewhere."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class Command(str, Enum):
    """One wish. The pipeline decides whether the slide's state allows it, and says why not."""

    START = "start"
    FINISH = "finish"
    UNDO = "undo"
    PAUSE = "pause"  # toggles
    QUIT = "quit"


@dataclass(frozen=True)
class Wish:
    """A command with what the person said to it. Only what belongs to the command is given; "" otherwise."""

    command: Command
    specimen: str = ""
    operator: str = ""
    reason: str = ""
