"""The people of a directory: names, departments and managers, the same for the same size and seed.

A test changes them between two syncs and compares `tenant()` with the result of the sync. A property that is None was
cleared; a property that is absent was never set.
"""

import random
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

DOMAIN = "contoso.onmicrosoft.com"
MANAGER = "manager"  # a relationship, not a property: its value here is the id of another person
REPORTS = 8  # how many people a manager has
PROPERTIES = frozenset(
    {
        "accountEnabled", "businessPhones", "city", "companyName", "country", "createdDateTime", "department",
        "displayName", "employeeId", "givenName", "jobTitle", "mail", "mobilePhone", "officeLocation",
        "preferredLanguage", "surname", "usageLocation", "userPrincipalName", "userType",
    }
)  # fmt: skip

GIVEN_NAMES = (
    "Ada", "Amir", "Anna", "Boris", "Carla", "Chidi", "Dana", "Elif", "Emil", "Farah", "Gita", "Hugo", "Ines", "Ivan",
    "Jana", "Jun", "Kofi", "Lea", "Luis", "Mai", "Nils", "Nora", "Omar", "Pia", "Ravi", "Sara", "Timo", "Uma", "Vera",
    "Wei", "Yara", "Zoé",
)  # fmt: skip
SURNAMES = (
    "Abe", "Adeyemi", "Alvarez", "Baker", "Bauer", "Costa", "Diaz", "Dubois", "Eriksen", "Fischer", "Garcia", "Haddad",
    "Horvat", "Ito", "Jansen", "Kaya", "Khan", "Kim", "Kowalski", "Lee", "Lopez", "Meyer", "Moreau", "Müller", "Nagy",
    "Ncube", "O'Brien", "Okafor", "Olsen", "Patel", "Petrov", "Rossi", "Sato", "Schmidt", "Silva", "Singh", "Smith",
    "Tanaka", "Virtanen", "Weber", "Yilmaz",
)  # fmt: skip
DEPARTMENTS = ("Engineering", "Finance", "Legal", "Marketing", "Operations", "People", "Sales", "Support")
TITLES = ("Analyst", "Assistant", "Consultant", "Engineer", "Lead", "Specialist")
OFFICES = ("Berlin/2", "Lagos/1", "Lisbon/4", "Osaka/7", "Pune/3")


@dataclass(frozen=True, slots=True)
class Person:
    """One user; `removed` while in the recycle bin. `properties` may have a manager's id under MANAGER."""

    id: str
    properties: Mapping[str, object]
    removed: bool = False


@dataclass(frozen=True, slots=True)
class Change:
    """One entry of the log; `properties` is None when the person was added, removed or restored."""

    id: str
    properties: frozenset[str] | None = None
    former_manager: str | None = None


class People:
    """The users of a `Directory`, which shares its lock, and the log of their changes since its creation.

    Every value is immutable and replaced whole.
    """

    def __init__(self, size: int, *, lock: threading.Lock, seed: int = 1) -> None:
        self._random = random.Random(seed)  # noqa: S311 - the same people every time, and no secrets
        self._lock = lock
        self._changes: list[Change] = []
        self._people: dict[str, Person] = {}
        for person in self._made_up(size):
            self._people[person.id] = person

    def add(self, **properties: object) -> str:
        """Add a person and return the id.

        Raises:
            ValueError: there is no such property.
        """
        _check(properties)
        with self._lock:
            person = Person(self._new_id(), properties)
            self._put(person, Change(person.id))
        return person.id

    def update(self, user_id: str, **properties: object) -> None:
        """Set properties of a person; None clears one.

        Raises:
            KeyError: no person has this id, or the person is in the recycle bin.
            ValueError: there is no such property.
        """
        _check(properties)
        with self._lock:
            person = self._find(user_id, removed=False)
            former = person.properties.get(MANAGER) if MANAGER in properties else None
            self._put(
                replace(person, properties={**person.properties, **properties}),
                Change(user_id, frozenset(properties), former if isinstance(former, str) else None),
            )

    def remove(self, user_id: str) -> None:
        """Move a person to the recycle bin; their reports still have them as manager.

        Raises:
            KeyError: no person has this id, or the person is there already.
        """
        with self._lock:
            self._put(replace(self._find(user_id, removed=False), removed=True), Change(user_id))

    def restore(self, user_id: str) -> None:
        """Restore a person from the recycle bin, unchanged.

        Raises:
            KeyError: no person with this id is in it.
        """
        with self._lock:
            self._put(replace(self._find(user_id, removed=True), removed=False), Change(user_id))

    def purge(self, user_id: str) -> None:
        """Remove a person permanently; their reports then have no manager, and the log does not mention that.

        Graph does not mention it either: https://github.com/microsoftgraph/microsoft-graph-docs/issues/14708

        Raises:
            KeyError: no person has this id.
        """
        with self._lock:
            del self._people[user_id]
            self._changes.append(Change(user_id))
            for person in [one for one in self._people.values() if one.properties.get(MANAGER) == user_id]:
                left = {name: value for name, value in person.properties.items() if name != MANAGER}
                self._people[person.id] = replace(person, properties=left)

    def tenant(self) -> dict[str, Person]:
        """Return every person by id, including those in the recycle bin."""
        return dict(self._people)

    def find(self, user_id: str) -> Person | None:
        """Return one person, who may be in the recycle bin."""
        return self._people.get(user_id)

    @property
    def position(self) -> int:
        """Where the log of changes ends now."""
        return len(self._changes)

    def since(self, position: int) -> list[Change]:
        """Return the changes after a position, oldest first."""
        return self._changes[position:]

    def _find(self, user_id: str, *, removed: bool) -> Person:
        person = self._people[user_id]
        if person.removed is not removed:
            raise KeyError(user_id)
        return person

    def _put(self, person: Person, change: Change) -> None:
        # In this order: a delta round that begins in between reports the change twice rather than never.
        self._people[person.id] = person
        self._changes.append(change)

    def _new_id(self) -> str:
        digits = f"{self._random.getrandbits(128):032x}"
        return f"{digits[:8]}-{digits[8:12]}-4{digits[13:16]}-a{digits[17:20]}-{digits[20:]}"

    def _made_up(self, size: int) -> Iterator[Person]:
        ids = [self._new_id() for _ in range(size)]
        choose = self._random.choice
        for number, user_id in enumerate(ids):
            given, surname = choose(GIVEN_NAMES), choose(SURNAMES)
            address = f"user{number}@{DOMAIN}"
            properties: dict[str, object] = {
                "accountEnabled": number % 50 != 49,
                "businessPhones": [f"+49 30 5550{number:06}"] if number % 3 == 0 else [],
                "createdDateTime": f"2024-{number % 12 + 1:02}-{number % 28 + 1:02}T08:00:00Z",
                "department": choose(DEPARTMENTS),
                "displayName": f"{given} {surname}",
                "givenName": given,
                "jobTitle": choose(TITLES),
                "mail": address,
                "surname": surname,
                "userPrincipalName": address,
                "userType": "Member",
            }
            if number % 4:
                properties["officeLocation"] = choose(OFFICES)
            if number:
                properties[MANAGER] = ids[(number - 1) // REPORTS]
            yield Person(user_id, properties)


def _check(properties: Mapping[str, object]) -> None:
    if unknown := properties.keys() - PROPERTIES - {MANAGER}:
        raise ValueError(f"a user has no {', '.join(sorted(unknown))}")
