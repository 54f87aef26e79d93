"""The web application: who asks is looked at, the handler answers from one read or one transaction, pages are filled by `web`.

Handlers are plain functions run in a thread; `Call` is what they are given. Who may not see a page is sent to the log-in; what is wrong
is said on a page of its own, without words from the request.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta, timezone
from typing import Final
from urllib.parse import quote

from sqlalchemy.exc import SQLAlchemyError
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from device.supervisor import accounts
from device.supervisor.accounts import Who
from device.supervisor.call import Call, Handler, NotHereError, Shown
from device.supervisor.database import first_line, reading, writing
from device.supervisor.routes import ROUTES
from device.supervisor.security import FormError, Guard, form_of
from device.supervisor.web import pages

log = logging.getLogger(__name__)

_SEEN_EACH: Final = timedelta(minutes=1)


class Endpoints:
    """Makes Starlette's endpoints of handlers."""

    def __init__(self, shown: Shown) -> None:
        self._shown = shown

    def of(self, handler: Handler, role: str) -> Callable[[Request], Awaitable[Response]]:
        """role: the least that may ask, "" for everybody."""

        async def endpoint(request: Request) -> Response:
            try:
                form = await form_of(request) if request.method == "POST" else {}
            except FormError as error:
                call = Call(self._shown, request, _now(), "", None, {})
                return await run_in_threadpool(call.error, error.status)
            return await run_in_threadpool(self._answer, handler, role, request, form)

        return endpoint

    def _answer(self, handler: Handler, role: str, request: Request, form: dict[str, str]) -> Response:
        now, public = _now(), self._shown.public
        token = request.cookies.get(public.cookie, "")[:100]
        call = Call(self._shown, request, now, token, None, form)
        try:
            call = Call(self._shown, request, now, token or accounts.new_token(), self._who(request, token, now), form)
            response = self._allowed(call, role) or handler(call)
        except NotHereError as error:
            response = call.error(error.status)
        except SQLAlchemyError as error:
            log.warning("a page could not be made: %s", first_line(error))
            response = call.error(503)
        except Exception:
            log.exception("a page could not be made: %s", handler.__name__)
            response = call.error(500)
        if not token and call.token and public.cookie not in response.headers.get("set-cookie", ""):
            public.set_cookie(response, public.cookie, call.token)
        return response

    def _who(self, request: Request, token: str, now: datetime) -> Who | None:
        with reading(self._shown.engine) as session:
            found = accounts.who_is(session, token, now)
        if found is None:
            return None
        who, seen_at = found
        if now - seen_at > _SEEN_EACH and "HX-Request" not in request.headers:  # a page that reloads itself is nobody's presence
            with writing(self._shown.engine) as session:
                accounts.seen(session, token, now)
        return who

    @staticmethod
    def _allowed(call: Call, role: str) -> Response | None:
        """The answer where the handler is not to be asked; None where it is."""
        if call.request.method == "POST" and not accounts.csrf_fits(call.token, call.form.get("csrf", "")):
            return call.error(403)
        if not role or (call.who is not None and call.who.may(role)):
            return None
        if call.who is not None or call.request.method == "POST":
            return call.error(403)
        if "HX-Request" in call.request.headers:  # htmx would put the log-in into the middle of a page
            return Response(status_code=401, headers={"HX-Redirect": call.shown.public.at("/login")})
        return call.to(f"/login?next={quote(call.reader().path, safe='/')}")

    async def events(self, request: Request) -> Response:
        """The stream of a browser's open page."""
        token = request.cookies.get(self._shown.public.cookie, "")[:100]

        def still_in() -> bool:
            try:
                with reading(self._shown.engine) as session:
                    return accounts.who_is(session, token, _now()) is not None
            except SQLAlchemyError:
                return True

        def user() -> str:
            try:
                with reading(self._shown.engine) as session:
                    found = accounts.who_is(session, token, _now())
            except SQLAlchemyError:
                return ""
            return found[0].name if found else ""

        name = await run_in_threadpool(user)
        if not name:
            return PlainTextResponse("", 401)
        if not self._shown.hub.has_room(name):
            return PlainTextResponse("", 503, headers={"Retry-After": "30"})
        headers = {"X-Accel-Buffering": "no", "Cache-Control": "no-store"}
        return StreamingResponse(self._shown.hub.stream(name, still_in), media_type="text/event-stream", headers=headers)


def _now() -> datetime:
    return datetime.now(timezone.utc)


def application(shown: Shown) -> Guard:
    """The ASGI application, guard included."""
    made = Endpoints(shown)
    routes: list[Route | Mount] = [Route(path, made.of(handler, role), methods=[method]) for method, path, handler, role in ROUTES]
    routes += [Route("/events", made.events), Mount("/static", StaticFiles(directory=pages.STATIC))]

    async def wrong(request: Request, error: Exception) -> Response:
        status = error.status_code if isinstance(error, HTTPException) else 500
        call = Call(shown, request, _now(), "", None, {})
        return await run_in_threadpool(call.error, status)

    app = Starlette(routes=routes, exception_handlers={HTTPException: wrong, 500: wrong})
    return Guard(app, shown.public, pages.POLICY)
