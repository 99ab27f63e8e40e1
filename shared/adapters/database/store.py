"""The store: rows and the link behind them, in one transaction.

A reader finds each object once and whole in the view of its stream. A writer that is killed at any point leaves either
all of a page and the link behind it, or nothing of both. The next writer then reads the same page again, and a page
that is stored twice changes nothing.
"""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, replace

from sqlalchemy import ColumnElement, Connection, and_, func, or_, select, update
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from shared.adapters.database import credentials, rows, standings
from shared.adapters.database.database import Database
from shared.adapters.database.dialect import insert, lease_clock
from shared.adapters.database.migration import CURRENT, Version, migrate
from shared.adapters.database.tables import SYNC_STREAM, Schema
from shared.core.directory.checkpoint import BIN_DAYS, Checkpoint, LeaseHeld, LeaseLost, LossChanged, Progress, Stored
from shared.core.directory.credentials import Ending
from shared.core.directory.delta import Change, LinkKind, Page
from shared.core.directory.standing import StreamStanding
from shared.core.directory.streams import Stream
from shared.core.errors import Unavailable

LEASE_SECONDS = 180.0
"""How long a run may store nothing before another run takes the stream over. Each page renews the lease. Shorter than
the life of a page token, so that a run that was killed costs no new copy."""
ATTEMPTS = 5
"""How often a transaction runs, where others write the same rows at the same time."""


_NO_PROGRESS = asdict(Progress())


class SqlStore:
    """A database that holds the directory.

    Args:
        database: where it is.
        streams: the declarations of all streams, also of those that are not synced.
        version: the schema version of this code.
    """

    def __init__(self, database: Database, *, streams: Iterable[Stream], version: Version = CURRENT) -> None:
        self._database = database
        self._schema = Schema(streams)
        self._version = version

    def begin(self, stream: Stream, *, tenant_id: str, root: str, now: float, resync: bool = False) -> Checkpoint:
        """Take the lease of a stream and return its checkpoint; migrate the database first if it needs that.

        Args:
            stream: the stream.
            tenant_id: the tenant.
            root: the root of Graph, where a copy starts.
            now: seconds since the epoch.
            resync: begin a new copy.

        Raises:
            LeaseHeld: another run has the lease.
            OperatorError: a newer version of vend wrote the database.
            Unavailable: the database failed.
        """
        this = _row(tenant_id, stream)

        def take(connection: Connection) -> Checkpoint:
            migrate(connection, self._schema, self._version)
            connection.execute(
                insert(connection, SYNC_STREAM)
                .values(
                    tenant_id=tenant_id,
                    stream=stream.name,
                    generation=0,
                    is_copying=False,
                    page=0,
                    fence=0,
                    **_NO_PROGRESS,
                )
                .on_conflict_do_nothing(index_elements=["tenant_id", "stream"])
            )
            until = SYNC_STREAM.c.lease_until
            # A lease further ahead than one can be long was written under a wrong clock.
            is_over = until <= lease_clock(connection, now=now)
            is_none = until > lease_clock(connection, now=now, later=2 * LEASE_SECONDS)
            taken = connection.execute(
                update(SYNC_STREAM)
                .where(this, or_(until.is_(None), is_over, is_none))
                .values(fence=SYNC_STREAM.c.fence + 1, lease_until=_lease_end(connection, now))
            )
            if taken.rowcount != 1:
                raise LeaseHeld
            row = connection.execute(select(SYNC_STREAM).where(this)).one()
            checkpoint = Checkpoint(
                tenant_id=tenant_id,
                stream=stream,
                root=root,
                link=row.link or "",
                page=row.page,
                fence=row.fence,
                generation=row.generation,
                is_copying=row.is_copying,
                bin_judged_at=row.bin_judged_at,
                progress=Progress(**{name: getattr(row, name) for name in _NO_PROGRESS}),
            )
            if row.fingerprint == stream.fingerprint(root) and not resync:
                return checkpoint
            return _move(connection, checkpoint, checkpoint.anew(), now=now)

        return self._transaction(take)

    def standings(self) -> Sequence[StreamStanding]:
        """Return where each stream is; nothing of a database that is not there yet, and what an older one knows.

        Raises:
            Unavailable: the database failed.
        """
        return self._transaction(standings.read) if self._database.is_there() else []

    def move(self, old: Checkpoint, new: Checkpoint, *, now: float) -> Checkpoint:
        """Move the checkpoint without a page; return the new one.

        Raises:
            LeaseLost: another run has taken over; nothing was stored.
            Unavailable: the database failed.
        """
        return self._transaction(lambda connection: _move(connection, old, new, now=now))

    def commit(self, checkpoint: Checkpoint, page: Page, *, now: float) -> Stored:
        """Store a page and the link behind it, and at the end of a copy what it takes away.

        Raises:
            LeaseLost: another run has taken over; nothing was stored.
            Unavailable: the database failed. It may have stored the page: the next run finds out.
        """
        table = self._schema.rows[checkpoint.stream.name]

        def write(connection: Connection) -> Stored:
            _claim(connection, checkpoint, now=now)
            written, new_objects = rows.apply(connection, table, checkpoint, page.changes, now=now)
            held: Mapping[str, int] | None = None
            if page.kind is LinkKind.DELTA:
                facts: dict[str, object] = {"complete_at": now}
                if checkpoint.is_copying:
                    swept, held = rows.sweep(connection, table, checkpoint.copy, now=now)
                    written += swept
                    facts |= {"copied": checkpoint.generation, **standings.held(held)}
                this = _row(checkpoint.tenant_id, checkpoint.stream)
                connection.execute(update(SYNC_STREAM).where(this).values(facts))
            moved = checkpoint.behind(page, new_objects=new_objects, now=now)
            _save(connection, moved)
            return Stored(moved, rows=written, held=held)

        return self._transaction(write)

    def accept(self, checkpoint: Checkpoint, loss: tuple[str, int], *, now: float) -> Stored:
        """Take away what the last copy left out of one kind, if it is held back with this number still.

        Args:
            checkpoint: where the run is.
            loss: the kind and the number.
            now: seconds since the epoch.

        Raises:
            LossChanged: it is not; nothing was taken away, and the numbers of today are kept.
            LeaseLost: another run has taken over; nothing was stored.
            Unavailable: the database failed.
        """
        table, this = self._schema.rows[checkpoint.stream.name], _row(checkpoint.tenant_id, checkpoint.stream)

        def write(connection: Connection) -> Stored:
            moved = _move(connection, checkpoint, checkpoint.stepped(), now=now)
            row = connection.execute(select(SYNC_STREAM.c.copied, SYNC_STREAM.c.held).where(this)).one()
            before: Mapping[str, int] = json.loads(row.held or "{}")
            # A copy under way has marked what it will take away.
            if checkpoint.is_copying or loss[0] not in before:
                raise LossChanged(before)
            copy = replace(checkpoint.copy, generation=row.copied, held=frozenset(before), accepted=loss)
            written, held = rows.sweep(connection, table, copy, now=now)
            connection.execute(update(SYNC_STREAM).where(this).values(standings.held(held)))
            return Stored(moved, rows=written, held=held)

        stored = self._transaction(write)
        if stored.held and loss[0] in stored.held:
            raise LossChanged(stored.held)
        return stored

    def uncertain(self, checkpoint: Checkpoint) -> Sequence[str]:
        """Return the ids of the objects of a stream that lie in the recycle bin, or that only relationships name.

        Raises:
            Unavailable: the database failed.
        """
        return self._transaction(lambda connection: rows.uncertain(connection, checkpoint))

    def settle(
        self, checkpoint: Checkpoint, changes: Sequence[Change], *, is_last: bool = True, now: float
    ) -> Checkpoint:
        """Store what became of objects in the recycle bin, and erase the columns of those that lay there too long.

        Args:
            checkpoint: where the run is.
            changes: what became of some of the objects.
            is_last: whether the look into the bin is over with these, for a day.
            now: seconds since the epoch.

        Raises:
            LeaseLost: another run has taken over; nothing was stored.
            Unavailable: the database failed.
        """
        table = self._schema.rows[checkpoint.stream.name]

        def write(connection: Connection) -> Checkpoint:
            after = checkpoint.bin_judged(now=now) if is_last else checkpoint.stepped()
            settled = _move(connection, checkpoint, after, now=now)
            rows.apply(connection, table, checkpoint, changes, now=now)
            rows.erase(connection, table, checkpoint, before=now - BIN_DAYS * 86_400)
            return settled

        return self._transaction(write)

    def ending(self, checkpoint: Checkpoint, *, now: float) -> Sequence[Ending]:
        """Return the credentials of a stream whose end is to be told; the earliest end first.

        Raises:
            Unavailable: the database failed.
        """
        table = self._schema.rows[checkpoint.stream.name]
        return self._transaction(lambda connection: credentials.ending(connection, table, checkpoint, now=now))

    def told(self, checkpoint: Checkpoint, told: Sequence[Ending], *, now: float) -> Checkpoint:
        """Note which ends were told; return the new checkpoint.

        Raises:
            LeaseLost: another run has taken over; nothing was stored.
            Unavailable: the database failed.
        """

        def write(connection: Connection) -> Checkpoint:
            moved = _move(connection, checkpoint, checkpoint.stepped(), now=now)
            credentials.remember(connection, told)
            return moved

        return self._transaction(write)

    def release(self, checkpoint: Checkpoint) -> None:
        """Free the lease, so that another run may begin at once; a lease that was lost stays as it is."""
        free = update(SYNC_STREAM).where(_held_by(checkpoint)).values(lease_until=None)
        self._transaction(lambda connection: connection.execute(free))

    def free(self) -> int:
        """Free every lease, for a caller that has kept every other run out; return as `moves`.

        Raises:
            OperatorError: a newer version of vend wrote the database.
            Unavailable: the database failed.
        """

        def write(connection: Connection) -> int:
            migrate(connection, self._schema, self._version)
            connection.execute(update(SYNC_STREAM).values(lease_until=None))
            return _moves(connection)

        return self._transaction(write)

    def moves(self) -> int:
        """Return how often checkpoints have moved since the database was made.

        Raises:
            Unavailable: the database failed.
        """
        return self._transaction(_moves)

    def close(self) -> None:
        """Close the connections."""
        self._database.engine.dispose()

    def _transaction[T](self, work: Callable[[Connection], T]) -> T:
        """Run work in a transaction, which an exception rolls back; once more where another run wrote the same rows.

        No context manager does this: an error that leaves one has the original error as its context.
        """
        name = ""
        for _ in range(ATTEMPTS):
            try:
                with self._database.engine.begin() as connection:
                    return work(connection.execution_options(preserve_rowcount=True))
            except SQLAlchemyError as error:
                original = error.orig if isinstance(error, DBAPIError) else None
                name = self._database.name_of(original) if original else type(error).__name__
            if name not in self._database.conflicts:
                break
        # Outside of the except block: the original error holds the statement and the rows.
        raise Unavailable(cause=f"the store failed: {name}", remedy=self._database.remedy_for(name))


def _moves(connection: Connection) -> int:
    return int(connection.execute(select(func.coalesce(func.sum(SYNC_STREAM.c.page), 0))).scalar_one())


def _move(connection: Connection, old: Checkpoint, new: Checkpoint, *, now: float) -> Checkpoint:
    _claim(connection, old, now=now)
    _save(connection, new)
    return new


def _claim(connection: Connection, checkpoint: Checkpoint, *, now: float) -> None:
    """Begin to move the checkpoint, if no other run has taken over and nobody has moved it: fence and page decide.

    Raises:
        LeaseLost: another run has the lease.
    """
    claimed = connection.execute(
        update(SYNC_STREAM)
        .where(_held_by(checkpoint), SYNC_STREAM.c.page == checkpoint.page)
        .values(page=SYNC_STREAM.c.page + 1, lease_until=_lease_end(connection, now))
    )
    if claimed.rowcount != 1:
        raise LeaseLost


def _save(connection: Connection, checkpoint: Checkpoint) -> None:
    """Write a checkpoint over the one that was claimed."""
    connection.execute(
        update(SYNC_STREAM)
        .where(_held_by(checkpoint))
        .values(
            fingerprint=checkpoint.stream.fingerprint(checkpoint.root),
            link=checkpoint.link,
            page=checkpoint.page,
            generation=checkpoint.generation,
            is_copying=checkpoint.is_copying,
            bin_judged_at=checkpoint.bin_judged_at,
            **asdict(checkpoint.progress),
        )
    )


def _lease_end(connection: Connection, now: float) -> ColumnElement[float]:
    return lease_clock(connection, now=now, later=LEASE_SECONDS)


def _row(tenant_id: str, stream: Stream) -> ColumnElement[bool]:
    return and_(SYNC_STREAM.c.tenant_id == tenant_id, SYNC_STREAM.c.stream == stream.name)


def _held_by(checkpoint: Checkpoint) -> ColumnElement[bool]:
    return and_(_row(checkpoint.tenant_id, checkpoint.stream), SYNC_STREAM.c.fence == checkpoint.fence)
