"""Reads pages from Microsoft Graph: with a token, patience, and no trust in where a link leads."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Protocol

from shared.core.directory.delta import is_reset
from shared.core.errors import OperatorError, Unavailable, UpstreamError
from shared.core.reply import Reply
from shared.core.retry import retry_after
from shared.core.token import AccessToken, Acquired, Moment

ATTEMPTS = 4
LONGEST_WAIT = 60.0
"""Seconds that a run waits for Graph; for longer it ends, and the next one goes on."""


class ForgottenError(Exception):
    """Graph does not know any more what the link meant: a new copy has to begin."""


class GetToken(Protocol):
    """Gives a token for Graph."""

    def __call__(self, *, rejected: str | None) -> Awaitable[Acquired]:
        """Give one that is not the rejected one; raise an `UpstreamError` if there is none."""


class Get(Protocol):
    """Sends a request to Graph."""

    def __call__(self, url: str, *, headers: Mapping[str, str]) -> Awaitable[Reply]:
        """Send it; raise an `UpstreamError` where no answer comes."""


class Graph:
    """Reads pages.

    Args:
        get_token: gives a token for Graph.
        get: sends a request.
        clock: both clocks.
        sleep: waits for some seconds.
        new_id: makes request ids, by which Microsoft's support finds a request.
    """

    def __init__(
        self,
        *,
        get_token: GetToken,
        get: Get,
        clock: Callable[[], Moment],
        sleep: Callable[[float], Awaitable[None]],
        new_id: Callable[[], str],
    ) -> None:
        self._get_token = get_token
        self._get = get
        self._clock = clock
        self._sleep = sleep
        self._new_id = new_id

    async def page(self, link: str) -> bytes:
        """Read what a link leads to; it has been checked to be Graph's own.

        Raises:
            ForgottenError: the link means nothing any more.
            OperatorError: Graph refuses.
            UpstreamError: Graph, or Entra before it, cannot be had now.
        """
        rejected: str | None = None
        attempt = 1
        while True:
            served = await self._get_token(rejected=rejected)
            try:
                reply = await self._get(link, headers=self._headers(served.token))
            except Unavailable as error:
                failure: UpstreamError = error
            else:
                if reply.status == 200:
                    return reply.body
                if reply.status == 401 and rejected is None:
                    rejected = served.token.sha256
                    continue
                failure = self._meaning(reply)
            wait = failure.upstream_wait.total_seconds() if failure.upstream_wait else 2.0 ** (attempt - 1)
            if not isinstance(failure, Unavailable) or attempt == ATTEMPTS or wait > LONGEST_WAIT:
                raise failure
            await self._sleep(wait)
            attempt += 1

    def _headers(self, token: AccessToken) -> Mapping[str, str]:
        return {
            "authorization": f"Bearer {token.secret}",
            "client-request-id": self._new_id(),
            # Others in the tenant go first: https://learn.microsoft.com/graph/throttling-limits
            "x-ms-throttle-priority": "low",
        }

    def _meaning(self, reply: Reply) -> UpstreamError:
        """Say what an answer other than 200 means, without its words.

        Raises:
            ForgottenError: a new copy has to begin.
        """
        status = reply.status
        if is_reset(status, reply.body):
            raise ForgottenError
        cause = f"Graph answered {status}"
        wait = retry_after(reply.headers.get("retry-after"), now=self._clock().wall)
        if status == 429 or status >= 500:
            return Unavailable(cause=cause, upstream_wait=wait)
        if status == 403:
            cause += ": has the registration the permission, with an administrator's consent?"
        return OperatorError(cause=cause)
