"""The faults of one part of the local cloud, and the switch that turns them on and off.

A fault is data. `refuse`, `cut`, `drip`, `tls`, `black_hole` and `endless_headers` happen to connections, in
`emulator.network.gate`. The others happen to requests, in `HttpFaults` here.
"""

import asyncio
import contextlib
import json
import math
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Protocol

from starlette.requests import ClientDisconnect
from starlette.responses import Response, StreamingResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from emulator.network.flaws import Flaw

SECONDS_TO_WAIT = 10.0
PADDING = b" " * 16384  # white space, which may stand before any JSON


class Kind(StrEnum):
    """One way to fail."""

    REFUSE = "refuse"  # new connections are refused, live ones reset
    CUT = "cut"  # the connection is reset after so many bytes of the answer
    DRIP = "drip"  # the answer comes slowly, from its first byte or from a later one
    TLS = "tls"  # the handshake goes wrong, see `emulator.network.flaws`
    BLACK_HOLE = "black_hole"  # the connection is accepted, then silence
    ENDLESS_HEADERS = "endless_headers"  # a status line, and headers that continue until the client disconnects
    DELAY = "delay"  # the answer comes late
    STATUS = "status"  # another answer; the request does not reach the part
    GARBAGE = "garbage"  # 200 and a body that is not JSON
    ENDLESS = "endless"  # 200 and a body that continues until the client disconnects
    HOLD = "hold"  # no answer until so many requests wait, or until the fault is switched off


CONNECTION_KINDS = frozenset({Kind.CUT, Kind.DRIP, Kind.BLACK_HOLE, Kind.ENDLESS_HEADERS})
REQUEST_KINDS = frozenset({Kind.DELAY, Kind.STATUS, Kind.GARBAGE, Kind.ENDLESS, Kind.HOLD})

# The fields of each kind; True marks a required one.
TAKES: dict[Kind, dict[str, bool]] = {
    Kind.REFUSE: {"lasts_seconds": False},
    Kind.CUT: {"lasts_seconds": False, "times": False, "after_bytes": True},
    Kind.DRIP: {"lasts_seconds": False, "times": False, "bytes_per_second": True, "after_bytes": False},
    Kind.TLS: {"lasts_seconds": False, "times": False, "flaw": True},
    Kind.BLACK_HOLE: {"lasts_seconds": False, "times": False},
    Kind.ENDLESS_HEADERS: {"lasts_seconds": False, "times": False},
    Kind.DELAY: {"lasts_seconds": False, "times": False, "seconds": True},
    Kind.STATUS: {"lasts_seconds": False, "times": False, "status": True, "headers": False, "body": False},
    Kind.GARBAGE: {"lasts_seconds": False, "times": False, "body": False},
    Kind.ENDLESS: {"lasts_seconds": False, "times": False},
    Kind.HOLD: {"lasts_seconds": False, "until": False},
}
# The range of each number; all but those of seconds are whole.
RANGES: dict[str, tuple[float, float]] = {
    "lasts_seconds": (0, 86_400),
    "times": (1, math.inf),
    "after_bytes": (0, math.inf),
    "bytes_per_second": (1, math.inf),
    "seconds": (0, math.inf),
    "status": (200, 599),
    "until": (1, math.inf),
}


@dataclass(frozen=True, kw_only=True)
class Fault:
    """One fault, until it is switched off.

    Args:
        times: how many requests (or connections) it happens to at most.
        lasts_seconds: how long until it switches itself off.
    """

    kind: Kind
    lasts_seconds: float | None = None
    times: int | None = None
    after_bytes: int = 0
    bytes_per_second: int = 1
    seconds: float = 0.0
    status: int = 503
    headers: Mapping[str, str] = field(default_factory=dict)
    body: str = ""
    until: int | None = None
    flaw: Flaw = Flaw.EXPIRED


def parse(text: bytes) -> Fault:
    """Read a fault from a JSON object that has the fields of its kind and no others.

    Raises:
        ValueError: the text names the mistake and what is accepted.
    """
    try:
        given = json.loads(text)
    except (ValueError, RecursionError):
        raise ValueError("the body must be a JSON object") from None
    if not isinstance(given, dict):
        raise ValueError("the body must be a JSON object")  # noqa: TRY004 - a mistake in a document, not in a call
    try:
        kind = Kind(given.pop("kind", None))
    except ValueError:
        raise ValueError(f"kind must be one of {', '.join(Kind)}") from None
    takes = TAKES[kind]
    if foreign := given.keys() - takes.keys():
        raise ValueError(f"{kind} takes {', '.join(takes)}, not {', '.join(sorted(foreign))}")
    if missing := [needed for needed, required in takes.items() if required and needed not in given]:
        raise ValueError(f"{kind} needs {', '.join(missing)}")
    for field_name, value in given.items():
        _check(field_name, value)
    if "flaw" in given:
        given["flaw"] = Flaw(given["flaw"])
    return Fault(kind=kind, **given)


def _check(name: str, value: object) -> None:
    if name == "body":
        if not isinstance(value, str):
            raise ValueError("body must be a string")
        return
    if name == "flaw":
        if value not in list(Flaw):
            raise ValueError(f"flaw must be one of {', '.join(Flaw)}")
        return
    if name == "headers":
        if not isinstance(value, dict) or not all(isinstance(text, str) for text in value.values()):
            raise ValueError("headers must be an object of strings")
        return
    least, most = RANGES[name]
    whole = not name.endswith("seconds")
    match value:
        case bool():
            pass  # JSON's true is Python's 1
        case int() if least <= value <= most:
            return
        case float() if not whole and least <= value <= most:
            return
    raise ValueError(f"{name} must be a {'whole number' if whole else 'number'}, {least:g} to {most:g}")


class Runs(Protocol):
    """Runs a coroutine on the loop that serves the part, and waits for it; `serve.Background.run` is one."""

    def __call__[T](self, work: Coroutine[Any, Any, T], /) -> T:
        """Run and wait."""
        ...


class Switch:
    """The fault of one part. `set`, `clear` and `wait_for` are for other threads, `turn` for the serving loop.

    `waiting` counts the requests that are held now, `taken` how often a fault has happened since the start.
    """

    def __init__(self, run: Runs) -> None:
        self._run = run
        self._off = asyncio.Event()
        self._changed = asyncio.Condition()
        self._left: int | None = None
        self._end: asyncio.TimerHandle | None = None
        self._ending: asyncio.Task[None] | None = None  # the loop itself keeps no task alive
        self._on_turn: Callable[[Fault | None], Awaitable[None]] | None = None
        self.current: Fault | None = None
        self.waiting = 0
        self.taken = 0

    def set(self, fault: Fault) -> None:
        """Switch a fault on, in place of the present one; it is in force on return."""
        self._run(self.turn(fault))

    def clear(self) -> None:
        """Switch the fault off and release every request that it holds."""
        self._run(self.turn(None))

    def wait_for(self, waiting: int, *, seconds: float = SECONDS_TO_WAIT) -> None:
        """Block until so many requests are held.

        Raises:
            TimeoutError: fewer requests arrived.
        """
        self._run(self._wait_for(waiting, seconds))

    def follow(self, on_turn: Callable[[Fault | None], Awaitable[None]]) -> None:
        """Call the gate of this part at every change."""
        self._on_turn = on_turn

    async def turn(self, fault: Fault | None) -> None:
        """Put a fault, or none, in place of the present one."""
        self._off.set()
        self._off = asyncio.Event()
        if self._end:
            self._end.cancel()
            self._end = None
        self.current = fault
        self._left = fault.times if fault else None
        if fault and fault.lasts_seconds is not None:
            self._end = asyncio.get_running_loop().call_later(fault.lasts_seconds, self._run_out, self._off)
        if self._on_turn:
            await self._on_turn(fault)

    def take(self, kinds: frozenset[Kind]) -> tuple[Fault, asyncio.Event] | None:
        """Use the present fault once if it is of these kinds; the event is set when it is switched off."""
        fault = self.current
        if fault is None or fault.kind not in kinds:
            return None
        self.taken += 1
        off = self._off
        if self._left is not None:
            self._left -= 1
            if self._left == 0:
                self.current = None
        return fault, off

    async def hold(self, fault: Fault, off: asyncio.Event) -> None:
        """Wait until the fault is off; it switches itself off once `until` requests wait."""
        self.waiting += 1
        try:
            async with self._changed:
                self._changed.notify_all()
            if fault.until is not None and self.waiting >= fault.until and not off.is_set():
                await self.turn(None)
            await off.wait()
        finally:
            self.waiting -= 1

    def _run_out(self, off: asyncio.Event) -> None:
        self._ending = asyncio.ensure_future(self._end_of(off))

    async def _end_of(self, off: asyncio.Event) -> None:
        if self._off is off:  # otherwise another fault replaced it between the timer and this task
            await self.turn(None)

    async def _wait_for(self, waiting: int, seconds: float) -> None:
        async with asyncio.timeout(seconds), self._changed:
            await self._changed.wait_for(lambda: self.waiting >= waiting)


class HttpFaults:
    """ASGI middleware: applies the faults of requests before they reach the part."""

    def __init__(self, app: ASGIApp, switch: Switch) -> None:
        self._app = app
        self._switch = switch

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request, with the fault if there is one."""
        taken = self._switch.take(REQUEST_KINDS)
        if taken is None:
            return await self._app(scope, receive, send)
        fault, off = taken
        match fault.kind:
            case Kind.STATUS:
                answer = Response(fault.body, fault.status, headers=dict(fault.headers))
                return await answer(scope, receive, send)
            case Kind.GARBAGE:
                answer = Response(fault.body or "<html>{not json", headers={"content-type": "application/json"})
                return await answer(scope, receive, send)
            case Kind.ENDLESS:
                stream = StreamingResponse(_padding(off), headers={"content-type": "application/json"})
                return await stream(scope, receive, send)
            case Kind.DELAY:
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(off.wait(), fault.seconds)
            case Kind.HOLD:
                await self._switch.hold(fault, off)
        with contextlib.suppress(ClientDisconnect):  # the client did not wait
            await self._app(scope, receive, send)
        return None


async def _padding(off: asyncio.Event) -> AsyncIterator[bytes]:
    while not off.is_set():
        yield PADDING
        await asyncio.sleep(0)  # a server without a client accepts every chunk at once
