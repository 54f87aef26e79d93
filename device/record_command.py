"""The words of `leukoscope` for the record as a whole: `verify`, `backup`, `restore`, `quarantine`."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from cyclopts import App

from device.options import DEFAULT_CONFIG, ConfigOption

if TYPE_CHECKING:
    from device.store.verifying import Report

_TELL_EVERY_S = 2.0


class _Progress:
    """A line on stderr now and then, nothing for work that is done at once."""

    def __init__(self) -> None:
        self._told_s = time.monotonic()

    def __call__(self, what: str, done: int, total: int) -> None:
        now = time.monotonic()
        if now - self._told_s >= _TELL_EVERY_S:
            self._told_s = now
            sys.stderr.write(f"{what}: {done:,} of {total:,}\n")

    def slides(self, done: int, total: int) -> None:
        self("slides read", done, total)


def verify(slide_id: str = "", /, *, config: ConfigOption = DEFAULT_CONFIG) -> int:
    """Read the whole record, or one slide of it, and name what is damaged. Nothing is changed; the appliance may go on counting.

    Args:
        slide_id: One slide; without it all, with SQLite's own check of the file.
    """
    from device.settings.config_file import load_config
    from device.store.verifying import verify as verify_record

    record = load_config(config).record_path
    return _say(record, verify_record(record, slide_id, _Progress().slides))


def _say(record: Path, report: Report) -> int:
    for slide, faults in report.damage.items():
        for fault in faults:
            sys.stdout.write(f"DAMAGED {f'slide {slide}' if slide else 'record'}: {fault}\n")
    for note in report.notes:
        sys.stdout.write(f"{note}\n")
    if report.unchecked:
        sys.stdout.write(f"not checked, from versions without checksums: {', '.join(report.unchecked)}\n")
    if report.put_aside:
        sys.stdout.write(f"{report.put_aside} put aside: `leukoscope quarantine` lists them\n")
    verdict = "no damage found" if report.sound else "DAMAGED; `leukoscope restore` brings back a backup, or count the slides again"
    sys.stdout.write(f"{record}: {report.words}: {verdict}\n")
    return 0 if report.sound else 1


def backup(to: Path, /, *, no_pictures: bool = False, config: ConfigOption = DEFAULT_CONFIG) -> int:
    """Copy the record and its pictures to a new folder while the appliance counts, and read the copy through.

    Args:
        to: A folder that is not there yet, best on another disk.
        no_pictures: Leave the pictures of fields out; crops are in the record.
    """
    from datetime import datetime, timezone

    from device.errors import StoreError
    from device.settings.config_file import load_config
    from device.store import Store
    from device.store.backup import backup as back_up

    record = load_config(config).record_path
    done = back_up(record, to, not no_pictures, _Progress())
    code = _say(done.folder, done.report)
    sys.stdout.write(f"{to}: backup made, with {done.pictures} pictures\n")
    try:
        with Store.connect(record) as store:
            store.put_fact("backup_at", datetime.now(timezone.utc).isoformat())
    except StoreError as error:  # the backup is good all the same
        sys.stderr.write(f"leukoscope: that a backup was made is not written down: {error}\n")
    return code


def restore(source: Path, /, *, damaged_too: bool = False, config: ConfigOption = DEFAULT_CONFIG) -> int:
    """Put a backup in the place of the record; the record before is kept under another name. The appliance must be stopped.

    Args:
        source: The folder that `leukoscope backup` made.
        damaged_too: Also a backup in which something is damaged, where there is no better one.
    """
    from device.settings.config_file import load_config
    from device.store.backup import restore as bring_back

    record = load_config(config).record_path
    done = bring_back(record, source, damaged_too, _Progress())
    _say(done.folder, done.report)
    if done.former is not None:
        sys.stdout.write(f"the record before is kept as {done.former}\n")
    sys.stdout.write(f"{record}: brought back, with {done.pictures} pictures; start the appliance\n")
    return 0


quarantine = App(
    name="quarantine", help="What was put aside, as it could not be sent, read or believed: list it, take one off the list."
)


@quarantine.default
def list_put_aside(*, config: ConfigOption = DEFAULT_CONFIG) -> None:
    """List what was put aside, newest first."""
    from device.mqtt.message import one_line
    from device.settings.config_file import load_config
    from device.store import Store

    with Store.read(load_config(config).record_path) as store:
        rows = store.quarantine()
    for row in rows:
        sys.stdout.write(f"{row.at:%Y-%m-%d %H:%M} UTC  {row.kind}  {one_line(row.name)}: {one_line(row.why)}\n")
    if not rows:
        sys.stdout.write("nothing was put aside\n")


@quarantine.command
def done(kind: str, name: str, /, *, config: ConfigOption = DEFAULT_CONFIG) -> int:
    """Take one off the list, after you have seen to it. What it names stays as it is.

    Args:
        kind: As the list shows it, such as slide.
        name: As the list shows it.
    """
    from device.settings.config_file import load_config
    from device.store import Store

    with Store.connect(load_config(config).record_path) as store:
        if store.release_row(kind, name):
            sys.stdout.write(f"{kind} {name}: off the list\n")
            return 0
    sys.stderr.write(f"leukoscope: quarantine done: no {kind} {name} is on the list; `leukoscope quarantine` shows it\n")
    return 2
