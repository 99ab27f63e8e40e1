"""A token of the app's own identity as the password of a connection, which a thread of the store waits for."""

import asyncio
import hashlib
from collections.abc import Callable, Coroutine
from typing import Any

from shared.core.errors import Unavailable
from shared.core.token import AccessToken

WAIT_SECONDS = 30.0
"""After which the thread no longer waits: the loop may be ending."""


class DatabaseToken:
    """The tokens of an identity, for threads beside the event loop.

    Args:
        get: returns a token, and not the one of this SHA-256, if any.
        loop: the event loop.
    """

    def __init__(
        self, get: Callable[[str | None], Coroutine[Any, Any, AccessToken]], *, loop: asyncio.AbstractEventLoop
    ) -> None:
        self._get = get
        self._loop = loop

    def password(self, refused: str) -> str:
        """Return a token, and not the one that the server has refused, if any.

        Raises:
            UpstreamError: there is none.
        """
        rejected = hashlib.sha256(refused.encode()).hexdigest() if refused else None
        found = asyncio.run_coroutine_threadsafe(self._get(rejected), self._loop)
        try:
            return found.result(WAIT_SECONDS).secret
        except TimeoutError:
            found.cancel()
        raise Unavailable(cause="no token for the database came in time")
