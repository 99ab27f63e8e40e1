"""A request for a token, from its bytes to its answer: who calls, what for, may they, and the audit event."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Protocol

from shared.api.answers import Answer, Vended
from shared.api.routes import Route
from shared.core.errors import SwitchedOff, TooOften, UnknownCaller, VendError
from shared.core.policy import Caller, Grant, Offer, decide
from shared.core.rate import Bucket
from shared.core.request import Incoming, TokenRequest
from shared.core.token import AccessToken, Moment, TokenKey, TokenSource
from shared.telemetry.events import Events


class Identify(Protocol):
    """Finds the caller of a key."""

    def __call__(self, key: str, *, host_checked: bool) -> Caller:
        """Find it; raise `UnknownCaller` where it is nobody's, `NotReady` where that cannot be told."""


class Served(Protocol):
    """A token and where it came from."""

    @property
    def token(self) -> AccessToken:
        """The token."""

    @property
    def source(self) -> TokenSource:
        """Cache or Entra."""


class GetToken(Protocol):
    """Gives a token for a grant."""

    def __call__(self, key: TokenKey, *, claims: str | None, rejected: str | None) -> Awaitable[Served]:
        """Give one that answers these claims and is not the rejected one; raise a `VendError` if there is none."""


@dataclass(slots=True)
class _Trail:
    """What is known of a request by the time that it is answered: it becomes the audit event."""

    route: Route
    correlation_id: str
    began: float
    caller: Caller | None = None
    request: TokenRequest | None = None
    grant: Grant | None = None
    told: bool = True


class Vendor:
    """Answers requests for tokens, whichever way they come.

    Args:
        check_callers: by the boot clock: what must be waited for before a caller is identified; None for nothing.
        identify: finds the caller of a key.
        get_token: gives a token for a grant.
        offers: what the profiles can be asked for.
        clock: both clocks.
        events: the audit event leaves before the answer does.
        new_id: makes correlation ids.
        app_checked_routes: whether the routes are open whose keys the host does not check.
        unknown_keys_per_minute: that are told one by one on those routes; what is beyond is counted, and refused alike.
        told_margin_seconds: see `Vended`.
    """

    def __init__(
        self,
        *,
        check_callers: Callable[[float], Awaitable[None] | None],
        identify: Identify,
        get_token: GetToken,
        offers: Mapping[str, Offer],
        clock: Callable[[], Moment],
        events: Events,
        new_id: Callable[[], str],
        app_checked_routes: bool,
        unknown_keys_per_minute: int,
        told_margin_seconds: float,
    ) -> None:
        self._check_callers = check_callers
        self._identify = identify
        self._get_token = get_token
        self._offers = offers
        self._clock = clock
        self._events = events
        self._new_id = new_id
        self._app_checked_routes = app_checked_routes
        self._unknown_per_minute = unknown_keys_per_minute
        self._margin = told_margin_seconds
        self._buckets: dict[str, Bucket] = {}  # of callers that were ever in the document, which are few
        self._strangers = Bucket(per_minute=unknown_keys_per_minute, now=clock().boot)
        self._untold = 0

    async def answer(self, route: Route, incoming: Incoming) -> Answer:
        """Answer a request that came by a route; every error that is vend's own becomes its answer."""
        trail = _Trail(route, self._new_id(), self._clock().boot)
        try:
            served = await self._vend(incoming, trail)
            assert trail.grant is not None  # nothing is served that was not granted
            now = self._clock()
            answer = route.vended(self._vended(served, trail, now))
            # Behind the answer, which could fail, and before its way out: what it says has come about.
            self._audit(trail, now, status=answer.status, outcome="vended", served=served)
        except VendError as error:
            return self._refuse(error, incoming, trail)
        except Exception as error:  # noqa: BLE001  # a defect of ours is an answer and an event, and never a traceback
            return self._refuse(VendError(cause=type(error).__name__), incoming, trail)
        return answer

    def _vended(self, served: Served, trail: _Trail, now: Moment) -> Vended:
        assert trail.grant is not None
        key = trail.grant.key
        return Vended(
            token=served.token,
            source=served.source,
            scope=key.scope,
            client_id=self._offers[key.profile].client_id,
            now=now,
            margin=self._margin,
            correlation_id=trail.correlation_id,
        )

    async def _vend(self, incoming: Incoming, trail: _Trail) -> Served:
        """Check and decide in the documented order: the first failure answers."""
        route = trail.route
        if not (route.host_checked or self._app_checked_routes):
            raise SwitchedOff
        route.check(incoming)
        if (checked := self._check_callers(trail.began)) is not None:
            await checked
        try:
            trail.caller = self._who(incoming, route)
        except UnknownCaller:
            # Where no host stands before the app, anybody may try keys, and a line for each would flood the log.
            if not route.host_checked:
                trail.told = self._strangers.take(per_minute=self._unknown_per_minute, now=trail.began) == 0
            raise
        self._check_rate(trail.caller, trail.began)
        trail.request = route.read(incoming)
        trail.grant = decide(trail.caller, trail.request, self._offers)
        return await self._get_token(trail.grant.key, claims=trail.request.claims, rejected=trail.request.rejected)

    def _who(self, incoming: Incoming, route: Route) -> Caller:
        credentials = route.credentials(incoming)
        caller = self._identify(credentials.key, host_checked=route.host_checked)
        if credentials.name not in {None, caller.name}:
            raise UnknownCaller(cause="the key of another caller")
        return caller

    def _check_rate(self, caller: Caller, now: float) -> None:
        """Count a request against its caller's rate, before anything is done for it.

        Raises:
            TooOften: it is over; with the time until it is not.
        """
        per_minute = caller.per_worker_per_minute
        if per_minute is None:
            return
        bucket = self._buckets.get(caller.name)
        if bucket is None:
            bucket = self._buckets[caller.name] = Bucket(per_minute=per_minute, now=now)
        wait = bucket.take(per_minute=per_minute, now=now)
        if wait > 0:
            raise TooOften(cause="over the caller's rate", retry_after=timedelta(seconds=wait))

    def _refuse(self, error: VendError, incoming: Incoming, trail: _Trail) -> Answer:
        answer = trail.route.refused(error, method=incoming.method, correlation_id=trail.correlation_id)
        if trail.told:
            self._audit(trail, self._clock(), status=answer.status, outcome=error.error, reason=error.cause)
        else:
            self._untold += 1
        return answer

    def _audit(
        self,
        trail: _Trail,
        now: Moment,
        *,
        status: int,
        outcome: str,
        reason: str | None = None,
        served: Served | None = None,
    ) -> None:
        self._events.flush()  # what background work has left: lines of an invocation that has ended are dropped
        if self._untold:
            self._events.emit("unknown_keys", count=self._untold)
            self._untold = 0
        key = trail.grant.key if trail.grant else None
        scope = key.scope if key else trail.request.scopes[0] if trail.request else None
        self._events.emit(
            "token",
            correlation_id=trail.correlation_id,
            route=trail.route.name,
            caller=trail.caller.name if trail.caller else None,
            profile=key.profile if key else None,
            tenant_id=key.tenant_id if key else None,
            scope=scope,
            status=status,
            outcome=outcome,
            reason=reason or (trail.grant.would_deny if trail.grant else None),
            source=served.source.value if served else None,
            token=served.token.fingerprint if served else None,
            uti=served.token.said.uti if served else None,
            expires_on=int(now.wall + served.token.remaining(now)) if served else None,
            latency_ms=round((now.boot - trail.began) * 1000, 2),
        )
