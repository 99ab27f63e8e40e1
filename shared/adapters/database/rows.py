"""The rows of a page: what a transaction of the store writes beside the checkpoint.

What is written follows from `shared/core/directory/rules.py`. Each function runs in the transaction of its caller and
returns how many rows it wrote. The record that an object was seen does not count.
"""

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import ColumnElement, Connection, Table, and_, bindparam, delete, func, insert, select, update

from shared.adapters.database import credentials, edges
from shared.adapters.database.dialect import batches, lock_objects
from shared.adapters.database.dialect import insert as upsert_into
from shared.adapters.database.tables import DIRECTORY_OBJECT
from shared.core.directory.checkpoint import Checkpoint, Copy
from shared.core.directory.delta import Change, ObjectState
from shared.core.directory.rules import Known, is_too_much, is_withheld, told

_OBJECT = DIRECTORY_OBJECT.c
_BETWEEN = ","
type _Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class _Stored:
    """An object in the store: its number, what is known of it, when that changed, and whether it has columns."""

    number: int
    known: Known
    changed_at: float
    state_changed_at: float
    has_row: bool


def apply(
    connection: Connection, table: Table, checkpoint: Checkpoint, changes: Sequence[Change], *, now: float
) -> tuple[int, int]:
    """Write the changes of a page. A row that is equal already is not written.

    Returns:
        The number of rows that were written, and of objects and edges that are news to this attempt.
    """
    others = {edge.other for change in changes for edge in change.edges}
    lock_objects(connection, checkpoint.tenant_id, others.union(change.id for change in changes))
    before = _read(connection, table, checkpoint, [change.id for change in changes])
    after = {
        change.id: told(
            before[change.id].known if change.id in before else None,
            change,
            generation=checkpoint.generation,
            is_copy=checkpoint.is_copying,
        )
        for change in changes
    }
    missing = {oid: known for oid, known in after.items() if oid not in before}
    seen = sum(stored.known.generation == checkpoint.generation for stored in before.values())
    if missing:
        _insert(connection, checkpoint, missing, now=now)
        before = {**before, **_read(connection, table, checkpoint, missing)}
    written = len(missing) + _update(connection, table, checkpoint, before, after, inserted=missing.keys(), now=now)
    numbers = {oid: stored.number for oid, stored in before.items()}
    written += credentials.apply(connection, checkpoint, changes, numbers, now=now)
    edges_written, new_edges = edges.apply(connection, checkpoint, changes, now=now)
    return written + edges_written, len(after) - seen + new_edges


def sweep(connection: Connection, table: Table, copy: Copy, *, now: float) -> tuple[int, Mapping[str, int]]:
    """Take away what a complete copy has left out, and what it calls removed.

    What it has left out may be in the recycle bin, or gone for good; readers do not see either. What is held back stays
    as the copy left it: a later call with that loss accepted takes it away.

    Returns:
        The number of rows that were written, and the losses that are not believed: how many, by their kind.
    """
    ours = (_OBJECT.tenant_id == copy.tenant_id) & (_OBJECT.stream == copy.stream.name)
    seen, active = _OBJECT.generation >= copy.generation, _OBJECT.state == ObjectState.ACTIVE.value
    present = ours & seen & _OBJECT.removed_as.is_(None)
    objects = select(_OBJECT.object).where(present)
    written, held = _clear(connection, table, copy, present, now=now)
    edges_written, edges_held = edges.sweep(connection, copy, objects)
    credentials_written, credentials_held = credentials.sweep(connection, copy, objects, now=now)
    written, held = written + edges_written + credentials_written, {**held, **edges_held, **credentials_held}
    unseen = ours & active & ~seen
    total, lost = _count(connection, ours & active), _count(connection, unseen)
    if copy.holds("objects", lost, is_doubtful=is_too_much(lost=lost, total=total)):
        held = {**held, "objects": lost}
    else:
        written += _set_state(connection, unseen, ObjectState.DELETED, now=now)
    removed = {
        state: ours & seen & (_OBJECT.removed_as == state.value) for state in (ObjectState.DELETED, ObjectState.PURGED)
    }
    gone = connection.scalars(select(_OBJECT.object).where(removed[ObjectState.PURGED])).all()
    for state, which in removed.items():
        written += _set_state(connection, which, state, now=now)
    _drop(connection, table, gone)
    away = _OBJECT.removed_as.is_not(None) | (_OBJECT.left_out.is_not(None) & ~seen)
    connection.execute(update(DIRECTORY_OBJECT).where(ours, away).values(removed_as=None, left_out=None))
    return written, held


def uncertain(connection: Connection, checkpoint: Checkpoint) -> Sequence[str]:
    """Return the ids of the objects of a stream that lie in the recycle bin, or that only relationships name."""
    which = _in_state(checkpoint, ObjectState.DELETED, ObjectState.STUB)
    return connection.scalars(select(_OBJECT.id).where(which).order_by(_OBJECT.id)).all()


def erase(connection: Connection, table: Table, checkpoint: Checkpoint, *, before: float) -> None:
    """Erase the columns and credentials of objects that lie in the recycle bin since then.

    Their numbers and edges stay: an object that is restored all the same is back with its memberships, which Graph
    does not tell again.
    """
    these = select(_OBJECT.object).where(_in_state(checkpoint, ObjectState.DELETED), _OBJECT.state_changed_at <= before)
    connection.execute(delete(table).where(table.c.object.in_(these)))
    credentials.drop(connection, these)


def _in_state(checkpoint: Checkpoint, *states: ObjectState) -> ColumnElement[bool]:
    return and_(
        _OBJECT.tenant_id == checkpoint.tenant_id,
        _OBJECT.stream == checkpoint.stream.name,
        _OBJECT.state.in_([state.value for state in states]),
    )


def _read(connection: Connection, table: Table, checkpoint: Checkpoint, ids: Iterable[str]) -> Mapping[str, _Stored]:
    """Return what the store has of objects, by id."""
    columns = [column for column in table.c if column.name != "object"]
    header = [_OBJECT[name] for name in ("object", "id", "state", "generation", "removed_as", "left_out")]
    found = (
        row
        for some in batches(ids)
        for row in connection.execute(
            select(*header, _OBJECT.changed_at, _OBJECT.state_changed_at, table.c.object, *columns)
            .outerjoin_from(DIRECTORY_OBJECT, table, table.c.object == _OBJECT.object)
            .where(_OBJECT.tenant_id == checkpoint.tenant_id, _OBJECT.id.in_(some))
            .with_for_update(of=DIRECTORY_OBJECT)
        )
    )
    stored = {}
    for number, oid, state, generation, removed_as, left_out, changed_at, state_changed_at, row, *values in found:
        known = Known(
            state=ObjectState(state),
            generation=generation,
            removed_as=ObjectState(removed_as) if removed_as else None,
            left_out=frozenset(left_out.split(_BETWEEN)) if left_out else frozenset(),
            values={column.name: value for column, value in zip(columns, values, strict=True)},
        )
        stored[oid] = _Stored(number, known, changed_at, state_changed_at, has_row=row is not None)
    return stored


def _insert(connection: Connection, checkpoint: Checkpoint, missing: Mapping[str, Known], *, now: float) -> None:
    """Assign numbers to objects. No upsert: some databases use up a number for each object that is there already."""
    common = {
        "tenant_id": checkpoint.tenant_id,
        "stream": checkpoint.stream.name,
        "state_changed_at": now,
        "changed_at": now,
    }
    rows = [{"id": oid, **common, **_header(missing[oid])} for oid in sorted(missing)]
    connection.execute(insert(DIRECTORY_OBJECT), rows)


def _update(
    connection: Connection,
    table: Table,
    checkpoint: Checkpoint,
    before: Mapping[str, _Stored],
    after: Mapping[str, Known],
    *,
    inserted: Collection[str],
    now: float,
) -> int:
    """Write what differs. Most objects of a new copy are as they were: they get their generation, by one statement."""
    none = {column.name: None for column in table.c if column.name != "object"}
    rows, headers, gone, seen, moves = list[_Row](), list[_Row](), list[int](), list[int](), 0
    for oid, known in after.items():
        was = before[oid]
        is_moved = known.state is not was.known.state
        row = {**none, **known.values}
        needs_row = known.state is ObjectState.ACTIVE and not was.has_row
        has_new_row = needs_row or (was.has_row and row != was.known.values)
        if known.state is ObjectState.PURGED:
            gone.append(was.number)
        elif has_new_row:
            rows.append({"object": was.number, **row})
        if oid in inserted:
            continue  # with its header, a moment ago
        moves += is_moved
        is_changed = is_moved or has_new_row
        if is_changed or _header(replace(was.known, generation=known.generation)) != _header(known):
            times = {
                "changed_at": now if is_changed else was.changed_at,
                "state_changed_at": now if is_moved else was.state_changed_at,
            }
            headers.append({"number": was.number, "stream": checkpoint.stream.name, **times, **_header(known)})
        elif was.known.generation != known.generation:
            seen.append(was.number)
    _write(connection, table, rows, headers)
    _drop(connection, table, gone)
    if seen:
        generation = next(iter(after.values())).generation
        for some in batches(seen):
            connection.execute(update(DIRECTORY_OBJECT).where(_OBJECT.object.in_(some)).values(generation=generation))
    return len(rows) + moves


def _drop(connection: Connection, table: Table, gone: Sequence[int]) -> None:
    """Delete all that is known of objects that are gone for good."""
    for some in batches(gone):
        connection.execute(delete(table).where(table.c.object.in_(some)))
        credentials.drop(connection, some)
        edges.drop(connection, some)


def _write(connection: Connection, table: Table, rows: Sequence[_Row], headers: Sequence[_Row]) -> None:
    if rows:
        upsert = upsert_into(connection, table)
        columns = {column.name: upsert.excluded[column.name] for column in table.c if column.name != "object"}
        connection.execute(upsert.on_conflict_do_update(index_elements=["object"], set_=columns), rows)
    if headers:
        names = headers[0].keys() - {"number"}
        change = update(DIRECTORY_OBJECT).where(_OBJECT.object == bindparam("number"))
        connection.execute(
            change.values({name: bindparam(f"new_{name}") for name in names}),
            [
                {"number" if name == "number" else f"new_{name}": value for name, value in header.items()}
                for header in headers
            ],
        )


def _header(known: Known) -> _Row:
    """Return the columns of `directory_object` that follow from what is known."""
    return {
        "state": known.state.value,
        "generation": known.generation,
        "removed_as": known.removed_as.value if known.removed_as else None,
        "left_out": _BETWEEN.join(sorted(known.left_out)) or None,
    }


def _clear(
    connection: Connection, table: Table, copy: Copy, these: ColumnElement[bool], *, now: float
) -> tuple[int, Mapping[str, int]]:
    """Clear the columns that a copy has left out, except where nobody has a value any more."""
    found = connection.execute(
        select(_OBJECT.left_out, func.count()).where(these, _OBJECT.left_out.is_not(None)).group_by(_OBJECT.left_out)
    )
    sets = {left_out: number for left_out, number in found}  # noqa: C416  # mypy knows the types of a tuple's parts
    lost = Counter[str]()
    for left_out, number in sets.items():
        lost.update(dict.fromkeys(left_out.split(_BETWEEN), number))
    if not lost:
        return 0, {}
    joined = select(func.count(), *(func.count(table.c[name]) for name in lost)).select_from(DIRECTORY_OBJECT)
    total, *having = connection.execute(joined.join(table, table.c.object == _OBJECT.object).where(these)).one()
    held = {
        name: lost[name]
        for name, number in zip(lost, having, strict=True)
        if copy.holds(
            name, lost[name], is_doubtful=is_withheld(lost=lost[name], given=number - lost[name], total=total)
        )
    }
    written = 0
    for left_out in sets:
        columns = set(left_out.split(_BETWEEN))
        if cleared := dict.fromkeys(columns - held.keys()):
            which = these & (_OBJECT.left_out == left_out)
            numbers = select(_OBJECT.object).where(which)
            written += connection.execute(update(table).where(table.c.object.in_(numbers)).values(cleared)).rowcount
            kept = _BETWEEN.join(sorted(columns & held.keys())) or None
            connection.execute(update(DIRECTORY_OBJECT).where(which).values(changed_at=now, left_out=kept))
    return written, held


def _count(connection: Connection, which: ColumnElement[bool]) -> int:
    return connection.execute(select(func.count()).select_from(DIRECTORY_OBJECT).where(which)).scalar_one()


def _set_state(connection: Connection, which: ColumnElement[bool], state: ObjectState, *, now: float) -> int:
    moved = which & (_OBJECT.state != state.value)
    values = {"state": state.value, "state_changed_at": now, "changed_at": now}
    return connection.execute(update(DIRECTORY_OBJECT).where(moved).values(values)).rowcount
