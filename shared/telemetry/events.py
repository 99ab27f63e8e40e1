"""Writes events: one line of ASCII JSON each, as the message of an ordinary log record.

Why the message and nothing else: the Functions worker hands the host the formatted message alone, so `extra` is lost,
and a traceback would break the line. Why a buffer: the host drops lines that do not belong to a running invocation. So
an event of background work waits here and leaves with the next invocation.

Only events of the catalogue are written, and only their fields, so that no secret is logged by adding an argument.
"""

import json
import logging
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import fields
from datetime import UTC, datetime

from shared.core.check import Check, State
from shared.telemetry.catalogue import EVENTS
from shared.telemetry.event import Event

BUFFER = 1_000
LONGEST_VALUE = 512
LONGEST_LINE = 16 * 1024
"""Application Insights cuts a message at 32 Ki characters, and what is left of its JSON cannot be parsed."""
SHORT_VALUE, SHORT_LIST = 100, 20
"""Characters of a text and items of a list in a line that would be longer: an escape takes six characters at most."""
LOSS_SECONDS = 600.0
"""How long a lost event keeps the check degraded."""

_FIELDS: Mapping[type[Event], tuple[str, ...]] = {kind: tuple(field.name for field in fields(kind)) for kind in EVENTS}
_LOGGER = logging.getLogger("vend")

_to_json = json.JSONEncoder(separators=(",", ":")).encode

type Observer = Callable[[Event], None]


class Events:
    """Where every module reports what happened.

    Args:
        log: takes one line; an error in it is counted in `lost` and breaks nothing.
        wall: seconds since the epoch.
        worker: names this process in a fleet.

    Attributes:
        worker: names this process.
        observer: called with each event as it happens; an error in it is counted in `lost` too.
        lost: how many lines and observations got nowhere.
    """

    def __init__(self, log: Callable[[str], None], *, wall: Callable[[], float], worker: str) -> None:
        self._log = log
        self._wall = wall
        self.worker = worker
        self._waiting: deque[str] = deque()
        self._second = -1.0
        self._stamp = ""
        self.observer: Observer | None = None
        self.lost = 0
        self._last_loss = (0, 0.0)

    def emit(self, event: Event) -> None:
        """Log an event inside the invocation that it belongs to.

        Raises:
            ValueError: the event is not in the catalogue: a mistake of the programmer's.
        """
        self._write(self._line(event))
        self._observe(event)

    def defer(self, event: Event) -> None:
        """Buffer an event of background work until the next invocation; a full buffer drops its oldest one.

        Raises:
            ValueError: as in `emit`.
        """
        line = self._line(event)
        if len(self._waiting) == BUFFER:
            self._waiting.popleft()
            self.lost += 1
        self._waiting.append(line)
        self._observe(event)

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

    def _line(self, event: Event) -> str:
        names = _FIELDS.get(type(event))
        if names is None:
            raise ValueError(f"not an event of the catalogue: {type(event).__name__}")
        line: dict[str, object] = {"event": event.about.name, "time": self._time()}
        for name in names:
            value = getattr(event, name)
            if type(value) is str:
                line[name] = value[:LONGEST_VALUE]
            elif value is not None:
                line[name] = [item[:LONGEST_VALUE] for item in value] if type(value) is list else value
        line["worker"] = self.worker
        text = _to_json(line)
        return text if len(text) <= LONGEST_LINE else _to_json(_shortened(line))

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

    def _observe(self, event: Event) -> None:
        if self.observer is None:
            return
        try:
            self.observer(event)
        except Exception:  # noqa: BLE001  # the same
            self.lost += 1


def _shortened(line: Mapping[str, object]) -> Mapping[str, object]:
    """Return a line that fits: the first items of each list with the number of the others, and short texts."""
    return {name: _short(value) for name, value in line.items()}


def _short(value: object) -> object:
    if isinstance(value, str):
        return value[:SHORT_VALUE]
    if isinstance(value, list):
        first = [item[:SHORT_VALUE] for item in value[:SHORT_LIST]]
        return [*first, f"and {len(value) - SHORT_LIST} more"] if len(value) > SHORT_LIST else first
    return value


def log_line(line: str) -> None:
    """Write an event where the Functions host picks it up."""
    # What `info` does, without looking through the stack for who called it: that costs as much as the rest.
    if _LOGGER.isEnabledFor(logging.INFO):
        _LOGGER.handle(_LOGGER.makeRecord(_LOGGER.name, logging.INFO, __file__, 0, line, (), None))
