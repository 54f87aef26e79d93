"""`leukoscope supervise`: reception, alarms and pages in one process, from start to a stop in order."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
import socket
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

import uvicorn
from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from device.clock import Backoff
from device.errors import LeukoscopeError
from device.language import _
from device.supervisor import accounts
from device.supervisor.alarms import Alarms
from device.supervisor.call import Shown
from device.supervisor.database import DatabaseError, is_away, migrate, open_database, reading, where
from device.supervisor.live import Hub
from device.supervisor.receiver import Receiver, Reception
from device.supervisor.security import Public, is_loopback, public_of
from device.supervisor.server import application

log = logging.getLogger(__name__)

_GRACE_S = 3
_NOBODY = "no account yet, so nobody can log in. Make the first one: leukoscope supervise user add NAME --role admin"


@dataclass(frozen=True)
class Site:
    """Where the pages are. behind_proxy: the address that people type, where a proxy of ours answers it; proxies: its own addresses,
    whose X-Forwarded-For is believed. certificate, key: TLS without a proxy. insecure: beyond this machine in clear, as somebody wants.
    """

    host: str = "127.0.0.1"
    port: int = 8080
    behind_proxy: str = ""
    proxies: tuple[str, ...] = ("127.0.0.1", "::1")
    certificate: Path | None = None
    key: Path | None = None
    insecure: bool = False
    language: str = ""
    overdue_after: timedelta = field(default=timedelta(hours=24))

    @property
    def public(self) -> Public:
        """LeukoscopeError where passwords and patients' slides would go over a network in clear."""
        if (self.certificate is None) != (self.key is None):
            raise LeukoscopeError("--certificate and --key belong together")
        for path in (self.certificate, self.key):
            if path is not None and not path.is_file():
                raise LeukoscopeError(f"{path}: there is no such file; TLS needs certificate and key")
        if self.behind_proxy:
            public = public_of(self.behind_proxy)
            if not public.secure and not self.insecure:
                raise LeukoscopeError("--behind-proxy http://…: passwords would go in clear; use https there, or say --insecure")
            return public
        if self.certificate is None and not is_loopback(self.host) and not self.insecure:
            raise LeukoscopeError(
                f"--host {self.host}: passwords and slides would go over the network in clear; give --certificate and --key, "
                "or put a proxy with TLS before it (--behind-proxy https://…), or say --insecure"
            )
        return Public(secure=self.certificate is not None)

    @property
    def address(self) -> str:
        """What people type."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return self.behind_proxy or f"{'https' if self.certificate else 'http'}://{host}:{self.port}/"


class _Server(uvicorn.Server):
    """uvicorn without signal handlers of its own: ours end the streams first."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def prepared(url: str, stop: threading.Event) -> Engine | None:
    """The database with its tables up to date; one that is away is waited for. None where it was stopped meanwhile.

    Raises DatabaseError where waiting does not help.
    """
    engine, backoff, said = open_database(url), Backoff(0.5, 15.0), ""
    while not stop.is_set():
        try:
            migrate(engine)
        except DatabaseError as error:
            if not is_away(error):
                engine.dispose()
                raise
            if str(error) != said:
                log.warning("database: %s; waiting for it", error)
            said = str(error)
            stop.wait(backoff.next_s())
        else:
            return engine
    engine.dispose()
    return None


def supervise(url: str, reception: Reception, site: Site, stop: threading.Event | None = None) -> None:
    """Run until SIGTERM, SIGINT, SIGHUP or `stop`. Raises LeukoscopeError for what somebody must mend first."""
    public, stop = site.public, stop or threading.Event()
    with _signals(stop):
        engine = prepared(url, stop)
        if engine is None:
            return
        try:
            _serve(engine, reception, site, public, stop)
        finally:
            engine.dispose()


@contextlib.contextmanager
def _signals(stop: threading.Event) -> Iterator[None]:
    """The signals that end us in order set `stop`; only in a main thread."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    wanted = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
    before = {number: signal.signal(number, lambda *_: stop.set()) for number in wanted}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _serve(engine: Engine, reception: Reception, site: Site, public: Public, stop: threading.Event) -> None:
    hub = Hub(engine)
    receiver = Receiver(engine, reception, hub.took)
    alarms = Alarms(
        engine, lambda: receiver.listening_since, lambda device: hub.tell(("device", device, "")), overdue_after=site.overdue_after
    )
    accounts.prepare()
    with contextlib.suppress(SQLAlchemyError), reading(engine) as session:
        if accounts.is_empty(session):
            log.warning("%s: %s", where(engine), _NOBODY)
    shown = Shown(engine, hub, public, lambda: trouble(receiver), site.language, site.overdue_after)
    config = uvicorn.Config(
        application(shown),
        host=site.host,
        port=site.port,
        lifespan="off",
        log_config=None,
        access_log=False,  # addresses of slides are in it; who looked at what is in the audit log
        server_header=False,
        proxy_headers=bool(site.behind_proxy),
        forwarded_allow_ips=list(site.proxies) if site.behind_proxy else [],
        ssl_certfile=site.certificate,
        ssl_keyfile=site.key,
        timeout_graceful_shutdown=_GRACE_S,
        limit_concurrency=1000,
        h11_max_incomplete_event_size=32 << 10,
    )
    family = socket.AF_INET6 if ":" in site.host else socket.AF_INET
    try:
        listening = socket.create_server((site.host, site.port), family=family)
    except OSError as error:
        raise LeukoscopeError(
            f"cannot listen on {site.host}:{site.port}: {error.strerror}; name another with --host and --port"
        ) from error
    with listening:
        receiver.start()
        alarms.start()
        try:
            asyncio.run(_pages(_Server(config), listening, hub, site, stop))
        finally:
            alarms.stop()
            receiver.stop()
    log.info("ended in order")


async def _pages(server: _Server, listening: socket.socket, hub: Hub, site: Site, stop: threading.Event) -> None:
    news = asyncio.create_task(hub.watch())
    served = asyncio.create_task(server.serve([listening]))
    told = False
    try:
        while not served.done() and not stop.is_set():
            if server.started and not told:
                told = True
                log.info("pages at %s", site.address)
            await asyncio.sleep(0.1)
        hub.close()
        server.should_exit = True
        await served
    finally:
        news.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await news


def trouble(receiver: Receiver) -> str:
    """What makes every page untrue now, in one line for people; "" for nothing."""
    for fault, words in (
        (receiver.database, _("The database cannot be written since {time} UTC: what devices send waits at the broker.")),
        (receiver.broker, _("No connection to the broker since {time} UTC: what is shown here may be old.")),
        (receiver.statuses, _("The broker gives no states of devices since {time} UTC: what is shown of devices may be old.")),
    ):
        if fault.since is not None:
            return words.format(time=f"{fault.since:%Y-%m-%d %H:%M}")
    return ""
