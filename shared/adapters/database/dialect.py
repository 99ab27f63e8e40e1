"""The differences between SQLite and PostgreSQL, for statements that run on both."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from itertools import batched
from typing import TYPE_CHECKING

from sqlalchemy import ColumnElement, Connection, Table, func, literal, select, type_coerce
from sqlalchemy.dialects import sqlite

from shared.adapters.database.instant import Instant
from shared.adapters.database.tables import DIRECTORY_OBJECT

if TYPE_CHECKING:
    from sqlalchemy.dialects import postgresql

_POSTGRESQL = "postgresql"
_AT_ONCE = 5_000
"""Keys in one statement. A statement may have 65,535 values in PostgreSQL, and 32,766 in SQLite as it comes."""
_MIGRATION = 0x76656E64
"""Of the advisory lock that a migration holds: "vend" in ASCII."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """What a version changes in a database of the one before, beyond additions: SQL that never changes again.

    Args:
        sqlite: its statements.
        postgresql: the same in PostgreSQL; none if no release before this version has made such a database.
    """

    sqlite: Sequence[str]
    postgresql: Sequence[str]

    def run(self, connection: Connection) -> None:
        """Run the statements of the database."""
        for statement in self.postgresql if connection.dialect.name == _POSTGRESQL else self.sqlite:
            connection.exec_driver_sql(statement)


def insert(connection: Connection, table: Table) -> "sqlite.Insert | postgresql.Insert":
    """Return INSERT with ON CONFLICT, which SQLAlchemy has for each dialect alone."""
    if connection.dialect.name != _POSTGRESQL:
        return sqlite.insert(table)
    from sqlalchemy.dialects import postgresql  # noqa: PLC0415  # nobody waits for it with SQLite

    return postgresql.insert(table)


def batches[T](keys: Iterable[T]) -> Iterator[tuple[T, ...]]:
    """Yield keys in parts that one statement may name, three values each at most.

    A page of Graph is bounded by its bytes alone: it may name more objects than a statement.
    """
    return batched(keys, _AT_ONCE, strict=False)


def lock_objects(connection: Connection, tenant_id: str, ids: Iterable[str]) -> None:
    """Lock the objects of a page, and those at the other ends of its relationships, in the order of their ids.

    A run of another stream waits here, and does not meet this one halfway: with one order there is no deadlock. In
    SQLite there is one writer, whose transaction has the whole file.
    """
    if connection.dialect.name != _POSTGRESQL:
        return
    for some in batches(sorted(ids)):
        of_page = (DIRECTORY_OBJECT.c.tenant_id == tenant_id) & DIRECTORY_OBJECT.c.id.in_(some)
        connection.execute(
            select(DIRECTORY_OBJECT.c.object).where(of_page).order_by(DIRECTORY_OBJECT.c.id).with_for_update()
        ).all()


def lease_clock(connection: Connection, *, now: float, later: float = 0.0) -> ColumnElement[float]:
    """Return the instant some seconds after now, by the one clock that every run of this database reads.

    A file of SQLite is on one machine, whose clock that is: `now`. Runs of one PostgreSQL database are on several
    machines, whose clocks may differ by more than the length of a lease: the database's own clock decides.
    """
    if connection.dialect.name != _POSTGRESQL:
        return literal(now + later, Instant)
    return type_coerce(func.clock_timestamp() + timedelta(seconds=later), Instant)


def lock_schema(connection: Connection) -> None:
    """Lock out every other migration until the end of the transaction; in SQLite the lock is on the whole file."""
    if connection.dialect.name == _POSTGRESQL:
        connection.execute(select(func.pg_advisory_xact_lock(_MIGRATION)))
