"""`leukoscope resend`: summaries that a receiver is missing go into the outbox once more."""

from __future__ import annotations

import sys
from typing import Annotated

from cyclopts import Parameter

from device.options import DEFAULT_CONFIG, ConfigOption, Since, in_utc


def resend(
    slide_id: str = "",
    /,
    *,
    since: Since = None,
    every: Annotated[bool, Parameter(name="--all")] = False,
    config: ConfigOption = DEFAULT_CONFIG,
) -> int:
    """Send summaries again, with the message ids and bytes that they had; also while the appliance runs. Receivers drop doubles by id.

    Args:
        slide_id: One slide, with all its revisions, whoever has them; or --since.
        since: Summaries that were made since: 2026-11-30, or 2026-11-30T08:00. UTC.
        every: With --since also those that a receiver has confirmed.
    """
    from device.settings.config_file import load_config
    from device.store import Store
    from device.store.resend import Wanted

    if bool(slide_id) == (since is not None):
        sys.stderr.write("leukoscope: resend: name one slide, or say --since DATE\n")
        return 2
    if every and slide_id:
        sys.stderr.write("leukoscope: resend: --all goes with --since; a slide that is named is sent again whoever has it\n")
        return 2
    loaded = load_config(config)
    with Store.connect(loaded.record_path) as store:
        back = store.resend(Wanted(slide_id, in_utc(since), every), loaded.broker.topic_root)
    for slide, revision in back.summaries:
        sys.stdout.write(f"slide {slide}, revision {revision}: goes again\n")
    for slide in back.damaged:
        sys.stderr.write(f"leukoscope: the summary of slide {slide} is damaged in the record and cannot be sent; `leukoscope verify`\n")
    left_out = f"; {back.confirmed} left out, which a receiver has confirmed (--all sends them too)" if back.confirmed else ""
    count = len(back.summaries)
    sys.stdout.write(f"{'1 summary' if count == 1 else f'{count} summaries'} put into the outbox{left_out}\n")
    if not loaded.broker.enabled:
        sys.stderr.write("leukoscope: broker.enabled is false: nothing is sent until it is switched on\n")
    return 1 if back.damaged else 0
