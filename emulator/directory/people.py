"""The people of a tenant, with the manager of each among the properties.

A test changes them between two syncs and compares `tenant()` with the result of the sync. A property that is None was
cleared; a property that is absent was never set.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from emulator.directory.directory_object import DirectoryObject, State
from emulator.directory.kinds import MANAGER, USERS
from emulator.directory.object_store import ObjectStore


@dataclass(frozen=True, slots=True)
class Person:
    """One user; `removed` while in the recycle bin. `properties` may have a manager's id under MANAGER."""

    id: str
    properties: Mapping[str, object]
    removed: bool = False


class People:
    """The users of one tenant."""

    def __init__(self, objects: ObjectStore) -> None:
        self._objects = objects

    def add(self, **properties: object) -> str:
        """Add a person and return the id.

        Raises:
            KeyError: no active object has the id of the manager.
            ValueError: there is no such property.
        """
        manager = properties.pop(MANAGER, None)
        with self._objects.lock:
            user_id = self._objects.create(USERS, properties)
            if manager is not None:
                self._objects.link(MANAGER, user_id, str(manager))
        return user_id

    def update(self, user_id: str, **properties: object) -> None:
        """Set properties of a person; None clears one.

        Raises:
            KeyError: no person has this id, or the person is in the recycle bin.
            ValueError: there is no such property.
        """
        values = {name: value for name, value in properties.items() if name != MANAGER}
        with self._objects.lock:
            if values or MANAGER not in properties:
                self._objects.update(user_id, values)
            if MANAGER in properties:
                self._set_manager(user_id, properties[MANAGER])

    def remove(self, user_id: str) -> None:
        """Move a person to the recycle bin; their reports still have them as manager.

        Raises:
            KeyError: no person has this id, or the person is there already.
        """
        self._objects.delete(user_id)

    def restore(self, user_id: str) -> None:
        """Restore a person from the recycle bin, unchanged.

        Raises:
            KeyError: no person with this id is in it.
        """
        self._objects.restore(user_id)

    def purge(self, user_id: str) -> None:
        """Remove a person permanently; their reports then have no manager.

        Raises:
            KeyError: no person has this id.
        """
        self._objects.purge(user_id)

    def tenant(self) -> dict[str, Person]:
        """Return every person by id, including those in the recycle bin."""
        with self._objects.lock:
            found = (self._objects.find(user_id) for user_id in self._objects.ids(USERS))
            return {each.id: self._person(each) for each in found if each and each.state is not State.PURGED}

    def _person(self, found: DirectoryObject) -> Person:
        managers = self._objects.edges(MANAGER, found.id)
        properties = {**found.properties, MANAGER: managers[0]} if managers else found.properties
        return Person(found.id, properties, removed=found.state is State.DELETED)

    def _set_manager(self, user_id: str, manager: object) -> None:
        held = self._objects.edges(MANAGER, user_id)
        if manager is None and held:
            self._objects.unlink(MANAGER, user_id, held[0])
        elif manager is not None and str(manager) not in held:
            self._objects.link(MANAGER, user_id, str(manager))
