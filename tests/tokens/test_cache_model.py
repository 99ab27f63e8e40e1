"""The cache against a plain model of its rules."""

import asyncio
import json
from collections.abc import Coroutine
from datetime import timedelta
from hashlib import sha256
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from shared.core.errors import CredentialRefused, Unavailable, UpstreamError
from shared.core.token import AccessToken, Acquired, TokenKey, TokenSource, Wanted
from shared.telemetry.events import Events
from shared.tokens.cache import TokenCache
from tests.clock import FakeClock, VirtualLoop, fake_system, settle
from tests.tokens.cache_model import LIMITS, Answer, Challenge, Known, Model, Upstream

KEYS = [TokenKey("graph", "tenant", f"api://{number}/.default") for number in range(LIMITS.cache_entries + 1)]
# Sums of halves of halves are exact, so that model and cache meet at the boundaries.
INSTANT = 1 / 64
keys = st.sampled_from(KEYS)
callers = st.sampled_from(["a", "b"])
not_before = st.sampled_from([-40, -20, -1, 0, 1, 20, 200])
edges = st.sampled_from(["now", "now", "due", "floor", "failing floor", "failure over", "forced again"])
slightly = st.sampled_from([-INSTANT, 0, INSTANT])
upstreams = st.sampled_from(
    [
        Upstream(),
        Upstream(delay=0.5),
        Upstream(delay=3),
        Upstream(lifetime=86_400),
        Upstream(lifetime=200),
        Upstream(Unavailable),
        Upstream(Unavailable, delay=3),
        Upstream(Unavailable, retry_after=40),
        Upstream(delay=30),
        Upstream(CredentialRefused),
        Upstream(CredentialRefused, delay=0.5),
    ]
)


def acrs(value: str) -> str:
    """Write claims that concern the caller that was challenged, in canonical form."""
    return json.dumps({"access_token": {"acrs": {"value": value}}}, separators=(",", ":"))


def nbf(instant: int) -> str:
    """Write claims that ask for a newer token, in canonical form."""
    return json.dumps({"access_token": {"nbf": {"value": str(instant)}}}, separators=(",", ":"))


def caller_of(claims: str | None) -> str | None:
    """Name whose claims these are; "" for everybody's."""
    return None if claims is None else json.loads(claims)["access_token"].get("acrs", {"value": ""})["value"]


class CacheMachine(RuleBasedStateMachine):
    """Asks the cache and the model the same, in virtual time, and lets clocks, credentials and Entra misbehave."""

    def __init__(self) -> None:
        super().__init__()
        self.clock = FakeClock()
        self.loop = VirtualLoop(self.clock)
        self.model = Model()
        self.upstream = Upstream()
        self.asked: list[tuple[TokenKey, str | None]] = []
        self.cache = TokenCache(
            self.acquire,
            version=lambda _: str(self.model.version),
            limits=LIMITS,
            system=fake_system(self.clock),
            events=Events(lambda _: None, wall=lambda: self.clock().wall, worker="w"),
        )

    async def acquire(self, wanted: Wanted) -> Acquired:
        """Be Entra."""
        self.asked.append((wanted.key, caller_of(wanted.claims)))
        secret, upstream, asked = f"{'|'.join(wanted.key)}#{len(self.asked)}", self.upstream, self.clock()
        await asyncio.sleep(upstream.delay)
        if upstream.error:
            wait = upstream.retry_after
            raise upstream.error(upstream_wait=timedelta(seconds=wait) if wait else None)
        token = AccessToken(secret, asked, lifetime=upstream.lifetime, refresh_after=upstream.refresh_after)
        return Acquired(token, TokenSource.IDENTITY_PROVIDER)

    def run(self, story: Coroutine[Any, Any, None]) -> None:
        """Run one step, and everything after it that waits for nothing."""

        async def told() -> None:
            await story
            await settle()

        self.loop.run_until_complete(told())

    def _go(self, key: TokenKey, edge: str, more: float) -> None:
        """Let the time pass until what is known of a key begins to be treated differently, or until just before."""
        self.model.pass_until(self.clock().boot)
        known, now = self.model.known.get(key) or Known(), self.clock()
        left = known.token.left(now) if known.token else 0.0
        due = known.token.asked.boot + known.token.upstream.refresh_after if known.token else 0.0
        forced = [0.0, *(each.at for (of, _), each in self.model.forced.items() if of == key)]
        edges = {
            "now": 0.0,
            "due": due - now.boot,
            "floor": left - LIMITS.min_remaining_seconds,
            "failing floor": left - LIMITS.min_remaining_failing_seconds,
            "failure over": known.failure.until - now.boot if known.failure else 0.0,
            "forced again": max(known.replaced_at, *forced) + 30 - now.boot,
        }
        self.run(asyncio.sleep(max(0.0, edges[edge] + more)))
        self.model.pass_until(self.clock().boot)

    @rule(key=keys, edge=edges, more=slightly, upstream=upstreams)
    def ask(self, key: TokenKey, edge: str, more: float, upstream: Upstream) -> None:
        """Ask for a token; what Entra does to a flight that starts now is drawn as well."""
        self._go(key, edge, more)
        self.upstream = upstream
        self.run(self._compare(key, self.model.ask(key, self.clock(), upstream)))

    @rule(key=keys, edge=edges, more=slightly, upstream=upstreams, is_cached=st.booleans())
    def replace(self, key: TokenKey, edge: str, more: float, upstream: Upstream, *, is_cached: bool) -> None:
        """Ask with the hash of the cached token or of another."""
        self._go(key, edge, more)
        known = self.model.known.get(key)
        rejected = known.token.name if known and known.token and is_cached else "another"
        self.upstream = upstream
        expected = self.model.replace(key, self.clock(), upstream, rejected)
        self.run(self._compare(key, expected, rejected=sha256(rejected.encode()).hexdigest()))

    @rule(key=keys, edge=edges, more=slightly, upstream=upstreams, caller=callers)
    def challenge(self, key: TokenKey, edge: str, more: float, upstream: Upstream, caller: str) -> None:
        """Ask with claims that concern one caller."""
        self._go(key, edge, more)
        self.upstream = upstream
        expected = self.model.challenge(key, self.clock(), upstream, Challenge(caller, caller), None)
        self.run(self._compare(key, expected, claims=acrs(caller), caller=caller))

    @rule(key=keys, edge=edges, more=slightly, upstream=upstreams, seconds=not_before, caller=callers)
    def ask_for_newer(
        self, key: TokenKey, edge: str, more: float, upstream: Upstream, seconds: int, caller: str
    ) -> None:
        """Ask for a token of after some instant, as an API does that has revoked older ones."""
        self._go(key, edge, more)
        self.upstream, instant = upstream, int(self.clock().wall) + seconds
        expected = self.model.challenge(key, self.clock(), upstream, Challenge(caller, nbf(instant)), instant)
        self.run(self._compare(key, expected, claims=nbf(instant), caller=caller))

    async def _compare(
        self,
        key: TokenKey,
        expected: Answer,
        *,
        claims: str | None = None,
        rejected: str | None = None,
        caller: str = "",
    ) -> None:
        try:
            served = await self.cache.get(key, claims=claims, rejected=rejected, caller=caller)
        except UpstreamError as error:
            wait = error.wait.total_seconds() if error.wait else None
            answer = Answer(self.clock().boot, type(error), wait=wait)
        else:
            answer = Answer(self.clock().boot, served.token.secret, served.source)
        assert answer == expected
        await asyncio.sleep(INSTANT)  # no two flights start at once, so no two land at once

    @rule(seconds=st.sampled_from([0.5, 3, 8, 240, 4_000]))
    def let_time_pass(self, seconds: float) -> None:
        """Let flights land and memories fade."""
        self.run(asyncio.sleep(seconds))

    @rule(disturbance=st.sampled_from(["jump", "suspend", "rotate"]), data=st.data())
    def disturb(self, disturbance: str, data: st.DataObject) -> None:
        """Set the wall clock, let the machine sleep, or make another version the one that signs."""
        match disturbance:
            case "jump":
                self.clock.jump(data.draw(st.sampled_from([-4_000, -600, 600, 4_000])))
            case "suspend" if not self.model.flights:  # which of a flight and its deadline wakes first is not promised
                self.clock.suspend(data.draw(st.sampled_from([60, 1_000, 7_200])))
            case "rotate":
                self.model.version += 1

    @precondition(lambda self: self.model.flights)
    @rule()
    def kill(self) -> None:
        """Raise the generation while something is under way."""
        self.cache.clear()
        self.model.kill()

    @invariant()
    def both_have_asked_and_kept_the_same(self) -> None:
        """Each flight was promised, and so is what is kept, in the order of its use."""
        self.model.pass_until(self.clock().boot)
        assert self.asked == self.model.asked
        assert [seen.key for seen in self.cache.entries()] == list(self.model.known)

    def teardown(self) -> None:
        """Let what is under way land, and see that nothing is left."""
        self.run(asyncio.sleep(60))
        assert not asyncio.all_tasks(self.loop)
        self.loop.close()


@pytest.mark.hypothesis
def test_the_cache_does_what_its_rules_say() -> None:
    """TST-13: whatever is asked, and whatever clocks, credentials and Entra do, answers and flights are the model's."""
    examples = settings().max_examples // 2  # of 50 steps each
    run_state_machine_as_test(CacheMachine, settings=settings(max_examples=examples, stateful_step_count=50))
