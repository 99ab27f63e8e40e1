"""Whether this worker can serve: `GET /api/health/ready`, which a probe requests every few seconds."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass

from shared.api.answers import Answer, report_answer
from shared.api.reports import report
from shared.callers.health import DocumentFacts
from shared.core.check import Check, State
from shared.core.errors import NotReady
from shared.core.request import Incoming
from shared.single_flight import Flights, SentAway, Shedding
from shared.system import System
from shared.telemetry import catalogue
from shared.telemetry.catalogue.fields import Readiness as Status
from shared.telemetry.events import Events

ROUTE = "health/ready"
REPORT_SECONDS = 5.0
"""How long one report answers every probe."""
CHECK_SECONDS = 30.0
"""After which the checks are given up; each one has a shorter bound of its own."""
SLOW_SECONDS = 5.0
"""After which no more than `WAITING_PROBES` wait for the checks."""
WAITING_PROBES = 64

_STATUS: Mapping[State, Status] = {
    State.OK: "ready",
    State.DEGRADED: "degraded",
    State.FAILED: "not_ready",
}
_WORST_FIRST = (State.FAILED, State.DEGRADED, State.OK)
_PENDING = Check("checks", State.FAILED, "the first checks of this worker have not ended")


@dataclass(frozen=True, slots=True)
class _Report:
    checks: Sequence[Check]
    status: Status
    at: float


class Readiness:
    """Answers probes; one run of the checks answers a burst of them.

    Args:
        look: runs every check.
        facts: which callers document the worker goes by.
        system: clocks and correlation ids.
        events: where a change is reported, and nothing else: probes are many.
    """

    def __init__(
        self,
        look: Callable[[], Awaitable[Sequence[Check]]],
        *,
        facts: Callable[[], DocumentFacts],
        system: System,
        events: Events,
    ) -> None:
        self._look = look
        self._facts = facts
        self._clock = system.clock
        self._events = events
        self._new_id = system.new_id
        self._report: _Report | None = None
        self._looks: Flights[str, _Report] = Flights(
            seconds=CHECK_SECONDS, shedding=Shedding(after=lambda: SLOW_SECONDS, most=WAITING_PROBES)
        )

    async def answer(self, incoming: Incoming) -> Answer:
        """Answer a probe: 200 where the worker can serve, if only just, and 503 where it cannot."""
        return await report(incoming, self._answer, correlation_id=self._new_id(), events=self._events)

    async def _current(self) -> _Report:
        last = self._report
        if last is not None and self._clock().boot - last.at < REPORT_SECONDS:
            return last
        try:
            return await self._looks.join(ROUTE, self._renew)
        except SentAway:  # every caller can probe
            return last or _Report((_PENDING,), "not_ready", self._clock().boot)

    async def _renew(self) -> _Report:
        checks = await self._look()
        worst = next(state for state in _WORST_FIRST if any(check.state is state for check in checks))
        before = self._report.status if self._report else _STATUS[State.OK]
        self._report = _Report(checks, _STATUS[worst], self._clock().boot)
        if self._report.status != before:
            faults = [check for check in checks if check.state is not State.OK]
            self._events.defer(
                catalogue.ReadinessChanged(
                    outcome=self._report.status,
                    cause="; ".join(f"{check.name}: {check.detail}" for check in faults) or None,
                    remedy="; ".join(check.remedy for check in faults) or None,
                )
            )
        return self._report

    async def _answer(self, correlation_id: str) -> Answer:
        current = await self._current()
        body = {
            "status": current.status,
            "worker": self._events.worker,
            "callers": self._facts()._asdict(),
            "checks": as_json(current.checks),
            "correlation_id": correlation_id,
        }
        return report_answer(body, not_before=NotReady.default_wait if current.status == "not_ready" else None)


def as_json(checks: Sequence[Check]) -> list[dict[str, str]]:
    """Return checks as an answer has them."""
    return [{"name": check.name, "state": check.state.value, "detail": check.detail} for check in checks]
