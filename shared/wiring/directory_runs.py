"""The runs of the sync: their store, their sources and their thread; imported at the first run, and not before."""

import asyncio
import hashlib
import os
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import AsyncExitStack
from dataclasses import asdict
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from shared.adapters.database.blob_requests import BlobRequests, SendToBlob
from shared.adapters.database.database import Database
from shared.adapters.database.store import SqlStore
from shared.core.directory.streams import STREAMS
from shared.core.documents.settings import Settings
from shared.core.documents.sync import SyncSettings
from shared.core.entra.clouds import STORAGE_SCOPE
from shared.core.token import TokenKey, Tokens
from shared.directory.graph import Get, Graph
from shared.directory.source import DirectorySource
from shared.directory.store import DirectoryStore
from shared.directory.sync import Sync
from shared.system import System
from shared.telemetry.event import Reports
from shared.telemetry.events import Events
from shared.wiring.database_token import DatabaseToken
from shared.wiring.identity import OwnIdentity

if TYPE_CHECKING:
    from shared.directory.run import FileRun


def open_runs(
    settings: Settings,
    ours: SyncSettings,
    *,
    root: Path,
    tokens: Tokens,
    identity: OwnIdentity,
    get: Get,
    send: SendToBlob | None,
    system: System,
    events: Events,
    open_things: AsyncExitStack,
) -> "Sync | FileRun":
    """Return what runs the sync.

    Args:
        settings: without mistakes.
        ours: `[sync]` among them.
        root: where a relative path starts.
        tokens: have those for Graph.
        identity: the app's own, for Azure Storage and for a database.
        get: the way to Graph.
        send: the way to the blob of the store, if it is one.
        system: clocks, sleep, ids and the folder of the local copy of a blob.
        events: the report of a run.
        open_things: closes what is opened here.
    """
    sources = _sources(settings, ours, tokens=tokens, get=get, system=system)
    interval = ours.interval_minutes * 60.0

    @cache
    def pool() -> Executor:
        """Return the store's thread. It is made after the store, and so it ends before the store is closed."""
        made = ThreadPoolExecutor(1, thread_name_prefix="store")
        open_things.callback(made.shutdown)
        return made

    def make_sync(store: DirectoryStore, reports: Reports) -> Sync:
        return Sync(sources=sources, store=store, pool=pool(), system=system, interval=interval, events=reports)

    def open_store(database: Database) -> SqlStore:
        store = SqlStore(database, streams=STREAMS.values())
        open_things.callback(store.close)
        return store

    # Each place imports what it needs: the smallest shape has no driver of a server.
    if send:
        from shared.adapters.database.blob_file import BlobFile  # noqa: PLC0415
        from shared.adapters.database.kept_copy import KeptCopy  # noqa: PLC0415
        from shared.adapters.database.sqlite import in_file  # noqa: PLC0415
        from shared.directory.rest import Rest  # noqa: PLC0415
        from shared.directory.run import FileRun, Plan  # noqa: PLC0415

        copy = KeptCopy(system.temporary() / _folder_of(ours.store))
        requests = BlobRequests(ours.store, get_token=identity.tokens_for(STORAGE_SCOPE), send=send, sleep=system.sleep)
        return FileRun(
            BlobFile(requests, copy=copy, new_id=system.new_id, pool=pool()),
            plan=Plan(sources=sources, interval=interval, clock=system.clock),
            open_store=lambda: SqlStore(in_file(copy.file), streams=STREAMS.values()),
            make_sync=make_sync,
            pool=pool(),
            events=events,
            rest=Rest(system),
        )
    if ours.address:
        from shared.adapters.database.postgresql import Server, on_server  # noqa: PLC0415

        server = Server(**asdict(ours.address), ca_file=settings.network.ca_file)
        token = DatabaseToken(identity.tokens_for(settings.home.database_scope), loop=asyncio.get_running_loop())
        password = (lambda _: ours.password) if ours.password else token.password
        return make_sync(open_store(on_server(server, password)), events)
    from shared.adapters.database.sqlite import in_file  # noqa: PLC0415

    return make_sync(open_store(in_file(root / ours.file)), events)


def _sources(
    settings: Settings, ours: SyncSettings, *, tokens: Tokens, get: Get, system: System
) -> list[DirectorySource]:
    """Return what is copied, for each tenant."""
    graph_root = settings.home.graph.removesuffix("/")

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
