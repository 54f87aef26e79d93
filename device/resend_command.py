"""`leukoscope resend`: summaries and reviews that a receiver is missing go into the outbox once more."""

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
    """Send summaries and reviews again, with the ids and bytes they had; also while the appliance runs. Receivers drop doubles by id.

    Args:
        slide_id: One slide, with all its revisions, whoever has them; or --since.
        since: What was made since: 2026-11-30, or 2026-11-30T08:00. UTC.
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
    for slide, entry in back.reviews:
        sys.stdout.write(f"slide {slide}, entry {entry} of its review: goes again\n")
    for slide in back.damaged:
        damage = f"what slide {slide} handed over is damaged in the record and cannot be sent"
        sys.stderr.write(f"leukoscope: {damage}; `leukoscope verify` names what, docs/record.md what to do\n")
    left_out = f"; {back.confirmed} left out, which a receiver has confirmed (--all sends them too)" if back.confirmed else ""
    summaries, reviews = len(back.summaries), len(back.reviews)
    words = "1 summary" if summaries == 1 else f"{summaries} summaries"
    if reviews:
        words += " and 1 review" if reviews == 1 else f" and {reviews} reviews"
    sys.stdout.write(f"{words} put into the outbox{left_out}\n")
    if not loaded.broker.enabled:
        sys.stderr.write("leukoscope: broker.enabled is false: nothing is sent until it is switched on\n")
    return 1 if back.damaged else 0
