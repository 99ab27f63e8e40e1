"""A directory object, as an immutable value, and the ids of all objects of a kind."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import overload

from emulator.directory.kinds import DEVICES, GROUPS, Kind
from emulator.directory.population import Population

type Edge = tuple[str, str]
"""A relationship and the id of the object at its other end."""


class State(StrEnum):
    """Where an object is in its life."""

    ACTIVE = "active"
    DELETED = "deleted"  # in the recycle bin
    PURGED = "purged"


@dataclass(frozen=True, slots=True, kw_only=True)
class DirectoryObject:
    """One object. A property that is None was cleared; a property that is absent was never set.

    Args:
        type: the OData type, without the namespace.
        since: the number of the change that gave the object its state.
    """

    id: str
    kind: Kind
    type: str
    properties: Mapping[str, object]
    state: State = State.ACTIVE
    since: int = 0

    @property
    def is_restorable(self) -> bool:
        """Whether the object has a place in the recycle bin.

        Cloud security groups have one since 2026. Distribution, mail-enabled and synchronised groups have none.
        """
        if self.kind is DEVICES:
            return False
        if self.kind is not GROUPS:
            return True
        if self.properties.get("onPremisesSyncEnabled") is True:
            return False
        types = self.properties.get("groupTypes")
        return (isinstance(types, list) and "Unified" in types) or self.properties.get("mailEnabled") is not True


class Ids(Sequence[str]):
    """The ids of a kind up to a length: those of the population, and those that were added since.

    An object that is created later is beyond the length.
    """

    def __init__(self, population: Population, kind: Kind, added: Sequence[str], length: int) -> None:
        self._population = population
        self._kind = kind
        self._added = added
        self._length = length

    def __len__(self) -> int:
        return self._length

    @overload
    def __getitem__(self, index: int) -> str: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[str]: ...
    def __getitem__(self, index: int | slice) -> str | Sequence[str]:
        if isinstance(index, slice):
            return [self[each] for each in range(*index.indices(self._length))]
        if not -self._length <= index < self._length:
            raise IndexError(index)
        at, before = index % self._length, self._population.count(self._kind)
        return self._population.id(self._kind, at) if at < before else self._added[at - before]
