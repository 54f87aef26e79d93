"""Accounts: users with argon2id hashes, log-in with growing delays, sessions in the browser's cookie, the audit log.

Nothing here tells an unknown name from a wrong password, in words or in time.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
import threading
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Final

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError
from sqlalchemy import Engine, delete, func, select, update
from sqlalchemy.orm import Session

from device.errors import LeukoscopeError
from device.mqtt.message import one_line
from device.supervisor.database import insert_new, reading, writing
from device.supervisor.tables import Attempt, Audit, LoginSession, User

ROLES: Final = ("viewer", "reviewer", "admin")
"""Each may do what those before it may: look and download; sign second; keep accounts and read the audit log."""
SHORTEST: Final = 10
LONGEST: Final = 256
"""Characters of a password."""
NAME: Final = r"[A-Za-z0-9][A-Za-z0-9_.@-]{0,63}"
IDLE: Final = timedelta(hours=4)
ABSOLUTE: Final = timedelta(hours=12)
_FREE: Final = {"user": 3, "from": 20}  # failures before the next attempt has to wait; from one address many may mistype
_LONGEST_WAIT: Final = timedelta(minutes=15)
_FORGOTTEN: Final = timedelta(hours=24)

_HASHER: Final = PasswordHasher()  # argon2id with the library's parameters (RFC 9106, the second)
_TWO_AT_ONCE: Final = threading.Semaphore(2)  # 64 MiB each: a flood of log-ins must not take the memory


class AccountError(LeukoscopeError):
    """An account cannot be made or changed so; the message says what to do."""


class TooManyError(Exception):
    """Log-ins failed too often: wait `seconds`."""

    def __init__(self, seconds: int) -> None:
        super().__init__(f"wait {seconds} s")
        self.seconds = seconds


@dataclass(frozen=True)
class Who:
    """The user of a request."""

    user_id: int
    name: str
    role: str
    language: str

    def may(self, role: str) -> bool:
        return ROLES.index(self.role) >= ROLES.index(role)


# ---- users


def check_password(password: str, name: str) -> None:
    """AccountError for one that is too short, too long or the name. Length is what counts; nothing else is asked."""
    if not SHORTEST <= len(password) <= LONGEST:
        raise AccountError(f"a password has {SHORTEST} to {LONGEST} characters; several words are good")
    if password.lower() == name.lower() or len(set(password)) < 4:
        raise AccountError("that password is guessed at once; take another")


def add_user(session: Session, name: str, role: str, password: str, now: datetime) -> None:
    """A new account. AccountError for a name that is taken or none, a role that there is not, or a poor password."""
    if not re.fullmatch(NAME, name):
        raise AccountError("a user's name has letters, digits and . _ @ -, at most 64, and begins with a letter or digit")
    _check_role(role)
    check_password(password, name)
    taken = select(User.id).where(func.lower(User.name) == name.lower())
    row = {"name": name, "role": role, "password_hash": _hashed(password), "language": "", "active": True}
    if session.scalar(taken) is not None or insert_new(
        session, User, {**row, "created_at": now, "changed_at": now}, conflict=("name",)
    ) is None:  # fmt: skip
        raise AccountError(f"there is a user {name} already")


def change_user(
    session: Session, name: str, now: datetime, *, role: str | None = None, active: bool | None = None, password: str = ""
) -> None:
    """Change an account and end its sessions. AccountError also where no active admin would be left."""
    user = session.scalars(select(User).where(User.name == name).with_for_update()).first()
    if user is None:
        raise AccountError(f"there is no user {name[:64]}")
    if role is not None:
        _check_role(role)
    loses = user.role == "admin" and user.active and (role not in (None, "admin") or active is False)
    others = select(func.count()).select_from(User).where(User.role == "admin", User.active.is_(True), User.id != user.id)
    if loses and not session.scalar(others):
        raise AccountError("the last admin stays an admin; make another one first")
    if password:
        check_password(password, name)
        user.password_hash = _hashed(password)
        session.execute(delete(Attempt).where(Attempt.key == _key("user", name)))
    user.role, user.active, user.changed_at = role or user.role, user.active if active is None else active, now
    session.execute(delete(LoginSession).where(LoginSession.user_id == user.id))
    session.flush()


def _check_role(role: str) -> None:
    if role not in ROLES:
        raise AccountError(f"a role is one of {', '.join(ROLES)}")


def set_language(session: Session, user_id: int, language: str) -> None:
    """What the pages speak to this user."""
    session.execute(update(User).where(User.id == user_id).values(language=language))


def is_empty(session: Session) -> bool:
    """Whether nobody could log in."""
    return not session.scalar(select(func.count()).select_from(User).where(User.active.is_(True)))


def _hashed(password: str) -> str:
    with _TWO_AT_ONCE:
        return _HASHER.hash(password)


@lru_cache(maxsize=1)
def _nobodys() -> str:
    """A hash that no password fits, to spend the same time on names that nobody has."""
    return _hashed(secrets.token_urlsafe(24))


def prepare() -> None:
    """Before the first log-in: an unknown name must not take longer, even once."""
    _nobodys()


def _fits(password_hash: str, password: str) -> bool:
    with _TWO_AT_ONCE:
        try:
            return _HASHER.verify(password_hash, password[: LONGEST + 1])
        except (VerificationError, InvalidHashError):
            return False


# ---- log-in


def verify(engine: Engine, name: str, password: str, address: str, now: datetime) -> Who | None:
    """The user of this name and password, None for neither. Raises TooManyError before anything is tried.

    The attempt is counted as failed first, in a transaction of its own, so that many at once are not free.
    """
    name = name[:LONGEST]
    with writing(engine) as session:
        wait = max(_waits(session, key, now) for key in (_key("user", name), _key("from", address)))
        if wait <= timedelta(0):
            for kind, what in (("user", name), ("from", address)):
                _failed(session, kind, what, now)
    if wait > timedelta(0):
        raise TooManyError(max(1, int(wait.total_seconds()) + 1))
    with reading(engine) as session:
        user = session.scalars(select(User).where(User.name == name)).first()
        found = None if user is None else (Who(user.id, user.name, user.role, user.language), user.password_hash, user.active)
    fits = _fits(_nobodys() if found is None else found[1], password)
    if found is None or not fits or not found[2]:
        return None
    with writing(engine) as session:
        session.execute(delete(Attempt).where(Attempt.key == _key("user", name)))
        mine = select(Attempt).where(Attempt.key == _key("from", address)).with_for_update()
        if (of_address := session.scalars(mine).first()) is not None:
            of_address.failures, of_address.until = max(0, of_address.failures - 1), now
        if _HASHER.check_needs_rehash(found[1]):
            session.execute(update(User).where(User.id == found[0].user_id).values(password_hash=_hashed(password)))
    return found[0]


def _key(kind: str, what: str) -> str:
    """A user's name as its digest: what is typed there by mistake is now and then a password."""
    return f"{kind}:{hashlib.sha256(what.lower().encode()).hexdigest()[:32] if kind == 'user' else what[:64]}"


def _waits(session: Session, key: str, now: datetime) -> timedelta:
    until = session.scalar(select(Attempt.until).where(Attempt.key == key))
    return timedelta(0) if until is None else min(until - now, _LONGEST_WAIT)


def _failed(session: Session, kind: str, what: str, now: datetime) -> None:
    key = _key(kind, what)
    insert_new(session, Attempt, {"key": key, "failures": 0, "last_at": now, "until": now}, conflict=("key",))
    row = session.get_one(Attempt, key, with_for_update=True, populate_existing=True)
    row.failures = 1 if now - row.last_at > _FORGOTTEN else row.failures + 1
    over = row.failures - _FREE[kind]
    row.last_at = now
    row.until = now + (min(_LONGEST_WAIT, timedelta(seconds=2.0 ** min(over, 12))) if over >= 0 else timedelta(0))
    if row.failures == 1:
        session.execute(delete(Attempt).where(Attempt.last_at < now - _FORGOTTEN))


# ---- sessions


def new_token() -> str:
    """A cookie's value that nobody guesses."""
    return secrets.token_urlsafe(32)


def csrf_of(token: str) -> str:
    """What a form of this session hands back: derived from the cookie, which another site's page cannot read."""
    return hashlib.sha256(f"csrf:{token}".encode()).hexdigest()


def csrf_fits(token: str, said: str) -> bool:
    return bool(token) and hmac.compare_digest(csrf_of(token).encode(), said.encode())


def _hash(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()


def begin_session(session: Session, who: Who, address: str, now: datetime) -> str:
    """A session of its own for each log-in: the cookie that was there before is never taken over."""
    token = new_token()
    session.execute(delete(LoginSession).where(LoginSession.expires_at < now))
    values = {"user_id": who.user_id, "created_at": now, "seen_at": now, "expires_at": now + ABSOLUTE, "address": address[:64]}
    session.add(LoginSession(token_hash=_hash(token), **values))
    session.execute(update(User).where(User.id == who.user_id).values(last_login_at=now))
    return token


def who_is(session: Session, token: str, now: datetime) -> tuple[Who, datetime] | None:
    """The user of a cookie and when the session was last seen; None where it is none, has ended, or its user is switched off."""
    if not token:
        return None
    row = session.execute(
        select(LoginSession, User).join(User, User.id == LoginSession.user_id).where(LoginSession.token_hash == _hash(token))
    ).first()
    if row is None:
        return None
    held, user = row
    if not user.active or held.expires_at <= now or held.seen_at <= now - IDLE:
        return None
    return Who(user.id, user.name, user.role, user.language), held.seen_at


def seen(session: Session, token: str, now: datetime) -> None:
    """The session was used."""
    session.execute(update(LoginSession).where(LoginSession.token_hash == _hash(token)).values(seen_at=now))


def end_session(session: Session, token: str) -> None:
    session.execute(delete(LoginSession).where(LoginSession.token_hash == _hash(token)))


def audit(session: Session, now: datetime, who: str, action: str, about: str = "", address: str = "", words: str = "") -> None:
    """One more entry, in the transaction of what it tells of."""
    values = {"who": one_line(who)[:64], "action": action, "object": one_line(about)[:300], "address": address[:64]}
    session.add(Audit(at=now, detail=one_line(words)[:500], **values))
