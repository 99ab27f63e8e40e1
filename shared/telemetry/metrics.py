"""Counts events as OpenTelemetry metrics. Each metric derives from events, so metrics and log cannot disagree.

vend brings no exporter. Where the operator has set up the OpenTelemetry SDK in the worker (docs/operations.md), events
are counted there; elsewhere nothing is imported and nothing is counted. Exporting is the SDK's, in a thread of its own:
an event is added up in memory, which waits for nobody.

Names and units: https://opentelemetry.io/docs/specs/semconv/general/metrics/. No attribute can have more values than
the two documents and this code have names, so none is a scope, a tenant or an id.
"""

import sys
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import TYPE_CHECKING

from shared.core.entra.aadsts import known_codes
from shared.telemetry.catalogue import EVENTS
from shared.telemetry.event import Event, Feed, Instrument
from shared.telemetry.events import Observer
from shared.telemetry.instruments import LOST

if TYPE_CHECKING:
    from opentelemetry.metrics import CallbackOptions, Histogram, Meter, MeterProvider, Observation

# Whoever sets up a meter provider has imported this: the worker does so before it calls the app.
SDK = "opentelemetry.sdk.metrics"
INSTRUMENTS = tuple(dict.fromkeys(feed.instrument for kind in EVENTS for feed in kind.about.feeds))

_CAUSES = frozenset(f"AADSTS{code}" for code in known_codes())


def observer(lost: Callable[[], int]) -> Observer | None:
    """Return what counts events, or None where nobody has set up metrics; `lost` returns how many got nowhere."""
    if SDK not in sys.modules:
        return None
    from opentelemetry.metrics import get_meter_provider  # noqa: PLC0415  # not part of what is deployed

    return Metrics(get_meter_provider(), lost=lost)


class Metrics:
    """Adds up events; called with each one.

    Args:
        provider: of the meter.
        lost: returns how many events got nowhere.
    """

    def __init__(self, provider: "MeterProvider", *, lost: Callable[[], int]) -> None:
        from opentelemetry.metrics import Observation  # noqa: PLC0415

        def lost_events(_: "CallbackOptions") -> "Iterator[Observation]":
            yield Observation(lost())

        meter = provider.get_meter("vend")
        self._add = {instrument.name: _create(meter, instrument) for instrument in INSTRUMENTS}
        meter.create_observable_counter(LOST.name, [lost_events], LOST.unit, LOST.meaning)

    def __call__(self, event: Event) -> None:
        """Add an event to every instrument that it feeds."""
        for feed in event.about.feeds:
            amount = getattr(event, feed.amount) if feed.amount else 1
            if amount is not None:
                self._add[feed.instrument.name](amount, _attributes(event, feed))


def attribute(field: str) -> str:
    """Return the attribute that a field becomes; `error.type` is OpenTelemetry's own name."""
    return "error.type" if field == "cause" else f"vend.{field}"


def _create(meter: "Meter", instrument: Instrument) -> "Callable[[float, Mapping[str, str]], None]":
    name, unit, meaning, buckets = instrument
    if not buckets:
        return meter.create_counter(name, unit, meaning).add
    histogram = meter.create_histogram(name, unit, meaning, explicit_bucket_boundaries_advisory=buckets)
    return partial(_record, histogram)


def _record(histogram: "Histogram", milliseconds: float, attributes: Mapping[str, str]) -> None:
    histogram.record(milliseconds / 1000, attributes)


def _attributes(event: Event, feed: Feed) -> dict[str, str]:
    """Return the attributes that the event has."""
    values = {**feed.fixed, **{field: getattr(event, field) for field in feed.by}}
    return {
        attribute(field): _cause(value) if field == "cause" else value
        for field, value in values.items()
        if value is not None
    }


def _cause(cause: str) -> str:
    """Return the name of a cause. Numbers that vend does not know share one, because Entra can send any number."""
    return "AADSTS other" if cause.startswith("AADSTS") and cause not in _CAUSES else cause
