"""`leukoscope support-bundle`: reads the command line and calls `box.support`."""

from __future__ import annotations

import sys
from pathlib import Path

from device.options import DEFAULT_CONFIG, ConfigOption


def support_bundle(to: Path = Path(), /, *, stick: bool = False, config: ConfigOption = DEFAULT_CONFIG) -> int:
    """Write one archive that helps to find a fault: journal, doctor, versions, settings without secrets. Nothing of a patient is in it.

    Args:
        to: Folder it is written into.
        stick: Write it to the first stick that can be written instead. For root.
    """
    from device.box.support import SupportError, make, make_on_stick
    from device.settings.config_file import load_config

    def say(words: str) -> None:
        sys.stderr.write(f"{words}\n")

    if not stick and not to.is_dir():
        raise SupportError(f"{to}: no such folder; name one, or --stick")
    loaded = load_config(config)
    done = make_on_stick(loaded, say) if stick else make(loaded, to, say)
    sys.stdout.write(f"{done.path}: {done.path_size / 1e6:.1f} MB, {len(done.members)} files. Look into it before you send it.\n")
    for note in done.notes:
        sys.stdout.write(f"  {note}\n")
    return 0
