"""Single flight: work for a key that is under way is joined, not started again."""

import asyncio
from collections.abc import Callable, Coroutine, Hashable
from dataclasses import dataclass, field
from typing import Any


class SentAway(Exception):
    """Too many wait for flights that are old."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Shedding:
    """When waiters are sent away, so that what hangs does not fill the worker with requests that wait for it.

    Args:
        after: returns the seconds of age from which a flight that starts now is old.
        most: how many may wait for old flights, all of them together.
        error: returns what a waiter beyond that gets.
    """

    after: Callable[[], float]
    most: int
    error: Callable[[], Exception] = SentAway


@dataclass(slots=True)
class _Flight[T]:
    waiters: list[asyncio.Future[T]] = field(default_factory=list)
    is_old: bool = False
    timer: asyncio.TimerHandle | None = None

    @property
    def waiting(self) -> int:
        """How many still wait: a caller that has left cancels its future."""
        return sum(not waiter.done() for waiter in self.waiters)


class Flights[K: Hashable, T]:
    """The work under way on this event loop.

    A flight belongs to no caller: when the caller that started it leaves, those that joined it are served all the same.

    Args:
        seconds: after which a flight is given up with a `TimeoutError`, and the next one starts afresh.
        shedding: when waiters are sent away; None for never.
    """

    def __init__(self, *, seconds: float, shedding: Shedding | None = None) -> None:
        self._seconds = seconds
        self._shedding = shedding
        self._flying: dict[K, _Flight[T]] = {}

    def __contains__(self, key: K) -> bool:
        return key in self._flying

    def start(self, key: K, work: Callable[[], Coroutine[Any, Any, T]]) -> None:
        """Start a flight, unless this key has one."""
        self._flight(key, work)

    def join(self, key: K, work: Callable[[], Coroutine[Any, Any, T]]) -> asyncio.Future[T]:
        """Wait for the flight of this key, and start it if there is none; a cancelled caller leaves it flying.

        Raises:
            Exception: the one of `shedding`, where the flight is old and too many wait for such flights.
        """
        flight = self._flight(key, work)
        if flight.is_old and self._shedding and self._waiting_for_old() >= self._shedding.most:
            raise self._shedding.error()
        # A future of each caller's own, and nothing around it: of ten thousand, each costs a few microseconds less.
        waiter: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        flight.waiters.append(waiter)
        return waiter

    def _flight(self, key: K, work: Callable[[], Coroutine[Any, Any, T]]) -> _Flight[T]:
        flight = self._flying.get(key)
        if flight is None:
            loop = asyncio.get_running_loop()
            flight = self._flying[key] = _Flight()
            loop.create_task(self._bounded(work())).add_done_callback(lambda done: self._land(key, done))
            if self._shedding:
                flight.timer = loop.call_later(self._shedding.after(), self._grow_old, flight)
        return flight

    async def _bounded(self, work: Coroutine[Any, Any, T]) -> T:
        async with asyncio.timeout(self._seconds):
            return await work

    def _grow_old(self, flight: _Flight[T]) -> None:
        """Count the waiters of a flight among those of old ones, and send the youngest beyond the bound away."""
        assert self._shedding is not None
        flight.is_old = True
        flight.waiters = [waiter for waiter in flight.waiters if not waiter.done()]
        beyond = min(len(flight.waiters), max(0, self._waiting_for_old() - self._shedding.most))
        stay = len(flight.waiters) - beyond
        for waiter in flight.waiters[stay:]:
            waiter.set_exception(self._shedding.error())
        del flight.waiters[stay:]

    def _waiting_for_old(self) -> int:
        return sum(flight.waiting for flight in self._flying.values() if flight.is_old)

    def _land(self, key: K, done: asyncio.Task[T]) -> None:
        flight = self._flying.pop(key)
        if flight.timer:
            flight.timer.cancel()
        # Asked for in any case: a background flight's error is kept elsewhere, and asyncio need not report it unseen.
        error = asyncio.CancelledError() if done.cancelled() else done.exception()
        for waiter in flight.waiters:
            if waiter.done():
                continue  # its caller has left
            if error is None:
                waiter.set_result(done.result())
            else:
                waiter.set_exception(error)
