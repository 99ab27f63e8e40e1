"""The sync: page after page from Graph into the store, until everything is read or the time is over."""

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, replace
from typing import Protocol

from shared.core.directory.delta import BusyError, Link, Page, Place, Stream, read_page
from shared.core.errors import BadAnswer, VendError
from shared.core.token import Moment
from shared.directory.graph import ForgottenError
from shared.telemetry import catalogue
from shared.telemetry.events import Events


class Pages(Protocol):
    """Graph."""

    async def page(self, link: str) -> bytes:
        """Read what a link leads to."""


class Store(Protocol):
    """Where rows and links are kept; every call blocks."""

    def begin(self, stream: Stream, *, tenant_id: str, root: str, now: float) -> Place:
        """Take a stream over, where the last run left it."""

    def reset(self, place: Place, *, root: str, now: float) -> Place:
        """Begin a new copy."""

    def commit(self, place: Place, page: Page, *, now: float) -> tuple[Place, int]:
        """Store a page and the link behind it; tell the next place, and how many rows were written."""

    def release(self, place: Place) -> None:
        """Let another run begin at once."""


@dataclass(frozen=True, slots=True)
class Report:
    """What one run has done to one stream.

    Args:
        pages: committed.
        changes: that they held.
        rows: written because of them.
        is_complete: whether all that there was has been read.
    """

    pages: int = 0
    changes: int = 0
    rows: int = 0
    is_complete: bool = False


class Sync:
    """Copies the directory of one tenant.

    Args:
        streams: which.
        tenant_id: whose.
        root: of Graph.
        graph: reads pages.
        store: keeps them.
        pool: where the database's blocking calls run; one thread, so that they keep their order.
        clock: both clocks.
        events: what became of a run.
    """

    def __init__(
        self,
        *,
        streams: Sequence[Stream],
        tenant_id: str,
        root: str,
        graph: Pages,
        store: Store,
        pool: Executor,
        clock: Callable[[], Moment],
        events: Events,
    ) -> None:
        self._streams = streams
        self._tenant_id = tenant_id
        self._root = root
        self._graph = graph
        self._store = store
        self._pool = pool
        self._clock = clock
        self._events = events

    async def run(self, *, seconds: float) -> None:
        """Sync every stream, one after the other; a stream that fails does not keep the next one from its turn.

        Args:
            seconds: after which no further page is begun; the next run goes on where this one ends.
        """
        until = self._clock().boot + seconds
        for stream in self._streams:
            began = self._clock().boot
            try:
                report = await self._sync(stream, until)
            except BusyError:
                self._events.emit(catalogue.SyncSkipped(stream=stream.name, cause="another run is at it"))
            except VendError as error:
                self._events.emit(catalogue.SyncFailed(stream=stream.name, cause=error.cause))
            except Exception as error:  # noqa: BLE001  # a defect of ours is an event, and never a traceback in the log
                self._events.emit(catalogue.SyncFailed(stream=stream.name, cause=type(error).__name__))
            else:
                self._events.emit(
                    catalogue.SyncFinished(
                        stream=stream.name,
                        outcome="complete" if report.is_complete else "to be continued",
                        pages=report.pages,
                        changes=report.changes,
                        rows=report.rows,
                        latency_ms=round((self._clock().boot - began) * 1000),
                    )
                )
        self._events.flush()

    async def _sync(self, stream: Stream, until: float) -> Report:
        place = await self._call(self._begin, stream)
        report = Report()
        read: set[str] = set()
        try:
            while not report.is_complete and self._clock().boot < until:
                if place.link in read:
                    raise BadAnswer(cause="Graph leads in a circle")
                read.add(place.link)
                try:
                    page = read_page(await self._graph.page(place.link), stream, root=self._root)
                except ForgottenError:
                    self._events.emit(
                        catalogue.SyncRestarted(stream=stream.name, cause="Graph has forgotten the last link")
                    )
                    place = await self._call(self._reset, place)
                    continue
                place, rows = await self._call(self._commit, place, page)
                report = replace(
                    report,
                    pages=report.pages + 1,
                    changes=report.changes + len(page.changes),
                    rows=report.rows + rows,
                    is_complete=page.kind is Link.DELTA,
                )
        finally:
            await self._call(self._store.release, place)
        return report

    def _begin(self, stream: Stream) -> Place:
        return self._store.begin(stream, tenant_id=self._tenant_id, root=self._root, now=self._clock().wall)

    def _reset(self, place: Place) -> Place:
        return self._store.reset(place, root=self._root, now=self._clock().wall)

    def _commit(self, place: Place, page: Page) -> tuple[Place, int]:
        return self._store.commit(place, page, now=self._clock().wall)

    async def _call[*A, T](self, work: Callable[[*A], T], *args: *A) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._pool, work, *args)
