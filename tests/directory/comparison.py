"""A copy beside the tenant that it is of: objects with columns, edges of what is active, credentials."""

import base64
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from emulator.directory.directory_object import State
from emulator.directory.object_store import ObjectStore
from emulator.directory.truth import truth
from shared.core.directory.streams import STREAMS, Stream
from tests.adapters.database.directory_copy import Where, query

EDGES = """
    select kind, source.id as source, other.id as other from edge
    join directory_object as source on source.object = src join directory_object as other on other.object = dst
    where source.state = 'active'
"""
CREDENTIALS = """
    select id, kind, key_id, name, thumbprint, starts_at, ends_at
    from credential join directory_object using (object) where state = 'active'
"""

type Rows = set[tuple[Any, ...]]


def differences(objects: ObjectStore, where: Where) -> Sequence[str]:
    """List where a copy is not the tenant."""
    expected, found = _tenant(objects), _copy(where)
    return [
        f"{what} {sign} {row}"
        for what in expected
        for sign, rows in (("lacks", expected[what] - found[what]), ("has", found[what] - expected[what]))
        for row in sorted(rows, key=str)
    ]


def _tenant(objects: ObjectStore) -> Mapping[str, Rows]:
    true = truth(objects)
    active = {oid for oid, each in true.objects.items() if each.state is State.ACTIVE and each.kind.name in STREAMS}
    return {
        "objects": {
            (oid, column.name, true.objects[oid].properties.get(name))
            for oid in active
            for name, column in STREAMS[true.objects[oid].kind.name].properties.items()
        },
        "edges": {
            (STREAMS[true.objects[source].kind.name].relations[relation], source, other)
            for relation, source, other in true.edges
            if source in active
        },
        "credentials": {
            (oid, "key" if each.is_key else "secret", key_id, each.name, _hex(each.thumbprint), each.starts, each.ends)
            for (oid, key_id), each in true.credentials.items()
            if oid in active
        },
    }


def _copy(where: Where) -> Mapping[str, Rows]:
    edges = [tuple(row.values()) for row in query(where, EDGES)]
    assert len(edges) == len(set(edges))
    return {
        "objects": {value for stream in STREAMS.values() for value in _values(where, stream)},
        "edges": set(edges),
        "credentials": {tuple(map(_seconds, row.values())) for row in query(where, CREDENTIALS)},
    }


def _values(where: Where, stream: Stream) -> Iterator[tuple[Any, ...]]:
    """List each column of each active object."""
    names = ", ".join(f'"{column.name}"' for column in stream.properties.values())
    rows = query(
        where,
        f"select id, {names} from directory_object left join {stream.table} using (object)"  # noqa: S608  # ours
        f" where state = 'active' and stream = '{stream.name}'",
    )
    for row in rows:
        for column in stream.properties.values():
            value = row[column.name]
            yield row["id"], column.name, value if value is None else column.kind(value)


def _seconds(value: object) -> object:
    """Write an instant as Graph does."""
    return value.replace(".000000Z", "Z") if isinstance(value, str) else value


def _hex(thumbprint: object) -> str | None:
    return base64.b64decode(thumbprint).hex().upper() if isinstance(thumbprint, str) else None
