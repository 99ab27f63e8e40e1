"""Settings -> the sync of the directory: the timer's job, the run that an administrator asks for, and the check."""

from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from shared.adapters.http import Network, exactly
from shared.core.check import Check, State
from shared.core.directory.order import Order
from shared.core.directory.streams import STREAMS
from shared.core.documents.settings import Settings, is_on_azure
from shared.core.token import TokenKey, Tokens
from shared.directory.check import DirectoryCheck
from shared.directory.graph import Graph
from shared.directory.report import Report
from shared.directory.sync import DirectorySource, Sync
from shared.system import System
from shared.telemetry import catalogue
from shared.telemetry.events import Events

type Job = Callable[[], Coroutine[Any, Any, None]]
"""What a timer runs."""
type Runs = Callable[[Order], Awaitable[Sequence[Report]]]

SYNC_SECONDS = 240.0
"""After which a sync begins no further page: `functionTimeout` in host.json ends it at 300."""


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
    environ: Mapping[str, str],
    *,
    root: Path,
    tokens: Tokens,
    network: Network,
    system: System,
    events: Events,
    open_things: AsyncExitStack,
) -> Directory:
    """Return how the directory is synced, or how it is reported that there is no sync here.

    Args:
        settings: without mistakes.
        environ: the app settings.
        root: where a relative path starts.
        tokens: have those for Graph.
        network: makes the way to Graph.
        system: clocks, sleep and ids.
        events: the report of a run.
        open_things: closes what is opened here.
    """
    ours = settings.sync
    if ours is None:
        return no_sync(events, "vend.toml has no [sync]")
    if is_on_azure(environ):
        return no_sync(events, "no shared store: SQLite is for one machine")
    offer, graph_root = settings.profiles[ours.profile].offer, settings.home.graph.removesuffix("/")
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

    @cache
    def sync() -> Sync:
        # Late: a worker that only answers requests never imports the database.
        from shared.adapters.database.store import SqlStore  # noqa: PLC0415

        store = SqlStore(root / ours.file, streams=STREAMS.values())
        pool = ThreadPoolExecutor(1, thread_name_prefix="store")
        open_things.callback(store.close)
        open_things.callback(pool.shutdown)
        return Sync(
            sources=[source(tenant_id) for tenant_id in offer.tenants],
            store=store,
            pool=pool,
            system=system,
            interval=ours.interval_minutes * 60,
            events=events,
        )

    async def job() -> None:
        await sync().run(seconds=SYNC_SECONDS)

    return Directory(
        job=job,
        run=lambda order: sync().run(seconds=order.seconds, order=order),
        check=DirectoryCheck(
            lambda: sync().standings(),
            streams=ours.streams,
            interval=ours.interval_minutes * 60,
            clock=system.clock,
        ).look,
        streams=ours.streams,
    )


def no_sync(events: Events, cause: str) -> Directory:
    """Return what reports why nothing is synced."""

    async def report() -> None:
        events.emit(catalogue.SyncDisabled(cause=cause))

    async def run(_: Order) -> Sequence[Report]:
        return []

    async def check() -> Check:
        return Check("directory", State.OK, "nothing is synced here")

    return Directory(job=report, run=run, check=check)
