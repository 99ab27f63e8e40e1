"""The rounds of delta query: which objects one has, in which order, and what became of each.

Source: https://learn.microsoft.com/graph/delta-query-overview
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import gcd

from emulator.directory.change_log import Change
from emulator.directory.directory_object import Edge, State
from emulator.directory.kinds import Kind
from emulator.directory.object_store import ObjectStore
from emulator.graph.query import Selection
from emulator.graph.switches import Switches


@dataclass(frozen=True)
class Changed:
    """The part of one object that a round reports; `properties` None: everything."""

    properties: frozenset[str] | None = None
    edges: tuple[Edge, ...] = ()  # that were added or removed


EVERYTHING = Changed()


@dataclass(frozen=True, kw_only=True)
class Round:
    """The objects of one round in their order.

    Args:
        objects: of the tenant.
        kind: of the objects.
        selection: what the rows have.
        ids: of the objects.
        changed: by id, what is told; all of an object that is not in it.
        start: the change after which the round begins; None: it is a first round.
        end: the change after which the next round begins.
    """

    objects: ObjectStore
    kind: Kind
    selection: Selection
    ids: Sequence[str]
    changed: Mapping[str, Changed]
    start: int | None
    end: int


def first_round(objects: ObjectStore, kind: Kind, selection: Selection, *, switches: Switches, now: float) -> Round:
    """Begin with everything that is there."""
    former: Mapping[str, Changed] = {}
    if switches.removed_in_first_round:
        touched = _changed(objects.log.between(0, objects.log.position), kind, selection, restores_told=True)
        former = {object_id: Changed(None, changed.edges) for object_id, changed in touched.items()}
    return Round(
        objects=objects,
        kind=kind,
        selection=selection,
        ids=_arranged(objects.ids(kind), switches),
        changed=former,
        start=None,
        end=_end(objects, switches, now),
    )


def later_round(
    objects: ObjectStore, kind: Kind, selection: Selection, *, start: int, switches: Switches, now: float
) -> Round:
    """Begin with everything that changed after a position in what is selected."""
    end = max(start, _end(objects, switches, now))
    told = switches.restores_told or not selection.is_explicit
    changed = _changed(objects.log.between(start, end), kind, selection, restores_told=told)
    if any(each.restored and each.kind is kind for each in objects.log.between(start, end)):
        changed = _with_former_edges(changed, objects.log.between(0, end), kind, selection)
    return Round(
        objects=objects,
        kind=kind,
        selection=selection,
        ids=_arranged(tuple(changed), switches),
        changed=changed,
        start=start,
        end=end,
    )


class _Order(Sequence[str]):
    """Ids in another order, some of them twice, without a copy of them."""

    def __init__(self, ids: Sequence[str], *, stride: int, repeats: bool) -> None:
        self._ids = ids
        self._stride = stride
        self._length = len(ids) + (len(ids) + 1) // 2 * repeats

    def __len__(self) -> int:
        return self._length

    def __getitem__(self, index: int) -> str:  # type: ignore[override]  # a round is not sliced
        if not 0 <= index < self._length:
            raise IndexError(index)
        at = index * self._stride % self._length
        whole = len(self._ids)
        return self._ids[at if at < whole else (at - whole) * 2]


def _end(objects: ObjectStore, switches: Switches, now: float) -> int:
    log = objects.log
    return log.position_at(now - switches.lag_seconds) if switches.lag_seconds else log.position


def _arranged(ids: Sequence[str], switches: Switches) -> Sequence[str]:
    if not ids or not (switches.shuffled or switches.repeats):
        return ids
    stride = 1
    if switches.shuffled:
        whole = len(_Order(ids, stride=1, repeats=switches.repeats))
        stride = next(each for each in range(whole * 5 // 8 + 1, 2 * whole + 2) if gcd(each, whole) == 1)
    return _Order(ids, stride=stride, repeats=switches.repeats)


def _changed(
    changes: Iterable[Change], kind: Kind, selection: Selection, *, restores_told: bool
) -> Mapping[str, Changed]:
    found: dict[str, Changed] = {}
    for change in changes:
        if change.kind is not kind or (change.restored and not restores_told):
            continue
        edges = tuple(edge for edge in change.edges if edge[0] in selection.names)
        properties = change.properties & selection.names if change.state is None else None
        if properties is not None and not properties and not edges:
            continue
        before = found.get(change.id, Changed(frozenset()))
        if properties is not None:
            properties = None if before.properties is None else before.properties | properties
        found[change.id] = Changed(properties, tuple(dict.fromkeys((*before.edges, *edges))))
    return found


def _with_former_edges(
    changed: Mapping[str, Changed], log: Iterable[Change], kind: Kind, selection: Selection
) -> Mapping[str, Changed]:
    """Add what objects ever had to those that are told whole.

    An edge may have ended in the round that only said that its object was removed.
    """
    ever = _changed(log, kind, selection, restores_told=True)
    return {
        object_id: Changed(None, ever[object_id].edges) if each.properties is None else each
        for object_id, each in changed.items()
    }


def is_told(told: Round, object_id: str, switches: Switches) -> bool:
    """Return whether a round mentions an object as it is now."""
    found = told.objects.find(object_id)
    if found is None or (found.state is State.PURGED and not switches.purges_told):
        return False
    # In a first round, what was removed before it began is usually left out.
    is_new = told.start is not None or found.since > told.end
    return found.state is State.ACTIVE or is_new or switches.removed_in_first_round
