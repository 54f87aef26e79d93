"""What stands before every page: headers, the proxy's prefix and address, cookies, forms of bounded size. No page, no table."""

from __future__ import annotations

import re
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Final
from urllib.parse import parse_qsl, urlsplit

from starlette.datastructures import MutableHeaders
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from device.errors import LeukoscopeError

LARGEST_FORM: Final = 16 << 10
_FIELDS: Final = 20
_YEAR_S: Final = 31_536_000


class FormError(Exception):
    """A form that no page of ours sends; the status code to answer with."""

    def __init__(self, status: int) -> None:
        super().__init__(str(status))
        self.status = status


@dataclass(frozen=True)
class Public:
    """How browsers reach us. prefix: what stands before every path. secure: over TLS, so that cookies never go in clear."""

    prefix: str = ""
    secure: bool = False

    @property
    def cookie(self) -> str:
        """A name with __Host- is taken by browsers from this very host alone, over TLS; it wants the path "/"."""
        return "__Host-leukoscope" if self.secure and not self.prefix else "leukoscope"

    @property
    def path(self) -> str:
        return f"{self.prefix}/"

    def set_cookie(self, response: Response, name: str, value: str, max_age_s: int | None = None) -> None:
        response.set_cookie(name, value, max_age=max_age_s, path=self.path, secure=self.secure, httponly=True, samesite="lax")

    def at(self, path: str) -> str:
        return f"{self.prefix}{path}"


def public_of(url: str) -> Public:
    """Of the address that the proxy gives us. LeukoscopeError for one that is none."""
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment:
        raise LeukoscopeError(f"--behind-proxy {url}: the address that people type, as https://lab.example/leukoscope")
    prefix = parts.path.rstrip("/")
    if prefix and not re.fullmatch(r"(/[A-Za-z0-9._~-]+)+", prefix):
        raise LeukoscopeError(f"--behind-proxy {url}: its path may have letters, digits and . _ ~ - between slashes")
    return Public(prefix, parts.scheme == "https")


def is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


class Guard:
    """Pure ASGI around the application: takes the prefix off paths that have it, and puts the headers on every answer."""

    def __init__(self, app: ASGIApp, public: Public, policy: str) -> None:
        self._app, self._public = app, public
        self._headers = {
            "Content-Security-Policy": policy,
            "X-Content-Type-Options": "nosniff",
            "X-Frame-Options": "DENY",
            "Referrer-Policy": "same-origin",
            "Cross-Origin-Opener-Policy": "same-origin",
            "Cross-Origin-Resource-Policy": "same-origin",
            "Permissions-Policy": "camera=(), microphone=(), geolocation=()",
        }
        if public.secure:
            self._headers["Strict-Transport-Security"] = f"max-age={_YEAR_S}"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        prefix, path = self._public.prefix, scope["path"]
        if prefix and (path == prefix or path.startswith(f"{prefix}/")):
            scope = {**scope, "path": path[len(prefix) :] or "/", "raw_path": None}

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in self._headers.items():
                    headers[name] = value
                if "Cache-Control" not in headers:  # pages bear what is nobody else's
                    kept = scope["path"].startswith("/static/") and message["status"] == 200
                    headers["Cache-Control"] = f"public, max-age={_YEAR_S if scope['query_string'] else 3600}" if kept else "no-store"
            await send(message)

        await self._app(scope, receive, with_headers)


async def form_of(request: Request) -> dict[str, str]:
    """The fields of a form, the first of each name. FormError for one that is too large, of another kind or from another site."""
    if request.headers.get("Sec-Fetch-Site", "same-origin") not in ("same-origin", "none"):
        raise FormError(403)
    if request.headers.get("Content-Type", "").partition(";")[0].strip().lower() != "application/x-www-form-urlencoded":
        raise FormError(415)
    body = bytearray()
    async for part in request.stream():
        body += part
        if len(body) > LARGEST_FORM:
            raise FormError(413)
    try:
        pairs = parse_qsl(body.decode("ascii"), keep_blank_values=True, max_num_fields=_FIELDS, errors="strict")
    except ValueError as error:
        raise FormError(400) from error
    return dict(reversed(pairs))


def safe_next(path: str) -> str:
    """Where to go after a log-in: a path of this application, "/" for anything else."""
    if not path.startswith("/") or path.startswith(("//", "/\\", "/login", "/logout")) or len(path) > 500:
        return "/"
    return "/" if re.search(r"[\x00-\x20\x7f-\x9f\\]", path) else path
