import json
import logging
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import (
    InMemoryMetricReader,
    MetricExporter,
    MetricExportResult,
    MetricReader,
    MetricsData,
    PeriodicExportingMetricReader,
)

from shared.api.routes import OAUTH
from shared.telemetry.catalogue import EVENTS, RequestsUnlogged
from shared.telemetry.event import Event
from shared.telemetry.events import Events
from shared.telemetry.metrics import Metrics
from tests.api.shop import Shop, denied, good
from tests.tables import case_id, cases

ROOT = Path(__file__).parents[2]
SECONDS_TO_COME = 20
EVERY_FEW_MILLISECONDS = 5
KINDS: Mapping[str, Callable[..., Event]] = {kind.about.name: kind for kind in EVENTS}


@dataclass(frozen=True, slots=True, kw_only=True)
class Number:
    """What a metric has come to."""

    name: str
    unit: str
    attributes: Mapping[str, str] = field(default_factory=dict)
    value: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """Events, and the numbers that come of them."""

    id: str
    events: tuple[Mapping[str, str | int | float], ...]
    numbers: tuple[Number, ...] = ()


CASES = cases("metrics.toml", Case)
LOST = Number(name="vend.events.lost", unit="{event}", value=0)


@contextmanager
def measuring(events: Events, reader: MetricReader) -> Iterator[None]:
    """Have events counted by the real SDK, which an operator would have set up, until the end."""
    provider = MeterProvider(metric_readers=[reader])
    events.observer = Metrics(provider, lost=lambda: events.lost)
    try:
        yield
    finally:
        provider.shutdown()


def numbers(data: MetricsData | None) -> list[dict[str, Any]]:
    """List every number that was collected, with its instrument, unit and attributes."""
    assert data is not None
    return [
        {"name": metric.name, "unit": metric.unit, "attributes": dict(point.attributes or {}), "point": point}
        for resource in data.resource_metrics
        for scope in resource.scope_metrics
        for metric in scope.metrics
        for point in metric.data.data_points
    ]


@pytest.mark.parametrize("case", CASES, ids=case_id)
def test_an_event_is_counted(case: Case) -> None:
    """Each row: the events, and every number that comes of them, with nothing else in its attributes."""
    reader = InMemoryMetricReader()
    events = Events(lambda _: None, wall=lambda: 0.0, worker="w")
    with measuring(events, reader):
        for event in case.events:
            fields: dict[str, Any] = dict(event)
            events.emit(KINDS[fields.pop("event")](**fields))
        found = {
            (number["name"], number["unit"], json.dumps(number["attributes"], sort_keys=True)): (
                getattr(number["point"], "value", None) or getattr(number["point"], "sum", 0)
            )
            for number in numbers(reader.get_metrics_data())
        }
    expected = {
        (number.name, number.unit, json.dumps(number.attributes, sort_keys=True)): number.value
        for number in (*case.numbers, LOST)
    }
    assert found == pytest.approx(expected)


def test_every_answer_is_counted() -> None:
    """What a caller sees and what the metrics say are one, by every route; a strange request makes no new name."""
    reader = InMemoryMetricReader()
    shop = Shop(Shop.token)
    with measuring(shop.events, reader):
        for incoming in (good(OAUTH), good(OAUTH), denied(good(OAUTH)), good(OAUTH, key="x" * 40)):
            shop.answer(OAUTH, incoming)
        found = [number for number in numbers(reader.get_metrics_data()) if number["name"] == "vend.token.requests"]
    assert {number["attributes"]["vend.outcome"]: number["point"].value for number in found} == {
        "vended": 2,
        "invalid_scope": 1,
        "invalid_client": 1,
    }


class Exporter(MetricExporter):
    """Exports as it is told to."""

    def __init__(self, act: Callable[[], object]) -> None:
        super().__init__()
        self._act = act
        self.tried = threading.Event()
        self.exported: list[MetricsData] = []

    def export(self, metrics_data: MetricsData, *_: object, **__: object) -> MetricExportResult:
        """Act, and keep what came."""
        self.tried.set()
        self._act()
        self.exported.append(metrics_data)
        return MetricExportResult.SUCCESS

    def force_flush(self, timeout_millis: float = 0) -> bool:  # noqa: ARG002  # the SDK names it
        """Have nothing to flush."""
        return True

    def shutdown(self, *_: object, **__: object) -> None:
        """Have nothing to close."""


def test_an_exporter_that_hangs_holds_up_nobody() -> None:
    """REL-38: while the exporter waits, every request is answered; what was counted meanwhile is exported then."""
    released = threading.Event()
    exporter = Exporter(lambda: released.wait(SECONDS_TO_COME))
    shop = Shop(Shop.token)
    with measuring(shop.events, PeriodicExportingMetricReader(exporter, EVERY_FEW_MILLISECONDS)):
        assert exporter.tried.wait(SECONDS_TO_COME)
        assert {shop.ask().status for _ in range(200)} == {200}
        assert exporter.exported == []
        released.set()
    counted = [number["point"].value for number in numbers(exporter.exported[-1]) if "requests" in number["name"]]
    assert (counted, shop.events.lost) == ([200], 0)


def test_an_exporter_that_raises_breaks_nothing(caplog: pytest.LogCaptureFixture) -> None:
    """REL-38: requests are answered, and nothing is lost: the next export says what the last would have said."""
    broken = [OSError("no way out")] * 3
    worked = threading.Event()

    def act() -> None:
        if broken:
            raise broken.pop()
        worked.set()

    exporter = Exporter(act)
    shop = Shop(Shop.token)
    with (
        caplog.at_level(logging.CRITICAL),
        measuring(shop.events, PeriodicExportingMetricReader(exporter, EVERY_FEW_MILLISECONDS)),
    ):
        assert exporter.tried.wait(SECONDS_TO_COME)
        assert {shop.ask().status for _ in range(20)} == {200}
        assert worked.wait(SECONDS_TO_COME)
    counted = [number["point"].value for number in numbers(exporter.exported[-1]) if "requests" in number["name"]]
    assert (counted, shop.events.lost) == ([20], 0)


def test_a_metric_that_raises_breaks_nothing() -> None:
    """REL-38: the answer and its event are given, and the loss is counted."""

    def fail(event: Event) -> None:
        raise RuntimeError(event)

    shop = Shop(Shop.token)
    shop.events.observer = fail
    assert shop.ask().status == 200
    shop.events.defer(RequestsUnlogged(outcome="invalid_client", count=1))
    assert len(shop.lines) == 1
    assert shop.events.lost == 2


def test_what_is_lost_is_a_metric() -> None:
    """REL-37, REL-38: an operator who looks at metrics alone sees that lines of the log are missing."""

    def full(line: str) -> None:
        raise OSError(line)

    reader = InMemoryMetricReader()
    shop = Shop(Shop.token, log=full)
    with measuring(shop.events, reader):
        shop.ask()
        lost = [number["point"].value for number in numbers(reader.get_metrics_data()) if "lost" in number["name"]]
    assert lost == [1]


# A worker without valid settings, before and after somebody sets up metrics in it.
A_WORKER = """
import asyncio, sys
from shared.core.request import Incoming
from shared.runtime import runtime

def ask():
    return asyncio.run(runtime().routes["token"](Incoming("POST", "https://vend.test/api/token", {}, b""))).status

assert ask() == 503
print(*sorted(name for name in sys.modules if name.startswith("opentelemetry")))

from opentelemetry.metrics import set_meter_provider
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
reader = InMemoryMetricReader()
set_meter_provider(MeterProvider(metric_readers=[reader]))
runtime.cache_clear()
assert ask() == 503
print(reader.get_metrics_data().to_json())
"""


@pytest.mark.slow
def test_metrics_are_counted_where_somebody_has_set_them_up() -> None:
    """A worker whose operator wants no metrics imports nothing for them; one whose operator does counts there."""
    environ = {"VEND_CONFIG": "no-such-file.toml"}
    done = subprocess.run(
        [sys.executable, "-c", A_WORKER], env=environ, cwd=ROOT, capture_output=True, text=True, check=True
    )
    imported, counted = done.stdout.split("\n", maxsplit=1)
    assert imported == ""
    assert "vend.token.requests" in counted
    assert "temporarily_unavailable" in counted
