"""The supervisor's database: opened by URL, brought up to date, and written in transactions. SQLite by default, PostgreSQL by URL.

SQLite keeps a write-ahead log, so pages are read while messages are stored; a transaction that will write takes the lock at its start.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any, cast

from alembic import command
from alembic.config import Config
from alembic.util import CommandError
from sqlalchemy import Connection, Engine, Insert, Table, create_engine, event
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, InterfaceError, NoSuchModuleError, OperationalError, SQLAlchemyError
from sqlalchemy.orm import Session
from sqlalchemy.orm.decl_api import DeclarativeBase

from device.errors import LeukoscopeError

MIGRATIONS = Path(__file__).with_name("migrations")
_BUSY_S = 20.0
_ONE_MIGRATES = 0x4C45554B  # number of PostgreSQL's advisory lock: of several that start, one brings the tables up to date
LOST = (OperationalError, InterfaceError)
"""What SQLAlchemy raises where the database is away, locked or full: it may pass, and is tried again."""


class DatabaseError(LeukoscopeError):
    """The supervisor's database cannot be used; the message names it and what to do."""


def open_database(url: str) -> Engine:
    """An engine for `url`. Nothing is connected yet. Raises DatabaseError for a URL that is none or a database that is not served."""
    try:
        parsed = make_url(url)
        if parsed.get_backend_name() == "postgresql" and parsed.drivername == "postgresql":
            parsed = parsed.set(drivername="postgresql+pg8000")
        if parsed.get_backend_name() not in ("sqlite", "postgresql"):
            raise DatabaseError(f"--database: {parsed.get_backend_name()} is not served; sqlite:///FILE or postgresql://USER@HOST/NAME")
        if parsed.get_backend_name() == "sqlite":
            if not parsed.database or parsed.database == ":memory:":
                raise DatabaseError("--database: name a file, sqlite:////var/lib/…/supervisor.sqlite; memory is lost at the end")
            Path(parsed.database).parent.mkdir(parents=True, exist_ok=True, mode=0o750)
            Path(parsed.database).touch(mode=0o640)
            engine = create_engine(parsed, connect_args={"timeout": _BUSY_S})
            event.listen(engine, "connect", _prepare)
            event.listen(engine, "begin", _begin)
        else:
            engine = create_engine(parsed, pool_pre_ping=True, connect_args={"timeout": _BUSY_S})
    except (ArgumentError, NoSuchModuleError) as error:
        raise DatabaseError(f"--database: cannot be used: {error}") from error
    except OSError as error:
        raise DatabaseError(f"--database: {error}; name a file in a folder that can be written") from error
    return engine


def _prepare(connection: Any, _record: Any) -> None:
    connection.isolation_level = None  # transactions are begun by _begin alone
    for pragma in ("journal_mode = WAL", "synchronous = FULL", f"busy_timeout = {int(1000 * _BUSY_S)}", "foreign_keys = ON"):
        connection.execute(f"PRAGMA {pragma}")


def _begin(connection: Connection) -> None:
    writes = connection.get_execution_options().get("writes", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


def migrate(engine: Engine) -> None:
    """Bring the tables up to date, from nothing or from any earlier version. DatabaseError, also for tables of a newer one."""
    try:
        with engine.connect().execution_options(writes=True) as connection, connection.begin():
            if engine.dialect.name == "postgresql":
                connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_ONE_MIGRATES})")
            command.upgrade(_alembic(connection), "head")
    except SQLAlchemyError as error:
        raise DatabaseError(f"{where(engine)}: {first_line(error)}") from error
    except CommandError as error:
        raise DatabaseError(f"{where(engine)}: made by a newer version of leukoscope? {error}") from error


@contextmanager
def opened(url: str) -> Iterator[Engine]:
    """The database of a command, its tables up to date. Whatever the database says is a DatabaseError."""
    engine = open_database(url)
    try:
        migrate(engine)
        yield engine
    except SQLAlchemyError as error:
        raise DatabaseError(f"{where(engine)}: {first_line(error)}") from error
    finally:
        engine.dispose()


def is_away(error: DatabaseError) -> bool:
    """Whether waiting may help: the server does not answer, or the file is locked."""
    return isinstance(error.__cause__, LOST) and "unable to open" not in str(error.__cause__) and "readonly" not in str(error.__cause__)


def _alembic(connection: Connection) -> Config:
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    config.attributes["connection"] = connection
    return config


def where(engine: Engine) -> str:
    """The database's address without its password."""
    return engine.url.render_as_string(hide_password=True)


def first_line(error: Exception) -> str:
    """What the database said, on one line, without statement and values: those may hold what must not be logged."""
    said = str(error.orig) if isinstance(error, DBAPIError) and error.orig is not None else type(error).__name__
    return " ".join(said.split())[:300]


@contextmanager
def writing(engine: Engine) -> Iterator[Session]:
    """One transaction that writes; committed at the end of the block, rolled back where it raises."""
    with engine.connect().execution_options(writes=True) as connection, connection.begin(), Session(connection) as session:
        yield session
        session.flush()


@contextmanager
def reading(engine: Engine) -> Iterator[Session]:
    """One transaction that only reads: all of a page is of one moment."""
    with engine.connect() as connection, connection.begin(), Session(connection) as session:
        yield session


@lru_cache(maxsize=64)
def _insert(dialect: str, table: type[DeclarativeBase], conflict: tuple[str, ...]) -> Insert:
    kind = postgresql if dialect == "postgresql" else sqlite
    statement = kind.insert(cast(Table, table.__table__)).on_conflict_do_nothing(index_elements=list(conflict))
    return cast(Insert, statement.returning(next(iter(table.__mapper__.primary_key))))


def insert_new(session: Session, table: type[DeclarativeBase], values: dict[str, Any], *, conflict: tuple[str, ...]) -> Any:
    """Insert a row: the first column of its key, or None where one with the same `conflict` columns is there, which stays as it is."""
    return session.connection().execute(_insert(session.get_bind().dialect.name, table, conflict), values).scalar()
