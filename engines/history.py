"""What people put in use and took back, kept as one JSON file of changes: who, when, and what; the oldest first.

history = History(path, "changes", Change, ProfileError)
changes = history.read("remove it and calibrate anew")
history.write((*changes, Change(at=now(), did="back", by=who(), …)))
standing(changes)[-1]           # what is in use
"""

from __future__ import annotations

import getpass
import json
import os
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar

from engines.files import atomic_write


class Done(Protocol):
    """A change: `did` is "back" where it takes the one before it out of use, and any other word where it puts something in use."""

    @property
    def did(self) -> str: ...


Change = TypeVar("Change", bound=Done)


@dataclass(frozen=True)
class History(Generic[Change]):
    """The file at `path`, its changes under `key`. made: a change (a dataclass) of its fields; fault: what is raised, with words."""

    path: Path
    key: str
    made: Callable[..., Change]
    fault: Callable[[str], Exception]

    def read(self, advice: str) -> tuple[Change, ...]:
        """All changes; none where there is no file. Raises `fault`, with `advice`, where it cannot be read: nothing is guessed."""
        try:
            told: list[dict[str, Any]] = json.loads(self.path.read_text(encoding="utf-8"))[self.key]
            return tuple(self.made(**change) for change in told)
        except FileNotFoundError:
            return ()
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise self.fault(f"{self.path}: the history cannot be read ({error}); {advice}") from error

    def write(self, changes: Sequence[Change]) -> None:
        """Put these changes in the place of the file's. Raises `fault`."""
        told = [asdict(change) for change in changes]  # type: ignore[call-overload]  # dataclasses, which a protocol cannot ask for
        self.keep(self.path, json.dumps({"version": 1, self.key: told}, indent=1) + "\n")

    def keep(self, path: Path, content: bytes | str) -> None:
        """Write a file that a change speaks of. Raises `fault`."""
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            atomic_write(path, content)
        except OSError as error:
            advice = "run it as the appliance's user (sudo -u leukoscope), or free space"
            raise self.fault(f"{path}: cannot be written ({error.strerror}); {advice}") from error


def standing(changes: Sequence[Change]) -> tuple[Change, ...]:
    """The changes that put something in use and were not taken back, the one in use last."""
    stack: list[Change] = []
    for change in changes:
        if change.did != "back":
            stack.append(change)
        elif stack:
            stack.pop()
    return tuple(stack)


def now() -> str:
    """UTC, to the second."""
    return datetime.now(timezone.utc).isoformat(timespec="seconds")


def who() -> str:
    """The user who asks, also behind sudo."""
    try:
        return os.environ.get("SUDO_USER") or getpass.getuser()
    except (KeyError, OSError):  # a user without a name
        return str(os.getuid())
