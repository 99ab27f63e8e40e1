"""The order for a run of the sync: `POST /api/sync?seconds=&stream=&resync=&accept_loss=`."""

import re
from collections.abc import Collection
from dataclasses import dataclass

from shared.core.errors import InvalidRequest
from shared.core.form import read_form

FEWEST_SECONDS, MOST_SECONDS = 1, 200
"""The host ends a request after 230 seconds."""
USUAL_SECONDS = 60

_SECONDS = re.compile(r"[1-9][0-9]{0,2}\Z")
_LOSS = re.compile(r"([A-Za-z]{1,32}):([A-Za-z_]{1,64}):([1-9][0-9]{0,8})\Z")
_FIELDS = {"seconds", "stream", "resync", "accept_loss"}
_FLAGS = {"true": True, "false": False}


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """An administrator's order for one run. It does not wait until a stream is due.

    Args:
        seconds: after which the run begins no further page.
        stream: the name of the only stream to run; None for all.
        resync: begin a new copy. Readers keep the old rows until it is complete.
        loss: the loss of the last copy of the stream to accept: its kind, and its number as reported.
    """

    seconds: float = USUAL_SECONDS
    stream: str | None = None
    resync: bool = False
    loss: tuple[str, int] | None = None


def read_order(query: str, *, streams: Collection[str]) -> Order:
    """Read an order from a query string.

    Args:
        query: what stands behind the question mark.
        streams: the names of the streams that are synced.

    Raises:
        InvalidRequest: it says something else.
    """
    fields = read_form(query.encode(), of="URL")
    if not fields.keys() <= _FIELDS:
        hint = "use seconds, stream, resync and accept_loss"
        raise InvalidRequest("the URL has a field that is not known", hint=hint)
    seconds = fields.get("seconds", str(USUAL_SECONDS))
    if not _SECONDS.match(seconds) or not FEWEST_SECONDS <= int(seconds) <= MOST_SECONDS:
        raise InvalidRequest(f"seconds must be a number from {FEWEST_SECONDS} to {MOST_SECONDS}")
    stream, loss = fields.get("stream"), None
    if accepted := fields.get("accept_loss"):
        found = _LOSS.match(accepted)
        if not found or stream not in {None, found[1]} or "resync" in fields:
            hint = "take it from the event sync_held, for its stream alone, and without resync"
            raise InvalidRequest("accept_loss must be stream:kind:number", hint=hint)
        stream, loss = found[1], (found[2], int(found[3]))
    if stream is not None and stream not in streams:
        raise InvalidRequest(f"stream must be one of {', '.join(streams)}")
    resync = fields.get("resync", "false")
    if resync not in _FLAGS:
        raise InvalidRequest("resync must be true or false")
    return Order(seconds=float(seconds), stream=stream, resync=_FLAGS[resync], loss=loss)
