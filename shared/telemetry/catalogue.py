"""Every event that vend can log. The schema, the tables of docs/operations.md and the metrics derive from this module.

To add an event, add a class and run `make schemas`:

- The docstring says what the event means.
- `about` has its name, what the operator should do, and what it is counted by.
- A field without a default is in every line of the event. A field that is None is left out of the line.

The classes are not frozen. That would triple the cost of making one, and an event is written as soon as it is made.
"""

from dataclasses import dataclass
from typing import Annotated, Literal

from shared.core.token import TokenSource
from shared.telemetry.event import About, Doc, Event, Feed
from shared.telemetry.instruments import CHANGES, DURATION, FAILURES, REQUESTS, RUNS

_Profile = Annotated[str, Doc("name of the profile in `vend.toml`")]
_TenantId = Annotated[str, Doc("the tenant whose Entra is asked")]
_Scope = Annotated[str, Doc("the scope that was asked for")]
_Fingerprint = Annotated[str, Doc("the first 12 hex digits of the token's SHA-256", {"pattern": "^[0-9a-f]{12}$"})]
_Source = Annotated[str, Doc("where the token came from", {"enum": [source.value for source in TokenSource]})]
_Cause = Annotated[str, Doc("a short name of the cause")]
_Mistakes = Annotated[list[str], Doc("each mistake by its dotted key")]
_Retry = Annotated[float, Doc("seconds until the next try")]
_FlightId = Annotated[str, Doc("of the flight that failed, as in `acquire_failed` and in Entra's sign-in log")]
_Stream = Annotated[str, Doc("name of the stream in `vend.toml`")]
_Milliseconds = Annotated[float, Doc("milliseconds that it took", {"minimum": 0})]
Kept = Literal["last good one kept", "none"]
Readiness = Literal["ready", "degraded", "not_ready"]
_Kept = Annotated[Kept, Doc("whether an earlier document stays in force")]
_DIGEST = {"pattern": "^[0-9a-f]{12}$"}
_InForce = Annotated[str, Doc("the first 12 hex digits of the SHA-256 of the document in force", _DIGEST)]
_Newest = Annotated[str, Doc("the same of the newest document that was read", _DIGEST)]


@dataclass(slots=True, kw_only=True)
class TokenAnswered(Event):
    """vend has answered a request for a token: one line for each answer, written before the answer leaves."""

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
    profile: _Profile | None = None
    tenant_id: _TenantId | None = None
    scope: _Scope | None = None
    status: Annotated[int, Doc("HTTP status of the answer", {"minimum": 200, "maximum": 599})]
    outcome: Annotated[str, Doc("`vended`, or the `error` of the answer")]
    reason: Annotated[str, Doc('why the request was refused; with `mode = "audit"`, why it would be')] | None = None
    flight_id: _FlightId | None = None
    source: _Source | None = None
    token: _Fingerprint | None = None
    uti: Annotated[str, Doc("Entra's id of the token, also in the API's logs and the sign-in log")] | None = None
    expires_on: Annotated[int, Doc("end of the token, in seconds since 1970")] | None = None
    latency_ms: _Milliseconds | None = None


@dataclass(slots=True, kw_only=True)
class RequestsUnlogged(Event):
    """Requests without a known caller were refused, and left no line of their own: there were too many of them."""

    about = About(
        "requests_unlogged",
        remedy="find out who floods the routes that vend alone guards; the platform keeps strangers out by a private "
        "endpoint or a list of addresses",
        feeds=(Feed(REQUESTS, by=("outcome",), amount="count"),),
    )

    outcome: Annotated[str, Doc("the `error` of their answers; there is a line for each")]
    count: Annotated[int, Doc("number of these requests since the last such line", {"minimum": 1})]


@dataclass(slots=True, kw_only=True)
class AcquireFailed(Event):
    """vend could not acquire a token; it goes on serving a cached one that is still good."""

    about = About(
        "acquire_failed",
        remedy="follow `remedy`; where the line has none, wait for the next try and look whether the service that "
        "`cause` is about is up",
        feeds=(Feed(FAILURES, by=("profile", "cause")),),
    )

    profile: _Profile
    tenant_id: _TenantId
    scope: _Scope
    flight_id: Annotated[
        str, Doc("the correlation id of its requests to Entra; the answers that it failed have it too")
    ]
    cause: Annotated[str, Doc("`AADSTS` and Entra's number, or a short name")]
    remedy: Annotated[str, Doc("what to do, where the refusal tells")] | None = None
    trace_id: Annotated[str, Doc("the id by which Microsoft's support finds Entra's answer")] | None = None
    retry_seconds: _Retry


@dataclass(slots=True, kw_only=True)
class SecurityTokenMismatch(AcquireFailed):
    """As `acquire_failed`, because the token was of another tenant or client, not app-only, or no Bearer token."""

    about = About(
        "security_token_mismatch",
        remedy="raise an alarm: find out who answers in place of Entra",
        feeds=AcquireFailed.about.feeds,
    )


@dataclass(slots=True, kw_only=True)
class SecurityTlsRefused(AcquireFailed):
    """As `acquire_failed`, because the peer could not prove by TLS to be the service that was asked."""

    about = About(
        "security_tls_refused",
        remedy="raise an alarm; where a proxy inspects TLS, add its root by `ca_file`",
        feeds=AcquireFailed.about.feeds,
    )


@dataclass(slots=True, kw_only=True)
class IdentityFailed(Event):
    """vend could not acquire a token of the app's own identity; it goes on using a cached one that is still good."""

    about = About(
        "identity_failed",
        remedy="follow `remedy`; where the line has none, wait for the next try and look whether the app has the "
        "identity that `identity_client_id` names",
        feeds=(Feed(FAILURES, by=("cause",), fixed={"profile": "managed identity"}),),
    )

    scope: Annotated[str, Doc("the service that the token was for: Key Vault or Azure Storage")]
    cause: _Cause
    remedy: Annotated[str, Doc("what to do, where the refusal tells")] | None = None
    retry_seconds: _Retry


@dataclass(slots=True, kw_only=True)
class RegionRefused(Event):
    """Entra refuses the regional endpoint to this profile; this worker uses the global endpoint from now on."""

    about = About("region_refused", remedy="remove `region` from the profile in `vend.toml`")

    profile: _Profile
    region: Annotated[str, Doc("the region in `vend.toml`")]
    cause: _Cause


@dataclass(slots=True, kw_only=True)
class ClockDiffers(Event):
    """The clock of this machine and Entra's differ by more than two minutes: assertions will soon fail."""

    about = About("clock_differs", remedy="set the clock of this machine; on Azure open a support request")

    profile: _Profile
    seconds: Annotated[int, Doc("seconds by which this clock is ahead of Entra's; negative where it is behind")]


@dataclass(slots=True, kw_only=True)
class TokenWithoutRoles(Event):
    """vend has acquired a token that gives no permission on its API, and serves it."""

    about = About("token_without_roles", remedy="give the app registration a permission on that API, and consent")

    profile: _Profile
    tenant_id: _TenantId
    scope: _Scope
    token: _Fingerprint
    cause: _Cause


@dataclass(slots=True, kw_only=True)
class ScopeDiffers(Event):
    """Entra has issued a token for another scope than the one that was asked for, and vend serves it."""

    about = About("scope_differs", remedy="compare `scopes` of the profile with the URI of the API as it is registered")

    profile: _Profile
    tenant_id: _TenantId
    scope: _Scope
    token: _Fingerprint
    cause: _Cause


@dataclass(slots=True, kw_only=True)
class AudienceChanged(Event):
    """The tokens for this profile and scope name another audience than before."""

    about = About(
        "audience_changed", remedy="see whether the API accepts the new audience, which is its owner's to set"
    )

    profile: _Profile
    tenant_id: _TenantId
    scope: _Scope
    token: _Fingerprint
    audience: Annotated[str, Doc("the new audience")]


@dataclass(slots=True, kw_only=True)
class CallersChanged(Event):
    """This worker has put a new callers document in force."""

    about = About("callers_changed")

    count: Annotated[int, Doc("number of callers that are served", {"minimum": 0})]
    generation: Annotated[int, Doc("`generation` of the document; a higher one than before has emptied the cache")]
    in_force: _InForce


@dataclass(slots=True, kw_only=True)
class CallersRefused(Event):
    """The callers document that this worker has put in force has mistakes, which cost the callers that have them."""

    about = About(
        "callers_refused",
        remedy="correct each mistake; where a profile lacks what an entry lists, deploy `vend.toml` first",
    )

    count: Annotated[int, Doc("callers that are refused or lack a grant", {"minimum": 1})]
    in_force: _InForce
    mistakes: _Mistakes


@dataclass(slots=True, kw_only=True)
class CallersWarning(Event):
    """Something in the callers document that this worker has put in force is probably not meant."""

    about = About("callers_warning", remedy="see `warnings`: keep one of two entries, and each key readable")

    in_force: _InForce
    warnings: Annotated[list[str], Doc("each by its dotted key")]


@dataclass(slots=True, kw_only=True)
class CallersInvalid(Event):
    """The callers document has mistakes that concern all callers, and changes nothing."""

    about = About("callers_invalid", remedy="correct each mistake; `./vend check` names them too")

    outcome: _Kept
    in_force: _InForce | None = None
    newest: _Newest
    mistakes: _Mistakes


@dataclass(slots=True, kw_only=True)
class CallersUnread(Event):
    """The callers document cannot be read, and nothing changes."""

    about = About("callers_unread", remedy="see that the file or blob is there and that the app may read it")

    outcome: _Kept
    cause: Annotated[str, Doc("name of the document, and a short name of the cause")]


@dataclass(slots=True, kw_only=True)
class SettingsInvalid(Event):
    """`vend.toml` or the app settings have mistakes, and this worker answers 503 to every request."""

    about = About("settings_invalid", remedy="correct each mistake; `./vend check` names them too")

    mistakes: _Mistakes


@dataclass(slots=True, kw_only=True)
class ReadinessChanged(Event):
    """The answer of the readiness probe has changed."""

    about = About("readiness_changed", remedy="follow `remedy`; raise an alarm by `not_ready`")

    outcome: Annotated[Readiness, Doc("the new status")]
    cause: Annotated[str, Doc("each check that is not `ok`, with what was seen")] | None = None
    remedy: Annotated[str, Doc("what to do about each of them")] | None = None


@dataclass(slots=True, kw_only=True)
class SyncFinished(Event):
    """A run of the sync has ended well for one stream."""

    about = About(
        "sync_finished",
        feeds=(Feed(RUNS, by=("stream", "outcome")), Feed(CHANGES, by=("stream",), amount="changes")),
    )

    stream: _Stream
    outcome: Annotated[
        Literal["complete", "to be continued"], Doc("whether everything was read, or the next run goes on")
    ]
    pages: Annotated[int, Doc("pages that were stored", {"minimum": 0})]
    changes: Annotated[int, Doc("changes in these pages", {"minimum": 0})]
    rows: Annotated[int, Doc("rows that were written", {"minimum": 0})]
    latency_ms: _Milliseconds


@dataclass(slots=True, kw_only=True)
class SyncRestarted(Event):
    """Graph has forgotten the last link, after 7 days; a new copy begins, and readers keep the old one meanwhile."""

    about = About("sync_restarted", remedy="find out why the sync did not run for so long")

    stream: _Stream
    cause: _Cause


@dataclass(slots=True, kw_only=True)
class SyncFailed(Event):
    """A run of the sync has failed for one stream; what was stored stays, and the next run goes on from there."""

    about = About(
        "sync_failed",
        remedy='see `cause`; after "a new copy lacks ..." nothing was deleted: if the loss is real, remove the '
        "database, and the next run copies anew",
        feeds=(Feed(RUNS, by=("stream",), fixed={"outcome": "failed"}),),
    )

    stream: _Stream
    cause: _Cause


@dataclass(slots=True, kw_only=True)
class SyncSkipped(Event):
    """Another run holds the stream, or was killed less than five minutes ago."""

    about = About("sync_skipped", feeds=(Feed(RUNS, by=("stream",), fixed={"outcome": "skipped"}),))

    stream: _Stream
    cause: _Cause


@dataclass(slots=True, kw_only=True)
class SyncDisabled(Event):
    """Nothing is synced here."""

    about = About("sync_disabled", remedy="see `cause`: no `[sync]`, no shared store, or mistakes in the settings")

    cause: _Cause


EVENTS: tuple[type[Event], ...] = tuple(
    kind for kind in list(vars().values()) if isinstance(kind, type) and issubclass(kind, Event) and kind is not Event
)
"""Every event of this module, in its order."""
