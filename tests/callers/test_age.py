import asyncio
import hashlib
import json
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from concurrent.futures import Executor, Future
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Any

import pytest

from shared.callers.health import DocumentHealth
from shared.callers.live import Callers
from shared.core.documents.content import Content
from shared.core.errors import NotReady, Unavailable, UnknownCaller
from shared.core.limits import Limits
from shared.core.policy import Deployment, Offer
from shared.telemetry.events import Events
from tests.clock import FakeClock, run_virtual, settle

KEY, OTHER_KEY = "the key of billing", "a key of nobody"
LIMITS = Limits()
REFRESH, MUST_CHECK, DEADLINE = 15.0, 30.0, 2.0
DAY = 86_400.0

type Story = Callable[["Desk"], Awaitable[None]]


def entry(name: str = "billing", key: str = KEY, more: str = "") -> str:
    """Write one caller."""
    return f'[callers.{name}]\nkey_sha256 = ["{hashlib.sha256(key.encode()).hexdigest()}"]\n{more}\n'


class AtOnce(Executor):
    """A pool without threads, which virtual time cannot wait for."""

    def submit[**P, T](self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Run it here."""
        done = Future[T]()
        try:
            done.set_result(fn(*args, **kwargs))
        except Exception as error:  # noqa: BLE001  # whoever waits gets it
            done.set_exception(error)
        return done


class Desk:
    """A callers document that lies where its test wants it to, and who reads it."""

    name = "callers.toml"

    def __init__(self, offers: Mapping[str, Offer]) -> None:
        self.clock = FakeClock()
        self.reads: list[float] = []
        self.etags: list[str] = []
        self.text: str | Exception = Unavailable(cause="away")
        self.hangs: asyncio.Event | None = None
        self.lines: list[str] = []
        self.cleared = 0
        self._events = Events(self.lines.append, wall=self.clock.wall, worker="w")
        self.callers = Callers(
            self,
            Deployment(offers),
            pool=AtOnce(),
            limits=LIMITS,
            clock=self.clock,
            events=self._events,
            on_new_generation=self._clear,
        )

    async def read(self, etag: str) -> Content | None:
        """Be the source."""
        self.reads.append(self.clock().boot)
        self.etags.append(etag)
        if self.hangs:
            await self.hangs.wait()
        if isinstance(self.text, Exception):
            raise self.text
        return None if etag and self.text == etag else Content(self.text, self.text.encode())

    def begin(self) -> Awaitable[None] | None:
        """Begin what a request begins with."""
        return self.callers.revalidate(self.clock().boot)

    async def who(self, key: str = KEY) -> str:
        """Name the caller of a key, as the vendor does."""
        if (checked := self.begin()) is not None:
            await checked
        return self.callers.identify(key, host_checked=True).name

    async def later(self, seconds: float = MUST_CHECK) -> None:
        """Let time pass, by default so much that the next request has the document checked before its answer."""
        await settle()
        self.clock.tick(seconds)

    def told(self) -> list[dict[str, Any]]:
        """List the events."""
        self._events.flush()
        return [json.loads(line) for line in self.lines]

    def _clear(self) -> None:
        self.cleared += 1


def tell(story: Story, text: str | Exception, offers: Mapping[str, Offer] = MappingProxyType({})) -> None:
    """Run a story in virtual time."""
    desk = Desk(offers)
    desk.text = text
    run_virtual(lambda: _as_coroutine(story, desk), desk.clock)


async def _as_coroutine(story: Story, desk: Desk) -> None:
    await story(desk)


@pytest.mark.parametrize(
    ("age", "waits", "reads"),
    [(14.9, False, 0), (15, False, 1), (29.9, False, 1), (30, True, 1), (3_600, True, 1)],
)
def test_how_old_decides_who_waits(age: float, reads: int, *, waits: bool) -> None:
    """REL-52: 15 s old it is checked in the background, and 30 s old before the answer."""

    async def story(desk: Desk) -> None:
        await desk.who()
        desk.text = entry("reports", OTHER_KEY)
        desk.clock.tick(age)
        checked = desk.begin()
        assert (checked is not None) is waits
        if checked is not None:
            await checked
            assert desk.callers.identify(OTHER_KEY, host_checked=True).name == "reports"
            with pytest.raises(UnknownCaller):
                desk.callers.identify(KEY, host_checked=True)
        else:
            assert desk.callers.identify(KEY, host_checked=True).name == "billing"
        await settle()
        assert len(desk.reads) == 1 + reads

    tell(story, entry())


def test_a_slow_document_keeps_a_crowd_for_two_seconds_once() -> None:
    """REL-51: they share a check and an event and go on with the last good one; what comes late counts, and its age."""

    async def story(desk: Desk) -> None:
        await desk.who()
        await desk.later()
        desk.hangs, desk.text, began = asyncio.Event(), entry("reports", OTHER_KEY), desk.clock().boot
        crowd = [asyncio.create_task(desk.who()) for _ in range(50)]
        await asyncio.sleep(DEADLINE / 2)
        crowd += [asyncio.create_task(desk.who()) for _ in range(50)]
        assert set(await asyncio.gather(*crowd)) == {"billing"}
        assert desk.clock().boot - began <= DEADLINE * 1.5
        assert len(desk.reads) == 2
        (event,) = desk.told()
        assert (event["event"], event["outcome"]) == ("callers_unread", "last good one kept")
        for _ in range(14):
            assert await desk.who() == "billing"
            desk.clock.tick(1)
        assert desk.clock().boot == began + DEADLINE * 1.5 + 14
        desk.hangs.set()
        await settle()
        assert await desk.who(OTHER_KEY) == "reports"
        desk.clock.tick(began + MUST_CHECK - desk.clock().boot)  # what was read is as old as the question
        checked = desk.begin()
        assert checked is not None
        await checked

    tell(story, entry())


def test_the_first_document_is_waited_for_as_long_as_an_attempt_takes() -> None:
    """REL-51: without one there is nothing to go on with; then 503 at once, until the next check before an answer."""

    async def story(desk: Desk) -> None:
        desk.hangs, began = asyncio.Event(), desk.clock().boot
        with pytest.raises(NotReady):
            await desk.who()
        assert desk.clock().boot - began == LIMITS.attempt_seconds
        with pytest.raises(NotReady):
            await desk.who()
        assert desk.clock().boot - began == LIMITS.attempt_seconds
        desk.hangs.set()
        await settle()
        assert await desk.who() == "billing"

    tell(story, entry())


@pytest.mark.parametrize("trouble", [Unavailable(cause="away"), KeyError("canary"), "[callers.billing", ""])
def test_a_document_that_fails_is_read_four_times_a_minute(trouble: str | Exception) -> None:
    """REL-51: asked every second, nobody waits after the first failure, and each failure is told; a defect is one."""

    async def story(desk: Desk) -> None:
        await desk.who()
        desk.text = trouble
        desk.clock.tick(MUST_CHECK)
        assert await desk.who() == "billing"
        for _ in range(300):
            desk.clock.tick(1)
            assert desk.begin() is None
            assert desk.callers.identify(KEY, host_checked=True).name == "billing"
            await settle()
        assert len(desk.reads) == 1 + 1 + 300 / REFRESH
        events = desk.told()
        assert len(events) == 1 + 300 / REFRESH
        assert {event["outcome"] for event in events} == {"last good one kept"}
        assert "canary" not in str(events)

    tell(story, entry())


def test_after_a_failure_the_whole_document_is_read() -> None:
    """REL-51: an ETag may be what the source cannot take back."""

    async def story(desk: Desk) -> None:
        await desk.who()
        for text in (entry(), Unavailable(cause="away"), entry(), entry()):
            await desk.later()
            desk.text = text
            await desk.who()
        assert desk.etags == ["", entry(), entry(), "", entry()]

    tell(story, entry())


def test_a_failure_is_no_excuse_for_longer_than_a_success() -> None:
    """REL-52: who asks seldom has the document checked before the answer again: it may be back, and a caller gone."""

    async def story(desk: Desk) -> None:
        await desk.who()
        desk.text = Unavailable(cause="away")
        await desk.later()
        assert await desk.who() == "billing"
        desk.text = entry("reports", OTHER_KEY)
        await desk.later()
        with pytest.raises(UnknownCaller):
            await desk.who()

    tell(story, entry())


def test_a_caller_who_goes_away_leaves_the_check_to_the_others() -> None:
    """REL-49: the check belongs to nobody."""

    async def story(desk: Desk) -> None:
        desk.hangs = asyncio.Event()
        leader, follower = asyncio.create_task(desk.who()), asyncio.create_task(desk.who())
        await settle()
        leader.cancel()
        desk.hangs.set()
        assert (await follower, len(desk.reads)) == ("billing", 1)
        await asyncio.wait([leader])
        assert leader.cancelled()

    tell(story, entry())


def test_a_crowd_does_not_wait_for_the_first_document() -> None:
    """FND-B4: strangers wait too, so that after five seconds 64 requests do, and later ones not at all."""

    async def story(desk: Desk) -> None:
        desk.hangs, began, waited = asyncio.Event(), desk.clock().boot, Counter[float]()

        async def ask(after: float) -> None:
            await asyncio.sleep(after)
            with pytest.raises(NotReady):
                await desk.who()
            waited[desk.clock().boot - began - after] += 1

        await asyncio.gather(*(ask(0) for _ in range(200)), *(ask(6) for _ in range(10)))
        assert waited == {LIMITS.shed_after_seconds: 200 - 64, LIMITS.attempt_seconds: 64, 0: 10}
        assert len(desk.reads) == 1

    tell(story, entry())


def test_a_check_that_hangs_is_given_up() -> None:
    """FND-B7: after the time of a caller it has failed, and the next request has the document read afresh."""

    async def story(desk: Desk) -> None:
        desk.hangs, began = asyncio.Event(), desk.clock().boot
        with pytest.raises(NotReady):
            await desk.who()
        desk.hangs = None
        await asyncio.sleep(began + LIMITS.caller_budget_seconds + 1 - desk.clock().boot)
        assert [event["cause"].rpartition(": ")[2] for event in desk.told()] == [
            "no answer within 8 s",
            "no answer within 20 s",
        ]
        await asyncio.sleep(began + MUST_CHECK - desk.clock().boot)
        assert await desk.who() == "billing"
        assert len(desk.reads) == 2

    tell(story, entry())


def test_a_check_that_ends_late_makes_no_later_attempt_older() -> None:
    """REL-52: nobody waits again before the last attempt is half a minute old, however old the check was that failed.

    The first request leaves, the second waits for the same check until its own time is over, and then the check fails.
    """

    async def story(desk: Desk) -> None:
        desk.hangs, began = asyncio.Event(), desk.clock().boot
        first = asyncio.create_task(desk.who())
        await asyncio.sleep(5)
        first.cancel()
        with pytest.raises(NotReady):
            await desk.who()
        await asyncio.sleep(began + 5 + MUST_CHECK - 1 - desk.clock().boot)
        desk.hangs = None
        assert desk.begin() is None
        await asyncio.sleep(1)
        assert await desk.who() == "billing"  # the check of a second ago was made in the background

    tell(story, entry())


def test_an_invalid_document_keeps_the_last_good_one() -> None:
    """REL-51: it changes nothing, half of it neither, and its mistakes are told."""

    async def story(desk: Desk) -> None:
        await desk.who()
        desk.text = "generations = 2\n" + entry("reports", OTHER_KEY) + entry("billing2", KEY, "mode = 'off'")
        await desk.later()
        assert await desk.who() == "billing"
        with pytest.raises(UnknownCaller):
            await desk.who(OTHER_KEY)
        (event,) = desk.told()
        assert (event["event"], event["outcome"]) == ("callers_invalid", "last good one kept")
        assert event["mistakes"][0].startswith("generations:")
        assert event["mistakes"][1].startswith("callers.billing2.mode:")
        assert (event["in_force"], event["newest"]) == (digest(entry()), digest(desk.text))

    tell(story, entry())


def digest(text: str) -> str:
    """Name a version of the document as reports do."""
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def test_a_document_that_cannot_be_read_grows_too_old() -> None:
    """REL-51: the last good one holds for a day, counted from the last time that it was seen."""

    async def story(desk: Desk) -> None:
        await desk.who()
        desk.text = Unavailable(cause="away")
        await desk.later(DAY)
        assert await desk.who() == "billing"
        await desk.later(1)
        with pytest.raises(NotReady):
            await desk.who()
        await desk.later()
        with pytest.raises(NotReady):
            await desk.who()
        assert [event["outcome"] for event in desk.told()] == ["last good one kept", "none"]
        desk.text = entry()
        await desk.later()
        assert await desk.who() == "billing"

    tell(story, entry())


@pytest.mark.parametrize(("generation", "cleared"), [(3, 1), (2, 0)])
def test_a_raised_generation_clears_the_tokens(generation: int, cleared: int) -> None:
    """SEC-22: once, only when it is raised, and whatever else has changed with it."""

    async def story(desk: Desk) -> None:
        await desk.who()
        assert desk.cleared == 0
        desk.text = f"generation = {generation}\n" + entry("reports", OTHER_KEY)
        for _ in range(2):
            await desk.later()
            assert await desk.who(OTHER_KEY) == "reports"
        assert desk.cleared == cleared
        (event,) = desk.told()
        assert (event["event"], event["generation"], event["count"]) == ("callers_changed", generation, 1)

    tell(story, "generation = 2\n" + entry())


def test_a_generation_raised_during_an_outage_counts() -> None:
    """SEC-22: tokens outlive a document that grew too old, so the memory of its generation does too."""

    async def story(desk: Desk) -> None:
        await desk.who()
        desk.text = Unavailable(cause="away")
        await desk.later(DAY + 1)
        with pytest.raises(NotReady):
            await desk.who()
        desk.text = "generation = 2\n" + entry()
        await desk.later()
        await desk.who()
        assert desk.cleared == 1

    tell(story, "generation = 1\n" + entry())


def test_the_time_of_a_caller_ends_by_the_wall_clock() -> None:
    """`not_after` is the first moment that is refused; the key does not fall through to everybody's entry."""

    async def story(desk: Desk) -> None:
        desk.clock.tick(59)
        assert await desk.who() == "billing"
        desk.clock.tick(1)
        with pytest.raises(UnknownCaller):
            await desk.who()

    end = datetime.fromtimestamp(FakeClock().wall() + 60, UTC).isoformat()
    tell(story, entry(more=f"not_after = {end}") + "[callers.'*']\n")


def test_everybody_is_whoever_has_no_entry() -> None:
    """The entry `*` is for keys that are nobody's and that the host accepts; there is none unless it is written."""

    async def story(desk: Desk) -> None:
        assert (await desk.who(), await desk.who(OTHER_KEY)) == ("billing", "*")
        with pytest.raises(UnknownCaller):
            desk.callers.identify(OTHER_KEY, host_checked=False)
        desk.text = entry()
        await desk.later()
        with pytest.raises(UnknownCaller):
            await desk.who(OTHER_KEY)

    tell(story, entry() + "[callers.'*']\n")


def test_whoever_asks_how_the_document_stands_is_told_of_the_last_check() -> None:
    """Its age is that of the last good check; a failed one since then is told, and so is that none is in force."""

    async def story(desk: Desk) -> None:
        assert await desk.callers.health() == DocumentHealth(None, is_failing=True)
        desk.text = entry()
        await desk.later()
        assert await desk.callers.health() == DocumentHealth(0, is_failing=False)
        await desk.later(10)
        assert await desk.callers.health() == DocumentHealth(10, is_failing=False)
        desk.text = Unavailable(cause="away")
        await desk.later()
        assert await desk.callers.health() == DocumentHealth(40, is_failing=True)

    tell(story, Unavailable(cause="away"))
