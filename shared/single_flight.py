"""Single flight: work for a key that is under way is joined, not started again."""

import asyncio
from collections.abc import Callable, Coroutine, Hashable
from typing import Any


class Flights[K: Hashable, T]:
    """What is under way on this event loop.

    A flight belongs to no caller: when the caller that started it leaves, those that joined it are served all the same.

    Args:
        seconds: after which a flight is given up with a `TimeoutError`, and the next one starts afresh.
    """

    def __init__(self, *, seconds: float) -> None:
        self._seconds = seconds
        self._flying: dict[K, tuple[asyncio.Task[T], list[asyncio.Future[T]]]] = {}

    def __contains__(self, key: K) -> bool:
        return key in self._flying

    def start(self, key: K, work: Callable[[], Coroutine[Any, Any, T]]) -> list[asyncio.Future[T]]:
        """Start a flight, unless this key has one; return the list of its waiters, to which the caller may append."""
        flying = self._flying.get(key)
        if flying is None:
            task = asyncio.get_running_loop().create_task(self._bounded(work()))
            flying = self._flying[key] = (task, [])
            task.add_done_callback(lambda done: self._land(key, done))
        return flying[1]

    def join(self, key: K, work: Callable[[], Coroutine[Any, Any, T]]) -> asyncio.Future[T]:
        """Wait for the flight of this key, and start it if there is none; a cancelled caller leaves it flying."""
        # A future of each caller's own, and nothing around it: of ten thousand, each costs a few microseconds less.
        waiter: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self.start(key, work).append(waiter)
        return waiter

    async def _bounded(self, work: Coroutine[Any, Any, T]) -> T:
        async with asyncio.timeout(self._seconds):
            return await work

    def _land(self, key: K, done: asyncio.Task[T]) -> None:
        _, waiters = self._flying.pop(key)
        # Asked for in any case: a background flight's error is kept elsewhere, and asyncio need not report it unseen.
        error = asyncio.CancelledError() if done.cancelled() else done.exception()
        for waiter in waiters:
            if waiter.done():
                continue  # its caller has gone away
            if error is None:
                waiter.set_result(done.result())
            else:
                waiter.set_exception(error)
