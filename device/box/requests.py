"""What the daemon asks of root: small JSON files in memory, taken away as they are read.

Root reads a file that another user wrote: no link is followed, nothing but a regular file is read, and not more of it than a
request has.
"""

from __future__ import annotations

import json
import os
import stat
from contextlib import suppress
from pathlib import Path
from typing import Any

FOLDER = Path("/run/leukoscope/requests")
_LARGEST = 4096


def take(path: Path) -> Any:
    """What a request says, as JSON; None where it cannot be read. Removed whatever it says. Raises FileNotFoundError: there is none."""
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            raw = os.read(handle, _LARGEST + 1) if stat.S_ISREG(os.fstat(handle).st_mode) else b""
        finally:
            os.close(handle)
        return json.loads(raw) if len(raw) <= _LARGEST else None
    except FileNotFoundError:
        raise
    except (OSError, ValueError, RecursionError):
        return None
    finally:
        with suppress(OSError):
            path.unlink()
