"""A sync that is killed at any point: the next one completes it."""

import asyncio
import shutil
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, closing
from itertools import count
from pathlib import Path
from types import TracebackType
from typing import Self

import pytest

from emulator.blob.app import RESOURCE as STORAGE
from emulator.cloud import LocalCloud
from emulator.seed import DIRECTORY_CONTAINER
from emulator.tour.site import ROOT
from shared.adapters.database.store import LEASE_SECONDS
from shared.core.directory.streams import USERS
from tests.emulator.client import graph_token, new_principal, signed_token
from tests.end_to_end.killed_sync import run
from tests.tables import DATA

pytestmark = pytest.mark.slow

PEOPLE = 8
BLOB = "directory.db"


@pytest.fixture
def cloud(tmp_path: Path) -> Iterator[LocalCloud]:
    """A cloud with a tenant of two pages."""
    with LocalCloud(tmp_path, users=PEOPLE) as running:
        running.graph.delta.page_size = 5
        yield running


class Copies(AbstractContextManager["Copies"]):
    """Databases of one tenant."""

    def __init__(self, cloud: LocalCloud, folder: Path, place: str) -> None:
        self._cloud = cloud
        self._folder = folder
        identity = new_principal(cloud)
        cloud.blob.assign(identity.object_id, "Storage Blob Data Contributor", container=DIRECTORY_CONTAINER)
        self._secrets = graph_token(cloud), signed_token(cloud, identity, resource=STORAGE)
        self._is_blob = place == "a blob"
        self.file = folder / "directory.db"
        self._store = (
            f"{cloud.blob_url}/{DIRECTORY_CONTAINER}/{BLOB}#{folder}/copy" if self._is_blob else str(self.file)
        )

    def __enter__(self) -> Self:
        arguments = [self._store, self._cloud.graph_url, str(self._cloud.ca_file)]
        self._doomed = subprocess.Popen(
            [sys.executable, "-m", "tests.end_to_end.killed_sync", *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=ROOT,
        )
        for secret in self._secrets:
            self._tell(secret)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._doomed.communicate()

    def begin(self, start: Path | None) -> None:
        """Start from a copy of a database, or from none."""
        for file in self._folder.glob("directory.db*"):
            file.unlink()
        if self._is_blob:
            self._cloud.blob.remove(DIRECTORY_CONTAINER, BLOB)
            if start:
                self._cloud.blob.write(DIRECTORY_CONTAINER, BLOB, start.read_bytes())
        elif start:
            shutil.copy(start, self.file)

    def sync(self, *, later: float = 0.0) -> list[str]:
        """Sync in this process, to the end; list the events."""
        root, ca_file = self._cloud.graph_url, str(self._cloud.ca_file)
        if self._is_blob:
            self._cloud.blob.end_lease(DIRECTORY_CONTAINER, BLOB)
        events = asyncio.run(
            run(at=0, store=self._store, root=root, ca_file=ca_file, later=later, secrets=self._secrets)
        )
        if self._is_blob:
            self.file.write_bytes(self._cloud.blob.read(DIRECTORY_CONTAINER, BLOB))
        return events

    def is_as_before(self, before: Path) -> bool:
        """Return whether a run that was killed left the blob whole: what it was, or with all that the run has read."""
        try:
            content = self._cloud.blob.read(DIRECTORY_CONTAINER, BLOB)
        except KeyError:
            return not before.exists()
        if before.exists() and content == before.read_bytes():
            return True
        self.file.write_bytes(content)
        return self.is_the_tenant()

    def sync_until_killed(self, at: int) -> bool:
        """Sync in a process that kills itself; return whether it did so before its end."""
        self._tell(str(at))
        assert self._doomed.stdout is not None
        code = int(self._doomed.stdout.readline())
        assert code in {0, -signal.SIGKILL}
        return code != 0

    def _tell(self, line: str) -> None:
        assert self._doomed.stdin is not None
        self._doomed.stdin.write(f"{line}\n")
        self._doomed.stdin.flush()

    def is_the_tenant(self) -> bool:
        """Compare every row with the tenant, also the rows of deleted people. Nothing is left of others to readers."""
        columns = [column.name for column in USERS.properties.values()]
        with closing(sqlite3.connect(self.file)) as connection:
            rows = connection.execute(
                f"select id, state, {', '.join(columns)} from directory_object"  # noqa: S608  # ours
                " left join directory_user using (object)"
            ).fetchall()
        tenant = self._cloud.people.tenant()
        ours = [row for row in rows if row[0] in tenant or row[1] == "active"]
        found = {row[0]: (row[1], dict(zip(columns, row[2:], strict=True))) for row in ours}
        expected = {
            person.id: (
                "deleted" if person.removed else "active",
                {column.name: person.properties.get(name) for name, column in USERS.properties.items()},
            )
            for person in tenant.values()
        }
        return len(ours) == len(found) and found == expected


def change(cloud: LocalCloud) -> None:
    """Make every kind of change to a tenant."""
    people = list(cloud.people.tenant())
    for person in people[:3]:
        cloud.people.update(person, department=None, jobTitle="Other")
    cloud.people.remove(people[3])
    cloud.people.purge(people[4])
    cloud.people.update(people[5], accountEnabled=False)
    cloud.people.remove(people[6])
    cloud.people.restore(people[6])
    for number in range(3):
        cloud.people.add(displayName=f"New {number}")


@pytest.mark.parametrize(
    ("start", "place"),
    [
        ("a first copy", "a file"),
        ("changes", "a file"),
        ("a database of version 0", "a file"),
        ("a first copy", "a blob"),
        ("changes", "a blob"),
    ],
)
def test_a_killed_sync_is_made_up_for(cloud: LocalCloud, tmp_path: Path, start: str, place: str) -> None:
    """TST-05: a run is killed before its first, second, third... call, until one ends. The next run completes each.

    So the link in the database is never ahead of the rows, and a migration is never half done. No new copy begins. A
    blob is what it was, or has all that the killed run has read.
    """
    with Copies(cloud, tmp_path, place) as copies:
        before = tmp_path / "before"
        if start == "changes":
            copies.sync()
            assert copies.is_the_tenant()
            shutil.copy(copies.file, before)
            change(cloud)
        elif start == "a database of version 0":
            with closing(sqlite3.connect(before)) as connection:
                connection.executescript((DATA / "databases" / "version_0.sql").read_text())
        for at in count(1):
            copies.begin(before if before.exists() else None)
            was_killed = copies.sync_until_killed(at)
            assert place != "a blob" or copies.is_as_before(before), f"killed before call {at}"
            assert copies.sync(later=2 * LEASE_SECONDS) == ["sync_finished"], f"killed before call {at}"
            assert copies.is_the_tenant(), f"killed before call {at}"
            if not was_killed:
                break
    assert at > 20  # else nothing was counted
