"""The sync: reads the pages of a directory from Graph, and stores each one with the link behind it.

Theory of operation
===================

The table `sync_stream` has a row for each stream of a tenant. The row has two states: one of the link, one of the
lease. Each change of a state is one transaction of the store.

**The state of the link.** In `copy`, the link leads to a page of all objects. In `delta`, it leads to the changes since
the last round.

| from | to | when | in |
|---|---|---|---|
| any state | copy | the stream is new, or its link was made for another Graph or other properties | `begin` |
| copy, delta | copy | Graph no longer accepts the link, or repeats itself | `move` |
| copy | copy | a page with a next link was read | `commit` |
| copy | delta | a page with a delta link was read; what this copy left out is taken away | `commit` |
| delta | delta | a page with either link was read | `commit` |

Each attempt, a copy or a round of changes, has a number, its generation, and each object has the generation that saw it
last. So a copy goes over the old rows, and its last page shows which objects it left out. What a page changes is in
`shared/core/directory/rules.py`: a copy gives at once, and takes away at its end. A loss that is too large to be
believed is held: the old rows stay, and an event has the number.

**A new copy leaves a dead end.** Some refusals say that a link is dead: a new copy begins in the same run. Any other
refusal in Graph's own form is a doubt. The same one a minute later means that the link is dead. A proxy's answer is
neither. After three copies that came no further than the one before, and after 50 pages without anything new, the run
fails, and the next copy begins an hour later. A wait that Graph named is kept with the checkpoint too. So is a
failure without one: the timer leaves the stream alone for a minute, and for twice as long after each further failure.

**The recycle bin.** An object in it keeps its columns for 30 days, and its number and edges for longer. Once a day,
after a round, Graph is asked what became of it: `shared/directory/recycle_bin.py`.

**The end of credentials.** After each round the certificates and secrets that end within 30, 7 or 1 days are reported
by one event, each once for each of these. The store remembers what was told.

**The state of the lease.** A run may move the checkpoint while it holds the lease.

| state | when | who changes it |
|---|---|---|
| free | `lease_until` is in the past | `begin` takes it and raises the fence |
| held | `lease_until` is in the future | `commit` and `move` renew it, `release` frees it |
| lost | the fence is higher than ours | no call of ours: `commit` and `move` raise `LeaseLost` |

`begin` raises `LeaseHeld` while another run holds the lease. A run that was killed frees nothing: the next one begins
when the lease has expired. A slow run may commit after its lease has expired, until another run begins. A migration of
the database (`migrate`, in `begin`) raises every fence and frees every lease, so a run of an older version loses its
own.

**Page and link are one commit.** `commit` of the store first moves the checkpoint, by one UPDATE that names fence and
page of this run, and then writes the rows, in the same transaction. An UPDATE that hits no row ends the transaction:
this also stops the older of two runs. The line is in `_move`, in `shared/adapters/database/store.py`. No transaction is
open during a request.

**What a reader may rely on.** A reader sees all of a page or nothing of it. During a copy the rows of the copy before
stay: pages change them and add others, and the last one removes some. An object is in a view once. After a run was
killed at any point, the next one reads the same page again, and a page that is stored twice changes nothing.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import Executor
from contextlib import suppress
from datetime import timedelta

from shared.core.directory.checkpoint import Checkpoint, LeaseHeld, LeaseLost, LossChanged, Stored
from shared.core.directory.credentials import Ending
from shared.core.directory.delta import Change, Page, read_page
from shared.core.directory.order import Order
from shared.core.directory.standing import StreamStanding
from shared.core.directory.streams import Stream
from shared.core.errors import BadAnswer, Defect, Unavailable, UpstreamError
from shared.directory.graph import LinkDoubted, ResyncRequired
from shared.directory.recycle_bin import judge
from shared.directory.report import Report, ends
from shared.directory.source import DirectorySource, Wanted, due, ordered
from shared.directory.store import DirectoryStore
from shared.system import System
from shared.telemetry import catalogue
from shared.telemetry.event import Reports


class Waiting(Exception):
    """Graph named a wait that is not over, or copies came no further and the next one begins later."""


HANGING_SECONDS = 120.0
"""A run that waits so long for its first page, until its end, has failed: one request takes no longer."""
_NO_FAILURE = (LeaseLost, LossChanged, Waiting)
"""These end a run, and say of Graph and of the store that both are well."""


class Sync:
    """Copies directories.

    Args:
        sources: what is copied, for each tenant.
        store: holds the copy.
        pool: reads pages and runs the store's blocking calls; one thread, so that they stay in order.
        system: clocks and chance.
        interval: seconds between two rounds of a stream.
        events: takes one event for each stream and run, beside others. What they tell is in the store.
    """

    def __init__(
        self,
        *,
        sources: Sequence[DirectorySource],
        store: DirectoryStore,
        pool: Executor,
        system: System,
        interval: float,
        events: Reports,
    ) -> None:
        self._sources = sources
        self._store = store
        self._pool = pool
        self._clock = system.clock
        self._chance = system.chance
        self._interval = interval
        self._events = events

    async def run(self, *, seconds: float, order: Order | None = None) -> Sequence[Report]:
        """Sync streams of every tenant, side by side. A failure in one stream does not stop the others.

        Args:
            seconds: when to end, also in the middle of a page. The next run continues where this one ends.
            order: what an administrator asks for; None runs what is due.
        """
        until = self._clock().boot + seconds
        wanted = await self._due() if order is None else ordered(self._sources, order)
        return await asyncio.gather(*(self._run(each, until, order or Order()) for each in wanted))

    async def standings(self) -> Sequence[StreamStanding]:
        """Return where each stream is; raise `Unavailable` if the store failed."""
        return await self._call(self._store.standings)

    async def _due(self) -> Sequence[Wanted]:
        """Return what is due; everything if the store cannot tell, and then each stream says why not."""
        try:
            standings = await self.standings()
        except UpstreamError:
            return ordered(self._sources)
        return due(self._sources, standings, interval=self._interval, now=self._clock().wall)

    async def _run(self, wanted: Wanted, until: float, order: Order) -> Report:
        """Sync one stream and emit an event that says how it ended."""
        began = self._clock().boot
        report = Report(wanted.names, wanted.stream.permission)
        try:
            await self._read_pages(wanted.source, wanted.stream, until, report, order)
        except LeaseHeld:
            report.skipped("another run is at it", outcome="busy")
        except LeaseLost:
            report.skipped("another run has taken over")
        except LossChanged as changed:
            report.held = changed.held
            report.skipped("the loss to accept is not held back, or not with this number")
        except Waiting:
            report.skipped("Graph is asked again later")
        except UpstreamError as error:
            report.failed(error)
        except Exception as error:  # noqa: BLE001  # a defect of ours is an event, and never a traceback in the log
            report.failed(Defect(cause=type(error).__name__))
        for event in (*report.findings(), report.ending(seconds=self._clock().boot - began)):
            self._events.emit(event)
        return report

    async def _read_pages(
        self, source: DirectorySource, stream: Stream, until: float, report: Report, order: Order
    ) -> None:
        """Read and store pages until the round is complete or the time is over.

        Raises:
            LeaseHeld: another run has the lease.
            LeaseLost: another run has taken over.
            LossChanged: the loss to accept is another one by now.
            Waiting: it is too early to ask Graph again.
            UpstreamError: Graph, Entra or the store failed.
        """
        checkpoint = await self._call(self._begin, source, stream, order.resync)
        links: set[str] = set()
        try:
            checkpoint = await self._accept(checkpoint, order.loss, report)
            while not report.is_complete and self._clock().boot < until:
                self._check_link(checkpoint, links, report)
                try:
                    body = await self._page(source, checkpoint.link, until, report)
                except (ResyncRequired, LinkDoubted, Unavailable) as error:
                    before, cause = checkpoint, error.cause
                    checkpoint = await self._call(self._move, before, self._after(error, before))
                    if checkpoint.generation == before.generation:
                        raise
                else:
                    if body is None:
                        break
                    page, stored = await self._call(self._commit, checkpoint, body)
                    checkpoint = stored.checkpoint
                    report.add(page, stored)
                    if not checkpoint.repeats_itself:
                        continue
                    cause = "Graph repeats itself: page after page without anything new"
                    checkpoint = await self._call(self._move, checkpoint, checkpoint.restarted(now=self._clock().wall))
                links.clear()
                self._restarted(report, checkpoint, cause)
            async for moved in self._end_round(source, checkpoint, until, report):
                checkpoint = moved  # at once: a failure is noted behind the last step
        except _NO_FAILURE:
            raise
        except Exception as error:  # noqa: BLE001  # a defect of ours is noted as every other failure is
            failure = error if isinstance(error, UpstreamError) else Defect(cause=type(error).__name__)
            await self._note(failure, checkpoint)
            report.waiting_seconds = checkpoint.wait(now=self._clock().wall)
            raise failure from None
        finally:
            await self._call(self._store.release, checkpoint)

    def _check_link(self, checkpoint: Checkpoint, links: set[str], report: Report) -> None:
        """Check that the link may be read now, and note it; errors as in `_read_pages`."""
        report.stands(checkpoint, now=self._clock().wall)
        if report.waiting_seconds:
            raise Waiting
        if checkpoint.link in links:
            raise BadAnswer(cause="Graph leads in a circle")
        links.add(checkpoint.link)

    async def _page(self, source: DirectorySource, link: str, until: float, report: Report) -> bytes | None:
        """Return the body of a page, or None when the time is over; raise `Unavailable` if Graph hangs, and others."""
        began = self._clock().boot
        try:
            async with asyncio.timeout(until - began):
                return await source.graph.page(link)
        except TimeoutError:
            if report.pages or self._clock().boot - began < HANGING_SECONDS:
                return None
        raise Unavailable(cause=f"Graph: no page within {HANGING_SECONDS:g} s")

    async def _accept(self, checkpoint: Checkpoint, loss: tuple[str, int] | None, report: Report) -> Checkpoint:
        """Take away the loss, if there is one; raise `LossChanged` if it is not what is held back."""
        if loss is None:
            return checkpoint
        stored = await self._call(self._store_loss, checkpoint, loss)
        report.count(stored)
        return stored.checkpoint

    def _restarted(self, report: Report, checkpoint: Checkpoint, cause: str) -> None:
        """Report that a new copy begins; raise `BadAnswer` if it does not begin now."""
        self._events.emit(catalogue.SyncRestarted(**report.names, cause=cause))
        if checkpoint.progress.retry_at is not None:
            raise BadAnswer(cause=f"the next copy begins in an hour: {cause}")

    async def _end_round(
        self, source: DirectorySource, checkpoint: Checkpoint, until: float, report: Report
    ) -> AsyncIterator[Checkpoint]:
        """Do what follows a round that is complete; yield the checkpoint after each step."""
        if not report.is_complete:
            return
        async for moved in self._judge_bin(source, checkpoint, until, report):
            checkpoint = moved
            yield moved
        yield await self._tell_ends(checkpoint, report)

    async def _judge_bin(
        self, source: DirectorySource, checkpoint: Checkpoint, until: float, report: Report
    ) -> AsyncIterator[Checkpoint]:
        """Once a day, find out what became of the objects in the recycle bin; where Graph does not tell, nothing.

        If the time is over before that, the next run goes on. A wait that Graph names is kept as after a page.

        Yields:
            The checkpoint after each step.
        """
        if not checkpoint.is_bin_due(now=self._clock().wall):
            return
        ids = await self._call(self._store.uncertain, checkpoint)
        parts = judge(source.graph, checkpoint.stream, root=source.root, ids=ids)
        is_last = is_late = False
        while not (is_last or is_late):
            changes: Sequence[Change] = ()
            wait: timedelta | None = None
            try:
                async with asyncio.timeout(until - self._clock().boot):
                    changes, is_last = await anext(parts)
            except TimeoutError:
                is_late = True
            except UpstreamError as error:
                is_last, wait = True, error.upstream_wait
                self._events.emit(report.bin_unread(error))
            checkpoint = await self._call(self._settle, checkpoint, changes, is_last)
            yield checkpoint
            if wait is not None:
                until_then = self._clock().wall + wait.total_seconds()
                yield await self._call(self._move, checkpoint, checkpoint.waiting(until=until_then))

    async def _tell_ends(self, checkpoint: Checkpoint, report: Report) -> Checkpoint:
        """Report credentials that end soon, and then note it: after a run that was killed between both, once more."""
        ending = await self._call(self._ending, checkpoint) if checkpoint.stream.credentials else ()
        if not ending:
            return checkpoint
        self._events.emit(ends(report.names, ending))
        return await self._call(self._told, checkpoint, ending)

    async def _note(self, error: UpstreamError, checkpoint: Checkpoint) -> None:
        """Store with the checkpoint why the run failed, unless the store itself failed.

        It may have moved the checkpoint without an answer: then its failure is the cause, and no other run.
        """
        failed = checkpoint.failed(error.public_cause, chance=self._chance(), now=self._clock().wall)
        with suppress(Unavailable, LeaseLost):
            await self._call(self._move, checkpoint, failed)

    def _after(self, error: ResyncRequired | UpstreamError, checkpoint: Checkpoint) -> Checkpoint:
        """Return the checkpoint after a page that could not be read."""
        now = self._clock().wall
        match error:
            case ResyncRequired():
                return checkpoint.restarted(now=now)
            case LinkDoubted() if not checkpoint.is_first_link:
                return checkpoint.restarted(now=now) if checkpoint.is_dead(now=now) else checkpoint.doubted(now=now)
            case UpstreamError(upstream_wait=timedelta() as wait):
                return checkpoint.waiting(until=now + wait.total_seconds())
        return checkpoint

    def _begin(self, source: DirectorySource, stream: Stream, resync: bool) -> Checkpoint:  # noqa: FBT001  # of `_call`
        now = self._clock().wall
        return self._store.begin(stream, tenant_id=source.tenant_id, root=source.root, resync=resync, now=now)

    def _move(self, old: Checkpoint, new: Checkpoint) -> Checkpoint:
        return old if new is old else self._store.move(old, new, now=self._clock().wall)

    def _settle(self, checkpoint: Checkpoint, changes: Sequence[Change], is_last: bool) -> Checkpoint:  # noqa: FBT001  # of `_call`
        return self._store.settle(checkpoint, changes, is_last=is_last, now=self._clock().wall)

    def _commit(self, checkpoint: Checkpoint, body: bytes) -> tuple[Page, Stored]:
        """Read a page and store it: a large one takes a second, which the requests of this worker must not wait for."""
        page = read_page(body, checkpoint.stream, root=checkpoint.root)
        return page, self._store.commit(checkpoint, page, now=self._clock().wall)

    def _ending(self, checkpoint: Checkpoint) -> Sequence[Ending]:
        return self._store.ending(checkpoint, now=self._clock().wall)

    def _told(self, checkpoint: Checkpoint, told: Sequence[Ending]) -> Checkpoint:
        return self._store.told(checkpoint, told, now=self._clock().wall)

    def _store_loss(self, checkpoint: Checkpoint, loss: tuple[str, int]) -> Stored:
        return self._store.accept(checkpoint, loss, now=self._clock().wall)

    async def _call[*A, T](self, work: Callable[[*A], T], *args: *A) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._pool, work, *args)
