"""Runs the directory sync for an administrator: `POST /api/sync`, which the command line asks again and again."""

from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING

from shared.api.admins import Administrators, admit
from shared.api.answers import Answer, report_answer
from shared.api.reports import report
from shared.core.directory.order import Order, read_order
from shared.core.errors import InvalidRequest, NotReady, SyncUnderWay
from shared.core.request import Incoming
from shared.system import System
from shared.telemetry import catalogue
from shared.telemetry.events import Events

if TYPE_CHECKING:
    from shared.directory.report import Report  # a worker that only answers callers never imports it

ROUTE = "sync"
METHODS = ("POST",)

type Run = Callable[[Order], Awaitable[Sequence["Report"]]]


class SyncRuns:
    """Answers administrators with what one run did.

    Args:
        callers: None while the settings have mistakes: then nobody is known.
        run: runs the sync.
        streams: the names of the streams that are synced; none where vend.toml has no `[sync]`.
        system: clocks and correlation ids.
        events: what a run reports, and that an administrator asked for it.
    """

    def __init__(
        self,
        callers: Administrators | None,
        *,
        run: Run,
        streams: Sequence[str],
        system: System,
        events: Events,
    ) -> None:
        self._callers = callers
        self._run = run
        self._streams = streams
        self._clock = system.clock
        self._new_id = system.new_id
        self._events = events

    async def answer(self, incoming: Incoming) -> Answer:
        """Run the sync for an administrator; 401 and 403 for others, 409 while another run is at it."""
        write = partial(self._ran, incoming)
        return await report(incoming, write, correlation_id=self._new_id(), events=self._events, methods=METHODS)

    async def _ran(self, incoming: Incoming, correlation_id: str) -> Answer:
        if self._callers is None:
            raise NotReady(cause="no valid settings")
        caller = await admit(incoming, self._callers, now=self._clock().boot)
        if not self._streams:
            raise InvalidRequest("no directory is synced here: vend.toml has no [sync]")
        order = read_order(incoming.query, streams=self._streams)
        self._events.emit(
            catalogue.SyncRequested(
                correlation_id=correlation_id,
                caller=caller.name,
                stream=order.stream,
                resync=order.resync,
                accepted=":".join(map(str, order.loss)) if order.loss else None,
            )
        )
        reports = await self._run(order)
        if all(each.outcome == "busy" for each in reports):
            raise SyncUnderWay
        body = {
            "complete": all(each.outcome == "complete" for each in reports),
            "streams": [_as_json(each) for each in reports],
            "correlation_id": correlation_id,
        }
        return report_answer(body, not_before=None)


def _as_json(each: "Report") -> dict[str, object]:
    return {
        "name": each.names["stream"],
        "tenant_id": each.names["tenant_id"],
        "outcome": "skipped" if each.outcome == "busy" else each.outcome,
        "phase": each.phase,
        "pages": each.pages,
        "changes": each.changes,
        "rows": each.rows,
        "waiting_seconds": round(each.waiting_seconds),
        "held": dict(each.held),
        "cause": each.cause,
    }
