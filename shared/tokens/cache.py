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

A *flight* acquires one token for one key and one demand (none, `nbf`, or the claims of one caller). All requests with
the same key and demand wait for the same flight, and it goes on when they leave. Once a flight is old and many wait for
such flights, the youngest waiters are sent away with 503 (`Shedding`). A request that starts a flight, or joins a young
one, is never sent away.

The token and the failure of an entry change where a flight succeeds (`_store`) or fails (`_remember`). A token for
claims other than `nbf` alone is stored nowhere (`forced_refresh.py`). The kill switch (`clear`) replaces all entries at
once: a flight that is under way then lands in an entry that nobody reads.

A reader may rely on two things. A token that `hit` returns has at least `min_remaining_failing_seconds` left by both
clocks, or half of its life if it lives for less than ten minutes. A token that was asked for earlier never replaces one
that was asked for later.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import timedelta
from math import inf

from shared.core.entra.claims import claims_for, not_before
from shared.core.errors import Defect, InvalidRequest, TimedOut, Unavailable, UpstreamError
from shared.core.limits import Limits
from shared.core.token import CLOCK_AHEAD, AccessToken, Acquired, Freshness, Moment, TokenKey, TokenSource, Wanted
from shared.single_flight import Flights, Shedding
from shared.system import System
from shared.telemetry.events import Events
from shared.tokens.entry import Counters, Entry, EntryView, least_remaining
from shared.tokens.failures import Failure
from shared.tokens.forced_refresh import EVERYBODY, ROUNDING, Challenges, Demand, Forced, Route, Step, next_step
from shared.tokens.reports import FlightReport, acquire_failed

IMPATIENT_AFTER_FAILURE = 0.4
"""The share of `shed_after_seconds` after which a flight is old, once the last one failed because of an outage."""

type Acquire = Callable[[Wanted], Awaitable[Acquired]]
type Outcome = Acquired | Failure


class TokenCache:
    """Tokens by their key.

    Args:
        acquire: acquires a token.
        version: names the credential that a flight for a key would use now; a permanent failure counts for it alone.
        limits: the knobs.
        system: clocks and chance.
        events: where failed flights are reported.
        report: makes the event of a failed flight.
    """

    def __init__(
        self,
        acquire: Acquire,
        *,
        version: Callable[[TokenKey], str],
        limits: Limits,
        system: System,
        events: Events,
        report: FlightReport = acquire_failed,
    ) -> None:
        self._acquire = acquire
        self._version = version
        self._limits = limits
        self._clock = system.clock
        self._chance = system.chance
        self._new_id = system.new_id
        self._events = events
        self._report = report
        self._wall, self._boot = system.clock.wall, system.clock.boot
        self._entries: dict[TokenKey, Entry] = {}
        self._challenges = Challenges()
        self._has_outage = False
        self._flights: Flights[Route, Outcome] = self._no_flights()
        self._counters = Counters()
        self._uses = self._lookups = 0

    @property
    def counters(self) -> Counters:
        """The counts up to now."""
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

    async def get(
        self, key: TokenKey, *, claims: str | None = None, rejected: str | None = None, caller: str = ""
    ) -> Acquired:
        """Return a token, waiting for Entra where no cached one is usable or the cached one will not do.

        Args:
            key: profile, tenant and scope.
            claims: of a challenge, in canonical form: the cached token did not satisfy its API.
            rejected: SHA-256 of a rejected token: the cached one will not do if it is that one. Claims go before it.
            caller: whose challenge it was.

        Raises:
            UpstreamError: no token can be acquired now; a copy of the flight's error, with the wait that is left.
            InvalidRequest: the claims ask for a token of the future.
        """
        if claims is not None:
            return await self._challenge(key, claims, caller)
        if rejected is not None:
            return await self._replace(key, rejected)
        token = self.hit(key)
        if token is not None:
            return Acquired(token, TokenSource.CACHE)
        return await self._miss(key)

    def clear(self) -> None:
        """Drop every token, and those of the flights that are under way: the kill switch."""
        self._entries = {}
        self._challenges = Challenges()
        self._flights = self._no_flights()

    def _no_flights(self) -> Flights[Route, Outcome]:
        limits = self._limits
        cause = "too many requests wait for an answer"
        shedding = Shedding(
            after=lambda: limits.shed_after_seconds * (IMPATIENT_AFTER_FAILURE if self._has_outage else 1),
            most=limits.waiting_max,
            error=lambda: Unavailable(cause=cause, wait=timedelta(seconds=5 + 5 * self._chance())),
        )
        # A flight bounds itself, so that its timeout is remembered as a failure; this bound is never the first.
        return Flights(seconds=2 * limits.caller_budget_seconds, shedding=shedding)

    def entries(self) -> list[EntryView]:
        """List what is cached, the longest unused first; it changes nothing."""
        now = self._clock()
        return [
            entry.view(key, now, is_failing=self._in_force(entry.failure, key, now) is not None)
            for key, entry in sorted(self._entries.items(), key=lambda item: item[1].used)
        ]

    def _stale(self, key: TokenKey, entry: Entry, now: Moment) -> AccessToken | None:
        """Serve a token whose refresh is due, and start the refresh unless the last one has just failed."""
        failing = self._in_force(entry.failure, key, now)
        token = entry.token
        if token is None:
            return None
        floor = least_remaining(token, self._limits, failing=failing is not None)
        if token.freshness(now, floor=floor) is Freshness.EXPIRED:
            return None
        if not failing and (key, None) not in self._flights:
            self._flights.start((key, None), lambda: self._flight(Wanted(key, in_background=True), None))
            self._counters.refreshes += 1
        self._uses = entry.used = self._uses + 1
        self._counters.stale_hits += 1
        return token

    async def _miss(self, key: TokenKey) -> Acquired:
        self._counters.misses += 1
        entry = self._entry(key)
        spare = None
        # Where the entry is empty a waiter has nothing to look at: 10,000 may come at once.
        if entry.token or entry.failure:
            now = self._clock()
            failure = self._in_force(entry.failure, key, now)
            if failure:
                raise failure.for_caller(now, self._chance())
            spare = self._usable(entry, now)
        outcome = await self._outcome(Wanted(key), None, patience=self._limits.short_wait_seconds if spare else None)
        if isinstance(outcome, Acquired):
            return outcome
        if spare:
            return Acquired(spare, TokenSource.CACHE)
        assert outcome is not None  # without a spare it was waited for to its end
        raise outcome.for_caller(self._clock(), self._chance())

    async def _replace(self, key: TokenKey, rejected: str) -> Acquired:
        """Answer a request whose token an API has rejected: the cached one will do, unless it is that one."""
        now, entry = self._clock(), self._entry(key)
        token = self._usable(entry, now)
        step = next_step(
            met=token is None or token.sha256 != rejected,
            flying=(key, None) in self._flights,
            failing=self._in_force(entry.failure, key, now) is not None,
            strict=False,
            recent=now.boot - entry.replaced < self._limits.forced_refresh_interval_seconds,
        )
        if step is Step.ORDINARY:
            return await self.get(key)
        if step is Step.START:
            entry.replaced = now.boot
        self._counters.misses += 1
        outcome = await self._outcome(Wanted(key, rejected=rejected), None)
        return outcome if isinstance(outcome, Acquired) else await self.get(key)

    async def _challenge(self, key: TokenKey, claims: str, caller: str) -> Acquired:
        """Answer a request with the claims of a challenge."""
        now, entry, nbf = self._clock(), self._entry(key), not_before(claims)
        if nbf is not None and nbf > now.wall + CLOCK_AHEAD:
            raise InvalidRequest("claims asks for a token of the future", hint="compare the clock of the API with UTC")
        asked = now.wall - (max(entry.token.clock_ahead, -CLOCK_AHEAD) if entry.token else 0.0)
        demand, wanted = Demand(caller, claims), -inf
        if nbf is not None and nbf <= asked + ROUNDING:
            demand, wanted, claims = Demand(EVERYBODY, ""), nbf, claims_for(nbf)
        last = self._challenges.last((key, demand))
        refused = self._in_force(last.failure, key, now) if last.refuses(wanted) else None
        failure = refused or self._in_force(entry.failure, key, now)
        flying = (key, demand) in self._flights
        interval = self._limits.forced_refresh_interval_seconds
        step = next_step(
            met=demand.is_shared and self._usable(entry, now) is not None and wanted <= entry.not_before,
            flying=flying and wanted <= max(last.asked, last.demanded),
            failing=failure is not None,
            strict=True,
            recent=flying or (now.boot - last.at < interval and not last.failure),
        )
        match step:
            case Step.ORDINARY:
                return await self.get(key)
            case Step.REFUSE:
                assert failure is not None
                raise failure.for_caller(now, self._chance())
            case Step.TOO_SOON:
                left = max(0.0, last.at + interval - now.boot)
                raise Unavailable(cause="a token for these claims was acquired just now", wait=timedelta(seconds=left))
            case Step.START:
                self._challenges.began((key, demand), Forced(now.boot, asked, wanted, last.failure))
        self._counters.misses += 1
        outcome = await self._outcome(Wanted(key, claims=claims), demand)
        if isinstance(outcome, Acquired):
            if step is Step.JOIN and wanted > last.met_by(outcome.token):
                return await self._challenge(key, claims, caller)  # Entra's clock is behind what was known of it
            return outcome
        assert outcome is not None  # it was waited for to its end
        if step is Step.JOIN and not last.refuses(wanted):
            return await self._challenge(key, claims, caller)  # it was refused a moment that lay ahead
        raise outcome.for_caller(self._clock(), self._chance())

    def _usable(self, entry: Entry, now: Moment) -> AccessToken | None:
        """Return the token that can be served if nothing better comes."""
        token = entry.token
        if token is None:
            return None
        floor = least_remaining(token, self._limits, failing=True)
        return None if token.freshness(now, floor=floor) is Freshness.EXPIRED else token

    def _in_force(self, failure: Failure | None, key: TokenKey, now: Moment) -> Failure | None:
        return failure if failure and failure.is_in_force(now, lambda: self._version(key)) else None

    async def _outcome(self, wanted: Wanted, demand: Demand | None, *, patience: float | None = None) -> Outcome | None:
        """Wait for the flight of a key and a demand, which starts if there is none; None once `patience` is over."""
        self._counters.waiting += 1
        try:
            flight = self._flights.join((wanted.key, demand), lambda: self._flight(wanted, demand))
            return await (flight if patience is None else asyncio.wait_for(flight, patience))
        except TimeoutError:
            return None
        except Unavailable:  # sent away: a flight itself never raises
            if patience is None:
                raise
            return None
        finally:
            self._counters.waiting -= 1

    async def _flight(self, wanted: Wanted, demand: Demand | None) -> Outcome:
        """Acquire a token, and put it or the failure where later requests find it."""
        entries, challenges, key = self._entries, self._challenges, wanted.key  # after a kill switch nobody's
        cached = entries[key].token if key in entries else None
        wanted = wanted._replace(newer_than=cached.asked if cached else None, flight_id=self._new_id())
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
            self._has_outage = False
            self._counters.acquired += 1
            forced = challenges.landed((key, demand), None)
            if demand is None or demand.is_shared:
                self._store(entries.get(key, Entry()), acquired.token, forced)
            return acquired
        error.flight_id = wanted.flight_id
        return self._remember(entries.get(key, Entry()), challenges, wanted, demand, error)

    def _store(self, entry: Entry, token: AccessToken, forced: Forced) -> None:
        entry.failure = None
        # A flight that left earlier may land later: the token that was asked for last stays.
        if entry.token is None or entry.token.asked.boot <= token.asked.boot:
            entry.token = token
            entry.not_before = forced.met_by(token)
            entry.fresh_wall, entry.fresh_boot = token.fresh_until(floor=least_remaining(token, self._limits))

    def _remember(
        self, entry: Entry, challenges: Challenges, wanted: Wanted, demand: Demand | None, error: UpstreamError
    ) -> Failure:
        self._counters.failures += 1
        now, key = self._clock(), wanted.key
        # The version after the flight: the first flight of a worker learns only then with which credential it flew.
        before, version = challenges.last((key, demand)).failure or entry.failure, self._version(key)
        failure = Failure.after(before, error, now=now, version=version, limits=self._limits, draw=self._chance())
        challenges.landed((key, demand), failure)
        if wanted.rejected is not None:
            entry.replaced = -inf  # nothing was replaced
        # What Entra answers to certain claims says nothing about the same request without them.
        if demand is None or (isinstance(error, Unavailable) and not error.of_request):
            entry.failure = failure
            self._has_outage = isinstance(error, Unavailable)
        self._events.defer(self._report(wanted, error, round(failure.until - now.boot, 1)))
        return failure

    def _entry(self, key: TokenKey) -> Entry:
        """Return the entry of a key and mark it as used; the one unused for longest gives way to a new one."""
        entry = self._entries.get(key)
        if entry is None:
            if len(self._entries) >= self._limits.cache_entries:
                # Searched when it is needed, once per new key, so that a hit need not keep an order.
                del self._entries[min(self._entries, key=lambda known: self._entries[known].used)]
            entry = self._entries[key] = Entry()
        self._uses = entry.used = self._uses + 1
        self._lookups += 1
        return entry
