"""What the doctor says of one part."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Level = Literal["ok", "warn", "fail"]


@dataclass(frozen=True)
class Finding:
    """One part: how it is, what was seen, and the next step where there is one."""

    part: str
    level: Level
    seen: str
    next_step: str = ""
