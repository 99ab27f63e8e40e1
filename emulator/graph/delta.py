"""Delta query over the users: rounds of pages, the opaque tokens between them, and the rows.

Source: https://learn.microsoft.com/graph/delta-query-overview, https://learn.microsoft.com/graph/delta-query-users
"""

import random
import secrets
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from emulator.directory.people import MANAGER, Change, People

type Row = dict[str, object]


@dataclass(frozen=True)
class Changed:
    """What a round has to tell about one person; `properties` None: everything."""

    properties: frozenset[str] | None = None
    former_managers: frozenset[str] = frozenset()


EVERYTHING = Changed()


@dataclass(frozen=True)
class Round:
    """The people of one round in their order; nobody in `changed` means that all of each is told.

    The round covers the log from `start`; the next one begins at `end`.
    """

    select: frozenset[str]
    ids: tuple[str, ...]
    changed: Mapping[str, Changed]
    start: int
    end: int


@dataclass(frozen=True)
class Place:
    """What a skip token stands for: where the next page of a round begins."""

    round: Round
    offset: int

    @property
    def select(self) -> frozenset[str]:
        """What the round's rows have."""
        return self.round.select


@dataclass(frozen=True)
class Bookmark:
    """What a delta token stands for: where in the log the next round begins, and where the last one did."""

    select: frozenset[str]
    position: int
    previous: int


@dataclass(frozen=True)
class Issued[T]:
    """What a token stands for, and when it was made (epoch seconds)."""

    what: T
    time: float


class Tokens[T]:
    """Random names for what is kept here: nobody can derive one or change what it stands for."""

    def __init__(self) -> None:
        self._issued: dict[str, Issued[T]] = {}

    def issue(self, what: T, *, now: float) -> str:
        """Make a token."""
        token = secrets.token_urlsafe(48)
        self._issued[token] = Issued(what, now)
        return token

    def find(self, token: str) -> Issued[T] | None:
        """Look a token up; it can be used any number of times."""
        return self._issued.get(token)


def first_round(people: People, select: frozenset[str]) -> Round:
    """Begin with everybody who is there."""
    end = people.position
    ids = tuple(person.id for person in people.tenant().values() if not person.removed)
    return Round(select, ids, {}, start=end, end=end)


def later_round(people: People, select: frozenset[str], *, position: int) -> Round:
    """Begin with everybody who changed in what is selected."""
    end = people.position
    changed = _changed(people.since(position), select)
    return Round(select, tuple(changed), changed, start=position, end=end)


def shuffled(ids: tuple[str, ...]) -> tuple[str, ...]:
    """Put people into another order, always the same."""
    order = random.Random(len(ids))  # noqa: S311 - an order, not a secret
    return tuple(order.sample(ids, len(ids)))


def row(people: People, user_id: str, told: Round, *, minimal: bool) -> Row:
    """Describe one person as they are now; with `minimal` only in what changed."""
    person = people.find(user_id)
    if person is None or person.removed:
        return {"id": user_id, "@removed": {"reason": "changed" if person else "deleted"}}
    changed = told.changed.get(user_id, EVERYTHING)
    shown = told.select
    if minimal and changed.properties is not None:
        shown &= changed.properties
    found: Row = {"id": user_id}
    found |= {name: person.properties[name] for name in shown & person.properties.keys() if name != MANAGER}
    if MANAGER in told.select and (managers := _managers(person.properties.get(MANAGER), changed)):
        found["manager@delta"] = managers
    return found


def _managers(now: object, changed: Changed) -> list[Row]:
    """List what became of the relationship: a manager who is one no longer is marked as groups mark former members."""
    found: list[Row] = [
        _reference(former) | {"@removed": {"reason": "deleted"}} for former in sorted(changed.former_managers - {now})
    ]
    if now is not None and (changed.properties is None or MANAGER in changed.properties):
        found.append(_reference(now))
    return found


def _reference(user_id: object) -> Row:
    return {"@odata.type": "#microsoft.graph.user", "id": user_id}


def _changed(changes: Iterable[Change], select: frozenset[str]) -> dict[str, Changed]:
    found: dict[str, Changed] = {}
    for change in changes:
        if change.properties is not None and not change.properties & select:
            continue
        before = found.get(change.id, Changed(frozenset()))
        properties = None
        if before.properties is not None and change.properties is not None:
            properties = before.properties | change.properties
        formers = before.former_managers | ({change.former_manager} if change.former_manager else frozenset())
        found[change.id] = Changed(properties, formers)
    return found
