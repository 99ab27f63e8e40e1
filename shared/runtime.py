"""The composition root: the order in which the parts of a worker are made, once, at the first call.

The Functions worker has no hook for its start, and an error while it imports the app would remove every function. So
nothing is built before it is needed, and a configuration with mistakes builds an app that answers 503.
"""

import logging
import os
import uuid
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AsyncExitStack
from functools import cache, partial
from pathlib import Path

from shared.adapters.http import Network, client_tls, read_roots
from shared.api import discovery as authority
from shared.api import doctor as doctor_report
from shared.api import readiness
from shared.api import sync as sync_runs
from shared.api.anonymous import AnonymousLines
from shared.api.answers import Answer
from shared.api.checks import Checks, unconfigured
from shared.api.discovery import Discovery
from shared.api.doctor import Doctor
from shared.api.readiness import Readiness
from shared.api.routes import ROUTES, Route
from shared.api.sync import SyncRuns
from shared.api.vendor import Vendor
from shared.callers.health import DocumentFacts
from shared.core.check import Check
from shared.core.documents.toml import DocumentError
from shared.core.entra.clouds import STORAGE_SCOPE
from shared.core.errors import NotReady, RouteDisabled
from shared.core.limits import Limits
from shared.core.request import Incoming
from shared.credentials.check import Serving, check_credentials, serving, standing
from shared.system import System
from shared.telemetry import catalogue
from shared.telemetry.events import Events, log_line
from shared.telemetry.loop_lag import LoopLag
from shared.telemetry.metrics import observer
from shared.tokens.cache import TokenCache
from shared.tokens.check import TokenCheck
from shared.tokens.identity_check import IdentityCheck
from shared.wiring.callers import build_callers, build_recognition
from shared.wiring.credentials import build_clients, build_vaults
from shared.wiring.directory import Job, build_sync, no_sync
from shared.wiring.identity import build_federated, build_identity
from shared.wiring.rotation import build_rotation, no_rotation
from shared.wiring.settings import load_settings
from shared.wiring.tokens import build_tokens, first_keys

ROOT = Path(__file__).parents[1]
# At INFO these libraries log a line for each of their requests; the events report what matters.
NOISY = ("azure", "httpcore", "msal", "urllib3")
# Their warnings and errors hold what a database says, and rows.
SILENT = ("psycopg", "sqlalchemy.pool")
GRAPH_SYNC = "graph_sync"
CERTIFICATE_ROTATION = "certificate_rotation"

type Handler = Callable[[Incoming], Awaitable[Answer]]
type Vend = Callable[[Route, Incoming], Awaitable[Answer]]


class Runtime:
    """The parts that answer in one worker process.

    Args:
        vend: answers a request for a token that came by a route.
        others: what answers any other request, by the path behind `/api/`.
        jobs: what the timers run, by the name of the function.
        tokens: the warm cache; None while the settings have mistakes.
        open_things: connections, threads and files.

    Attributes:
        routes: what answers a request, by the path behind `/api/`.
    """

    def __init__(
        self,
        *,
        vend: Vend,
        others: Mapping[str, Handler],
        jobs: Mapping[str, Job],
        tokens: TokenCache | None = None,
        open_things: AsyncExitStack | None = None,
    ) -> None:
        self.routes: Mapping[str, Handler] = {**{route.name: partial(vend, route) for route in ROUTES}, **others}
        self.jobs = jobs
        self.tokens = tokens
        self._open = open_things

    async def aclose(self) -> None:
        """Close everything that is open; a worker never does, a test must."""
        if self._open:
            await self._open.aclose()


@cache
def runtime() -> Runtime:
    """Return this worker's runtime, built at the first call; it cannot fail."""
    system = System()
    events = Events(log_line, wall=system.clock.wall, worker=uuid.uuid4().hex[:8])
    events.observer = observer(lambda: events.lost)
    quiet_libraries()
    return build(os.environ, root=ROOT, events=events, system=system)


def build(environ: Mapping[str, str], *, root: Path, events: Events, system: System) -> Runtime:
    """Return a runtime; one whose settings have mistakes answers 503 and names each of them in the log.

    Args:
        environ: the app settings.
        root: where a relative path starts.
        events: where everything is reported.
        system: clocks, sleep, chance, ids and threads.
    """
    try:
        settings = load_settings(environ, root=root)
        roots = read_roots(settings.network.ca_file)
    except DocumentError as error:
        events.emit(catalogue.SettingsInvalid(mistakes=error.mistakes))
        nothing = no_sync(events, "no valid settings")
        return Runtime(
            vend=_not_ready(events, system),
            others={
                authority.ROUTE: Discovery(refusal=NotReady, system=system, events=events).answer,
                readiness.ROUTE: Readiness(unconfigured, facts=DocumentFacts, system=system, events=events).answer,
                doctor_report.ROUTE: Doctor(None, credentials=tuple, system=system, events=events).answer,
                sync_runs.ROUTE: SyncRuns(None, run=nothing.run, streams=(), system=system, events=events).answer,
            },
            jobs={GRAPH_SYNC: nothing.job, CERTIFICATE_ROTATION: no_rotation},
        )
    limits, clock = settings.limits, system.clock
    open_things = AsyncExitStack()
    network = Network(tls=client_tls(roots), proxy=settings.network.proxy, limits=limits)
    open_things.push_async_callback(network.aclose)
    identity = build_identity(settings, environ, network=network, system=system, events=events)
    vaults = build_vaults(settings, identity=identity, network=network, system=system)
    federated = build_federated(settings, environ, network=network, system=system, events=events)
    clients = build_clients(settings, root=root, vaults=vaults, federated=federated, system=system)
    tokens = build_tokens(settings, clients=clients, network=network, system=system, events=events)
    callers = build_callers(
        settings,
        root=root,
        network=network,
        get_token=identity.tokens_for(STORAGE_SCOPE),
        clock=clock,
        events=events,
        on_new_generation=tokens.clear,
        open_things=open_things,
    )
    vendor = Vendor(
        callers=build_recognition(settings, callers, network=network, clock=clock, events=events),
        tokens=tokens,
        offers=settings.offers,
        app_checked_routes=settings.app_checked_routes,
        limits=limits,
        system=system,
        events=events,
    )
    token_check = TokenCheck(
        tokens, first_keys=first_keys(settings), min_remaining=limits.min_remaining_failing_seconds
    )

    identity_check = IdentityCheck(
        identity.tokens,
        is_needed={
            STORAGE_SCOPE: lambda: callers.facts.in_force is None,
            settings.home.vault_scope: token_check.has_none,
            settings.home.database_scope: lambda: False,  # the sync alone needs it, and has a check
        },
        min_remaining=limits.min_remaining_failing_seconds,
    )

    async def certificate() -> Check:
        now = clock()
        return check_credentials((standing(client.credential, now) for client in clients.values()), now)

    def credentials() -> list[Serving]:
        return [serving(name, client.credential) for name, client in clients.items()]

    directory = build_sync(
        settings,
        root=root,
        tokens=tokens,
        identity=identity,
        network=network,
        system=system,
        events=events,
        open_things=open_things,
    )
    checks = Checks(
        callers=callers.check,
        token=token_check.check,
        identity=identity_check.check,
        certificate=certificate,
        directory=directory.check,
        events=lambda: events.check(clock().boot),
        event_loop=LoopLag().check,
    )
    closed = None if settings.app_checked_routes else RouteDisabled
    runs = SyncRuns(callers, run=directory.run, streams=directory.streams, system=system, events=events)
    rotation = build_rotation(settings, vaults=vaults, network=network, system=system, events=events)
    return Runtime(
        vend=vendor.answer,
        others={
            authority.ROUTE: Discovery(refusal=closed, system=system, events=events).answer,
            readiness.ROUTE: Readiness(checks.look, facts=lambda: callers.facts, system=system, events=events).answer,
            doctor_report.ROUTE: Doctor(callers, credentials=credentials, system=system, events=events).answer,
            sync_runs.ROUTE: runs.answer,
        },
        jobs={GRAPH_SYNC: directory.job, CERTIFICATE_ROTATION: rotation},
        tokens=tokens,
        open_things=open_things,
    )


def quiet_libraries() -> None:
    """Silence the lines of libraries, unless the operator has set a level for those that may be read."""
    for name in SILENT:
        logging.getLogger(name).setLevel(logging.CRITICAL)
    for name in NOISY:
        logger = logging.getLogger(name)
        if logger.level == logging.NOTSET:
            logger.setLevel(logging.WARNING)


def _not_ready(events: Events, system: System) -> Vend:
    anonymous = AnonymousLines(per_minute=Limits().unknown_keys_per_minute, clock=system.clock, events=events)

    async def answer(route: Route, incoming: Incoming) -> Answer:
        error, correlation_id = NotReady(cause="no valid settings"), system.new_id()
        answer = route.refused(error, method=incoming.method, correlation_id=correlation_id)
        if route.host_checked or anonymous.take(error.error):
            events.flush()
            events.emit(
                catalogue.TokenAnswered(
                    correlation_id=correlation_id,
                    route=route.name,
                    status=answer.status,
                    outcome=error.error,
                    reason=error.cause,
                )
            )
        return answer

    return answer
