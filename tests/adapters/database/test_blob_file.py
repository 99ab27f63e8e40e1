"""The file of the directory in a blob: one writer at a time, and the blob is as it was or whole."""

import asyncio
import base64
import os
import sqlite3
import stat
import time
import uuid
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager, closing
from dataclasses import replace
from pathlib import Path

import httpx
import pytest

from emulator.blob.app import RESOURCE
from emulator.seed import DIRECTORY_CONTAINER
from shared.adapters.blob import NAME
from shared.adapters.database.blob_file import FILE_BYTES, LEASE_SECONDS, PIECE_BYTES, BlobFile
from shared.adapters.database.blob_requests import BlobRequests
from shared.adapters.database.kept_copy import KeptCopy
from shared.adapters.database.note import TEXT_BYTES, read_note
from shared.adapters.http import Network, client_tls, exactly, read_roots
from shared.core.directory.checkpoint import LeaseHeld, LeaseLost
from shared.core.directory.standing import StreamStanding
from shared.core.errors import BadAnswer, OperatorError, Unavailable, UpstreamError
from shared.core.limits import Limits
from shared.core.reply import Reply
from shared.core.token import AccessToken, Moment
from tests.adapters.blob_services import HOUR, Store
from tests.api.shop import InPlace
from tests.clock import no_sleep

BIG = 2 * PIECE_BYTES + PIECE_BYTES // 2
"""A value that makes a file of three pieces."""

type Asked = tuple[str, str]
type Answer = Callable[[Awaitable[Reply]], Awaitable[Reply]]


class Machine:
    """A machine with a local copy of the blob.

    Args:
        store: the blob service.
        url: of the blob.
        folder: of the local copy.
    """

    def __init__(self, store: Store, url: str, folder: Path) -> None:
        self._store = store
        self._url = url
        self.copy = KeptCopy(folder)
        self.asked: list[Asked] = []
        self.on_send: Mapping[Asked, Answer] = {}
        self.is_killed = False

    @asynccontextmanager
    async def run(self) -> AsyncIterator[BlobFile]:
        """Begin a run with the blob, and end it."""
        secret = self._store.token(RESOURCE, HOUR)

        async def token(_: str | None) -> AccessToken:
            return AccessToken(secret, Moment(wall=time.time(), boot=0.0), lifetime=HOUR, refresh_after=HOUR)

        network = Network(tls=client_tls(read_roots(str(self._store.ca_file))), proxy="", limits=Limits())
        upstream = network.upstream(NAME, exactly(self._store.url), limits=Limits().of_pieces)

        async def send(
            method: str, url: str, *, headers: Mapping[str, str], content: bytes = b"", body_bytes: int | None = None
        ) -> Reply:
            asked = method, httpx.URL(url).params.get("comp", "")
            self.asked.append(asked)
            answer = upstream.send(method, url, headers=headers, content=content, body_bytes=body_bytes)
            return await (self.on_send[asked](answer) if asked in self.on_send else answer)

        requests = BlobRequests(self._url, get_token=token, send=send, sleep=no_sleep)
        file = BlobFile(requests, copy=self.copy, new_id=lambda: str(uuid.uuid4()), pool=InPlace())
        try:
            await file.lease()
            try:
                yield file
            finally:
                if not self.is_killed:
                    await file.release()
        finally:
            self.copy.unlock()  # as the end of a process does
            await network.aclose()

    def write(self, value: bytes) -> None:
        """Write a value into the local copy, which may not be there."""
        self.copy.file.touch(0o600)
        with closing(sqlite3.connect(self.copy.file)) as connection, connection:
            connection.execute("pragma journal_mode = wal")
            connection.execute("create table if not exists things (value)")
            connection.execute("delete from things")
            connection.execute("insert into things values (?)", (value,))

    def leave_wal(self, value: bytes) -> None:
        """Write a value as a process does that is killed before its WAL is in the file."""
        wal = Path(f"{self.copy.file}-wal")
        with closing(sqlite3.connect(self.copy.file)) as connection:
            connection.execute("update things set value = ?", (value,))
            connection.commit()
            left = self.copy.file.read_bytes(), wal.read_bytes()
        self.copy.file.write_bytes(left[0])
        wal.write_bytes(left[1])

    def put(self, value: bytes) -> None:
        """Run to the end with a new value."""

        async def story() -> None:
            async with self.run() as file:
                await file.fetch()
                self.write(value)
                await file.put()

        asyncio.run(story())

    def read(self) -> bytes:
        """Read the value of the local copy."""
        return value_of(self.copy.file)


def value_of(file: Path, options: str = "mode=ro&immutable=1") -> bytes:
    """Read the value in a file as a reader does, who may not write beside it."""
    with closing(sqlite3.connect(f"file:{file}?{options}", uri=True)) as connection:
        assert connection.execute("pragma integrity_check").fetchone() == ("ok",)
        (value,) = connection.execute("select value from things").fetchone()
        assert isinstance(value, bytes)
        return value


class Site:
    """A blob that is not there yet, and machines.

    Args:
        store: the blob service.
        folder: for the copies.
    """

    def __init__(self, store: Store, folder: Path) -> None:
        self._store = store
        self._folder = folder
        self._path = f"{DIRECTORY_CONTAINER}/{uuid.uuid4().hex}"

    def machine(self, name: str = "ours") -> Machine:
        """Return a machine; a name has one local copy."""
        return Machine(self._store, f"{self._store.url}/{self._path}", self._folder / name)

    def ask(self, method: str, query: str = "", **headers: str) -> httpx.Response:
        """Send a request about the blob."""
        return self._store.ask(method, f"{self._path}{query}", b"" if method == "PUT" else None, **headers)

    def break_lease(self) -> None:
        """End the lease of whoever holds it, as time does."""
        answer = self.ask("PUT", "?comp=lease", x_ms_lease_action="break", x_ms_lease_break_period="0")
        assert answer.status_code == 202

    def value(self) -> bytes:
        """Read the value in the blob: fetch the bytes, and open them."""
        file = self._folder / "read.db"
        file.write_bytes(self.ask("GET").content)
        return value_of(file)


@pytest.fixture
def site(store: Store, tmp_path: Path) -> Site:
    """Each blob service."""
    return Site(store, tmp_path)


async def none(answer: Awaitable[Reply]) -> Reply:
    """Lose an answer, after the service has done what was asked."""
    await answer
    raise Unavailable(cause=f"{NAME}: broken connection")


async def unsent(answer: Awaitable[Reply]) -> Reply:
    """Send nothing."""
    assert asyncio.iscoroutine(answer)
    answer.close()
    raise Unavailable(cause=f"{NAME}: no connection")


@pytest.mark.parametrize("size", [1, BIG], ids=["one piece", "three pieces"])
def test_what_is_put_is_what_another_machine_fetches(site: Site, size: int) -> None:
    """The blob is one file: no WAL is missing from it, and a reader opens it without writing anything."""
    value = os.urandom(size)
    ours, other = site.machine(), site.machine("other")
    ours.put(value)
    assert site.value() == value
    header = site.ask("GET").content[18:20]
    assert header == b"\x01\x01"  # no WAL: https://sqlite.org/fileformat.html#file_format_version_numbers

    async def story() -> None:
        async with other.run() as file:
            await file.fetch()
            assert other.read() == value
            await file.keep()

    asyncio.run(story())
    for machine in (ours, other):
        assert stat.S_IMODE(machine.copy.file.stat().st_mode) == 0o600
        assert stat.S_IMODE(machine.copy.file.parent.stat().st_mode) == 0o700


def test_a_copy_that_is_the_blobs_is_not_fetched_again(site: Site) -> None:
    """One short request finds that out; after another machine has put, the file is fetched whole."""
    ours = site.machine()
    ours.put(os.urandom(BIG))

    async def fetch() -> int:
        ours.asked.clear()
        async with ours.run() as file:
            await file.fetch()
            await file.keep()
        return ours.asked.count(("GET", ""))

    assert [asyncio.run(fetch()) for _ in range(2)] == [1, 1]
    site.machine("other").put(os.urandom(BIG))
    assert asyncio.run(fetch()) == 3
    assert ours.read() == site.value()


def test_a_copy_of_a_run_that_was_killed_is_not_taken_for_the_blobs(site: Site) -> None:
    """Whether it had written or not: what is on the disk then is fetched anew."""
    ours = site.machine()
    ours.put(b"stored")

    async def killed() -> None:
        async with ours.run() as file:
            await file.fetch()
            ours.write(b"not stored")
            ours.leave_wal(b"in the WAL")
            ours.is_killed = True

    asyncio.run(killed())
    site.break_lease()
    assert value_of(ours.copy.file, "mode=rw") == b"in the WAL"
    ours.leave_wal(b"in another WAL")
    ours.is_killed = False

    async def story() -> None:
        async with ours.run() as file:
            await file.fetch()
            assert value_of(ours.copy.file, "mode=rw") == b"stored"

    asyncio.run(story())


def test_one_run_at_a_time(site: Site) -> None:
    """On another machine the lease keeps the second run away, and on this one a lock; then both are free."""
    ours, other = site.machine(), site.machine("other")
    ours.put(b"first")

    async def story() -> None:
        async with ours.run() as file:
            for machine in (other, site.machine()):
                with pytest.raises(LeaseHeld):
                    async with machine.run():
                        pass
            await file.renew()
        async with other.run():
            pass

    asyncio.run(story())
    ours.put(b"second")


def test_of_two_first_runs_one_puts(site: Site) -> None:
    """There is nothing to lease yet; the loser's copy is gone, and its next run fetches the other's."""
    ours, other = site.machine(), site.machine("other")

    async def story() -> None:
        async with ours.run() as file, other.run() as late:
            await late.fetch()
            other.write(b"late")
            await file.fetch()
            ours.write(b"ours")
            await file.renew()
            await file.put()
            with pytest.raises(LeaseLost):
                await late.put()
        assert not other.copy.file.exists()
        async with other.run() as late:
            await late.fetch()
            assert other.read() == b"ours"

    asyncio.run(story())
    assert site.value() == b"ours"


@pytest.mark.parametrize("has_put", [True, False], ids=["the other has put", "the other is at it"])
def test_a_run_whose_lease_has_ended_stores_nothing(site: Site, *, has_put: bool) -> None:
    """Another run has begun meanwhile. The stale one ends at its next renewal, or at its put; rows never mix."""
    ours, other = site.machine(), site.machine("other")
    ours.put(b"first")

    async def story() -> None:
        async with ours.run() as stale:
            await stale.fetch()
            ours.write(b"stale")
            site.break_lease()
            async with other.run() as file:
                await file.fetch()
                other.write(b"other")
                if has_put:
                    await file.put()
                with pytest.raises(LeaseLost):
                    await stale.renew()
                with pytest.raises(LeaseLost):
                    await stale.put()
                if not has_put:
                    await file.put()

    asyncio.run(story())
    assert site.value() == b"other"
    assert not ours.copy.file.exists()


def test_a_blob_that_changes_while_it_is_fetched_is_no_mixture(site: Site) -> None:
    """Each range is of the blob of the first one."""
    ours, other = site.machine(), site.machine("other")
    other.put(os.urandom(BIG))

    async def replace(answer: Awaitable[Reply]) -> Reply:
        reply = await answer
        ours.on_send = {}
        site.break_lease()
        await asyncio.to_thread(other.put, os.urandom(BIG))
        return reply

    async def story() -> None:
        async with ours.run() as file:
            ours.on_send = {("GET", ""): replace}
            with pytest.raises(LeaseLost):
                await file.fetch()

    asyncio.run(story())
    assert not ours.copy.file.exists()


@pytest.mark.parametrize("first", [True, False], ids=["a first one", "a later one"])
def test_a_put_whose_answer_is_lost_is_found(site: Site, *, first: bool) -> None:
    """The blob names the run that has put it: it is not put again, and the copy is kept."""
    ours = site.machine()
    if not first:
        ours.put(b"before")
    ours.on_send = {("PUT", "blocklist"): none}
    ours.asked.clear()
    ours.put(b"after")
    assert ours.asked.count(("PUT", "blocklist")) == 1
    assert site.value() == b"after"
    assert ours.copy.take_etag() == site.ask("HEAD").headers["etag"]


@pytest.mark.parametrize("first", [True, False], ids=["a first one", "a later one"])
def test_a_put_that_never_arrived_has_failed(site: Site, *, first: bool) -> None:
    """The blob is as it was. Nothing is put again, and the copy is gone."""
    ours = site.machine()
    if not first:
        ours.put(b"before")
    ours.on_send = {("PUT", "blocklist"): unsent}
    ours.asked.clear()
    with pytest.raises(Unavailable, match="no connection"):
        ours.put(b"after")
    assert ours.asked.count(("PUT", "blocklist")) == 1
    assert site.ask("HEAD").status_code == 404 if first else site.value() == b"before"
    assert not ours.copy.file.exists()


def test_a_put_of_another_run_is_not_taken_for_ours(site: Site) -> None:
    """No answer comes, and the blob is another one by now: the metadata name the run that has put it."""
    ours, other = site.machine(), site.machine("other")
    ours.put(b"before")

    async def overtaken(answer: Awaitable[Reply]) -> Reply:
        site.break_lease()
        await asyncio.to_thread(other.put, b"other")
        return await unsent(answer)

    ours.on_send = {("PUT", "blocklist"): overtaken}
    with pytest.raises(Unavailable, match="no connection"):
        ours.put(b"ours")
    assert site.value() == b"other"
    assert not ours.copy.file.exists()


def test_what_may_arrive_twice_is_sent_again(site: Site) -> None:
    """A lease, a range and a block: one lost answer of each ends no run."""
    ours = site.machine()
    ours.put(os.urandom(BIG))
    ours.copy.drop()
    left = {("PUT", "lease"), ("GET", ""), ("PUT", "block")}

    def once(asked: Asked) -> Answer:
        async def answered(answer: Awaitable[Reply]) -> Reply:
            if asked in left:
                left.remove(asked)
                return await none(answer)
            return await answer

        return answered

    ours.on_send = {asked: once(asked) for asked in left}
    ours.put(b"after")
    assert (site.value(), left) == (b"after", set())


def test_a_renewal_without_an_answer_ends_nothing(site: Site) -> None:
    """The lease is for a minute, and renewed every 20 seconds."""
    ours = site.machine()
    ours.put(b"first")

    async def story() -> None:
        async with ours.run() as file:
            ours.on_send = {("PUT", "lease"): unsent}
            await file.renew()
            ours.on_send = {}

    asyncio.run(story())


STANDING = StreamStanding(
    tenant_id="a-tenant", stream="users", is_copying=False, complete_at=1_800_000_000.5, error="x", held={"objects": 7}
)


@pytest.mark.parametrize(
    ("standings", "found"),
    [
        ((STANDING,), [STANDING]),
        ((), []),
        (tuple(replace(STANDING, tenant_id=str(uuid.uuid4())) for _ in range(500)), None),
    ],
    ids=["one", "none", "too many"],
)
def test_a_blob_tells_where_the_streams_stand(
    site: Site, standings: tuple[StreamStanding, ...], found: list[StreamStanding] | None
) -> None:
    """By its metadata, which are put with the file, and have no room for hundreds of tenants."""
    ours = site.machine()

    async def story() -> None:
        async with ours.run() as file:
            assert await file.standings() == []
            await file.fetch()
            ours.write(b"x")
            await file.put(standings)
            if found is None:
                with pytest.raises(BadAnswer, match="does not tell"):
                    await file.standings()
            else:
                assert await file.standings() == found

    asyncio.run(story())


def packed(text: bytes) -> str:
    """Write a note."""
    return base64.b64encode(zlib.compress(text)).decode()


@pytest.mark.parametrize(
    "note",
    ["", "x", "eJw=", packed(b'[{"a": 1}]'), packed(b"7"), packed(b" " * TEXT_BYTES + b"[]")],
    ids=["none", "no Base64", "cut", "another version", "no list", "too long"],
)
def test_a_note_that_is_none_is_not_read(note: str) -> None:
    """What another version, or somebody else, has put."""
    assert read_note(note) is None


def test_a_container_that_is_not_there_is_the_operators(store: Store, tmp_path: Path) -> None:
    """It is no blob that a first run could make."""
    machine = Machine(store, f"{store.url}/nowhere/directory.db", tmp_path / "ours")
    with pytest.raises(OperatorError, match="HTTP 404 ContainerNotFound, there is no such container"):
        machine.put(b"x")


URL = "https://venddir.blob.core.windows.net/directory/directory.db"


class Scripted:
    """A blob service whose answers are a list."""

    def __init__(self, *replies: Reply) -> None:
        self._replies = list(replies)
        self.bodies: list[int | None] = []
        self.rejected: list[str | None] = []

    async def send(
        self, method: str, url: str, *, headers: Mapping[str, str], content: bytes = b"", body_bytes: int | None = None
    ) -> Reply:
        """Give the next answer."""
        assert (method, url, content) in {("PUT", f"{URL}?comp=lease", b""), ("GET", URL, b"")}
        assert headers["authorization"] == "Bearer t"
        self.bodies.append(body_bytes)
        return self._replies.pop(0)

    def fetch(self, folder: Path) -> None:
        """Fetch the blob."""

        async def token(rejected: str | None) -> AccessToken:
            self.rejected.append(rejected)
            return TOKEN

        requests = BlobRequests(URL, get_token=token, send=self.send, sleep=no_sleep)
        file = BlobFile(requests, copy=KeptCopy(folder), new_id=lambda: "a-run", pool=InPlace())

        async def story() -> None:
            await file.lease()
            await file.fetch()

        asyncio.run(story())


TOKEN = AccessToken("t", Moment(0, 0), lifetime=HOUR, refresh_after=HOUR)
LEASED = Reply(201, b"")
TOO_LARGE = f"bytes 0-0/{FILE_BYTES + 1}"


@pytest.mark.parametrize(
    ("replies", "error", "cause", "remedy"),
    [
        ([Reply(206, b"x", {"etag": "e", "content-range": TOO_LARGE})], OperatorError, "over 512 MiB", "PostgreSQL"),
        ([Reply(206, b"x", {"etag": "e", "content-range": "bytes 1-1/2"})], BadAnswer, "another part", ""),
        ([Reply(206, b"xy", {"etag": "e", "content-range": "bytes 0-0/2"})], BadAnswer, "another part", ""),
        ([Reply(206, b"", {"etag": "e", "content-range": "bytes 0-0/2"})], BadAnswer, "another part", ""),
        ([Reply(206, b"x", {"etag": "e"})], BadAnswer, "another part", ""),
        ([Reply(206, b"x", {"content-range": "bytes 0-0/2"})], BadAnswer, "no usable ETag", ""),
        ([Reply(200, b"<html>CANARY", {"etag": "e"})], Unavailable, "Azure Storage: HTTP 200", ""),
        ([Reply(304, b"")], Unavailable, "Azure Storage: HTTP 304", ""),
        ([Reply(416, b"")], OperatorError, "the blob is empty", ""),
        ([Reply(403, b"", {"x-ms-error-code": "Two words"})], OperatorError, "HTTP 403, the app needs", ""),
        ([Reply(401, b"")] * 2, OperatorError, "HTTP 401, the app's token", ""),
        ([Reply(503, b"", {"x-ms-error-code": "ServerBusy"})] * 3, Unavailable, "HTTP 503 ServerBusy", ""),
    ],
    ids=str,
)
def test_an_answer_that_is_no_piece_of_the_file_is_refused(
    tmp_path: Path, replies: list[Reply], error: type[UpstreamError], cause: str, remedy: str
) -> None:
    """Nothing of it becomes the local copy, and a file of over 512 MiB is not fetched at all."""
    scripted = Scripted(LEASED, *replies)
    with pytest.raises(error) as caught:
        scripted.fetch(tmp_path / "copy")
    assert cause in caught.value.cause
    assert "CANARY" not in caught.value.cause
    assert remedy in (caught.value.remedy or "")
    assert not (tmp_path / "copy" / "directory.db").exists()
    assert set(scripted.bodies[1:]) == {PIECE_BYTES}


def test_a_token_that_is_rejected_is_replaced_once(tmp_path: Path) -> None:
    """REL-42: nothing was done with it, so the same request is sent with another one."""
    scripted = Scripted(LEASED, Reply(401, b""), Reply(206, b"x", {"etag": "e", "content-range": "bytes 0-0/1"}))
    scripted.fetch(tmp_path / "copy")
    assert scripted.rejected == [None, None, TOKEN.sha256]
    assert (tmp_path / "copy" / "directory.db").read_bytes() == b"x"


def test_a_file_that_has_grown_too_large_is_not_put(site: Site) -> None:
    """No block is sent, and the blob is as it was."""
    ours = site.machine()
    ours.put(b"before")
    ours.asked.clear()

    async def story() -> None:
        async with ours.run() as file:
            await file.fetch()
            os.truncate(ours.copy.file, FILE_BYTES + 1)
            with pytest.raises(OperatorError) as caught:
                await file.put()
            assert "PostgreSQL" in (caught.value.remedy or "")

    asyncio.run(story())
    assert ("PUT", "block") not in ours.asked
    assert site.value() == b"before"


@pytest.mark.parametrize("what", ["open to others", "a link", "a file"])
def test_a_folder_that_is_not_our_own_is_not_used(tmp_path: Path, what: str) -> None:
    """In a shared folder for temporary files anybody may have made it first."""
    folder, elsewhere = tmp_path / "copy", tmp_path / "elsewhere"
    elsewhere.mkdir(0o700)
    match what:
        case "open to others":
            folder.mkdir()
            folder.chmod(0o750)
        case "a link":
            folder.symlink_to(elsewhere)
        case _:
            folder.touch()
    with pytest.raises(OperatorError, match="not the app's own"):
        Scripted(LEASED).fetch(folder)
    assert list(elsewhere.iterdir()) == []


def test_a_full_disk_has_a_name(tmp_path: Path) -> None:
    """And a remedy; no path of the machine is in it."""
    with pytest.raises(Unavailable, match="the local copy failed: ENOENT") as caught:
        Scripted(LEASED).fetch(tmp_path / "nowhere" / "copy")
    assert "disk" in (caught.value.remedy or "")
    assert LEASE_SECONDS == 60
