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
    GO_ON = "go-on"  # after a pause, and beyond the target that was reached
    ABORT = "abort"
    REOPEN = "reopen"  # a finished slide that nobody has signed is counted on
    ANSWER = "answer"  # to what the guidance asks; the reason is the key of the choice
    IDENTIFY = "identify"  # which box is it? A line on its screen says so; the reason is who asks
    QUIT = "quit"


@dataclass(frozen=True)
class Wish:
    """A command with what the person said to it. Only what belongs to the command is given; "" otherwise.

    sure: asked again already, so that an unusual end (below the target, many unidentified cells, a second slide of one specimen) is
    meant. specimen and operator never stand in a log or a topic.
    """

    command: Command
    specimen: str = ""
    operator: str = ""
    reason: str = ""
    sure: bool = False

    def __repr__(self) -> str:
        """Without specimen and operator, so that no log line and no traceback can hold them."""
        return f"Wish({self.command.value})"
