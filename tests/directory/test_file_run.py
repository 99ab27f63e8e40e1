"""A run whose store is a file in a blob: what it tells is stored, it holds the lease, and it ends in time."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from shared.adapters.database.blob_file import LEASE_SECONDS
from shared.adapters.database.sqlite import fold, in_file
from shared.adapters.database.store import SqlStore
from shared.core.directory.checkpoint import BIN_DAYS, BIN_SECONDS
from shared.core.directory.order import Order
from shared.core.directory.standing import TICK_SECONDS
from shared.core.directory.streams import STREAMS, USERS
from shared.core.errors import Unavailable
from shared.core.reply import Reply
from shared.directory.run import PUT_SECONDS, RENEW_SECONDS
from shared.directory.source import DirectorySource
from shared.telemetry.events import Events
from tests.adapters.database.directory_copy import GADGETS, NOW, ROOT, TENANT, oid
from tests.clock import FakeClock, run_virtual
from tests.directory.places import BLOB, CONTAINER, INTERVAL, InBlob
from tests.directory.test_run import page

SECONDS = 240.0
NEEDS = "the app needs Storage Blob Data Contributor on the container, and a way through the firewall"
STREAMS_HERE = (*STREAMS.values(), GADGETS)


class Graph:
    """A Graph whose every page is a user, the last of them with a delta link; a test may do something before each."""

    def __init__(self, pages: int = 1, *, first: int = 1) -> None:
        self.pages = pages
        self.first = first
        self.read = 0
        self.on_read: Callable[[], Awaitable[object]] | None = None

    async def page(self, link: str) -> bytes:
        """Read a page."""
        assert link.startswith(ROOT)
        self.read += 1
        if self.on_read is not None:
            await self.on_read()
        number = self.read - 1
        at = {"delta": f"d{self.read}"} if self.read >= self.pages else {"next_": f"n{self.read}"}
        return page(self.first + number, **at).encode()


class Machine(InBlob):
    """A machine with the copy, and its events."""

    async def sync(
        self,
        graph: Graph,
        *,
        both: bool = False,
        order: Order | None = Order(),  # noqa: B008  # no state
    ) -> list[dict[str, Any]]:
        """Run the sync of users, or of gadgets too; list its events."""
        lines: list[str] = []
        streams = (USERS, GADGETS) if both else (USERS,)
        source = DirectorySource(tenant_id=TENANT, root=ROOT, streams=streams, graph=graph)
        reports = Events(lines.append, wall=lambda: NOW, worker="w")
        await self.run([source], reports=reports, seconds=SECONDS, order=order)
        return [json.loads(line) for line in lines]

    def ids(self) -> set[object]:
        """List the people in the blob."""
        return {row[0] for row in self.query("select id from active_users")}

    def asked(self, operation: str) -> int:
        """Count the requests with this `comp`."""
        return sum(each.operation == operation for each in self.storage.requests)

    def break_lease(self) -> None:
        """Let the lease of the blob end, whoever holds it."""
        self.storage.end_lease(CONTAINER, BLOB)


@pytest.fixture
def clock() -> FakeClock:
    """Both clocks."""
    return FakeClock()


@pytest.fixture
def ours(tmp_path: Path, clock: FakeClock) -> Machine:
    """A machine."""
    return machine(tmp_path / "ours", clock)


@pytest.fixture
def other(tmp_path: Path, clock: FakeClock, ours: Machine) -> Machine:
    """Another machine, with the same blob."""
    return machine(tmp_path / "other", clock, ours)


def machine(folder: Path, clock: FakeClock, other: Machine | None = None) -> Machine:
    """Make a machine."""
    folder.mkdir()
    return Machine(folder, clock, STREAMS_HERE, storage=other.storage if other else None)


def run(story: Callable[[], Awaitable[None]], clock: FakeClock) -> None:
    """Run a story in virtual time."""

    async def whole() -> None:
        await story()

    run_virtual(whole, clock)


def test_a_run_that_moved_nothing_puts_nothing(ours: Machine, clock: FakeClock) -> None:
    """Graph wants to be left alone: the blob and its ETag stay as they are, and the copy is not fetched again."""

    async def story() -> None:
        await ours.sync(Graph())
        busy = Graph()

        async def fail() -> None:
            raise Unavailable(cause="Graph: HTTP 429", upstream_wait=timedelta(hours=1))

        busy.on_read = fail
        (event,) = await ours.sync(busy)
        assert event["event"] == "sync_failed"
        before = ours.content
        for _ in range(2):
            ours.storage.requests.clear()
            (event,) = await ours.sync(busy)
            assert (event["event"], event["cause"]) == ("sync_skipped", "Graph is asked again later")
            assert ours.asked("blocklist") == 0
            assert [each.status for each in ours.storage.requests if each.method == "GET"] == [304]
        assert ours.content == before

    run(story, clock)


def test_a_run_with_nothing_due_asks_once(ours: Machine, other: Machine, clock: FakeClock) -> None:
    """The timer fires each minute, on a machine without a copy too: the blob's metadata tell what is due."""

    async def story() -> None:
        (event,) = await ours.sync(Graph(), order=None)
        assert event["outcome"] == "complete"
        for _ in range(2):
            ours.storage.requests.clear()
            assert await other.sync(Graph(), order=None) == []
            assert [(each.method, each.operation) for each in ours.storage.requests] == [("HEAD", "")]
        clock.tick(INTERVAL)
        (event,) = await other.sync(Graph(), order=None)
        assert event["outcome"] == "complete"

    run(story, clock)


def test_a_blob_that_does_not_tell_what_is_due_is_fetched(ours: Machine, clock: FakeClock) -> None:
    """Somebody else has put it, without metadata: the file tells, and nothing is read that is not due."""

    async def story() -> None:
        await ours.sync(Graph())
        assert ours.content is not None
        ours.storage.write(CONTAINER, BLOB, ours.content)
        ours.storage.requests.clear()
        graph = Graph()
        assert await ours.sync(graph, order=None) == []
        assert (graph.read, ours.asked("lease")) == (0, 2)
        clock.tick(INTERVAL)
        (event,) = await ours.sync(graph, order=None)
        assert event["outcome"] == "complete"

    run(story, clock)


@pytest.mark.parametrize(
    ("answer", "event", "cause"),
    [
        (Reply(412, b""), "sync_skipped", "another run has taken over"),
        (
            Reply(403, b"", {"x-ms-error-code": "AuthorizationPermissionMismatch"}),
            "sync_failed",
            f"Azure Storage: HTTP 403 AuthorizationPermissionMismatch, {NEEDS}",
        ),
        (Reply(503, b""), "sync_failed", "Azure Storage: HTTP 503"),
    ],
    ids=["412", "403", "503"],
)
def test_no_event_tells_of_what_was_not_put(
    ours: Machine, clock: FakeClock, answer: Reply, event: str, cause: str
) -> None:
    """Each stream is told as failed or skipped, and never as finished; the next run reads the same pages."""

    async def story() -> None:
        ours.on_ask = lambda _, operation: answer if operation == "blocklist" else None
        events = await ours.sync(Graph(), both=True)
        assert [(each["event"], each["stream"], each["cause"]) for each in events] == [
            (event, "users", cause),
            (event, "gadgets", cause),
        ]
        assert ours.content is None
        ours.on_ask = lambda _method, _operation: None
        (finished,) = await ours.sync(Graph())
        assert (finished["outcome"], finished["pages"]) == ("complete", 1)
        assert ours.ids() == {oid(1)}

    run(story, clock)


@pytest.mark.slow
@pytest.mark.parametrize("operation", ["block", "blocklist", "lease"])
def test_a_blob_that_takes_nothing_is_left_alone_for_longer_and_longer(
    ours: Machine, clock: FakeClock, operation: str
) -> None:
    """FND-D10: as after every other failure, without a request in between. Readiness names the storage meanwhile."""

    async def story() -> None:
        await ours.sync(Graph())
        ours.on_ask = lambda _, asked: Reply(503, b"") if asked == operation else None
        clock.tick(INTERVAL)
        graph, failed = Graph(first=2), []
        for minute in range(128):
            ours.storage.requests.clear()
            if events := await ours.sync(graph, order=None):
                failed.append(minute)
                assert [(each["event"], each["cause"]) for each in events] == [
                    ("sync_failed", "Azure Storage: HTTP 503")
                ]
            else:
                assert ours.storage.requests == []
            clock.tick(TICK_SECONDS)
        assert failed == [0, 1, 3, 7, 14, 27, 53, 101]
        source = DirectorySource(tenant_id=TENANT, root=ROOT, streams=(USERS, GADGETS), graph=graph)
        standings = await ours.runs([source], reports=Events(print, wall=clock.wall, worker="w")).standings()
        assert [(each.stream, each.error) for each in standings] == [
            ("users", "Azure Storage: HTTP 503"),
            ("gadgets", "Azure Storage: HTTP 503"),
        ]
        ours.on_ask = lambda _method, _operation: None
        (event,) = await ours.sync(graph)
        assert event["outcome"] == "complete"
        ours.on_ask = lambda _, asked: Reply(503, b"") if asked == operation else None
        clock.tick(INTERVAL)
        assert [len(await ours.sync(graph, order=None)) for _ in range(2)] == [1, 0]
        clock.tick(TICK_SECONDS)
        assert len(await ours.sync(graph, order=None)) == 1

    run(story, clock)


def test_a_failure_is_over_once_another_machine_has_put(ours: Machine, other: Machine, clock: FakeClock) -> None:
    """FND-D10: the timer moves between machines. One that it left tells no failure of its own for ever."""

    async def story() -> None:
        await other.sync(Graph())
        ours.on_ask = lambda _, asked: Reply(503, b"") if asked == "lease" else None
        await ours.sync(Graph())
        ours.on_ask = lambda _method, _operation: None
        for _ in range(2):
            assert await errors(ours, clock) == ["Azure Storage: HTTP 503"]
        clock.tick(INTERVAL)
        await other.sync(Graph(first=2), order=None)
        assert await errors(ours, clock) == await errors(other, clock) == [None]
        await other.sync(Graph(first=3))
        assert await errors(ours, clock) == [None]

    run(story, clock)


async def errors(machine: Machine, clock: FakeClock) -> list[str | None]:
    """List why the last run of each stream failed, as readiness asks."""
    source = DirectorySource(tenant_id=TENANT, root=ROOT, streams=(USERS,), graph=Graph())
    runs = machine.runs([source], reports=Events(print, wall=clock.wall, worker="w"))
    return [each.error for each in await runs.standings()]


def test_a_second_run_stays_away(ours: Machine, other: Machine, clock: FakeClock) -> None:
    """REL-44: while another one holds the lease; it reads nothing, neither the blob nor Graph."""

    async def story() -> None:
        await ours.sync(Graph())
        slow, late = Graph(), Graph()

        async def try_another() -> None:
            before = len(other.storage.requests)
            for place in (other, ours):
                (event,) = await place.sync(late)
                assert (event["event"], event["cause"]) == ("sync_skipped", "another run is at it")
            assert {each.operation for each in other.storage.requests[before:]} == {"lease"}

        slow.on_read = try_another
        (event,) = await ours.sync(slow)
        assert event["event"] == "sync_finished"
        assert late.read == 0
        (event,) = await other.sync(late)
        assert event["event"] == "sync_finished"

    run(story, clock)


def test_a_lease_is_renewed_while_a_page_takes_its_time(ours: Machine, other: Machine, clock: FakeClock) -> None:
    """Every 20 seconds: three times as long as the lease another run stays away."""

    async def story() -> None:
        await ours.sync(Graph())
        slow = Graph()

        async def wait() -> None:
            for _ in range(3):
                await asyncio.sleep(LEASE_SECONDS)
                (event,) = await other.sync(Graph())
                assert event["event"] == "sync_skipped"

        slow.on_read = wait
        (event,) = await ours.sync(slow)
        assert event["event"] == "sync_finished"

    run(story, clock)


def test_a_renewal_that_is_refused_ends_the_run(ours: Machine, other: Machine, clock: FakeClock) -> None:
    """REL-44: another run has taken over. The stale one ends within 20 seconds, and its rows are nowhere."""

    async def story() -> None:
        await ours.sync(Graph())
        stale, began = Graph(first=7), clock().boot

        async def overtake() -> None:
            ours.break_lease()
            (event,) = await other.sync(Graph(first=2))
            assert event["event"] == "sync_finished"
            await asyncio.sleep(SECONDS)

        stale.on_read = overtake
        (event,) = await ours.sync(stale)
        assert (event["event"], event["cause"]) == ("sync_skipped", "another run has taken over")
        assert clock().boot - began <= RENEW_SECONDS
        assert ours.ids() == {oid(1), oid(2)}

    run(story, clock)


@pytest.mark.parametrize("ahead", [-300.0, 300.0])
def test_a_machine_that_stood_still_stores_nothing(
    ours: Machine, clock: FakeClock, tmp_path: Path, ahead: float
) -> None:
    """TST-06: its lease has ended by the clock of the account, whatever the clock of the next machine says.

    That one is neither too early nor too late. Rows never mix.
    """
    (of_other := FakeClock()).jump(ahead)
    other = machine(tmp_path / "other", of_other, ours)

    async def story() -> None:
        await ours.sync(Graph())
        stale = Graph(2, first=7)

        async def stand_still() -> None:
            if stale.read == 2:
                for seconds, expected in ((LEASE_SECONDS - 1, "sync_skipped"), (1, "sync_finished")):
                    clock.jump(seconds)  # no timer of this machine fires
                    (event,) = await other.sync(Graph(first=2))
                    assert event["event"] == expected

        stale.on_read = stand_still
        (event,) = await ours.sync(stale)
        assert (event["event"], event["cause"]) == ("sync_skipped", "another run has taken over")
        assert ours.ids() == {oid(1), oid(2)}

    run(story, clock)


def test_two_first_runs_are_one(ours: Machine, other: Machine, clock: FakeClock) -> None:
    """There is no blob to lease yet. One is stored, the other says so; their rows never mix."""

    async def story() -> None:
        slow = Graph(first=7)

        async def overtake() -> None:
            (event,) = await other.sync(Graph(first=1))
            assert event["event"] == "sync_finished"

        slow.on_read = overtake
        (event,) = await ours.sync(slow)
        assert (event["event"], event["cause"]) == ("sync_skipped", "another run has taken over")
        assert ours.ids() == {oid(1)}

    run(story, clock)


def test_a_run_ends_in_time_in_the_middle_of_a_page(ours: Machine, clock: FakeClock) -> None:
    """What it has read is put, so that a copy whose links live for minutes goes on; the next run reads that page."""

    async def story() -> None:
        slow, began = Graph(3), clock().boot

        async def hang() -> None:
            if slow.read == 2:
                await asyncio.sleep(3_600)

        slow.on_read = hang
        (event,) = await ours.sync(slow)
        assert (event["outcome"], event["pages"]) == ("to be continued", 1)
        assert clock().boot - began == SECONDS
        (link,) = ours.query("select link from sync_stream where lease_until is null")
        assert link == (f"{ROOT}/n1",)
        (event,) = await ours.sync(Graph(first=2))
        assert (event["outcome"], event["pages"]) == ("complete", 1)
        assert ours.ids() == {oid(1), oid(2)}

    run(story, clock)


def test_a_recycle_bin_that_does_not_answer_ends_in_time(ours: Machine, clock: FakeClock) -> None:
    """The round is put all the same, and the next run asks again; nothing has become of anybody meanwhile."""

    class Bin(Graph):
        async def page(self, link: str) -> bytes:
            if "filter" in link or "deletedItems" in link:
                await asyncio.sleep(3_600)
            gone = {"id": oid(1), "@removed": {"reason": "changed"}}
            return json.dumps({"value": [gone], "@odata.deltaLink": f"{ROOT}/d"}).encode()

    async def story() -> None:
        await ours.sync(Graph())
        clock.tick(BIN_SECONDS)
        for _ in range(2):
            began = clock().boot
            (event,) = await ours.sync(Bin())
            assert event["outcome"] == "complete"
            assert clock().boot - began == SECONDS
        assert ours.query("select state from directory_object") == [("deleted",)]
        assert len(ours.query("select * from directory_user")) == 1
        clock.tick(BIN_DAYS * BIN_SECONDS)
        await ours.sync(Bin())
        assert ours.query("select * from directory_user") == []

    run(story, clock)


class FullBin(Graph):
    """A Graph that takes a second for each answer about 6,000 people who were deleted.

    Of each six one was restored, three lie in the bin, and two are gone for good. No round tells of either.
    """

    def __init__(self) -> None:
        super().__init__()
        self.round = people(lambda number: {"id": oid(number)})
        self.asked = 0

    async def page(self, link: str) -> bytes:
        """Read a page of a round, or of a list."""
        if "/delta" in link or link.endswith("/next"):
            found, self.round = self.round, []
            return json.dumps({"value": found, "@odata.deltaLink": f"{ROOT}/next"}).encode()
        await asyncio.sleep(1)
        self.asked += 1
        query = parse_qs(urlsplit(link).query)
        if "$filter" in query:
            ids = {each.strip("'") for each in query["$filter"][0].removeprefix("id in (").removesuffix(")").split(",")}
            assert len(ids) <= 15
            return json.dumps({"value": [{"id": each} for each in ids if kind_of(each) == 0]}).encode()
        size, skip = int(query["$top"][0]), int(query.get("skip", ["0"])[0])
        lying = [each for each in people(lambda number: {"id": oid(number)}) if kind_of(each["id"]) > 2]
        more = {"@odata.nextLink": f"{ROOT}/deletedItems?$top={size}&skip={skip + size}"}
        is_last = skip + size >= len(lying)
        return json.dumps({"value": lying[skip : skip + size]} | ({} if is_last else more)).encode()


def people(item: Callable[[int], dict[str, Any]]) -> list[dict[str, Any]]:
    """Write one item for each of 6,000 people."""
    return [item(number) for number in range(6_000)]


async def fill(machine: Machine, graph: FullBin, clock: FakeClock) -> None:
    """Copy the people, have all of them deleted, and wait until the bin is looked into."""
    await machine.sync(graph)
    graph.round = people(lambda number: {"id": oid(number), "@removed": {"reason": "changed"}})
    await machine.sync(graph)
    clock.tick(BIN_SECONDS)


def kind_of(of: str) -> int:
    """Return which of six a person is."""
    return int(of[-12:]) % 6


@pytest.mark.slow
def test_a_full_recycle_bin_is_judged_by_one_run_after_the_other(ours: Machine, clock: FakeClock) -> None:
    """DIR-16, DIR-18: what a run has found out is not asked for again, until all is known; then a day has to pass."""

    async def story() -> None:
        graph = FullBin()
        await fill(ours, graph, clock)
        left = [6_000]
        while left[-1] != 3_000:
            (event,) = await ours.sync(graph)
            assert event["outcome"] == "complete"
            left.append(len(ours.query("select * from directory_object where state = 'deleted'")))
            assert left[-1] < left[-2]
        states = ours.query("select state, count(*) from directory_object group by state order by state")
        assert states == [("active", 1_000), ("deleted", 3_000), ("purged", 2_000)]
        await ours.sync(graph)
        graph.asked = 0
        await ours.sync(graph)
        assert graph.asked == 0

    run(story, clock)


class BrokenBin(FullBin):
    """A full bin whose answers break what reads them, after a first part."""

    async def page(self, link: str) -> bytes:
        """Read a page."""
        if self.asked == 200:
            raise KeyError
        return await super().page(link)


@pytest.mark.slow
def test_a_recycle_bin_that_breaks_a_run_after_a_part_is_a_failure(ours: Machine, clock: FakeClock) -> None:
    """FND-D10: readiness shows it, although parts of the bin are stored already."""

    async def story() -> None:
        graph = BrokenBin()
        await fill(ours, graph, clock)
        (event,) = await ours.sync(graph)
        assert (event["event"], event["cause"]) == ("sync_failed", "KeyError")
        assert 3_000 < len(ours.query("select * from directory_object where state = 'deleted'")) < 6_000
        (told,) = await errors(ours, clock)
        assert told is not None

    run(story, clock)


def test_a_file_that_is_slow_to_fetch_has_as_long_to_be_put(ours: Machine, other: Machine, clock: FakeClock) -> None:
    """A large copy would else never be put: the host ends the function a minute after the time for reading."""

    async def story() -> None:
        await other.sync(Graph())

        def fetch_slowly(method: str, _: str) -> None:
            if method == "GET":
                clock.suspend(70)

        ours.on_ask = fetch_slowly
        slow, began = Graph(2), clock().boot
        slow.on_read = lambda: asyncio.sleep(SECONDS if slow.read == 2 else 0)
        (event,) = await ours.sync(slow)
        assert (event["outcome"], event["pages"]) == ("to be continued", 1)
        assert clock().boot - began == SECONDS - (70 - PUT_SECONDS)

    run(story, clock)


@pytest.mark.parametrize(("fetch", "left", "event"), [(75, 120, "sync_failed"), (76, 118, "sync_finished")])
def test_only_a_run_that_waits_longer_than_a_request_takes_has_failed(
    ours: Machine, other: Machine, clock: FakeClock, fetch: int, left: int, event: str
) -> None:
    """FND-D10: what is left after a slow fetch can be too little to say that Graph hangs."""
    assert SECONDS - fetch - (fetch - PUT_SECONDS) == left

    async def story() -> None:
        await other.sync(Graph())
        ours.on_ask = lambda method, _: clock.suspend(fetch) if method == "GET" else None
        silent = Graph()
        silent.on_read = lambda: asyncio.sleep(3_600)
        (told,) = await ours.sync(silent)
        assert told["event"] == event

    run(story, clock)


def test_a_lease_of_a_stream_in_the_file_keeps_nobody_out(ours: Machine, clock: FakeClock, tmp_path: Path) -> None:
    """Whoever put the file has ended: its own lease excludes others."""
    file = tmp_path / "left.db"
    store = SqlStore(in_file(file), streams=STREAMS_HERE)
    store.begin(USERS, tenant_id=TENANT, root=ROOT, now=NOW)
    store.close()
    fold(file)
    ours.storage.write(CONTAINER, BLOB, file.read_bytes())

    async def story() -> None:
        (event,) = await ours.sync(Graph())
        assert (event["event"], event["outcome"]) == ("sync_finished", "complete")

    run(story, clock)


def test_a_blob_that_is_no_database_has_a_remedy(ours: Machine, clock: FakeClock) -> None:
    """DIR-08: the blob stays as it is, for the operator to look at."""
    ours.storage.write(CONTAINER, BLOB, b"generation = 1\n" * 100)

    async def story() -> None:
        (event,) = await ours.sync(Graph())
        assert (event["event"], event["cause"]) == ("sync_failed", "the store failed: SQLITE_NOTADB")
        assert "copies anew" in event["remedy"]
        assert ours.content == b"generation = 1\n" * 100

    run(story, clock)
