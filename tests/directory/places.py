"""Where a copy may be kept: the same runs of the sync over a file, over a file in a blob, and over PostgreSQL."""

import sqlite3
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import closing
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any, Protocol

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
from shared.directory.rest import Rest
from shared.directory.run import FileRun, Plan
from shared.directory.source import DirectorySource
from shared.directory.store import DirectoryStore
from shared.directory.sync import Sync
from shared.telemetry.event import Reports
from tests.adapters.database.postgresql_server import PostgresqlServer, ServerDatabase
from tests.api.shop import InPlace
from tests.clock import FakeClock, fake_system, no_sleep

CONTAINER, BLOB = "directory", "directory.db"
INTERVAL = 900.0
WRITER = "the identity of the app"


class Place(Protocol):
    """A place of a copy.

    Attributes:
        file: what a reader opens.
        on_call: called before and after each call to the store, and each request to a blob; it may end the process.
    """

    file: Path | ServerDatabase
    on_call: Callable[[], None]

    async def run(
        self, sources: Sequence[DirectorySource], *, reports: Reports, seconds: float, order: Order | None
    ) -> None:
        """Run the sync once."""

    def restart(self) -> None:
        """End the process, if it has not ended yet, and begin another one."""

    def close(self) -> None:
        """Close what is open."""


class CalledStore:
    """A store of a place.

    Args:
        store: the store.
        place: where it is.
    """

    def __init__(self, store: SqlStore, place: Place) -> None:
        self._store = store
        self._place = place

    def __getattr__(self, name: str) -> Callable[..., Any]:
        """Return a method of the store."""
        method = getattr(self._store, name)

        def call(*args: Any, **kwargs: Any) -> Any:  # noqa: ANN401  # of any method
            self._place.on_call()
            result = method(*args, **kwargs)
            self._place.on_call()
            return result

        return call


class _Opened(Place):
    """A database that stays open from run to run.

    Args:
        file: the database.
        clock: both clocks.
        open_store: opens the store in it.
    """

    def __init__(self, file: Path | ServerDatabase, clock: FakeClock, open_store: Callable[[], SqlStore]) -> None:
        self.file = file
        self.on_call = nothing
        self._clock = clock
        self._open_store = open_store
        self._store = open_store()

    async def run(
        self, sources: Sequence[DirectorySource], *, reports: Reports, seconds: float, order: Order | None
    ) -> None:
        """Run the sync once."""
        store = CalledStore(self._store, self)
        await sync_of(sources, self._clock, store, reports).run(seconds=seconds, order=order)

    def restart(self) -> None:
        """End the process, if it has not ended yet, and begin another one."""
        self.close()
        self._store = self._open_store()

    def close(self) -> None:
        """Close the store."""
        self._store.close()


class InFile(_Opened):
    """A file on this machine.

    Args:
        folder: of the file.
        clock: both clocks.
        streams: all that there are.
    """

    def __init__(self, folder: Path, clock: FakeClock, streams: Iterable[Stream]) -> None:
        file, kept = folder / "directory.db", list(streams)
        super().__init__(file, clock, lambda: SqlStore(in_file(file), streams=kept))


class OnServer(_Opened):
    """A database of a PostgreSQL server, whose clock is that of the run.

    Args:
        database: the database.
        clock: both clocks.
        streams: all that there are.
    """

    def __init__(self, database: ServerDatabase, clock: FakeClock, streams: Iterable[Stream]) -> None:
        kept = list(streams)
        super().__init__(database, clock, lambda: SqlStore(database.open(), streams=kept))
        self._database = database

    async def run(
        self, sources: Sequence[DirectorySource], *, reports: Reports, seconds: float, order: Order | None
    ) -> None:
        """Run the sync once."""
        self._database.set_clock(self._clock.wall())
        await super().run(sources, reports=reports, seconds=seconds, order=order)


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
        self.on_call = nothing
        self.on_ask: Callable[[str, str], Reply | None] = lambda _method, _operation: None
        self.storage = storage or _storage(clock)
        self.copy = KeptCopy(folder / "copy")
        self._clock = clock
        self._streams = list(streams)
        self._ids = count(1)
        self._opened: SqlStore | None = None
        self._rest = Rest(fake_system(clock))

    async def run(
        self, sources: Sequence[DirectorySource], *, reports: Reports, seconds: float, order: Order | None
    ) -> None:
        """Run the sync once."""
        await self.runs(sources, reports=reports).run(seconds=seconds, order=order)
        if (content := self.content) is not None:
            self.file.write_bytes(content)

    def runs(self, sources: Sequence[DirectorySource], *, reports: Reports) -> FileRun:
        """Return what runs the sync, as the wiring composes it."""
        requests = BlobRequests(
            f"https://venddir.blob.example/{CONTAINER}/{BLOB}",
            get_token=self._token,
            send=self._send,
            sleep=no_sleep,
        )
        new_id: Callable[[], str] = lambda: f"{id(self)}-{next(self._ids)}"  # noqa: E731
        return FileRun(
            BlobFile(requests, copy=self.copy, new_id=new_id, pool=InPlace()),
            open_store=self._open_store,
            plan=Plan(sources=sources, interval=INTERVAL, clock=self._clock),
            make_sync=partial(sync_of, sources, self._clock),
            pool=InPlace(),
            events=reports,
            rest=self._rest,
        )

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

    def restart(self) -> None:
        """End the process, if it has not ended yet, and begin another one: the lease of the blob does not end."""
        self.close()
        self.copy.unlock()
        self._rest = Rest(fake_system(self._clock))

    def close(self) -> None:
        """Close the store of a run that was killed; every other run has closed its own."""
        if self._opened is not None:
            self._opened.close()
            self._opened = None

    def _open_store(self) -> CalledStore:
        self._opened = SqlStore(in_file(self.copy.file), streams=self._streams)
        return CalledStore(self._opened, self)

    async def _token(self, _: str | None) -> AccessToken:
        return AccessToken("t", self._clock(), lifetime=3_600, refresh_after=1_800)

    async def _send(
        self, method: str, url: str, *, headers: Mapping[str, str], content: bytes = b"", body_bytes: int | None = None
    ) -> Reply:
        self.on_call()
        if refused := self.on_ask(method, httpx.URL(url).params.get("comp", "")):
            return refused
        transport = httpx.ASGITransport(app=self.storage.app)
        async with httpx.AsyncClient(transport=transport, trust_env=False) as client:
            answer = await client.request(method, url, headers=dict(headers), content=content)
        self.on_call()
        assert body_bytes is None or len(answer.content) <= body_bytes
        return Reply(answer.status_code, answer.content, dict(answer.headers))


def nothing() -> None:
    """Let a call be."""


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
PLACES = [
    "a file",
    pytest.param("a blob", marks=pytest.mark.slow),
    pytest.param("PostgreSQL", marks=pytest.mark.nightly),
]
"""The parameters of a test over every place."""

type OpenPlace = Callable[[FakeClock, Iterable[Stream]], Place]


def opener(place: str, folder: Path, request: pytest.FixtureRequest) -> OpenPlace:
    """Return what opens an empty copy in a place."""
    if (in_file := FILES.get(place)) is not None:
        return partial(in_file, folder)
    server: PostgresqlServer = request.getfixturevalue("postgresql")
    return partial(OnServer, server.new_database())
