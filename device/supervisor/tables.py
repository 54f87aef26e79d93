"""The supervisor's tables (SQLAlchemy 2), the same on SQLite and on PostgreSQL. Every change of them is a migration (`migrations`).

A message is kept as the bytes that came; columns beside them are only what lists and alarms ask for, taken from those bytes once.
Ids of messages are told apart by device: one device cannot push out another's message by bearing its id.
"""

from __future__ import annotations

from datetime import datetime, timezone
from typing import Any, ClassVar

from sqlalchemy import BigInteger, DateTime, Dialect, Double, Index, Integer, LargeBinary, MetaData, String, Text, UniqueConstraint
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column
from sqlalchemy.types import TypeDecorator

LONGEST_ID = 120
"""Characters of a slide's id; longer ones are no device's of ours, and are put aside."""
LARGEST_NUMBER = 2**53 - 1
"""What a column of numbers takes, and JSON of other programs too."""


class UtcTime(TypeDecorator[datetime]):
    """A moment with its zone, kept as UTC; SQLite keeps no zone, so it is put back when read."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """To the database. ValueError for a time without a zone."""
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError("a time without its zone")
        return value.astimezone(timezone.utc)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """From the database."""
        if value is None or value.tzinfo is not None:
            return None if value is None else value.astimezone(timezone.utc)
        return value.replace(tzinfo=timezone.utc)


Key = BigInteger().with_variant(Integer, "sqlite")
"""A row's number; SQLite counts up by itself only in INTEGER."""


class Base(DeclarativeBase):
    """Names of constraints are fixed, so that a migration can find them on both databases."""

    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "pk": "pk_%(table_name)s",
            "fk": "fk_%(table_name)s_%(column_0_name)s",
        }
    )
    type_annotation_map: ClassVar[dict[Any, Any]] = {datetime: UtcTime, bytes: LargeBinary, int: BigInteger, float: Double}


class Device(Base):
    """A device that was heard, with its newest status as it came; silent_since: when it fell silent, None while it is heard."""

    __tablename__ = "devices"

    device_id: Mapped[str] = mapped_column(String(64), primary_key=True)
    first_heard_at: Mapped[datetime]
    last_heard_at: Mapped[datetime]
    state: Mapped[str] = mapped_column(String(16), default="unknown")
    offline_reason: Mapped[str] = mapped_column(String(16), default="")
    since: Mapped[datetime | None]
    status_at: Mapped[datetime | None]
    status: Mapped[bytes | None]
    silent_since: Mapped[datetime | None]
    simulated: Mapped[bool] = mapped_column(default=False)


class HealthSample(Base):
    """How a device did at a moment, thinned out by the receiver; what it did not say is NULL."""

    __tablename__ = "health"
    __table_args__ = (Index(None, "device_id", "at"),)

    id: Mapped[int] = mapped_column(Key, primary_key=True)
    device_id: Mapped[str] = mapped_column(String(64))
    at: Mapped[datetime]
    fps: Mapped[float | None]
    temperature_c: Mapped[float | None]
    disk_free_mb: Mapped[float | None]
    outbox: Mapped[int | None]


class DeviceState(Base):
    """A change of a device's state or of what is wrong with it; what stays the same is not written again."""

    __tablename__ = "device_states"
    __table_args__ = (Index(None, "device_id", "id"),)

    id: Mapped[int] = mapped_column(Key, primary_key=True)
    device_id: Mapped[str] = mapped_column(String(64))
    at: Mapped[datetime]
    state: Mapped[str] = mapped_column(String(16))
    reason: Mapped[str] = mapped_column(String(16), default="")
    words: Mapped[str] = mapped_column(Text, default="")


class Stream(Base):
    """One row of numbers that a device gives its messages of a kind; `highest`: the highest that came."""

    __tablename__ = "streams"

    device_id: Mapped[str] = mapped_column(String(64), primary_key=True)
    kind: Mapped[str] = mapped_column(String(16), primary_key=True)
    stream: Mapped[str] = mapped_column(String(LONGEST_ID), primary_key=True)
    lowest: Mapped[int]
    highest: Mapped[int]
    last_at: Mapped[datetime]


class Gap(Base):
    """Numbers of a stream, `first` to `last`, that had not come when later ones had; `closed_at` once they came."""

    __tablename__ = "gaps"
    __table_args__ = (Index(None, "device_id", "kind", "stream", "first"),)

    id: Mapped[int] = mapped_column(Key, primary_key=True)
    device_id: Mapped[str] = mapped_column(String(64))
    kind: Mapped[str] = mapped_column(String(16))
    stream: Mapped[str] = mapped_column(String(LONGEST_ID))
    first: Mapped[int]
    last: Mapped[int]
    noticed_at: Mapped[datetime]
    closed_at: Mapped[datetime | None]


class Summary(Base):
    """One summary as it came, and what lists ask of it."""

    __tablename__ = "summaries"
    __table_args__ = (UniqueConstraint("device_id", "message_id"), Index(None, "device_id", "slide_id"), Index(None, "received_at"))

    id: Mapped[int] = mapped_column(Key, primary_key=True)
    message_id: Mapped[str] = mapped_column(String(36))
    device_id: Mapped[str] = mapped_column(String(64))
    slide_id: Mapped[str] = mapped_column(String(LONGEST_ID))
    revision: Mapped[int]
    stream: Mapped[str] = mapped_column(String(LONGEST_ID))
    sequence: Mapped[int]
    started_at: Mapped[datetime]
    finished_at: Mapped[datetime]
    received_at: Mapped[datetime]
    digest: Mapped[str] = mapped_column(String(64))
    payload: Mapped[bytes]


class Slide(Base):
    """A slide as its newest revision says it; `summary_id` names that one. blast_count counts equivalents too."""

    __tablename__ = "slides"
    __table_args__ = (Index(None, "received_at"), Index(None, "review_state", "blast_count"))

    device_id: Mapped[str] = mapped_column(String(64), primary_key=True)
    slide_id: Mapped[str] = mapped_column(String(LONGEST_ID), primary_key=True)
    summary_id: Mapped[int]
    revision: Mapped[int]
    revisions: Mapped[int]
    state: Mapped[str] = mapped_column(String(16))
    review_state: Mapped[str] = mapped_column(String(16))
    corrected: Mapped[bool]
    started_at: Mapped[datetime]
    finished_at: Mapped[datetime]
    time_trusted: Mapped[bool]
    received_at: Mapped[datetime]
    first_received_at: Mapped[datetime]
    white_cells: Mapped[int]
    target_cells: Mapped[int]
    blast_count: Mapped[int]
    blast_percent: Mapped[float]
    blast_low: Mapped[float | None]
    blast_high: Mapped[float | None]
    blasts_confirmed: Mapped[bool]
    film: Mapped[str] = mapped_column(String(16))
    doubtful: Mapped[bool]
    at_least: Mapped[bool]
    simulated: Mapped[bool]
    specimen: Mapped[str] = mapped_column(Text)
    model: Mapped[str] = mapped_column(Text)


class Note(Base):
    """A message of kind review or event as it came; slide_id "" where it is of no slide."""

    __tablename__ = "notes"
    __table_args__ = (UniqueConstraint("device_id", "message_id"), Index(None, "device_id", "slide_id"))

    id: Mapped[int] = mapped_column(Key, primary_key=True)
    message_id: Mapped[str] = mapped_column(String(36))
    kind: Mapped[str] = mapped_column(String(16))
    device_id: Mapped[str] = mapped_column(String(64))
    slide_id: Mapped[str] = mapped_column(String(LONGEST_ID))
    what: Mapped[str] = mapped_column(String(64))
    received_at: Mapped[datetime]
    payload: Mapped[bytes]


class Rejected(Base):
    """A message that was no good, with why; its bytes are cut, and it is shown as plain text only."""

    __tablename__ = "rejected"

    id: Mapped[int] = mapped_column(Key, primary_key=True)
    received_at: Mapped[datetime]
    device_id: Mapped[str] = mapped_column(String(64))
    topic: Mapped[str] = mapped_column(Text)
    why: Mapped[str] = mapped_column(Text)
    size: Mapped[int]
    payload: Mapped[bytes]


class SentReceipt(Base):
    """The confirmation of one message to its device: written with the message, `sent_at` once the broker has it."""

    __tablename__ = "receipts"
    __table_args__ = (UniqueConstraint("device_id", "message_id"), Index(None, "sent_at"))

    id: Mapped[int] = mapped_column(Key, primary_key=True)
    device_id: Mapped[str] = mapped_column(String(64))
    message_id: Mapped[str] = mapped_column(String(36))
    asked_at: Mapped[datetime]
    sent_at: Mapped[datetime | None]


class User(Base):
    """Who may log in. role: viewer, reviewer or admin. A user who is switched off stays, for the audit log's sake."""

    __tablename__ = "users"
    __table_args__ = (UniqueConstraint("name"),)

    id: Mapped[int] = mapped_column(Key, primary_key=True)
    name: Mapped[str] = mapped_column(String(64))
    role: Mapped[str] = mapped_column(String(16))
    password_hash: Mapped[str] = mapped_column(Text)
    language: Mapped[str] = mapped_column(String(8), default="")
    active: Mapped[bool] = mapped_column(default=True)
    created_at: Mapped[datetime]
    changed_at: Mapped[datetime]
    last_login_at: Mapped[datetime | None]


class LoginSession(Base):
    """A browser that logged in: the SHA-256 of its cookie, never the cookie itself."""

    __tablename__ = "sessions"

    token_hash: Mapped[str] = mapped_column(String(64), primary_key=True)
    user_id: Mapped[int]
    created_at: Mapped[datetime]
    seen_at: Mapped[datetime]
    expires_at: Mapped[datetime]
    address: Mapped[str] = mapped_column(String(64))


class Attempt(Base):
    """Log-ins that failed one after the other, of a name ("user:…") or an address ("from:…"); none is tried before `until`."""

    __tablename__ = "attempts"

    key: Mapped[str] = mapped_column(String(80), primary_key=True)
    failures: Mapped[int]
    last_at: Mapped[datetime]
    until: Mapped[datetime]


class Audit(Base):
    """Who did what, when, to what, and from where. The database itself refuses to change or delete a row."""

    __tablename__ = "audit"
    __table_args__ = (Index(None, "at"),)

    id: Mapped[int] = mapped_column(Key, primary_key=True)
    at: Mapped[datetime]
    who: Mapped[str] = mapped_column(String(64))
    action: Mapped[str] = mapped_column(String(32))
    object: Mapped[str] = mapped_column(Text, default="")
    address: Mapped[str] = mapped_column(String(64), default="")
    detail: Mapped[str] = mapped_column(Text, default="")


class SecondSignature(Base):
    """A second person's word under one revision of a slide; `digest` is that summary's, so it proves what was signed. Never changed."""

    __tablename__ = "signatures"
    __table_args__ = (UniqueConstraint("summary_id", "user_id"), Index(None, "device_id", "slide_id"))

    id: Mapped[int] = mapped_column(Key, primary_key=True)
    summary_id: Mapped[int]
    device_id: Mapped[str] = mapped_column(String(64))
    slide_id: Mapped[str] = mapped_column(String(LONGEST_ID))
    revision: Mapped[int]
    digest: Mapped[str] = mapped_column(String(64))
    user_id: Mapped[int]
    name: Mapped[str] = mapped_column(String(64))
    initials: Mapped[str] = mapped_column(String(8))
    agree: Mapped[bool]
    words: Mapped[str] = mapped_column(Text)
    signed_at: Mapped[datetime]
