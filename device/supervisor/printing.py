"""What `watch` shows of a summary and of a status in a terminal. What arrives was written by others: it is shown as plain text."""

from __future__ import annotations

from rich.bar import Bar
from rich.console import Group, RenderableType
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from device.mqtt.device_status import DeviceStatus
from device.mqtt.events import ReviewEvent, SlideEvent
from device.mqtt.payloads import SlideSummary
from device.slide.doubt import FOREIGN, UNKNOWN_SENSITIVITY, zero_words
from device.slide.picture_state import count_of
from device.supervisor.doubt import blast_range, picture_state

_BAR_COLUMNS = 32
_BLAST_MARK = "◆"  # told apart by shape as well as by colour


def render_status(status: DeviceStatus, *, retained: bool = False) -> Text:
    """One line: who, whether online, and how its parts do."""
    line = Text.assemble((plain(f"{status.device_id}  "), "bold"))
    if status.state == "offline":
        why = {"lost": "connection lost", "stopped": "switched off", None: "no reason given"}[status.offline_reason]
        line.append(f"OFFLINE ({why})", style="bold red")
        line.append("" if status.since is None else f" since {status.since:%Y-%m-%d %H:%M:%S %Z}")
    else:
        line.append("ONLINE", style="bold green")
        for name, part in (("camera", status.camera), ("engine", status.engine), ("record", status.record)):
            style = {"ok": "", "busy": "", "warn": "yellow", "fail": "bold red"}[part.level]
            line.append(plain(f" · {name} {part.level}" + (f": {part.text}" if part.text else "")), style=style)
        if status.slide is not None:
            slide = status.slide
            line.append(plain(f" · slide {slide.slide_id} {slide.state}, {_of_target(slide.white_cells, slide.target_cells)}"))
            line.append(" · A BLAST OR EQUIVALENT WAS SEEN" if slide.blast_seen else "", style="bold red")
    if status.outbox_pending:
        line.append(f" · {status.outbox_pending} waiting in the outbox")
    if status.simulated:
        line.append(" · SIMULATED", style="bold magenta")
    if retained:
        line.append(" (last known)", style="dim")
    return line


def render_event(event: SlideEvent) -> Text:
    """One line that nobody misses: what the device saw on a slide that is still counted, unreviewed."""
    moment = f"{event.at:%Y-%m-%d %H:%M:%S %Z}"
    line = Text(plain(f"{event.device_id}  {moment} · slide {event.slide_id}: {event.text}"), style="bold red")
    line.append(f" {event.review_state.upper()}. {event.notice}", style="bold yellow")
    return line.append(" SIMULATED" if event.simulated else "", style="bold magenta")


def render_review(review: ReviewEvent) -> Text:
    """One line: what a person did to a slide."""
    act = {"signed": "was signed", "seconded": "was signed by a second person", "reopened": "was opened again for a correction"}
    line = Text(plain(f"{review.device_id}  slide {review.slide_id} {act[review.act]}, revision {review.revision}"))
    line.append(f", {review.at:%Y-%m-%d %H:%M %Z}" + ("" if review.time_trusted else " (the device's clock was not set)"))
    return line.append(" SIMULATED" if review.simulated else "", style="bold magenta")


def _of_target(white_cells: int, target: int) -> str:
    """ "37 of 200 white cells", "313 white cells, 100 wanted"."""
    return f"{white_cells} of {target} white cells" if white_cells <= target else f"{white_cells} white cells, {target} wanted"


def render_summary(summary: SlideSummary) -> RenderableType:
    """A summary as a table with its bars, words and provenance; review state and notice stand where nobody misses them."""
    review = f"revision {summary.revision}, {summary.review_state}" if summary.revision else summary.review_state.upper()
    if summary.review is not None and summary.review.corrected:
        review += ", CORRECTED: it takes the place of the one before"
    aborted = f" · ABORTED: {plain(summary.abort_reason)}" if summary.state == "aborted" else ""
    lines: list[RenderableType] = [Text(f"{review}{aborted}", style="bold yellow")]
    if summary.source.simulated:
        lines.append(Text("SIMULATED FILM, no patient's blood", style="bold magenta"))
    warnings = (*([FOREIGN] if summary.film == "foreign" else []), *picture_state(summary).sentences(only_grave=True))
    lines += [Text(f"! {sentence}", style="bold yellow") for sentence in warnings]
    lines += [_header(summary), Text(), _differential(summary), _blasts(summary), *_review(summary)]
    if summary.description:
        lines += [Text(), *(Text(f"• {plain(sentence)}") for sentence in summary.description if sentence not in warnings)]
    lines += [Text(), _morphology(summary), Text(), _provenance(summary), Text(plain(summary.notice), style="bold")]
    title = Text(plain(f" slide {summary.slide_id} · {summary.device_id} "), style="bold")
    return Panel(Group(*lines), title=title, subtitle=Text(f" {review} ", style="bold yellow"), expand=False, padding=(0, 1))


def _header(summary: SlideSummary) -> Text:
    took = summary.finished_at - summary.started_at
    minutes, seconds = divmod(max(0, int(took.total_seconds())), 60)
    text = Text(f"{summary.started_at:%Y-%m-%d %H:%M %Z}, {minutes} min {seconds:02d} s")
    if not summary.time_trusted:
        text.append(" (the device's clock was not set: check the date)", style="yellow")
    text.append(f" · {count_of(summary.fields_counted, 'field')}")
    if summary.fields_undone:
        text.append(f" ({summary.fields_undone} undone)")
    at_least = picture_state(summary).at_least
    text.append(f" · {at_least}{_of_target(summary.white_cells, summary.target_cells)}")
    if summary.skipped_pictures:
        text.append(f" · {summary.skipped_pictures} pictures could not be read", style="yellow")
    return text


def _differential(summary: SlideSummary) -> Table:
    table = Table(box=None, pad_edge=False, header_style="dim")
    table.add_column("White blood cell")
    table.add_column("n", justify="right")
    table.add_column("%", justify="right")
    table.add_column("of all white cells, 0 to 100 %", width=_BAR_COLUMNS, no_wrap=True)
    for row in sorted((r for r in summary.differential if r.count), key=lambda r: -r.count):
        style = "bold red" if row.blast else ""
        name = Text(f"{_BLAST_MARK if row.blast else ' '} {plain(row.name)}", style=style)
        bar = Bar(100, 0, row.percent, width=_BAR_COLUMNS, color="red" if row.blast else "cyan")
        table.add_row(name, str(row.count), f"{row.percent:.1f}", bar)
    if summary.unidentified.count:
        other = summary.unidentified
        bar = Bar(100, 0, other.percent, width=_BAR_COLUMNS, color="bright_black")
        table.add_row(Text("  unidentified", style="italic"), str(other.count), f"{other.percent:.1f}", bar)
    if not summary.white_cells:
        table.add_row(Text("  none counted", style="italic"), "0", "", "")
    table.add_row(Text("  artefacts (not counted)", style="dim"), Text(str(summary.artefacts), style="dim"), "", "")
    return table


def _blasts(summary: SlideSummary) -> Text:
    """The count with its interval; a zero with what it leaves open, worked out here where an older device did not say."""
    blasts = summary.blasts
    if blasts.count:
        low, high = blast_range(summary)
        said = f" ({blasts.percent:.1f} %, 95 % range {low:.0f} to {high:.0f} %). "
    else:
        said = f". That does not exclude them: {zero_words(summary.white_cells - summary.unidentified.count)}. "
        said += f"{plain(blasts.sensitivity or UNKNOWN_SENSITIVITY)} "
    note = "A person opened each of them and signed." if blasts.confirmed and blasts.count else "" if blasts.confirmed else blasts.note
    return Text.assemble((f"{_BLAST_MARK} Blasts: {blasts.count}{said}", "bold red" if blasts.count else "bold"), plain(note))


def _review(summary: SlideSummary) -> list[Text]:
    """What is told apart from the differential, what may be counted twice, and what a person changed; nothing of an older device."""
    lines = []
    if apart := [row for row in summary.apart or () if row.count and row.key != "artefact"]:  # those stand with the counts
        told = (f"{row.name} {row.count}" + ("" if row.per_100 is None else f" ({row.per_100:.1f} per 100)") for row in apart)
        lines.append(Text(plain(f"Not in the differential: {', '.join(told)}.")))
    if summary.possible_doubles:
        words = f"{summary.charts} pieces of film were never joined: {summary.possible_doubles} cells at most may be counted twice."
        lines.append(Text(words, style="yellow"))
    if (review := summary.review) is not None and review.signed_at is not None:
        who = f" by {review.reviewer}" if review.reviewer else ""
        why = f"; {review.reason}" if review.reason else ""
        words = (
            f"Signed {review.signed_at:%Y-%m-%d %H:%M %Z}{who}: {review.changed_cells} cells changed, {review.added_cells} added{why}."
        )
        lines.append(Text(plain(words)))
    return lines


def _morphology(summary: SlideSummary) -> Table:
    table = Table(box=None, pad_edge=False, header_style="dim")
    table.add_column("Morphology", no_wrap=True)
    table.add_column("most frequent word of each attribute (its share)")
    for kind in sorted(summary.morphology, key=lambda k: -k.cells):
        words = []
        for attribute in kind.attributes:
            if attribute.majority is not None:
                share = next((s.percent for s in attribute.shares if s.value == attribute.majority), 0.0)
                words.append(f"{attribute.name.lower()} {attribute.majority} ({share:.0f}%)")
        table.add_row(Text(plain(f"{kind.name} ({kind.cells})")), Text(plain(", ".join(words)) or "unknown"))
    return table


def _provenance(summary: SlideSummary) -> Text:
    model, calibration, source = summary.model, summary.calibration, summary.source
    scale = "scale unknown" if calibration.um_per_px is None else f"{calibration.um_per_px:.4f} µm/px"
    measured = "measured" if calibration.measured else "nominal, sizes are indicative"
    layer = model.naming
    parts = (
        f"model {model.name} {model.version} {model.precision} {model.digest[:8]} on {model.runtime}; "
        f"scores from {model.score_threshold:g}, named from {model.identify_threshold:g}",
        *([f"naming layer {layer.label}"] if layer is not None and layer.name else []),
        f"calibration {calibration.profile} {calibration.version} {calibration.objective}x, {scale} ({measured})",
        f"source {source.kind} {source.name}; message {summary.message_id}",
    )
    return Text(plain("\n".join(parts), keep="\n"), style="dim")


def plain(text: str, keep: str = "") -> str:
    """`text` with whatever could steer a terminal replaced."""
    return "".join(c if c.isprintable() or c in keep else "�" for c in text)
