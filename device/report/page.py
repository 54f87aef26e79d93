"""Writes a stored slide as one HTML page that needs nothing else: to be read on any machine, printed on A4 and reviewed by a person.

What it says is `content`'s, how it looks is in slide.html.j2; the record stays as it is. All of it is English, whatever the screen
speaks: the page goes to the laboratory and the supervisor, beside tables and FHIR that say the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from pathlib import Path
from urllib.parse import quote

from device.display.palette import TypeStyle
from device.errors import StoreError
from device.language import speaking
from device.mqtt.message import one_line
from device.mqtt.payloads import BLAST_NOTE, PayloadError, SlideSummary, read_summary
from device.mqtt.summary import morphology
from device.report import content, review_part
from device.report.case import Case, Kind
from device.review.journal import Act
from device.slide.description import describe
from device.slide.doubt import sensitivity, zero_limit
from device.slide.model import Slide, SlideState
from device.slide.picture_state import PictureState, field_faults, shown_faults
from device.slide.tally import differential
from device.slide.verdict import BLASTS
from device.store import DamagedSlideError, Store, StoredSlide
from engines.files import atomic_write
from engines.pages import NOTICE, data_uri, page_template

_NAMED = 5  # newest slides that are named where the wanted one is not there
_MAP_PX = (660, 420)
_SCALE_BARS_UM = (50, 20, 10, 5, 2, 1)
_STATES = {
    SlideState.IDLE: "not begun",
    SlideState.COUNTING: "still being counted",
    SlideState.PAUSED: "paused, still open",
    SlideState.REVIEW: "finished, waits for review",
    SlideState.SIGNED: "signed",
    SlideState.ABORTED: "aborted",
}


def write_page(record_path: Path, slide_id: str, out: Path, screens: Sequence[Path] = ()) -> None:
    """Write slide `slide_id` of the record as the HTML file `out` (atomic write); a former one is replaced.

    screens: screenshots to show; those in or below the folder of `out` are linked, others become part of the page. Raises StoreError
    (no record, no such slide, no such screenshot, `out` cannot be written); the record may be in use by a running daemon.
    """
    stored = read_slide(record_path, slide_id)
    html = page(stored, _screenshots(screens, out), record=record_path)
    if out.is_dir():
        raise StoreError(f"{out}: is a folder; name the file to write")
    try:
        out.absolute().parent.mkdir(parents=True, exist_ok=True)
        atomic_write(out, html)
    except OSError as error:
        raise StoreError(f"{out}: cannot be written: {error.strerror}; free space, or name another file") from error


def read_slide(record_path: Path, slide_id: str) -> StoredSlide:
    """The slide with its crops. Raises StoreError; for an unknown id it names the newest slides that there are."""
    with Store.read(record_path) as store:
        try:
            stored, checked = store.slide(slide_id, with_crops=True), store.check_slide(slide_id)
            return replace(stored, damage=checked.words if checked.counts else "")
        except DamagedSlideError:
            raise
        except StoreError as error:
            if error.__cause__ is not None:  # the record cannot be read, whatever the id
                raise
            newest = ", ".join(store.slide_ids(_NAMED))
            there = f"the newest are {newest}" if newest else "it holds no slides yet"
            raise StoreError(f"record {record_path}: no slide '{one_line(slide_id)}'; {there}") from error


@speaking("en")
def page(
    stored: StoredSlide, screenshots: Sequence[tuple[str, str]] = (), written_at: datetime | None = None, record: Path | None = None
) -> str:
    """The page's HTML. screenshots: name and address (relative or as data). written_at: the moment it bears, now if None. record: its
    file, beside which the pictures of fields lie; without it cells that a person added have none."""
    case = Case(stored, record)
    slide, made = case.slide, stored.provenance
    taxonomy = made.model.taxonomy
    counted, pictures = case.after, PictureState.of(slide)
    signature, review, doubt = review_part.standing(case)
    warnings = (*([doubt] if doubt else []), *review_part.doubts(case))
    looks = content.styles(taxonomy)
    in_fields = [differential(field.cells, taxonomy, bool(slide.foreign)) for field in slide.fields]
    summary, summary_fault = _summary(stored)
    bank, tile_um = content.bank(case, None if made.calibration is None else made.calibration.um_per_px)
    template = page_template(
        Path(__file__).with_name("slide.html.j2"), moment=_moment, short=_short, clock=_clock, percent="{:.1f}".format, colour=_colour
    )
    return template.render(
        content=content,
        slide=slide,
        made=made,
        state=_STATES[slide.state],
        aborted=slide.state is SlideState.ABORTED,
        review=review,
        case=case,
        signature=signature,
        was_reviewed=bool(case.entries),
        hints=review_part.hints(case),
        charts=review_part.charts(case),
        journal=review_part.journal(case),
        looked_at=sum(entry.act is Act.OPENED for entry in case.entries),
        changes=review_part.changes(case),
        lookers=review_part.lookers(case),
        readers=review_part.readers(case),
        rules=review_part.rules(case),
        focus=review_part.focus_words(slide),
        before={row.told: row.count for row in case.before.rows},
        seen_now={row.told for row in counted.by_count()},
        apart=[line for line in case.lines if line.kind is Kind.PER_100],
        together=_blasts_apart(case),
        map_by=_map_scale(case),
        blast_note=BLAST_NOTE,
        simulated=case.simulated,
        took=_took(slide),
        target=None if summary is None else summary.target_cells,
        skipped=len(slide.skipped) or (0 if summary is None else summary.skipped_pictures),
        tally=counted,
        pictures=pictures,
        warnings=warnings,
        styles=looks,
        named={style.name: style for style in looks.values()},
        zero=zero_limit(counted),
        sensitivity=sensitivity(made.model.naming, slide.foreign),
        sentences=[
            sentence for sentence in describe(slide, counted, taxonomy, made.model.naming) if sentence not in (NOTICE, *warnings)
        ],
        morphology=sorted(morphology(slide, taxonomy), key=lambda kind: -kind.cells),
        bank=bank,
        tile_um=tile_um,
        bar_um=next((um for um in _SCALE_BARS_UM if tile_um is not None and um <= 0.6 * tile_um), None),
        fields=list(zip(slide.fields, _faults(slide), in_fields, strict=True)),
        screenshots=screenshots,
        sources=sorted({field.source for field in slide.fields}),
        summary=summary,
        summary_fault=summary_fault,
        written_at=written_at or datetime.now(timezone.utc),
    )


def _blasts_apart(case: Case) -> dict[str, object]:
    """Blasts and equivalents, each alone, and the cells of which only the group is sure."""
    return {key: case.line(key) for key in ("blasts_proper", "equivalents")} | {"uncertain": case.line(BLASTS).count}


def _map_scale(case: Case) -> float:
    """px of the frames that one px of the page shows, the same for all pieces of the film: the largest then fills the map's place."""
    sizes = [max(chart.width / _MAP_PX[0], chart.height / _MAP_PX[1]) for chart in review_part.charts(case)]
    return max(sizes, default=1.0)


def _faults(slide: Slide) -> list[str]:
    """What speaks against each field, in words."""
    named = ["second look failed" if field.naming_fault else "" for field in slide.fields]
    return [", ".join(filter(None, (shown_faults(faults), fault))) for faults, fault in zip(field_faults(slide), named, strict=True)]


def _colour(style: TypeStyle) -> str:
    return "#{2:02x}{1:02x}{0:02x}".format(*style.colour)


def _clock(at: datetime) -> str:
    return f"{at.astimezone(timezone.utc):%H:%M:%S}"


def _moment(at: datetime) -> str:
    at = at.astimezone(timezone.utc)
    return f"{at.day} {at:%B %Y, %H:%M:%S} UTC"


def _short(at: datetime) -> str:
    return f"{at.astimezone(timezone.utc):%Y-%m-%d %H:%M:%S}"


def _took(slide: Slide) -> str:
    if slide.finished_at is None:
        return ""
    minutes, seconds = divmod(max(0, round((slide.finished_at - slide.started_at) / timedelta(seconds=1))), 60)
    return f"{minutes} min {seconds:02d} s"


def _summary(stored: StoredSlide) -> tuple[SlideSummary | None, str]:
    """What was sent of the slide, by this or an older version, and what makes it unreadable: a later version's form, or damage."""
    if stored.summary is None:
        return None, ""
    try:
        return read_summary(stored.summary).payload, ""
    except PayloadError as error:
        return None, str(error)


def _screenshots(screens: Sequence[Path], out: Path) -> list[tuple[str, str]]:
    folder = out.absolute().parent
    shown = []
    for path in screens:
        try:
            picture = path.read_bytes()
        except OSError as error:
            raise StoreError(f"{path}: this screenshot cannot be read: {error.strerror}; leave it out") from error
        inside = path.absolute().is_relative_to(folder)
        shown.append((path.name, quote(path.absolute().relative_to(folder).as_posix()) if inside else data_uri(picture)))
    return shown
