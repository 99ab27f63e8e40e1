"""A copy of the directory in a file, for the tests of the store, and the streams that they run over."""

import sqlite3
from collections.abc import Callable, Iterable, Mapping
from contextlib import closing
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from shared.adapters.database.migration import CURRENT, Version
from shared.adapters.database.sqlite import in_file
from shared.adapters.database.store import SqlStore
from shared.core.directory.checkpoint import Checkpoint
from shared.core.directory.delta import Change, ColumnValue, LinkKind, ObjectState, Page
from shared.core.directory.streams import STREAMS, Column, Lookup, Stream
from tests.adapters.database.postgresql_server import PostgresqlServer, ServerDatabase

TENANT = "7f3e9c52-1d6b-4a8f-9b0e-2c5d8a417e60"
OTHER_TENANT = "0e6c2a41-9b7d-4f35-8c1a-d4e8b5f6a723"
ROOT = "https://graph.microsoft.com"
NOW = 1_800_000_000.0

NOW_AS_TEXT = "2027-01-15T08:00:00.000000Z"

# A stream that vend does not have: the store knows no stream by its name, and a column may be a word of SQL.
GADGETS = Stream(
    name="gadgets",
    path="gadgets",
    type="gadget",
    permission="Gadget.Read.All",
    table="directory_gadget",
    properties={
        "displayName": Column("display_name", lookup=Lookup.ANY_CASE),
        "inUse": Column("in_use", bool),
        "order": Column("order", lookup=Lookup.EXACT),
        "maker": Column("maker"),
    },
)
EVERY_STREAM = (*STREAMS.values(), GADGETS)


def oid(number: int) -> str:
    """Make an id."""
    return f"00000000-0000-4000-8000-{number:012d}"


def active(number: int, **values: ColumnValue) -> Change:
    """Make the change of an object that is active."""
    return Change(oid(number), ObjectState.ACTIVE, values)


type Where = Path | ServerDatabase

WHERE = ["a file", pytest.param("PostgreSQL", marks=pytest.mark.slow)]
"""The parameters of a test over both databases."""


def maker(where: str, folder: Path, request: pytest.FixtureRequest) -> Callable[[], Where]:
    """Return what makes an empty database."""
    if where == "a file":
        numbers = count(1)
        return lambda: folder / f"directory_{next(numbers)}.db"
    server: PostgresqlServer = request.getfixturevalue("postgresql")
    return server.new_database


def query(where: Path | ServerDatabase, sql: str) -> list[dict[str, Any]]:
    """Run a query with nothing but SQLite, or as another user of the server."""
    if not isinstance(where, Path):
        return where.query(sql)
    with closing(sqlite3.connect(where)) as connection:
        connection.row_factory = sqlite3.Row
        return [dict(row) for row in connection.execute(sql)]


class _OnItsClock:
    """A store whose database has the clock of its caller; leases go by the clock of the database."""

    def __init__(self, store: SqlStore, database: ServerDatabase) -> None:
        self._store = store
        self._database = database
        self._now: float | None = None

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401  # any method of the store
        method = getattr(self._store, name)

        def call(*arguments: object, **more: Any) -> object:  # noqa: ANN401  # as above
            if (now := more.get("now", self._now)) is not None:
                self._database.set_clock(now)
                self._now = now
            return method(*arguments, **more)

        return call


class Copy:
    """A store in a file, one stream of one tenant in it, and what a reader finds there."""

    def __init__(
        self,
        file: Path | ServerDatabase,
        stream: Stream,
        *,
        tenant_id: str = TENANT,
        streams: Iterable[Stream] = EVERY_STREAM,
        version: Version = CURRENT,
    ) -> None:
        self.file = file
        self.tenant_id = tenant_id
        self.stream = stream
        database = in_file(file) if isinstance(file, Path) else file.open()
        store = SqlStore(database, streams=streams, version=version)
        self.store: SqlStore = store if isinstance(file, Path) else _OnItsClock(store, file)  # type: ignore[assignment]
        self.texts = [column.name for column in stream.properties.values() if column.kind is str]

    def beside(self, stream: Stream, *, tenant_id: str = TENANT) -> "Copy":
        """Open the database another time."""
        return Copy(self.file, stream, tenant_id=tenant_id)

    def begin(self, *, now: float = NOW, root: str = ROOT) -> Checkpoint:
        """Take the lease of the stream."""
        return self.store.begin(self.stream, tenant_id=self.tenant_id, root=root, now=now)

    def round(self, *changes: Change, checkpoint: Checkpoint | None = None, now: float = NOW) -> int:
        """Store one round of one page; return how many rows were written."""
        at = checkpoint or self.begin(now=now)
        stored = self.store.commit(at, Page(changes, f"{ROOT}/{at.page}", LinkKind.DELTA), now=now)
        self.store.release(stored.checkpoint)
        return stored.rows

    def begin_anew(self, *, now: float = NOW) -> Checkpoint:
        """Take the lease, and start a new copy."""
        checkpoint = self.begin(now=now)
        return self.store.move(checkpoint, checkpoint.anew(), now=now)

    def rows(self, table: str = "") -> Mapping[str, Mapping[str, Any]]:
        """Read the tenant's rows of a table, or of the view of the stream, with SQL alone; by id."""
        found = self.query(f"select * from {table or self.stream.view}")  # noqa: S608  # ours
        return {row["id"]: row for row in found if row["tenant_id"] == self.tenant_id}

    def query(self, sql: str) -> list[dict[str, Any]]:
        """Run a query."""
        return query(self.file, sql)
