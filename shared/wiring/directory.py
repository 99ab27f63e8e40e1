"""Settings -> the sync of the directory: the timer's job, the run that an administrator asks for, and the check."""

import asyncio
import hashlib
import os
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import AsyncExitStack
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any, Protocol

from shared.adapters.blob import NAME
from shared.adapters.http import Network, exactly
from shared.core.check import Check, State
from shared.core.directory.order import Order
from shared.core.directory.standing import StreamStanding
from shared.core.directory.streams import STREAMS
from shared.core.documents.settings import Settings
from shared.core.documents.sync import SyncSettings
from shared.core.token import TokenKey, Tokens
from shared.directory.check import DirectoryCheck
from shared.directory.graph import Graph
from shared.directory.report import Report
from shared.directory.source import DirectorySource
from shared.directory.sync import DirectoryStore, Sync
from shared.system import System
from shared.telemetry import catalogue
from shared.telemetry.event import Reports
from shared.telemetry.events import Events
from shared.wiring.database_token import DatabaseToken
from shared.wiring.identity import OwnIdentity

type Job = Callable[[], Coroutine[Any, Any, None]]
"""The job that a timer runs."""
type Runs = Callable[[Order], Awaitable[Sequence[Report]]]

SYNC_SECONDS = 240.0
"""After which a sync ends: `functionTimeout` in host.json is 300, and the file of a blob has to go back before."""


class _Runs(Protocol):
    """Runs the sync."""

    async def run(self, *, seconds: float, order: Order | None = None) -> Sequence[Report]:
        """Run once, and end after so many seconds."""

    async def standings(self) -> Sequence[StreamStanding]:
        """Return where each stream is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Directory:
    """The sync of a worker.

    Args:
        job: runs what is due, for the timer.
        run: runs what an administrator asks for.
        check: tells where the copy stands.
        streams: the names of the streams that are synced; none if nothing is.
    """

    job: Job
    run: Runs
    check: Callable[[], Awaitable[Check]]
    streams: tuple[str, ...] = ()


def build_sync(
    settings: Settings,
    *,
    root: Path,
    tokens: Tokens,
    identity: OwnIdentity,
    network: Network,
    system: System,
    events: Events,
    open_things: AsyncExitStack,
) -> Directory:
    """Return how the directory is synced, or how it is reported that there is no sync here.

    Args:
        settings: without mistakes.
        root: where a relative path starts.
        tokens: have those for Graph.
        identity: the app's own, for Azure Storage and for a database.
        network: makes the way to Graph, and to the blob of the store.
        system: clocks, sleep, ids and the folder of the local copy of a blob.
        events: the report of a run.
        open_things: closes what is opened here.
    """
    ours = settings.sync
    if ours is None:
        return no_sync(events, "vend.toml has no [sync]")
    sources = _sources(settings, ours, tokens=tokens, network=network, system=system)
    interval = ours.interval_minutes * 60.0

    @cache
    def pool() -> Executor:
        made = ThreadPoolExecutor(1, thread_name_prefix="store")
        open_things.callback(made.shutdown)
        return made

    def make_sync(store: DirectoryStore, reports: Reports) -> Sync:
        return Sync(sources=sources, store=store, pool=pool(), system=system, interval=interval, events=reports)

    # Late: a worker that only answers requests never imports the database.
    @cache
    def in_a_file() -> _Runs:
        from shared.adapters.database.sqlite import in_file  # noqa: PLC0415
        from shared.adapters.database.store import SqlStore  # noqa: PLC0415

        store = SqlStore(in_file(root / ours.file), streams=STREAMS.values())
        open_things.callback(store.close)
        return make_sync(store, events)

    send = network.upstream(NAME, exactly(ours.store), limits=settings.limits.of_pieces).send if ours.is_blob else None

    @cache
    def in_a_blob() -> _Runs:
        from shared.adapters.database.blob_file import BlobFile  # noqa: PLC0415
        from shared.adapters.database.blob_requests import BlobRequests  # noqa: PLC0415
        from shared.adapters.database.kept_copy import KeptCopy  # noqa: PLC0415
        from shared.adapters.database.sqlite import in_file  # noqa: PLC0415
        from shared.adapters.database.store import SqlStore  # noqa: PLC0415
        from shared.directory.run import FileRun, Plan  # noqa: PLC0415

        assert send is not None
        copy = KeptCopy(system.temporary() / _folder_of(ours.store))
        requests = BlobRequests(ours.store, get_token=identity.storage_token, send=send, sleep=system.sleep)
        return FileRun(
            BlobFile(requests, copy=copy, new_id=system.new_id, pool=pool()),
            plan=Plan(sources=sources, interval=interval, clock=system.clock),
            open_store=lambda: SqlStore(in_file(copy.file), streams=STREAMS.values()),
            make_sync=make_sync,
            pool=pool(),
            events=events,
        )

    @cache
    def on_a_server() -> _Runs:
        from shared.adapters.database.postgresql import Server, on_server  # noqa: PLC0415
        from shared.adapters.database.store import SqlStore  # noqa: PLC0415

        assert ours.address is not None
        server = Server(**asdict(ours.address), ca_file=settings.network.ca_file)
        token = DatabaseToken(identity.database_token, loop=asyncio.get_running_loop())
        password = (lambda _: ours.password) if ours.password else token.password
        store = SqlStore(on_server(server, password), streams=STREAMS.values())
        open_things.callback(store.close)
        return make_sync(store, events)

    runs = in_a_blob if ours.is_blob else on_a_server if ours.address else in_a_file

    async def run(seconds: float, order: Order | None = None) -> Sequence[Report]:
        reports = await runs().run(seconds=seconds, order=order)
        events.flush()
        return reports

    async def job() -> None:
        await run(SYNC_SECONDS)

    return Directory(
        job=job,
        run=lambda order: run(order.seconds, order),
        check=DirectoryCheck(
            lambda: runs().standings(), streams=ours.streams, interval=interval, clock=system.clock
        ).look,
        streams=ours.streams,
    )


def _sources(
    settings: Settings, ours: SyncSettings, *, tokens: Tokens, network: Network, system: System
) -> list[DirectorySource]:
    """Return what is copied, for each tenant."""
    graph_root = settings.home.graph.removesuffix("/")
    get = network.upstream("Graph", exactly(graph_root), limits=settings.limits.of_graph).get

    def source(tenant_id: str) -> DirectorySource:
        key = TokenKey(ours.profile, tenant_id, settings.home.graph_scope)
        return DirectorySource(
            tenant_id=tenant_id,
            root=graph_root,
            streams=tuple(STREAMS[name] for name in ours.streams),
            graph=Graph(
                get_token=lambda rejected: tokens.get(key, rejected=rejected),
                get=get,
                clock=system.clock,
                sleep=system.sleep,
                new_id=system.new_id,
            ),
        )

    return [source(tenant_id) for tenant_id in settings.profiles[ours.profile].offer.tenants]


def _folder_of(store: str) -> str:
    """Return where the local copy of a blob lies: the same folder after a restart, so that none is left over."""
    return f"vend-{os.geteuid()}-{hashlib.sha256(store.encode()).hexdigest()[:16]}"


def no_sync(events: Events, cause: str) -> Directory:
    """Return what reports why nothing is synced."""

    async def report() -> None:
        events.emit(catalogue.SyncDisabled(cause=cause))

    async def run(_: Order) -> Sequence[Report]:
        return []

    async def check() -> Check:
        return Check("directory", State.OK, "nothing is synced here")

    return Directory(job=report, run=run, check=check)
