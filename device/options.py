"""What several commands of `leukoscope` take: the configuration file, counts, dates."""

from __future__ import annotations

from datetime import datetime, timezone
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter
from cyclopts.validators import Number

DEFAULT_CONFIG = Path("/etc/leukoscope/device.yaml")

ConfigOption = Annotated[Path, Parameter(name=("--config", "-c"), help="The configuration file (YAML).")]
Count = Annotated[int, Parameter(validator=Number(gte=1))]
Since = Annotated[
    datetime | None, Parameter(help="Only slides that ended, were reviewed or signed since: 2026-11-30, or 2026-11-30T08:00. UTC.")
]


def in_utc(at: datetime | None) -> datetime | None:
    """A date from the command line; one without a zone is taken as UTC, as all that is shown."""
    return at.replace(tzinfo=timezone.utc) if at is not None and at.tzinfo is None else at
