"""The made-up objects that a tenant begins with: a function of its size and a seed, computed when they are read.

A tenant of a million users costs nothing until a page shows them. So an id carries its index, and every relationship
is arithmetic that works in both directions.
"""

import datetime as dt
import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Self

from emulator.directory import made_up
from emulator.directory.credentials import FOR_EVER, key_credential, password_credential
from emulator.directory.kinds import (
    APPLICATIONS,
    DEVICES,
    GROUPS,
    KEY_CREDENTIALS,
    MANAGER,
    MEMBERS,
    OWNERS,
    PASSWORD_CREDENTIALS,
    SERVICE_PRINCIPALS,
    USERS,
    Kind,
)

ORDER = (USERS, GROUPS, SERVICE_PRINCIPALS, APPLICATIONS, DEVICES)
CODES = {kind.name: code for code, kind in enumerate(ORDER)}  # the number of a kind in an id
REPORTS = 8  # how many people a manager has
BLOCK = 4  # groups that are nested in each other
PRINCIPAL_EVERY, DEVICE_EVERY, AGENT_EVERY = 5, 7, 10
FACTOR = 0x5DEECE66D  # odd, so that multiplication by it can be undone
RANGE = 1 << 48
INDEX_BITS = 40


@dataclass(frozen=True, kw_only=True)
class Size:
    """How many objects a tenant begins with.

    Args:
        members: how many users a group has.
        largest: how many users the first group has.
    """

    users: int = 0
    groups: int = 0
    members: int = 0
    largest: int = 0
    service_principals: int = 0
    applications: int = 0
    devices: int = 0

    @classmethod
    def of(cls, users: int) -> Self:
        """Return the usual proportions for so many users."""
        return cls(
            users=users,
            groups=max(8, users // 10),
            members=min(users, 10),
            largest=users // 2,
            service_principals=max(4, users // 100),
            applications=max(4, users // 100),
            devices=max(4, users // 20),
        )


class Population:
    """The objects of a tenant as they were at `epoch` (epoch seconds, from which the dates of credentials count).

    Raises:
        ValueError: a group would have more users than there are.
    """

    def __init__(self, size: Size, *, seed: int, epoch: float) -> None:
        if max(size.members, size.largest) > size.users:
            raise ValueError("a group has at most all users of its tenant")
        self._size = size
        self._seed = seed
        self._start = dt.datetime.fromtimestamp(epoch // 86400 * 86400, dt.UTC)
        self._counts = {
            USERS.name: size.users,
            GROUPS.name: size.groups,
            SERVICE_PRINCIPALS.name: size.service_principals,
            APPLICATIONS.name: size.applications,
            DEVICES.name: size.devices,
        }

    def count(self, kind: Kind) -> int:
        """Return how many objects there are of a kind."""
        return self._counts[kind.name]

    def id(self, kind: Kind, index: int) -> str:
        """Return the object ID at an index."""
        number = (CODES[kind.name] << INDEX_BITS | index) * FACTOR % RANGE
        return self._written(number ^ number >> 24)

    def find(self, object_id: str) -> tuple[Kind, int] | None:
        """Return the kind and the index of an object ID."""
        try:
            mixed = int(object_id[24:], 16)
        except ValueError:
            return None
        number = (mixed ^ mixed >> 24) * pow(FACTOR, -1, RANGE) % RANGE
        code, index = number >> INDEX_BITS, number & ((1 << INDEX_BITS) - 1)
        if code >= len(ORDER) or index >= self.count(ORDER[code]) or self._written(mixed) != object_id:
            return None
        return ORDER[code], index

    def type(self, kind: Kind, index: int) -> str:
        """Return the OData type of an object; some are agents."""
        is_agent = index % AGENT_EVERY == AGENT_EVERY - 1
        return min(kind.derived) if kind.derived and is_agent else kind.type

    def properties(self, kind: Kind, index: int) -> Mapping[str, object]:
        """Return the properties of an object; what was never set is absent."""
        digits = self._digits(f"{kind.name}/{index}")
        if kind is USERS:
            return made_up.user(index, digits)
        if kind is GROUPS:
            return made_up.group(index, digits, special=_is_special(index))
        if kind is DEVICES:
            return made_up.device(index, device_id=self._written(digits % RANGE))
        app_id = self._written(self._digits(f"app/{index}") % RANGE)
        credentials = self._credentials(kind, index)
        if kind is APPLICATIONS:
            return made_up.application(index, app_id=app_id) | credentials
        return made_up.service_principal(index, app_id=app_id) | credentials

    def edges(self, relation: str, kind: Kind, index: int) -> tuple[str, ...]:
        """Return the ids of those whom an object has in a relationship."""
        users = self._size.users
        if relation == MANAGER and kind is USERS and index:
            return (self.id(USERS, (index - 1) // REPORTS),)
        if relation == OWNERS and kind is GROUPS and users:
            return (self.id(USERS, index % users),)
        if relation == MEMBERS and kind is GROUPS:
            return tuple(self._members(index))
        return ()

    def holders(self, object_id: str) -> Iterator[tuple[str, str]]:
        """List every relationship, with the id of its object, that an object stands in: the inverse of `edges`."""
        found = self.find(object_id)
        if found is None:
            return
        kind, index = found
        groups = {
            USERS.name: self._groups_of_user,
            GROUPS.name: self._groups_of_group,
            SERVICE_PRINCIPALS.name: self._groups_of_principal,
            DEVICES.name: self._groups_of_device,
        }
        for group in groups[kind.name](index) if kind.name in groups else ():
            yield MEMBERS, self.id(GROUPS, group)
        if kind is USERS:
            for group in range(index, self._size.groups, self._size.users):
                yield OWNERS, self.id(GROUPS, group)
            for report in range(index * REPORTS + 1, min((index + 1) * REPORTS + 1, self._size.users)):
                yield MANAGER, self.id(USERS, report)

    def _members(self, group: int) -> Iterator[str]:
        size = self._size
        if group == 0:
            yield from (self.id(USERS, user) for user in range(size.largest))
        else:
            first = group * size.members
            yield from (self.id(USERS, number % size.users) for number in range(first, first + size.members))
        for distance in () if _is_special(group) else ((), (1,), (2,), (1, 2))[group % BLOCK]:
            yield self.id(GROUPS, group - distance)
        if size.service_principals and group % PRINCIPAL_EVERY == 0:
            yield self.id(SERVICE_PRINCIPALS, group // PRINCIPAL_EVERY % size.service_principals)
        if size.devices and group % DEVICE_EVERY == 0:
            yield self.id(DEVICES, group // DEVICE_EVERY % size.devices)

    def _groups_of_user(self, user: int) -> Iterator[int]:
        size = self._size
        if user < size.largest and size.groups:
            yield 0
        if size.members:
            first = user if user >= size.members else user + size.users  # the first group has others
            yield from (number // size.members for number in range(first, size.groups * size.members, size.users))

    def _groups_of_group(self, group: int) -> Iterator[int]:
        for distance in () if _is_special(group) else ((1, 2), (2,), (1,), ())[group % BLOCK]:
            if group + distance < self._size.groups:
                yield group + distance

    def _groups_of_principal(self, principal: int) -> Iterator[int]:
        step = self._size.service_principals * PRINCIPAL_EVERY
        yield from range(principal * PRINCIPAL_EVERY, self._size.groups, step)

    def _groups_of_device(self, device: int) -> Iterator[int]:
        yield from range(device * DEVICE_EVERY, self._size.groups, self._size.devices * DEVICE_EVERY)

    def _credentials(self, kind: Kind, index: int) -> dict[str, object]:
        """Return certificates and secrets: some ended, some end soon, some never end, some objects have none."""
        keys, passwords = [], []
        for number in range(index % 3):
            digits = self._digits(f"{kind.name}/{index}/key/{number}")
            end = FOR_EVER if digits % 11 == 0 else self._day(digits % 700 - 30)
            keys.append(
                key_credential(
                    self._written(digits % RANGE),
                    name=f"CN=app{index}-{number}",
                    thumbprint=digits.to_bytes(16).hex() + "00000000",
                    start=self._day(-60),
                    end=end,
                )
            )
        if index % 2:
            digits = self._digits(f"{kind.name}/{index}/password")
            end = self._day(digits % 400 - 10)
            passwords.append(
                password_credential(
                    self._written(digits % RANGE), name=f"deploy {index}", start=self._day(-60), end=end
                )
            )
        return {KEY_CREDENTIALS: keys, PASSWORD_CREDENTIALS: passwords}

    def _day(self, days: int) -> str:
        return f"{self._start + dt.timedelta(days=days):%Y-%m-%dT%H:%M:%SZ}"

    def _digits(self, name: str) -> int:
        return int.from_bytes(hashlib.blake2b(f"{self._seed}/{name}".encode(), digest_size=16).digest())

    def _written(self, number: int) -> str:
        text = hashlib.blake2b(b"%d/%d" % (self._seed, number), digest_size=9).hexdigest()
        return f"{text[:8]}-{text[8:12]}-4{text[12:15]}-a{text[15:18]}-{number:012x}"


def _is_special(group: int) -> bool:
    """Return whether a group is of a block of groups that are not nested: Microsoft 365, distribution and others."""
    return group // BLOCK % BLOCK == 1
