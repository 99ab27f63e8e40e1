"""The state of a worker for administrators: `GET /api/doctor`.

It has every mistake of the callers document, and the credential by which each profile proves itself.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Protocol

from shared.api.admins import Administrators, admit
from shared.api.answers import Answer, report_answer
from shared.api.readiness import as_json
from shared.api.reports import report
from shared.callers.health import DocumentFacts
from shared.core.check import Check
from shared.core.documents.toml import first_of
from shared.core.errors import NotReady
from shared.core.request import Incoming
from shared.credentials.check import Serving
from shared.system import System
from shared.telemetry.events import Events

ROUTE = "doctor"


class Callers(Administrators, Protocol):
    """The callers, and the document that names them."""

    async def check(self) -> Check:
        """Return the line of the document."""

    @property
    def facts(self) -> DocumentFacts:
        """Which document the worker goes by."""

    @property
    def mistakes(self) -> tuple[str, ...]:
        """Every mistake and warning of the newest document that was read, each by its dotted key."""


class Doctor:
    """Answers administrators, by their function key; mistakes name callers and grants, so nobody else sees them.

    Args:
        callers: None while the settings have mistakes: then nobody is known.
        credentials: tells by which credential each profile proves itself.
        system: clocks and correlation ids.
        events: what background work has left.
    """

    def __init__(
        self,
        callers: Callers | None,
        *,
        credentials: Callable[[], Sequence[Serving]],
        system: System,
        events: Events,
    ) -> None:
        self._callers = callers
        self._credentials = credentials
        self._clock = system.clock
        self._new_id = system.new_id
        self._events = events

    async def answer(self, incoming: Incoming) -> Answer:
        """Answer an administrator; 401 and 403 for others."""
        write = partial(self._diagnosis, incoming)
        return await report(incoming, write, correlation_id=self._new_id(), events=self._events)

    async def _diagnosis(self, incoming: Incoming, correlation_id: str) -> Answer:
        if self._callers is None:
            raise NotReady(cause="no valid settings")
        await admit(incoming, self._callers, now=self._clock().boot)
        checks = [await self._callers.check()]
        body = {
            "worker": self._events.worker,
            "callers": self._callers.facts._asdict(),
            "mistakes": [_placed(mistake) for mistake in first_of(self._callers.mistakes)],
            "credentials": [_shown(each) for each in self._credentials()],
            "checks": as_json(checks),
            "correlation_id": correlation_id,
        }
        return report_answer(body, not_before=None)


def _shown(serving: Serving) -> dict[str, object]:
    ends = serving.ends.isoformat() if serving.ends else None
    return {**serving._asdict(), "ends": ends, "resting": list(serving.resting)}


def _placed(mistake: str) -> dict[str, str]:
    """Part a mistake from its dotted key, in which no colon stands."""
    at, colon, what = mistake.partition(": ")
    return {"at": at, "what": what} if colon else {"at": "", "what": mistake}
