"""Metrics, as far as somebody wants them: each is derived from an event, so the two cannot tell different stories.

vend brings no exporter. Where the operator has set up the OpenTelemetry SDK in the worker (docs/operations.md), the
events are counted there; elsewhere nothing is imported and nothing is counted. Exporting is the SDK's, in a thread of
its own: an event is added up in memory, which waits for nobody.

Names and units: https://opentelemetry.io/docs/specs/semconv/general/metrics/. No attribute can have more values than
the two documents and this code have names, so none is a scope, a tenant or an id.
"""

import sys
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING

from shared.core.entra.aadsts import known_codes
from shared.core.errors import UnknownCaller
from shared.telemetry.events import Observer, Value

if TYPE_CHECKING:
    from opentelemetry.metrics import CallbackOptions, MeterProvider, Observation

# Whoever sets up a meter provider has imported this: the worker does so before it calls the app.
SDK = "opentelemetry.sdk.metrics"
SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 20.0)
"""Bounds of the buckets: from an answer out of the cache to the longest that a caller waits."""

_CAUSES = frozenset(f"AADSTS{code}" for code in known_codes())


def observer(lost: Callable[[], int]) -> Observer | None:
    """Give what counts events, or None where nobody has set up metrics; `lost` tells how many events got nowhere."""
    if SDK not in sys.modules:
        return None
    from opentelemetry.metrics import get_meter_provider  # noqa: PLC0415  # not part of what is deployed

    return Metrics(get_meter_provider(), lost=lost)


class Metrics:
    """The instruments; called with each event.

    Args:
        provider: of the meter.
        lost: tells how many events got nowhere.
    """

    def __init__(self, provider: "MeterProvider", *, lost: Callable[[], int]) -> None:
        from opentelemetry.metrics import Observation  # noqa: PLC0415

        def lost_events(_: "CallbackOptions") -> "Iterator[Observation]":
            yield Observation(lost())

        meter = provider.get_meter("vend")
        self._requests = meter.create_counter("vend.token.requests", "{request}", "Answers of the token routes")
        self._duration = meter.create_histogram(
            "vend.token.duration", "s", "Time to answer a request", explicit_bucket_boundaries_advisory=SECONDS
        )
        self._failures = meter.create_counter(
            "vend.upstream.failures", "{failure}", "Attempts to get a token that failed"
        )
        self._runs = meter.create_counter("vend.sync.runs", "{run}", "Runs of the directory sync")
        self._changes = meter.create_counter("vend.sync.changes", "{change}", "Changes that Graph told of")
        meter.create_observable_counter("vend.events.lost", [lost_events], "{event}", "Events that got nowhere")

    def __call__(self, event: str, fields: Mapping[str, Value]) -> None:
        """Count an event."""
        match event:
            case "token":
                self._requests.add(1, _named(fields, "route", "caller", "profile", "outcome", "source"))
                took = fields.get("latency_ms")
                if isinstance(took, int | float):
                    self._duration.record(took / 1000, _named(fields, "route", "outcome", "source"))
            case "unknown_keys":
                self._requests.add(_number(fields["count"]), {"vend.outcome": UnknownCaller.error})
            case "acquire_failed" | "security_token_mismatch" | "security_tls_refused":
                self._failures.add(1, {**_named(fields, "profile"), "error.type": _cause(str(fields["cause"]))})
            case "sync_finished":
                self._runs.add(1, _named(fields, "stream", "outcome"))
                self._changes.add(_number(fields["changes"]), _named(fields, "stream"))
            case "sync_failed" | "sync_skipped":
                self._runs.add(1, {**_named(fields, "stream"), "vend.outcome": event.removeprefix("sync_")})


def _named(fields: Mapping[str, Value], *names: str) -> dict[str, str]:
    """Give the attributes of these names, as far as the event has them."""
    return {f"vend.{name}": str(value) for name in names if (value := fields.get(name)) is not None}


def _cause(cause: str) -> str:
    """Name a cause; numbers of Entra's that nobody knows are one, as Entra could make up any."""
    return "AADSTS other" if cause.startswith("AADSTS") and cause not in _CAUSES else cause


def _number(value: Value) -> int:
    assert isinstance(value, int)
    return value
