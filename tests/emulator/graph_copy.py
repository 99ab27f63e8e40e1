"""A copy of a tenant, made by the rows of delta queries: what a correct reader has in the end."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from emulator.directory.directory_object import State
from emulator.directory.kinds import Kind
from emulator.directory.truth import Truth

PREFIX = "#microsoft.graph."


@dataclass
class Copy:
    """Objects by id, their states and their edges, of the kinds that are read.

    Of what lies in the recycle bin only that is sure: a change just before the deletion is never told.
    """

    selections: Mapping[str, frozenset[str]]
    values: dict[str, dict[str, object]] = field(default_factory=dict)
    states: dict[str, State] = field(default_factory=dict)
    types: dict[str, str] = field(default_factory=dict)
    edges: set[tuple[str, str, str]] = field(default_factory=set)

    def take(self, kind: Kind, row: dict[str, Any]) -> None:
        """Take a row over: absent means untouched, null cleared, an annotation deleted or purged."""
        object_id = row["id"]
        if removed := row.get("@removed"):
            self.states[object_id] = State.PURGED if removed.get("reason") == "deleted" else State.DELETED
            return
        self.states[object_id] = State.ACTIVE
        self.types[object_id] = row.get("@odata.type", PREFIX + kind.type).removeprefix(PREFIX)
        names = self.selections[kind.name] - kind.relations
        self.values.setdefault(object_id, {}).update({name: row[name] for name in names & row.keys()})
        for relation in kind.relations:
            for entry in row.get(f"{relation}@delta", []):
                edge = (relation, object_id, entry["id"])
                if "@removed" in entry:
                    self.edges.discard(edge)
                else:
                    self.edges.add(edge)

    def objects(self) -> Mapping[str, tuple[str, dict[str, object]]]:
        """Return the type and the values of every active object."""
        return {each: (self.types[each], _compact(self.values[each])) for each in self._active()}

    def live_edges(self) -> set[tuple[str, str, str]]:
        """Return the edges of active objects to objects that are not known to be gone."""
        gone = {object_id for object_id, state in self.states.items() if state is State.PURGED}
        return {edge for edge in self.edges if edge[1] in self._active() and edge[2] not in gone}

    def deleted(self) -> set[str]:
        """Return what lies in the recycle bin."""
        return {object_id for object_id, state in self.states.items() if state is State.DELETED}

    def _active(self) -> set[str]:
        return {object_id for object_id, state in self.states.items() if state is State.ACTIVE}


def expected(true: Truth, selections: Mapping[str, frozenset[str]]) -> Copy:
    """Return the copy that has all of a tenant."""
    copy = Copy(selections, edges=set(true.edges))
    for object_id, found in true.objects.items():
        if found.kind.name in selections:
            copy.states[object_id] = found.state
            copy.types[object_id] = found.type
            names = selections[found.kind.name]
            copy.values[object_id] = {name: found.properties.get(name) for name in names}
    return copy


def _compact(values: dict[str, object]) -> dict[str, object]:
    """Leave out what is not set: a copy has the same NULL for cleared and for never set."""
    return {name: value for name, value in values.items() if value is not None}
