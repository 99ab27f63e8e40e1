"""Every way in which vend refuses.

    VendError
    ├── NotReady                 503  no valid configuration or callers document yet
    ├── Refused                  the caller has to change the request
    │   ├── InvalidRequest       400
    │   │   ├── MethodNotAllowed 405
    │   │   ├── TooLarge         413
    │   │   └── UnsupportedMedia 415
    │   ├── UnsupportedGrant     400
    │   ├── InvalidScope         400  malformed, with a hint
    │   ├── PolicyDenied         400  one body, whatever the reason
    │   ├── UnknownCaller        401  one body, whatever the reason
    │   │   └── UnknownIdentity       of an identity token: one body, whatever the reason
    │   ├── RouteDisabled        403  the operator has not opened this route
    │   ├── NotAdmin             403  the caller may have tokens, and is no administrator
    │   ├── SyncUnderWay         409  another run of the directory sync is at it
    │   └── RateLimited          429  over the caller's own rate
    └── UpstreamError            502  no token could be acquired
        ├── Defect               500  vend itself failed while it acquired one
        ├── ScopeRefused         400  Entra denies the scope: the caller sees what PolicyDenied shows
        ├── Unavailable          503  worth a retry
        │   └── TimedOut         504
        ├── BadAnswer            502  the answer is not usable: worth a retry
        │   ├── UnreadableAnswer      it cannot be parsed
        │   └── TokenMismatch         its token is not the one that was asked for
        └── OperatorError        502  a retry changes nothing until the operator acts
            ├── CredentialRefused     Entra refuses the credential
            │   └── FederationPending Entra does not know the federated credential, or not yet
            ├── RegionRefused         Entra does not serve this client by its regional endpoint
            ├── TlsRefused            the peer could not prove to be the service that was asked
            └── TokenUnidentified     a token does not say of which tenant and client it is

An error has two texts. The public one is written here and goes to the caller. The `cause` is a short name for the
operator and goes into the event alone; what it says without names goes into the report of readiness too
(`UpstreamError.about`). Text that came from upstream is in neither.
"""

from datetime import timedelta
from typing import ClassVar, Self

from shared.core.entra.proof_fault import ProofFault


class VendError(Exception):
    """A refusal that knows its HTTP answer.

    Args:
        public: what the caller reads; ASCII without quotes and backslashes (RFC 6749 section 5.2).
        cause: what the operator reads in the event: a name, or facts such as `AADSTS700027`.
        hint: what the caller should change, where that discloses nothing.
        wait: how long until the same request can succeed; by default `default_wait`.
    """

    status: ClassVar[int] = 500
    error: ClassVar[str] = "server_error"
    retryable: ClassVar[bool] = False
    default: ClassVar[str] = "vend failed; give the operator this correlation_id"
    default_wait: ClassVar[timedelta | None] = None

    def __init__(
        self,
        public: str | None = None,
        *,
        cause: str = "",
        hint: str | None = None,
        wait: timedelta | None = None,
    ) -> None:
        self.public = public or self.default
        self.cause = cause or type(self).__name__
        self.hint = hint
        self.flight_id: str | None = None
        """Of the flight that failed, where one has."""
        self.wait = wait or self.default_wait
        """How long until the same request can succeed; None where waiting changes nothing."""
        super().__init__(self.cause)

    def with_wait(self, wait: timedelta | None) -> Self:
        """Return a copy for one caller: an instance that is raised again and again collects tracebacks."""
        fresh = type(self).__new__(type(self), self.cause)
        vars(fresh).update(vars(self), wait=wait)  # every fact, and neither the traceback nor what led to it
        return fresh


class NotReady(VendError):
    """The app has no valid configuration or callers document: the log names each mistake."""

    status = 503
    error = "temporarily_unavailable"
    retryable = True
    default = "vend is not configured yet; the operator finds every mistake in the log"
    default_wait = timedelta(seconds=30)


class Refused(VendError):
    """The caller has to change the request."""

    status = 400


class InvalidRequest(Refused):
    """The request is malformed (RFC 6749 section 5.2)."""

    error = "invalid_request"
    default = "the request is malformed"


class MethodNotAllowed(InvalidRequest):
    """The route takes one method alone (RFC 6749 section 3.2)."""

    status = 405
    default = "use the method that Allow names"


class TooLarge(InvalidRequest):
    """The body is over the limit."""

    status = 413
    default = "the body is larger than 16 KiB"


class UnsupportedMedia(InvalidRequest):
    """The body is no plain form."""

    status = 415
    default = "send application/x-www-form-urlencoded in UTF-8"


class UnsupportedGrant(Refused):
    """The grant is not client_credentials."""

    error = "unsupported_grant_type"
    default = "grant_type must be client_credentials"


class InvalidScope(Refused):
    """The scope is not exactly one `resource/.default`."""

    error = "invalid_scope"
    default = "scope must be exactly one resource followed by /.default"


class PolicyDenied(Refused):
    """Policy denies the request; the caller learns nothing about the policy."""

    error = "invalid_scope"
    default = "scope is not available to this caller; give the operator this correlation_id"


class UnknownCaller(Refused):
    """No caller has this key."""

    status = 401
    error = "invalid_client"
    default = "the function key is not that of a caller"


class UnknownIdentity(UnknownCaller):
    """The identity token does not prove a caller."""

    default = "the identity token is not that of a caller"


class RouteDisabled(Refused):
    """The host does not check the keys of this route, and the operator has not allowed the app to do so alone."""

    status = 403
    error = "invalid_request"
    default = "this route is switched off; use /api/token, or ask the operator for app_checked_routes"


class NotAdmin(Refused):
    """The caller is known, and its entry does not say `admin = true` (RFC 6749 section 5.2)."""

    status = 403
    error = "unauthorized_client"
    default = "this is for administrators: callers with admin = true"


class SyncUnderWay(Refused):
    """Another run of the directory sync holds the lease of every stream that was asked for."""

    status = 409
    error = "temporarily_unavailable"
    retryable = True
    default = "another run of the directory sync is under way; ask again when it has ended"
    default_wait = timedelta(seconds=10)


class RateLimited(Refused):
    """The caller asks more often than it may; `slow_down` is an extension (RFC 8628 section 3.5 has it for polling)."""

    status = 429
    error = "slow_down"
    retryable = True
    default = "this caller has asked too often; retry after the time given, and keep a token until it expires"
    default_wait = timedelta(seconds=1)


class UpstreamError(VendError):
    """No token could be acquired.

    Args:
        public, cause, hint: as in `VendError`.
        wait: as in `VendError`; by default the wait that upstream named.
        upstream_wait: the wait that upstream named, as in Retry-After.
        remedy: what the operator should do, where the refusal tells.
        trace_id: by which Microsoft's support finds the refusal; a GUID.

    Class attributes beside those of the answer:
        event: name of the event for a failed attempt to acquire a token; alerts depend on it.
    """

    status = 502
    event: ClassVar[str] = "acquire_failed"

    def __init__(  # keyword-only facts
        self,
        public: str | None = None,
        *,
        cause: str = "",
        hint: str | None = None,
        wait: timedelta | None = None,
        upstream_wait: timedelta | None = None,
        remedy: str | None = None,
        trace_id: str | None = None,
    ) -> None:
        super().__init__(public, cause=cause, hint=hint, wait=wait)
        self.public_cause = self.cause
        """The cause without a name of the operator's own: every caller may read it in the report of readiness."""
        if self.wait is not None:  # a denial names no wait: it must look like one by policy
            self.wait = wait or upstream_wait or self.wait
        self.upstream_wait = upstream_wait
        self.remedy = remedy
        self.trace_id = trace_id
        self.of_request = False
        """Whether upstream has answered this one request with it: another request may fare better."""

    def about(self, name: str) -> Self:
        """Put the name of a file, certificate or secret before the cause: the log has it, and no report of readiness.

        Args:
            name: as vend.toml has it; a version may follow it.
        """
        self.cause = f"{name}: {self.cause}"
        self.args = (self.cause,)
        return self


class Defect(UpstreamError):
    """vend itself failed while it acquired a token; the cause is the type of the exception, never its text."""

    status = 500


class ScopeRefused(UpstreamError):
    """Entra does not give this scope to this client; the caller sees no difference to a denial by policy."""

    status = PolicyDenied.status
    error = PolicyDenied.error
    default = PolicyDenied.default


class Unavailable(UpstreamError):
    """Upstream could not be reached, failed or throttled: the same request can succeed later."""

    status = 503
    error = "temporarily_unavailable"
    retryable = True
    default = "an upstream service is unavailable; retry after the time given"
    default_wait = timedelta(seconds=5)


class TimedOut(Unavailable):
    """Upstream did not answer within the time that a caller is made to wait."""

    status = 504
    default = "an upstream service did not answer in time; retry after the time given"


class BadAnswer(UpstreamError):
    """Upstream answered something that cannot be trusted or understood; nothing of it is delivered or kept."""

    retryable = True
    default = "an upstream service gave an unusable answer; retry after the time given"
    default_wait = timedelta(seconds=5)


class UnreadableAnswer(BadAnswer):
    """Upstream's answer cannot be parsed: a proxy's page, or an answer that was cut."""


class TokenMismatch(BadAnswer):
    """The token is of another tenant, of another client, not app-only or no Bearer token."""

    event = "security_token_mismatch"


class OperatorError(UpstreamError):
    """Only the operator can mend the cause."""

    default = "vend cannot get this token until its operator mends something; give the operator this correlation_id"
    default_wait = timedelta(seconds=60)


class CredentialRefused(OperatorError):
    """Entra does not accept the proof of the client."""

    fault: ProofFault = ProofFault.UNKNOWN
    number: int | None = None
    """Entra's; None where the answer has none."""
    clock_ahead: float | None = None
    """Seconds that our wall clock is ahead of the answer's Date; None where it has none."""
    links_left: bool = False
    """Whether a usable link was not asked with: the next flight may start at once."""


class FederationPending(CredentialRefused):
    """Entra knows no federated credential for this proof; a new one takes minutes to be known."""

    status = 503
    error = "temporarily_unavailable"
    retryable = True
    default = Unavailable.default
    default_wait = timedelta(seconds=30)


class RegionRefused(OperatorError):
    """Entra serves this client by its global endpoint alone."""


class TokenUnidentified(OperatorError):
    """The token is a JWT that does not name its tenant or its client: Entra's always do, so a retry changes nothing."""

    event = "security_token_mismatch"


class TlsRefused(OperatorError):
    """TLS: the peer at upstream's address could not prove to be upstream."""

    event = "security_tls_refused"
