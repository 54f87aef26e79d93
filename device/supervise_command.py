"""`leukoscope supervise …`: reads the command line and calls the room `supervisor`. A password is never on the command line."""

from __future__ import annotations

import getpass
import logging
import os
import re
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import App, Parameter
from cyclopts.validators import Number

from device.errors import LeukoscopeError
from device.options import Count

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime
supervise = App(name="supervise", help="The supervisor's page: what devices send is kept, confirmed to them, and shown in a browser.")
user = App(name="user", help="Who may log in to the supervisor's page.")
supervise.command(user)

Port = Annotated[int, Parameter(validator=Number(gte=1, lte=65535))]
Database = Annotated[
    str | None,
    Parameter(
        name="--database",
        env_var="LEUKOSCOPE_DATABASE",
        help="sqlite:////path/file or postgresql://USER@HOST/NAME; default: a SQLite file in this user's state folder.",
    ),
]
Role = Literal["viewer", "reviewer", "admin"]
_NEEDED = ("starlette", "uvicorn", "sqlalchemy", "alembic", "argon2", "pg8000")


@supervise.default
def serve(
    *,
    database: Database = None,
    name: str = "supervisor",
    shared: str = "",
    broker: str = "localhost",
    broker_port: Port = 1883,
    username: str | None = None,
    password_file: Path | None = None,
    tls: bool = False,
    ca_file: Path | None = None,
    cert_file: Path | None = None,
    key_file: Path | None = None,
    topic_root: str = "leukoscope",
    host: str = "127.0.0.1",
    port: Port = 8080,
    behind_proxy: str = "",
    proxy_address: tuple[str, ...] = ("127.0.0.1", "::1"),
    certificate: Path | None = None,
    key: Path | None = None,
    insecure: bool = False,
    language: Literal["", "en", "fr", "ur", "sw"] = "",
    overdue_hours: Count = 24,
) -> None:
    """Keep and confirm what devices send, and show it, until stopped.

    Args:
        name: This receiver's: its session at the broker, and what devices list in broker.receivers.
        shared: A group of several that share the messages into one PostgreSQL; each has a --name of its own, receipts bear the group's.
        broker: The broker's host.
        broker_port: Its port.
        username: For a broker that asks for one.
        password_file: A file whose first line is the password.
        tls: Encrypt the connection to the broker.
        ca_file: Certificate of the authority that signed the broker's.
        cert_file: A certificate of our own, for a broker that demands one.
        key_file: Its key; default: in cert_file too.
        topic_root: First part of the topics.
        host: Where the pages listen; beyond this machine only with TLS, a proxy or --insecure.
        port: Its port.
        behind_proxy: The address that people type, as https://lab.example/leukoscope, where a proxy answers it for us.
        proxy_address: The proxy's own addresses, whose X-Forwarded-For is believed.
        certificate: For TLS without a proxy.
        key: The certificate's key.
        insecure: Passwords and slides may go over the network in clear.
        language: Of the pages where neither account nor browser says one; default: the browser's.
        overdue_hours: A slide with blasts that waits longer for a reviewer is an alarm.
    """
    _installed()
    from datetime import timedelta

    from device.mqtt.credentials import careless_options
    from device.settings.broker import RECEIVER
    from device.settings.config_file import broker_from_options
    from device.supervisor.receiver import Reception
    from device.supervisor.supervise import Site
    from device.supervisor.supervise import supervise as run

    _log()
    for option, said in (("--name", name), ("--shared", shared)):
        if not re.fullmatch(RECEIVER, said or "x"):
            raise LeukoscopeError(f"{option} {said[:80]!r}: letters, digits and . _ -, at most 64, beginning with a letter or digit")
    files = {"password_file": password_file, "ca_file": ca_file, "cert_file": cert_file, "key_file": key_file}
    section = broker_from_options(host=broker, port=broker_port, username=username, tls=tls, topic_root=topic_root, **files)
    for words in careless_options(section):
        logging.getLogger(__name__).warning("%s", words)
    overdue = timedelta(hours=overdue_hours)
    site = Site(host, port, behind_proxy, proxy_address, certificate, key, insecure, language, overdue)
    run(database or default_database(), Reception(section, name, shared), site)


@supervise.command(name="demo")
def demo(*, port: Port | None = None, folder: Path | None = None, slide_seconds: Count = 60) -> None:
    """A broker, two simulated devices and the page on this machine, to be looked at; Ctrl-C ends all of it.

    Args:
        port: Of the page; default: 8080, or a free one.
        folder: Where records and database are kept; default: they are not.
        slide_seconds: A device finishes a slide about every so many seconds.
    """
    _installed()
    from device.demo.ward import run_ward

    _log()
    run_ward(port=port, folder=folder, slide_s=slide_seconds)


@user.command(name="add")
def add_user(name: str, /, *, role: Role, database: Database = None) -> None:
    """Make an account; the password is asked for, or read from the first line of standard input.

    Args:
        name: What the user types at the log-in.
        role: viewer looks and downloads, reviewer signs second, admin keeps accounts and reads the audit log.
    """
    _installed()
    from device.supervisor import accounts

    password = _password()
    about = f"{name} {role}"
    _change(database, "user added", about, lambda session, now: accounts.add_user(session, name, role, password, now))
    sys.stdout.write(f"{name}: may log in as {role}\n")


@user.command(name="password")
def change_password(name: str, /, *, database: Database = None) -> None:
    """Give a user a new password, asked for or read from standard input; ends the user's sessions."""
    _installed()
    from device.supervisor import accounts

    password = _password()
    if not password:
        raise LeukoscopeError("no password was given; nothing was changed")
    _change(database, "password changed", name, lambda session, now: accounts.change_user(session, name, now, password=password))
    sys.stdout.write(f"{name}: has a new password\n")


@user.command(name="role")
def change_role(name: str, role: Role, /, *, database: Database = None) -> None:
    """Change what a user may do; ends the user's sessions."""
    _installed()
    from device.supervisor import accounts

    _change(database, "user changed", f"{name} {role}", lambda session, now: accounts.change_user(session, name, now, role=role))
    sys.stdout.write(f"{name}: is {role}\n")


@user.command(name="off")
def switch_off(name: str, /, *, database: Database = None) -> None:
    """Switch an account off; what the user did stays in the audit log."""
    _installed()
    from device.supervisor import accounts

    _change(database, "user changed", f"{name} off", lambda session, now: accounts.change_user(session, name, now, active=False))
    sys.stdout.write(f"{name}: may not log in any more\n")


@user.command(name="list")
def list_users(*, database: Database = None) -> None:
    """The accounts, one a line."""
    _installed()
    from device.supervisor import queries
    from device.supervisor.database import opened, reading

    with opened(database or default_database()) as engine, reading(engine) as session:
        for row in queries.users(session):
            last = "never" if row.last_login is None else f"{row.last_login:%Y-%m-%d %H:%M} UTC"
            sys.stdout.write(f"{row.name}\t{row.role}\t{'active' if row.active else 'off'}\tlast log-in {last}\n")


def default_database() -> str:
    """The unit's, where we run in it or it has made one that we may write; else in this user's state folder."""
    given = os.environ.get("STATE_DIRECTORY", "").partition(":")[0]
    of_unit = Path(given or "/var/lib/leukoscope-supervisor") / "supervisor.sqlite"
    state = Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local/state")
    of_user = state / "leukoscope-supervisor/supervisor.sqlite"
    return f"sqlite:///{of_unit if given or os.access(of_unit, os.W_OK) else of_user}"


def _installed() -> None:
    missing = [name for name in _NEEDED if find_spec(name) is None]
    if missing:
        raise LeukoscopeError(f"the supervisor's page needs {', '.join(missing)}: pip install 'leukoscope[supervisor]'")


def _log() -> None:
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s", datefmt="%H:%M:%S", stream=sys.stderr)
    for quiet in ("alembic", "uvicorn.error"):
        logging.getLogger(quiet).setLevel(logging.WARNING)


def _change(database: str | None, action: str, about: str, change: Callable[[Any, datetime], None]) -> None:
    """A transaction with its entry in the audit log, by the user of this machine."""
    from datetime import datetime, timezone

    from device.supervisor import accounts
    from device.supervisor.database import opened, writing

    with opened(database or default_database()) as engine, writing(engine) as session:
        now = datetime.now(timezone.utc)
        change(session, now)
        accounts.audit(session, now, f"{getpass.getuser()} at the command line"[:64], action, about)


def _password() -> str:
    if sys.stdin is not None and sys.stdin.isatty():
        first = getpass.getpass("Password: ")
        if first != getpass.getpass("Once more: "):
            raise LeukoscopeError("the two were not the same; nothing was changed")
        return first
    return sys.stdin.readline().rstrip("\r\n")
