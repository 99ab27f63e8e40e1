"""The directory objects of one tenant, as Microsoft Graph shows them, and the log of their changes.

Every change has a number, and the time of the one clock. So a delta token of any kind of object is a moment in time.
What is in the log of a purge is less than what happened, as at Graph:
https://github.com/microsoftgraph/microsoft-graph-docs/issues/14708
"""

import heapq
import random
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType

from emulator.directory import credentials
from emulator.directory.change_log import Change, ChangeLog
from emulator.directory.directory_object import DirectoryObject, Edge, Ids, State
from emulator.directory.kinds import CREDENTIALS, KINDS, MANAGER, Kind
from emulator.directory.population import Population, Size

DAY = 86400


@dataclass
class _Changed:
    """The differences from the population with which the tenant began."""

    objects: dict[str, DirectoryObject] = field(default_factory=dict)
    edges: dict[Edge, tuple[str, ...]] = field(default_factory=dict)  # by relationship and the object that has it
    holders: dict[str, set[Edge]] = field(default_factory=dict)  # by an id: which keys of `edges` got it
    added: dict[str, list[str]] = field(default_factory=lambda: {name: [] for name in KINDS})


class ObjectStore:
    """The objects of a tenant. Their values are immutable, and a change replaces them whole.

    Attributes that a test may set at any time:
        recycle_bin_days: how long an object is there; then it is purged.
        purged_edges_seconds: how much later the log mentions the memberships that a purge ended; None: never.

    Args:
        now: the clock of the cloud.
        lock: of the directory. A reader that holds it sees one moment.
        size: of the made-up tenant.
        seed: of the made-up tenant.
    """

    def __init__(self, *, now: Callable[[], float], lock: threading.RLock, size: Size, seed: int = 1) -> None:
        self.lock = lock
        self.population = Population(size, seed=seed, epoch=now())
        self.recycle_bin_days = 30.0
        self.purged_edges_seconds: float | None = None
        self.now = now
        self._random = random.Random(seed)  # noqa: S311 - the same ids every time, and no secrets
        self._log = ChangeLog()
        self._changed = _Changed()
        self._bin: list[tuple[float, int, str]] = []  # a heap: when each was deleted, and by which change

    def create(
        self, kind: Kind, properties: Mapping[str, object], *, object_id: str | None = None, type_: str | None = None
    ) -> str:
        """Add an object and return its id.

        Args:
            kind: of the object.
            properties: of the object.
            object_id: its id; None draws one.
            type_: one of the OData types of the kind; None is the usual one.

        Raises:
            ValueError: the kind has no such property or type.
        """
        if type_ is not None and type_ not in {kind.type, *kind.derived}:
            raise ValueError(f"{kind.name} has no type {type_}")
        _check(kind, properties)
        with self.lock:
            self._settle()
            created = DirectoryObject(
                id=object_id or self._new_id(), kind=kind, type=type_ or kind.type, properties=dict(properties)
            )
            self._changed.added[kind.name].append(created.id)
            self._enter(created, State.ACTIVE)
        return created.id

    def update(self, object_id: str, properties: Mapping[str, object]) -> None:
        """Set properties; None clears one.

        Raises:
            KeyError: no active object has this id.
            ValueError: the kind has no such property.
        """
        with self.lock:
            self._settle()
            found = self._get(object_id, State.ACTIVE)
            _check(found.kind, properties)
            self._changed.objects[object_id] = replace(found, properties={**found.properties, **properties})
            self._append(found, properties=frozenset(properties))

    def delete(self, object_id: str) -> None:
        """Move an object to the recycle bin with its relationships, or purge it if its kind has none.

        Raises:
            KeyError: no active object has this id.
        """
        with self.lock:
            self._settle()
            found = self._get(object_id, State.ACTIVE)
            if not found.is_restorable:
                self._purge(found)
                return
            self._enter(found, State.DELETED)
            heapq.heappush(self._bin, (self.now(), self._log.position, object_id))

    def restore(self, object_id: str) -> None:
        """Restore an object from the recycle bin, unchanged.

        Raises:
            KeyError: no object with this id is in it.
        """
        with self.lock:
            self._settle()
            self._enter(self._get(object_id, State.DELETED), State.ACTIVE, restored=True)

    def purge(self, object_id: str) -> None:
        """Remove an object permanently, with its relationships at both ends.

        Raises:
            KeyError: no object has this id.
        """
        with self.lock:
            self._settle()
            self._purge(self._get(object_id, State.ACTIVE, State.DELETED))

    def link(self, relation: str, source: str, target: str) -> None:
        """Add an edge between two active objects; a new manager replaces the former one.

        Raises:
            KeyError: no active object has one of the ids.
            ValueError: the edge exists, or the kind has no such relationship.
        """
        with self.lock:
            self._settle()
            found = self._get(source, State.ACTIVE)
            self._get(target, State.ACTIVE)
            if relation not in found.kind.relations:
                raise ValueError(f"{found.kind.name} have no {relation}")
            held = self.edges(relation, source)
            if target in held:
                raise ValueError(f"the edge {relation} exists already")
            former = held if relation == MANAGER else ()
            self._changed.edges[relation, source] = (target,) if former else (*held, target)
            self._changed.holders.setdefault(target, set()).add((relation, source))
            self._append(found, edges=tuple((relation, each) for each in (*former, target)))

    def unlink(self, relation: str, source: str, target: str) -> None:
        """Remove an edge; its ends may be in the recycle bin.

        Raises:
            KeyError: there is no such edge.
        """
        with self.lock:
            self._settle()
            found = self._get(source, State.ACTIVE, State.DELETED)
            self._unlink(relation, source, target)
            self._append(found, edges=((relation, target),))

    def add_credential(self, object_id: str, credential: Mapping[str, object]) -> None:
        """Add a certificate or a secret, as `emulator.directory.credentials` makes one.

        Raises:
            KeyError: no active object has this id.
            ValueError: the kind has no credentials.
        """
        with self.lock:
            name = credentials.property_of(credential)
            self.update(object_id, {name: [*self._credentials(object_id, name), credential]})

    def remove_credential(self, object_id: str, key_id: str) -> None:
        """Remove a certificate or a secret.

        Raises:
            KeyError: no active object has this id, or it has no such credential.
        """
        with self.lock:
            for name in CREDENTIALS:
                held = self._credentials(object_id, name)
                left = [each for each in held if each["keyId"] != key_id]
                if len(left) < len(held):
                    self.update(object_id, {name: left})
                    return
        raise KeyError(key_id)

    def find(self, object_id: str) -> DirectoryObject | None:
        """Return an object in any state; None if there never was one with this id."""
        with self.lock:
            self._settle()
            return self._find(object_id)

    def type_of(self, object_id: str) -> str:
        """Return the OData type of an object in any state.

        Raises:
            KeyError: there never was an object with this id.
        """
        if changed := self._changed.objects.get(object_id):
            return changed.type
        found = self.population.find(object_id)
        if found is None:
            raise KeyError(object_id)
        return self.population.type(*found)

    def edges(self, relation: str, source: str) -> tuple[str, ...]:
        """Return the ids of those whom an object has in a relationship."""
        held = self._changed.edges.get((relation, source))
        if held is not None:
            return held
        found = self.population.find(source)
        return self.population.edges(relation, *found) if found else ()

    def ids(self, kind: Kind) -> Sequence[str]:
        """Return the ids of a kind in the order of their creation, those of purged objects included."""
        added = self._changed.added[kind.name]
        return Ids(self.population, kind, added, self.population.count(kind) + len(added))

    def active(self, kind: Kind) -> Iterator[DirectoryObject]:
        """List the active objects of a kind."""
        for object_id in self.ids(kind):
            found = self.find(object_id)
            if found and found.state is State.ACTIVE:
                yield found

    @property
    def log(self) -> ChangeLog:
        """Every change up to now."""
        with self.lock:
            self._settle()
        return self._log

    def _find(self, object_id: str) -> DirectoryObject | None:
        changed = self._changed.objects.get(object_id)
        if changed is not None:
            return changed
        found = self.population.find(object_id)
        if found is None:
            return None
        kind, _ = found
        return DirectoryObject(
            id=object_id, kind=kind, type=self.population.type(*found), properties=self.population.properties(*found)
        )

    def _get(self, object_id: str, *states: State) -> DirectoryObject:
        found = self._find(object_id)
        if found is None or found.state not in states:
            raise KeyError(object_id)
        return found

    def _credentials(self, object_id: str, name: str) -> list[Mapping[str, object]]:
        held = self._get(object_id, State.ACTIVE).properties.get(name)
        return held if isinstance(held, list) else []

    def _enter(self, found: DirectoryObject, state: State, *, restored: bool = False) -> None:
        self._append(found, state=state, restored=restored)
        self._changed.objects[found.id] = replace(found, state=state, since=self._log.position)

    def _append(
        self,
        found: DirectoryObject,
        *,
        properties: frozenset[str] = frozenset(),
        edges: tuple[Edge, ...] = (),
        state: State | None = None,
        restored: bool = False,
    ) -> None:
        self._log.append(Change(self.now(), found.id, found.kind, properties, edges, state, restored))

    def _purge(self, found: DirectoryObject) -> None:
        for relation in found.kind.relations:
            self._changed.edges[relation, found.id] = ()
        self._enter(replace(found, properties=MappingProxyType({})), State.PURGED)
        candidates = {*self.population.holders(found.id), *self._changed.holders.pop(found.id, ())}
        for relation, source in sorted(candidates):
            holder = self._find(source)
            if holder and found.id in self.edges(relation, source):
                self._unlink(relation, source, found.id)
                if self.purged_edges_seconds is not None:
                    due = self.now() + self.purged_edges_seconds
                    self._log.postpone(Change(due, source, holder.kind, edges=((relation, found.id),)))

    def _unlink(self, relation: str, source: str, target: str) -> None:
        held = self.edges(relation, source)
        if target not in held:
            raise KeyError(target)
        self._changed.edges[relation, source] = tuple(each for each in held if each != target)

    def _settle(self) -> None:
        """Do what the time has made due: purge what was long enough in the recycle bin, and log what is late."""
        now = self.now()
        while self._bin and self._bin[0][0] + self.recycle_bin_days * DAY <= now:
            _, since, object_id = heapq.heappop(self._bin)
            found = self._find(object_id)
            if found and found.since == since:
                self._purge(found)
        self._log.settle(now)

    def _new_id(self) -> str:
        digits = f"{self._random.getrandbits(128):032x}"
        return f"{digits[:8]}-{digits[8:12]}-4{digits[13:16]}-b{digits[17:20]}-{digits[20:]}"


def _check(kind: Kind, properties: Mapping[str, object]) -> None:
    if unknown := properties.keys() - kind.properties:
        raise ValueError(f"{kind.name} have no {', '.join(sorted(unknown))}")
