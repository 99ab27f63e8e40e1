"""Target 4: nobody has a token yet, and everybody wants the same one at once."""

import asyncio
import statistics
import time
from contextlib import ExitStack
from functools import partial
from typing import NamedTuple

from benchmarks.clients import CLIENTS
from benchmarks.local_entra import LocalEntra
from benchmarks.rows import AZURE, AZURE_AIO, MSAL, VEND, Goal, Row, Scale, compared
from benchmarks.timing import MILLI, by_turns, medians, share
from emulator.network.faults import Fault, Kind

ENTRA = "Entra itself"
LATENCY = 0.5  # seconds that it takes; asyncio alone needs 0.15 to start and to wake as many tasks: see BARE
BARE = "a bare future"
CALLERS = 10_000
OF_A_LIBRARY = 200  # each of these costs Entra a request or nearly so


class Storm(NamedTuple):
    """What one stampede came to."""

    requests: int
    p99: float


def rows(scale: Scale) -> list[Row]:
    """Count requests to Entra, and take the time that all but one caller in a hundred have their token in."""
    ours, theirs = scale.pick(CALLERS, 100), scale.pick(OF_A_LIBRARY, 4)
    sizes = {VEND: ours, MSAL: theirs, AZURE: theirs, AZURE_AIO: theirs}
    with LocalEntra() as local:
        local.fail(Fault(kind=Kind.DELAY, seconds=LATENCY))
        storms = by_turns({name: partial(_storm, local, name, size) for name, size in sizes.items()}, scale)
    requests = medians({name: [storm.requests for storm in found] for name, found in storms.items()})
    p99 = medians({name: [storm.p99 for storm in found] for name, found in storms.items()})
    p99[BARE] = statistics.median(share(asyncio.run(_bare(ours)), 0.99) * MILLI for _ in range(scale.rounds))
    crowds = f"{ours:,} callers at once (the libraries: {theirs})"
    return [
        compared(
            requests,
            row_id="stampede",
            what=f"Token not in the cache, {crowds}: requests to Entra",
            unit="requests",
            against=AZURE_AIO,
            goal=Goal("ours", "<=", 1),
        ),
        compared(
            p99 | {ENTRA: LATENCY * MILLI},
            row_id="stampede-wait",
            what=f"Token not in the cache, {crowds}: p99 of their wait",
            unit="ms",
            against=ENTRA,
            goal=Goal("ratio", "<=", 1.5),
        ),
    ]


async def _bare(callers: int) -> list[float]:
    """Let so many tasks wait for one timer, with nothing else to do: what no cache on asyncio can be better than."""
    loop = asyncio.get_running_loop()
    waiters: list[asyncio.Future[None]] = []

    async def ask() -> float:
        began = time.perf_counter()
        waiters.append(loop.create_future())
        await waiters[-1]
        return time.perf_counter() - began

    async def wake() -> None:
        await asyncio.sleep(LATENCY)
        for waiter in waiters:
            waiter.set_result(None)

    async with asyncio.TaskGroup() as group:
        asked = [group.create_task(ask()) for _ in range(callers)]
        group.create_task(wake())
    return [task.result() for task in asked]


def _storm(local: LocalEntra, name: str, callers: int) -> Storm:
    with ExitStack() as stack:
        client = CLIENTS[name](local, stack)
        asked = client.crowd(callers)
        assert all(caller.served for caller in asked)  # figures of a stampede that fails would mean nothing
        return Storm(client.tally.count, share([caller.seconds for caller in asked], 0.99) * MILLI)
