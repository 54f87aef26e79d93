"""A command of `attridet` called as from a shell: its exit code and what it prints."""

from __future__ import annotations

import io
import os
from contextlib import redirect_stderr, redirect_stdout
from typing import NamedTuple
from unittest.mock import patch

from rich.console import Console

from engines.cli import app, run


class Called(NamedTuple):
    """out, err: what was printed, with line breaks and spaces as one space each."""

    code: int
    out: str
    err: str


def attridet(*words: object, columns: int = 160) -> Called:
    """One call in this process, for a terminal of so many columns."""
    out, err = io.StringIO(), io.StringIO()
    with patch.dict(os.environ, COLUMNS=str(columns)), redirect_stdout(out), redirect_stderr(err):
        app.console = Console()  # the program's own keeps the width of the first call
        code = run([str(word) for word in words])
    return Called(code, " ".join(out.getvalue().split()), " ".join(err.getvalue().split()))
