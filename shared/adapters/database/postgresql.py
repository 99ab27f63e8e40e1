"""PostgreSQL: how a connection is made and proved, and what its errors mean.

A connection is encrypted, and the server proves its name (`verify-full`) by a root of an explicit file. No setting, and
no variable of libpq such as PGSSLMODE, makes it weaker. The password is asked for at each connection
and kept nowhere: on Azure it is a token of the app's own identity, which lives for about an hour.

https://www.postgresql.org/docs/current/libpq-connect.html
"""

import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import inf
from typing import Any

import certifi
from psycopg import Connection, Error, OperationalError
from psycopg.abc import PQGen
from psycopg.errors import QueryCanceled
from sqlalchemy import URL, Dialect, create_engine, event

from shared.adapters.database.database import Database

CONNECT_SECONDS = 10
"""After which a server that does not answer is left."""
LOCK_SECONDS = 10
"""After which a statement no longer waits for a lock that another session holds."""
STATEMENT_SECONDS = 120
"""After which the server ends a statement: a run has four minutes."""
ANSWER_SECONDS = 130
"""After which a server is left that should have ended it, or that lets its answer drip: the store has one thread."""
REST_SECONDS = 60
"""How long such a server is not asked again: the host ends a worker whose run goes on for five minutes."""

CONFLICTS = frozenset({"23505", "40001", "40P01"})
"""Another run wrote the same rows at the same time: a key that was missing, a serialization failure, a deadlock."""

_ARGUMENTS: Mapping[str, object] = {
    "sslmode": "verify-full",
    "sslcertmode": "disable",
    "ssl_min_protocol_version": "TLSv1.2",
    "gssencmode": "disable",
    "connect_timeout": CONNECT_SECONDS,
    "target_session_attrs": "read-write",
    "keepalives_idle": 30,
    "tcp_user_timeout": 60_000,
    "application_name": "vend",
    "options": f"-c timezone=UTC -c lock_timeout={LOCK_SECONDS}s -c statement_timeout={STATEMENT_SECONDS}s"
    " -c idle_in_transaction_session_timeout=60s",
}
_SQLSTATE = re.compile(r"[0-9A-Z]{5}\Z")
# libpq has no SQLSTATE for a connection that was not made: its text is matched, and never passed on.
_NOT_MADE: Mapping[str, str] = {
    "could not translate host name": "HOST",
    "failed to resolve host": "HOST",
    "certificate": "TLS",
    "SSL": "TLS",
    "authentication": "28P01",
    "pg_hba.conf": "28000",
    "too many connections": "53300",
    "remaining connection slots": "53300",
    "role ": "28000",
    "database ": "3D000",
    "read-only": "25006",
    "starting up": "57P03",
}
_ANEW = "drop its tables and views, and the next run copies anew"
REMEDIES: Mapping[str, str] = {
    "CONNECTION": "let the app reach the server: its network, its firewall and its port",
    "HOST": "look at the name of the host in sync.store, and at the DNS zone of a private one",
    "TLS": "the server needs a certificate for its name; network.ca_file, if it is set, must hold the root of it too",
    "25006": "the server takes no writes: make room on its storage, or name the primary in sync.store",
    "2BP01": "drop what was built on the views of vend, and make it anew after the run",
    "28": "make the user of sync.store a user of the database; on Azure it has the name of the app's identity",
    "3D000": "make the database of sync.store",
    "42501": "let the user of sync.store create tables in the schema, and own those that are there",
    "42": f"the tables are not those of this version: {_ANEW}",
    "53100": "make room on the storage of the server",
    "53": "the server lacks memory or connections: end some, or make it larger",
    "55P03": "end the session that keeps a transaction open on the tables",
    "57014": "look at the load of the server: a statement took too long",
    "XX": "the database is damaged: restore it, or make it anew, and the next run copies anew",
}
"""By an SQLSTATE, or its class: https://www.postgresql.org/docs/current/errcodes-appendix.html."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """Which database of which server, and as whom.

    Args:
        host, port, database, user: of the database.
        ca_file: the only roots; those of certifi where it is "".
    """

    host: str
    port: int
    database: str
    user: str
    ca_file: str = ""


def on_server(server: Server, password: Callable[[str], str], *, seconds: float = ANSWER_SECONDS) -> Database:
    """Return a database of a server; nothing is opened before its first connection.

    Args:
        server: the server.
        password: returns the password for a new connection, and not the one that was refused, if any; it may raise an
            `UpstreamError`.
        seconds: after which a server that does not answer is left.
    """
    engine = create_engine(
        URL.create(
            "postgresql+psycopg",
            username=server.user,
            host=server.host,
            port=server.port,
            database=server.database,
        ),
        connect_args={**_ARGUMENTS, "sslrootcert": server.ca_file or certifi.where()},
        isolation_level="READ COMMITTED",
        use_native_hstore=False,
        pool_size=1,
        pool_pre_ping=True,
    )
    event.listen(engine, "do_connect", _SignIn(password, seconds))
    return Database(
        engine=engine,
        is_there=lambda: True,
        name_of=name_of,
        remedy_for=remedy_for,
        conflicts=CONFLICTS,
    )


def name_of(error: BaseException) -> str:
    """Return the SQLSTATE of an error, or what kept a connection from being made."""
    state = getattr(error, "sqlstate", None)
    if state is not None and _SQLSTATE.match(state):
        return str(state)
    if not isinstance(error, OperationalError):
        return type(error).__name__
    # After the address: a host's name may be any of these words.
    text = str(error).rpartition(" failed: ")[2]
    return next((name for words, name in _NOT_MADE.items() if words in text), "CONNECTION")


def remedy_for(name: str) -> str | None:
    """Return what to do about an error by its name, or by its class."""
    return REMEDIES.get(name) or REMEDIES.get(name[:2])


class _Connection(Connection[Any]):
    """A connection on which every answer ends in time: psycopg would wait for a silent server for ever."""

    seconds: float = ANSWER_SECONDS
    silent_since = -inf

    def wait[T](self, gen: PQGen[T], interval: float = 0.1, timeout: float | None = None) -> T:  # noqa: ARG002  # ours
        """Return what the server answers; raise `QueryCanceled` if it does not, with the connection closed."""
        began = time.monotonic()
        try:
            return super().wait(gen, interval, self.seconds)
        except OperationalError:
            if time.monotonic() - began < self.seconds:
                raise
        self.pgconn.finish()
        self.silent_since = time.monotonic()
        raise QueryCanceled


class _SignIn:
    """Makes each connection with a password of its own, which is in no argument that SQLAlchemy keeps.

    Args:
        password: as in `on_server`.
        seconds: as in `on_server`.
    """

    def __init__(self, password: Callable[[str], str], seconds: float) -> None:
        self._password = password
        self._seconds = seconds
        self._refused = ""
        self._last: _Connection | None = None

    def __call__(self, _dialect: Dialect, _record: object, arguments: list[Any], more: dict[str, Any]) -> _Connection:
        """Return a connection."""
        if self._last and time.monotonic() < self._last.silent_since + REST_SECONDS:
            raise QueryCanceled
        password = self._password(self._refused)
        try:
            self._last = _Connection.connect(*arguments, **more, password=password)
        except Error as error:
            self._refused = password if name_of(error).startswith("28") else ""
            raise
        self._refused = ""
        self._last.seconds = self._seconds
        return self._last
