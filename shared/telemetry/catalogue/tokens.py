"""The events of requests for tokens, and of their acquisition."""

from typing import Annotated

from shared.telemetry.catalogue.fields import (
    TRACEPARENT,
    Cause,
    Fingerprint,
    FlightId,
    Milliseconds,
    Profile,
    Retry,
    Scope,
    Source,
    TenantId,
)
from shared.telemetry.event import About, Doc, Event, Feed, declared
from shared.telemetry.instruments import DURATION, FAILURES, REQUESTS


@declared
class TokenAnswered(Event):
    """vend has answered a request for a token. It writes this line before the answer leaves."""

    about = About(
        "token",
        feeds=(
            Feed(REQUESTS, by=("route", "caller", "profile", "outcome", "source")),
            Feed(DURATION, by=("route", "outcome", "source"), amount="latency_ms"),
        ),
    )

    correlation_id: Annotated[str, Doc("the id of the answer, which its body has too")]
    route: Annotated[str, Doc("the path behind `/api/`")]
    caller: Annotated[str, Doc("name of the caller in the callers document")] | None = None
    issuer: Annotated[str, Doc("name of the issuer in `vend.toml` whose identity token proved the caller")] | None = (
        None
    )
    subject: Annotated[str, Doc("subject of that token; if Entra issued it, an object ID")] | None = None
    profile: Profile | None = None
    tenant_id: TenantId | None = None
    scope: Scope | None = None
    status: Annotated[int, Doc("HTTP status of the answer", {"minimum": 200, "maximum": 599})]
    outcome: Annotated[str, Doc("`vended`, or the `error` of the answer")]
    reason: Annotated[str, Doc('why the request was refused; with `mode = "audit"`, why it would be')] | None = None
    flight_id: FlightId | None = None
    source: Source | None = None
    token: Fingerprint | None = None
    uti: Annotated[str, Doc("Entra's id of the token, also in the API's logs and the sign-in log")] | None = None
    expires_on: Annotated[int, Doc("end of the token, in seconds since 1970")] | None = None
    traceparent: Annotated[str, Doc("the caller's own trace, as its request named it", TRACEPARENT)] | None = None
    latency_ms: Milliseconds | None = None


@declared
class RequestsUnlogged(Event):
    """Requests without a known caller were refused; there were too many for a line of their own each."""

    about = About(
        "requests_unlogged",
        remedy="find out who floods the routes whose keys vend alone checks; keep strangers out by a private "
        "endpoint or a list of allowed addresses",
        feeds=(Feed(REQUESTS, by=("outcome",), amount="count"),),
    )

    outcome: Annotated[str, Doc("the `error` of their answers; there is a line for each")]
    count: Annotated[int, Doc("number of these requests since the last such line", {"minimum": 1})]


@declared
class AcquireFailed(Event):
    """vend could not acquire a token; it goes on serving a cached one that is still good."""

    about = About(
        "acquire_failed",
        remedy="follow `remedy`; without one, wait for the next try, and check that the service that "
        "`cause` names is up",
        feeds=(Feed(FAILURES, by=("profile", "cause")),),
    )

    profile: Profile
    tenant_id: TenantId
    scope: Scope
    flight_id: Annotated[
        str, Doc("the correlation id of its requests to Entra; the answers that it failed have it too")
    ]
    cause: Annotated[str, Doc("`AADSTS` and Entra's number, or a short name")]
    remedy: Annotated[str, Doc("what to do, where the refusal tells")] | None = None
    trace_id: Annotated[str, Doc("the id by which Microsoft's support finds Entra's answer")] | None = None
    retry_seconds: Retry


@declared
class SecurityTokenMismatch(AcquireFailed):
    """Like `acquire_failed`: vend refused the token that it got.

    Its tenant or client is wrong or missing, or it is not app-only, or not Bearer.
    """

    about = About(
        "security_token_mismatch",
        remedy="raise an alarm: find out who answers in place of Entra",
        feeds=AcquireFailed.about.feeds,
    )


@declared
class SecurityTlsRefused(AcquireFailed):
    """Like `acquire_failed`: the peer could not prove by TLS that it is the service that vend asked."""

    about = About(
        "security_tls_refused",
        remedy="raise an alarm; where a proxy inspects TLS, add its root by `ca_file`",
        feeds=AcquireFailed.about.feeds,
    )


@declared
class IdentityFailed(Event):
    """vend could not acquire a token of the app's own identity; it goes on using a cached one that is still good."""

    about = About(
        "identity_failed",
        remedy="follow `remedy`; without one, wait for the next try, and check that the app has the "
        "identity that `identity_client_id` names",
        feeds=(Feed(FAILURES, by=("cause",), fixed={"profile": "managed identity"}),),
    )

    scope: Annotated[str, Doc("the service that the token was for: Key Vault or Azure Storage")]
    cause: Cause
    remedy: Annotated[str, Doc("what to do, where the refusal tells")] | None = None
    retry_seconds: Retry


@declared
class RegionRefused(Event):
    """Entra refuses the regional endpoint to this profile; this worker uses the global endpoint from now on."""

    about = About("region_refused", remedy="remove `region` from the profile in `vend.toml`")

    profile: Profile
    region: Annotated[str, Doc("the region in `vend.toml`")]
    cause: Cause


@declared
class ClockDiffers(Event):
    """The clock of this machine and Entra's differ by more than two minutes, so Entra may refuse assertions."""

    about = About("clock_differs", remedy="set the clock of this machine; on Azure open a support request")

    profile: Profile
    seconds: Annotated[int, Doc("seconds by which this clock is ahead of Entra's; negative if it is behind")]


@declared
class TokenWithoutRoles(Event):
    """vend has acquired a token that gives no permission on its API, and serves it."""

    about = About("token_without_roles", remedy="give the app registration a permission on that API, and consent")

    profile: Profile
    tenant_id: TenantId
    scope: Scope
    token: Fingerprint
    cause: Cause


@declared
class ScopeDiffers(Event):
    """Entra has issued a token for another scope than the one that was asked for, and vend serves it."""

    about = About("scope_differs", remedy="compare `scopes` of the profile with the URI of the API as it is registered")

    profile: Profile
    tenant_id: TenantId
    scope: Scope
    token: Fingerprint
    cause: Cause


@declared
class AudienceChanged(Event):
    """The tokens for this profile and scope name another audience than before."""

    about = About("audience_changed", remedy="ask the owner of the API whether it accepts the new audience")

    profile: Profile
    tenant_id: TenantId
    scope: Scope
    token: Fingerprint
    audience: Annotated[str, Doc("the new audience")]
