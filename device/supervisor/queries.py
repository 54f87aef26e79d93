"""What pages ask of the tables: each function is given a session of one read and answers with plain values (`rows`)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import date, datetime, time, timedelta, timezone
from typing import Any, Final

from sqlalchemy import ColumnElement, Select, and_, case, func, or_, select
from sqlalchemy.orm import Session

from device.mqtt.events import read_event, read_review
from device.mqtt.payloads import PayloadError, SlideSummary, read_summary
from device.supervisor.rows import (
    AuditRow,
    Counts,
    DeviceRow,
    Filters,
    GapRow,
    HealthPoint,
    HistoryRow,
    OneSlide,
    RejectedRow,
    SecondRow,
    SlidePage,
    SlideRow,
    UserRow,
)
from device.supervisor.statuses import kept_status
from device.supervisor.summaries import slide_values
from device.supervisor.tables import (
    Audit,
    Device,
    DeviceState,
    Gap,
    HealthSample,
    Note,
    Rejected,
    SecondSignature,
    SentReceipt,
    Slide,
    Summary,
    User,
)

ROWS_A_PAGE: Final = 50
_OF_A_DEVICE: Final = 200
_WAITING = and_(Slide.review_state == "unreviewed", Slide.blast_count > 0)


# ---- devices


def devices(session: Session, only: str = "") -> list[DeviceRow]:
    """All devices by name, or one. Silent are those that `alarms` found so."""
    wanted = select(Device).order_by(Device.device_id)
    slides = select(Slide.device_id, func.count(), func.sum(case((_WAITING, 1), else_=0))).group_by(Slide.device_id)
    missing = select(Gap.device_id, func.sum(Gap.last - Gap.first + 1)).where(Gap.closed_at.is_(None)).group_by(Gap.device_id)
    if only:
        wanted = wanted.where(Device.device_id == only)
        slides, missing = slides.where(Slide.device_id == only), missing.where(Gap.device_id == only)
    by_slides = {row[0]: (int(row[1]), int(row[2])) for row in session.execute(slides)}
    by_gaps = {row[0]: int(row[1]) for row in session.execute(missing)}
    return [_device(one, *by_slides.get(one.device_id, (0, 0)), by_gaps.get(one.device_id, 0)) for one in session.scalars(wanted)]


def device_names(session: Session) -> list[str]:
    """Those of all devices, in order, for a choice."""
    return list(session.scalars(select(Device.device_id).order_by(Device.device_id)))


def device(session: Session, device_id: str) -> DeviceRow | None:
    """One device; None where it was never heard."""
    return next(iter(devices(session, device_id)), None)


def _device(one: Device, slides: int, waiting: int, gaps: int) -> DeviceRow:
    status = kept_status(one.status)
    silent = one.silent_since is not None and one.state == "online"
    return DeviceRow(
        device_id=one.device_id,
        status=status,
        heard_at=one.last_heard_at,
        silent=silent,
        silent_since=one.last_heard_at if silent else None,
        slides=slides,
        waiting=waiting,
        gaps=gaps,
        quarantined=0 if status is None else status.quarantined or 0,
        unconfirmed=0 if status is None else status.unconfirmed or 0,
    )


def device_history(session: Session, device_id: str) -> list[HistoryRow]:
    """The newest first: changes of state, events, gaps."""
    rows = []
    wanted = select(DeviceState).where(DeviceState.device_id == device_id).order_by(DeviceState.id.desc()).limit(_OF_A_DEVICE)
    for one in session.scalars(wanted):
        kind = (one.reason or one.state) if one.state == "offline" else one.state
        rows.append(HistoryRow(one.at, kind, "", one.words))
    for note in session.scalars(select(Note).where(Note.device_id == device_id).order_by(Note.id.desc()).limit(_OF_A_DEVICE)):
        rows.append(HistoryRow(note.received_at, note.kind, device_id, f"{note.slide_id}: {_note_words(note)}"))
    for gap in session.scalars(select(Gap).where(Gap.device_id == device_id).order_by(Gap.id.desc()).limit(_OF_A_DEVICE)):
        rows.append(HistoryRow(gap.noticed_at, "gap", "", f"{gap.kind} {_numbers(gap)}" + (", came later" if gap.closed_at else "")))
    return sorted(rows, key=lambda row: row.at, reverse=True)[:_OF_A_DEVICE]


def _numbers(gap: Gap) -> str:
    return f"{gap.first}" if gap.first == gap.last else f"{gap.first} to {gap.last}"


def _note_words(note: Note) -> str:
    """An event's own sentence; a review's act."""
    try:
        return read_event(note.payload).payload.text if note.kind == "event" else f"{note.what}, revision {_revision(note)}"
    except PayloadError:  # kept by a newer version of ours
        return note.what


def _revision(note: Note) -> int:
    return read_review(note.payload).payload.revision


def health(session: Session, device_id: str, since: datetime) -> list[HealthPoint]:
    """In the order of time."""
    wanted = select(HealthSample).where(HealthSample.device_id == device_id, HealthSample.at >= since).order_by(HealthSample.at)
    return [HealthPoint(one.at, one.fps, one.temperature_c, one.disk_free_mb, one.outbox) for one in session.scalars(wanted)]


def open_gaps(session: Session, device_id: str = "", limit: int = 100) -> list[GapRow]:
    """What is missing still, the newest first."""
    wanted = select(Gap).where(Gap.closed_at.is_(None)).order_by(Gap.id.desc()).limit(limit)
    if device_id:
        wanted = wanted.where(Gap.device_id == device_id)
    return [GapRow(one.device_id, one.stream, one.kind, one.first, one.last, one.noticed_at) for one in session.scalars(wanted)]


# ---- slides


def slides(session: Session, filters: Filters, page: int = 1, per_page: int = ROWS_A_PAGE) -> SlidePage:
    """One page, the newest arrival first; a page beyond the last is the last."""
    conditions = _conditions(filters)
    total = session.scalar(select(func.count()).select_from(Slide).where(*conditions)) or 0
    page, pages = _within(page, total, per_page)
    wanted = _newest_first(conditions).limit(per_page).offset((page - 1) * per_page)
    return SlidePage(_slide_rows(session, session.scalars(wanted).all()), page, pages, total)


def every_slide(session: Session, filters: Filters) -> Iterator[SlideRow]:
    """All slides of a filter in the same order, for a download: one query, so that none is told twice while others arrive."""
    for some in session.scalars(_newest_first(_conditions(filters)), execution_options={"yield_per": 500}).partitions():
        yield from _slide_rows(session, some)


def _newest_first(conditions: list[ColumnElement[bool]]) -> Select[Any]:
    return select(Slide).where(*conditions).order_by(Slide.received_at.desc(), Slide.summary_id.desc())


def _within(page: int, total: int, per_page: int) -> tuple[int, int]:
    """The page that there is, the last at most, and how many there are; both count from 1."""
    pages = max(1, -(-total // per_page))
    return min(max(1, page), pages), pages


def waiting(session: Session, limit: int = 20) -> list[SlideRow]:
    """Slides with blasts that nobody reviewed, the one that waits longest first, then other unreviewed ones."""
    first = case((Slide.blast_count > 0, 0), else_=1)
    wanted = select(Slide).where(Slide.review_state == "unreviewed").order_by(first, Slide.first_received_at, Slide.summary_id)
    return list(_slide_rows(session, session.scalars(wanted.limit(limit)).all()))


def overdue(session: Session, now: datetime, after: timedelta) -> list[SlideRow]:
    """Slides with blasts that wait for a reviewer for longer than `after`; rendered film never does."""
    wanted = select(Slide).where(_WAITING, Slide.simulated.is_(False), Slide.first_received_at < now - after)
    return list(_slide_rows(session, session.scalars(wanted.order_by(Slide.first_received_at).limit(100)).all()))


def _conditions(filters: Filters) -> list[ColumnElement[bool]]:
    found: list[ColumnElement[bool]] = []
    if filters.device:
        found.append(Slide.device_id == filters.device)
    if filters.review == "corrected":
        found.append(Slide.corrected.is_(True))
    elif filters.review:
        found.append(Slide.review_state == filters.review)
    if filters.blasts:
        found.append(Slide.blast_count > 0 if filters.blasts == "yes" else Slide.blast_count == 0)
    if filters.doubt == "yes":
        found.append(Slide.doubtful.is_(True))
    if filters.simulated:
        found.append(Slide.simulated.is_(filters.simulated == "yes"))
    if (since := _midnight(filters.since)) is not None:
        found.append(Slide.received_at >= since)
    if (until := _midnight(filters.until)) is not None:
        found.append(Slide.received_at < until + timedelta(days=1))
    for word in filters.q.split()[:8]:
        fields = (Slide.slide_id, Slide.device_id, Slide.specimen, Slide.model)
        found.append(or_(*(field.icontains(word, autoescape=True) for field in fields)))
    return found


def _midnight(day: str) -> datetime | None:
    """The day's beginning in UTC; None for what is no day, which then asks for nothing."""
    try:
        return datetime.combine(date.fromisoformat(day), time(), timezone.utc) if day else None
    except ValueError:
        return None


def _slide_rows(session: Session, found: Sequence[Slide]) -> tuple[SlideRow, ...]:
    counted = _seconded(session, [one.summary_id for one in found])
    names = [name for name in SlideRow.__dataclass_fields__ if name not in _RENAMED]
    return tuple(
        SlideRow(**{name: getattr(one, name) for name in names}, blasts=one.blast_count, seconded=counted.get(one.summary_id, 0))
        for one in found
    )


_RENAMED: Final = {"blasts", "seconded"}


def _seconded(session: Session, summary_ids: Iterable[int]) -> dict[int, int]:
    """Of each summary how many seconded it."""
    of = SecondSignature.summary_id
    wanted = select(of, func.count()).where(of.in_(list(summary_ids)), SecondSignature.agree.is_(True)).group_by(of)
    return {row[0]: int(row[1]) for row in session.execute(wanted)}


def slide(session: Session, device_id: str, slide_id: str, revision: int | None = None) -> OneSlide | None:
    """All of one slide, as its newest revision or an earlier one says it; None where there is no such slide or revision."""
    current = session.get(Slide, (device_id, slide_id))
    if current is None:
        return None
    of_slide = select(Summary).where(Summary.device_id == device_id, Summary.slide_id == slide_id)
    came = list(session.scalars(of_slide.order_by(Summary.revision, Summary.finished_at, Summary.id)))
    shown = next((one for one in came if one.id == current.summary_id), came[-1])
    if revision is not None:
        of_revision = [one for one in came if one.revision == revision]
        if not of_revision:
            return None
        shown = of_revision[-1] if revision != current.revision else shown
    read = {one.id: read_summary(one.payload).payload for one in came}
    counted = _seconded(session, read)
    rows = {one.id: _revision_row(one, read[one.id], counted.get(one.id, 0)) for one in came}
    receipts = _receipts(session, device_id, [one.message_id for one in came])
    seconds = _seconds(session, device_id, slide_id)
    return OneSlide(
        row=rows[shown.id],
        summary=read[shown.id],
        digest=shown.digest,
        newest=shown.id == current.summary_id,
        revisions=tuple(rows[one.id] for one in came),
        history=_slide_history(session, device_id, slide_id, came, read, receipts, seconds),
        seconds=seconds,
        taken=", ".join(one.message_id for one in receipts if one.sent_at is not None),
    )


def _revision_row(one: Summary, summary: SlideSummary, seconded: int) -> SlideRow:
    values: dict[str, Any] = slide_values(summary, one.id, one.received_at)
    del values["summary_id"]
    blasts = values.pop("blast_count")
    return SlideRow(device_id=one.device_id, slide_id=one.slide_id, blasts=blasts, seconded=seconded, **values)


def _receipts(session: Session, device_id: str, message_ids: list[str]) -> list[SentReceipt]:
    wanted = select(SentReceipt).where(SentReceipt.device_id == device_id, SentReceipt.message_id.in_(message_ids))
    return list(session.scalars(wanted))


def _slide_history(
    session: Session,
    device_id: str,
    slide_id: str,
    came: list[Summary],
    read: dict[int, SlideSummary],
    receipts: list[SentReceipt],
    seconds: tuple[SecondRow, ...],
) -> tuple[HistoryRow, ...]:
    """In the order of time."""
    rows = []
    for one in came:
        review = read[one.id].review
        rows.append(HistoryRow(one.received_at, "summary", device_id, f"revision {one.revision}"))
        if review is not None and review.signed_at is not None:
            rows.append(HistoryRow(review.signed_at, "review", review.reviewer, review.reason))
    rows += [HistoryRow(one.sent_at, "receipt", "", one.message_id) for one in receipts if one.sent_at is not None]
    of_slide = (Note.device_id == device_id, Note.slide_id == slide_id)
    for note in session.scalars(select(Note).where(*of_slide).order_by(Note.id)):
        rows.append(HistoryRow(note.received_at, note.kind, device_id, _note_words(note)))
    rows += [HistoryRow(one.at, "second", one.who, one.words) for one in seconds]
    return tuple(sorted(rows, key=lambda row: row.at))


def _seconds(session: Session, device_id: str, slide_id: str) -> tuple[SecondRow, ...]:
    wanted = select(SecondSignature).where(SecondSignature.device_id == device_id, SecondSignature.slide_id == slide_id)
    return tuple(
        SecondRow(one.signed_at, one.name, one.initials, one.agree, one.words, one.revision, one.digest)
        for one in session.scalars(wanted.order_by(SecondSignature.id))
    )


# ---- the rest


def counts(session: Session, now: datetime) -> Counts:
    """The overview's numbers."""

    def number(of: type[Device] | type[Slide] | type[Rejected], *conditions: ColumnElement[bool]) -> int:
        return session.scalar(select(func.count()).select_from(of).where(*conditions)) or 0

    midnight = now.astimezone(timezone.utc).replace(hour=0, minute=0, second=0, microsecond=0)
    today = number(Slide, Slide.first_received_at >= midnight)
    return Counts(number(Device), number(Slide), number(Slide, _WAITING), today, number(Rejected))


def rejected(session: Session, limit: int = 20) -> list[RejectedRow]:
    """What was put aside, the newest first."""
    wanted = select(Rejected).order_by(Rejected.id.desc()).limit(limit)
    return [RejectedRow(one.received_at, one.device_id, one.topic, one.why, one.size) for one in session.scalars(wanted)]


def users(session: Session) -> list[UserRow]:
    """All accounts by name, those switched off too."""
    return [
        UserRow(one.name, one.role, one.active, one.language, one.created_at, one.last_login_at)
        for one in session.scalars(select(User).order_by(User.name))
    ]


def audit(session: Session, page: int = 1, per_page: int = 100) -> tuple[list[AuditRow], int, int]:
    """One page of the audit log, the newest first; with its number and how many there are."""
    total = session.scalar(select(func.count()).select_from(Audit)) or 0
    page, pages = _within(page, total, per_page)
    wanted = select(Audit).order_by(Audit.id.desc()).limit(per_page).offset((page - 1) * per_page)
    rows = [AuditRow(one.at, one.who, one.action, one.object, one.address, one.detail) for one in session.scalars(wanted)]
    return rows, page, pages
