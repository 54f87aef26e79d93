"""What a page is given: plain values, read from the tables by `queries`. Nothing here asks the database."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from device.mqtt.device_status import DeviceStatus
from device.mqtt.payloads import SlideSummary


@dataclass(frozen=True)
class Filters:
    """Which slides a list shows; "" means that nobody asked. since, until: YYYY-MM-DD, both days included, by the time of arrival.

    review: "unreviewed", "reviewed", "corrected"; blasts: "yes", "no"; doubt: "yes"; simulated: "yes", "no"; q: words in slide, device,
    specimen or model.
    """

    q: str = ""
    device: str = ""
    review: str = ""
    blasts: str = ""
    since: str = ""
    until: str = ""
    doubt: str = ""
    simulated: str = ""


@dataclass(frozen=True)
class DeviceRow:
    """A device: its newest status, and what is wrong. unconfirmed: it says that so many messages wait for a receipt."""

    device_id: str
    status: DeviceStatus | None
    heard_at: datetime
    silent: bool
    silent_since: datetime | None
    slides: int
    waiting: int
    gaps: int
    quarantined: int
    unconfirmed: int


@dataclass(frozen=True)
class SlideRow:
    """A slide by its newest revision, or one revision of it. blasts counts equivalents; blast_low, blast_high: 95 %, None: not said.

    blast_high of a zero is what the zero leaves open.
    """

    device_id: str
    slide_id: str
    revision: int
    received_at: datetime
    started_at: datetime
    finished_at: datetime
    time_trusted: bool
    state: str
    review_state: str
    corrected: bool
    white_cells: int
    target_cells: int
    blasts: int
    blast_percent: float
    blast_low: float | None
    blast_high: float | None
    blasts_confirmed: bool
    simulated: bool
    film: str
    doubtful: bool
    at_least: bool
    specimen: str
    model: str
    seconded: int


@dataclass(frozen=True)
class SlidePage:
    """One page of a list; page counts from 1."""

    rows: tuple[SlideRow, ...]
    page: int
    pages: int
    total: int


@dataclass(frozen=True)
class HistoryRow:
    """What happened to a slide or a device. who: a user or a device, "" for none; words: plain text of others, to be escaped."""

    at: datetime
    kind: str
    who: str = ""
    words: str = ""


@dataclass(frozen=True)
class GapRow:
    """Numbers that are missing in a device's stream."""

    device_id: str
    stream: str
    kind: str
    first: int
    last: int
    seen_at: datetime


@dataclass(frozen=True)
class HealthPoint:
    """How a device did; None where it did not say."""

    at: datetime
    fps: float | None
    temperature_c: float | None
    disk_free_mb: float | None
    outbox: int | None


@dataclass(frozen=True)
class SecondRow:
    """A second person's word under a revision. digest: of the summary that was signed."""

    at: datetime
    who: str
    initials: str
    agree: bool
    words: str
    revision: int
    digest: str


@dataclass(frozen=True)
class OneSlide:
    """All of one slide. row, summary: the revision that is shown. taken: the message ids that were confirmed to the device."""

    row: SlideRow
    summary: SlideSummary
    digest: str
    newest: bool
    revisions: tuple[SlideRow, ...]
    history: tuple[HistoryRow, ...]
    seconds: tuple[SecondRow, ...]
    taken: str


@dataclass(frozen=True)
class RejectedRow:
    """A message that was put aside: `why` and `topic` are plain text of others, to be escaped."""

    at: datetime
    device_id: str
    topic: str
    why: str
    size: int


@dataclass(frozen=True)
class UserRow:
    """An account; a page never sees its hash."""

    name: str
    role: str
    active: bool
    language: str
    created_at: datetime
    last_login: datetime | None


@dataclass(frozen=True)
class AuditRow:
    """One entry of the audit log."""

    at: datetime
    who: str
    what: str
    about: str
    address: str
    words: str


@dataclass(frozen=True)
class Counts:
    """The overview's numbers; waiting: unreviewed slides with blasts; today: slides since midnight UTC."""

    devices: int
    slides: int
    waiting: int
    today: int
    rejected: int
