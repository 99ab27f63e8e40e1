"""The certificates and secrets of a page's objects: what a transaction of the store writes beside their rows.

What a page names of an object is all that it has. A copy adds at once and removes at its end. A credential has the
number of the attempt that saw it last. If a later page of the copy leaves it out, it counts as unseen. Each function
runs in the transaction of its caller.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from sqlalchemy import Connection, Select, Table, bindparam, delete, func, select, tuple_, update

from shared.adapters.database.dialect import batches, insert
from shared.adapters.database.tables import CREDENTIAL, DIRECTORY_OBJECT, visible
from shared.core.directory.checkpoint import Checkpoint, Copy
from shared.core.directory.credentials import Credential, CredentialKind, Ending
from shared.core.directory.delta import Change, ObjectState
from shared.core.directory.rules import is_too_much
from shared.core.notice import DAY_SECONDS, NOTICE_DAYS, notice_days

_UNSEEN = 0
"""The generation of what no attempt has seen."""
_KEY = tuple_(CREDENTIAL.c.object, CREDENTIAL.c.kind, CREDENTIAL.c.key_id)
type _Key = tuple[int, str, str]


class _Held(NamedTuple):
    """A credential in the store: what is known of it, the attempt that saw it last, and what was told of its end."""

    credential: Credential
    generation: int
    told_days: int | None


def apply(
    connection: Connection,
    checkpoint: Checkpoint,
    changes: Sequence[Change],
    numbers: Mapping[str, int],
    *,
    now: float,
) -> int:
    """Write the credentials of a page's objects, which have numbers; return how many were written."""
    given = {
        (numbers[change.id], kind.value): held
        for change in changes
        if change.state is ObjectState.ACTIVE
        for kind, held in change.credentials.items()
    }
    if not given:
        return 0
    before = _read(connection, {number for number, _ in given})
    after = {(*of, key_id): credential for of, held in given.items() for key_id, credential in held.items()}
    rows, seen = list[dict[str, object]](), list[_Key]()
    for key, credential in after.items():
        was = before.get(key)
        if was is None or was.credential != credential:
            rows.append(_row(key, credential, was, generation=checkpoint.generation))
        elif was.generation != checkpoint.generation:
            seen.append(key)
    gone = [key for key in before if key[:2] in given and key not in after]
    if rows:
        upsert = insert(connection, CREDENTIAL)
        values = {name: upsert.excluded[name] for name in rows[0] if name not in {"object", "kind", "key_id"}}
        connection.execute(upsert.on_conflict_do_update(index_elements=["object", "kind", "key_id"], set_=values), rows)
    _stamp(connection, seen, checkpoint.generation)
    if checkpoint.is_copying:
        _stamp(connection, gone, _UNSEEN)
        gone = []
    for some in batches(gone):
        connection.execute(delete(CREDENTIAL).where(_KEY.in_(some)))
    changed = {row["object"] for row in rows} | {key[0] for key in gone}
    for numbers_ in batches(changed):
        which = DIRECTORY_OBJECT.c.object.in_(numbers_)
        connection.execute(update(DIRECTORY_OBJECT).where(which).values(changed_at=now))
    return len(rows) + len(gone)


def sweep(connection: Connection, copy: Copy, objects: Select[int], *, now: float) -> tuple[int, Mapping[str, int]]:
    """Delete the credentials that a complete copy has not seen, of the objects that it has seen.

    Returns:
        The number of credentials that were deleted, and the losses that are not believed: how many, by their kind.
    """
    written, held = 0, dict[str, int]()
    for name, kind in copy.stream.credentials.items():
        of_kind = (CREDENTIAL.c.kind == kind.value) & CREDENTIAL.c.object.in_(objects)
        unseen = of_kind & (CREDENTIAL.c.generation < copy.generation)
        count = select(func.count()).select_from(CREDENTIAL)
        lost, total = (connection.execute(count.where(which)).scalar_one() for which in (unseen, of_kind))
        if copy.holds(name, lost, is_doubtful=is_too_much(lost=lost, total=total)):
            held[name] = lost
        elif lost:
            of_those = DIRECTORY_OBJECT.c.object.in_(select(CREDENTIAL.c.object).where(unseen))
            connection.execute(update(DIRECTORY_OBJECT).where(of_those).values(changed_at=now))
            written += connection.execute(delete(CREDENTIAL).where(unseen)).rowcount
    return written, held


def drop(connection: Connection, objects: Sequence[int] | Select[int]) -> None:
    """Delete every credential of objects that are gone for good, or whose columns are erased."""
    connection.execute(delete(CREDENTIAL).where(CREDENTIAL.c.object.in_(objects)))


def ending(connection: Connection, table: Table, checkpoint: Checkpoint, *, now: float) -> Sequence[Ending]:
    """Return the credentials whose end is to be told, of what a reader should see; the earliest end first."""
    found = connection.execute(
        select(
            CREDENTIAL.c.object,
            DIRECTORY_OBJECT.c.id,
            CREDENTIAL.c.kind,
            CREDENTIAL.c.key_id,
            CREDENTIAL.c.ends_at,
            CREDENTIAL.c.told_days,
        )
        .join_from(CREDENTIAL, DIRECTORY_OBJECT, DIRECTORY_OBJECT.c.object == CREDENTIAL.c.object)
        .join(table, table.c.object == CREDENTIAL.c.object)
        .where(
            CREDENTIAL.c.ends_at.between(now, now + max(NOTICE_DAYS) * DAY_SECONDS),
            DIRECTORY_OBJECT.c.tenant_id == checkpoint.tenant_id,
            visible(checkpoint.stream, table),
        )
        .order_by(CREDENTIAL.c.ends_at, CREDENTIAL.c.object, CREDENTIAL.c.kind, CREDENTIAL.c.key_id)
    )
    return [
        Ending(number=number, object_id=oid, kind=CredentialKind(kind), key_id=key_id, ends_at=ends_at, days=days)
        for number, oid, kind, key_id, ends_at, told_days in found
        if (days := notice_days(ends_at=ends_at, told_days=told_days, now=now)) is not None
    ]


def remember(connection: Connection, told: Sequence[Ending]) -> None:
    """Note what was told of the end of credentials."""
    this = (
        (CREDENTIAL.c.object == bindparam("this_object"))
        & (CREDENTIAL.c.kind == bindparam("this_kind"))
        & (CREDENTIAL.c.key_id == bindparam("this_key_id"))
    )
    rows = [
        {"this_object": each.number, "this_kind": each.kind.value, "this_key_id": each.key_id, "days": each.days}
        for each in told
    ]
    connection.execute(update(CREDENTIAL).where(this).values(told_days=bindparam("days")), rows)


def _read(connection: Connection, objects: Iterable[int]) -> Mapping[_Key, _Held]:
    held = {}
    for some in batches(objects):
        for row in connection.execute(select(CREDENTIAL).where(CREDENTIAL.c.object.in_(some))):
            credential = Credential(row.name, row.thumbprint, row.starts_at, row.ends_at)
            held[row.object, row.kind, row.key_id] = _Held(credential, row.generation, row.told_days)
    return held


def _row(key: _Key, credential: Credential, was: _Held | None, *, generation: int) -> dict[str, object]:
    is_same_end = was is not None and was.credential.ends_at == credential.ends_at
    number, kind, key_id = key
    return {
        "object": number,
        "kind": kind,
        "key_id": key_id,
        "name": credential.name,
        "thumbprint": credential.thumbprint,
        "starts_at": credential.starts_at,
        "ends_at": credential.ends_at,
        "generation": generation,
        "told_days": was.told_days if was and is_same_end else None,
    }


def _stamp(connection: Connection, keys: Iterable[_Key], generation: int) -> None:
    for some in batches(keys):
        connection.execute(update(CREDENTIAL).where(_KEY.in_(some)).values(generation=generation))
