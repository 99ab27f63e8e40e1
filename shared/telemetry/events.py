"""Events: one line of ASCII JSON each, as the message of an ordinary log record.

Why the message and nothing else: the Functions worker hands the host the formatted message alone, so `extra` is lost,
and a traceback would break the line. Why a buffer: the host drops lines that do not belong to an invocation that is
still running, so an event of background work waits here and leaves with the next invocation.

Only fields with a name from `FIELDS` leave, so that a secret cannot be logged by adding an argument.
"""

import json
import logging
from collections import deque
from collections.abc import Callable, Mapping
from datetime import UTC, datetime

from shared.core.check import Check, State

FIELDS = frozenset(
    {
        "audience", "caller", "cause", "changes", "correlation_id", "count", "expires_on", "generation", "latency_ms",
        "mistakes", "outcome", "pages", "profile", "reason", "region", "remedy", "retry_seconds", "route", "rows",
        "scope", "seconds", "source", "status", "stream", "tenant_id", "token", "trace_id", "uti",
    }
)  # fmt: skip
BUFFER = 1_000
LONGEST_VALUE = 512
LOSS_SECONDS = 600.0
"""How long a lost event keeps the check degraded."""
LONG = (str, list)

_LOGGER = logging.getLogger("vend")

_to_json = json.JSONEncoder(separators=(",", ":")).encode

type Value = str | int | float | bool | list[str] | None
type Observer = Callable[[str, Mapping[str, Value]], None]


class Events:
    """Where every module reports what happened.

    Args:
        log: takes one line; an error in it is counted in `lost` and breaks nothing.
        wall: seconds since the epoch.
        worker: names this process in a fleet.

    Attributes:
        observer: told of each event and its fields as it happens; an error in it is counted in `lost` too.
        lost: how many lines and observations got nowhere.
    """

    def __init__(self, log: Callable[[str], None], *, wall: Callable[[], float], worker: str) -> None:
        self._log = log
        self._wall = wall
        self._worker = worker
        self._waiting: deque[str] = deque()
        self._second = -1.0
        self._stamp = ""
        self.observer: Observer | None = None
        self.lost = 0
        self._last_loss = (0, 0.0)

    def emit(self, event: str, **fields: Value) -> None:
        """Report something inside the invocation that it belongs to.

        Raises:
            ValueError: a field is not in `FIELDS`: a mistake of the programmer's.
        """
        self._write(self._line(event, fields))
        self._observe(event, fields)

    def defer(self, event: str, **fields: Value) -> None:
        """Report something from background work: it leaves with the next invocation, or is counted in `lost`."""
        if len(self._waiting) == BUFFER:
            self._waiting.popleft()
            self.lost += 1
        self._waiting.append(self._line(event, fields))
        self._observe(event, fields)

    async def check(self, now: float) -> Check:
        """Return the line of the events.

        Args:
            now: by the boot clock.
        """
        if self.lost != self._last_loss[0]:
            self._last_loss = (self.lost, now)
        detail = f"{self.lost} lost since this worker began"
        if self.lost == 0 or now - self._last_loss[1] >= LOSS_SECONDS:
            return Check("events", State.OK, detail)
        return Check(
            "events",
            State.DEGRADED,
            f"{detail}, some of them lately",
            "tokens are vended all the same; the audit trail has a gap",
            "see whether Application Insights, or whatever takes the log, is full, slow or misconfigured",
        )

    def flush(self) -> None:
        """Send what background work has left; called inside an invocation."""
        while self._waiting:
            self._write(self._waiting.popleft())

    def _line(self, event: str, fields: dict[str, Value]) -> str:
        if not FIELDS.issuperset(fields):
            raise ValueError(f"not a field of an event: {sorted(fields.keys() - FIELDS)}")
        line: dict[str, Value] = {"event": event, "time": self._time()}
        for name, value in fields.items():
            if value is not None:
                line[name] = _clipped(value) if type(value) in LONG else value
        line["worker"] = self._worker
        return _to_json(line)

    def _time(self) -> str:
        """Write the time of now in RFC 3339; its seconds are written once a second."""
        second, part = divmod(self._wall(), 1)
        if second != self._second:
            self._second, self._stamp = second, datetime.fromtimestamp(second, UTC).isoformat()[:19]
        return f"{self._stamp}.{int(part * 1000):03}+00:00"

    def _write(self, line: str) -> None:
        try:
            self._log(line)
        except Exception:  # noqa: BLE001  # whatever a log handler does, the answer is given
            self.lost += 1

    def _observe(self, event: str, fields: Mapping[str, Value]) -> None:
        if self.observer is None:
            return
        try:
            self.observer(event, fields)
        except Exception:  # noqa: BLE001  # the same
            self.lost += 1


def log_line(line: str) -> None:
    """Write an event where the Functions host picks it up."""
    # What `info` does, without looking through the stack for who called it: that costs as much as the rest.
    if _LOGGER.isEnabledFor(logging.INFO):
        _LOGGER.handle(_LOGGER.makeRecord(_LOGGER.name, logging.INFO, __file__, 0, line, (), None))


def _clipped(value: Value) -> Value:
    if isinstance(value, str):
        return value[:LONGEST_VALUE]
    return [item[:LONGEST_VALUE] for item in value] if isinstance(value, list) else value
