"""A request for a token, from its bytes to its answer: who calls, what for, may they, and the audit event."""

import asyncio
from collections.abc import Awaitable, Coroutine, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Protocol

from shared.api.anonymous import AnonymousLines
from shared.api.answers import Answer, Vended
from shared.api.routes import Route
from shared.core.errors import RateLimited, RouteDisabled, TimedOut, UnknownCaller, UnknownIdentity, VendError
from shared.core.identity_token import Subject
from shared.core.limits import Limits
from shared.core.names import is_guid
from shared.core.policy import Caller, Grant, Offer, decide
from shared.core.proofs import Credentials
from shared.core.rate import Bucket
from shared.core.request import Incoming, TokenRequest
from shared.core.token import Acquired, Moment, Tokens, TokenSource
from shared.core.trace import trace_parent
from shared.system import System
from shared.telemetry import catalogue
from shared.telemetry.events import Events

_AT_ONCE = 0.1
"""Seconds within which a cached token was had without waiting."""


class Callers(Protocol):
    """Identifies callers."""

    def revalidate(self, now: float) -> Awaitable[None] | None:
        """Return what must be awaited before a caller is identified, or None; `now` is by the boot clock."""

    def identify(self, key: str, *, host_checked: bool) -> Caller:
        """Return the caller of a key; raise `UnknownCaller` where there is none, `NotReady` where it is not known."""

    def verify(self, token: str, *, beside_key: bool) -> Awaitable[Subject | None]:
        """Return whose identity token it is; None where it stands beside a key and is not meant for vend.

        It raises `UnknownIdentity`, `Unavailable` or `NotReady`.
        """

    def caller_with(self, identity: Subject, *, key: str | None) -> Caller:
        """Return the caller that has an identity, beside a key; raise `UnknownCaller` or `NotReady`."""


@dataclass(slots=True)
class _Trail:
    """The facts known about a request so far; they become the audit event."""

    route: Route
    correlation_id: str
    began: float
    shows_token: bool = False
    identity: Subject | None = None
    """That an identity token has proved."""
    caller: Caller | None = None
    request: TokenRequest | None = None
    grant: Grant | None = None
    traceparent: str | None = None


class Vendor:
    """Answers requests for tokens on every route.

    Args:
        callers: identifies the caller of a key.
        tokens: has a token for each grant.
        offers: what the profiles can be asked for.
        app_checked_routes: whether the routes are open whose keys the host does not check.
        limits: the knobs.
        system: clocks and correlation ids.
        events: the audit event is written before the answer is sent; a log that fails is counted as a loss.
    """

    def __init__(
        self,
        *,
        callers: Callers,
        tokens: Tokens,
        offers: Mapping[str, Offer],
        app_checked_routes: bool,
        limits: Limits,
        system: System,
        events: Events,
    ) -> None:
        self._callers = callers
        self._tokens = tokens
        self._offers = offers
        self._app_checked_routes = app_checked_routes
        self._limits = limits
        self._seconds = limits.caller_budget_seconds + limits.attempt_seconds
        self._clock = system.clock
        self._new_id = system.new_id
        self._events = events
        # Both by the name of a caller in the document.
        self._buckets: dict[str, Bucket] = {}
        self._challenges: dict[str, Bucket] = {}
        self._anonymous = AnonymousLines(per_minute=limits.unknown_keys_per_minute, clock=system.clock, events=events)

    async def answer(self, route: Route, incoming: Incoming) -> Answer:
        """Answer a request that came by a route; every error that is vend's own becomes its answer."""
        trail = _Trail(route, self._new_id(), self._clock().boot)
        try:
            acquired = await self._in_time(self._vend(incoming, trail))
            assert trail.grant is not None  # nothing is served that was not granted
            now = self._clock()
            answer = route.vended(self._vended(acquired, trail, now))
            # After the answer was built, which could fail, and before it is sent: so what the event says is true.
            self._audit(trail, now, status=answer.status, outcome="vended", acquired=acquired)
        except VendError as error:
            return self._refuse(error, incoming, trail)
        except Exception as error:  # noqa: BLE001  # a defect of ours is an answer and an event, and never a traceback
            return self._refuse(VendError(cause=type(error).__name__), incoming, trail)
        return answer

    async def _in_time(self, work: Coroutine[Any, Any, Acquired]) -> Acquired:
        """Await what a request waits for, all in all no longer than a request may take.

        The document, the keys of an issuer and a flight have bounds of their own, which add up. After a wait the caller
        is identified again, and may need another token.

        Raises:
            TimedOut: the time is over; what the request waited for goes on.
        """
        task = asyncio.Task(work, loop=asyncio.get_running_loop(), eager_start=True)
        bound: asyncio.Timeout | None = None
        try:
            if task.done():  # it waited for nothing, and a timer would cost as much as all the rest of the cache
                return task.result()
            bound = asyncio.timeout(self._seconds)
            async with bound:
                return await task
        except TimeoutError:
            if bound is None or not bound.expired():
                raise
        finally:
            # An error's traceback has this frame: with the task, which has the error, the request would stay in memory.
            del task
        raise TimedOut(cause="the time of the request ran out")

    def _vended(self, acquired: Acquired, trail: _Trail, now: Moment) -> Vended:
        assert trail.grant is not None
        key = trail.grant.key
        return Vended(
            token=acquired.token,
            source=acquired.source,
            scope=key.scope,
            client_id=self._offers[key.profile].client_id,
            now=now,
            margin=self._limits.expiry_margin_seconds,
            correlation_id=trail.correlation_id,
        )

    async def _vend(self, incoming: Incoming, trail: _Trail) -> Acquired:
        """Check and decide in the order of docs/architecture.md: the first failure answers."""
        route = trail.route
        if not (route.host_checked or self._app_checked_routes):
            raise RouteDisabled
        route.check(incoming)
        trail.caller = await self._identify(incoming, trail, trail.began)
        trail.traceparent = trace_parent(incoming.headers)  # a stranger's is not logged
        self._check_rate(trail.caller, trail.began)
        request = trail.request = route.read(incoming)
        trail.grant = decide(trail.caller, request, self._offers)
        if request.claims is not None:
            self._check_claims(trail.caller, trail.began)
        while True:
            key, caller = trail.grant.key, trail.caller.name
            acquired = await self._tokens.get(key, claims=request.claims, rejected=request.rejected, caller=caller)
            now = self._clock().boot
            if acquired.source is TokenSource.CACHE and now - trail.began < _AT_ONCE:
                return acquired
            # While the request waited the caller may have been revoked, or its entries changed.
            trail.caller = await self._identify(incoming, trail, now)
            trail.grant = decide(trail.caller, request, self._offers)
            if (trail.grant.key, trail.caller.name) == (key, caller):
                return acquired

    async def _identify(self, incoming: Incoming, trail: _Trail, now: float) -> Caller:
        """Return the caller, by a document that is not too old; who shows no credentials does not wait for it."""
        route = trail.route
        credentials: Credentials | None = None
        try:
            credentials = route.credentials(incoming)
        except UnknownCaller:
            if route.unencoded_credentials(incoming) is None:
                raise
        if (checked := self._callers.revalidate(now)) is not None:
            await checked
        if credentials and credentials.token:
            caller = await self._caller_of_token(credentials.token, credentials, trail)
            if caller is not None:
                return caller
        try:
            return self._caller_of(credentials or route.credentials(incoming), route)
        except UnknownCaller:
            unencoded = route.unencoded_credentials(incoming)
            if unencoded is None:
                raise
            with suppress(UnknownCaller):
                return self._caller_of(unencoded, route)
            raise

    def _caller_of(self, credentials: Credentials, route: Route) -> Caller:
        caller = self._callers.identify(credentials.key, host_checked=route.host_checked)
        if credentials.name not in {None, caller.name}:
            raise UnknownCaller(cause="the key of another caller")
        return caller

    async def _caller_of_token(self, token: str, credentials: Credentials, trail: _Trail) -> Caller | None:
        """Return the caller that an identity token proves; it decides, whatever the key beside it would give.

        Returns:
            None where what stands beside the key is not meant for vend.
        """
        if trail.identity is None:
            trail.shows_token = True  # where it is refused, too
            trail.identity = await self._callers.verify(token, beside_key=bool(credentials.key))
        if trail.identity is None:
            trail.shows_token = False
            return None
        caller = self._callers.caller_with(trail.identity, key=credentials.key or None)
        name = credentials.name
        if name not in {None, caller.name} and not is_guid(name or ""):  # a GUID is the client of a profile
            raise UnknownIdentity(cause=f"the identity token of {caller.name}, under another name")
        return caller

    def _check_rate(self, caller: Caller, now: float) -> None:
        """Count a request against its caller's rate, before anything is done for it.

        Raises:
            RateLimited: it is over; with the time until it is not.
        """
        if caller.per_worker_per_minute is not None:
            self._count(self._buckets, caller, per_minute=caller.per_worker_per_minute, now=now, of="the caller's rate")

    def _check_claims(self, caller: Caller, now: float) -> None:
        """Count a challenge: each may cost a request to Entra, which throttles the client for all of its callers.

        Raises:
            RateLimited: the caller has shown too many.
        """
        limit = self._limits.claims_per_minute
        self._count(self._challenges, caller, per_minute=limit, now=now, of="the rate of challenges")

    def _count(self, buckets: dict[str, Bucket], caller: Caller, *, per_minute: int, now: float, of: str) -> None:
        bucket = buckets.get(caller.name)
        if bucket is None:
            bucket = buckets[caller.name] = Bucket(per_minute=per_minute, now=now)
        wait = bucket.take(per_minute=per_minute, now=now)
        if wait > 0:
            raise RateLimited(cause=f"over {of}", wait=timedelta(seconds=wait))

    def _refuse(self, error: VendError, incoming: Incoming, trail: _Trail) -> Answer:
        answer = trail.route.refused(error, method=incoming.method, correlation_id=trail.correlation_id)
        is_known = trail.caller is not None or trail.identity is not None
        is_anonymous = not is_known and (trail.shows_token or not trail.route.host_checked)
        if not is_anonymous or self._anonymous.take(error.error):
            self._audit(
                trail,
                self._clock(),
                status=answer.status,
                outcome=error.error,
                reason=error.cause,
                flight_id=error.flight_id,
            )
        return answer

    def _audit(
        self,
        trail: _Trail,
        now: Moment,
        *,
        status: int,
        outcome: str,
        reason: str | None = None,
        flight_id: str | None = None,
        acquired: Acquired | None = None,
    ) -> None:
        self._events.flush()  # what background work has left: lines of an invocation that has ended are dropped
        key, token = trail.grant.key if trail.grant else None, acquired.token if acquired else None
        scope = key.scope if key else trail.request.scopes[0] if trail.request else None
        self._events.emit(
            catalogue.TokenAnswered(
                correlation_id=trail.correlation_id,
                route=trail.route.name,
                caller=trail.caller.name if trail.caller else None,
                issuer=trail.identity.issuer if trail.identity else None,
                subject=trail.identity.subject if trail.identity else None,
                profile=key.profile if key else None,
                tenant_id=key.tenant_id if key else None,
                scope=scope,
                status=status,
                outcome=outcome,
                reason=reason or (trail.grant.would_deny if trail.grant else None),
                flight_id=flight_id,
                source=acquired.source.value if acquired else None,
                token=token.fingerprint if token else None,
                uti=token.facts.uti if token else None,
                expires_on=int(token.time(now) + token.remaining(now)) if token else None,
                traceparent=trail.traceparent,
                latency_ms=round((now.boot - trail.began) * 1000, 2),
            )
        )
