"""The version of this code, as it travels in messages, plans and bundles."""

from __future__ import annotations

import subprocess
from functools import cache
from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as installed_version
from pathlib import Path


@cache
def version() -> str:
    """Version of the installed distribution, such as "0.2.0" or "0.2.0.dev231+g1f0c2ab".

    An editable install knows the commit of the day it was made; so in a git checkout the part behind "+" is asked of git, with
    ".dirty" when files differ from that commit. "unknown" where nothing was installed.
    """
    try:
        installed = installed_version("leukoscope")
    except PackageNotFoundError:
        installed = "unknown"
    root = Path(__file__).parents[1]
    if not (root / ".git").exists():
        return installed
    command = ["git", "-C", str(root), "describe", "--always", "--exclude=*", "--abbrev=9", "--dirty"]
    try:
        commit = subprocess.run(command, capture_output=True, text=True, timeout=5, check=True).stdout.strip()
    except (OSError, subprocess.SubprocessError):  # no git here, or the checkout is another user's
        return installed
    return f"{installed.partition('+')[0]}+g{commit.replace('-', '.')}"
