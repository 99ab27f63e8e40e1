"""An event of the app as one line for a reader at a terminal."""

import json
from collections.abc import Mapping
from typing import Any

from cli.reasons import explained, in_short

UNSHOWN = frozenset({"event", "time", "worker", "flight_id", "trace_id"})
"""What a reader does not need, or finds by `./vend callers explain --correlation-id`."""
BAD_ANSWERS = 400


def parse_event(line: str) -> Mapping[str, Any] | None:
    """Return the event of a line of the log; None where the line is none."""
    try:
        event = json.loads(line[line.index("{") :])
    except (ValueError, RecursionError):
        return None
    return event if isinstance(event, dict) and isinstance(event.get("event"), str) else None


def is_bad(event: Mapping[str, Any]) -> bool:
    """Return whether an event tells of a failure."""
    status = event.get("status")
    return "remedy" in event or "cause" in event or (isinstance(status, int) and status >= BAD_ANSWERS)


def event_line(event: Mapping[str, Any]) -> str:
    """Write an event: its time of day in UTC, its name, and what it has."""
    name, time = event["event"], str(event.get("time", ""))[11:19]
    if name == "token":
        return f"{time} {_answer(event)}"
    return " ".join([time, name, *(f"{key}={_value(value)}" for key, value in event.items() if key not in UNSHOWN)])


def _answer(event: Mapping[str, Any]) -> str:
    """Write the answer to a request for a token: who asked for what, and what came of it."""
    what = event.get("source") or event.get("outcome", "")
    words = [event.get("caller", "-"), _api(str(event.get("scope", "-"))), event.get("status", ""), what]
    if "latency_ms" in event:
        words.append(f"{event['latency_ms']:.1f} ms")
    words.append(event.get("token") or (_reason(event) if "reason" in event else ""))
    return " ".join(str(word) for word in words).rstrip()


def _reason(event: Mapping[str, Any]) -> str:
    _, remedy = explained(event)
    return f"({event['reason']})" + (f": {in_short(remedy)}" if remedy else "")


def _api(scope: str) -> str:
    return scope.removesuffix("/.default").removeprefix("https://")


def _value(value: object) -> str:
    is_plain = isinstance(value, str) and value and " " not in value
    return str(value) if is_plain else json.dumps(value, ensure_ascii=False)
