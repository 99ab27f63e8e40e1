"""Single flight: work for a key that is under way is joined, not started again."""

import asyncio
from collections.abc import Callable, Coroutine, Hashable
from typing import Any


class Flights[K: Hashable, T]:
    """What is under way on this event loop.

    A flight belongs to no caller: when the one who started it goes away, those who joined it are served all the same.
    """

    def __init__(self) -> None:
        self._tasks: dict[K, asyncio.Task[T]] = {}

    def get(self, key: K) -> asyncio.Task[T] | None:
        """Return the flight of this key, if there is one."""
        return self._tasks.get(key)

    def start(self, key: K, work: Callable[[], Coroutine[Any, Any, T]]) -> asyncio.Task[T]:
        """Return the flight of this key, and start it if there is none."""
        task = self._tasks.get(key)
        if task is None:
            task = asyncio.get_running_loop().create_task(work())
            self._tasks[key] = task
            task.add_done_callback(lambda done: self._land(key, done))
        return task

    async def join(self, key: K, work: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """Wait for the flight of this key, and start it if there is none; a cancelled caller leaves it flying."""
        return await asyncio.shield(self.start(key, work))

    def _land(self, key: K, done: asyncio.Task[T]) -> None:
        del self._tasks[key]
        if not done.cancelled():
            done.exception()  # a background flight's error is kept elsewhere; asyncio need not report it unseen
