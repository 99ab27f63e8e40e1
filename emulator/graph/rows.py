"""The rows of a page of delta query.

Source: https://learn.microsoft.com/graph/delta-query-users, https://learn.microsoft.com/graph/delta-query-groups
"""

from collections.abc import Iterable
from dataclasses import dataclass

from emulator.directory.directory_object import DirectoryObject, Edge, State
from emulator.directory.kinds import GROUPS, MEMBERS
from emulator.graph.rounds import EVERYTHING, Round
from emulator.graph.switches import Switches

type Row = dict[str, object]


@dataclass(frozen=True)
class Link:
    """One entry of `members@delta` and its like; `removed` marks an edge that is no more."""

    edge: Edge
    removed: bool


@dataclass(frozen=True)
class Reading:
    """How a caller reads a round.

    Args:
        minimal: whether rows have only what changed (`Prefer: return=minimal`).
        hidden_members: whether the caller may read the members of groups that hide them.
    """

    minimal: bool = False
    hidden_members: bool = False


def row(told: Round, found: DirectoryObject, links: Iterable[Link], *, reading: Reading, switches: Switches) -> Row:
    """Return one object as it is now, with some of its links."""
    if found.state is not State.ACTIVE:
        reason = switches.removed_reason if found.state is State.DELETED else switches.purged_reason
        return {"id": found.id, "@removed": reason}
    shown: Row = {"@odata.type": f"#microsoft.graph.{found.type}"} if found.type != found.kind.type else {}
    shown["id"] = found.id
    names = told.selection.names - switches.withheld - found.kind.relations
    is_first = told.start is None
    if is_first and switches.nulls_in_first_round:
        shown |= {name: found.properties.get(name) for name in sorted(names)}
    else:
        changed = told.changed.get(found.id, EVERYTHING).properties
        if reading.minimal and changed is not None:
            names &= changed
        known = {name: found.properties[name] for name in sorted(names & found.properties.keys())}
        shown |= {name: value for name, value in known.items() if value is not None or not is_first}
    for link in links:
        relation, target = link.edge
        entries = shown.setdefault(f"{relation}@delta", [])
        assert isinstance(entries, list)
        entries.append(_reference(told, target) | ({"@removed": {"reason": "deleted"}} if link.removed else {}))
    return shown


def links(told: Round, found: DirectoryObject, *, reading: Reading, switches: Switches) -> tuple[Link, ...]:
    """Return every link that a round has to tell about an active object: first what is no more."""
    if found.state is not State.ACTIVE:
        return ()
    relations = (told.selection.names & found.kind.relations) - switches.withheld
    if found.kind is GROUPS and found.properties.get("visibility") == "HiddenMembership" and not reading.hidden_members:
        relations -= {MEMBERS}
    changed = told.changed.get(found.id, EVERYTHING)
    present = {relation: told.objects.edges(relation, found.id) for relation in sorted(relations)}
    held = {relation: frozenset(targets) for relation, targets in present.items()}
    touched = [edge for edge in changed.edges if edge[0] in relations]
    removed = [Link(edge, removed=True) for edge in touched if edge[1] not in held[edge[0]]]
    if changed.properties is None:
        return (*removed, *(Link((name, each), removed=False) for name, targets in present.items() for each in targets))
    return (*removed, *(Link(edge, removed=False) for edge in touched if edge[1] in held[edge[0]]))


def _reference(told: Round, target: str) -> Row:
    return {"@odata.type": f"#microsoft.graph.{told.objects.type_of(target)}", "id": target}
