"""`leukoscope slides …` and `leukoscope export`: reads the command line and calls the room `report`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

from cyclopts import App, Parameter

from device.options import DEFAULT_CONFIG, ConfigOption, Count, Since, in_utc

slides = App(name="slides", help="The slides in the record: list them (without a word more), show one, hand them on, delete old ones.")


@slides.default
def list_slides(*, config: ConfigOption = DEFAULT_CONFIG, limit: Count = 20) -> None:
    """List the slides in the record, newest first.

    Args:
        limit: How many.
    """
    from device.report.terminal import print_slides
    from device.settings.config_file import load_config

    print_slides(load_config(config).record_path, limit)


@slides.command
def show(slide_id: str, /, *, config: ConfigOption = DEFAULT_CONFIG) -> None:
    """One slide in the terminal: who, when, the differential before and after the review.

    Args:
        slide_id: A slide's id, as `leukoscope slides` shows it.
    """
    from device.report.terminal import print_slide
    from device.settings.config_file import load_config

    print_slide(load_config(config).record_path, slide_id)


@slides.command(name="export")
def export_slides(
    slide_id: str = "",
    /,
    *,
    out: Path,
    since: Since = None,
    every: Annotated[bool, Parameter(name="--all")] = False,
    signed: bool = False,
    transaction: bool = False,
    embed_page: bool = False,
    config: ConfigOption = DEFAULT_CONFIG,
) -> int:
    """Write slides as files: page, two CSV tables, FHIR R4. What is there already and has not changed is left.

    Args:
        slide_id: One slide; or --since, or --all.
        out: The folder to write into; each slide and revision gets a folder of its own, complete when its export.json is there.
        every: All slides of the record.
        signed: Only signed slides.
        transaction: FHIR as a transaction that a server takes; default: a collection.
        embed_page: The page goes along within the FHIR, as presentedForm.
    """
    from device.report.export import Exported, How, Wanted, export_record
    from device.settings.config_file import load_config

    if bool(slide_id) + (since is not None) + every != 1:
        sys.stderr.write("leukoscope: slides export: name one slide, or say --since DATE, or --all\n")
        return 2
    loaded = load_config(config)
    wanted = Wanted(slide_id, in_utc(since), signed)

    in_doubt = []

    def tell(one: Exported) -> None:
        if one.left_out:
            sys.stderr.write(f"leukoscope: {one.left_out}\n")
            in_doubt.extend([one] if one.in_doubt else [])
        else:
            sys.stdout.write(f"{one.folder}{'' if one.written else ' (unchanged)'}\n")

    how = How(transaction=transaction, report_code=loaded.report.code, page_inside=embed_page)
    export_record(loaded.record_path, out, wanted, how, tell)
    return 1 if in_doubt else 0


@slides.command
def delete(
    *,
    older_than: Annotated[int, Parameter(help="Days since a slide ended, was reviewed or signed.")],
    who: str,
    reason: str,
    signed: bool = False,
    yes: bool = False,
    config: ConfigOption = DEFAULT_CONFIG,
) -> int:
    """Say which old slides would be deleted, with crops, pictures and review; with --yes delete them. Each deletion is logged.

    Never deleted: open slides, slides that wait to be sent, slides whose dates are not to be relied on.

    Args:
        who: Initials of who deletes.
        reason: Why; it stays in the log and must not name a specimen.
        signed: Signed slides too.
        yes: Do it; without it nothing is deleted.
    """
    from device.report.terminal import print_deletion
    from device.settings.config_file import load_config

    if older_than < 1:
        sys.stderr.write("leukoscope: slides delete: --older-than takes days, 1 or more\n")
        return 2
    return print_deletion(load_config(config).record_path, older_than, who, reason, signed=signed, do_it=yes)


@slides.command
def deleted(*, config: ConfigOption = DEFAULT_CONFIG) -> None:
    """The log of what was deleted: when, which slide, by whom, why."""
    from device.report.terminal import print_deletions
    from device.settings.config_file import load_config

    print_deletions(load_config(config).record_path)


def export(*, labels: Path, since: Since = None, config: ConfigOption = DEFAULT_CONFIG) -> None:
    """Write the reviewed cells of signed slides as labels to learn from, in the layout that `attridet` reads; nobody is named in them.

    Args:
        labels: A new folder.
    """
    from device.report.keeping import export_labels
    from device.settings.config_file import load_config

    written = export_labels(load_config(config).record_path, labels, in_utc(since))
    sys.stdout.write(f"{labels}: {written.words}\n")
