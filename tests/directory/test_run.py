"""What a run of the sync does with the pages that Graph gives it; the store is a real one."""

import asyncio
import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, closing
from itertools import count, pairwise
from pathlib import Path
from typing import Any

import pytest

from shared.adapters.database.store import LEASE_SECONDS
from shared.core.directory.checkpoint import EMPTY_PAGES, IDLE_PAGES, STUCK_SECONDS, LeaseHeld
from shared.core.directory.order import Order
from shared.core.directory.streams import GROUPS, STREAMS, USERS, Stream
from shared.core.errors import Unavailable
from shared.directory.graph import ResyncRequired
from shared.directory.source import DirectorySource
from shared.telemetry.events import Events
from tests.adapters.database.directory_copy import GADGETS, ROOT, TENANT, Copy, oid, query
from tests.clock import FakeClock
from tests.directory.places import PLACES, OpenPlace, opener

SECONDS, DAY = 240.0, 86_400.0


def page(*objects: int, next_: str = "", delta: str = "") -> str:
    """Write a page of objects without properties, with one of the two links."""
    return document(*({"id": oid(number)} for number in objects), next_=next_, delta=delta)


def document(*items: Mapping[str, object], next_: str = "", delta: str = "") -> str:
    """Write a page with one of the two links."""
    link = {"@odata.nextLink": f"{ROOT}/{next_}"} if next_ else {"@odata.deltaLink": f"{ROOT}/{delta}"}
    return json.dumps({"value": items, **link})


class Book:
    """A Graph whose pages are written down by the end of their links, and the store that they are copied to."""

    def __init__(self, open_place: OpenPlace, streams: tuple[Stream, ...] = (USERS,)) -> None:
        self.clock = FakeClock()
        self._place = open_place(self.clock, [*STREAMS.values(), GADGETS])
        self.file = self._place.file
        self.pages: dict[str, str | Exception] = {}
        self.read: list[str] = []
        self.on_read: Callable[[], None] = lambda: None
        self.lines: list[str] = []
        self._streams = streams

    def run(self, order: Order | None = None) -> list[dict[str, Any]]:
        """Run the sync once, and list its events."""
        before = len(self.lines)
        source = DirectorySource(tenant_id=TENANT, root=ROOT, streams=self._streams, graph=self)
        reports = Events(self.lines.append, wall=self.clock.wall, worker="w")
        asyncio.run(self._place.run([source], reports=reports, seconds=SECONDS, order=order or Order()))
        return [json.loads(line) for line in self.lines[before:]]

    async def page(self, link: str) -> bytes:
        """Read a page."""
        place = link.partition("?")[0].rpartition("/")[2]
        self.read.append(place)
        self.on_read()
        found = self.pages.get("/".join(link.partition("?")[0].split("/")[-2:])) or self.pages[place]
        if isinstance(found, Exception):
            raise found
        return found.encode()

    def lose_answer(self) -> None:
        """Let the next call to the store do its work, and fail all the same."""
        calls = count(1)

        def on_call() -> None:
            if next(calls) == 2:
                raise Unavailable(cause="the store failed: CONNECTION")

        self._place.on_call = on_call

    def other(self, stream: Stream = USERS) -> Copy:
        """Open the copy as another process does."""
        return Copy(self.file, stream)

    def rows(self, stream: Stream = USERS) -> set[str]:
        """List the objects that a reader finds."""
        copy = self.other(stream)
        with closing(copy.store):
            return set(copy.rows())

    def close(self) -> None:
        """Close the store."""
        self._place.close()


@pytest.fixture(params=PLACES)
def book(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Book]:
    """A Graph and an empty store in each place."""
    with closing(Book(opener(request.param, tmp_path, request))) as made:
        yield made


type OpenBook = Callable[..., Book]


@pytest.fixture(params=PLACES)
def open_book(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[OpenBook]:
    """Open a Graph of some streams and an empty store in each place."""
    with ExitStack() as books:
        yield lambda *streams: books.enter_context(closing(Book(opener(request.param, tmp_path, request), streams)))


in_a_file = pytest.mark.parametrize("book", ["a file"], indirect=True)
"""The lease of a stream keeps others out; with a blob the lease of the blob does: tests/directory/test_file_run.py."""


@pytest.mark.parametrize(
    ("pages", "read"),
    [
        ({"delta": page(1, next_="a"), "a": page(2, next_="a")}, ["delta", "a"]),
        ({"delta": page(1, next_="a"), "a": page(2, next_="b"), "b": page(3, next_="a")}, ["delta", "a", "b"]),
    ],
    ids=["to itself", "to an earlier page"],
)
def test_a_circle_of_links_is_not_followed(book: Book, pages: dict[str, str], read: list[str]) -> None:
    """FND-H8: each page is read once, the run ends with a cause, and what was stored is not lost."""
    book.pages |= pages
    (event,) = book.run()
    assert (event["event"], event["cause"]) == ("sync_failed", "Graph leads in a circle")
    assert book.read == read
    assert len(book.rows()) == len(read)
    book.pages["a"] = page(2, delta="end")
    assert book.run()[-1]["outcome"] == "complete"


@pytest.mark.slow
@in_a_file  # it is the sync that counts pages, and no store
@pytest.mark.parametrize(
    ("objects", "pages"), [((1,), 1 + IDLE_PAGES), ((), EMPTY_PAGES)], ids=["the same objects", "nothing"]
)
@pytest.mark.parametrize("start", ["a copy", "a round of changes"])
def test_a_graph_that_repeats_itself_is_left(book: Book, objects: tuple[int, ...], pages: int, start: str) -> None:
    """DIR-05: each page has another link. The run fails, and the next copy begins an hour later."""
    if start == "a round of changes":
        book.pages["delta"] = page(1, 2, delta="n0")
        book.run()
    else:
        book.pages["delta"] = page(*objects, next_="n1")
    book.pages |= {f"n{number}": page(*objects, next_=f"n{number + 1}") for number in range(EMPTY_PAGES + 1)}
    book.read.clear()
    restarted, failed = book.run()
    assert (restarted["event"], failed["event"]) == ("sync_restarted", "sync_failed")
    assert failed["cause"].endswith("Graph repeats itself: page after page without anything new")
    assert len(book.read) == pages
    book.pages["delta"] = page(1, 2, delta="end")
    assert book.run()[-1]["event"] == "sync_skipped"
    book.clock.tick(STUCK_SECONDS)
    assert book.run()[-1]["outcome"] == "complete"


def test_pages_without_anything_new_are_counted_over_runs(book: Book) -> None:
    """DIR-05: a run that reads 20 slow pages is followed by one that counts on."""
    book.pages |= {"delta": page(1, next_="n1")}
    book.pages |= {f"n{number}": page(1, next_=f"n{number + 1}") for number in range(IDLE_PAGES + 1)}
    book.on_read = lambda: book.clock.suspend(SECONDS / 20)
    assert [book.run()[-1]["event"] for _ in range(3)] == ["sync_finished", "sync_finished", "sync_failed"]
    assert len(book.read) == 1 + IDLE_PAGES


def test_many_pages_are_no_repetition(book: Book) -> None:
    """DIR-05: a page with one new object, after 49 with none, begins the count anew."""
    places = ["delta", *(f"n{number}" for number in range(1, 2 * IDLE_PAGES)), "end"]
    for number, (place, following) in enumerate(pairwise(places)):
        book.pages[place] = page(1 + number // IDLE_PAGES, next_=following)
    book.pages["end"] = page(delta="done")
    assert book.run()[-1]["outcome"] == "complete"


def test_a_large_group_that_is_emptied_is_no_repetition(open_book: OpenBook) -> None:
    """DIR-05: page after page names the same group, and memberships that are no more. The same pages again are one."""
    book = open_book(GROUPS)
    members = [{"id": oid(2 + number)} for number in range(2 * IDLE_PAGES)]
    book.pages["delta"] = document({"id": oid(1), "members@delta": members}, delta="n0")
    book.run()
    gone = [{**member, "@removed": {"reason": "deleted"}} for member in members]
    for number, member in enumerate(gone):
        book.pages[f"n{number}"] = document({"id": oid(1), "members@delta": [member]}, next_=f"n{number + 1}")
    book.pages[f"n{len(gone)}"] = document(delta="n0")
    assert [event["event"] for event in book.run()] == ["sync_finished"]
    assert query(book.file, "select * from group_members") == []
    book.pages[f"n{len(gone)}"] = document(next_="end")
    assert [event["event"] for event in book.run()] == ["sync_restarted", "sync_failed"]


@in_a_file
def test_a_run_holds_the_lease_as_long_as_it_stores_pages(book: Book) -> None:
    """FND-H8, TST-06: by the wall clock, as every process of every machine reads it, and free afterwards."""
    book.pages |= {"delta": page(1, next_="a"), "a": page(2, next_="b"), "b": page(3, delta="end")}

    def try_another() -> None:
        book.clock.jump(LEASE_SECONDS - 1)  # for others time passes, while this run has time left by the boot clock
        copy = book.other()
        with closing(copy.store), pytest.raises(LeaseHeld):
            copy.begin(now=book.clock().wall)

    book.on_read = try_another
    (event,) = book.run()
    assert (event["outcome"], event["pages"]) == ("complete", 3)
    copy = book.other()
    with closing(copy.store):
        assert copy.begin(now=book.clock().wall).link == f"{ROOT}/end"
    (event,) = book.run()
    assert (event["event"], event["cause"]) == ("sync_skipped", "another run is at it")


@in_a_file
def test_a_lease_that_a_wrong_clock_wrote_is_none(book: Book) -> None:
    """TST-06: a run was killed while the clock was a day ahead. Nobody waits a day for a lease of three minutes."""
    copy = book.other()
    with closing(copy.store):
        copy.begin(now=book.clock().wall + DAY)
    book.pages["delta"] = page(1, delta="end")
    assert book.run()[-1]["outcome"] == "complete"


@in_a_file
def test_a_run_that_was_overtaken_stores_nothing_more(book: Book) -> None:
    """TST-06: it says so in its event, and leaves the lease to the other."""
    book.pages |= {"delta": page(1, next_="a"), "a": page(2, delta="end")}

    def overtake() -> None:
        if len(book.read) == 2:
            copy = book.other()
            with closing(copy.store):
                copy.begin(now=book.clock().wall + LEASE_SECONDS)

    book.on_read = overtake
    (event,) = book.run()
    assert (event["event"], event["cause"]) == ("sync_skipped", "another run has taken over")
    assert book.rows() == {oid(1)}
    assert book.run()[-1]["event"] == "sync_skipped"


@in_a_file
def test_a_commit_without_an_answer_is_a_failure_of_the_store(book: Book) -> None:
    """The page is stored, and no other run has taken over: the event does not say so."""
    book.pages |= {"delta": page(1, next_="a"), "a": page(2, delta="end")}
    book.on_read = book.lose_answer
    (event,) = book.run()
    assert (event["event"], event["cause"]) == ("sync_failed", "the store failed: CONNECTION")
    book.on_read = lambda: None
    assert (book.run()[-1]["outcome"], book.read) == ("complete", ["delta", "a"])


def test_a_run_whose_time_is_over_begins_no_further_page(book: Book) -> None:
    """By the boot clock; the next run goes on with the next page, and reads none twice."""
    book.pages |= {"delta": page(1, next_="a"), "a": page(2, next_="b"), "b": page(3, delta="end")}
    book.on_read = lambda: book.clock.suspend(SECONDS / 2)
    (first,), (second,) = book.run(), book.run()
    assert (first["outcome"], first["pages"], first["latency_ms"]) == ("to be continued", 2, 1_000 * SECONDS)
    assert (second["outcome"], second["pages"], second["changes"], second["rows"]) == ("complete", 1, 1, 2)
    assert book.read == ["delta", "a", "b"]


def test_a_forgotten_link_starts_a_new_copy_in_the_same_run(book: Book) -> None:
    """REL-40: two events, and what the new copy lacks is deleted."""
    book.pages |= {
        "delta": page(1, 2, 3, delta="end"),
        "end": ResyncRequired(cause="Graph has forgotten the last link"),
    }
    book.run()
    book.pages["delta"] = page(1, 2, delta="end")
    assert [event["event"] for event in book.run()] == ["sync_restarted", "sync_finished"]
    assert book.rows() == {oid(1), oid(2)}


def test_a_defect_of_vend_is_noted_as_every_other_failure_is(book: Book) -> None:
    """FND-D10: readiness shows it, and the timer waits for longer and longer."""
    book.pages["delta"] = ZeroDivisionError("CANARY")
    for failures in (1, 2):
        book.run()
        (stream,) = query(book.file, "select failures, error, again_at is null as is_due from sync_stream")
        assert stream == {"failures": failures, "error": "ZeroDivisionError", "is_due": False}


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize(
    ("trouble", "cause"),
    [
        (Unavailable(cause="Graph: HTTP 503"), "Graph: HTTP 503"),
        (ZeroDivisionError("CANARY"), "ZeroDivisionError"),
        ('{"value": [], "@odata.nextLink": "https://evil.example/CANARY"}', "the page leads away from Graph"),
        ('{"value": [], "@odata.deltaLink": "https://evil.example/CANARY"}', "the page leads away from Graph"),
    ],
    ids=["outage", "defect", "next link", "FND-H2 delta link"],
)
def test_a_failure_of_one_stream_stops_no_other(
    request: pytest.FixtureRequest, tmp_path: Path, place: str, trouble: str | Exception, cause: str
) -> None:
    """REL-39, SEC-12: each stream has an event, without a word of what came, and the lease is free."""
    with closing(Book(opener(place, tmp_path, request), (USERS, GADGETS))) as book:
        book.pages |= {"users/delta": trouble, "gadgets/delta": page(1, delta="end"), "end": page(2, delta="end")}
        failed, finished = sorted(book.run(), key=lambda event: event["event"])
        assert (failed["event"], failed["stream"], failed["cause"]) == ("sync_failed", "users", cause)
        assert (finished["event"], finished["stream"]) == ("sync_finished", "gadgets")
        book.pages["users/delta"] = page(3, delta="end")
        assert [event["event"] for event in book.run()] == ["sync_finished"] * 2
        assert "CANARY" not in "".join(book.lines)
        assert (book.rows(), book.rows(GADGETS)) == ({oid(3)}, {oid(1), oid(2)})
