"""A request for a token, from its bytes to its answer: who calls, what for, may they, and the audit event."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Protocol
from urllib.parse import urlsplit

from shared.audit import Events
from shared.core.errors import TooOften, VendError
from shared.core.policy import Caller, Grant, Offer, decide
from shared.core.rate import Bucket
from shared.core.request import TokenRequest, caller_key, check_envelope, read_token_request
from shared.core.token import AccessToken, Moment, TokenKey, TokenSource
from shared.web import Answer, error_answer, token_answer


@dataclass(frozen=True, slots=True)
class Incoming:
    """An HTTP request as the host hands it on; header names in lower case."""

    method: str
    url: str
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(repr=False)


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

    correlation_id: str
    began: float
    caller: Caller | None = None
    request: TokenRequest | None = None
    grant: Grant | None = None


class Vendor:
    """Answers requests for tokens.

    Args:
        identify: finds the caller of a key.
        get_token: gives a token for a grant.
        offers: what the profiles can be asked for.
        clock: both clocks.
        events: the audit event leaves before the answer does.
        new_id: makes correlation ids.
        told_margin_seconds: see `token_answer`.
    """

    def __init__(
        self,
        *,
        identify: Callable[[str], Caller],
        get_token: GetToken,
        offers: Mapping[str, Offer],
        clock: Callable[[], Moment],
        events: Events,
        new_id: Callable[[], str],
        told_margin_seconds: float,
    ) -> None:
        self._identify = identify
        self._get_token = get_token
        self._offers = offers
        self._clock = clock
        self._events = events
        self._new_id = new_id
        self._margin = told_margin_seconds
        self._buckets: dict[str, Bucket] = {}  # of callers that were ever in the document, which are few

    async def token(self, incoming: Incoming) -> Answer:
        """Answer `POST /api/token`; every error that is vend's own becomes its answer."""
        trail = _Trail(self._new_id(), self._clock().boot)
        try:
            served = await self._vend(incoming, trail)
        except VendError as error:
            return self._refuse(error, incoming, trail)
        except Exception as error:  # noqa: BLE001  # a defect of ours is an answer and an event, and never a traceback
            return self._refuse(VendError(cause=type(error).__name__), incoming, trail)
        assert trail.request is not None  # nothing is served that was not asked for
        now = self._clock()
        self._audit(trail, now, status=200, outcome="vended", served=served)
        return token_answer(
            served.token,
            served.source,
            scope=trail.request.scope,
            now=now,
            margin=self._margin,
            correlation_id=trail.correlation_id,
        )

    async def _vend(self, incoming: Incoming, trail: _Trail) -> Served:
        query = urlsplit(incoming.url).query
        check_envelope(method=incoming.method, query=query, headers=incoming.headers, body=incoming.body)
        trail.caller = self._identify(caller_key(incoming.headers))
        self._check_rate(trail.caller, trail.began)
        trail.request = read_token_request(incoming.body, query=query, headers=incoming.headers)
        trail.grant = decide(trail.caller, trail.request, self._offers)
        return await self._get_token(trail.grant.key, claims=trail.request.claims, rejected=trail.request.rejected)

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
        self._audit(trail, self._clock(), status=error.status, outcome=error.error, reason=error.cause)
        return error_answer(error, method=incoming.method, correlation_id=trail.correlation_id)

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
        key = trail.grant.key if trail.grant else None
        self._events.emit(
            "token",
            correlation_id=trail.correlation_id,
            caller=trail.caller.name if trail.caller else None,
            profile=key.profile if key else None,
            tenant_id=key.tenant_id if key else None,
            scope=trail.request.scope if trail.request else None,
            status=status,
            outcome=outcome,
            reason=reason or (trail.grant.would_deny if trail.grant else None),
            source=served.source.value if served else None,
            token=served.token.fingerprint if served else None,
            expires_on=int(now.wall + served.token.remaining(now)) if served else None,
            latency_ms=round((now.boot - trail.began) * 1000, 2),
        )
