"""A run of the sync whose store is a file that lies elsewhere: fetched, synced here, and put back whole.

The file has the rows and the links, so putting it is the one commit of a run: before that nothing of the run is stored,
and no event says so. The order of the steps:

1. The lease of the file. Another run that holds it has the work, and this one is skipped.
2. Fetch the file.
3. Free every lease of a stream in it: whoever put the file has ended, or will not be able to put again.
4. Sync every stream, until `seconds` are over. To put the file takes about as long as to fetch it: so much is left.
5. If a checkpoint has moved, put the file. Else it stays as it is.
6. Emit the events, and free the lease.

The lease is renewed all the while. A renewal that is refused ends the run at once, and so does the condition of the
put: what this run has read is thrown away, and the next one reads it again.
"""

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from contextlib import suppress
from typing import Protocol

from shared.core.directory.checkpoint import LeaseHeld, LeaseLost
from shared.core.errors import UpstreamError
from shared.core.token import Moment
from shared.directory.sync import DirectoryStore, Names, Sync
from shared.telemetry import catalogue
from shared.telemetry.event import Event, Reports

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

    async def put(self) -> None:
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


class FileRun:
    """Runs the sync.

    Args:
        file: the file.
        open_store: opens the store in the local copy.
        make_sync: makes the sync of that store.
        names: of all streams that it syncs.
        pool: runs the store's blocking calls.
        clock: reads both clocks.
        events: takes the events of a run.
    """

    def __init__(
        self,
        file: FileElsewhere,
        *,
        open_store: Callable[[], FileStore],
        make_sync: Callable[[DirectoryStore, Reports], Sync],
        names: Sequence[Names],
        pool: Executor,
        clock: Callable[[], Moment],
        events: Reports,
    ) -> None:
        self._file = file
        self._open_store = open_store
        self._make_sync = make_sync
        self._names = names
        self._pool = pool
        self._clock = clock
        self._events = events

    async def run(self, *, seconds: float) -> None:
        """Sync every stream, as far as the time goes.

        Args:
            seconds: when to stop reading at the latest, counted from now; putting the file comes after that.
        """
        held = _Held()
        ending: Callable[[Names], Event]
        try:
            await self._run(held, self._clock().boot + seconds)
        except LeaseHeld:
            ending = _skipped("another run is at it")
        except LeaseLost:
            ending = _skipped("another run has taken over")
        except UpstreamError as error:
            ending = _failed(error.cause, error.remedy)
        except Exception as error:  # noqa: BLE001  # a defect of ours is an event, and never a traceback in the log
            ending = _failed(type(error).__name__, None)
        else:
            for event in held.events:
                self._events.emit(event)
            return
        for names in self._names:
            self._events.emit(ending(names))

    async def _run(self, held: _Held, until: float) -> None:
        """Hold the lease while the work is done; errors as in `Sync.run`, and those of the file."""
        await self._file.lease()
        try:
            work = asyncio.create_task(self._work(held, until))
            try:
                while not (await asyncio.wait({work}, timeout=RENEW_SECONDS))[0]:
                    await self._file.renew()
            finally:
                if not work.done():
                    work.cancel()
                    with suppress(asyncio.CancelledError, Exception):
                        await work
            work.result()
        finally:
            await self._file.release()

    async def _work(self, held: _Held, until: float) -> None:
        began = self._clock().boot
        await self._file.fetch()
        until -= self._clock().boot - began
        store = self._open_store()
        try:
            before = await self._call(store.free)
            await self._make_sync(store, held).run(seconds=until - self._clock().boot)
            has_moved = await self._call(store.moves) > before
        finally:
            await self._call(store.close)
        await (self._file.put() if has_moved else self._file.keep())

    async def _call[T](self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._pool, work)


def _skipped(cause: str) -> Callable[[Names], Event]:
    return lambda names: catalogue.SyncSkipped(**names, cause=cause)


def _failed(cause: str, remedy: str | None) -> Callable[[Names], Event]:
    return lambda names: catalogue.SyncFailed(**names, cause=cause, remedy=remedy)
