import asyncio
import json
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

import pytest

from emulator.cloud import LocalCloud
from emulator.network.faults import Fault, Kind
from emulator.seed import CONTAINER, IDENTITY_PRINCIPAL_ID
from shared.api.routes import ROUTES, Route
from tests.clock import FakeClock
from tests.in_process import KEY, App, ParsedFault, callers_document, suffering
from tests.tables import case_id, cases

NAME = "callers.toml"
READER = "Storage Blob Data Reader"
KEYS = {"billing": KEY, "reports": "a-function-key-of-reports"}
# Faults that a request meets before it reaches the storage: they are counted where they happen.
UNREACHED = {Kind.BLACK_HOLE, Kind.STATUS, Kind.GARBAGE}

type Where = Literal["file", "blob"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Unread:
    """A document that cannot be read or is no good; tests/data/callers_faults.toml describes the fields."""

    id: str
    where: Where
    fault: ParsedFault | None = None
    text: str | None = None
    large: int = 0
    gone: bool = False
    forbidden: bool = False
    known: bool = True
    limits: Mapping[str, float] = field(default_factory=dict)
    requests: int = 1
    event: str
    says: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Changed:
    """A document that changes; the same file describes the fields."""

    id: str
    where: Where
    callers: tuple[str, ...]
    key: str | None = None
    generation: int = 1
    age: int = 0
    status: int
    source: str | None = None


class Shelf:
    """Where a document lies that several workers read: a file, or a blob."""

    def __init__(self, cloud: LocalCloud, folder: Path, where: Where) -> None:
        self._cloud = cloud
        self._file = folder / NAME
        self._in_blob = where == "blob"
        place = f"{cloud.blob_url}/{CONTAINER}/{NAME}" if self._in_blob else str(self._file)
        self.settings = f"callers = {json.dumps(place)}\napp_checked_routes = true\n"

    def put(self, text: str, *, age: float = 0) -> None:
        """Replace the document."""
        if self._in_blob:
            self._cloud.blob.write(CONTAINER, NAME, text.encode(), age=age)
        else:
            self._file.write_text(text)

    def take_away(self) -> None:
        """Leave nothing there."""
        if self._in_blob:
            self._cloud.blob.remove(CONTAINER, NAME)
        else:
            self._file.unlink()

    def worker(self, clock: FakeClock, folder: Path, *, limits: str = "") -> App:
        """Start a worker that reads here."""
        folder.mkdir(exist_ok=True)
        return App(self._cloud, clock, folder, settings=self.settings + limits)


@contextmanager
def trouble(case: Unread, cloud: LocalCloud, shelf: Shelf) -> Iterator[None]:
    """Make happen what a case says."""
    with ExitStack() as stack:
        if case.fault:
            fault = replace(case.fault, body="x" * case.large) if case.large else case.fault
            stack.enter_context(suffering(cloud.faults["blob"], fault))
        elif case.forbidden:
            cloud.blob.unassign(IDENTITY_PRINCIPAL_ID, READER)
            stack.callback(cloud.blob.assign, IDENTITY_PRINCIPAL_ID, READER)
        elif case.gone:
            shelf.take_away()
        else:
            shelf.put("#" * case.large if case.text is None else case.text)
        yield


class Reads:
    """Counts reads of the document: where they are met, or where nobody meets them, by what is told of each."""

    def __init__(self, case: Unread, cloud: LocalCloud, app: App) -> None:
        self._kind = case.fault.kind if case.fault else None
        self._by_events = case.where == "file" or self._kind is Kind.REFUSE
        self._event = case.event
        self._cloud = cloud
        self._app = app
        self._before = self._total()

    def since(self) -> int:
        """Tell how many there were since the last time."""
        before, self._before = self._before, self._total()
        return self._before - before

    def _total(self) -> int:
        if self._by_events:
            return len(self._app.everything(self._event))
        return self._cloud.faults["blob"].taken if self._kind in UNREACHED else len(self._cloud.blob.requests)


async def over(case: Unread, app: App, clock: FakeClock) -> None:
    """Let half a minute go by after the trouble.

    Where a row makes the wait for the document a part of a real second, a busy machine may need longer for a good
    answer too. The check goes on behind that request, so the document is in force when it has ended.
    """
    clock.tick(30)
    if case.limits:
        await app.ask()
        await app.landed()


@pytest.mark.slow
@pytest.mark.parametrize("case", cases("callers_faults.toml", Unread, "unread", beside=["changed"]), ids=case_id)
def test_a_document_that_is_no_good_changes_nothing(
    case: Unread, timeless: LocalCloud, fake_clock: FakeClock, tmp_path: Path
) -> None:
    """Each row: who was known is served, one read and one event in 15 s, and a worker that never had one answers 503.

    And for every row: once the trouble is over, what lies there is in force.
    """
    shelf = Shelf(timeless, tmp_path, case.where)
    limits = "".join(f"limits.{name} = {value}\n" for name, value in case.limits.items())

    async def known(app: App) -> None:
        while (await app.ask()).status != 200:  # the first one of a process imports the SDKs
            fake_clock.tick(30)
        with trouble(case, timeless, shelf):
            fake_clock.tick(30)
            reads = Reads(case, timeless, app)
            counts = []
            for seconds in (0, 14, 1, 14, 1):
                fake_clock.tick(seconds)
                assert (await app.ask()).status == 200
                await app.landed()
                counts.append(reads.since())
            assert counts == [case.requests * number for number in (1, 0, 1, 0, 1)]
        events = app.everything(case.event)
        assert {event["outcome"] for event in events} == {"last good one kept"}
        assert any((event.get("mistakes") or [event["cause"]])[0].startswith(case.says) for event in events)
        shelf.put(callers_document({"reports": KEYS["reports"]}))
        await over(case, app, fake_clock)
        assert (await app.ask()).status == 401

    async def new(app: App) -> None:
        with trouble(case, timeless, shelf):
            reads = Reads(case, timeless, app)
            told = [await app.ask(), await app.ask()]
            await app.landed()
            assert [(answer.status, answer.wait) for answer in told] == [(503, 30), (503, 30)]
            assert reads.since() == case.requests
        assert {event["outcome"] for event in app.everything(case.event)} == {"none"}
        shelf.put(callers_document(KEYS))
        await over(case, app, fake_clock)
        assert (await app.ask()).status == 200

    async def story() -> None:
        shelf.put(callers_document({"billing": KEY}))
        if case.known:
            async with shelf.worker(fake_clock, tmp_path / "known", limits=limits) as app:
                await known(app)
        async with shelf.worker(fake_clock, tmp_path / "new", limits=limits) as app:
            await new(app)

    asyncio.run(story())


@pytest.mark.parametrize("case", cases("callers_faults.toml", Changed, "changed", beside=["unread"]), ids=case_id)
def test_a_change_is_in_force_on_every_worker(
    case: Changed, timeless: LocalCloud, fake_clock: FakeClock, tmp_path: Path
) -> None:
    """Each row: half a minute after it both workers answer by it, with one read each, and tell that it changed."""
    shelf = Shelf(timeless, tmp_path, case.where)

    async def story() -> None:
        shelf.put(callers_document({"billing": KEY}))
        one, other = (shelf.worker(fake_clock, tmp_path / name) for name in ("one", "other"))
        async with one, other:
            old = {(await app.ask()).body["access_token"] for app in (one, other)}
            fake_clock.tick(14)
            keys = {name: case.key or KEYS[name] for name in case.callers}
            shelf.put(callers_document(keys, generation=case.generation), age=case.age)
            assert [(await app.ask()).status for app in (one, other)] == [200, 200]
            fake_clock.tick(30)
            told = [await app.ask() for app in (one, other)]
            assert [answer.status for answer in told] == [case.status] * 2
            assert {answer.body.get("token_source") for answer in told} == {case.source}
            kept = {answer.body.get("access_token") for answer in told} == old
            assert kept is (case.source == "cache")
            for app in (one, other):
                (event,) = app.everything("callers_changed")
                assert (event["count"], event["generation"]) == (len(keys), case.generation)

    asyncio.run(story())


@pytest.mark.parametrize("route", ROUTES, ids=[route.name for route in ROUTES])
def test_a_revoked_key_opens_no_route(
    route: Route, timeless: LocalCloud, fake_clock: FakeClock, tmp_path: Path
) -> None:
    """ABU-21, REL-52: the check stands before every route, whoever asks there first."""
    shelf = Shelf(timeless, tmp_path, "blob")

    async def story() -> None:
        shelf.put(callers_document({"billing": KEY}))
        async with shelf.worker(fake_clock, tmp_path) as app:
            assert (await app.ask(route=route)).status == 200
            shelf.put(callers_document({"reports": KEYS["reports"]}))
            fake_clock.tick(30)
            assert (await app.ask(route=route)).status == 401

    asyncio.run(story())


def test_a_token_that_the_blob_service_rejects_is_not_used_again(
    timeless: LocalCloud, fake_clock: FakeClock, tmp_path: Path
) -> None:
    """REL-42: the same check gets a newer token, which later ones keep. So a new worker knows its callers at once."""
    shelf = Shelf(timeless, tmp_path, "blob")
    identity, once = timeless.faults["identity"], Fault(kind=Kind.STATUS, status=401, times=1)

    async def story() -> None:
        shelf.put(callers_document({"billing": KEY}))
        async with shelf.worker(fake_clock, tmp_path) as app:
            assert (await app.ask()).status == 200
            asked = []
            # A delay of nothing counts the requests.
            with suffering(timeless.faults["blob"], once), suffering(identity, Fault(kind=Kind.DELAY, seconds=0)):
                for _ in range(3):
                    before = identity.taken
                    fake_clock.tick(30)
                    assert (await app.ask()).status == 200
                    asked.append(identity.taken - before)
            assert asked == [1, 0, 0]
        with suffering(timeless.faults["blob"], once):
            async with shelf.worker(fake_clock, tmp_path) as app:
                assert (await app.ask()).status == 200

    asyncio.run(story())


def test_a_document_that_is_replaced_while_it_is_read_is_one_of_the_two(
    timeless: LocalCloud, fake_clock: FakeClock, tmp_path: Path
) -> None:
    """REL-51: a blob is replaced whole, so a check brings back one of the two; the next one finds that unchanged."""
    shelf = Shelf(timeless, tmp_path, "blob")

    async def story() -> None:
        shelf.put(callers_document({"billing": KEY}))
        async with shelf.worker(fake_clock, tmp_path) as app:
            await app.ask()
            fake_clock.tick(30)
            with suffering(timeless.faults["blob"], Fault(kind=Kind.HOLD)):
                asked = asyncio.create_task(app.ask())
                await asyncio.to_thread(timeless.faults["blob"].wait_for, 1)
                shelf.put(callers_document(KEYS))
            assert (await asked).status == 200
            assert (await app.ask(key=KEYS["reports"])).status == 200
            seen = timeless.blob.requests[-1]
            fake_clock.tick(15)
            await app.ask()
            await app.landed()
            assert (seen.status, timeless.blob.requests[-1].status) == (200, 304)

    asyncio.run(story())
