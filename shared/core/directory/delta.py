"""Delta query as pure functions: which links may be followed, and what a page changes.

https://learn.microsoft.com/graph/delta-query-overview
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any
from urllib.parse import urlencode, urlsplit

from shared.core.errors import BadAnswer, UnreadableAnswer
from shared.core.names import is_guid

type Value = str | bool | None

SHAPE = 1
"""Of the tables; raised when a change to them needs every row again."""


@dataclass(frozen=True, slots=True)
class Stream:
    """One kind of object that is copied.

    Args:
        name: in settings and in the store.
        path: below the version of Graph's API.
        columns: by Graph's name of a property: ours, and the type that its values have.
    """

    name: str
    path: str
    columns: Mapping[str, tuple[str, type[str] | type[bool]]]

    def first_link(self, root: str) -> str:
        """Name the URL that a copy begins with; every later one is Graph's own."""
        return f"{root}/v1.0/{self.path}/delta?{urlencode({'$select': ','.join(self.columns)}, safe=',$')}"

    def fingerprint(self, root: str) -> str:
        """Name what a stored link was made for: another one is no continuation, but a new copy."""
        text = json.dumps([SHAPE, self.first_link(root)])
        return hashlib.sha256(text.encode()).hexdigest()


USERS = Stream(
    name="users",
    path="users",
    columns={
        "accountEnabled": ("account_enabled", bool),
        "createdDateTime": ("created_at", str),
        "department": ("department", str),
        "displayName": ("display_name", str),
        "employeeId": ("employee_id", str),
        "givenName": ("given_name", str),
        "jobTitle": ("job_title", str),
        "mail": ("mail", str),
        "officeLocation": ("office_location", str),
        "surname": ("surname", str),
        "userPrincipalName": ("user_principal_name", str),
        "userType": ("user_type", str),
    },
)
STREAMS: Mapping[str, Stream] = {stream.name: stream for stream in (USERS,)}


class Link(StrEnum):
    """What a page's link leads to."""

    NEXT = "next"
    """The next page of this round."""
    DELTA = "delta"
    """The next round: everything that there was has been read."""


class State(StrEnum):
    """What has become of an object."""

    ACTIVE = "active"
    DELETED = "deleted"
    """It lies in the recycle bin, for 30 days, and may be restored."""
    PURGED = "purged"
    """It is gone for good."""


@dataclass(frozen=True, slots=True)
class Change:
    """What a page says of one object.

    Args:
        id: the object's, a GUID.
        state: what has become of it.
        values: by our column: those that the page names. One that it does not name has not changed.
    """

    id: str
    state: State
    values: Mapping[str, Value] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Page:
    """One answer of Graph.

    Args:
        changes: one per object, the last that the page has of it.
        link: Graph's own URL, to be stored and sent, never built or edited.
        kind: where it leads.
    """

    changes: Sequence[Change]
    link: str = field(repr=False)
    kind: Link


class BusyError(Exception):
    """Another run is at this stream, or has taken this one's place."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a run is in its stream, and by which right.

    Args:
        tenant_id, stream: which stream.
        link: to be read next.
        page: how many pages of this stream have been committed.
        fence: of this run; a later run has a higher one.
        generation: how many copies have been begun.
        is_copying: whether a copy goes on; else only changes come.
    """

    tenant_id: str
    stream: Stream
    link: str
    page: int
    fence: int
    generation: int
    is_copying: bool


def read_page(body: bytes, stream: Stream, *, root: str) -> Page:
    """Read one page.

    Raises:
        UnreadableAnswer: it is no JSON object.
        BadAnswer: it is not a page of this stream, or leads away from Graph.
    """
    try:
        page = json.loads(body)
    except (ValueError, RecursionError):
        page = None
    if not isinstance(page, dict):
        raise UnreadableAnswer(cause="the page is not a JSON object")
    items = page.get("value")
    links = [(kind, page.get(f"@odata.{kind}Link")) for kind in Link]
    found = [(kind, link) for kind, link in links if link is not None]
    if not isinstance(items, list) or len(found) != 1:
        raise BadAnswer(cause="the page has no items, or not exactly one link")
    ((kind, link),) = found
    if not isinstance(link, str) or not leads_to(link, root):
        raise BadAnswer(cause="the page leads away from Graph")
    # Of several about one object the last one counts, and it may name less than those before it.
    changes: dict[str, Change] = {}
    for item in items:
        change = _read_change(item, stream)
        before = changes.get(change.id)
        if before is not None and before.state is change.state is State.ACTIVE:
            change = Change(change.id, change.state, {**before.values, **change.values})
        changes[change.id] = change
    return Page(list(changes.values()), link, kind)


def leads_to(link: str, root: str) -> bool:
    """Tell whether a link is one of Graph's: our token goes to nobody else (the origin has to be the same)."""
    try:
        found, home = urlsplit(link), urlsplit(root)
        same = (found.scheme, found.hostname, found.port or 443) == (home.scheme, home.hostname, home.port or 443)
    except ValueError:
        return False
    clean = link.isascii() and link.isprintable() and "\\" not in link and " " not in link
    return same and clean and found.scheme == "https" and "@" not in found.netloc


def is_reset(status: int, body: bytes) -> bool:
    """Tell whether Graph has forgotten what a link meant, so that a copy has to begin anew.

    410, or a refusal with one of two codes in it, at whatever depth and in whatever case:
    https://learn.microsoft.com/graph/delta-query-overview#synchronization-reset
    """
    return status == 410 or (400 <= status < 500 and _names_reset(body))


def _names_reset(body: bytes) -> bool:
    try:
        error = json.loads(body)
    except (ValueError, RecursionError):
        return False
    error = error.get("error") if isinstance(error, dict) else None
    while isinstance(error, dict):
        if str(error.get("code")).lower() in {"syncstatenotfound", "resyncrequired"}:
            return True
        error = error.get("innerError") or error.get("innererror")
    return False


def _read_change(item: Any, stream: Stream) -> Change:  # noqa: ANN401  # whatever JSON holds
    oid = item.get("id") if isinstance(item, dict) else None
    if not isinstance(oid, str) or not is_guid(oid):
        raise BadAnswer(cause="an item without an id")
    removed = item.get("@removed")
    if removed is not None:
        reason = removed.get("reason") if isinstance(removed, dict) else None
        return Change(oid.lower(), State.DELETED if reason == "changed" else State.PURGED)
    values: dict[str, Value] = {}
    for name, (column, kind) in stream.columns.items():
        if name not in item:
            continue
        value = item[name]
        if value is not None and not isinstance(value, kind):
            raise BadAnswer(cause=f"{name} of an item has another type")
        values[column] = value
    return Change(oid.lower(), State.ACTIVE, values)
