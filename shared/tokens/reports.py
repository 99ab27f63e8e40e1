"""The events of flights that failed, for the two kinds of tokens that a cache can hold."""

from collections.abc import Callable, Mapping

from shared.core.errors import UpstreamError
from shared.core.token import Wanted
from shared.telemetry.catalogue import EVENTS, AcquireFailed, IdentityFailed
from shared.telemetry.event import Event

type FlightReport = Callable[[Wanted, UpstreamError, float], Event]
"""Returns the event of a failed flight; the number is the seconds until the next try."""

FAILED_ATTEMPTS: Mapping[str, type[AcquireFailed]] = {
    kind.about.name: kind for kind in EVENTS if issubclass(kind, AcquireFailed)
}
"""The events that `UpstreamError.event` names: the core knows them by name alone."""


def acquire_failed(wanted: Wanted, error: UpstreamError, retry_seconds: float) -> AcquireFailed:
    """Return the event of a flight for a token that callers get."""
    return FAILED_ATTEMPTS[error.event](
        profile=wanted.key.profile,
        tenant_id=wanted.key.tenant_id,
        scope=wanted.key.scope,
        flight_id=wanted.flight_id,
        cause=error.cause,
        remedy=error.remedy,
        trace_id=error.trace_id,
        retry_seconds=retry_seconds,
    )


def identity_failed(wanted: Wanted, error: UpstreamError, retry_seconds: float) -> IdentityFailed:
    """Return the event of a flight for a token of the app's own identity."""
    return IdentityFailed(scope=wanted.key.scope, cause=error.cause, remedy=error.remedy, retry_seconds=retry_seconds)
