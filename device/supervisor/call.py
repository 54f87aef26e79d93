"""One request as its handler sees it, and what all pages of this process share."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy import Engine
from sqlalchemy.orm import Session
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response

from device.language import N_, _, speaking
from device.supervisor import accounts
from device.supervisor.accounts import Who
from device.supervisor.database import reading, writing
from device.supervisor.live import Hub
from device.supervisor.security import Public
from device.supervisor.web import languages, pages

_WORDS: Final = {
    400: N_("That was not understood. Go back and try again."),
    403: N_("You may not do that, or the form was too old. Go back, load the page anew and try again."),
    404: N_("There is no such page, slide or device here."),
    405: N_("That was not understood. Go back and try again."),
    413: N_("That was too large."),
    415: N_("That was not understood. Go back and try again."),
    429: N_("Too many attempts. Wait a while, then try again."),
    500: N_("Something went wrong on our side; it was written to the log. Try again, and call the field team if it stays."),
    503: N_("The database cannot be reached now. Nothing is lost: what devices send waits. Try again in a minute."),
}


@dataclass(frozen=True)
class Shown:
    """What all pages need to know of this process. trouble: a line for every page on what makes it untrue now, "" for nothing."""

    engine: Engine
    hub: Hub
    public: Public = field(default_factory=Public)
    trouble: Callable[[], str] = lambda: ""
    language: str = ""
    overdue_after: timedelta = timedelta(hours=24)


@dataclass(frozen=True)
class Call:
    """One request. who: its user. token: the session's cookie, of an anonymous one too."""

    shown: Shown
    request: Request
    now: datetime
    token: str
    who: Who | None
    form: dict[str, str]

    @property
    def user(self) -> Who:
        """The user of a page that only users see."""
        assert self.who is not None
        return self.who

    @property
    def address(self) -> str:
        return self.request.client.host if self.request.client else ""

    @property
    def language(self) -> str:
        cookies, header = self.request.cookies, self.request.headers.get("Accept-Language", "")
        account = self.who.language if self.who else ""
        return languages.choose(account, cookies.get(languages.COOKIE, ""), header if not self.shown.language else self.shown.language)

    def reader(self, fault: str = "") -> pages.Reader:
        path, query = self.request.url.path, self.request.url.query
        return pages.Reader(
            language=self.language,
            user=self.who.name if self.who else "",
            role=self.who.role if self.who else "",
            csrf=accounts.csrf_of(self.token),
            path=f"{path}?{query}" if query else path,
            prefix=self.shown.public.prefix,
            fault=fault or self.shown.trouble(),
        )

    def page(self, name: str, /, *, code: int = 200, fault: str = "", **context: Any) -> Response:
        return HTMLResponse(pages.render(name, self.reader(fault), **context), code)

    def to(self, path: str) -> Response:
        """Go on there, by GET."""
        return RedirectResponse(self.shown.public.at(path), 303)

    def reads(self) -> AbstractContextManager[Session]:
        return reading(self.shown.engine)

    def writes(self) -> AbstractContextManager[Session]:
        return writing(self.shown.engine)

    def audit(self, session: Session, action: str, about: str = "", words: str = "", who: str | None = None) -> None:
        """An entry of the audit log, in the transaction of what it tells of."""
        name = who if who is not None else self.who.name if self.who else ""
        accounts.audit(session, self.now, name, action, about, self.address, words)

    def error(self, status: int) -> Response:
        with speaking(self.language):
            words = _(_WORDS.get(status, _WORDS[500]))
        return self.page("error", code=status, status=status, words=words)


Handler = Callable[[Call], Response]


class NotHereError(Exception):
    """There is no such slide, device or user; or the request may not be answered: `status`."""

    def __init__(self, status: int = 404) -> None:
        super().__init__(str(status))
        self.status = status
