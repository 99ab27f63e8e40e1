"""Settings -> the timer's job: the sync of the directory."""

from collections.abc import Callable, Coroutine, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack
from functools import cache
from typing import Any

from shared.core.directory.delta import STREAMS
from shared.core.documents.settings import Settings, SyncSettings, is_on_azure
from shared.core.token import TokenKey, Tokens
from shared.directory.graph import Get, Graph
from shared.directory.sync import Sync
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
    tokens: Tokens,
    get: Get,
    system: System,
    events: Events,
    open_things: AsyncExitStack,
) -> Job:
    """Return the job that syncs the directory, or one that reports why there is no sync here.

    Args:
        settings: without mistakes.
        environ: the app settings.
        tokens: have those for Graph.
        get: gets a page.
        system: clocks, sleep and ids.
        events: the report of a run.
        open_things: closes what is opened here.
    """
    if settings.sync is None:
        return no_sync(events, "vend.toml has no [sync]")
    if is_on_azure(environ):
        return no_sync(events, "no shared store: SQLite is for one machine")
    return _sync(settings, settings.sync, tokens=tokens, get=get, system=system, events=events, open_things=open_things)


def no_sync(events: Events, cause: str) -> Job:
    """Return a job that reports why nothing is synced."""

    async def report() -> None:
        events.emit(catalogue.SyncDisabled(cause=cause))

    return report


def _sync(
    settings: Settings,
    ours: SyncSettings,
    *,
    tokens: Tokens,
    get: Get,
    system: System,
    events: Events,
    open_things: AsyncExitStack,
) -> Job:
    profile, root = settings.profiles[ours.profile], settings.home.graph
    tenant_id = profile.offer.tenants[0]
    key = TokenKey(ours.profile, tenant_id, f"{root}/.default")

    @cache
    def sync() -> Sync:
        # Late: a worker that only answers requests never imports the database.
        from shared.adapters.database.store import Store  # noqa: PLC0415

        store = Store(ours.store)
        pool = ThreadPoolExecutor(1, thread_name_prefix="store")
        open_things.callback(store.close)
        open_things.callback(pool.shutdown)
        return Sync(
            streams=[STREAMS[name] for name in ours.streams],
            tenant_id=tenant_id,
            root=root,
            graph=Graph(
                get_token=lambda rejected: tokens.get(key, rejected=rejected),
                get=get,
                clock=system.clock,
                sleep=system.sleep,
                new_id=system.new_id,
            ),
            store=store,
            pool=pool,
            clock=system.clock,
            events=events,
        )

    return lambda: sync().run(seconds=SYNC_SECONDS)
