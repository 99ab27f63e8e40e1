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
from emulator.directory.credentials import FOR_EVER, moment, password_credential
from emulator.directory.kinds import APPLICATIONS
from emulator.directory.truth import truth
from emulator.seed import DIRECTORY_CONTAINER
from emulator.tour.site import ROOT
from shared.adapters.database.store import LEASE_SECONDS
from shared.core.directory.streams import STREAMS, USERS, Stream
from tests.emulator.client import graph_token, new_principal, signed_token
from tests.end_to_end.killed_sync import run
from tests.tables import DATA

pytestmark = pytest.mark.slow

PEOPLE = 8
BLOB = "directory.db"
NEW_KEY_ID = "5d0c1a77-3f64-4b1e-a8d2-0c9e7b35f148"


@pytest.fixture
def cloud(tmp_path: Path) -> Iterator[LocalCloud]:
    """A cloud with a tenant of two pages."""
    with LocalCloud(tmp_path, users=PEOPLE) as running:
        running.graph.delta.page_size = 5
        yield running


class Copies(AbstractContextManager["Copies"]):
    """Databases of one tenant."""

    def __init__(self, cloud: LocalCloud, folder: Path, place: str, stream: Stream = USERS) -> None:
        self._cloud = cloud
        self._folder = folder
        self._stream = stream
        identity = new_principal(cloud)
        cloud.blob.assign(identity.object_id, "Storage Blob Data Contributor", container=DIRECTORY_CONTAINER)
        graph = graph_token(cloud, roles=frozenset({stream.permission}))
        self._secrets = graph, signed_token(cloud, identity, resource=STORAGE)
        self._is_blob = place == "a blob"
        self.file = folder / "directory.db"
        self._store = (
            f"{cloud.blob_url}/{DIRECTORY_CONTAINER}/{BLOB}#{folder}/copy" if self._is_blob else str(self.file)
        )

    def __enter__(self) -> Self:
        arguments = [self._store, self._cloud.graph_url, str(self._cloud.ca_file), self._stream.name]
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
        stream, secrets = self._stream.name, self._secrets
        events = asyncio.run(
            run(at=0, store=self._store, root=root, ca_file=ca_file, stream=stream, later=later, secrets=secrets)
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
        """Compare every row with the tenant, also the rows of what is deleted. Nothing is left of others to readers."""
        columns = [column.name for column in self._stream.properties.values()]
        with closing(sqlite3.connect(self.file)) as connection:
            rows = connection.execute(
                f"select id, state, {', '.join(columns)} from directory_object"  # noqa: S608  # ours
                f" left join {self._stream.table} using (object) where stream = '{self._stream.name}'"
            ).fetchall()
            held = connection.execute("select id, key_id, name from credential join directory_object using (object)")
            credentials = sorted(held.fetchall())
        true = truth(self._cloud.objects)
        tenant = {oid: each for oid, each in true.objects.items() if each.kind.name == self._stream.name}
        ours = [row for row in rows if row[0] in tenant or row[1] == "active"]
        found = {row[0]: (row[1], dict(zip(columns, row[2:], strict=True))) for row in ours}
        expected = {
            each.id: (
                each.state.value,
                {column.name: each.properties.get(name) for name, column in self._stream.properties.items()},
            )
            for each in tenant.values()
        }
        named = sorted((oid, key_id, each.name) for (oid, key_id), each in true.credentials.items() if oid in tenant)
        return len(ours) == len(found) and found == expected and credentials == named


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


def change_applications(cloud: LocalCloud) -> None:
    """Add and remove credentials of made-up applications, and purge one that has some."""
    objects = cloud.objects
    ids = (objects.population.id(APPLICATIONS, index) for index in range(objects.population.count(APPLICATIONS)))
    first, second, third = (oid for oid in ids if any(key[0] == oid for key in truth(objects).credentials))
    added = password_credential(NEW_KEY_ID, name="new", start=moment(objects.now()), end=FOR_EVER)
    objects.add_credential(first, added)
    for oid, key_id in truth(objects).credentials:
        if oid == second:
            objects.remove_credential(oid, key_id)
    objects.purge(third)


@pytest.mark.parametrize(
    ("stream", "start", "place"),
    [
        (USERS, "a first copy", "a file"),
        (USERS, "changes", "a file"),
        pytest.param(USERS, "a database of version 0", "a file", marks=pytest.mark.nightly),
        pytest.param(USERS, "a first copy", "a blob", marks=pytest.mark.nightly),
        (USERS, "changes", "a blob"),
        (STREAMS["applications"], "changes", "a file"),
    ],
    ids=lambda value: value if isinstance(value, str) else value.name,
)
def test_a_killed_sync_is_made_up_for(
    cloud: LocalCloud, tmp_path: Path, stream: Stream, start: str, place: str
) -> None:
    """TST-05: a run is killed before its first, second, third... call, until one ends. The next run completes each.

    So the link in the database is never ahead of the rows, and a migration is never half done. No new copy begins. A
    blob is what it was, or has all that the killed run has read.
    """
    with Copies(cloud, tmp_path, place, stream) as copies:
        before = tmp_path / "before"
        if start == "changes":
            copies.sync()
            assert copies.is_the_tenant()
            shutil.copy(copies.file, before)
            (change if stream is USERS else change_applications)(cloud)
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
