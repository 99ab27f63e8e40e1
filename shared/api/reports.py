"""Answers about the app itself: the probe and the doctor, by GET or HEAD, and the sync, by POST."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace

from shared.api.answers import Answer, error_answer
from shared.api.routes import FUNCTION_KEY
from shared.core.errors import MethodNotAllowed, UnknownCaller, VendError
from shared.core.request import Incoming, check_envelope
from shared.telemetry.events import Events

READING = ("GET", "HEAD")


async def report(
    incoming: Incoming,
    write: Callable[[str], Awaitable[Answer]],
    *,
    correlation_id: str,
    events: Events,
    methods: Sequence[str] = READING,
) -> Answer:
    """Answer a question about the app itself; every error becomes its answer, and background events leave with it.

    Args:
        incoming: the request.
        write: returns the answer to a request by one of the methods, given the correlation id.
        correlation_id: of the request.
        events: what background work has left.
        methods: those that the route takes.
    """
    try:
        check_envelope(incoming, method=incoming.method if incoming.method in methods else methods[0])
        answer = await write(correlation_id)
    except VendError as error:
        answer = error_answer(error, correlation_id=correlation_id, headers=_headers(error, methods))
    except Exception as error:  # noqa: BLE001  # a defect of ours is an answer, and never a traceback
        answer = error_answer(VendError(cause=type(error).__name__), correlation_id=correlation_id, headers={})
    events.flush()
    return replace(answer, body=b"") if incoming.method == "HEAD" else answer


def _headers(error: VendError, methods: Sequence[str]) -> dict[str, str]:
    if isinstance(error, MethodNotAllowed):
        return {"Allow": ", ".join(methods)}
    if isinstance(error, UnknownCaller):
        return {"WWW-Authenticate": FUNCTION_KEY.challenge}
    return {}
