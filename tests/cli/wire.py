"""Where the requests of a command leave, and something happens between two of them."""

import asyncio
from collections.abc import Callable

import httpx


class Wire:
    """Where requests leave, and something happens before one of them; those for readiness do not count."""

    def __init__(self) -> None:
        self._left: int | None = None
        self._method = ""
        self._happen: Callable[[], object] = lambda: None

    def before(self, nth: int | None, happen: Callable[[], object] = lambda: None, *, method: str = "") -> None:
        """Have something happen before the request with this number, from 0, of those of a method; None for never."""
        self._left, self._method, self._happen = nth, method, happen

    async def leave(self, request: httpx.Request) -> None:
        """Let it happen, in a thread where a command can run."""
        if request.url.path == "/api/health/ready" or self._left is None:
            return
        if self._method not in {"", request.method}:
            return
        self._left -= 1
        if self._left < 0:
            self._left = None
            await asyncio.to_thread(self._happen)
