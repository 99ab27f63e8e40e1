"""The lines of the tour about a tenant: counted in the directory of the cloud, and in the copy of it."""

import sqlite3
from contextlib import closing
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import Self

from emulator.directory.credentials import moment
from emulator.directory.directory_object import State
from emulator.directory.kinds import APPLICATIONS, GROUPS, MEMBERS, SERVICE_PRINCIPALS, USERS
from emulator.directory.object_store import DAY, ObjectStore
from emulator.directory.truth import truth

DAYS = 30
QUERIES = (
    "SELECT count(*) FROM directory_object WHERE stream = 'users' AND state = 'active'",
    "SELECT count(*) FROM active_groups",
    "SELECT count(*) FROM active_service_principals",
    "SELECT count(*) FROM active_applications",
    "SELECT count(*) FROM group_members",
    """SELECT count(*) FROM expiring_credentials
       WHERE ends_at > strftime('%Y-%m-%dT%H:%M:%f000Z', 'now')
       AND ends_at <= strftime('%Y-%m-%dT%H:%M:%f000Z', 'now', '+30 days')""",
)


@dataclass(frozen=True, slots=True)
class Tenant:
    """How much there is of a tenant."""

    users: int
    groups: int
    service_principals: int
    applications: int
    memberships: int
    ending: int

    @classmethod
    def of(cls, objects: ObjectStore) -> Self:
        """Count what is there, without the members that groups hide."""
        true, now = truth(objects), objects.now()
        active = {oid: found for oid, found in true.objects.items() if found.state is State.ACTIVE}
        open_groups = {oid for oid, found in active.items() if found.properties.get("visibility") != "HiddenMembership"}
        memberships = sum(
            relation == MEMBERS and source in open_groups and target in active
            for relation, source, target in true.edges
        )
        first, last = moment(now), moment(now + DAYS * DAY)
        ending = sum(oid in active and first < str(held.ends) <= last for (oid, _), held in true.credentials.items())
        kinds = [found.kind for found in active.values()]
        return cls(
            users=kinds.count(USERS),
            groups=kinds.count(GROUPS),
            service_principals=kinds.count(SERVICE_PRINCIPALS),
            applications=kinds.count(APPLICATIONS),
            memberships=memberships,
            ending=ending,
        )

    @classmethod
    def of_copy(cls, file: Path) -> Self:
        """Count what a reader finds."""
        with closing(sqlite3.connect(f"{file.as_uri()}?mode=ro", uri=True)) as connection:
            return cls(*(connection.execute(query).fetchone()[0] for query in QUERIES))

    @property
    def size(self) -> int:
        """How many objects it has."""
        return sum(astuple(self)[:4])

    def __str__(self) -> str:
        return (
            f"{self.users:,} users, {self.groups:,} groups with {self.memberships:,} memberships\n"
            f"{self.service_principals:,} service principals, {self.applications:,} applications;"
            f" {self.ending:,} certificates and secrets end within {DAYS} days"
        )
