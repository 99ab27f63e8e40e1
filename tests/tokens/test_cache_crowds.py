"""Many keys and callers over hours of virtual time."""

import asyncio
import json
import random
from collections import Counter
from contextlib import suppress
from heapq import heapify, heapreplace

import pytest

from shared.core.errors import Unavailable, VendError
from shared.core.limits import Limits
from shared.core.token import AccessToken, Acquired, TokenKey, TokenSource, Wanted, refresh_after
from shared.telemetry.events import Events
from shared.tokens.cache import Acquire, TokenCache
from tests.clock import FakeClock, fake_system, run_virtual, settle

LIMITS = Limits(waiting_max=1_000)  # how many may wait is the business of test_waiters.py
LIFETIME = 3_600.0


def key(number: int) -> TokenKey:
    """Make a key."""
    return TokenKey("graph", "tenant", f"api://{number}/.default")


def token(key: TokenKey, clock: FakeClock) -> AccessToken:
    """Issue a token that names its key, with its refresh where the knobs put it."""
    fraction = random.uniform(LIMITS.refresh_fraction_min, LIMITS.refresh_fraction_max)  # noqa: S311
    due = refresh_after(LIFETIME, None, fraction=fraction)
    return AccessToken("|".join(key), clock(), lifetime=LIFETIME, refresh_after=due)


def cache_of(acquire: Acquire, clock: FakeClock) -> TokenCache:
    """Build a cache as in production, but for its clock."""
    events = Events(lambda _: None, wall=lambda: clock().wall, worker="w")
    system = fake_system(clock, chance=random.random)
    return TokenCache(acquire, version=lambda _: "v1", limits=LIMITS, system=system, events=events)


@pytest.mark.parametrize("answers", [5_000, pytest.param(1_000_000, marks=pytest.mark.nightly)])
def test_a_crowd_gets_what_each_asked_for(answers: int) -> None:
    """TST-14, SEC-03: with random waits, failures and callers who leave, no token reaches another key's caller.

    One flight per key and claims at a time, no deadlock, and no task is left over.
    """
    clock = FakeClock()
    under_way: set[tuple[TokenKey, str | None]] = set()
    outcomes: Counter[str] = Counter()

    async def acquire(wanted: Wanted) -> Acquired:
        key, claims = wanted.key, wanted.claims
        assert (key, claims) not in under_way
        under_way.add((key, claims))
        try:
            issued = token(key, clock)
            for _ in range(random.randrange(4)):  # noqa: S311
                await asyncio.sleep(0)
            await asyncio.sleep(random.choice([0, 0.5, 3, 30]))  # noqa: S311
            if random.random() < 0.2:  # noqa: S311
                raise Unavailable
            return Acquired(issued, TokenSource.IDENTITY_PROVIDER)
        finally:
            under_way.remove((key, claims))

    cache = cache_of(acquire, clock)

    async def caller() -> None:
        while outcomes.total() < answers:
            asked = key(random.randrange(50))  # noqa: S311
            caller = random.choice(["billing", "reports"])  # noqa: S311
            acrs = json.dumps({"access_token": {"acrs": {"value": caller}}})
            claims = random.choice([None] * 30 + [acrs])  # noqa: S311
            rejected = (cache.hit(asked) or token(asked, clock)).sha256 if random.random() < 0.1 else None  # noqa: S311
            try:
                async with asyncio.timeout(random.expovariate(1 / 2)):
                    served = await cache.get(asked, claims=claims, rejected=rejected, caller=caller)
            except (VendError, TimeoutError):
                outcomes["no token"] += 1
            else:
                assert served.token.secret == "|".join(asked)
                assert served.source is TokenSource.IDENTITY_PROVIDER or served.token.remaining(clock()) >= 59
                outcomes["token"] += 1
            if random.random() < 0.05:  # noqa: S311
                await asyncio.sleep(random.expovariate(1 / 20))

    async def story() -> None:
        await asyncio.gather(*(caller() for _ in range(200)))
        await asyncio.sleep(LIMITS.caller_budget_seconds)
        await settle()
        assert asyncio.all_tasks() == {asyncio.current_task()}

    run_virtual(story, clock)
    assert not under_way
    assert cache.counters.waiting == 0
    assert min(outcomes["token"], outcomes["no token"]) > 1_000


@pytest.mark.slow
def test_tokens_that_were_issued_together_are_not_refreshed_together() -> None:
    """TST-03: of 1,000 keys that are asked for every two minutes, through ten lifetimes, nobody waits."""
    clock, period = FakeClock(), 120.0
    refreshed: list[tuple[TokenKey, float]] = []

    async def acquire(wanted: Wanted) -> Acquired:
        refreshed.append((wanted.key, clock().boot))
        return Acquired(token(wanted.key, clock), TokenSource.IDENTITY_PROVIDER)

    cache = cache_of(acquire, clock)

    async def story() -> None:
        await asyncio.gather(*(cache.get(key(number)) for number in range(1_000)))
        refreshed.clear()
        ended = clock().boot + 10 * LIFETIME
        turns = [(clock().boot + random.uniform(0, period), number) for number in range(1_000)]  # noqa: S311
        heapify(turns)
        while turns[0][0] < ended:
            turn, number = turns[0]
            clock.tick(turn - clock().boot)
            assert cache.hit(key(number))
            await asyncio.sleep(0)  # a refresh that has begun ends
            heapreplace(turns, (turn + period, number))

    run_virtual(story, clock)
    first = dict(reversed(refreshed)).values()
    assert max(first) - min(first) >= LIFETIME / 10
    assert max(Counter(int(at) for _, at in refreshed).values()) <= 25
    # From 35 % to 45 % of its life, and the two minutes until somebody asks.
    assert 1_000 * 10 / 0.49 <= len(refreshed) <= 1_000 * 10 / 0.35


def test_an_outage_that_is_longer_than_a_life_ends_without_a_burst() -> None:
    """TST-11: nothing is served past its expiry, and after the recovery each key flies once, and soon."""
    clock, period, keys = FakeClock(), 30.0, [key(number) for number in range(100)]
    is_down = False
    flights: Counter[TokenKey] = Counter()

    async def acquire(wanted: Wanted) -> Acquired:
        flights[wanted.key] += 1
        if is_down:
            raise Unavailable
        return Acquired(token(wanted.key, clock), TokenSource.IDENTITY_PROVIDER)

    cache = cache_of(acquire, clock)

    async def served(key: TokenKey) -> TokenKey | None:
        with suppress(Unavailable):
            assert (await cache.get(key)).token.remaining(clock()) >= LIMITS.min_remaining_failing_seconds
            return key
        return None

    async def rounds(seconds: float) -> list[set[TokenKey | None]]:
        """Ask for every key in every period, and tell which were served in each."""
        answered = []
        for _ in range(int(seconds / period)):
            answered.append(set(await asyncio.gather(*map(served, keys))))
            await asyncio.sleep(period)
        return answered

    async def story() -> None:
        nonlocal is_down
        for some in range(0, 100, 10):  # of ages from none to an hour
            await asyncio.gather(*(served(key) for key in keys[some : some + 10]))
            await asyncio.sleep(LIFETIME / 10)
        is_down = True
        assert (await rounds(LIFETIME + 1_800))[-1] == {None}
        is_down = False
        flights.clear()
        after = await rounds(LIMITS.failure_max_seconds + period)
        assert after[-1] == set(keys)
        assert set(flights.values()) == {1}

    run_virtual(story, clock)
