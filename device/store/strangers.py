"""What lies where SQLite wants the files beside a record, and is no file: a folder, a link into nothing, a named pipe."""

from __future__ import annotations

import logging
import stat
from datetime import datetime, timezone
from pathlib import Path

log = logging.getLogger(__name__)


def move_strangers(path: Path) -> None:
    """Rename them, so that the record can be opened. Where that is not allowed either, opening tells what is wrong."""
    for tail in ("-wal", "-shm", "-journal", ".suspect"):
        place = Path(f"{path}{tail}")
        try:
            if stat.S_ISREG(place.lstat().st_mode) or place.is_file():
                continue
        except FileNotFoundError:
            continue
        except OSError:  # a link that leads to itself
            pass
        aside = Path(f"{place}.stranger-{datetime.now(timezone.utc):%Y%m%d-%H%M%S-%f}")
        try:
            place.rename(aside)
        except OSError as error:
            log.error("%s is in the way of the record and cannot be renamed: %s", place, error.strerror)
            continue
        log.error("%s was in the way of the record and is no file; it is kept as %s", place, aside)
