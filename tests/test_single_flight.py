"""How a flight ends that does not end well; what becomes of those who wait for one that hangs is in test_waiters.py."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

import pytest

from shared.single_flight import Flights
from tests.clock import FakeClock, run_virtual, settle

SECONDS = 20.0
type Work = Callable[[], Coroutine[Any, Any, str]]


async def hang() -> str:
    """Never answer."""
    await asyncio.Event().wait()
    raise AssertionError


async def answer() -> str:
    """Answer at once."""
    return "an answer"


async def get_cancelled() -> str:
    """End as a task does that somebody cancels."""
    raise asyncio.CancelledError


async def fail() -> str:
    """End with an error."""
    raise KeyError


async def ended(waiter: Awaitable[str]) -> str:
    """Wait, and tell how it ended."""
    try:
        return await waiter
    except (Exception, asyncio.CancelledError) as error:  # noqa: BLE001  # it is what the test compares
        return type(error).__name__


@pytest.mark.parametrize(
    ("work", "end", "seconds"),
    [(hang, "TimeoutError", SECONDS), (get_cancelled, "CancelledError", 0), (fail, "KeyError", 0)],
    ids=["hangs", "is cancelled", "fails"],
)
def test_a_flight_always_ends_for_everybody_who_waits(work: Work, end: str, seconds: float) -> None:
    """FND-B7: after its deadline, or when it is cancelled, all are told at once, and the next flight starts afresh."""
    clock = FakeClock()

    async def story() -> None:
        flights, began = Flights[str, str](seconds=SECONDS), clock().boot
        waiters = [flights.join("key", work) for _ in range(3)]
        assert await asyncio.gather(*map(ended, waiters)) == [end] * 3
        assert clock().boot - began == pytest.approx(seconds)
        assert "key" not in flights
        assert await flights.join("key", answer) == "an answer"

    run_virtual(story, clock)


@pytest.mark.parametrize("work", [hang, get_cancelled, fail], ids=["hangs", "is cancelled", "fails"])
def test_a_flight_that_nobody_waits_for_ends_in_silence(work: Work) -> None:
    """A flight in the background: what becomes of it is recorded by its own work, and asyncio reports nothing."""
    clock = FakeClock()

    async def story() -> None:
        flights = Flights[str, str](seconds=SECONDS)
        flights.start("key", work)
        await asyncio.sleep(SECONDS + 1)
        await settle()
        assert "key" not in flights

    run_virtual(story, clock)


def test_a_waiter_that_has_left_is_passed_over() -> None:
    """The others get the answer."""
    clock = FakeClock()

    async def story() -> None:
        flights, open_ = Flights[str, str](seconds=SECONDS), asyncio.Event()

        async def slow() -> str:
            await open_.wait()
            return "an answer"

        gone, there = flights.join("key", slow), flights.join("key", slow)
        gone.cancel()
        open_.set()
        assert await there == "an answer"
        assert gone.cancelled()

    run_virtual(story, clock)
