"""Delta query as pure functions: which links may be followed, and what a page changes.

https://learn.microsoft.com/graph/delta-query-overview
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any
from urllib.parse import urlsplit

from shared.core.directory.streams import Stream
from shared.core.errors import BadAnswer, UnreadableAnswer
from shared.core.names import is_guid
from shared.core.reply import json_object

type ColumnValue = str | bool | None


class LinkKind(StrEnum):
    """What the link of a page leads to."""

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


@dataclass(frozen=True, slots=True)
class Change:
    """What a page says about one object.

    Args:
        id: the id of the object, a GUID in lower case.
        state: the state of the object.
        values: by the name of the column. A column that is absent has not changed.
    """

    id: str
    state: ObjectState
    values: Mapping[str, ColumnValue] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Page:
    """One answer of Graph.

    Args:
        changes: one for each object on the page.
        link: the URL from Graph, to be stored and sent, never built or edited.
        kind: what the link leads to.
    """

    changes: Sequence[Change]
    link: str = field(repr=False)
    kind: LinkKind


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
    # Graph may name an object several times on one page. The last state counts, and the values add up.
    changes: dict[str, Change] = {}
    for item in items:
        change = _read_change(item, stream)
        before = changes.get(change.id)
        if before is not None and before.state is change.state is ObjectState.ACTIVE:
            change = Change(change.id, change.state, {**before.values, **change.values})
        changes[change.id] = change
    return Page(list(changes.values()), link, kind)


def leads_to(link: str, root: str) -> bool:
    """Return whether a link has the origin of Graph's root. Our token is sent to no other origin."""
    try:
        found, home = urlsplit(link), urlsplit(root)
        same = (found.scheme, found.hostname, found.port or 443) == (home.scheme, home.hostname, home.port or 443)
    except ValueError:
        return False
    clean = link.isascii() and link.isprintable() and "\\" not in link and " " not in link
    return same and clean and found.scheme == "https" and "@" not in found.netloc


def is_reset(status: int, body: bytes) -> bool:
    """Return whether Graph no longer accepts a link, so that a new copy must start.

    That is a 410, or another refusal with one of two error codes, at any depth and in any case:
    https://learn.microsoft.com/graph/delta-query-overview#synchronization-reset
    """
    return status == 410 or (400 <= status < 500 and _names_reset(body))


def _names_reset(body: bytes) -> bool:
    error = (json_object(body) or {}).get("error")
    while isinstance(error, dict):
        if str(error.get("code")).lower() in {"syncstatenotfound", "resyncrequired"}:
            return True
        error = error.get("innerError") or error.get("innererror")
    return False


def _read_change(item: Any, stream: Stream) -> Change:  # noqa: ANN401  # any JSON value
    oid = item.get("id") if isinstance(item, dict) else None
    if not isinstance(oid, str) or not is_guid(oid):
        raise BadAnswer(cause="an item without an id")
    removed = item.get("@removed")
    if removed is not None:
        reason = removed.get("reason") if isinstance(removed, dict) else None
        return Change(oid.lower(), ObjectState.DELETED if reason == "changed" else ObjectState.PURGED)
    values: dict[str, ColumnValue] = {}
    for name, column in stream.properties.items():
        if name not in item:
            continue
        value = item[name]
        if value is not None and not isinstance(value, column.kind):
            raise BadAnswer(cause=f"{name} of an item has another type")
        values[column.name] = value
    return Change(oid.lower(), ObjectState.ACTIVE, values)
