"""The composition root: settings -> everything that is needed to answer, once per worker, at the first call.

The Functions worker has no hook for its start, and an error while it imports the app would take every function away,
so nothing is built before it is needed, and a configuration with mistakes builds an app that says so with 503.
"""

import asyncio
import logging
import os
import random
import tempfile
import time
import uuid
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import AsyncExitStack
from functools import cache, partial
from pathlib import Path
from typing import Any

from shared.adapters.blob import BlobSource, FileSource, GetBlob
from shared.adapters.http import HttpClient
from shared.adapters.key_vault import KeyVault
from shared.adapters.own_identity import OwnIdentity
from shared.api.answers import Answer
from shared.api.checks import Check, Checks, unconfigured
from shared.api.readiness import ROUTE as READY
from shared.api.readiness import Readiness
from shared.api.routes import ROUTES, Route
from shared.api.vendor import Vendor
from shared.callers.live import Callers
from shared.core.directory.streams import STREAMS
from shared.core.documents.settings import (
    Profile,
    Settings,
    SettingsError,
    SyncSettings,
    is_on_azure,
    is_url,
    load_settings,
)
from shared.core.errors import NotReady
from shared.core.request import Incoming
from shared.core.token import Clock, Moment, TokenKey
from shared.credentials.vault_certificate import Client, Entra, VaultCertificate
from shared.directory.graph import Graph
from shared.directory.sync import DirectorySource, Sync
from shared.telemetry.events import Events, log_line
from shared.telemetry.loop_lag import LoopLag
from shared.telemetry.metrics import observer
from shared.tokens.cache import TokenCache

ROOT = Path(__file__).parents[1]
VAULT_THREADS = 4
# What libraries tell at INFO is a line per request of theirs; the events say what matters.
NOISY = ("azure", "httpx", "httpcore", "msal", "urllib3")

SYNC_SECONDS = 240.0
"""After which a sync begins no further page: `functionTimeout` in host.json ends it at 300."""

type Handler = Callable[[Incoming], Awaitable[Answer]]
type Vend = Callable[[Route, Incoming], Awaitable[Answer]]
type Job = Callable[[], Coroutine[Any, Any, None]]


class SystemClock:
    """This machine's clocks."""

    wall = staticmethod(time.time)
    # Runs on in a suspend where the system has such a one.
    boot = staticmethod(
        partial(time.clock_gettime, time.CLOCK_BOOTTIME) if hasattr(time, "CLOCK_BOOTTIME") else time.monotonic
    )

    def __call__(self) -> Moment:
        """Read both."""
        return Moment(self.wall(), self.boot())


clock = SystemClock()


def new_id() -> str:
    """Make an id that nobody can guess."""
    return str(uuid.uuid4())


class Runtime:
    """What one worker process answers with.

    Has `routes`: by the path behind `/api/`, what answers a request there.

    Args:
        vend: answers a request for a token that came by a route.
        ready: answers a probe.
        sync: copies the directory, as far as the time of a timer's run allows.
        tokens: the warm cache; None while the settings have mistakes.
        open_things: connections, threads and files.
    """

    def __init__(
        self,
        *,
        vend: Vend,
        ready: Handler,
        sync: Job,
        tokens: TokenCache | None = None,
        open_things: AsyncExitStack | None = None,
    ) -> None:
        self.routes: Mapping[str, Handler] = {
            **{route.name: partial(vend, route) for route in ROUTES},
            READY: ready,
        }
        self.sync = sync
        self.tokens = tokens
        self._open = open_things

    async def aclose(self) -> None:
        """Let go of everything open; for whoever outlives the runtime, which a worker does not."""
        if self._open:
            await self._open.aclose()


@cache
def runtime() -> Runtime:
    """Give this worker's runtime, built at the first call; cannot fail."""
    events = Events(log_line, wall=time.time, worker=uuid.uuid4().hex[:8])
    events.observer = observer(lambda: events.lost)
    quiet_libraries()
    return build(os.environ, root=ROOT, events=events)


def build(
    environ: Mapping[str, str],
    *,
    root: Path,
    events: Events,
    clock: Clock = clock,
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
) -> Runtime:
    """Build a runtime; one with mistakes in its settings answers 503 and names them in the log."""
    try:
        settings = load_settings(environ, root=root)
    except SettingsError as error:
        events.emit("settings_invalid", mistakes=error.mistakes)
        return Runtime(
            vend=_not_ready(events),
            ready=Readiness(_unconfigured, clock=clock, events=events, new_id=new_id).answer,
            sync=_no_sync(events, "no valid settings"),
        )
    limits = settings.limits
    open_things = AsyncExitStack()
    http = HttpClient(ca_file=settings.network.ca_file, proxy=settings.network.proxy, limits=limits)
    open_things.push_async_exit(http)
    clients = _clients(settings, environ, clock=clock, open_things=open_things)
    entra = Entra(
        cloud=settings.home,
        clients=clients,
        post=http.post,
        limits=limits,
        clock=clock,
        sleep=sleep,
        draw=random.random,
        new_id=new_id,
        events=events,
    )
    tokens = TokenCache(
        entra.acquire, limits=limits, clock=clock, events=events, version=entra.version, draw=random.random
    )
    pool = ThreadPoolExecutor(1, thread_name_prefix="callers")
    open_things.callback(pool.shutdown)
    callers = Callers(
        _callers_source(settings, environ, root=root, get=http.get, pool=pool),
        settings.offers,
        pool=pool,
        limits=limits,
        clock=clock,
        events=events,
        on_new_generation=tokens.clear,
    )
    vendor = Vendor(
        check_callers=callers.check,
        identify=callers.identify,
        get_token=tokens.get,
        offers=settings.offers,
        clock=clock,
        events=events,
        new_id=new_id,
        app_checked_routes=settings.app_checked_routes,
        unknown_keys_per_minute=limits.unknown_keys_per_minute,
        told_margin_seconds=limits.told_margin_seconds,
    )
    checks = Checks(
        callers=callers.standing,
        tokens=tokens,
        key=_first_key(settings),
        floor=limits.served_floor_failing_seconds,
        certificates=lambda: [
            client.credential.not_after for client in clients.values() if client.credential.not_after
        ],
        lost=lambda: events.lost,
        lag=LoopLag().worst,
        clock=clock,
    )
    ready = Readiness(checks.look, clock=clock, events=events, new_id=new_id)
    if settings.sync is None:
        sync = _no_sync(events, "vend.toml has no [sync]")
    elif is_on_azure(environ):
        sync = _no_sync(events, "no shared store: SQLite is for one machine")
    else:
        sync = _sync(settings, settings.sync, tokens, http, clock, sleep, events, open_things)
    return Runtime(vend=vendor.answer, ready=ready.answer, sync=sync, tokens=tokens, open_things=open_things)


def _callers_source(
    settings: Settings, environ: Mapping[str, str], *, root: Path, get: GetBlob, pool: Executor
) -> FileSource | BlobSource:
    if not is_url(settings.callers):
        return FileSource(root / settings.callers, pool=pool)
    # One of its own, with a pool of its own: calls to a vault that hangs hold nobody up here.
    identity = OwnIdentity(settings.identity_client_id, environ=environ)
    return BlobSource(settings.callers, token_for=lambda scope: identity.get_token(scope).token, get=get, pool=pool)


def _sync(
    settings: Settings,
    ours: SyncSettings,
    tokens: TokenCache,
    http: HttpClient,
    clock: Callable[[], Moment],
    sleep: Callable[[float], Awaitable[None]],
    events: Events,
    open_things: AsyncExitStack,
) -> Job:
    profile, root = settings.profiles[ours.profile], settings.home.graph
    tenant_id = profile.offer.tenants[0]
    key = TokenKey(ours.profile, tenant_id, f"{root}/.default")

    @cache
    def sync() -> Sync:
        # Late: a worker that only answers requests never imports the database.
        from shared.adapters.database.store import SqlStore  # noqa: PLC0415

        store = SqlStore(ours.store, streams=STREAMS.values())
        pool = ThreadPoolExecutor(1, thread_name_prefix="store")
        open_things.callback(store.close)
        open_things.callback(pool.shutdown)
        return Sync(
            source=DirectorySource(
                tenant_id=tenant_id, root=root, streams=tuple(STREAMS[name] for name in ours.streams)
            ),
            graph=Graph(
                get_token=lambda rejected: tokens.get(key, rejected=rejected),
                get=http.get_page,
                clock=clock,
                sleep=sleep,
                new_id=new_id,
            ),
            store=store,
            pool=pool,
            clock=clock,
            events=events,
        )

    return lambda: sync().run(seconds=SYNC_SECONDS)


def _first_key(settings: Settings) -> TokenKey:
    """Choose whose token a worker asks for that was never asked for one: the first that could be vended."""
    vendable = [profile for profile in settings.profiles.values() if profile.vendable]
    profile = (vendable or list(settings.profiles.values()))[0]
    return TokenKey(profile.name, profile.offer.tenants[0], profile.scopes[0])


async def _unconfigured() -> list[Check]:
    return unconfigured()


def _no_sync(events: Events, cause: str) -> Job:
    async def tell() -> None:
        events.emit("sync_disabled", cause=cause)

    return tell


def quiet_libraries() -> None:
    """Keep the libraries' own lines out of the log, unless somebody has set a level for them."""
    for name in NOISY:
        logger = logging.getLogger(name)
        if logger.level == logging.NOTSET:
            logger.setLevel(logging.WARNING)


def _clients(
    settings: Settings, environ: Mapping[str, str], *, clock: Clock, open_things: AsyncExitStack
) -> Mapping[str, Client]:
    pool = ThreadPoolExecutor(VAULT_THREADS, thread_name_prefix="vault")
    open_things.callback(pool.shutdown)
    bundle = _ca_bundle(settings.network.ca_file)
    if bundle:
        open_things.callback(Path(bundle).unlink)
    identity = OwnIdentity(settings.identity_client_id, environ=environ)

    @cache
    def vault(url: str) -> KeyVault:
        return KeyVault(
            url,
            credential=identity,
            pool=pool,
            ca_bundle=bundle,
            proxy=settings.network.proxy,
            verify_challenge=settings.home.verify_vault_challenge,
            limits=settings.limits,
            wall=lambda: clock().wall,
        )

    def client(profile: Profile) -> Client:
        found = profile.credentials[0]
        credential = VaultCertificate(
            vault=vault(found.vault),
            name=found.name,
            client_id=profile.client_id,
            clock=clock,
            new_id=new_id,
            limits=settings.limits,
        )
        return Client(
            client_id=profile.client_id,
            credential=credential,
            region=profile.region,
            capabilities=profile.claims_capabilities,
        )

    return {name: client(profile) for name, profile in settings.profiles.items()}


def _ca_bundle(ca_file: str) -> str | None:
    """Write the one file that the Azure SDKs take: their own roots, and those of `ca_file`."""
    if not ca_file:
        return None
    import certifi  # noqa: PLC0415  # needed for private clouds and inspecting proxies alone

    with tempfile.NamedTemporaryFile("w", prefix="vend-roots-", suffix=".pem", delete=False) as bundle:
        bundle.write(certifi.contents() + "\n" + Path(ca_file).read_text())
    return bundle.name


def _not_ready(events: Events) -> Vend:
    async def answer(route: Route, incoming: Incoming) -> Answer:
        error, correlation_id = NotReady(cause="no valid settings"), new_id()
        events.emit(
            "token",
            correlation_id=correlation_id,
            route=route.name,
            status=error.status,
            outcome=error.error,
            reason=error.cause,
        )
        return route.refused(error, method=incoming.method, correlation_id=correlation_id)

    return answer
