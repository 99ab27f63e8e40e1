"""A run of the sync whose store is a file that lies elsewhere: fetched, synced here, and put back whole.

The file has the rows and the links, so putting it is the one commit of a run. Before that nothing of the run is stored,
and no event reports it as stored. The order of the steps:

0. Without an order: ask the file where the streams stand, and leave at once if none is due. No lease is needed.
1. The lease of the file. Another run that holds it has the work, and this one is skipped.
2. Fetch the file.
3. Free every lease of a stream in it: whoever put the file has ended, or will not be able to put again.
4. Sync every stream, until `seconds` are over. To put a file takes about as long as to fetch it, so a large one ends
   this step earlier.
5. If a checkpoint has moved, put the file. Else it stays as it is.
6. Emit the events, and free the lease.

The lease is renewed all the while. A renewal that is refused ends the run at once, and so does a put whose condition
fails. What this run has read is discarded, and the next one reads it again.

A failure of the file itself is stored nowhere: this worker remembers it, and its timer waits as after every failure.
The next good run ends that, also one of another worker: the timer moves between workers.
"""

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from typing import Protocol

from shared.core.directory.checkpoint import LeaseHeld, LeaseLost
from shared.core.directory.order import Order
from shared.core.directory.standing import StreamStanding
from shared.core.errors import Defect, UpstreamError
from shared.core.token import Clock
from shared.directory.report import Report
from shared.directory.rest import Rest
from shared.directory.source import DirectorySource, Wanted, due, ordered
from shared.directory.store import DirectoryStore
from shared.directory.sync import Sync
from shared.telemetry.event import Event, Reports

PUT_SECONDS = 30.0
"""The time that the host leaves for the put, after the time of a run. A file that takes longer to fetch needs more."""
RENEW_SECONDS = 20.0
"""How often the lease of the file is renewed, which is for a minute."""


class FileElsewhere(Protocol):
    """A file that belongs to one run, from `lease` to `release`."""

    async def lease(self) -> None:
        """Begin a run; raise `LeaseHeld` while there is another one."""

    async def renew(self) -> None:
        """Go on with the run; raise `LeaseLost` if another one has taken over."""

    async def fetch(self) -> None:
        """Make the local copy."""

    async def standings(self) -> Sequence[StreamStanding]:
        """Return where the streams stood when the file was put; no lease is needed."""

    async def put(self, standings: Sequence[StreamStanding]) -> None:
        """Put the local copy in its place; raise `LeaseLost` if another run has done so."""

    async def keep(self) -> None:
        """Note that the local copy says what the file says."""

    async def release(self) -> None:
        """End a run."""


class FileStore(DirectoryStore, Protocol):
    """A store in the local copy."""

    def free(self) -> int:
        """Free the leases of all streams; return as `moves`."""

    def moves(self) -> int:
        """Return how often checkpoints have moved."""

    def close(self) -> None:
        """Close the file."""


class _Held:
    """Events that are true once the file is put."""

    def __init__(self) -> None:
        self.events: list[Event] = []

    def emit(self, event: Event) -> None:
        self.events.append(event)


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """The sources of a run, and when a stream is due.

    Args:
        sources: what is copied.
        interval: seconds between two rounds of a stream.
        clock: both clocks.
    """

    sources: Sequence[DirectorySource]
    interval: float
    clock: Clock


class FileRun:
    """Runs the sync.

    Args:
        file: the file.
        plan: what is synced, and when.
        open_store: opens the store in the local copy.
        make_sync: makes the sync of that store.
        pool: runs the store's blocking calls.
        events: takes the events of a run.
        rest: remembers the failures of the file.
    """

    def __init__(
        self,
        file: FileElsewhere,
        *,
        plan: Plan,
        open_store: Callable[[], FileStore],
        make_sync: Callable[[DirectoryStore, Reports], Sync],
        pool: Executor,
        events: Reports,
        rest: Rest,
    ) -> None:
        self._file = file
        self._plan = plan
        self._open_store = open_store
        self._make_sync = make_sync
        self._pool = pool
        self._clock = plan.clock
        self._events = events
        self._rest = rest

    async def standings(self) -> Sequence[StreamStanding]:
        """Return where each stream is; raise an `UpstreamError` if the file does not tell."""
        found = await self._file.standings()
        self._rest.look(found)
        if self._rest.error is None:
            return found
        known = {(each.tenant_id, each.stream): each for each in found}
        for each in ordered(self._plan.sources):
            key = each.source.tenant_id, each.stream.name
            known[key] = replace(
                known.get(key) or StreamStanding(tenant_id=key[0], stream=key[1]), error=self._rest.error
            )
        return list(known.values())

    async def run(self, *, seconds: float, order: Order | None = None) -> Sequence[Report]:
        """Sync streams, as far as the time goes.

        Args:
            seconds: when to stop reading at the latest, counted from now; putting the file comes after that.
            order: what an administrator asks for; None runs what is due.
        """
        wanted = ordered(self._plan.sources, order) if order else await self._due()
        if not wanted:
            return []
        held, end = _Held(), partial(Report.skipped, cause="another run has taken over")
        try:
            reports = await self._run(held, self._clock().boot + seconds, order)
        except LeaseHeld:
            end = partial(Report.skipped, cause="another run is at it", outcome="busy")
        except LeaseLost:
            pass
        except Exception as error:  # noqa: BLE001  # a defect of ours is an event, and never a traceback in the log
            failure = error if isinstance(error, UpstreamError) else Defect(cause=type(error).__name__)
            self._rest.begin(failure.public_cause)
            end = partial(Report.failed, failure=failure)
        else:
            self._rest.end()
            for event in held.events:
                self._events.emit(event)
            return reports
        reports = [Report(each.names, each.stream.permission) for each in wanted]
        for report in reports:
            end(report)
            self._events.emit(report.ending(seconds=0.0))
        return reports

    async def _due(self) -> Sequence[Wanted]:
        """Return what is due; everything if the file does not tell without being fetched."""
        if not self._rest.is_over:
            return []
        try:
            standings = await self.standings()
        except UpstreamError:
            return ordered(self._plan.sources)
        return due(self._plan.sources, standings, interval=self._plan.interval, now=self._clock().wall)

    async def _run(self, held: _Held, until: float, order: Order | None) -> Sequence[Report]:
        """Hold the lease while the work is done; errors as in `Sync.run`, and those of the file."""
        await self._file.lease()
        try:
            work = asyncio.create_task(self._work(held, until, order))
            try:
                while not (await asyncio.wait({work}, timeout=RENEW_SECONDS))[0]:
                    await self._file.renew()
            finally:
                if not work.done():
                    work.cancel()
                    with suppress(asyncio.CancelledError, Exception):
                        await work
            return work.result()
        finally:
            await self._file.release()

    async def _work(self, held: _Held, until: float, order: Order | None) -> Sequence[Report]:
        began = self._clock().boot
        await self._file.fetch()
        until -= max(0.0, self._clock().boot - began - PUT_SECONDS)
        store = self._open_store()
        try:
            before = await self._call(store.free)
            reports = await self._make_sync(store, held).run(seconds=until - self._clock().boot, order=order)
            has_moved = await self._call(store.moves) > before
            standings = await self._call(store.standings)
        finally:
            await self._call(store.close)
        await (self._file.put(standings) if has_moved else self._file.keep())
        return reports

    async def _call[T](self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._pool, work)
