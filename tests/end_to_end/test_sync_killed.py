"""A sync that is killed at any point: the next one completes it."""

import asyncio
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, closing
from itertools import count
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self

import pytest

from emulator.blob.app import RESOURCE as STORAGE
from emulator.cloud import LocalCloud
from emulator.directory.credentials import FOR_EVER, moment, password_credential
from emulator.directory.evolution import Evolution
from emulator.directory.kinds import APPLICATIONS
from emulator.directory.truth import truth
from emulator.seed import DIRECTORY_CONTAINER
from emulator.tour.site import ROOT
from shared.adapters.database.store import LEASE_SECONDS
from shared.core.directory.checkpoint import BIN_SECONDS
from shared.core.directory.streams import STREAMS, USERS, Stream
from tests.adapters.database.directory_copy import query
from tests.adapters.database.postgresql_server import USER, PostgresqlServer, ServerDatabase
from tests.directory.comparison import differences
from tests.emulator.client import graph_token, new_principal, signed_token
from tests.end_to_end.killed_sync import run
from tests.tables import DATA

pytestmark = pytest.mark.slow

PEOPLE = 8
BLOB = "directory.db"
SEED, KILLS = 15, 200
FIRST_COPY = 1
NEW_KEY_ID = "5d0c1a77-3f64-4b1e-a8d2-0c9e7b35f148"
FEWEST_CALLS, MOST_CALLS = 20, 60
TABLES = 70
"""How many calls a run may have beside `MOST_CALLS` where it makes the tables, and drops old ones."""


@pytest.fixture
def cloud(tmp_path: Path) -> Iterator[LocalCloud]:
    """A cloud with a tenant of two pages."""
    with LocalCloud(tmp_path, users=PEOPLE) as running:
        running.graph.delta.page_size = 5
        yield running


class Place(Protocol):
    """Where a copy is; `store` is what `killed_sync` takes."""

    store: str

    @property
    def where(self) -> Path | ServerDatabase:
        """What a reader opens."""

    def keep(self) -> None:
        """Keep the copy as it is."""

    def begin(self) -> None:
        """Start from the copy that was kept, or from none."""

    def end_lease(self, *, later: float) -> None:
        """Let time pass until so many seconds from now: the lease of a run that was killed has ended."""

    def is_whole(self) -> bool:
        """Return whether nobody finds a part of what the last run has read, where the place promises that."""


class InFile(Place):
    """A file of this machine; its lease goes by the clock of the run."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._before = folder / "before"
        self.file = folder / "directory.db"
        self.store = str(self.file)

    @property
    def where(self) -> Path:
        """What a reader opens."""
        return self.file

    def keep(self) -> None:
        """Keep the copy as it is."""
        shutil.copy(self.where, self._before)

    def begin(self) -> None:
        """Start from the copy that was kept, or from none."""
        for file in self._folder.glob("directory.db*"):
            file.unlink()
        if self._before.exists():
            shutil.copy(self._before, self.file)

    def end_lease(self, *, later: float) -> None:
        """The run that comes next is later."""

    def is_whole(self) -> bool:
        """A page is promised, which the next run cannot do without."""
        return True


class InBlob(InFile):
    """A file in a blob."""

    def __init__(self, folder: Path, cloud: LocalCloud) -> None:
        super().__init__(folder)
        self._blob = cloud.blob
        self.store = f"{cloud.blob_url}/{DIRECTORY_CONTAINER}/{BLOB}#{folder}/copy"

    @property
    def where(self) -> Path:
        """What a reader opens."""
        self.file.write_bytes(self._blob.read(DIRECTORY_CONTAINER, BLOB))
        return self.file

    def begin(self) -> None:
        """Start from the copy that was kept, or from none."""
        super().begin()
        self._blob.remove(DIRECTORY_CONTAINER, BLOB)
        if self._before.exists():
            self._blob.write(DIRECTORY_CONTAINER, BLOB, self._before.read_bytes())

    def end_lease(self, *, later: float) -> None:  # noqa: ARG002  # the cloud's clock goes on by itself
        """End the lease of a run that was killed."""
        self._blob.end_lease(DIRECTORY_CONTAINER, BLOB)

    def is_whole(self) -> bool:
        """Return whether the blob is as it was."""
        try:
            content = self._blob.read(DIRECTORY_CONTAINER, BLOB)
        except KeyError:
            return not self._before.exists()
        return self._before.exists() and content == self._before.read_bytes()


class OnServer(Place):
    """A PostgreSQL database; its lease goes by the clock of the server."""

    def __init__(self, server: PostgresqlServer) -> None:
        self._server = server
        self._before = ""
        self._database = server.new_database()
        self.store = f"postgresql://{USER}@localhost:{server.front.port}/{self._database.name}#{server.ca_file}"

    @property
    def where(self) -> ServerDatabase:
        """What a reader opens."""
        return self._database

    def keep(self) -> None:
        """Keep the copy as it is."""
        self._before = f"{self._database.name}_before"
        self._make(self._before, of=self._database.name)

    def begin(self) -> None:
        """Start from the copy that was kept, or from none."""
        with self._server.administer() as connection:
            connection.execute(f"DROP DATABASE {self._database.name} WITH (FORCE)")
        self._make(self._database.name, of=self._before or "template1")

    def end_lease(self, *, later: float) -> None:
        """Let time pass until so many seconds from now: the lease of a run that was killed has ended."""
        self._database.set_clock(time.time() + later)

    def is_whole(self) -> bool:
        """A page is promised, which the next run cannot do without."""
        return True

    def _make(self, name: str, *, of: str) -> None:
        with self._server.administer() as connection:
            connection.execute(f"CREATE DATABASE {name} TEMPLATE {of} OWNER {USER}")


@pytest.fixture
def place(request: pytest.FixtureRequest, cloud: LocalCloud, tmp_path: Path) -> Place:
    """Where the copy is."""
    match request.param:
        case "a file":
            return InFile(tmp_path)
        case "a blob":
            return InBlob(tmp_path, cloud)
    return OnServer(request.getfixturevalue("postgresql"))


class Copies(AbstractContextManager["Copies"]):
    """Copies of streams of one tenant in a place.

    Attributes:
        told: the names of the events of each process that was to be killed.
    """

    def __init__(self, cloud: LocalCloud, place: Place, *streams: Stream) -> None:
        self._cloud = cloud
        self._place = place
        self._streams = streams
        self.told: set[str] = set()
        identity = new_principal(cloud)
        cloud.blob.assign(identity.object_id, "Storage Blob Data Contributor", container=DIRECTORY_CONTAINER)
        graph = graph_token(cloud, roles=frozenset({stream.permission for stream in streams}))
        self._secrets = graph, signed_token(cloud, identity, resource=STORAGE)

    def __enter__(self) -> Self:
        arguments = [self._place.store, self._cloud.graph_url, str(self._cloud.ca_file), self._names]
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

    def sync(self, *, later: float = 0.0) -> list[str]:
        """Sync in this process, to the end; list the events."""
        told: list[str] = []
        asyncio.run(
            run(
                at=0,
                store=self._place.store,
                root=self._cloud.graph_url,
                ca_file=str(self._cloud.ca_file),
                streams=self._names,
                later=later,
                secrets=self._secrets,
                tell=told.append,
            )
        )
        return told

    def sync_until_killed(self, *, at: int = 0, seconds: float = 0.0, later: float = 0.0) -> bool:
        """Sync in a process that is killed; return whether it was so before its end.

        Args:
            at: before which call it kills itself; 0: before none.
            seconds: after how many it is killed from outside; 0: never.
            later: how many seconds its clock is ahead.
        """
        self._tell(f"{at} {seconds} {later}")
        assert self._doomed.stdout is not None
        while (line := self._doomed.stdout.readline().strip()) and not line.lstrip("-").isdecimal():
            self.told.add(line)
        assert int(line) in {0, -signal.SIGKILL}
        return line != "0"

    @property
    def _names(self) -> str:
        return ",".join(stream.name for stream in self._streams)

    def _tell(self, line: str) -> None:
        assert self._doomed.stdin is not None
        self._doomed.stdin.write(f"{line}\n")
        self._doomed.stdin.flush()

    def is_the_tenant(self) -> bool:
        """Compare every row of the stream with the tenant, also of what is deleted. Readers find nothing of others."""
        (stream,) = self._streams
        columns = [column.name for column in stream.properties.values()]
        where = self._place.where
        rows = query(
            where,
            f"select id, state, {', '.join(columns)} from directory_object"  # noqa: S608  # ours
            f" left join {stream.table} using (object) where stream = '{stream.name}'",
        )
        held = query(where, "select id, key_id, name from credential join directory_object using (object)")
        credentials = sorted(tuple(row.values()) for row in held)
        true = truth(self._cloud.objects)
        tenant = {oid: each for oid, each in true.objects.items() if each.kind.name == stream.name}
        ours = [row for row in rows if row["id"] in tenant or row["state"] == "active"]
        found = {row["id"]: (row["state"], {name: row[name] for name in columns}) for row in ours}
        expected = {
            each.id: (
                each.state.value,
                {column.name: each.properties.get(name) for name, column in stream.properties.items()},
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
    ("stream", "start", "place", "step"),
    [
        (USERS, "a first copy", "a file", 7),
        (USERS, "changes", "a file", 7),
        (USERS, "changes", "a blob", 7),
        (USERS, "changes", "PostgreSQL", 11),
        (STREAMS["applications"], "changes", "a file", 7),
        *(
            pytest.param(stream, start, place, 1, marks=pytest.mark.nightly)
            for stream, start, place in (
                (USERS, "a first copy", "a file"),
                (USERS, "changes", "a file"),
                (USERS, "a database of version 0", "a file"),
                (USERS, "a first copy", "a blob"),
                (USERS, "changes", "a blob"),
                (USERS, "a first copy", "PostgreSQL"),
                (USERS, "changes", "PostgreSQL"),
                (STREAMS["applications"], "changes", "a file"),
            )
        ),
    ],
    ids=lambda value: value.name if isinstance(value, Stream) else value,
    indirect=["place"],
)
def test_a_killed_sync_is_made_up_for(cloud: LocalCloud, stream: Stream, start: str, place: Place, step: int) -> None:
    """REL-45, TST-05: a run is killed before its first, second... call, until one ends; by day before some of them.

    The next run completes each. A call is a statement, a commit or a request; a run has at most 60, beside those that
    make the tables.

    So the link in the database is never ahead of the rows, and a migration is never half done. No new copy begins. A
    blob is what it was, or has all that the killed run has read.
    """
    with Copies(cloud, place, stream) as copies:
        if start == "changes":
            copies.sync()
            assert copies.is_the_tenant()
            place.keep()
            (change if stream is USERS else change_applications)(cloud)
            if isinstance(place, InBlob):
                cloud.graph.delta.page_size = 2 * PEOPLE  # one page, for a run in a blob has requests of its own
        elif start == "a database of version 0":
            assert isinstance(place, InFile)
            with closing(sqlite3.connect(place.file)) as connection:
                connection.executescript((DATA / "databases" / "version_0.sql").read_text())
            place.keep()
        for at in count(1, step):
            place.begin()
            was_killed = copies.sync_until_killed(at=at)
            assert place.is_whole() or copies.is_the_tenant(), f"killed before call {at}"
            place.end_lease(later=2 * LEASE_SECONDS)
            assert copies.sync(later=2 * LEASE_SECONDS) == ["sync_finished"], f"killed before call {at}"
            assert copies.is_the_tenant(), f"killed before call {at}"
            if not was_killed:
                break
    assert at - step >= FEWEST_CALLS  # else nothing was counted
    # The last run was not killed, so it had fewer calls than `at`.
    assert at - 1 <= (MOST_CALLS if start == "changes" else MOST_CALLS + TABLES)


@pytest.mark.nightly
@pytest.mark.timeout(3_600)
@pytest.mark.parametrize("place", ["a file", "a blob", "PostgreSQL"], indirect=True)
def test_a_sync_that_is_killed_at_random_moments_loses_nothing(cloud: LocalCloud, place: Place) -> None:
    """REL-45, TST-05: by `kill -9`, one run after the other, from the first copy on, while the tenant changes.

    At the end the copy is the tenant: objects, memberships, credentials. No run fails, and no new copy has begun.
    """
    chance, evolution = random.Random(SEED), Evolution(cloud.objects, seed=SEED)  # noqa: S311  # no secrets
    longest, later, killed = 1.0, 0.0, 0
    with Copies(cloud, place, *STREAMS.values()) as copies:
        while killed < KILLS:
            evolution.run(chance.randrange(4))
            was_killed = copies.sync_until_killed(seconds=chance.uniform(0, longest), later=later)
            killed += was_killed
            longest *= 1.05 if was_killed else 0.8  # so one run in six ends by itself, however fast the machine is
            later += 2 * LEASE_SECONDS
            place.end_lease(later=later)
        for _ in range(3):  # the recycle bin is looked into once a day
            copies.told |= set(copies.sync(later=later))
            later += BIN_SECONDS
            place.end_lease(later=later)
    assert differences(cloud.objects, place.where) == []
    assert copies.told <= {"sync_finished", "directory_credential_ends"}
    assert {row["copied"] for row in query(place.where, "select copied from sync_stream")} == {FIRST_COPY}
