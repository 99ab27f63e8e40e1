"""The warm cache, one per worker process.

Theory of operation
===================

The cache has one entry per key. A request never waits for Entra while its entry has a usable token:

    life of the token                        a request gets                       Entra is asked
    fresh                                    the token                            no
    stale (its refresh is due)               the token                            by a flight in the background
    less than `min_remaining_seconds`        the newer token, or after a short    by a flight
                                             wait the cached one
    less than `min_remaining_failing_seconds`, the newer token, or an error       by a flight
    or no token

While a failure is remembered no flight starts. The token is then served without any wait until
`min_remaining_failing_seconds` before its end; after that the remembered error is the answer.

A *flight* acquires one token for one key and one demand (the claims of a challenge, or none). All requests with the
same key and demand wait for the same flight, and it goes on when they leave.

The token and the failures of an entry change in three places: a flight that succeeds (`_store`), a flight that fails
(`_remember`), and the start of a forced refresh (`_force`, with the table of `forced_refresh.py`). The kill switch
(`clear`) replaces all entries at once: a flight that is under way then lands in an entry that nobody reads.

A reader may rely on this: a token that `hit` returns has at least `min_remaining_failing_seconds` left by both clocks,
and a token that was asked for earlier never replaces one that was asked for later.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from math import inf
from typing import NamedTuple

from shared.core.errors import Defect, TimedOut, Unavailable, UpstreamError
from shared.core.limits import Limits
from shared.core.token import AccessToken, Acquired, Freshness, Moment, TokenKey, TokenSource, Wanted
from shared.single_flight import Flights
from shared.system import System
from shared.telemetry import catalogue
from shared.telemetry.events import Events
from shared.tokens.failures import Failure
from shared.tokens.forced_refresh import Forced, Step, next_step

NEVER = Moment(-inf, -inf)

type Acquire = Callable[[Wanted], Awaitable[Acquired]]
type Outcome = Acquired | Failure


class EntryView(NamedTuple):
    """One entry, for an observer; never the token."""

    key: TokenKey
    token: str | None
    """Fingerprint of the token."""
    age: float
    """Seconds since the token was asked for; 0 without a token."""
    remaining: float
    """Seconds of life; 0 without a token."""
    cause: str | None
    """Why the last flight failed; None if it succeeded."""
    is_failing: bool
    """Whether that failure is in force, so that no flight starts."""


@dataclass(slots=True)
class Counters:
    """What has happened since this worker started."""

    hits: int = 0
    """Answers from the cache, stale ones among them."""
    stale_hits: int = 0
    """Answers with a token whose refresh was due."""
    misses: int = 0
    """Requests that the cache alone could not answer."""
    refreshes: int = 0
    """Flights that started in the background."""
    acquired: int = 0
    """Flights that succeeded."""
    failures: int = 0
    """Flights that failed."""
    waiting: int = 0
    """Requests that wait for a flight now."""


class _Entry:
    """What is known of one key."""

    __slots__ = ("failure", "forced", "fresh_boot", "fresh_wall", "token", "used")

    def __init__(self) -> None:
        self.token: AccessToken | None = None
        self.fresh_wall, self.fresh_boot = NEVER
        self.used = 0
        self.failure: Failure | None = None
        self.forced = Forced(-inf, None)


class TokenCache:
    """Tokens by their key.

    Args:
        acquire: acquires a token.
        version: names the credential that a flight for a key would use now; a permanent failure counts for it alone.
        limits: the knobs.
        system: clocks and chance.
        events: where failed flights are reported.
    """

    def __init__(
        self, acquire: Acquire, *, version: Callable[[TokenKey], str], limits: Limits, system: System, events: Events
    ) -> None:
        self._acquire = acquire
        self._version = version
        self._limits = limits
        self._clock = system.clock
        self._chance = system.chance
        self._events = events
        self._wall, self._boot = system.clock.wall, system.clock.boot
        self._entries: dict[TokenKey, _Entry] = {}
        self._flights: Flights[tuple[TokenKey, str | None], Outcome] = self._no_flights()
        self._counters = Counters()
        self._uses = 0
        self._lookups = 0

    @property
    def counters(self) -> Counters:
        """What has happened until now."""
        # A hit does the least: it numbers its entry. Every use that was not a lookup by a miss was a hit.
        return replace(self._counters, hits=self._uses - self._lookups)

    def __len__(self) -> int:
        return len(self._entries)

    def hit(self, key: TokenKey) -> AccessToken | None:
        """Return a token that can be served without waiting, or None.

        Must be called on the event loop: where a refresh is due it starts in the background.
        """
        entry = self._entries.get(key)
        if entry is None:
            return None
        if self._boot() < entry.fresh_boot and self._wall() < entry.fresh_wall:
            self._uses = entry.used = self._uses + 1
            return entry.token
        return None if entry.token is None else self._stale(key, entry, self._clock())

    async def get(self, key: TokenKey, *, claims: str | None = None, rejected: str | None = None) -> Acquired:
        """Return a token, waiting for Entra where no cached one is usable or the cached one will not do.

        Args:
            key: profile, tenant and scope.
            claims: of a challenge, in canonical form: the cached token did not satisfy its API.
            rejected: SHA-256 of a rejected token: the cached one will not do if it is that one.

        Raises:
            UpstreamError: no token can be acquired now; a copy of the flight's error, with the wait that is left.
        """
        if claims is not None or rejected is not None:
            return await self._force(key, claims, rejected)
        token = self.hit(key)
        if token is not None:
            return Acquired(token, TokenSource.CACHE)
        return await self._miss(key)

    def clear(self) -> None:
        """Drop every token, and those of the flights that are under way: the kill switch."""
        self._entries = {}
        self._flights = self._no_flights()

    def _no_flights(self) -> Flights[tuple[TokenKey, str | None], Outcome]:
        # A flight bounds itself, so that its timeout is remembered as a failure; this bound is never the first.
        return Flights(seconds=2 * self._limits.caller_budget_seconds)

    def entries(self) -> list[EntryView]:
        """List what is cached, the longest unused first; it changes nothing."""
        now = self._clock()
        return [
            EntryView(
                key,
                token=entry.token.fingerprint if entry.token else None,
                age=now.boot - entry.token.asked.boot if entry.token else 0.0,
                remaining=entry.token.remaining(now) if entry.token else 0.0,
                cause=entry.failure.error.cause if entry.failure else None,
                is_failing=self._in_force(entry.failure, key, now) is not None,
            )
            for key, entry in sorted(self._entries.items(), key=lambda item: item[1].used)
        ]

    def _stale(self, key: TokenKey, entry: _Entry, now: Moment) -> AccessToken | None:
        """Serve a token whose refresh is due, and start the refresh unless the last one has just failed."""
        failing = self._in_force(entry.failure, key, now)
        floor = self._limits.min_remaining_failing_seconds if failing else self._limits.min_remaining_seconds
        token = entry.token
        if token is None or token.freshness(now, floor=floor) is Freshness.EXPIRED:
            return None
        if not failing and (key, None) not in self._flights:
            self._flights.start((key, None), lambda: self._flight(key, None))
            self._counters.refreshes += 1
        self._uses = entry.used = self._uses + 1
        self._counters.stale_hits += 1
        return token

    async def _miss(self, key: TokenKey) -> Acquired:
        self._counters.misses += 1
        entry = self._entry(key)
        spare = None
        # Where a flight is under way and the entry is empty, a waiter has nothing to look at: 10,000 may come at once.
        if entry.token or entry.failure or (key, None) not in self._flights:
            now = self._clock()
            failure = self._in_force(entry.failure, key, now)
            if failure:
                raise failure.for_caller(now, self._chance())
            spare = self._usable(entry, now)
        outcome = await self._outcome(key, None, self._limits.short_wait_seconds if spare else None)
        if isinstance(outcome, Acquired):
            return outcome
        if spare:
            return Acquired(spare, TokenSource.CACHE)
        assert outcome is not None  # without a spare it was waited for to its end
        raise outcome.for_caller(self._clock(), self._chance())

    async def _force(self, key: TokenKey, claims: str | None, rejected: str | None) -> Acquired:
        """Replace the cached token, unless that has just been done or has just failed."""
        now = self._clock()
        entry = self._entry(key)
        token, last = self._usable(entry, now), entry.forced
        equal = last.claims == claims
        failure = self._in_force(last.failure if equal else None, key, now) or self._in_force(entry.failure, key, now)
        step = next_step(
            replaced=rejected is not None and (token.sha256 != rejected if token else claims is None),
            flying=(key, claims) in self._flights,
            failing=failure is not None,
            claims=claims is not None,
            recent=now.boot - last.at < self._limits.forced_refresh_interval_seconds and not (last.failure and equal),
        )
        if step is Step.ORDINARY:
            return await self.get(key)
        if step is Step.REFUSE:
            assert failure is not None
            raise failure.for_caller(now, self._chance())
        if step is Step.START:
            entry.forced = Forced(now.boot, claims)
        self._counters.misses += 1
        outcome = await self._outcome(key, claims, None, rejected=rejected)
        if isinstance(outcome, Acquired):
            return outcome
        if claims is None:
            return await self.get(key)
        assert outcome is not None  # it was waited for to its end
        raise outcome.for_caller(self._clock(), self._chance())

    def _usable(self, entry: _Entry, now: Moment) -> AccessToken | None:
        """Return the token that can be served if nothing better comes."""
        token, floor = entry.token, self._limits.min_remaining_failing_seconds
        return None if token is None or token.freshness(now, floor=floor) is Freshness.EXPIRED else token

    def _in_force(self, failure: Failure | None, key: TokenKey, now: Moment) -> Failure | None:
        return failure if failure and failure.is_in_force(now, lambda: self._version(key)) else None

    async def _outcome(
        self, key: TokenKey, claims: str | None, patience: float | None, *, rejected: str | None = None
    ) -> Outcome | None:
        """Wait for the flight of a key and claims, which starts if there is none; None once `patience` is over."""
        self._counters.waiting += 1
        try:
            flight = self._flights.join((key, claims), lambda: self._flight(key, claims, rejected))
            return await (flight if patience is None else asyncio.wait_for(flight, patience))
        except TimeoutError:
            return None
        finally:
            self._counters.waiting -= 1

    async def _flight(self, key: TokenKey, claims: str | None, rejected: str | None = None) -> Outcome:
        """Acquire a token, and put it or the failure into the entry of the key."""
        entries = self._entries  # after a kill switch these are nobody's
        version = self._version(key)
        cached = entries[key].token if key in entries else None
        wanted = Wanted(key, claims=claims, newer_than=cached.asked if cached else None, rejected=rejected)
        try:
            async with asyncio.timeout(self._limits.caller_budget_seconds):
                acquired = await self._acquire(wanted)
        except TimeoutError:
            error: UpstreamError = TimedOut(cause="the time of a flight ran out")
        except UpstreamError as failed:
            error = failed.with_wait(failed.wait)  # without the traceback, whose frames hold what was sent
        except Exception as failed:  # noqa: BLE001  # a defect of ours is remembered like any other failure
            error = Defect(cause=type(failed).__name__)
        else:
            self._store(entries.get(key, _Entry()), acquired.token)
            return acquired
        return self._remember(entries.get(key, _Entry()), wanted, error, version)

    def _store(self, entry: _Entry, token: AccessToken) -> None:
        self._counters.acquired += 1
        entry.failure = None
        # A flight that left earlier may land later: the token that was asked for last stays.
        if entry.token is None or entry.token.asked.boot <= token.asked.boot:
            entry.token = token
            entry.fresh_wall, entry.fresh_boot = token.fresh_until(floor=self._limits.min_remaining_seconds)

    def _remember(self, entry: _Entry, wanted: Wanted, error: UpstreamError, version: str) -> Failure:
        self._counters.failures += 1
        now = self._clock()
        failure = Failure.after(
            entry.failure, error, now=now, version=version, limits=self._limits, draw=self._chance()
        )
        if wanted.claims is not None:
            entry.forced = entry.forced._replace(failure=failure)
        # What Entra refuses for certain claims says nothing about the same request without them.
        if wanted.claims is None or isinstance(error, Unavailable):
            entry.failure = failure
        key = wanted.key
        self._events.defer(
            catalogue.FAILED_ATTEMPTS[error.event](
                profile=key.profile,
                tenant_id=key.tenant_id,
                scope=key.scope,
                cause=error.cause,
                remedy=error.remedy,
                trace_id=error.trace_id,
                retry_seconds=round(failure.until - now.boot, 1),
            )
        )
        return failure

    def _entry(self, key: TokenKey) -> _Entry:
        """Return the entry of a key and mark it as used; the one unused for longest gives way to a new one."""
        entry = self._entries.get(key)
        if entry is None:
            if len(self._entries) >= self._limits.cache_entries:
                # Searched when it is needed, once per new key, so that a hit need not keep an order.
                del self._entries[min(self._entries, key=lambda known: self._entries[known].used)]
            entry = self._entries[key] = _Entry()
        self._uses = entry.used = self._uses + 1
        self._lookups += 1
        return entry
