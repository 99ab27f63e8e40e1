"""What the cache promises, as plain dictionaries: written from the rules, not from the code.

One question is asked at a time; flights that nobody waits for land while time passes.
"""

from dataclasses import dataclass, field
from datetime import timedelta
from math import inf

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

    @property
    def floor(self) -> float:
        """Seconds of life with which it is served at the least, while nothing fails."""
        return max(60, min(300, self.upstream.lifetime / 10))

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
    not_before: float = -inf
    failure: Failure | None = None
    replaced_at: float = -inf


@dataclass
class Forced:
    """The last flight for a challenge."""

    at: float = -inf
    asked: float = -inf
    demanded: float = -inf
    failure: Failure | None = None


@dataclass(frozen=True)
class Challenge:
    """Claims of a caller; those with an instant ask for `nbf` alone, and are everybody's."""

    caller: str = ""
    claims: str = ""

    @property
    def acrs(self) -> str:
        """What it asks for: in these tests a caller asks for a context of its own name, or for `nbf`."""
        return self.claims if self.claims == self.caller else ""


@dataclass(frozen=True)
class Flight:
    """A question to Entra that is under way; it lands at an instant of the boot clock."""

    asked: Moment
    lands: float
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
    flights: dict[tuple[TokenKey, Challenge | None], Flight] = field(default_factory=dict)
    forced: dict[tuple[TokenKey, Challenge | None], Forced] = field(default_factory=dict)
    asked: list[tuple[TokenKey, str | None]] = field(default_factory=list)
    """Every question that went to Entra."""
    version: int = 1

    def kill(self) -> None:
        """Raise the generation: no token from before it is kept."""
        self.known, self.flights, self.forced = {}, {}, {}

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
        if known.token and known.token.left(now) >= (60 if failure else known.token.floor):
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

    def replace(self, key: TokenKey, now: Moment, upstream: Upstream, rejected: str) -> Answer:
        """Replace the cached token if it is the rejected one, unless it was just now or a failure is in force."""
        self.pass_until(now.boot)
        known = self._use(key)
        cached = self._spare(known, now)
        if cached is None or cached.name != rejected:
            return self.ask(key, now, upstream)
        flight = self.flights.get((key, None))
        if flight is None:
            if self._failing(key, now.boot) or now.boot - known.replaced_at < 30:
                return self.ask(key, now, upstream)
            known.replaced_at = now.boot
            flight = self._fly(key, None, now, upstream)
        self.pass_until(flight.lands)
        if flight.token:
            return Answer(flight.lands, flight.token.name, TokenSource.IDENTITY_PROVIDER)
        known.replaced_at = -inf
        return self.ask(key, Moment(now.wall + flight.lands - now.boot, flight.lands), upstream)

    def challenge(
        self, key: TokenKey, now: Moment, upstream: Upstream, challenge: Challenge, not_before: float | None
    ) -> Answer:
        """Acquire a token for a challenge: an `nbf` that is not ahead concerns everybody, others their caller alone."""
        if not_before is not None and not_before <= now.wall + 2:
            challenge = Challenge()
        else:
            not_before = None
        self.pass_until(now.boot)
        known, forced = self._use(key), self.forced.get((key, challenge), Forced())
        if not_before is not None and self._spare(known, now) and not_before <= known.not_before:
            return self.ask(key, now, upstream)
        flight = self.flights.get((key, challenge))
        if flight is None or (not_before is not None and not_before > max(forced.asked, forced.demanded)):
            is_about = (not_before or -inf) >= forced.demanded or forced.demanded <= forced.asked
            counts = self._counts(forced.failure, now.boot) and is_about
            failure = forced.failure if counts else self._failing(key, now.boot)
            if failure:
                return self._refusal(failure, now.boot)
            if now.boot - forced.at < 30 and not forced.failure:
                return Answer(now.boot, Unavailable, wait=timedelta(seconds=forced.at + 30 - now.boot).total_seconds())
            forced = self.forced[key, challenge] = Forced(now.boot, now.wall, not_before or -inf, forced.failure)
            flight = self._fly(key, challenge, now, upstream)
        self.pass_until(flight.lands)
        if flight.token:
            return Answer(flight.lands, flight.token.name, TokenSource.IDENTITY_PROVIDER)
        assert forced.failure
        return self._refusal(forced.failure, flight.lands)

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

    def _fly(self, key: TokenKey, challenge: Challenge | None, now: Moment, upstream: Upstream) -> Flight:
        """Ask Entra, or join who has asked the same."""
        flight = self.flights.get((key, challenge))
        if flight is None:
            self.asked.append((key, challenge.acrs if challenge else None))
            token = None if upstream.error else Token(f"{'|'.join(key)}#{len(self.asked)}", now, upstream)
            error, delay, retry_after = upstream.error, upstream.delay, upstream.retry_after
            if delay > LIMITS.caller_budget_seconds:
                token, error, delay, retry_after = None, TimedOut, LIMITS.caller_budget_seconds, None
            flight = Flight(now, now.boot + delay, token, error, retry_after)
            self.flights[key, challenge] = flight
        return flight

    def _land(self, key: TokenKey, challenge: Challenge | None, flight: Flight) -> None:
        known, forced = self.known.get(key, Known()), self.forced.get((key, challenge))
        if flight.error is None:
            if forced:
                forced.failure = None
            if challenge is not None and challenge.caller:
                return  # it is its callers', and nobody keeps it
            known.failure = None
            if known.token is None or (flight.token and flight.asked.boot >= known.token.asked.boot):
                known.token = flight.token
                asked = flight.asked.wall
                known.not_before = max(asked, min(forced.demanded if forced else -inf, asked + 2))
            return
        before = (forced.failure if forced else None) or known.failure
        in_a_row = before.in_a_row + 1 if before else 1
        wait = flight.retry_after or min(
            LIMITS.failure_first_seconds * 1.5 ** (in_a_row - 1), LIMITS.failure_max_seconds
        )
        if flight.error is CredentialRefused:
            wait = LIMITS.failure_permanent_seconds
        failure = Failure(flight.error, in_a_row, flight.lands + wait, self.version)
        if forced:
            forced.failure = failure
        # What is refused to claims need not be refused without them; an outage is one for both.
        if challenge is None or issubclass(flight.error, Unavailable):
            known.failure = failure
