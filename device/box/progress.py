"""How far a box has got in its boot: one small JSON file a step, which the kiosk shows and any program of the box may write.

    tell("engine", RUNNING, "The engine is being built for this GPU.", percent=40)
    for step in read(): step.step, step.state, step.percent, step.words, step.at

`FOLDER` lies in memory and is made at boot by tmpfiles, owned by the user leukoscope; root and that user write, everybody reads. Where
it is not there (a laboratory's machine) nothing is told. Needs nothing but Python, since the first screen of a boot waits for it.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path

from device.language import Sentence, _, say
from engines.files import write_step

log = logging.getLogger(__name__)

FOLDER = Path("/run/leukoscope-boot")

WAITING, RUNNING, DONE, FAILED = "waiting", "running", "done", "failed"
STATES = (WAITING, RUNNING, DONE, FAILED)
BOOT = ("provision", "engine", "camera", "ready")
"""The steps of a boot, in the order in which they are shown."""
STEPS = (*BOOT, "update", "support-bundle", "restart")

_LONGEST = 600  # characters of a sentence
_ISOLATES = "\u2066\u2069"  # around what is read from left to right in a line of Arabic letters
_LARGEST = 16_384  # bytes of a file; a larger one is none of ours


@dataclass(frozen=True)
class Step:
    """One step as it was told last. words: one English sentence; percent: 0 to 100 or None; at: UTC, None where it cannot be read.

    template, values: what the words were made of (`device.language.Sentence`); empty where they were told as they are.
    """

    step: str
    state: str
    words: str
    percent: int | None = None
    at: datetime | None = None
    template: str = ""
    values: Mapping[str, str] = field(default_factory=dict)

    @property
    def spoken(self) -> str:
        """The words in the language in use; in English where it has none for them."""
        if self.template and _(self.template) != self.template:
            with suppress(KeyError, IndexError, ValueError):  # told by a version with other words
                return one_sentence(say(self.template, self.values))
        return _(self.words)


def tell(step: str, state: str, words: str, percent: float | None = None, folder: Path = FOLDER) -> bool:
    """Say how a step stands; whether it could be written. It never raises for a disk: what it tells of goes on without it.

    step: one of `STEPS`; state: one of `STATES`; another is a ValueError.
    """
    if step not in STEPS or state not in STATES:
        raise ValueError(f"step {step!r} in state {state!r}: known are {', '.join(STEPS)}; {', '.join(STATES)}")
    if not folder.is_dir():
        return False
    try:
        template, values = (words.template, words.values) if isinstance(words, Sentence) else ("", None)
        write_step(folder / f"{step}.json", step, state, one_sentence(words), percent, template, values)
    except OSError as error:
        log.warning("%s/%s.json: how far the boot is cannot be written (%s); it goes on", folder, step, error.strerror)
        return False
    return True


def read(folder: Path = FOLDER) -> tuple[Step, ...]:
    """The steps that were told, in the order of `STEPS`. A file that is absent, broken or of another kind is left out."""
    found = (read_step(step, folder) for step in STEPS)
    return tuple(step for step in found if step is not None)


def read_step(step: str, folder: Path = FOLDER) -> Step | None:
    """One step; None where its file is absent, broken or of another kind."""
    try:
        with (folder / f"{step}.json").open("rb") as file:
            raw = file.read(_LARGEST + 1)
        said = json.loads(raw) if len(raw) <= _LARGEST else None
    except (OSError, ValueError, RecursionError):
        return None
    if not isinstance(said, dict) or said.get("state") not in STATES or not isinstance(said.get("words"), str):
        return None
    percent = said.get("percent")
    if isinstance(percent, bool) or not isinstance(percent, int | float) or not 0 <= percent <= 100:
        percent = None
    template, values = said.get("template", ""), said.get("values", {})
    if not isinstance(template, str) or not isinstance(values, dict) or not all(isinstance(value, str) for value in values.values()):
        template, values = "", {}
    share = None if percent is None else int(percent)
    return Step(step, said["state"], one_sentence(said["words"]), share, _time(said.get("at")), template, values)


def one_sentence(words: str) -> str:
    """In one line, without what steers a terminal, and not longer than a screen can show."""
    line = " ".join("".join(char if char.isprintable() or char in _ISOLATES else " " for char in words).split())
    return line if len(line) <= _LONGEST else line[: _LONGEST - 1] + "…"


def _time(said: object) -> datetime | None:
    """A time with its zone, in UTC; Python 3.10 does not know the Z."""
    try:
        found = datetime.fromisoformat(said.replace("Z", "+00:00")) if isinstance(said, str) else None
    except ValueError:
        return None
    return found.astimezone(timezone.utc) if found is not None and found.tzinfo is not None else None
