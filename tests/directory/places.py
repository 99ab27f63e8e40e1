"""Where a copy may be kept: the same runs of the sync over a file, over a file in a blob, and over PostgreSQL."""

import sqlite3
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import closing
from functools import partial
from itertools import count
from pathlib import Path
from typing import Protocol

import httpx
import pytest

from emulator.blob.app import BlobStorage
from shared.adapters.database.blob_file import BlobFile
from shared.adapters.database.blob_requests import BlobRequests
from shared.adapters.database.kept_copy import KeptCopy
from shared.adapters.database.sqlite import in_file
from shared.adapters.database.store import SqlStore
from shared.core.directory.order import Order
from shared.core.directory.streams import Stream
from shared.core.reply import Reply
from shared.core.token import AccessToken
from shared.directory.run import FileRun, Plan
from shared.directory.source import DirectorySource
from shared.directory.sync import DirectoryStore, Sync
from shared.telemetry.event import Reports
from tests.adapters.database.postgresql_server import PostgresqlServer, ServerDatabase
from tests.api.shop import InPlace
from tests.clock import FakeClock, fake_system, no_sleep

CONTAINER, BLOB = "directory", "directory.db"
INTERVAL = 900.0
WRITER = "the identity of the app"


class Place(Protocol):
    """A place of a copy; `file` is what a reader opens."""

    file: Path | ServerDatabase

    async def run(
        self, sources: Sequence[DirectorySource], *, reports: Reports, seconds: float, order: Order | None
    ) -> None:
        """Run the sync once."""

    def close(self) -> None:
        """Close what is open."""


class InFile(Place):
    """A file on this machine.

    Args:
        folder: of the file.
        clock: both clocks.
        streams: all that there are.
    """

    def __init__(self, folder: Path, clock: FakeClock, streams: Iterable[Stream]) -> None:
        self.file = folder / "directory.db"
        self._clock = clock
        self._store = SqlStore(in_file(self.file), streams=streams)

    async def run(
        self, sources: Sequence[DirectorySource], *, reports: Reports, seconds: float, order: Order | None
    ) -> None:
        """Run the sync once."""
        await sync_of(sources, self._clock, self._store, reports).run(seconds=seconds, order=order)

    def close(self) -> None:
        """Close the store."""
        self._store.close()


class OnServer(Place):
    """A database of a PostgreSQL server, whose clock is that of the run.

    Args:
        database: the database.
        clock: both clocks.
        streams: all that there are.
    """

    def __init__(self, database: ServerDatabase, clock: FakeClock, streams: Iterable[Stream]) -> None:
        self.file = database
        self._clock = clock
        self._store = SqlStore(database.open(), streams=streams)

    async def run(
        self, sources: Sequence[DirectorySource], *, reports: Reports, seconds: float, order: Order | None
    ) -> None:
        """Run the sync once."""
        self.file.set_clock(self._clock.wall())
        await sync_of(sources, self._clock, self._store, reports).run(seconds=seconds, order=order)

    def close(self) -> None:
        """Close the store."""
        self._store.close()


class InBlob(Place):
    """A file in a blob of the local Blob Storage, which is in this process; `file` is a copy of it after each run.

    Args:
        folder: of the copies.
        clock: both clocks.
        streams: all that there are.
        storage: of another place, whose machine this one is not.
    """

    def __init__(
        self, folder: Path, clock: FakeClock, streams: Iterable[Stream], *, storage: BlobStorage | None = None
    ) -> None:
        self.file = folder / "read.db"
        self.on_ask: Callable[[str, str], Reply | None] = lambda _method, _operation: None
        self.storage = storage or _storage(clock)
        self.copy = KeptCopy(folder / "copy")
        self._clock = clock
        self._streams = list(streams)
        self._ids = count(1)

    async def run(
        self, sources: Sequence[DirectorySource], *, reports: Reports, seconds: float, order: Order | None
    ) -> None:
        """Run the sync once, as the wiring composes it."""
        requests = BlobRequests(
            f"https://venddir.blob.example/{CONTAINER}/{BLOB}",
            get_token=self._token,
            send=self._send,
            sleep=no_sleep,
        )
        new_id: Callable[[], str] = lambda: f"{id(self)}-{next(self._ids)}"  # noqa: E731
        run = FileRun(
            BlobFile(requests, copy=self.copy, new_id=new_id, pool=InPlace()),
            open_store=lambda: SqlStore(in_file(self.copy.file), streams=self._streams),
            plan=Plan(sources=sources, interval=INTERVAL, clock=self._clock),
            make_sync=partial(sync_of, sources, self._clock),
            pool=InPlace(),
            events=reports,
        )
        await run.run(seconds=seconds, order=order)
        if (content := self.content) is not None:
            self.file.write_bytes(content)

    @property
    def content(self) -> bytes | None:
        """What is in the blob; None where it is not there."""
        try:
            return self.storage.read(CONTAINER, BLOB)
        except KeyError:
            return None

    def query(self, sql: str) -> list[tuple[object, ...]]:
        """Run a query over what the blob had after the last run, as a reader does."""
        with closing(sqlite3.connect(f"file:{self.file}?mode=ro&immutable=1", uri=True)) as connection:
            return connection.execute(sql).fetchall()

    def close(self) -> None:
        """Close nothing: each run has closed its store."""

    async def _token(self, _: str | None) -> AccessToken:
        return AccessToken("t", self._clock(), lifetime=3_600, refresh_after=1_800)

    async def _send(
        self, method: str, url: str, *, headers: Mapping[str, str], content: bytes = b"", body_bytes: int | None = None
    ) -> Reply:
        if refused := self.on_ask(method, httpx.URL(url).params.get("comp", "")):
            return refused
        transport = httpx.ASGITransport(app=self.storage.app)
        async with httpx.AsyncClient(transport=transport, trust_env=False) as client:
            answer = await client.request(method, url, headers=dict(headers), content=content)
        assert body_bytes is None or len(answer.content) <= body_bytes
        return Reply(answer.status_code, answer.content, dict(answer.headers))


def sync_of(sources: Sequence[DirectorySource], clock: FakeClock, store: DirectoryStore, reports: Reports) -> Sync:
    """Make the sync of a store."""
    system = fake_system(clock)
    return Sync(sources=sources, store=store, pool=InPlace(), system=system, interval=INTERVAL, events=reports)


def _storage(clock: FakeClock) -> BlobStorage:
    """Make an account whose container the app's identity may write."""
    storage = BlobStorage(
        authority="https://login.example",
        tenant_id="a-tenant",
        authenticate=lambda _: WRITER,
        now=clock.wall,
        containers=frozenset({CONTAINER}),
    )
    storage.assign(WRITER, "Storage Blob Data Contributor", container=CONTAINER)
    return storage


FILES: Mapping[str, Callable[[Path, FakeClock, Iterable[Stream]], Place]] = {"a file": InFile, "a blob": InBlob}
PLACES = ["a file", *(pytest.param(name, marks=pytest.mark.slow) for name in ("a blob", "PostgreSQL"))]
"""The parameters of a test over every place."""

type OpenPlace = Callable[[FakeClock, Iterable[Stream]], Place]


def opener(place: str, folder: Path, request: pytest.FixtureRequest) -> OpenPlace:
    """Return what opens an empty copy in a place."""
    if (in_file := FILES.get(place)) is not None:
        return partial(in_file, folder)
    server: PostgresqlServer = request.getfixturevalue("postgresql")
    return partial(OnServer, server.new_database())
