import asyncio
import json
from collections.abc import Awaitable, Callable

import pytest

from shared.audit import Events
from shared.cache import TokenCache
from shared.core.errors import TimedOut, Unavailable, VendError
from shared.core.token import AccessToken, TokenKey, TokenSource
from tests.clock import FakeClock

KEY = TokenKey("graph", "tenant", "https://graph.microsoft.com/.default")
LIFETIME, REFRESH_AFTER, FLOOR = 3_600.0, 1_440.0, 300.0


class Issuer:
    """Gives tokens that name their key and their number; it can hold every answer back, and fail."""

    def __init__(self, clock: FakeClock) -> None:
        self._clock = clock
        self.asked: list[TokenKey] = []
        self.open = asyncio.Event()
        self.open.set()
        self.error: VendError | None = None

    async def acquire(self, key: TokenKey) -> AccessToken:
        """Give a token, or fail, once the gate is open."""
        self.asked.append(key)
        secret, asked = f"{'|'.join(key)}#{len(self.asked)}", self._clock()
        await self.open.wait()
        if self.error is not None:
            raise self.error
        return AccessToken(secret=secret, asked=asked, lifetime=LIFETIME, refresh_after=REFRESH_AFTER)


class Bench:
    """A cache with everything around it."""

    def __init__(self, *, entries: int = 1_000, budget_seconds: float = 20) -> None:
        self.clock = FakeClock()
        self.issuer = Issuer(self.clock)
        self.lines: list[str] = []
        self.events = Events(self.lines.append, wall=lambda: self.clock().wall, worker="w")
        self.cache = TokenCache(
            self.issuer.acquire,
            entries=entries,
            floor_seconds=FLOOR,
            budget_seconds=budget_seconds,
            clock=self.clock,
            events=self.events,
        )

    async def secret(self, key: TokenKey = KEY) -> str:
        """Get a token as a caller does."""
        return (await self.cache.get(key)).token.secret


async def settle() -> None:
    """Let everything run that does not wait for a gate."""
    for _ in range(10):
        await asyncio.sleep(0)


def run(story: Callable[[], Awaitable[None]]) -> None:
    """Run one story on a loop of its own; a task that nobody awaited may not fail in silence."""
    reported: list[str] = []

    async def told() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda _, context: reported.append(str(context)))
        await story()
        await settle()

    asyncio.run(told())
    assert reported == []


def key(number: int) -> TokenKey:
    """Make a key."""
    return TokenKey("graph", "tenant", f"api://{number}/.default")


def test_a_token_is_got_once_and_then_served_from_the_cache() -> None:
    """A miss asks Entra, a hit asks nobody."""
    bench = Bench()

    async def story() -> None:
        first, second = await bench.cache.get(KEY), await bench.cache.get(KEY)
        assert (first.source, second.source) == (TokenSource.IDENTITY_PROVIDER, TokenSource.CACHE)
        assert first.token is second.token

    run(story)
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
        assert await bench.secret() == f"{'|'.join(KEY)}#2"

    run(story)


@pytest.mark.parametrize("move", [FakeClock.tick, FakeClock.jump, FakeClock.suspend])
def test_a_token_below_the_floor_is_not_served(move: Callable[[FakeClock, float], None]) -> None:
    """REL-36: by either clock; then the caller waits for a new one, and a failure is its answer."""
    bench = Bench()

    async def story() -> None:
        await bench.secret()
        move(bench.clock, LIFETIME - FLOOR + 1)
        bench.issuer.error = Unavailable(cause="down")
        with pytest.raises(Unavailable):
            await bench.secret()
        bench.issuer.error = None
        assert (await bench.cache.get(KEY)).source is TokenSource.IDENTITY_PROVIDER

    run(story)


def test_a_thousand_callers_share_one_flight() -> None:
    """TST-02: single flight."""
    bench = Bench()

    async def story() -> None:
        bench.issuer.open.clear()
        waiting = [asyncio.create_task(bench.secret()) for _ in range(1_000)]
        await settle()
        bench.issuer.open.set()
        assert len(set(await asyncio.gather(*waiting))) == 1

    run(story)
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
        assert await follower == f"{'|'.join(KEY)}#1"

    run(story)
    assert len(bench.issuer.asked) == 1


def test_an_error_reaches_everybody_and_is_not_kept() -> None:
    """TST-02: all who wait get the one error; who comes later starts anew."""
    bench = Bench()

    async def story() -> None:
        bench.issuer.error = Unavailable(cause="down")
        results = await asyncio.gather(*(bench.secret() for _ in range(5)), return_exceptions=True)
        assert results == [bench.issuer.error] * 5
        assert len(bench.issuer.asked) == 1
        bench.issuer.error = None
        assert await bench.secret()

    run(story)
    assert len(bench.issuer.asked) == 2


def test_a_failed_refresh_is_told_with_the_next_invocation() -> None:
    """REL-03: the old token is served on, and the event waits for the flush."""
    bench = Bench()

    async def story() -> None:
        old = await bench.secret()
        bench.clock.tick(REFRESH_AFTER)
        bench.issuer.error = Unavailable(cause="AADSTS90033")
        assert await bench.secret() == old
        await settle()
        assert await bench.secret() == old

    run(story)
    assert bench.lines == []
    bench.events.flush()
    first = json.loads(bench.lines[0])
    assert (first["event"], first["cause"], first["scope"]) == ("refresh_failed", "AADSTS90033", KEY.scope)


def test_the_key_that_was_asked_for_longest_ago_goes_first() -> None:
    """SEC-16: the cache is bounded, and a hit counts as a use."""
    bench = Bench(entries=2)

    async def story() -> None:
        for number in (1, 2, 1, 3):
            await bench.secret(key(number))
        assert len(bench.cache) == 2
        assert bench.cache.hit(key(1))
        assert bench.cache.hit(key(3))
        assert bench.cache.hit(key(2)) is None

    run(story)


def test_nobody_waits_longer_than_the_budget() -> None:
    """REL-02: 504 for all who wait, and the next caller starts a new flight."""
    bench = Bench(budget_seconds=0.01)

    async def story() -> None:
        bench.issuer.open.clear()
        results = await asyncio.gather(bench.secret(), bench.secret(), return_exceptions=True)
        assert [type(result) for result in results] == [TimedOut, TimedOut]
        bench.issuer.open.set()
        assert await bench.secret()

    run(story)
    assert len(bench.issuer.asked) == 2


def test_tokens_never_reach_another_key() -> None:
    """SEC-03: 200 callers of 50 keys, served in flights and from the cache, each get their own key's token."""
    bench = Bench()

    async def ask(number: int) -> None:
        for _ in range(3):
            assert (await bench.secret(key(number % 50))).startswith("|".join(key(number % 50)) + "#")

    async def story() -> None:
        await asyncio.gather(*(ask(number) for number in range(200)))

    run(story)
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
        assert await after == await bench.secret() == f"{'|'.join(KEY)}#3"
        assert bench.cache.hit(key(1)) is None

    run(story)
