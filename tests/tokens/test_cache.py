import asyncio
import gc
import json
import traceback
import weakref
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta

import pytest

from shared.core.errors import (
    CredentialRefused,
    InvalidRequest,
    OperatorError,
    ScopeRefused,
    TimedOut,
    Unavailable,
    VendError,
)
from shared.core.limits import Limits
from shared.core.token import AccessToken, Acquired, TokenKey, TokenSource, Wanted
from shared.telemetry.events import Events
from shared.tokens.cache import TokenCache
from shared.tokens.entry import Counters
from shared.tokens.forced_refresh import CHALLENGES
from tests.clock import FakeClock, fake_system, run_virtual, settle

KEY = TokenKey("graph", "tenant", "https://graph.microsoft.com/.default")
CLAIMS, OTHER_CLAIMS = '{"access_token":{"acrs":{"value":"c1"}}}', '{"access_token":{"acrs":{"value":"c2"}}}'
LIFETIME, REFRESH_AFTER, FLOOR, FAILING_FLOOR = 3_600.0, 1_440.0, 300.0, 60.0


class Sent:
    """What a flight holds while it asks."""


class Issuer:
    """Gives tokens that name their key and their number; it can hold every answer back, and fail."""

    def __init__(self, clock: FakeClock) -> None:
        self._clock = clock
        self.wanted: list[Wanted] = []
        self.asked: list[TokenKey] = []
        self.claims: list[str | None] = []
        self.open = asyncio.Event()
        self.open.set()
        self.held: dict[int, asyncio.Event] = {}
        self.sent: list[weakref.ref[Sent]] = []
        self.error: Exception | None = None
        self.errors: dict[int, Exception] = {}
        self.clock_ahead = 0.0
        self.lifetime = LIFETIME
        self.takes = 0.0

    async def acquire(self, wanted: Wanted) -> Acquired:
        """Give a token, or fail, once the gate is open."""
        sent = Sent()
        self.sent.append(weakref.ref(sent))
        self.wanted.append(wanted)
        self.asked.append(wanted.key)
        self.claims.append(wanted.claims)
        count, asked = len(self.asked), self._clock()
        await self.held.get(count, self.open).wait()
        if self.takes:
            await asyncio.sleep(self.takes)
        if (error := self.errors.get(count, self.error)) is not None:
            raise error
        token = AccessToken(
            secret=f"{'|'.join(wanted.key)}#{count}",
            asked=asked,
            lifetime=self.lifetime,
            refresh_after=min(REFRESH_AFTER, self.lifetime / 2),
            clock_ahead=self.clock_ahead,
        )
        return Acquired(token, TokenSource.IDENTITY_PROVIDER)


class Bench:
    """A cache with everything around it."""

    def __init__(self, limits: Limits | None = None) -> None:
        self.clock = FakeClock()
        self.issuer = Issuer(self.clock)
        self.lines: list[str] = []
        self.events = Events(self.lines.append, wall=lambda: self.clock().wall, worker="w")
        self.version = "v1"
        self.draw = 0.0
        self.cache = TokenCache(
            self.issuer.acquire,
            version=lambda _: self.version,
            limits=limits or Limits(),
            system=fake_system(self.clock, chance=lambda: self.draw),
            events=self.events,
        )

    async def secret(
        self,
        key: TokenKey = KEY,
        *,
        claims: str | None = None,
        rejected: AccessToken | None = None,
        caller: str = "billing",
    ) -> str:
        """Get a token as a caller does."""
        digest = rejected.sha256 if rejected else None
        served = await self.cache.get(key, claims=claims, rejected=digest, caller=caller)
        return served.token.secret

    async def refused(self, *, claims: str | None = None, caller: str = "billing") -> VendError:
        """Ask for a token that cannot be had."""
        with pytest.raises(VendError) as caught:
            await self.secret(claims=claims, caller=caller)
        return caught.value

    async def cached(self) -> AccessToken:
        """Get a first token, and see it in the cache."""
        await self.secret()
        token = self.cache.hit(KEY)
        assert token is not None
        return token

    def run(self, story: Callable[[], Awaitable[None]]) -> None:
        """Run a story in the time of this bench."""

        async def told() -> None:
            await story()

        run_virtual(told, self.clock)


def number(count: int) -> str:
    """Name the token of the issuer's n-th answer."""
    return f"{'|'.join(KEY)}#{count}"


def answer_of_500() -> Unavailable:
    """Make the error of a request that Entra has answered with 500."""
    error = Unavailable()
    error.of_request = True
    return error


def key(count: int) -> TokenKey:
    """Make a key; neighbours differ in one of its fields, by turns."""
    turn, step = divmod(count, 3)
    return TokenKey(f"profile-{turn + (step > 0)}", f"tenant-{turn + (step > 1)}", f"api://{turn}/.default")


def test_a_token_is_got_once_and_then_served_from_the_cache() -> None:
    """A miss asks Entra, a hit asks nobody."""
    bench = Bench()

    async def story() -> None:
        first, second = await bench.cache.get(KEY), await bench.cache.get(KEY)
        assert (first.source, second.source) == (TokenSource.IDENTITY_PROVIDER, TokenSource.CACHE)
        assert first.token is second.token

    bench.run(story)
    assert bench.issuer.asked == [KEY]


def test_a_stale_token_is_served_while_a_newer_one_is_got() -> None:
    """Nobody waits for a refresh, one flight makes it however many ask, and the next caller has the newer token."""
    bench = Bench()

    async def story() -> None:
        old = await bench.secret()
        bench.clock.tick(REFRESH_AFTER)
        bench.issuer.open.clear()
        assert [await bench.secret() for _ in range(3)] == [old] * 3
        await settle()
        assert len(bench.issuer.asked) == 2
        bench.issuer.open.set()
        await settle()
        assert await bench.secret() == number(2)
        first, second = (wanted.newer_than for wanted in bench.issuer.wanted)
        assert (first, second) == (None, FakeClock()())

    bench.run(story)


@pytest.mark.parametrize("move", [FakeClock.tick, FakeClock.jump, FakeClock.suspend])
def test_a_token_below_the_floor_is_not_served(move: Callable[[FakeClock, float], None]) -> None:
    """REL-36: by either clock; then the caller waits for a new one, and a failure is its answer."""
    bench = Bench()

    async def story() -> None:
        await bench.secret()
        move(bench.clock, LIFETIME - FAILING_FLOOR + 1)
        bench.issuer.error = Unavailable(cause="down")
        with pytest.raises(Unavailable):
            await bench.secret()
        bench.issuer.error = None
        bench.clock.tick(5)
        assert (await bench.cache.get(KEY)).source is TokenSource.IDENTITY_PROVIDER

    bench.run(story)


@pytest.mark.parametrize("lifetime", [10, 60, 100])
def test_a_token_of_a_short_life_is_served_for_half_of_it(lifetime: float) -> None:
    """However short it lives, not every request is one to Entra, and none gets what is about to end."""
    bench = Bench()
    bench.issuer.lifetime = lifetime

    async def story() -> None:
        for _ in range(10):
            assert await bench.secret() == number(1)
            bench.clock.tick(lifetime / 20.5)
        bench.clock.tick(lifetime / 20)
        bench.issuer.error = Unavailable()
        assert isinstance(await bench.refused(), Unavailable)

    bench.run(story)


def test_a_thousand_callers_share_one_flight() -> None:
    """TST-02: single flight."""
    bench = Bench()

    async def story() -> None:
        bench.issuer.open.clear()
        waiting = [asyncio.create_task(bench.secret()) for _ in range(1_000)]
        await settle()
        bench.issuer.open.set()
        assert len(set(await asyncio.gather(*waiting))) == 1

    bench.run(story)
    assert len(bench.issuer.asked) == 1


def test_the_leader_may_leave() -> None:
    """REL-49: who started the flight goes away; who joined it is served by it."""
    bench = Bench()

    async def story() -> None:
        bench.issuer.open.clear()
        leader = asyncio.create_task(bench.secret())
        await settle()
        follower = asyncio.create_task(bench.secret())
        await settle()
        leader.cancel()
        with pytest.raises(asyncio.CancelledError):
            await leader
        bench.issuer.open.set()
        assert await follower == number(1)

    bench.run(story)
    assert len(bench.issuer.asked) == 1


def test_an_error_reaches_everybody_who_waits() -> None:
    """TST-02: one flight fails for all of them; each gets a copy of its own, so that no traceback grows."""
    bench = Bench()

    async def story() -> None:
        bench.issuer.error = Unavailable(cause="down")
        results = await asyncio.gather(*(bench.refused() for _ in range(5)))
        assert {(type(result), result.cause, result.wait) for result in results} == {
            (Unavailable, "down", timedelta(seconds=5))
        }
        assert len({id(result) for result in results}) == 5

    bench.run(story)
    assert len(bench.issuer.asked) == 1


@pytest.mark.parametrize("claims", [None, CLAIMS], ids=["ordinary", "a challenge"])
@pytest.mark.parametrize("kind", [Unavailable, OperatorError, KeyError])
def test_a_remembered_failure_keeps_nothing_of_its_flight(kind: type[Exception], claims: str | None) -> None:
    """SEC-09: a traceback has the frames of the flight, and those hold what was sent; each caller gets a plain copy."""
    bench = Bench()
    bench.issuer.error = kind()

    async def story() -> None:
        refused = [await bench.refused(claims=claims) for _ in range(3)]
        assert len(bench.issuer.asked) == 1
        assert len({id(each) for each in refused}) == 3
        assert {(each.__cause__, each.__context__) for each in refused} == {(None, None)}
        assert len({len(traceback.extract_tb(each.__traceback__)) for each in refused[1:]}) == 1

    bench.run(story)
    bench.issuer.error = None  # whose own traceback is no matter of the cache
    gc.collect()
    assert [sent() for sent in bench.issuer.sent] == [None]


@dataclass(frozen=True)
class Remembered:
    """A failure, and for how many seconds one, two and three of it in a row are remembered."""

    error: Exception
    waits: tuple[float, float, float]
    is_told: bool = True

    def told(self, seconds: float) -> timedelta | None:
        """Tell what a caller is told of a wait; a denial by Entra has to look like one by policy (SEC-05)."""
        return timedelta(seconds=seconds) if self.is_told else None


@pytest.mark.parametrize(
    "case",
    [
        Remembered(Unavailable(), (5, 7.5, 11.25)),
        Remembered(TimedOut(), (5, 7.5, 11.25)),
        Remembered(Unavailable(upstream_wait=timedelta(seconds=40)), (40, 40, 40)),
        Remembered(Unavailable(upstream_wait=timedelta(hours=9)), (3_600, 3_600, 3_600)),
        Remembered(OperatorError(), (60, 60, 60)),
        Remembered(ScopeRefused(), (60, 60, 60), is_told=False),
        Remembered(ZeroDivisionError("CANARY"), (60, 60, 60), is_told=False),
    ],
    ids=lambda case: f"{type(case.error).__name__} {case.waits[0]:.0f}",
)
def test_a_failure_is_remembered(case: Remembered) -> None:
    """REL-01 to REL-06: no flight starts before the wait is over, callers are told what is left of it, all cheaply."""
    bench = Bench()
    bench.issuer.error = case.error

    async def story() -> None:
        for flights, wait in enumerate(case.waits, start=1):
            first = await bench.refused()
            assert first.wait == case.told(wait)
            bench.clock.tick(wait - 1)
            again = await bench.refused()
            assert (type(again), again.wait) == (type(first), case.told(1))
            assert "CANARY" not in again.cause
            assert len(bench.issuer.asked) == flights
            bench.clock.tick(1)

    bench.run(story)


def test_a_flight_that_goes_well_ends_the_row_of_failures() -> None:
    """REL-03: the next failure counts as the first."""
    bench = Bench()

    async def story() -> None:
        for error, wait in ((Unavailable(), 5), (Unavailable(), 7.5), (None, 0), (Unavailable(), 5)):
            bench.issuer.error = error
            if error is None:
                await bench.secret()
                bench.clock.tick(LIFETIME)
            else:
                assert (await bench.refused()).wait == timedelta(seconds=wait)
                bench.clock.tick(wait)

    bench.run(story)


def test_waits_are_jittered() -> None:
    """Workers that failed together do not come back together: ours is shortened, upstream's is told a little longer."""
    bench = Bench()
    bench.draw = 1.0

    async def story() -> None:
        bench.issuer.error = Unavailable()
        assert (await bench.refused()).wait == timedelta(seconds=4.5)
        bench.clock.tick(4.5)
        bench.issuer.error = Unavailable(upstream_wait=timedelta(seconds=60))
        assert (await bench.refused()).wait == timedelta(seconds=66)

    bench.run(story)


def test_a_changed_credential_clears_what_only_it_could_mend() -> None:
    """A refused certificate is remembered for the version that was refused; an outage has nothing to do with it."""
    bench = Bench()

    async def story() -> None:
        for error, flights in ((CredentialRefused(), 2), (Unavailable(), 3)):
            bench.issuer.error = error
            bench.clock.tick(60)
            await bench.refused()
            bench.version += "+"
            await bench.refused()
            assert len(bench.issuer.asked) == flights

    bench.run(story)


def test_an_outage_is_ridden_through() -> None:
    """REL-17, REL-18: served down to 60 s before the end, one flight per wait; then a new token."""
    bench = Bench()

    async def story() -> None:
        await bench.secret()
        bench.issuer.error = Unavailable()
        served = 0
        for second in range(1, 4_000):
            bench.clock.tick(1)
            with suppress(Unavailable):
                await bench.secret()
                served = second
            await settle()
        assert served == LIFETIME - FAILING_FLOOR
        # 5 s growing to 240 s: as many waits as fit between the moment when the refresh was due and the end.
        assert len(bench.issuer.asked) <= 1 + 10 + (LIFETIME - REFRESH_AFTER) / 240
        bench.issuer.error = None
        bench.clock.tick(240)
        assert await bench.secret()

    bench.run(story)


def test_a_caller_waits_a_second_at_most_while_minutes_are_left() -> None:
    """With 60 s to 300 s left: a quick Entra gives a new token, a slow or failing one costs a second or nothing."""
    bench = Bench()

    async def story() -> None:
        old = await bench.secret()
        bench.clock.tick(LIFETIME - FLOOR + 1)
        bench.issuer.open.clear()
        began = bench.clock().boot
        assert set(await asyncio.gather(bench.secret(), bench.secret())) == {old}
        assert bench.clock().boot - began == pytest.approx(Limits().short_wait_seconds)
        bench.issuer.error = Unavailable()
        bench.issuer.open.set()
        await settle()
        assert bench.cache.hit(KEY)
        assert len(bench.issuer.asked) == 2
        bench.clock.tick(5)
        assert await bench.secret() == old
        bench.clock.tick(10)
        bench.issuer.error = None
        assert await bench.secret() == number(4)

    bench.run(story)


def test_a_failed_refresh_is_told_with_the_next_invocation() -> None:
    """REL-03: the old token is served on, and the event waits for the flush."""
    bench = Bench()

    async def story() -> None:
        old = await bench.secret()
        bench.clock.tick(REFRESH_AFTER)
        bench.issuer.error = Unavailable(cause="AADSTS90033", remedy="wait", trace_id="a-trace")
        assert [await bench.secret(), await bench.secret()] == [old, old]
        await settle()

    bench.run(story)
    assert bench.lines == []
    bench.events.flush()
    told = json.loads(bench.lines[0])
    assert (told["event"], told["cause"], told["scope"]) == ("acquire_failed", "AADSTS90033", KEY.scope)
    assert told["retry_seconds"] == 5
    assert (told["remedy"], told["trace_id"]) == ("wait", "a-trace")


def test_the_key_that_was_asked_for_longest_ago_goes_first() -> None:
    """SEC-16: the cache is bounded, and a hit counts as a use."""
    bench = Bench(Limits(cache_entries=2))

    async def story() -> None:
        for number in (1, 2, 1, 3):
            await bench.secret(key(number))
        assert len(bench.cache) == 2
        assert bench.cache.hit(key(1))
        assert bench.cache.hit(key(3))
        assert bench.cache.hit(key(2)) is None

    bench.run(story)


def test_a_flight_lands_in_the_entry_that_its_key_has_by_then() -> None:
    """SEC-16: a key that gave way while its flight was under way, and was asked for again, keeps what that brings."""
    bench = Bench(Limits(cache_entries=1))

    async def story() -> None:
        bench.issuer.held[1] = asyncio.Event()
        first = asyncio.create_task(bench.secret())
        await settle()
        await bench.secret(key(2))
        again = asyncio.create_task(bench.secret())
        await settle()
        bench.issuer.held[1].set()
        assert await first == await again == await bench.secret() == number(1)

    bench.run(story)
    assert bench.issuer.asked == [KEY, key(2)]


def test_while_a_failure_is_remembered_nobody_waits_for_an_older_flight() -> None:
    """A flight that left before the failure was known may still land: whoever asks meanwhile is told at once."""
    bench = Bench()

    async def story() -> None:
        bench.issuer.held[1] = asyncio.Event()
        asking = asyncio.create_task(bench.secret())
        await settle()
        bench.issuer.error = Unavailable()
        assert isinstance(await bench.refused(claims=CLAIMS), Unavailable)
        assert isinstance(await bench.refused(), Unavailable)
        bench.issuer.error = None
        bench.issuer.held[1].set()
        assert await asking == number(1)

    bench.run(story)


def test_nobody_waits_longer_than_the_budget() -> None:
    """REL-02: 504 for all who wait, those who came late too."""
    bench = Bench()

    async def story() -> None:
        bench.issuer.open.clear()
        began = bench.clock().boot
        results = await asyncio.gather(bench.refused(), bench.refused())
        assert [type(result) for result in results] == [TimedOut, TimedOut]
        assert bench.clock().boot - began == pytest.approx(Limits().caller_budget_seconds)

    bench.run(story)
    assert len(bench.issuer.asked) == 1


def test_tokens_never_reach_another_key() -> None:
    """SEC-03: 200 callers of 50 keys, served in flights and from the cache, each get their own key's token."""
    bench = Bench()

    async def ask(number: int) -> None:
        for _ in range(3):
            assert (await bench.secret(key(number % 50))).startswith("|".join(key(number % 50)) + "#")

    async def story() -> None:
        await asyncio.gather(*(ask(number) for number in range(200)))

    bench.run(story)
    assert len(bench.issuer.asked) == 50


def test_clear_forgets_what_is_under_way_too() -> None:
    """SEC-22: no token that was asked for before the kill switch is kept or handed to whoever asks after it."""
    bench = Bench()

    async def story() -> None:
        await bench.secret(key(1))
        bench.issuer.open.clear()
        before = asyncio.create_task(bench.secret())
        await settle()
        bench.cache.clear()
        after = asyncio.create_task(bench.secret())
        await settle()
        bench.issuer.open.set()
        await before
        assert await after == await bench.secret() == number(3)
        assert bench.cache.hit(key(1)) is None

    bench.run(story)


def test_what_lands_after_clear_is_nobodys() -> None:
    """FND-H3: a flight that set out before the kill switch lands first, and leaves nothing where others look."""
    bench = Bench()
    bench.issuer.held = {1: asyncio.Event(), 2: asyncio.Event()}

    async def story() -> None:
        before = asyncio.create_task(bench.secret())
        await settle()
        bench.cache.clear()
        after = asyncio.create_task(bench.secret())
        await settle()
        bench.issuer.held[1].set()
        assert await before == number(1)
        assert bench.cache.hit(KEY) is None
        bench.issuer.held[2].set()
        assert await after == await bench.secret() == number(2)

    bench.run(story)


def test_a_rejected_token_is_replaced_once() -> None:
    """Decision of the API: who names the cached token gets another, and who comes later with its hash gets that one."""
    bench = Bench()

    async def story() -> None:
        old = await bench.cached()
        assert set(await asyncio.gather(*(bench.secret(rejected=old) for _ in range(50)))) == {number(2)}
        assert await bench.secret(rejected=old) == await bench.secret() == number(2)

    bench.run(story)
    assert bench.issuer.claims == [None, None]


def newer_than(instant: float) -> str:
    """Write claims that ask for a token of this instant or later, as an API does that has revoked older ones."""
    return json.dumps({"access_token": {"nbf": {"value": str(int(instant))}}})


def test_a_key_is_forced_every_thirty_seconds_at_most() -> None:
    """ABU-65: within the interval the replaced token is the answer, even for the hash of itself."""
    bench = Bench()

    async def story() -> None:
        old = await bench.cached()
        assert await bench.secret(rejected=old) == number(2)
        assert await bench.secret(rejected=bench.cache.hit(KEY)) == number(2)
        bench.clock.tick(30)
        assert await bench.secret(rejected=bench.cache.hit(KEY)) == number(3)

    bench.run(story)


def test_a_challenge_of_one_caller_is_nobody_elses() -> None:
    """FND-C6, SEC-31: each caller and each of its challenges has a flight of its own, and the entry stays as it is."""
    bench = Bench()

    async def story() -> None:
        old = await bench.cached()
        assert await bench.secret(claims=CLAIMS) == number(2)
        assert await bench.secret(claims=OTHER_CLAIMS) == number(3)
        assert await bench.secret(claims=CLAIMS, caller="reports") == number(4)
        assert await bench.secret() == await bench.secret(caller="reports") == old.secret
        bench.clock.tick(10)
        again = await bench.refused(claims=CLAIMS)
        assert (type(again), again.wait) == (Unavailable, timedelta(seconds=20))
        bench.clock.tick(20)
        assert await bench.secret(claims=CLAIMS) == number(5)

    bench.run(story)


def test_a_revocation_of_older_tokens_costs_one_request() -> None:
    """FND-C6: sixty callers are told of one `nbf` within a second: one request, and its token serves everybody."""
    bench = Bench()

    async def story() -> None:
        await bench.cached()
        bench.clock.tick(100)
        revoked = newer_than(bench.clock().wall)
        bench.issuer.open.clear()
        first = [asyncio.create_task(bench.secret(claims=revoked, caller=f"caller-{count}")) for count in range(30)]
        await asyncio.sleep(0.5)
        bench.issuer.open.set()
        assert await asyncio.gather(*first) == [number(2)] * 30
        assert bench.cache.counters.hits == 1  # of `cached`: the flight itself has answered them
        later = [await bench.secret(claims=revoked, caller=f"caller-{count}") for count in range(30, 60)]
        assert later == [number(2)] * 30
        assert await bench.secret() == number(2)

    bench.run(story)
    assert len(bench.issuer.asked) == 2


@pytest.mark.parametrize("landed", [True, False])
def test_a_later_revocation_is_not_met_by_an_earlier_token(*, landed: bool) -> None:
    """FND-C6: `nbf` of ten seconds later is told to wait, and then gets a token of its own."""
    bench = Bench()

    async def story() -> None:
        await bench.cached()
        bench.clock.tick(100)
        earlier = bench.clock().wall
        bench.issuer.open.clear()
        first = asyncio.create_task(bench.secret(claims=newer_than(earlier)))
        await settle()
        if landed:
            bench.issuer.open.set()
            assert await first == number(2)
        bench.clock.tick(10)
        too_soon = await bench.refused(claims=newer_than(earlier + 10))
        assert (type(too_soon), too_soon.wait) == (Unavailable, timedelta(seconds=20))
        bench.issuer.open.set()
        assert await first == number(2)
        bench.clock.tick(20)
        assert await bench.secret(claims=newer_than(earlier + 10)) == number(3)

    bench.run(story)


@pytest.mark.parametrize(("interval", "wait"), [(30.0, 20), (5.0, 5)])
def test_a_later_revocation_joins_no_flight_that_left_before_it(interval: float, wait: float) -> None:
    """FND-C6: nor where the flight before has failed, or where flights may follow each other faster than Entra is."""
    bench = Bench(Limits(forced_refresh_interval_seconds=interval))

    async def story() -> None:
        await bench.cached()
        bench.clock.tick(100)
        bench.issuer.errors[2] = Unavailable()
        await bench.refused(claims=newer_than(bench.clock().wall))
        bench.clock.tick(100)
        earlier = bench.clock().wall
        bench.issuer.open.clear()
        first = asyncio.create_task(bench.secret(claims=newer_than(earlier)))
        await settle()
        bench.clock.tick(10)
        too_soon = await bench.refused(claims=newer_than(earlier + 10), caller="reports")
        assert (type(too_soon), too_soon.wait) == (Unavailable, timedelta(seconds=wait))
        bench.issuer.open.set()
        assert await first == number(3)
        bench.clock.tick(20)
        assert await bench.secret(claims=newer_than(earlier + 2), caller="reports") == number(4)

    bench.run(story)


def test_a_revocation_that_lands_after_clear_refuses_nobody() -> None:
    """REL-33: the failure of a flight from before the kill switch is none of the flight after it."""
    bench = Bench()

    async def story() -> None:
        await bench.cached()
        bench.clock.tick(100)
        bench.issuer.held[2] = asyncio.Event()
        bench.issuer.errors[2] = Unavailable()
        before = asyncio.create_task(bench.refused(claims=newer_than(bench.clock().wall)))
        await settle()
        bench.cache.clear()
        assert await bench.secret(claims=newer_than(bench.clock().wall)) == number(3)
        bench.issuer.held[2].set()
        await before
        bench.clock.tick(4)
        too_soon = await bench.refused(claims=newer_than(bench.clock().wall))
        assert too_soon.wait == timedelta(seconds=26)

    bench.run(story)


@pytest.mark.parametrize("landed", [True, False])
def test_a_revocation_is_met_by_the_clock_of_entra(*, landed: bool) -> None:
    """FND-C6: our clock is 100 s ahead, so a flight of now meets what was revoked 100 s ago, and nothing later."""
    bench = Bench()
    bench.issuer.clock_ahead = 100

    async def story() -> None:
        await bench.cached()
        bench.clock.tick(500)
        now = bench.clock().wall
        bench.issuer.open.clear()
        first = asyncio.create_task(bench.secret(claims=newer_than(now - 150)))
        await settle()
        if landed:
            bench.issuer.open.set()
            assert await first == number(2)
        assert isinstance(await bench.refused(claims=newer_than(now - 99)), Unavailable)
        bench.issuer.open.set()
        assert await bench.secret(claims=newer_than(now - 100)) == await first == number(2)

    bench.run(story)
    assert len(bench.issuer.asked) == 2


def test_so_many_challenges_are_remembered() -> None:
    """SEC-16: the oldest gives way to a new one, and may be shown again at once."""
    bench = Bench()

    async def story() -> None:
        await bench.cached()
        for count in range(CHALLENGES):
            await bench.secret(claims=CLAIMS, caller=f"caller-{count}")
        await bench.secret(claims=CLAIMS, caller="another")
        assert isinstance(await bench.refused(claims=CLAIMS, caller="caller-1"), Unavailable)
        await bench.secret(claims=CLAIMS, caller="caller-0")
        bench.clock.tick(30)
        await bench.secret(claims=CLAIMS, caller="caller-2")  # which is the youngest now
        await bench.secret(claims=CLAIMS, caller="yet another")
        assert isinstance(await bench.refused(claims=CLAIMS, caller="caller-2"), Unavailable)

    bench.run(story)


@pytest.mark.parametrize("move", [FakeClock.tick, FakeClock.jump, FakeClock.suspend])
def test_in_the_last_minutes_by_either_clock_a_newer_token_is_got(move: Callable[[FakeClock, float], None]) -> None:
    """REL-36: at the floor the cached token is served once more, and a flight has started."""
    bench = Bench()

    async def story() -> None:
        old = await bench.secret()
        move(bench.clock, LIFETIME - FLOOR)
        assert await bench.secret() == old
        await settle()
        assert await bench.secret() == number(2)

    bench.run(story)


def test_a_token_of_the_future_is_refused() -> None:
    """FND-C6: an `nbf` of more than five minutes ahead is a mistake of the API's clock, or of the caller."""
    bench = Bench()

    async def story() -> None:
        await bench.cached()
        with pytest.raises(InvalidRequest) as caught:
            await bench.secret(claims=newer_than(bench.clock().wall + 301))
        assert caught.value.public == "claims asks for a token of the future"
        assert await bench.secret(claims=newer_than(bench.clock().wall + 300)) == number(2)

    bench.run(story)


@pytest.mark.parametrize("ahead", [300, 100, 3])
def test_a_revocation_ahead_is_the_callers_own(ahead: int) -> None:
    """FND-C6: what an API revokes until then is not known yet, so that no later revocation is met by its token."""
    bench = Bench()

    async def story() -> None:
        old = await bench.cached()
        bench.clock.tick(60)
        assert await bench.secret(claims=newer_than(bench.clock().wall + ahead)) == number(2)
        assert await bench.secret() == old.secret
        bench.clock.tick(ahead)
        assert await bench.secret(claims=newer_than(bench.clock().wall), caller="reports") == number(3)
        assert await bench.secret() == number(3)

    bench.run(story)


def test_a_revocation_of_the_second_that_entra_names_is_everybodys() -> None:
    """FND-C6: `Date` has whole seconds, so that a moment of Entra's clock may look a little later than now."""
    bench = Bench()

    async def story() -> None:
        await bench.cached()
        bench.clock.tick(60)
        assert await bench.secret(claims=newer_than(bench.clock().wall + 2)) == await bench.secret() == number(2)

    bench.run(story)


def test_all_who_wait_for_a_refused_revocation_get_its_refusal() -> None:
    """REL-63: one flight is enough to know, although a link is left that the next one may ask with at once."""
    bench = Bench()
    error = CredentialRefused()
    error.links_left = True

    async def story() -> None:
        await bench.cached()
        bench.clock.tick(60)
        bench.issuer.error = error
        bench.issuer.open.clear()
        claims = newer_than(bench.clock().wall)
        waiting = [asyncio.create_task(bench.refused(claims=claims)) for _ in range(3)]
        await settle()
        bench.issuer.open.set()
        assert [type(each) for each in await asyncio.gather(*waiting)] == [CredentialRefused] * 3

    bench.run(story)
    assert len(bench.issuer.asked) == 2


def test_a_clock_of_entra_that_is_far_ahead_meets_nothing() -> None:
    """FND-C6: a `Date` of tomorrow does not answer a day of revocations."""
    bench = Bench()
    bench.issuer.clock_ahead = -86_400.0

    async def story() -> None:
        await bench.cached()
        bench.clock.tick(400)
        assert await bench.secret(claims=newer_than(bench.clock().wall)) == number(2)

    bench.run(story)


def test_a_clock_that_is_found_ahead_meets_no_later_revocation() -> None:
    """FND-C6: before the first answer Entra's clock is not known: a flight may have asked earlier than was thought."""
    bench = Bench()
    bench.issuer.clock_ahead = 250.0

    async def story() -> None:
        true = bench.clock().wall - 250
        bench.issuer.open.clear()
        first = asyncio.create_task(bench.secret(claims=newer_than(true)))
        await settle()
        joined = asyncio.create_task(bench.secret(claims=newer_than(true + 100), caller="reports"))
        await settle()
        bench.issuer.open.set()
        assert await first == number(1)
        assert await joined == number(2)  # a flight of its own: by Entra's clock its moment lies ahead
        bench.clock.tick(100)
        assert await bench.secret(claims=newer_than(true + 100), caller="reports") == number(3)

    bench.run(story)


def test_what_stands_beside_a_revocation_is_not_sent_for_everybody() -> None:
    """SEC-31: a reason is free text, which one caller could make Entra refuse for all."""
    bench = Bench()

    async def story() -> None:
        await bench.cached()
        bench.clock.tick(60)
        moment = str(int(bench.clock().wall))
        garbage = {"nbf": {"value": moment, "values": ["GARBAGE"]}, "xms_caeerror": {"value": "GARBAGE"}}
        await bench.secret(claims=json.dumps({"access_token": garbage}))
        assert bench.issuer.claims[1:] == [
            json.dumps({"access_token": {"nbf": {"essential": True, "value": moment}}}, separators=(",", ":"))
        ]

    bench.run(story)


def test_many_revocations_during_an_outage_are_one_flight() -> None:
    """REL-63: sixty callers, sixty moments, and an Entra that answers 500 after three seconds: nobody waits longer."""
    bench = Bench()

    async def story() -> None:
        await bench.cached()
        bench.clock.tick(600)
        bench.issuer.error, bench.issuer.takes = answer_of_500(), 3.0
        now, began = bench.clock().wall, bench.clock().boot
        asking = (bench.refused(claims=newer_than(now - count), caller=f"caller-{count}") for count in range(60))
        await asyncio.gather(*asking)
        assert (len(bench.issuer.asked), bench.clock().boot - began) == (2, 3)

    bench.run(story)


def test_claims_join_only_what_asks_for_the_same() -> None:
    """An ordinary flight does not answer a challenge; an equal challenge of the same caller shares its flight."""
    bench = Bench()

    async def story() -> None:
        bench.issuer.open.clear()
        ordinary = asyncio.create_task(bench.secret())
        await settle()
        bench.clock.tick(1)
        first, second = (asyncio.create_task(bench.secret(claims=CLAIMS)) for _ in range(2))
        await settle()
        assert bench.issuer.claims == [None, CLAIMS]
        bench.issuer.open.set()
        assert [await ordinary, await first, await second] == [number(1), number(2), number(2)]
        assert await bench.secret() == number(1)

    bench.run(story)


def test_an_equal_challenge_waits_for_the_flight_and_takes_no_cached_token() -> None:
    """ABU-64: the floor does not send who comes while the answer is under way to the token that will not do."""
    bench = Bench()

    async def story() -> None:
        await bench.cached()
        bench.issuer.open.clear()
        first, second = (asyncio.create_task(bench.secret(claims=CLAIMS)) for _ in range(2))
        await settle()
        bench.issuer.open.set()
        assert [await first, await second] == [number(2), number(2)]

    bench.run(story)


def test_an_older_question_does_not_replace_a_newer_answer() -> None:
    """A flight that left before the forced one and lands after it is not kept."""
    bench = Bench()

    async def story() -> None:
        bench.issuer.held[1] = asyncio.Event()
        ordinary = asyncio.create_task(bench.secret())
        await settle()
        bench.clock.tick(1)
        forced = asyncio.create_task(bench.secret(claims=newer_than(bench.clock().wall)))
        await settle()
        assert await forced == number(2)
        bench.issuer.held[1].set()
        assert await ordinary == number(1)
        assert await bench.secret() == number(2)

    bench.run(story)


@pytest.mark.parametrize(
    ("error", "poisons"),
    [(Unavailable(), True), (answer_of_500(), False), (OperatorError(), False)],
    ids=["an outage", "an answer of 500", "a refusal"],
)
def test_a_failed_challenge_gets_the_error(error: VendError, *, poisons: bool) -> None:
    """Who has a challenge has no use for the cached token; what Entra refuses to claims it need not refuse without."""
    bench = Bench()

    async def story() -> None:
        old = await bench.cached()
        bench.issuer.error = error
        assert type(await bench.refused(claims=CLAIMS)) is type(error)
        assert type(await bench.refused(claims=CLAIMS)) is type(error)
        assert len(bench.issuer.asked) == 2
        assert await bench.secret() == await bench.secret(rejected=old) == old.secret
        bench.clock.tick(LIFETIME)
        bench.issuer.error = None
        assert await bench.secret(claims=CLAIMS)
        bench.clock.tick(LIFETIME)
        bench.issuer.error = error
        await bench.refused(claims=CLAIMS)
        before = len(bench.issuer.asked)
        await bench.refused()
        assert len(bench.issuer.asked) - before == (0 if poisons else 1)

    bench.run(story)


@pytest.mark.parametrize("landed", [True, False])
@pytest.mark.parametrize("ahead_by", [290, 2])
@pytest.mark.parametrize("error", [OperatorError(), answer_of_500()], ids=["a refusal", "an answer of 500"])
def test_a_refused_revocation_says_nothing_of_an_earlier_one(error: VendError, ahead_by: int, *, landed: bool) -> None:
    """One caller's `nbf` lies ahead and is refused: it is nobody else's refusal, and is remembered for itself."""
    bench = Bench()

    async def story() -> None:
        await bench.cached()
        bench.clock.tick(100)
        now = bench.clock().wall
        bench.issuer.held[2] = asyncio.Event()
        ahead = asyncio.create_task(bench.refused(claims=newer_than(now + ahead_by), caller="reports"))
        bench.issuer.errors[2] = error
        await settle()
        if landed:
            bench.issuer.held[2].set()
            await ahead
        earlier = [asyncio.create_task(bench.secret(claims=newer_than(now))) for _ in range(3)]
        await settle()
        bench.issuer.held[2].set()
        assert type(await ahead) is type(error)
        assert set(await asyncio.gather(*earlier)) == {number(3)}

    bench.run(story)
    assert len(bench.issuer.asked) == 3


def test_refused_claims_are_asked_with_less_and_less_often() -> None:
    """REL-63: the waits of one challenge grow, although the entry of its key is well."""
    bench = Bench()
    bench.draw = 0.0

    async def story() -> None:
        await bench.cached()
        bench.issuer.error = answer_of_500()
        waits = []
        for _ in range(3):
            refused = await bench.refused(claims=CLAIMS)
            assert refused.wait is not None
            waits.append(refused.wait.total_seconds())
            bench.clock.tick(waits[-1])
        assert waits == [5, 7.5, 11.25]

    bench.run(story)


def test_a_challenge_that_failed_may_be_tried_again() -> None:
    """When its failure is over, long before the interval is."""
    bench = Bench()

    async def story() -> None:
        old = await bench.cached()
        bench.issuer.error = Unavailable()
        await bench.refused(claims=CLAIMS)
        bench.clock.tick(5)
        bench.issuer.error = None
        assert await bench.secret(claims=CLAIMS) == number(3)
        assert await bench.secret() == old.secret

    bench.run(story)


def test_a_failed_replacement_gets_the_token_there_is() -> None:
    """A hash request is a wish: while Entra is down the cached token is better than none."""
    bench = Bench()

    async def story() -> None:
        old = await bench.cached()
        bench.issuer.error = Unavailable()
        assert await bench.secret(rejected=old) == await bench.secret(rejected=old) == old.secret
        assert len(bench.issuer.asked) == 2

    bench.run(story)


def test_a_replacement_that_failed_is_tried_again_once_the_failure_is_over() -> None:
    """REL-01: its API has refused the token, so it is not served for the rest of the thirty seconds."""
    bench = Bench()

    async def story() -> None:
        old = await bench.cached()
        bench.issuer.error = Unavailable()
        assert await bench.secret(rejected=old) == old.secret
        bench.issuer.error = None
        bench.clock.tick(Limits().failure_first_seconds)
        assert await bench.secret(rejected=old) == number(3)
        assert await bench.secret(rejected=bench.cache.hit(KEY)) == number(3)

    bench.run(story)


def test_the_hash_of_another_token_forces_nothing() -> None:
    """A token that the cache does not hold was replaced already; claims that come with a hash go before it."""
    bench = Bench()

    async def story() -> None:
        other = AccessToken("other", bench.clock(), lifetime=LIFETIME, refresh_after=REFRESH_AFTER)
        assert await bench.secret(rejected=other) == number(1)
        assert await bench.secret(rejected=other) == number(1)
        assert await bench.secret(rejected=other, claims=CLAIMS) == number(2)

    bench.run(story)
    assert bench.issuer.claims == [None, CLAIMS]


def test_the_counters_tell_what_happened() -> None:
    """Each answer and each flight is counted once, and the ages can be seen without a token being seen."""
    bench = Bench()

    async def story() -> None:
        bench.issuer.open.clear()
        waiting = asyncio.create_task(bench.secret())
        await settle()
        assert bench.cache.counters.waiting == 1
        bench.issuer.open.set()
        await waiting
        await bench.secret(claims=CLAIMS)
        await bench.secret(rejected=await bench.cached())
        bench.clock.tick(REFRESH_AFTER)
        bench.issuer.error = Unavailable(cause="down")
        await bench.secret()
        await settle()
        with pytest.raises(Unavailable):
            await bench.secret(key(1))

    bench.run(story)
    assert bench.cache.counters == Counters(
        hits=3, stale_hits=1, misses=4, refreshes=1, acquired=3, failures=2, waiting=0
    )
    first, second = bench.cache.entries()
    assert (first.key, first.age, first.remaining) == (KEY, REFRESH_AFTER, LIFETIME - REFRESH_AFTER)
    assert (second.key, second.token, second.cause) == (key(1), None, "down")
    assert (first.is_failing, second.is_failing) == (True, True)
    bench.clock.tick(5)
    assert [entry.is_failing for entry in bench.cache.entries()] == [False, False]
    assert KEY.scope not in str(first.token)
