"""The words of `leukoscope contract`: what receivers build on, as files of the package."""

from __future__ import annotations

import sys
from pathlib import Path

_FOLDER = Path(__file__).parent / "mqtt" / "contract"


def contract(directory: Path | None = None, /) -> None:
    """Print the AsyncAPI document of topics and messages, or write it with every JSON Schema and example.

    Args:
        directory: A folder, made where there is none; files of these names in it are replaced.
    """
    from device.errors import LeukoscopeError
    from engines.files import atomic_write

    if directory is None:
        sys.stdout.write((_FOLDER / "asyncapi.yaml").read_text(encoding="utf-8"))
        return
    files = sorted(path for path in _FOLDER.iterdir() if path.suffix in (".json", ".yaml"))
    try:
        directory.mkdir(parents=True, exist_ok=True)
        for path in files:
            atomic_write(directory / path.name, path.read_text(encoding="utf-8"))
    except OSError as error:
        raise LeukoscopeError(f"{directory}: cannot be written ({error.strerror or error}); name a folder that is yours") from error
    sys.stdout.write(f"{directory}: {len(files)} files; begin with asyncapi.yaml\n")
