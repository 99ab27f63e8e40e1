"""Settings -> the sync of the directory: the timer's job, the run that an administrator asks for, and the check."""

from collections.abc import Awaitable, Callable, Coroutine, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from functools import cache
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from shared.adapters.blob import NAME
from shared.adapters.http import Network, exactly
from shared.core.check import Check, State
from shared.core.directory.order import Order
from shared.core.directory.standing import StreamStanding
from shared.core.documents.settings import Settings
from shared.core.token import Tokens
from shared.directory.check import DirectoryCheck
from shared.system import System
from shared.telemetry import catalogue
from shared.telemetry.events import Events
from shared.wiring.identity import OwnIdentity

if TYPE_CHECKING:
    from shared.directory.report import Report

type Job = Callable[[], Coroutine[Any, Any, None]]
"""The job that a timer runs."""
type Run = Callable[[Order], Awaitable[Sequence["Report"]]]

SYNC_SECONDS = 240.0
"""After which a sync ends: `functionTimeout` in host.json is 300, and the file of a blob has to go back before."""


class Runs(Protocol):
    """Runs the sync."""

    async def run(self, *, seconds: float, order: Order | None = None) -> Sequence["Report"]:
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
    run: Run
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
    interval = ours.interval_minutes * 60.0
    get = network.upstream("Graph", exactly(settings.home.graph), limits=settings.limits.of_graph).get
    send = network.upstream(NAME, exactly(ours.store), limits=settings.limits.of_pieces).send if ours.is_blob else None

    # Late: a worker that only answers requests never imports the sync, nor a database.
    @cache
    def runs() -> Runs:
        from shared.wiring.directory_runs import open_runs  # noqa: PLC0415

        return open_runs(
            settings,
            ours,
            root=root,
            tokens=tokens,
            identity=identity,
            get=get,
            send=send,
            system=system,
            events=events,
            open_things=open_things,
        )

    async def run(seconds: float, order: Order | None = None) -> Sequence["Report"]:
        reports = await runs().run(seconds=seconds, order=order)
        events.flush()
        return reports

    async def job() -> None:
        await run(SYNC_SECONDS)

    return Directory(
        job=job,
        run=lambda order: run(order.seconds, order),
        check=DirectoryCheck(
            lambda: runs().standings(),
            copied=list(product(settings.profiles[ours.profile].offer.tenants, ours.streams)),
            interval=interval,
            clock=system.clock,
        ).look,
        streams=ours.streams,
    )


def no_sync(events: Events, cause: str) -> Directory:
    """Return what reports why nothing is synced."""

    async def report() -> None:
        events.emit(catalogue.SyncDisabled(cause=cause))

    async def run(_: Order) -> Sequence["Report"]:
        return []

    async def check() -> Check:
        return Check("directory", State.OK, "nothing is synced here")

    return Directory(job=report, run=run, check=check)
