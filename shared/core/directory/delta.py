"""Delta query as pure functions: which links may be followed, and what a page changes.

https://learn.microsoft.com/graph/delta-query-overview
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any, NamedTuple

from shared.core.directory.credentials import Credential, CredentialKind, read_credentials
from shared.core.directory.streams import LOOKUP_LENGTH, SINGLE, TYPES, Column, Stream
from shared.core.directory.text import storable
from shared.core.errors import BadAnswer, UnreadableAnswer
from shared.core.names import is_guid
from shared.core.origins import origin_of
from shared.core.reply import json_object

type ColumnValue = str | bool | None


class LinkKind(StrEnum):
    """The target of a page's link."""

    NEXT = "next"
    """The next page of this round."""
    DELTA = "delta"
    """The first page of the next round: this round is complete."""


class ObjectState(StrEnum):
    """The state of a directory object."""

    ACTIVE = "active"
    DELETED = "deleted"
    """In the recycle bin of Entra, for 30 days. An administrator may restore the object."""
    PURGED = "purged"
    """Deleted for good."""
    STUB = "stub"
    """Known from a relationship alone."""


class Edge(NamedTuple):
    """A relationship of an object: its kind, and the id of the object at its other end, in lower case."""

    kind: str
    other: str


@dataclass(frozen=True, slots=True)
class EdgeChange:
    """One relationship on a page.

    Args:
        stream: the stream of the object at the other end; "" if no stream of ours brings it.
        is_removed: the relationship is no more. That says nothing about the other object.
    """

    stream: str
    is_removed: bool = False


@dataclass(frozen=True, slots=True)
class Change:
    """One object on a page.

    Args:
        id: the id of the object, a GUID in lower case.
        state: the state of the object.
        values: by the name of the column. A column that is absent has not changed.
        edges: its relationships that the page names. One that is absent has not changed.
        credentials: by their kind and key id. Of a kind that the page names these are all that there are.
    """

    id: str
    state: ObjectState
    values: Mapping[str, ColumnValue] = field(default_factory=dict)
    edges: Mapping[Edge, EdgeChange] = field(default_factory=dict)
    credentials: Mapping[CredentialKind, Mapping[str, Credential]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Mended:
    """Values that a database does not take, and that one bad object must not stop the sync for.

    Args:
        object_id: one object that has such a value; "" where the id itself is missing.
        number: how many values there were.
    """

    object_id: str
    number: int

    def __add__(self, later: "Mended") -> "Mended":
        """Return both as one, with the earlier example."""
        return Mended(self.object_id, self.number + later.number)


@dataclass(frozen=True, slots=True)
class Page:
    """One answer of Graph.

    Args:
        changes: one for each object on the page.
        link: the URL from Graph, to be stored and sent, never built or edited.
        kind: what the link leads to.
        mended: by the property, the values that are stored in another form.
    """

    changes: Sequence[Change]
    link: str = field(repr=False)
    kind: LinkKind
    mended: Mapping[str, Mended] = field(default_factory=dict)


def read_page(body: bytes, stream: Stream, *, root: str) -> Page:
    """Return the changes and the link of a page.

    Raises:
        UnreadableAnswer: the body is not a JSON object.
        BadAnswer: the body is not a page of this stream, or its link does not lead to Graph.
    """
    page = json_object(body)
    if page is None:
        raise UnreadableAnswer(cause="the page is not a JSON object")
    items = page.get("value")
    links = [(kind, page.get(f"@odata.{kind}Link")) for kind in LinkKind]
    found = [(kind, link) for kind, link in links if link is not None]
    if not isinstance(items, list) or len(found) != 1:
        raise BadAnswer(cause="the page has no items, or not exactly one link")
    ((kind, link),) = found
    if not isinstance(link, str) or not leads_to(link, root):
        raise BadAnswer(cause="the page leads away from Graph")
    changes: dict[str, Change] = {}
    mended = dict[str, Mended]()
    for item in items:
        oid = item.get("id") if isinstance(item, dict) else None
        if not isinstance(oid, str) or not is_guid(oid):
            mended = together(mended, {"id": Mended("", 1)})
            continue
        change, names = _read_change(oid.lower(), item, stream)
        mended = together(mended, {name: Mended(change.id, 1) for name in names})
        before = changes.get(change.id)
        changes[change.id] = change if before is None else _merged(before, change)
    return Page(list(changes.values()), link, kind, mended)


def read_list(body: bytes, stream: Stream, *, root: str) -> tuple[Sequence[Change], str]:
    """Return the objects of one page of a plain list, and the link to the next page; "" if it is the last one.

    Raises:
        UnreadableAnswer: the body is not a JSON object.
        BadAnswer: the body is not a list, or its link does not lead to Graph.
    """
    page = json_object(body)
    if page is None:
        raise UnreadableAnswer(cause="the list is not a JSON object")
    items, link = page.get("value"), page.get("@odata.nextLink", "")
    if not isinstance(items, list):
        raise BadAnswer(cause="the list has no items")
    if not isinstance(link, str) or (link and not leads_to(link, root)):
        raise BadAnswer(cause="the list leads away from Graph")
    ids = [(item, item.get("id") if isinstance(item, dict) else None) for item in items]
    found = [_read_change(oid.lower(), item, stream) for item, oid in ids if isinstance(oid, str) and is_guid(oid)]
    return [change for change, _ in found], link


def together(earlier: Mapping[str, Mended], later: Mapping[str, Mended]) -> dict[str, Mended]:
    """Return what was mended on both of two pages."""
    return {**earlier, **{name: earlier[name] + more if name in earlier else more for name, more in later.items()}}


def leads_to(link: str, root: str) -> bool:
    """Return whether a link has the origin of Graph: a token for Graph goes nowhere else."""
    origin = origin_of(link)
    return origin is not None and origin.scheme == "https" and origin == origin_of(root)


def _merged(before: Change, after: Change) -> Change:
    """Return what two mentions of an object on one page tell together: Graph may name it several times.

    The last state counts. Values and credentials add up while it stays active: Graph tells them again with a restore.
    Relationships add up unless the object is gone for good: Graph does not tell them again.
    """
    if ObjectState.PURGED in {before.state, after.state}:
        return after
    edges = dict(before.edges)
    for edge, told in after.edges.items():
        _tell(edges, edge, told)
    if not before.state is after.state is ObjectState.ACTIVE:
        return replace(after, edges=edges)
    values, credentials = {**before.values, **after.values}, {**before.credentials, **after.credentials}
    return Change(after.id, after.state, values, edges, credentials)


def _tell(edges: dict[Edge, EdgeChange], edge: Edge, told: EdgeChange) -> None:
    """Add a relationship to those of a page. Where an object has one at most, it takes the place of the others."""
    if edge.kind in SINGLE and not told.is_removed:
        others = {other: replace(was, is_removed=True) for other, was in edges.items() if other.kind == edge.kind}
        edges.update(others)
    edges[edge] = told


def _read_change(oid: str, item: Mapping[str, Any], stream: Stream) -> tuple[Change, list[str]]:
    """Return what an item tells of its object, and the properties whose values are stored in another form."""
    removed = item.get("@removed")
    # Only this reason says that nothing can bring the object back.
    if isinstance(removed, dict) and removed.get("reason") == "deleted":
        return Change(oid, ObjectState.PURGED), []
    edges, mended = _read_edges(item, stream)
    if removed is not None:
        return Change(oid, ObjectState.DELETED, edges=edges), mended
    given = [(name, column, item[name]) for name, column in stream.properties.items() if name in item]
    values = {column.name: _storable(value, column) for _, column, value in given}
    mended += [name for name, column, value in given if values[column.name] != value]
    credentials = dict[CredentialKind, Mapping[str, Credential]]()
    for name, of_kind in stream.credentials.items():
        if name in item:
            held, number = read_credentials(item[name], of_kind)
            mended += [name] * number
            if held is not None:
                credentials[of_kind] = held
    return Change(oid, ObjectState.ACTIVE, values, edges, credentials), mended


def _read_edges(item: Mapping[str, Any], stream: Stream) -> tuple[Mapping[Edge, EdgeChange], list[str]]:
    """Return the relationships that an item names, and the property of each value that names none."""
    edges, mended = dict[Edge, EdgeChange](), list[str]()
    for name, kind in stream.relations.items():
        others = item.get(f"{name}@delta", [])
        for other in others if isinstance(others, list) else [others]:
            found = _read_edge(other)
            if found is None:
                mended.append(name)
            else:
                _tell(edges, Edge(kind, found[0]), found[1])
    return edges, mended


def _read_edge(other: Any) -> tuple[str, EdgeChange] | None:  # noqa: ANN401  # any JSON value
    """Return the id of the object at the other end, and what is new; None if there is no id."""
    oid = other.get("id") if isinstance(other, dict) else None
    if not isinstance(oid, str) or not is_guid(oid):
        return None
    kind = other.get("@odata.type")
    stream = TYPES.get(kind, "") if isinstance(kind, str) else ""
    return oid.lower(), EdgeChange(stream, is_removed="@removed" in other)


def _storable(value: Any, column: Column) -> ColumnValue:  # noqa: ANN401  # any JSON value
    """Return a value as databases take it: Unicode without NUL, and null in place of another type.

    A text that is too long for an index is null: cut, it could be the address of somebody else.
    """
    if not isinstance(value, column.kind):
        return None
    if not isinstance(value, str):
        return value
    return None if column.lookup and len(value) > LOOKUP_LENGTH else storable(value)
