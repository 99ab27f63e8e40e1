"""Target 3: the token is good for most of an hour yet, and due to be replaced, when everybody asks for it."""

from contextlib import ExitStack
from functools import partial
from typing import NamedTuple

from benchmarks.clients import CLIENTS, Client
from benchmarks.later import later
from benchmarks.local_entra import Lives, LocalEntra
from benchmarks.rows import MSAL, Goal, Row, Scale, compared
from benchmarks.timing import by_turns, medians
from emulator.network.faults import Fault, Kind

CALLERS = 200
LATENCY = 0.3  # seconds that Entra takes
DUE = Lives(lifetime=3_600, refresh_in=50)
LATER = 60.0  # seconds; azure-identity does not refresh within 30 of the last request


class Window(NamedTuple):
    """What one refresh came to."""

    waiting: int
    requests: int


def rows(scale: Scale) -> list[Row]:
    """Count who waits for Entra, and what Entra is asked."""
    callers = scale.pick(CALLERS, 4)
    with LocalEntra() as local:
        windows = by_turns({name: partial(_window, local, name, callers) for name in CLIENTS}, scale)
    crowd = f"Token due for its refresh, {callers} callers at once"
    return [
        compared(
            medians({name: [window.waiting for window in found] for name, found in windows.items()}),
            row_id="refresh-window",
            what=f"{crowd}: callers who wait for Entra",
            unit="callers",
            against=MSAL,
            goal=Goal("ours", "<=", 0),
        ),
        compared(
            medians({name: [window.requests for window in found] for name, found in windows.items()}),
            row_id="refresh-window-requests",
            what=f"{crowd}: requests to Entra",
            unit="requests",
            against=MSAL,
            goal=Goal("ours", "<=", 1),
        ),
    ]


def _window(local: LocalEntra, name: str, callers: int) -> Window:
    with ExitStack() as stack:
        client = CLIENTS[name](local, stack)
        local.fail(None)
        local.issue(DUE)
        prime(client)
        local.fail(Fault(kind=Kind.DELAY, seconds=LATENCY))
        with later(LATER):
            asked = client.crowd(callers)
        local.fail(None)
        # Half of what Entra takes: nobody's own work takes as long, and nobody who waits for Entra is as quick.
        waiting = sum(caller.seconds >= LATENCY / 2 for caller in asked)
        return Window(waiting, client.tally.count - 1)


def prime(client: Client) -> None:
    """Get the first token."""
    (first,) = client.crowd(1)
    assert first.served
