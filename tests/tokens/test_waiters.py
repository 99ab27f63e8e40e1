"""REL-60: what hangs does not fill a worker with requests that wait for it."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from datetime import timedelta

from shared.core.errors import UpstreamError
from shared.core.limits import Limits
from shared.core.token import AccessToken, Acquired, TokenKey, TokenSource, Wanted
from shared.telemetry.events import Events
from shared.tokens.cache import TokenCache
from tests.clock import FakeClock, fake_system, run_virtual

LIMITS = Limits()
HUNG = TokenKey("graph", "tenant", "api://hung/.default")


class Crowd:
    """A cache before an Entra that takes its time, and callers that say when they were answered how.

    Args:
        takes: by key, the seconds until Entra answers.
    """

    def __init__(self, takes: Callable[[TokenKey], float]) -> None:
        self.clock = FakeClock()
        self.took: Counter[tuple[str, float]] = Counter()
        self.waits: set[timedelta | None] = set()
        self._takes = takes
        events = Events(lambda _: None, wall=self.clock.wall, worker="w")
        system = fake_system(self.clock, chance=lambda: 0.5)
        self.cache = TokenCache(self._acquire, version=lambda _: "v", limits=LIMITS, system=system, events=events)

    async def ask(self, key: TokenKey, *, after: float = 0) -> None:
        """Ask after some seconds, and count how it ended and how long it took."""
        await asyncio.sleep(after)
        began = self.clock().boot
        try:
            await self.cache.get(key)
            how = "token"
        except UpstreamError as error:
            how = type(error).__name__
            self.waits.add(error.wait)
        self.took[how, round(self.clock().boot - began, 1)] += 1

    def run(self, *asking: Awaitable[None]) -> None:
        """Let callers ask, and wait for the last answer."""

        async def story() -> None:
            await asyncio.gather(*asking)

        run_virtual(story, self.clock)

    async def _acquire(self, wanted: Wanted) -> Acquired:
        asked = self.clock()
        await asyncio.sleep(self._takes(wanted.key))
        token = AccessToken("t", asked, lifetime=3_600, refresh_after=1_440)
        return Acquired(token, TokenSource.IDENTITY_PROVIDER)


def test_a_crowd_before_a_hung_entra_is_sent_away() -> None:
    """200 at once: after five seconds all but 64 are told to come back, later ones at once, and 64 wait to the end."""
    crowd = Crowd(lambda _: 60)
    crowd.run(*(crowd.ask(HUNG) for _ in range(200)), *(crowd.ask(HUNG, after=6) for _ in range(10)))
    assert crowd.took == {("Unavailable", 5.0): 136, ("Unavailable", 0.0): 10, ("TimedOut", 20.0): 64}
    assert timedelta(seconds=7.5) in crowd.waits


def test_after_an_outage_the_crowd_is_sent_away_sooner() -> None:
    """The next flight of an upstream that has just timed out is old after two seconds."""
    crowd = Crowd(lambda _: 60)
    crowd.run(crowd.ask(HUNG), *(crowd.ask(HUNG, after=30) for _ in range(100)))
    assert crowd.took == {("TimedOut", 20.0): 65, ("Unavailable", 2.0): 36}


def test_a_cold_start_refuses_nobody() -> None:
    """300 requests a second before an Entra that takes 2.5 s: every one of them gets the token of one flight."""
    crowd = Crowd(lambda _: 2.5)
    crowd.run(*(crowd.ask(HUNG, after=count / 300) for count in range(900)))
    assert {how for how, _ in crowd.took} == {"token"}


def test_ten_thousand_cold_callers_are_not_refused() -> None:
    """A request that starts a flight or joins a young one never is, however many there are."""
    crowd = Crowd(lambda _: 1)
    crowd.run(*(crowd.ask(HUNG) for _ in range(10_000)))
    assert crowd.took == {("token", 1.0): 10_000}


def test_one_hung_key_refuses_nobody_of_other_keys() -> None:
    """Those who wait for it are sent away; twenty keys beside it are acquired as ever."""
    crowd = Crowd(lambda key: 60 if key == HUNG else 4)
    keys = [TokenKey("graph", "tenant", f"api://{count}/.default") for count in range(20)]
    crowd.run(*(crowd.ask(HUNG) for _ in range(100)), *(crowd.ask(key, after=6) for key in keys for _ in range(20)))
    assert crowd.took["token", 4.0] == 400
    assert (crowd.took["Unavailable", 5.0], crowd.took["TimedOut", 20.0]) == (36, 64)


def test_a_caller_that_leaves_makes_room() -> None:
    """Only those count that still wait."""
    crowd = Crowd(lambda _: 60)

    async def leave() -> None:
        waiting = [asyncio.create_task(crowd.ask(HUNG)) for _ in range(64)]
        await asyncio.sleep(6)
        for task in waiting[:10]:
            task.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)

    crowd.run(leave(), *(crowd.ask(HUNG, after=7) for _ in range(11)))
    assert crowd.took == {("TimedOut", 20.0): 54, ("TimedOut", 13.0): 10, ("Unavailable", 0.0): 1}


def test_a_cached_token_is_served_to_whoever_would_be_sent_away() -> None:
    """In its last minutes a caller waits a second for the newer one; a crowd before that is no reason to refuse it."""
    crowd = Crowd(lambda _: 60 if crowd.cache.counters.acquired else 0)

    async def old_token() -> None:
        await crowd.cache.get(HUNG)
        crowd.clock.tick(3_400)
        await asyncio.gather(*(crowd.ask(HUNG, after=second / 10) for second in range(100)))

    crowd.run(old_token())
    assert {how for how, _ in crowd.took} == {"token"}
    assert max(took for _, took in crowd.took) == 1.0
