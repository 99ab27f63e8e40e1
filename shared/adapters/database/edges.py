"""The relationships of a page's objects: what a transaction of the store writes beside their rows.

The same rule holds as for objects: a copy gives at once, and takes away at its end. An edge has the attempt that saw it
last; a removal that a copy tells leaves the edge unseen. Each function runs in the transaction of its caller.
"""

from collections.abc import Iterable, Mapping, Sequence

from sqlalchemy import ColumnElement, Connection, Select, bindparam, delete, func, insert, or_, select, update

from shared.adapters.database.dialect import batches
from shared.adapters.database.dialect import insert as insert_into
from shared.adapters.database.tables import DIRECTORY_OBJECT, EDGE
from shared.core.directory.checkpoint import Checkpoint, Copy
from shared.core.directory.delta import Change, ObjectState
from shared.core.directory.rules import is_too_much
from shared.core.directory.streams import SINGLE

_UNSEEN = 0
"""The generation of what no attempt has seen."""
_OBJECT = DIRECTORY_OBJECT.c
_THIS = (
    (EDGE.c.kind == bindparam("this_kind"))
    & (EDGE.c.src == bindparam("this_src"))
    & (EDGE.c.dst == bindparam("this_dst"))
)
_OTHERS = (
    (EDGE.c.kind == bindparam("this_kind"))
    & (EDGE.c.src == bindparam("this_src"))
    & (EDGE.c.dst != bindparam("this_dst"))
)


def apply(connection: Connection, checkpoint: Checkpoint, changes: Sequence[Change], *, now: float) -> tuple[int, int]:
    """Write the relationships of a page's objects, which have numbers already.

    A new manager takes the place of the one before at once, also in a copy: nothing is lost. The page need not say that
    the one before is gone. An object that only relationships name becomes a stub. One that is gone for good stays so:
    its own stream alone brings it back.

    Returns:
        The number of edges that were written, and of those that are news to this attempt. An edge that goes is news
        too: Graph empties a large group over many pages, which bring nothing else.
    """
    told = [(change.id, edge, what) for change in changes for edge, what in change.edges.items()]
    if not told:
        return 0, 0
    streams = {edge.other: what.stream for _, edge, what in told if not what.is_removed}
    _insert_stubs(connection, checkpoint, streams, now=now)
    numbers = _numbers(connection, checkpoint, {change.id for change in changes} | {edge.other for _, edge, _ in told})
    present, removed = list[dict[str, int | str]](), list[dict[str, int | str]]()
    for oid, edge, what in told:
        if oid in numbers and edge.other in numbers:
            row: dict[str, int | str] = {"kind": edge.kind, "src": numbers[oid], "dst": numbers[edge.other]}
            (removed if what.is_removed else present).append(row)
    written = new = 0
    if present:
        rows = [{**row, "generation": checkpoint.generation} for row in present]
        written = connection.execute(insert_into(connection, EDGE).on_conflict_do_nothing(), rows).rowcount
        stamp = update(EDGE).where(_THIS, EDGE.c.generation != checkpoint.generation)
        stamped = connection.execute(stamp.values(generation=checkpoint.generation), _these(present)).rowcount
        new = written + stamped
    single = [row for row in present if row["kind"] in SINGLE]
    for which, gone, is_loss in ((_THIS, removed, True), (_OTHERS, single, False)):
        if gone and is_loss and checkpoint.is_copying:
            unsee = update(EDGE).where(which, EDGE.c.generation != _UNSEEN).values(generation=_UNSEEN)
            new += connection.execute(unsee, _these(gone)).rowcount
        elif gone:
            deleted = connection.execute(delete(EDGE).where(which), _these(gone)).rowcount
            written, new = written + deleted, new + deleted
    return written, new


def sweep(connection: Connection, copy: Copy, sources: Select[int]) -> tuple[int, Mapping[str, int]]:
    """Delete the edges that a complete copy has not seen, of the objects that it has seen.

    Returns:
        The number of edges that were deleted, and the losses that are not believed: how many, by their kind.
    """
    written, held = 0, dict[str, int]()
    for relation, kind in copy.stream.relations.items():
        of_kind = (EDGE.c.kind == kind) & EDGE.c.src.in_(sources)
        unseen = of_kind & (EDGE.c.generation < copy.generation)
        lost = _count(connection, unseen)
        is_doubtful = is_too_much(lost=lost, total=_count(connection, of_kind))
        if copy.holds(relation, lost, is_doubtful=is_doubtful):
            held[relation] = lost
        elif lost:
            written += connection.execute(delete(EDGE).where(unseen)).rowcount
    return written, held


def drop(connection: Connection, numbers: Sequence[int]) -> None:
    """Delete every edge of objects that are gone for good: Graph does not always tell of it."""
    connection.execute(delete(EDGE).where(or_(EDGE.c.src.in_(numbers), EDGE.c.dst.in_(numbers))))


def _insert_stubs(connection: Connection, checkpoint: Checkpoint, streams: Mapping[str, str], *, now: float) -> None:
    common = {
        "tenant_id": checkpoint.tenant_id,
        "state": ObjectState.STUB.value,
        "state_changed_at": now,
        "changed_at": now,
        "generation": _UNSEEN,
    }
    known = set[str]()
    for some in batches(streams):
        of_page = (_OBJECT.tenant_id == checkpoint.tenant_id) & _OBJECT.id.in_(some)
        known.update(connection.scalars(select(_OBJECT.id).where(of_page)))
    missing = sorted(streams.keys() - known)
    if missing:
        rows = [{**common, "id": oid, "stream": streams[oid]} for oid in missing]
        connection.execute(insert(DIRECTORY_OBJECT), rows)


def _numbers(connection: Connection, checkpoint: Checkpoint, ids: Iterable[str]) -> Mapping[str, int]:
    numbers = dict[str, int]()
    for some in batches(ids):
        found = connection.execute(
            select(_OBJECT.id, _OBJECT.object)
            .where(
                _OBJECT.tenant_id == checkpoint.tenant_id,
                _OBJECT.id.in_(some),
                _OBJECT.state != ObjectState.PURGED.value,
            )
            .with_for_update()
        )
        numbers |= {oid: number for oid, number in found}  # noqa: C416  # mypy knows the types of a tuple's parts
    return numbers


def _these(rows: Sequence[Mapping[str, int | str]]) -> list[dict[str, int | str]]:
    return [{f"this_{name}": value for name, value in row.items()} for row in rows]


def _count(connection: Connection, which: ColumnElement[bool]) -> int:
    return connection.execute(select(func.count()).select_from(EDGE).where(which)).scalar_one()
