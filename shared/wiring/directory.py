"""Settings -> the timer's job: the sync of the directory."""

from collections.abc import Callable, Coroutine, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack
from functools import cache
from pathlib import Path
from typing import Any

from shared.adapters.http import Network, exactly
from shared.core.directory.streams import STREAMS
from shared.core.documents.settings import Settings, is_on_azure
from shared.core.token import TokenKey, Tokens
from shared.directory.graph import Graph
from shared.directory.sync import DirectorySource, Sync
from shared.system import System
from shared.telemetry import catalogue
from shared.telemetry.events import Events

type Job = Callable[[], Coroutine[Any, Any, None]]
"""What a timer runs."""

SYNC_SECONDS = 240.0
"""After which a sync begins no further page: `functionTimeout` in host.json ends it at 300."""


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
) -> Job:
    """Return the job that syncs the directory, or one that reports why there is no sync here.

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
            clock=system.clock,
            events=events,
        )

    return lambda: sync().run(seconds=SYNC_SECONDS)


def no_sync(events: Events, cause: str) -> Job:
    """Return a job that reports why nothing is synced."""

    async def report() -> None:
        events.emit(catalogue.SyncDisabled(cause=cause))

    return report
