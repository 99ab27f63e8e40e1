"""A token of the app's own identity as the password of a connection, which a thread of the store waits for."""

import asyncio
import hashlib

from shared.adapters.own_identity import GetToken
from shared.core.errors import Unavailable
from shared.core.token import AccessToken

WAIT_SECONDS = 30.0
"""After which the thread no longer waits: the loop may be ending."""


class DatabaseToken:
    """The tokens of an identity, for threads beside the event loop.

    Args:
        get: of the tokens for a database.
        loop: the event loop.
    """

    def __init__(self, get: GetToken, *, loop: asyncio.AbstractEventLoop) -> None:
        self._get = get
        self._loop = loop

    def password(self, refused: str) -> str:
        """Return a token, and not the one that the server has refused, if any.

        Raises:
            UpstreamError: there is none.
        """
        rejected = hashlib.sha256(refused.encode()).hexdigest() if refused else None
        found = asyncio.run_coroutine_threadsafe(self._token(rejected), self._loop)
        try:
            return found.result(WAIT_SECONDS).secret
        except TimeoutError:
            found.cancel()
        raise Unavailable(cause="no token for the database came in time")

    async def _token(self, rejected: str | None) -> AccessToken:
        return await self._get(rejected)
