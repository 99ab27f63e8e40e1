"""What the cache promises, as plain dictionaries: written from the rules, not from the code.

One question is asked at a time; flights that nobody waits for land while time passes.
"""

from dataclasses import dataclass, field
from datetime import timedelta

from shared.core.errors import CredentialRefused, TimedOut, Unavailable, UpstreamError
from shared.core.limits import Limits
from shared.core.token import Moment, TokenKey, TokenSource

LIMITS = Limits(cache_entries=2)


@dataclass(frozen=True)
class Upstream:
    """What Entra does to a flight that starts now.

    Args:
        error: what it fails with, if it does.
        retry_after: seconds that the error names.
        delay: seconds until it answers.
        lifetime: seconds that a token lives.
    """

    error: type[UpstreamError] | None = None
    retry_after: float | None = None
    delay: float = 0
    lifetime: float = 3_600

    @property
    def refresh_after(self) -> float:
        """Seconds of its age after which a token is due."""
        return self.lifetime / 4


@dataclass(frozen=True)
class Token:
    """A token that the model knows of."""

    name: str
    asked: Moment
    upstream: Upstream

    def left(self, now: Moment) -> float:
        """Seconds of life, by the clock that leaves fewer."""
        return self.upstream.lifetime - max(now.wall - self.asked.wall, now.boot - self.asked.boot)

    def is_due(self, now: Moment) -> bool:
        """Whether a newer one should be got, by the clock that never jumps."""
        return now.boot - self.asked.boot >= self.upstream.refresh_after


@dataclass(frozen=True)
class Failure:
    """A flight that failed: from `until`, on the boot clock, another may start."""

    error: type[UpstreamError]
    in_a_row: int
    until: float
    version: int


@dataclass
class Known:
    """What is known of a key."""

    token: Token | None = None
    failure: Failure | None = None
    forced_at: float | None = None
    forced_claims: str | None = None
    forced_failure: Failure | None = None


@dataclass(frozen=True)
class Flight:
    """A question to Entra that is under way; it lands at an instant of the boot clock."""

    asked: Moment
    lands: float
    version: int
    token: Token | None
    error: type[UpstreamError] | None
    retry_after: float | None


@dataclass(frozen=True)
class Answer:
    """What a caller gets, and when on the boot clock: a token by its name, or an error and its wait in seconds."""

    at: float
    got: str | type[UpstreamError]
    source: TokenSource | None = None
    wait: float | None = None


@dataclass
class Model:
    """The cache of one worker."""

    known: dict[TokenKey, Known] = field(default_factory=dict)
    """The longest unused first."""
    flights: dict[tuple[TokenKey, str | None], Flight] = field(default_factory=dict)
    asked: list[tuple[TokenKey, str | None]] = field(default_factory=list)
    """Every question that went to Entra."""
    version: int = 1

    def kill(self) -> None:
        """Raise the generation: no token from before it is kept."""
        self.known, self.flights = {}, {}

    def pass_until(self, boot: float) -> None:
        """Let the flights land that do so by then, in their order."""
        for route, flight in sorted(self.flights.items(), key=lambda item: item[1].lands):
            if flight.lands <= boot:
                del self.flights[route]
                self._land(*route, flight)

    def ask(self, key: TokenKey, now: Moment, upstream: Upstream) -> Answer:
        """Serve a token at once if there is one to serve; else wait for a flight, not long while one is left."""
        self.pass_until(now.boot)
        failure = self._failing(key, now.boot)
        known = self._use(key)
        floor = LIMITS.min_remaining_failing_seconds if failure else LIMITS.min_remaining_seconds
        if known.token and known.token.left(now) >= floor:
            if known.token.is_due(now) and not failure:
                self._fly(key, None, now, upstream)
            return Answer(now.boot, known.token.name, TokenSource.CACHE)
        if failure:
            return self._refusal(failure, now.boot)
        spare = self._spare(known, now)
        flight = self._fly(key, None, now, upstream)
        if spare and flight.lands > now.boot + LIMITS.short_wait_seconds:
            return Answer(now.boot + LIMITS.short_wait_seconds, spare.name, TokenSource.CACHE)
        self.pass_until(flight.lands)
        if flight.token:
            return Answer(flight.lands, flight.token.name, TokenSource.IDENTITY_PROVIDER)
        if spare:
            return Answer(flight.lands, spare.name, TokenSource.CACHE)
        assert known.failure
        return self._refusal(known.failure, flight.lands)

    def force(
        self, key: TokenKey, now: Moment, upstream: Upstream, *, claims: str | None, rejected: str | None
    ) -> Answer:
        """Replace the cached token for a challenge, or because it is the one that was rejected."""
        self.pass_until(now.boot)
        known = self._use(key)
        cached = self._spare(known, now)
        if rejected and (cached.name != rejected if cached else not claims):
            return self.ask(key, now, upstream)
        flight = self.flights.get((key, claims))
        if flight is None:
            failure = self._failing(key, now.boot)
            if claims and claims == known.forced_claims and self._counts(known.forced_failure, now.boot):
                failure = known.forced_failure
            if failure and claims:
                return self._refusal(failure, now.boot)
            just_forced = (
                known.forced_at is not None and now.boot - known.forced_at < LIMITS.forced_refresh_interval_seconds
            )
            in_vain = known.forced_failure is not None and known.forced_claims == claims
            if failure or (just_forced and not in_vain):
                return self.ask(key, now, upstream)
            known.forced_at, known.forced_claims, known.forced_failure = now.boot, claims, None
            flight = self._fly(key, claims, now, upstream)
        passed = flight.lands - now.boot
        self.pass_until(flight.lands)
        if flight.token:
            return Answer(flight.lands, flight.token.name, TokenSource.IDENTITY_PROVIDER)
        if claims:
            assert known.forced_failure
            return self._refusal(known.forced_failure, flight.lands)
        return self.ask(key, Moment(now.wall + passed, flight.lands), upstream)

    def _use(self, key: TokenKey) -> Known:
        known = self.known.pop(key) if key in self.known else Known()
        self.known[key] = known
        if len(self.known) > LIMITS.cache_entries:
            del self.known[next(iter(self.known))]
        return known

    def _spare(self, known: Known, now: Moment) -> Token | None:
        usable = known.token and known.token.left(now) >= LIMITS.min_remaining_failing_seconds
        return known.token if usable else None

    def _failing(self, key: TokenKey, boot: float) -> Failure | None:
        failure = self.known[key].failure if key in self.known else None
        return failure if self._counts(failure, boot) else None

    def _counts(self, failure: Failure | None, boot: float) -> bool:
        """A refused credential counts for its version alone; whatever else went wrong, no version mends it."""
        if failure is None or boot >= failure.until:
            return False
        return failure.version == self.version or failure.error is not CredentialRefused

    def _refusal(self, failure: Failure, boot: float) -> Answer:
        # An error tells its wait as a timedelta, which knows no more than microseconds.
        return Answer(boot, failure.error, wait=timedelta(seconds=failure.until - boot).total_seconds())

    def _fly(self, key: TokenKey, claims: str | None, now: Moment, upstream: Upstream) -> Flight:
        """Ask Entra, or join who has asked the same."""
        flight = self.flights.get((key, claims))
        if flight is None:
            self.asked.append((key, claims))
            token = None if upstream.error else Token(f"{'|'.join(key)}#{len(self.asked)}", now, upstream)
            error, delay, retry_after = upstream.error, upstream.delay, upstream.retry_after
            if delay > LIMITS.caller_budget_seconds:
                token, error, delay, retry_after = None, TimedOut, LIMITS.caller_budget_seconds, None
            flight = Flight(now, now.boot + delay, self.version, token, error, retry_after)
            self.flights[key, claims] = flight
        return flight

    def _land(self, key: TokenKey, claims: str | None, flight: Flight) -> None:
        known = self.known.get(key)
        if known is None:
            return  # nobody has asked for it for long: it gave way
        if flight.error is None:
            known.failure = None
            if known.token is None or (flight.token and flight.asked.boot >= known.token.asked.boot):
                known.token = flight.token
            return
        in_a_row = known.failure.in_a_row + 1 if known.failure else 1
        wait = flight.retry_after or min(
            LIMITS.failure_first_seconds * 1.5 ** (in_a_row - 1), LIMITS.failure_max_seconds
        )
        if flight.error is CredentialRefused:
            wait = LIMITS.failure_permanent_seconds
        failure = Failure(flight.error, in_a_row, flight.lands + wait, flight.version)
        if claims:
            known.forced_failure = failure
        # What is refused to claims need not be refused without them; an outage is one for both.
        if claims is None or issubclass(flight.error, Unavailable):
            known.failure = failure
