"""A command of `leukoscope` called as from a shell: its exit code and all it prints."""

from __future__ import annotations

import io
import os
from contextlib import redirect_stderr, redirect_stdout
from typing import NamedTuple
from unittest.mock import patch

from device.cli import call


class Said(NamedTuple):
    """text: what was printed, with line breaks and spaces as one space each."""

    code: int
    text: str


def leukoscope(*words: object, columns: int = 400) -> Said:
    """One call in this process."""
    out = io.StringIO()
    with patch.dict(os.environ, COLUMNS=str(columns)), redirect_stdout(out), redirect_stderr(out):
        code = call([str(word) for word in words])
    return Said(code, " ".join(out.getvalue().split()))
