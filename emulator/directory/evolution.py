"""A tenant that changes by itself: one random change after another, the same ones for the same seed.

It changes the made-up objects and its own alone, never an application that is registered at Entra.
"""

import random
from collections.abc import Callable
from functools import partial

from emulator.directory.credentials import FOR_EVER, key_credential, moment, password_credential
from emulator.directory.directory_object import DirectoryObject, State
from emulator.directory.kinds import (
    APPLICATIONS,
    CREDENTIALS,
    DEVICES,
    GROUPS,
    KINDS,
    MANAGER,
    MEMBERS,
    OWNERS,
    SERVICE_PRINCIPALS,
    USERS,
    Kind,
)
from emulator.directory.made_up import DEPARTMENTS, DISTRIBUTION, MICROSOFT_365, SECURITY, SYNCED, TITLES
from emulator.directory.object_store import ObjectStore

DAY = 86400
TRIES = 50
TEXTS = {
    USERS.name: ("displayName", "department", "jobTitle", "city", "employeeId", "mail", "officeLocation"),
    GROUPS.name: ("displayName", "description", "mailNickname"),
    SERVICE_PRINCIPALS.name: ("displayName", "description"),
    APPLICATIONS.name: ("displayName", "description"),
}
STREAMS = (USERS, GROUPS, SERVICE_PRINCIPALS, APPLICATIONS)
type Step = Callable[[], None]
HARD_VALUES = ("half \ud83d of a pair", "nul \0 inside", 7, True, ["a list"], {"an": "object"}, "x" * 5_000)


class Evolution:
    """Changes one tenant.

    Args:
        objects: of the tenant.
        seed: of the changes.
        hard_values: whether texts may be what no client expects: lone surrogates, NUL, other types.
    """

    def __init__(self, objects: ObjectStore, *, seed: int = 1, hard_values: bool = False) -> None:
        self._objects = objects
        self._random = random.Random(seed)  # noqa: S311 - the same changes every time, and no secrets
        self._hard_values = hard_values
        self._made: dict[str, list[str]] = {name: [] for name in KINDS}
        self._deleted: list[str] = []
        self._steps: dict[Step, int] = {
            self._change: 20,
            self._clear: 8,
            self._delete: 12,
            self._restore: 5,
            self._purge: 3,
            self._set_manager: 8,
            partial(self._link, MEMBERS): 20,
            partial(self._unlink, MEMBERS): 10,
            partial(self._link, OWNERS): 4,
            partial(self._unlink, OWNERS): 3,
            self._close_a_cycle: 4,
            self._close_a_diamond: 4,
            self._add_credential: 8,
            self._remove_credential: 5,
            **{partial(self._create, kind): 3 for kind in (*STREAMS, DEVICES)},
        }

    def run(self, steps: int) -> None:
        """Make so many changes; a step for which the tenant has no object is another one."""
        for _ in range(steps):
            before = self._objects.log.position
            for _ in range(TRIES):
                (step,) = self._random.choices(tuple(self._steps), tuple(self._steps.values()))
                step()
                if self._objects.log.position > before:
                    break

    def _create(self, kind: Kind) -> None:
        number = self._objects.log.position
        properties: dict[str, object] = {"displayName": f"New {kind.type} {number}"}
        type_ = None
        if kind is GROUPS:
            properties |= self._random.choice((SECURITY, SECURITY, MICROSOFT_365, DISTRIBUTION, SYNCED))
        elif kind is USERS:
            properties |= {"accountEnabled": True, "userPrincipalName": f"new{number}@contoso.example"}
        elif kind.derived and self._random.random() < 1 / 4:
            type_ = self._random.choice(sorted(kind.derived))
        self._made[kind.name].append(self._objects.create(kind, properties, type_=type_))

    def _change(self) -> None:
        if found := self._pick(self._random.choice(STREAMS)):
            name = self._random.choice(TEXTS[found.kind.name])
            self._objects.update(found.id, {name: self._text()})

    def _clear(self) -> None:
        if found := self._pick(self._random.choice(STREAMS)):
            name = self._random.choice(TEXTS[found.kind.name])
            if found.properties.get(name) is not None:
                self._objects.update(found.id, {name: None})

    def _delete(self) -> None:
        # No device: no delta query mentions one, so a copy could not learn that its memberships ended.
        if found := self._pick(self._random.choice(STREAMS)):
            self._objects.delete(found.id)
            self._deleted.append(found.id)

    def _restore(self) -> None:
        if object_id := self._pick_deleted():
            self._objects.restore(object_id)

    def _purge(self) -> None:
        if object_id := self._pick_deleted():
            self._objects.purge(object_id)

    def _set_manager(self) -> None:
        person, manager = self._pick(USERS), self._pick(USERS)
        if person is None or manager is None:
            return
        held = self._objects.edges(MANAGER, person.id)
        if held and self._random.random() < 1 / 4:
            self._objects.unlink(MANAGER, person.id, held[0])
        else:
            self._join(MANAGER, person, manager)

    def _link(self, relation: str) -> None:
        kinds = (USERS, USERS, USERS, GROUPS, SERVICE_PRINCIPALS, DEVICES) if relation == MEMBERS else (USERS,)
        self._join(relation, self._pick(GROUPS), self._pick(self._random.choice(kinds)))

    def _unlink(self, relation: str) -> None:
        group = self._pick(GROUPS)
        if group and (held := self._objects.edges(relation, group.id)):
            self._objects.unlink(relation, group.id, self._random.choice(held))

    def _close_a_cycle(self) -> None:
        group = self._pick(GROUPS)
        inner = [found for found in self._members(group) if found.kind is GROUPS and found.state is State.ACTIVE]
        if inner:
            self._join(MEMBERS, self._random.choice(inner), group)

    def _close_a_diamond(self) -> None:
        top, left, right, bottom = (self._pick(GROUPS) for _ in range(4))
        for outer, inner in ((top, left), (top, right), (left, bottom), (right, bottom)):
            self._join(MEMBERS, outer, inner)

    def _add_credential(self) -> None:
        found = self._pick(self._random.choice((APPLICATIONS, SERVICE_PRINCIPALS)))
        if found is None:
            return
        digits = f"{self._random.getrandbits(160):040x}"
        key_id = f"{digits[:8]}-{digits[8:12]}-4{digits[13:16]}-a{digits[17:20]}-{digits[20:32]}"
        start = self._objects.now()
        end = FOR_EVER if self._random.random() < 1 / 10 else moment(start + self._random.randrange(-5, 400) * DAY)
        name = f"credential {key_id[:4]}"
        if self._random.random() < 1 / 2:
            added = key_credential(key_id, name=name, thumbprint=digits, start=moment(start), end=end)
        else:
            added = password_credential(key_id, name=name, start=moment(start), end=end)
        self._objects.add_credential(found.id, added)

    def _remove_credential(self) -> None:
        found = self._pick(self._random.choice((APPLICATIONS, SERVICE_PRINCIPALS)))
        lists = [found.properties.get(name) for name in CREDENTIALS] if found else []
        held = [each for some in lists if isinstance(some, list) for each in some]
        if found and held:
            self._objects.remove_credential(found.id, self._random.choice(held)["keyId"])

    def _join(self, relation: str, source: DirectoryObject | None, target: DirectoryObject | None) -> None:
        """Add an edge unless an end is missing, both are one, or there is such an edge."""
        if source and target and source.id != target.id and target.id not in self._objects.edges(relation, source.id):
            self._objects.link(relation, source.id, target.id)

    def _members(self, group: DirectoryObject | None) -> list[DirectoryObject]:
        found = (self._objects.find(each) for each in self._objects.edges(MEMBERS, group.id)) if group else ()
        return [each for each in found if each]

    def _pick(self, kind: Kind) -> DirectoryObject | None:
        """Return a random active object, or None where most are not active."""
        made, whole = self._made[kind.name], self._objects.population.count(kind)
        for _ in range(TRIES if whole + len(made) else 0):
            index = self._random.randrange(whole + len(made))
            object_id = self._objects.population.id(kind, index) if index < whole else made[index - whole]
            found = self._objects.find(object_id)
            if found and found.state is State.ACTIVE:
                return found
        return None

    def _pick_deleted(self) -> str | None:
        """Take an object that is in the recycle bin off the list of those that were deleted."""
        while self._deleted:
            object_id = self._deleted.pop(self._random.randrange(len(self._deleted)))
            found = self._objects.find(object_id)
            if found and found.state is State.DELETED:
                return object_id
        return None

    def _text(self) -> object:
        if self._hard_values and self._random.random() < 1 / 5:
            return self._random.choice(HARD_VALUES)
        return f"{self._random.choice((*DEPARTMENTS, *TITLES))} {self._random.randrange(1_000)}"
