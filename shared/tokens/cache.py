"""The warm cache, one per worker process: serves, refreshes ahead of time, and rides through bad days.

While a usable token exists nobody waits for Entra: a hit is a plain call, and a token that is due for a refresh is
served while one flight per key gets a newer one behind the caller's back. In the last minutes of a token a caller waits
a moment for that flight, and then takes the token all the same. Only a miss waits: one flight per key, however many
wait for it, and whoever of them goes away.

A flight that failed is remembered. Until its wait is over no other is started, and who has no token to fall back on
gets the same error at once.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from datetime import timedelta
from math import inf
from typing import NamedTuple

from shared.core.errors import TimedOut, Unavailable, VendError
from shared.core.limits import Limits
from shared.core.retry import JITTER, failure_wait
from shared.core.token import AccessToken, Clock, Freshness, Moment, TokenKey, TokenSource
from shared.single_flight import Flights
from shared.telemetry.events import Events

NEVER = Moment(-inf, -inf)

type Acquire = Callable[[TokenKey, str | None], Awaitable[AccessToken]]


class Served(NamedTuple):
    """A token that may be handed out, and where it came from."""

    token: AccessToken
    source: TokenSource


class Seen(NamedTuple):
    """One key as somebody sees it who looks into the cache; never the token."""

    key: TokenKey
    token: str | None
    """Its fingerprint."""
    age: float
    """Seconds since it was asked for; 0 without a token."""
    remaining: float
    """Seconds of life; 0 without a token."""
    cause: str | None
    """What the last flight failed with; None if it went well."""
    is_failing: bool
    """Whether that is in force still, so that no flight starts."""


@dataclass(slots=True)
class Counters:
    """What has happened since this worker started."""

    hits: int = 0
    """Answers from the cache, stale ones among them."""
    stale_hits: int = 0
    """Answers with a token that was due for a refresh."""
    misses: int = 0
    """Requests that had to look beyond the cache."""
    refreshes: int = 0
    """Flights that started behind a caller's back."""
    acquired: int = 0
    """Flights that came back with a token."""
    failures: int = 0
    """Flights that came back without one."""
    waiting: int = 0
    """Requests that wait for a flight now."""


@dataclass(frozen=True, slots=True)
class _Failure:
    """A flight that failed, and for how long that counts.

    Args:
        error: what with; never raised itself.
        in_a_row: how many have failed since the last that went well.
        until: on the boot clock.
        version: of the credential that it flew with.
    """

    error: VendError
    in_a_row: int
    until: float
    version: str

    def told(self, now: Moment, draw: float) -> VendError:
        """Make the error for one caller; where upstream named the wait, callers are spread a little behind it."""
        if self.error.wait is None:  # such as a denial, which is to look like one by policy
            return self.error.again(None)
        left = max(0.0, self.until - now.boot)
        if self.error.retry_after is not None:
            left *= 1 + JITTER * draw
        return self.error.again(timedelta(seconds=left))


type Outcome = AccessToken | _Failure


class _Forced(NamedTuple):
    """The last forced flight of a key.

    Args:
        at: when it started, on the boot clock.
        claims: what it asked for.
        failure: how it ended, if it did so badly.
    """

    at: float
    claims: str | None
    failure: _Failure | None = None


class _Entry:
    """What is known of one key."""

    __slots__ = ("failure", "forced", "fresh_boot", "fresh_wall", "token", "used")

    def __init__(self) -> None:
        self.token: AccessToken | None = None
        self.fresh_wall, self.fresh_boot = NEVER
        self.used = 0
        self.failure: _Failure | None = None
        self.forced = _Forced(-inf, None)


class TokenCache:
    """Tokens by their key.

    Args:
        acquire: gets a token for a key, with the canonical claims of a challenge or None.
        limits: the knobs.
        clock: both clocks.
        events: where a flight tells that it failed.
        version: names the credential that a key would fly with now; a changed one clears a permanent failure.
        draw: from 0 to 1, for jitter.
    """

    def __init__(
        self,
        acquire: Acquire,
        *,
        limits: Limits,
        clock: Clock,
        events: Events,
        version: Callable[[TokenKey], str],
        draw: Callable[[], float],
    ) -> None:
        self._acquire = acquire
        self._limits = limits
        self._clock = clock
        self._events = events
        self._version = version
        self._draw = draw
        self._wall, self._boot = clock.wall, clock.boot
        self._entries: dict[TokenKey, _Entry] = {}
        self._flights: Flights[tuple[TokenKey, str | None], Outcome] = Flights()
        self._counters = Counters()
        self._uses = 0
        self._touches = 0

    @property
    def counters(self) -> Counters:
        """What has happened until now."""
        # A hit does the least: it stamps its entry with a number, and what is no touch by a miss was a hit.
        return replace(self._counters, hits=self._uses - self._touches)

    def __len__(self) -> int:
        return len(self._entries)

    def hit(self, key: TokenKey) -> AccessToken | None:
        """Give a token that can be served without waiting, or None.

        Must be called on the event loop: a token that is due for a refresh starts one.
        """
        entry = self._entries.get(key)
        if entry is None:
            return None
        if self._boot() < entry.fresh_boot and self._wall() < entry.fresh_wall:
            self._uses = entry.used = self._uses + 1
            return entry.token
        return None if entry.token is None else self._aging(key, entry, self._clock())

    async def get(self, key: TokenKey, *, claims: str | None = None, rejected: str | None = None) -> Served:
        """Give a token, waiting for Entra where there is no usable one, or where the cached one will not do.

        Args:
            key: whose.
            claims: of a challenge, in canonical form: the cached token did not satisfy its API.
            rejected: SHA-256 of a token that was rejected: the cached one will not do if it is that one.

        Raises:
            VendError: none can be had now; a copy of what the flight failed with, with the wait that is left.
        """
        if claims is not None or rejected is not None:
            return await self._forced(key, claims, rejected)
        token = self.hit(key)
        if token is not None:
            return Served(token, TokenSource.CACHE)
        return await self._miss(key)

    def clear(self) -> None:
        """Forget every token, those that are under way too: the kill switch."""
        # What was asked for before lands in what nobody looks into any more.
        self._entries = {}
        self._flights = Flights()

    def look(self) -> list[Seen]:
        """Show what is kept, the longest unused first; it changes nothing."""
        now = self._clock()
        return [
            Seen(
                key,
                token=entry.token.fingerprint if entry.token else None,
                age=now.boot - entry.token.asked.boot if entry.token else 0.0,
                remaining=entry.token.remaining(now) if entry.token else 0.0,
                cause=entry.failure.error.cause if entry.failure else None,
                is_failing=self._in_force(entry.failure, key, now) is not None,
            )
            for key, entry in sorted(self._entries.items(), key=lambda item: item[1].used)
        ]

    def _aging(self, key: TokenKey, entry: _Entry, now: Moment) -> AccessToken | None:
        """Serve a token that is fresh no more, and start its refresh, unless the last one has just failed."""
        failing = self._in_force(entry.failure, key, now)
        floor = self._limits.served_floor_failing_seconds if failing else self._limits.served_floor_seconds
        token = entry.token
        if token is None or token.freshness(now, floor=floor) is Freshness.EXPIRED:
            return None
        if not failing and (key, None) not in self._flights:
            self._flights.start((key, None), lambda: self._fly(key, None))
            self._counters.refreshes += 1
        self._uses = entry.used = self._uses + 1
        self._counters.stale_hits += 1
        return token

    async def _miss(self, key: TokenKey) -> Served:
        self._counters.misses += 1
        entry = self._touch(key)
        spare = None
        # Else there is nothing to do but to wait: what ten thousand who wait for one flight need not look at again.
        if entry.token or entry.failure or (key, None) not in self._flights:
            now = self._clock()
            failure = self._in_force(entry.failure, key, now)
            if failure:
                raise failure.told(now, self._draw())
            spare = self._usable(entry, now)
        outcome = await self._landing(key, None, self._limits.short_wait_seconds if spare else None)
        if isinstance(outcome, AccessToken):
            return Served(outcome, TokenSource.IDENTITY_PROVIDER)
        if spare:
            return Served(spare, TokenSource.CACHE)
        assert outcome is not None  # without a spare it was waited for to its end
        raise outcome.told(self._clock(), self._draw())

    async def _forced(self, key: TokenKey, claims: str | None, rejected: str | None) -> Served:
        """Replace the cached token, unless that has just been done or has just failed."""
        now = self._clock()
        entry = self._touch(key)
        token = self._usable(entry, now)
        if rejected is not None and (token.sha256 != rejected if token else claims is None):
            return await self.get(key)  # it has been replaced already, or there is nothing to replace
        if (key, claims) not in self._flights:
            last = entry.forced
            failure = self._in_force(last.failure if last.claims == claims else None, key, now)
            failure = failure or self._in_force(entry.failure, key, now)
            if failure and claims is not None:
                raise failure.told(now, self._draw())
            # The same challenge may be tried again once its failure is over; another one has to wait for its turn.
            just_forced = now.boot - last.at < self._limits.forced_floor_seconds
            if failure or (just_forced and not (last.failure and last.claims == claims)):
                return await self.get(key)
            entry.forced = _Forced(now.boot, claims)
        self._counters.misses += 1
        outcome = await self._landing(key, claims, None)
        if isinstance(outcome, AccessToken):
            return Served(outcome, TokenSource.IDENTITY_PROVIDER)
        if claims is None:
            return await self.get(key)
        assert outcome is not None  # as above
        raise outcome.told(self._clock(), self._draw())

    def _usable(self, entry: _Entry, now: Moment) -> AccessToken | None:
        """Give the token that can be served if nothing better comes."""
        token, floor = entry.token, self._limits.served_floor_failing_seconds
        return None if token is None or token.freshness(now, floor=floor) is Freshness.EXPIRED else token

    def _in_force(self, failure: _Failure | None, key: TokenKey, now: Moment) -> _Failure | None:
        """Give a failure back while it counts: until its time is over, or the credential that it was about changed."""
        if failure is None or now.boot >= failure.until:
            return None
        return failure if failure.error.retryable or failure.version == self._version(key) else None

    async def _landing(self, key: TokenKey, claims: str | None, patience: float | None) -> Outcome | None:
        """Wait for the flight of a key and claims, which starts if there is none, to its end or so many seconds."""
        self._counters.waiting += 1
        try:
            flight = self._flights.join((key, claims), lambda: self._fly(key, claims))
            return await (flight if patience is None else asyncio.wait_for(flight, patience))
        except TimeoutError:
            return None
        finally:
            self._counters.waiting -= 1

    async def _fly(self, key: TokenKey, claims: str | None) -> Outcome:
        """Get a token and put it, or what went wrong, into the entry of the key, which may be another one by then."""
        entries = self._entries  # after a kill switch what lands here is nobody's
        version = self._version(key)
        try:
            async with asyncio.timeout(self._limits.caller_budget_seconds):
                token = await self._acquire(key, claims)
        except TimeoutError:
            error: VendError = TimedOut(cause="the time of a flight ran out")
        except VendError as failed:
            error = failed.again(failed.retry_after)  # without the traceback, whose frames hold what was sent
        except Exception as failed:  # noqa: BLE001  # a defect of ours is remembered like any other failure
            error = VendError(cause=type(failed).__name__)
        else:
            self._keep(entries.get(key, _Entry()), token)
            return token
        return self._remember(entries.get(key, _Entry()), key, claims, error, version)

    def _keep(self, entry: _Entry, token: AccessToken) -> None:
        self._counters.acquired += 1
        entry.failure = None
        # A flight that left earlier may land later: the token that was asked for last stays.
        if entry.token is None or entry.token.asked.boot <= token.asked.boot:
            entry.token = token
            entry.fresh_wall, entry.fresh_boot = token.fresh_until(floor=self._limits.served_floor_seconds)

    def _remember(self, entry: _Entry, key: TokenKey, claims: str | None, error: VendError, version: str) -> _Failure:
        self._counters.failures += 1
        in_a_row = entry.failure.in_a_row + 1 if entry.failure else 1
        wait = failure_wait(error, failures=in_a_row, limits=self._limits, draw=self._draw())
        failure = _Failure(error, in_a_row, until=self._clock().boot + wait, version=version)
        if claims is not None:
            entry.forced = entry.forced._replace(failure=failure)
        # What Entra has against certain claims says nothing about the same request without them.
        if claims is None or isinstance(error, Unavailable):
            entry.failure = failure
        self._events.defer(
            error.event,
            profile=key.profile,
            tenant_id=key.tenant_id,
            scope=key.scope,
            cause=error.cause,
            remedy=error.remedy,
            trace_id=error.trace_id,
            retry_seconds=round(wait, 1),
        )
        return failure

    def _touch(self, key: TokenKey) -> _Entry:
        """Find or make the entry of a key and mark it as used; the one unused for longest gives way to a new one."""
        entry = self._entries.get(key)
        if entry is None:
            if len(self._entries) >= self._limits.cache_entries:
                # Looked for when it is needed, which is once per new key, so that a hit need not keep an order.
                del self._entries[min(self._entries, key=lambda known: self._entries[known].used)]
            entry = self._entries[key] = _Entry()
        self._uses = entry.used = self._uses + 1
        self._touches += 1
        return entry
