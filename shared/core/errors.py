"""Every way in which vend says no.

    VendError
    ├── NotReady                 503  no valid configuration or callers document yet
    ├── Refused                  the caller's to change
    │   ├── InvalidRequest       400
    │   │   ├── MethodNotAllowed 405
    │   │   ├── TooLarge         413
    │   │   └── UnsupportedMedia 415
    │   ├── UnsupportedGrant     400
    │   ├── InvalidScope         400  malformed, with a hint
    │   ├── Denied               400  by policy: one body, whatever the reason
    │   ├── UnknownCaller        401  one body, whatever the reason
    │   ├── SwitchedOff          403  the operator has not opened this route
    │   └── TooOften             429  over the caller's own rate
    └── UpstreamError            the operator's, or nobody's
        ├── Unavailable          503  worth a retry
        │   └── TimedOut         504
        ├── BadAnswer            502  upstream answered nonsense: worth a retry
        │   ├── Garbled                it cannot be read
        │   └── Impostor               it is a token of somebody else's
        └── OperatorError        502  a retry changes nothing until the operator does
            ├── CredentialRefused      Entra refuses what vend signs with
            ├── RegionRefused          Entra does not serve this client by its regional endpoint
            └── UntrustedPeer          whoever answered is not who was asked

An error has two texts. The public one is written here and goes to the caller; the `cause` is a short name for the
operator and goes into the event alone. Text that came from upstream is in neither.
"""

from datetime import timedelta
from typing import ClassVar, Self

from shared.core.entra.aadsts import meaning


class VendError(Exception):
    """A refusal that knows its HTTP answer.

    Args:
        public: what the caller reads; ASCII without quotes and backslashes (RFC 6749 section 5.2).
        cause: what the operator reads in the event: a name, or facts such as `AADSTS700027`.
        hint: what the caller should change, where that gives nothing away.
        retry_after: how long upstream wants us to wait, if it said so.
        code: Entra's number for it, as in `AADSTS700027`.
        trace_id: by which Microsoft's support finds Entra's refusal; a GUID.

    Class attributes beside those of the answer:
        event: what a failed attempt to get a token is called in the log; alerts hang on it.
    """

    status: ClassVar[int] = 500
    error: ClassVar[str] = "server_error"
    retryable: ClassVar[bool] = False
    default: ClassVar[str] = "vend failed; give the operator this correlation_id"
    default_wait: ClassVar[timedelta | None] = None
    event: ClassVar[str] = "acquire_failed"

    def __init__(
        self,
        public: str | None = None,
        *,
        cause: str = "",
        hint: str | None = None,
        retry_after: timedelta | None = None,
        code: int | None = None,
        trace_id: str | None = None,
    ) -> None:
        self.public = public or self.default
        self.cause = cause or type(self).__name__
        self.hint = hint
        self.retry_after = retry_after
        self.code = code
        self.trace_id = trace_id
        super().__init__(self.cause)

    @property
    def wait(self) -> timedelta | None:
        """How long to wait before the same request can succeed; None where waiting changes nothing."""
        return self.retry_after or self.default_wait

    @property
    def remedy(self) -> str | None:
        """What the operator should do, where Entra's number tells."""
        known = None if self.code is None else meaning(self.code)
        return known.remedy if known else None

    def again(self, retry_after: timedelta | None) -> Self:
        """Copy the error for one more caller: an instance that is raised again and again collects tracebacks."""
        return type(self)(
            self.public,
            cause=self.cause,
            hint=self.hint,
            retry_after=retry_after,
            code=self.code,
            trace_id=self.trace_id,
        )


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


class Denied(Refused):
    """Policy refuses; the caller learns nothing about the policy."""

    error = "invalid_scope"
    default = "scope is not available to this caller; give the operator this correlation_id"


class UnknownCaller(Refused):
    """No caller has this key."""

    status = 401
    error = "invalid_client"
    default = "the function key is not that of a caller"


class SwitchedOff(Refused):
    """The host does not check the keys of this route, and the operator has not said that the app may do so alone."""

    status = 403
    error = "invalid_request"
    default = "this route is switched off; use /api/token, or ask the operator for app_checked_routes"


class TooOften(Refused):
    """The caller asks more often than it may; `slow_down` is an extension (RFC 8628 section 3.5 has it for polling)."""

    status = 429
    error = "slow_down"
    retryable = True
    default = "this caller has asked too often; retry after the time given, and keep a token until it expires"
    default_wait = timedelta(seconds=1)


class UpstreamError(VendError):
    """Entra, Key Vault or the managed identity did not do its part."""

    status = 502


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


class Garbled(BadAnswer):
    """Upstream's answer cannot be read: a proxy's page, or one that was cut."""


class Impostor(BadAnswer):
    """The token is of another tenant, of another client, not app-only or no Bearer token."""

    event = "security_token_mismatch"


class OperatorError(UpstreamError):
    """Only the operator can mend this."""

    default = "vend cannot get this token until its operator mends something; give the operator this correlation_id"
    default_wait = timedelta(seconds=60)


class CredentialRefused(OperatorError):
    """Entra does not accept the credential of the profile."""


class RegionRefused(OperatorError):
    """Entra serves this client by its global endpoint alone."""


class UntrustedPeer(OperatorError):
    """TLS: whoever answered at upstream's address could not prove to be upstream."""

    event = "security_tls_refused"
