"""A cold key under a crowd."""

import asyncio
from collections.abc import Callable, Coroutine, Iterable, Mapping
from typing import Any

import pytest

from emulator.network.faults import Fault, Kind
from emulator.network.serve import HOST
from tests.end_to_end.conftest import FORM, SECONDS_TO_COME, Resident

pytestmark = pytest.mark.slow

# Entra is held back for as long as it takes until everybody waits.
PATIENT = dict.fromkeys(
    ("read_idle_seconds", "attempt_seconds", "caller_budget_seconds", "shed_after_seconds"), 2 * SECONDS_TO_COME
)


async def come(app: Resident, requests: Iterable[Coroutine[Any, Any, int]]) -> list[int]:
    """Let Entra answer only when all requests wait for it; tell their statuses."""
    app.cloud.faults["entra"].set(Fault(kind=Kind.HOLD))
    asked = [asyncio.create_task(request) for request in requests]
    await app.until(lambda: app.tokens.counters.waiting == len(asked))
    app.cloud.faults["entra"].clear()
    return await asyncio.gather(*asked)


async def ask(app: Resident, port: int) -> int:
    """Ask for a token over a connection of its own; tell the status."""
    reader, writer = await asyncio.open_connection(HOST, port)
    try:
        headers = {**app.headers, "host": HOST, "content-length": str(len(FORM)), "connection": "close"}
        lines = [f"{name}: {value}\r\n" for name, value in headers.items()]
        writer.write(f"POST /api/token HTTP/1.1\r\n{''.join(lines)}\r\n".encode() + FORM)
        answer = await reader.read()
    finally:
        writer.close()
        await writer.wait_closed()
    return int(answer.split(maxsplit=2)[1])


def test_ten_thousand_invocations_are_one_request(resident: Callable[[Mapping[str, float]], Resident]) -> None:
    """TST-02, ABU-98: all get the one token that Entra was asked for once, and each leaves its event."""
    app = resident(PATIENT)
    assert app.run(come(app, [app.invoke() for _ in range(10_000)])) == [200] * 10_000
    assert len(app.cloud.entra.requests) == 1
    events = [event for event in app.events if event["event"] == "token"]
    assert len({event["correlation_id"] for event in events}) == 10_000
    assert len({event["token"] for event in events}) == 1


def test_five_hundred_connections_are_one_request(resident: Callable[[Mapping[str, float]], Resident]) -> None:
    """TST-02: the same through the host's socket, key check included."""
    app = resident(PATIENT)
    port = app.listen()
    assert asyncio.run(come(app, [ask(app, port) for _ in range(500)])) == [200] * 500
    assert len(app.cloud.entra.requests) == 1
