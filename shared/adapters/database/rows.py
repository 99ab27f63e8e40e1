"""The rows of a page: what a transaction of the store writes beside the checkpoint.

Each function runs in the transaction of its caller and returns how many rows it wrote.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence

from sqlalchemy import ColumnElement, Connection, Table, delete, func, or_, select, update

from shared.adapters.database.sqlite import insert
from shared.adapters.database.tables import DIRECTORY_OBJECT
from shared.core.directory.checkpoint import Checkpoint
from shared.core.directory.delta import Change, ColumnValue, ObjectState
from shared.core.errors import OperatorError

ALWAYS_BELIEVED = 500
"""A new copy may lack this many rows, or a tenth of all rows if that is more."""
SMALL = 20
"""Below this many rows a new copy may lack more than half of them, but not all."""


def apply(
    connection: Connection, table: Table, checkpoint: Checkpoint, changes: Sequence[Change], *, now: float
) -> int:
    """Write the changes of a page. A row that is equal already is not written."""
    active = [change for change in changes if change.state is ObjectState.ACTIVE]
    written = _mark_active(connection, checkpoint, [change.id for change in active])
    found = connection.execute(
        select(DIRECTORY_OBJECT.c.id, DIRECTORY_OBJECT.c.object).where(
            _of_tenant(checkpoint), DIRECTORY_OBJECT.c.id.in_([change.id for change in active])
        )
    )
    numbers = {row.id: row.object for row in found}
    # One statement for all changes with the same columns. A column that a change leaves out keeps its value.
    by_columns: dict[tuple[str, ...], list[dict[str, ColumnValue | int | float]]] = defaultdict(list)
    for change in active:
        row = {"object": numbers[change.id], "changed_at": now, **change.values}
        by_columns[tuple(change.values)].append(row)
    for columns, rows in by_columns.items():
        written += _upsert(connection, table, columns, rows)
    removed = {change.id: change.state for change in changes if change.state is not ObjectState.ACTIVE}
    return written + _remove(connection, table, checkpoint, removed)


def sweep(connection: Connection, table: Table, checkpoint: Checkpoint) -> int:
    """Delete the objects of the stream that a complete new copy does not have.

    Raises:
        OperatorError: they are too many. An answer that was cut, or empty, is more likely than such a loss.
    """
    of_stream = _of_tenant(checkpoint) & (DIRECTORY_OBJECT.c.stream == checkpoint.stream.name)
    unseen = of_stream & (DIRECTORY_OBJECT.c.generation < checkpoint.generation)
    total, lost = (
        connection.execute(select(func.count()).select_from(DIRECTORY_OBJECT).where(which)).scalar_one()
        for which in (of_stream, unseen)
    )
    too_many = lost > max(ALWAYS_BELIEVED, total / 10)
    too_few_left = (total > 0 and lost == total) or (total >= SMALL and lost > total / 2)
    if too_many or too_few_left:
        raise OperatorError(
            cause=f"{checkpoint.stream.name}: a new copy lacks {lost} of {total} rows; nothing was deleted"
        )
    return _delete(connection, table, unseen) if lost else 0


def _of_tenant(checkpoint: Checkpoint) -> ColumnElement[bool]:
    return DIRECTORY_OBJECT.c.tenant_id == checkpoint.tenant_id


def _mark_active(connection: Connection, checkpoint: Checkpoint, ids: Sequence[str]) -> int:
    """Record that objects exist and that this copy has seen them."""
    if not ids:
        return 0
    statement = insert(DIRECTORY_OBJECT)
    changed = {name: statement.excluded[name] for name in ("state", "generation")}
    statement = statement.on_conflict_do_update(
        index_elements=["tenant_id", "id"],
        set_=changed,
        where=or_(*(DIRECTORY_OBJECT.c[name].is_distinct_from(value) for name, value in changed.items())),
    )
    common = {
        "tenant_id": checkpoint.tenant_id,
        "stream": checkpoint.stream.name,
        "state": ObjectState.ACTIVE.value,
        "generation": checkpoint.generation,
    }
    return connection.execute(statement, [{"id": oid, **common} for oid in ids]).rowcount


def _upsert(
    connection: Connection,
    table: Table,
    columns: Sequence[str],
    rows: Sequence[Mapping[str, ColumnValue | int | float]],
) -> int:
    """Insert rows, or update those that differ in one of the columns."""
    statement = insert(table)
    if columns:
        statement = statement.on_conflict_do_update(
            index_elements=["object"],
            set_={name: statement.excluded[name] for name in (*columns, "changed_at")},
            where=or_(*(table.c[name].is_distinct_from(statement.excluded[name]) for name in columns)),
        )
    else:
        statement = statement.on_conflict_do_nothing(index_elements=["object"])
    return connection.execute(statement, rows).rowcount


def _remove(connection: Connection, table: Table, checkpoint: Checkpoint, removed: Mapping[str, ObjectState]) -> int:
    """Mark what is in the recycle bin, and delete what is purged. An id that the store does not know is ignored."""
    deleted = [oid for oid, state in removed.items() if state is ObjectState.DELETED]
    purged = [oid for oid, state in removed.items() if state is ObjectState.PURGED]
    written = 0
    if deleted:
        marked = {"state": ObjectState.DELETED.value, "generation": checkpoint.generation}
        differs = or_(*(DIRECTORY_OBJECT.c[name].is_distinct_from(value) for name, value in marked.items()))
        these = _of_tenant(checkpoint) & DIRECTORY_OBJECT.c.id.in_(deleted)
        written += connection.execute(update(DIRECTORY_OBJECT).where(these, differs).values(**marked)).rowcount
    if purged:
        written += _delete(connection, table, _of_tenant(checkpoint) & DIRECTORY_OBJECT.c.id.in_(purged))
    return written


def _delete(connection: Connection, table: Table, which: ColumnElement[bool]) -> int:
    """Delete objects and their columns; returns the number of objects."""
    numbers = select(DIRECTORY_OBJECT.c.object).where(which)
    connection.execute(delete(table).where(table.c.object.in_(numbers)))
    return connection.execute(delete(DIRECTORY_OBJECT).where(which)).rowcount
